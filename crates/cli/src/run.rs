//! `clarifier upscale`.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Result, bail};
use clarifier_upscale::device::choose;
use clarifier_upscale::{DiffusionPaths, Error, Event, Models, Settings, UpscalerChoice};

use crate::job::Request;
use crate::picture::{One, prepare};
use crate::planning::Planning;
use crate::progress::{Progress, Style, print_json};
use crate::{Outcome, store};

/// Enlarge every input; one that fails does not stop the others.
pub fn upscale(request: &Request) -> Result<Outcome> {
    let style = match (request.json, request.quiet) {
        (true, _) => Style::Json,
        (_, true) => Style::Quiet,
        _ => Style::Human,
    };
    let say = |text: &str| {
        if style == Style::Human {
            eprintln!("{text}");
        }
    };
    let cancel = cancel_on_ctrl_c()?;
    let backend = pollster::block_on(choose(request.device, request.precision))?;
    say(&format!("device: {}", backend.reason));
    let paths = diffusion_paths(request)?;
    if request.diffusion && paths.is_none() {
        let note =
            "no diffusion models here, so the enlarger alone runs; `clarifier models pull` downloads them";
        match style {
            Style::Json => print_json(&Event::Warning { message: note.into() }),
            _ => say(note),
        }
    }
    let upscaler = request.upscaler.clone().unwrap_or_else(|| {
        store::find("realesrgan-x4plus").map_or(UpscalerChoice::Lite, UpscalerChoice::File)
    });
    let mut progress = Progress::new(style, cancel.clone());
    // Pictures are looked at before gigabytes of weights are read.
    let mut first = match &request.inputs[..] {
        [input] => Some(prepare(request, input)?),
        _ => None,
    };
    let load = if request.dry_run { None } else { paths.as_ref() };
    let loaded = Models::load(&backend, &upscaler, load, &mut |event| progress.observe(event));
    let mut models = match loaded {
        Err(Error::Cancelled) => return Ok(cancelled(style, 0)),
        other => other?,
    };
    progress.finish();
    let (mut done, mut taken) = (0, HashSet::new());
    let first_seed = seed(&request.settings);
    for (index, input) in request.inputs.iter().enumerate() {
        let drawn = request.settings.seed < 0 && !request.reuse_seed && index > 0;
        let seed = if drawn { seed(&request.settings) } else { first_seed };
        let mut progress = Progress::new(style, cancel.clone());
        let planning = Planning { request, backend: &backend, diffusion: paths.is_some(), style };
        let one = One { planning, seed };
        let prepared = first.take().map_or_else(|| prepare(request, input), Ok);
        let result = prepared.and_then(|prepared| {
            if !taken.insert(prepared.path.clone()) {
                bail!("{}: an earlier picture of this batch has that name already", prepared.path.display());
            }
            one.run(&mut models, input, prepared, &mut progress)
        });
        progress.finish();
        match result {
            Ok(()) => done += 1,
            Err(error) if matches!(error.downcast_ref(), Some(Error::Cancelled)) => {
                return Ok(cancelled(style, done));
            }
            Err(error) => {
                let message = format!("{error:#}");
                eprintln!("error: {message}");
                if style == Style::Json {
                    print_json(&serde_json::json!({ "event": "error", "input": input, "message": message }));
                }
            }
        }
    }
    if request.inputs.len() > 1 {
        say(&format!("{done} of {} pictures done", request.inputs.len()));
    }
    Ok(if done == request.inputs.len() { Outcome::Done } else { Outcome::Failed })
}

/// Say that the user stopped it, after `done` whole results.
fn cancelled(style: Style, done: usize) -> Outcome {
    match done {
        0 => eprintln!("cancelled; no result was written"),
        _ => eprintln!("cancelled; only the {done} pictures before this one were written"),
    }
    if style == Style::Json {
        print_json(&serde_json::json!({ "event": "cancelled", "done": done }));
    }
    Outcome::Cancelled
}

/// The first Ctrl-C asks the engine to stop at the next tile, the second ends the program.
fn cancel_on_ctrl_c() -> Result<Arc<AtomicBool>> {
    let cancel = Arc::new(AtomicBool::new(false));
    let flag = cancel.clone();
    ctrlc::set_handler(move || {
        if flag.swap(true, Ordering::Relaxed) {
            std::process::exit(130);
        }
        eprintln!("\nstopping after this tile; once more to stop at once");
    })?;
    Ok(cancel)
}

/// Where the diffusion networks are: as the user says, else the store's. None if it is not wanted, or
/// if the store lacks them and none was named.
fn diffusion_paths(request: &Request) -> Result<Option<DiffusionPaths>> {
    if !request.diffusion {
        return Ok(None);
    }
    let named = request.checkpoint.is_some() || request.controlnet.is_some() || request.vae.is_some();
    let checkpoint = request
        .checkpoint
        .clone()
        .or_else(|| store::find("juggernaut-reborn"))
        .or_else(|| store::find("sd15"));
    let controlnet = request
        .controlnet
        .clone()
        .or_else(|| beside(request.checkpoint.as_deref()))
        .or_else(|| store::find("controlnet-tile"));
    match (checkpoint, controlnet) {
        (Some(checkpoint), Some(controlnet)) => {
            Ok(Some(DiffusionPaths { checkpoint, controlnet, vae: request.vae.clone() }))
        }
        (None, _) if named => {
            bail!("there is no checkpoint: give --checkpoint, or download one with `clarifier models pull`")
        }
        (_, None) if named => bail!(
            "there is no Tile ControlNet: give --controlnet, or download it with `clarifier models pull`"
        ),
        _ => Ok(None),
    }
}

/// A diffusers folder may have its ControlNet in it.
fn beside(checkpoint: Option<&Path>) -> Option<PathBuf> {
    let checkpoint = checkpoint?;
    checkpoint.join("controlnet").is_dir().then(|| checkpoint.to_owned())
}

/// A seed of the user's, or one drawn from the clock.
fn seed(settings: &Settings) -> u64 {
    u64::try_from(settings.seed).unwrap_or_else(|_| {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        // Short enough to be typed again.
        (now.as_nanos() as u64 ^ u64::from(std::process::id()) << 20) % (1 << 32)
    })
}
