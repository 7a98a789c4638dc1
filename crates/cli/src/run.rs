//! `clarifier upscale`.

use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Result, bail};
use clarifier_raster::{StoreKind, open};
use clarifier_upscale::device::{Backend, choose_among};
use clarifier_upscale::{
    Diffusion, DiffusionPaths, Error, Event, Models, RecipeModels, UpscalerChoice, lora_tags,
};

use crate::batch::{Item, Known, check, of_others};
use crate::job::Request;
use crate::picture::{One, prepare};
use crate::place::{Apart, Place};
use crate::planning::Planning;
use crate::progress::{Progress, Style, print_json, warn};
use crate::summary::Summary;
use crate::unfinished::Unfinished;
use crate::work_dir::WorkDir;
use crate::{Outcome, recipe, starter, store, words};

/// Enlarge every input; one that fails does not stop the others.
pub fn upscale(mut request: Request, place: &Place) -> Result<Outcome> {
    let alone = Place::alone();
    let place = match request.dry_run {
        true if !place.leads() => return Ok(Outcome::Done),
        // Nothing is to be shared.
        true => &alone,
        false => place,
    };
    if !place.leads() {
        (request.follows, request.quiet, request.json, request.verbose) = (true, true, false, false);
        place.agree(Ok(()))?;
        return Ok(all(&request, place, &mut None, &mut None)?.finish());
    }
    let request = &request;
    let work_dir = request.work_dir.as_deref().filter(|_| !request.dry_run);
    // First of all: another process may be at work there.
    let open =
        |folder| -> Result<_> { Ok((Unfinished::open(folder, request)?, WorkDir::open(folder, request)?)) };
    let opened = place.agree(work_dir.map(open).transpose())?;
    let (mut unfinished, mut work) = opened.map_or((None, None), |(a, b)| (Some(a), Some(b)));
    let result = all(request, place, &mut work, &mut unfinished);
    if let Some(work) = &mut work {
        work.finish(&match &result {
            Ok(summary) => summary.state(),
            Err(error) => format!("failed: {}", words::of_error(error)),
        });
    }
    let cancelled = result.as_ref().is_ok_and(Summary::is_cancelled);
    if let (Some(unfinished), Some(dir)) = (unfinished, work_dir)
        && unfinished.finish(cancelled)?
        && !request.quiet
    {
        errln!("what is done of it is kept; `clarifier resume {}` goes on", dir.display());
    }
    Ok(result?.finish())
}

fn all(
    request: &Request,
    place: &Place,
    work: &mut Option<WorkDir>,
    unfinished: &mut Option<Unfinished>,
) -> Result<Summary> {
    let style = match (request.json, request.quiet) {
        (true, _) => Style::Json,
        (_, true) => Style::Quiet,
        _ => Style::Human,
    };
    let say = |text: &str| {
        if style == Style::Human {
            errln!("{text}");
        }
    };
    let cancel = cancel_on_ctrl_c(place.leads())?;
    let mut checked = None;
    let known = place.told(|| {
        let (items, summary) = check(request, style, unfinished)?;
        let known = items.iter().map(Known::of).collect::<Vec<_>>();
        checked = Some((items, summary));
        Ok(known)
    })?;
    let (items, mut summary) = match checked {
        Some(checked) => checked,
        None => (place.agree(of_others(&known, request))?, Summary::of_follower(known.len())),
    };
    if place.leads() {
        place.agree(Ok(()))?;
    }
    if items.is_empty() {
        return Ok(summary);
    }
    let chosen = choose_among(request.device, request.precision, place.on_machine);
    let backend = place.agree(pollster::block_on(chosen).map_err(Into::into))?;
    alike(&backend, place, style)?;
    say(&format!("device: {}", backend.reason));
    if let Some(work) = work {
        work.log(&format!("device: {}", backend.reason));
    }
    let paths = place.agree(diffusion_paths(request))?;
    let starts = paths.as_ref().is_some_and(|paths| paths.checkpoint == starter::source());
    if starts && request.checkpoint.is_none() {
        let note = "redrawing with the small starter set that is built in; `clarifier models pull` downloads Stable Diffusion 1.5 for more, and --no-diffusion only enlarges";
        match style {
            Style::Json => print_json(&Event::Warning { message: note.into() }),
            _ => say(note),
        }
    }
    // What names files of SD 1.5's is of no use to the starter set.
    let adapted = paths.is_some() && !starts;
    let notes = match adapted {
        true => request.adapters.notes(&request.settings, &request.tile_prompts),
        false => Vec::new(),
    };
    for message in notes {
        match style {
            Style::Json => print_json(&Event::Warning { message }),
            _ => say(&format!("warning: {message}")),
        }
    }
    let upscaler = request.upscaler.clone().unwrap_or_else(|| {
        store::find("realesrgan-x4plus")
            .map_or(UpscalerChoice::Lite, |path| UpscalerChoice::File(path.into()))
    });
    let models_used = RecipeModels::of(&upscaler, paths.as_ref());
    if let Some(repeated) = &request.recipe {
        for difference in recipe::differences(&repeated.models, &models_used) {
            warn(style, &difference);
        }
    }
    for missing in request.adapters.missing(&request.settings, &request.tile_prompts) {
        if adapted {
            warn(style, &missing);
        }
    }
    if request.mask.is_some() && paths.is_none() {
        bail!(
            "--mask says what diffusion may change, and no diffusion runs here: leave it out, or see `clarifier models`"
        );
    }
    let mask = request.mask.as_deref().map(|mask| open(mask, &StoreKind::Memory)).transpose();
    let mask = place.agree(mask.map_err(Into::into))?;
    let mask = mask.map(|mask| Rc::new(mask.raster));
    let family = place.agree(paths.as_ref().map(DiffusionPaths::family).transpose().map_err(Into::into))?;
    let family = family.unwrap_or_default();
    // A single picture is read before gigabytes of weights are.
    let mut first = match &items[..] {
        [item] => match place.agree(prepare(request, &family, item, style)) {
            Ok(prepared) => Some(prepared),
            Err(error) => {
                summary.failed(&item.input.path, &error);
                return Ok(summary);
            }
        },
        _ => None,
    };
    let mut progress = Progress::new(style, cancel.clone());
    let load = if request.dry_run { None } else { paths.as_ref() };
    // After an overflow in f16 the other pictures were in f32 too.
    let in_full = place.told(|| Ok(unfinished.as_ref().is_some_and(Unfinished::full_precision)))?;
    let loading = if in_full { backend.in_full_precision() } else { backend.clone() };
    let loaded = pollster::block_on(Models::load(&loading, &upscaler, load, &mut |event| {
        let event = words::of_event(event);
        if let Some(work) = work {
            work.observe(&event);
        }
        progress.observe(event)
    }));
    let mut models = match place.agree(loaded.map_err(Into::into)) {
        Err(error) if matches!(error.downcast_ref(), Some(Error::Cancelled)) => {
            summary.cancelled();
            return Ok(summary);
        }
        other => other?,
    };
    models.backend = backend.clone();
    progress.finish();
    let mut machine = models.machine();
    if let (Some(paths), None) = (&paths, load) {
        machine.weights = Diffusion::weigh(&backend, paths)?;
        machine.family = family.clone();
    }
    let (backend, diffusion) = (&backend, paths.is_some());
    let planning = Planning { request, backend, machine, diffusion, style, models: models_used, mask };
    if let Some(work) = work {
        let plan = |item: &Item| planning.plan(&models, item.header.size).map(|(_, plan)| plan).ok();
        work.begin(items.iter().map(plan).collect());
    }
    for (index, item) in items.iter().enumerate() {
        let mut progress = Progress::new(style, cancel.clone());
        if let Some(work) = work {
            work.picture(index, item);
        }
        let prepared = first.take().map_or_else(|| place.agree(prepare(request, &family, item, style)), Ok);
        let one = One { planning: &planning, item, place };
        let result =
            prepared.and_then(|prepared| one.run(&mut models, prepared, &mut progress, work, unfinished));
        progress.finish();
        if let (Some(work), Err(error)) = (work.as_mut(), &result) {
            work.log(&format!("error: {}", words::of_error(error)));
        }
        match result {
            Ok(()) => summary.done(),
            Err(error) if matches!(error.downcast_ref(), Some(Error::Cancelled)) => {
                summary.cancelled();
                break;
            }
            Err(error) if error.is::<Apart>() => return Err(error),
            Err(error) => summary.failed(&item.input.path, &error),
        }
    }
    Ok(summary)
}

/// The first Ctrl-C asks the engine to stop at the next tile, the second ends the program.
fn cancel_on_ctrl_c(is_said: bool) -> Result<Arc<AtomicBool>> {
    let cancel = Arc::new(AtomicBool::new(false));
    let flag = cancel.clone();
    ctrlc::set_handler(move || {
        if flag.swap(true, Ordering::Relaxed) {
            std::process::exit(130);
        }
        if is_said {
            errln!("\nstopping after this tile; once more to stop at once");
        }
    })?;
    Ok(cancel)
}

/// All of a team must compute in the same type, and should on the same kind of device.
fn alike(backend: &Backend, place: &Place, style: Style) -> Result<()> {
    let device = backend.adapter.as_ref().map_or("the CPU", |gpu| &gpu.name);
    let all = place.team.share(Ok(format!("{:?} on {device}", backend.dtype).into_bytes()))?;
    let all: Vec<_> = all.iter().map(|said| String::from_utf8_lossy(said)).collect();
    let Some(rank) = all.iter().position(|said| *said != all[0]) else { return Ok(()) };
    let differ = format!("rank 0 computes in {} and rank {rank} in {}", all[0], all[rank]);
    let dtype = |said: &str| said.split(' ').next().map(str::to_owned);
    if all.iter().any(|said| dtype(said) != dtype(&all[0])) {
        bail!("{differ}; --precision f32 makes them alike");
    }
    if place.leads() {
        warn(style, &format!("{differ}: the result may differ in last bits from that of one"));
    }
    Ok(())
}

/// Where the diffusion networks are: as the user says, else the store's, else built in. None if they are not wanted.
fn diffusion_paths(request: &Request) -> Result<Option<DiffusionPaths>> {
    if !request.diffusion {
        return Ok(None);
    }
    let named = request.checkpoint.is_some()
        || request.controlnet.is_some()
        || request.vae.is_some()
        || request.adapters.any();
    let checkpoint = request
        .checkpoint
        .clone()
        .or_else(|| store::find("juggernaut-reborn"))
        .or_else(|| store::find("sd15"));
    let controlnet = request
        .controlnet
        .clone()
        .or_else(|| request.checkpoint.clone().filter(|path| starter::has_controlnet(path)))
        .or_else(|| store::find("controlnet-tile"));
    let (checkpoint, controlnet) = match (checkpoint, controlnet) {
        (Some(checkpoint), Some(controlnet)) => (checkpoint, controlnet),
        (None, _) if named => {
            bail!("there is no checkpoint: give --checkpoint, or download one with `clarifier models pull`")
        }
        (_, None) if named => bail!(
            "there is no Tile ControlNet: give --controlnet, or download it with `clarifier models pull`"
        ),
        _ => (starter::NAME.into(), starter::NAME.into()),
    };
    // What is SD 1.5's does not fit the set, so what presets and the store would add is left out.
    let (loras, embeddings) = match starter::is_meant(&checkpoint) {
        false => (
            request.adapters.loras(&request.settings, &request.tile_prompts)?,
            request.adapters.embeddings(&request.settings, &request.tile_prompts)?,
        ),
        true if request.adapters.any()
            || !lora_tags(&request.settings, &request.tile_prompts)?.is_empty() =>
        {
            bail!(
                "LoRAs and embeddings are made for SD 1.5 and do not fit the starter set: leave them out, or give --checkpoint"
            )
        }
        true => (Vec::new(), Vec::new()),
    };
    Ok(Some(DiffusionPaths {
        checkpoint: starter::or_file(checkpoint),
        controlnet: starter::or_file(controlnet),
        vae: request.vae.clone().map(Into::into),
        loras,
        embeddings: embeddings.into_iter().map(Into::into).collect(),
    }))
}
