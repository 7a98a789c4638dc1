//! `clarifier upscale`.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use clarifier_raster::{Depth, EncodeOptions, Format, Raster, StoreKind, open, save};
use clarifier_upscale::device::{Backend, choose};
use clarifier_upscale::{
    DiffusionPaths, Error, Event, Job, Models, Plan, Settings, UpscalerChoice, output_size, speed,
    upscale as run_engine,
};

use crate::job::Request;
use crate::output::target;
use crate::progress::{Progress, Style, human, print_json};
use crate::{Outcome, store};

/// Working copies up to this many bytes stay in memory.
const SCRATCH_IN_MEMORY: u64 = 2 << 30;

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
    let notes = if paths.is_some() { request.adapters.notes(&request.settings) } else { Vec::new() };
    for message in notes {
        match style {
            Style::Json => print_json(&Event::Warning { message }),
            _ => say(&format!("warning: {message}")),
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
        let one = One { request, backend: &backend, diffusion: paths.is_some(), seed, style };
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
        .or_else(|| beside(request.checkpoint.as_deref()))
        .or_else(|| store::find("controlnet-tile"));
    match (checkpoint, controlnet) {
        (Some(checkpoint), Some(controlnet)) => {
            let (loras, embeddings) =
                (request.adapters.loras(&request.settings)?, request.adapters.embeddings(&request.settings)?);
            Ok(Some(DiffusionPaths { checkpoint, controlnet, vae: request.vae.clone(), loras, embeddings }))
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

/// A picture that was read, and where its result goes.
struct Prepared {
    picture: Raster,
    path: PathBuf,
    format: Format,
}

/// Read the picture and check where its result goes.
fn prepare(request: &Request, input: &Path) -> Result<Prepared> {
    let decoded = open(input, &StoreKind::Memory)?;
    let warn = |file: &Path, warning: &str| {
        let message = format!("{}: {warning}", file.display());
        match (request.json, request.quiet) {
            (true, _) => print_json(&Event::Warning { message }),
            (_, true) => {}
            _ => eprintln!("warning: {message}"),
        }
    };
    decoded.warnings.iter().for_each(|warning| warn(input, warning));
    let (path, format) = target(request, input, decoded.format)?;
    format.losses(&decoded.raster).iter().for_each(|loss| warn(&path, loss));
    let size = output_size(decoded.raster.size(), request.settings.upscale_factor);
    format.check_size(size).with_context(|| path.display().to_string())?;
    Ok(Prepared { picture: decoded.raster, path, format })
}

/// One picture of a batch.
struct One<'a> {
    request: &'a Request,
    backend: &'a Backend,
    diffusion: bool,
    seed: u64,
    style: Style,
}

impl One<'_> {
    fn run(
        &self,
        models: &mut Models,
        input: &Path,
        prepared: Prepared,
        progress: &mut Progress,
    ) -> Result<()> {
        let Self { request, seed, .. } = *self;
        let begun = Instant::now();
        let Prepared { picture, path, format } = prepared;
        let (settings, plan) = self.plan(models, &picture)?;
        if request.dry_run {
            return self.show(&plan, input, &path);
        }
        if self.style == Style::Human && request.verbose {
            eprintln!("settings: {}", serde_json::to_string(&settings)?);
            eprintln!("plan: {}", serde_json::to_string(&plan)?);
        }
        let scratch = if plan.scratch <= SCRATCH_IN_MEMORY {
            StoreKind::Memory
        } else {
            StoreKind::File(std::env::temp_dir())
        };
        let size = output_size(picture.size(), settings.upscale_factor);
        let depth = if format.keeps_sixteen_bits() { picture.depth() } else { Depth::Eight };
        let mut result = Raster::new(&scratch, size, picture.channels(), depth)?;
        let job = Job { seed, noise: request.noise.clone(), scratch };
        let report =
            pollster::block_on(run_engine(models, &picture, &mut result, &settings, &job, &mut |event| {
                progress.observe(event)
            }))?;
        let options = EncodeOptions { jpeg_quality: request.jpeg_quality, depth };
        save(&result, &path, format, &options, request.overwrite)?;
        progress.finish();
        match self.style {
            Style::Json => print_json(&serde_json::json!({
                "event": "done", "input": input, "output": path, "width": size.width, "height": size.height,
                "seed": report.seed, "diffusion": report.diffusion, "seconds": begun.elapsed().as_secs_f64(),
            })),
            Style::Human => {
                let seed = if report.diffusion { format!(", seed {seed}") } else { String::new() };
                eprintln!("{}: {size} in {}{seed}", path.display(), human(begun.elapsed()));
            }
            Style::Quiet => {}
        }
        Ok(())
    }

    /// The plan, with smaller tiles if the memory limit asks for them.
    fn plan(&self, models: &Models, picture: &Raster) -> Result<(Settings, Plan)> {
        let mut settings = self.request.settings.clone();
        loop {
            let plan = Plan::new(self.backend, &models.enlarger, self.diffusion, picture.size(), &settings);
            let Some(limit) = self.request.memory_limit.filter(|limit| plan.peak_memory > *limit) else {
                return Ok((settings, plan));
            };
            // The smallest tile that still shows the networks what it is of, unless the user's is smaller.
            let smaller = |side: u32, least: u32| (side * 3 / 4).next_multiple_of(8).max(least).min(side);
            if !self.diffusion || settings.vae_tile <= 128 {
                bail!(
                    "--memory-limit: this needs about {} MB even with the smallest tiles, and the limit is {} MB",
                    plan.peak_memory / 1_000_000,
                    limit / 1_000_000
                );
            }
            settings.vae_tile = smaller(settings.vae_tile, 128);
            settings.tile_width = smaller(settings.tile_width, 32);
            settings.tile_height = smaller(settings.tile_height, 32);
            let side = settings.tile_width.min(settings.tile_height);
            settings.tile_overlap = settings.tile_overlap.min(side / 2);
        }
    }

    fn show(&self, plan: &Plan, input: &Path, output: &Path) -> Result<()> {
        // Measured only for diffusion, beside which all else is quick.
        let seconds = match self.diffusion {
            true => Some(plan.seconds(pollster::block_on(speed(self.backend))?)),
            false => None,
        };
        if self.style == Style::Json {
            print_json(&serde_json::json!({
                "event": "plan", "input": input, "output": output, "plan": plan, "seconds": seconds,
            }));
            return Ok(());
        }
        println!("{} → {}", input.display(), output.display());
        println!("  device: {}, {}", plan.device, plan.precision);
        for (index, stage) in plan.stages.iter().enumerate() {
            print!(
                "  stage {}: {} × {}, {} tiles enlarged",
                index + 1,
                stage.width,
                stage.height,
                stage.enlarger_tiles
            );
            match stage.steps {
                0 => println!(", not redrawn"),
                steps => println!(
                    ", {steps} steps × {} tiles of {} × {} latents",
                    stage.diffusion_tiles, stage.tile.0, stage.tile.1
                ),
            }
        }
        println!(
            "  memory: about {} MB, of which {} MB working copies of the picture",
            plan.peak_memory / 1_000_000,
            plan.scratch / 1_000_000
        );
        if let Some(seconds) = seconds {
            println!("  time: about {}", human(Duration::from_secs_f64(seconds)));
        }
        Ok(())
    }
}
