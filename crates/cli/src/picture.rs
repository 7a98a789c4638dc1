//! One picture of a batch, from reading it to its result.

use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, Result};
use clarifier_raster::{Depth, EncodeOptions, Format, Raster, StoreKind, open, save};
use clarifier_upscale::{Event, Job, Models, output_size, upscale as run_engine};

use crate::job::Request;
use crate::output::target;
use crate::planning::Planning;
use crate::progress::{Progress, Style, human, print_json};

/// Working copies up to this many bytes stay in memory.
const SCRATCH_IN_MEMORY: u64 = 2 << 30;

/// A picture that was read, and where its result goes.
pub struct Prepared {
    pub picture: Raster,
    pub path: PathBuf,
    pub format: Format,
}

/// Read the picture and check where its result goes.
pub fn prepare(request: &Request, input: &Path) -> Result<Prepared> {
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
pub struct One<'a> {
    pub planning: Planning<'a>,
    pub seed: u64,
}

impl One<'_> {
    pub fn run(
        &self,
        models: &mut Models,
        input: &Path,
        prepared: Prepared,
        progress: &mut Progress,
    ) -> Result<()> {
        let Self { planning, seed } = self;
        let request = planning.request;
        let begun = Instant::now();
        let Prepared { picture, path, format } = prepared;
        let (settings, plan) = planning.plan(models, &picture)?;
        if request.dry_run {
            return planning.show(&plan, input, &path);
        }
        if planning.style == Style::Human && request.verbose {
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
        let job = Job { seed: *seed, noise: request.noise.clone(), scratch };
        let report =
            pollster::block_on(run_engine(models, &picture, &mut result, &settings, &job, &mut |event| {
                progress.observe(event)
            }))?;
        let options = EncodeOptions { jpeg_quality: request.jpeg_quality, depth, ..EncodeOptions::default() };
        save(&result, &path, format, &options, request.overwrite)?;
        progress.finish();
        match planning.style {
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
}
