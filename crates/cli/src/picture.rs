//! One picture of a batch, from reading it to its result.

use std::path::Path;
use std::time::Instant;

use anyhow::Result;
use clarifier_raster::{Depth, EncodeError, EncodeOptions, Format, Raster, SaveOptions, StoreKind, open};
use clarifier_tile::Size;
use clarifier_upscale::{
    Diffusion, Error, Job, ModelFamily, Models, Plan, Recipe, RecipeFile, Settings, check_noise_file,
    output_part, source_size, stages, upscale as run_engine,
};

use crate::batch::Item;
use crate::job::Request;
use crate::place::Place;
use crate::planning::Planning;
use crate::progress::{Progress, Style, human, print_json, warn};
use crate::unfinished::Unfinished;
use crate::work_dir::WorkDir;
use crate::{space, words};

/// A picture that was read.
pub struct Prepared {
    pub picture: Raster,
    /// What its result's format leaves out, said already.
    losses: Vec<String>,
}

/// Read the picture, and say what is lost of it.
pub fn prepare(request: &Request, family: &ModelFamily, item: &Item, style: Style) -> Result<Prepared> {
    let (input, target) = (&item.input.path, &item.target);
    let decoded = open(input, &request.input_store(item.header.size, &target.path)?)?;
    let picture = decoded.raster;
    let losses = target.format.losses(&picture);
    for (file, message) in decoded
        .warnings
        .iter()
        .map(|warning| (input, warning))
        .chain(losses.iter().map(|loss| (&target.path, loss)))
    {
        warn(style, &format!("{}: {message}", file.display()));
    }
    if let Some(noise) = &request.noise {
        let size = source_size(picture.size(), &request.settings);
        let first = stages(size, request.settings.upscale_factor, 0.0, 0).remove(0);
        check_noise_file(noise, family, first.to)?;
    }
    Ok(Prepared { picture, losses })
}

/// One picture of a batch.
pub struct One<'a> {
    pub planning: &'a Planning<'a>,
    pub item: &'a Item,
    pub place: &'a Place,
}

impl One<'_> {
    /// Enlarge it and write the result.
    pub fn run(
        &self,
        models: &mut Models,
        prepared: Prepared,
        progress: &mut Progress,
        work: &mut Option<WorkDir>,
        unfinished: &mut Option<Unfinished>,
    ) -> Result<()> {
        let Self { planning, item, place } = self;
        let (request, target, seed) = (planning.request, &item.target, item.seed);
        let begun = Instant::now();
        let Prepared { picture, losses } = prepared;
        let (settings, plan) = place.agree(planning.plan(models, picture.size()))?;
        if let Some(diffusion) = &mut models.diffusion {
            diffusion.hint_budget = plan.hints;
            diffusion.tile_batch = plan.tile_batch;
        }
        if request.dry_run {
            return planning.show(&plan, &item.input.path, &target.path);
        }
        if planning.style == Style::Human && request.verbose {
            errln!("settings: {}", serde_json::to_string(&settings)?);
            errln!("plan: {}", serde_json::to_string(&plan)?);
        }
        if let Some(work) = work {
            work.log(&format!("settings: {}", serde_json::to_string(&settings)?));
            work.log(&format!("plan: {}", serde_json::to_string(&plan)?));
        }
        let size = output_part(picture.size(), &settings, request.region)?.size;
        let depth = match request.depth.unwrap_or(picture.depth()) {
            Depth::Sixteen if target.format.keeps_sixteen_bits() => Depth::Sixteen,
            _ => Depth::Eight,
        };
        let (job, mut result) =
            place.agree(self.job(models, &picture, (&settings, &plan), (size, depth), unfinished))?;
        let job = Job { previews: work.is_some(), looks: work.is_some(), ..job };
        let done =
            pollster::block_on(run_engine(models, &picture, &mut result, &settings, &job, &mut |event| {
                let event = words::of_event(event);
                if let Some(work) = work {
                    work.observe(&event);
                }
                progress.observe(event)
            }));
        let report = place.known(done)?;
        if !place.leads() {
            // Until the result is safe.
            return place.agree(Ok(()));
        }
        let written = (|| -> Result<()> {
            // The input's own is not how this was made.
            result.metadata.recipe = Some(self.recipe(models, settings, depth).to_json());
            for loss in target.format.losses(&result).iter().filter(|loss| !losses.contains(loss)) {
                progress.warn(&format!("{}: {loss}", target.path.display()));
            }
            let options =
                EncodeOptions { jpeg_quality: request.jpeg_quality, jpeg_chroma: request.jpeg_chroma, depth };
            if let Some(unfinished) = unfinished {
                unfinished.saving(item)?;
            }
            // Whoever asked for an end since the last tile is heard too.
            let how = SaveOptions { overwrite: request.overwrite, stop: Some(progress.cancel()) };
            if let Err(error) = target.save(&result, &options, how) {
                if let Some(unfinished) = unfinished {
                    unfinished.not_saved(item)?;
                }
                return Err(match error.source {
                    EncodeError::Stopped => Error::Cancelled.into(),
                    _ => error.into(),
                });
            }
            if let Some(unfinished) = unfinished {
                drop(job);
                let full_precision =
                    models.diffusion.as_ref().is_some_and(|d| d.dtype != models.backend.dtype);
                unfinished.done(item, full_precision)?;
            }
            Ok(())
        })();
        place.agree(written)?;
        progress.finish();
        let seconds = begun.elapsed();
        match planning.style {
            Style::Json => print_json(&serde_json::json!({
                "event": "done", "input": item.input.path, "output": target.path, "width": size.width,
                "height": size.height, "seed": report.seed, "diffusion": report.diffusion,
                "seconds": seconds.as_secs_f64(),
            })),
            Style::Human => {
                let seed = if report.diffusion { format!(", seed {seed}") } else { String::new() };
                errln!("{}: {size} in {}{seed}", target.path.display(), human(seconds));
            }
            Style::Quiet => {}
        }
        if let Some(work) = work {
            work.log(&format!("written: {}, {size}, in {}", target.path.display(), human(seconds)));
        }
        Ok(())
    }

    /// The engine's job, and what its result goes into: on rank 0 with the journal, elsewhere for the tiles alone.
    fn job(
        &self,
        models: &Models,
        picture: &Raster,
        (settings, plan): (&Settings, &Plan),
        (size, depth): (Size, Depth),
        unfinished: &Option<Unfinished>,
    ) -> Result<(Job, Raster)> {
        let Self { planning, item, place } = self;
        let request = planning.request;
        let scratch = request.scratch(plan.scratch, &item.target.path)?;
        let job = Job {
            noise: request.noise.clone().map(Into::into),
            scratch: scratch.clone(),
            mask: planning.mask.clone(),
            region: request.region,
            tile_prompts: request.tile_prompts.clone(),
            team: place.team.clone(),
            ..Job::new(item.seed)
        };
        if !place.leads() {
            let nothing = Raster::new(&StoreKind::Memory, Size::new(1, 1), picture.channels(), depth)?;
            return Ok((job, nothing));
        }
        let result = Raster::new(&scratch, size, picture.channels(), depth)?;
        let on_disk = request.copies_on_disk(plan.scratch).then_some(&result);
        let masked = planning.mask.is_some().then(|| planning.plain(models, picture.size(), settings));
        let needed = space::needed(plan, masked.as_ref(), on_disk, picture);
        let journal = unfinished
            .as_ref()
            .map(|unfinished| unfinished.journal(item, planning.models.clone(), request.save_every, needed));
        Ok((Job { journal: journal.transpose()?, ..job }, result))
    }

    /// All that gives this result again.
    fn recipe(&self, models: &Models, mut settings: Settings, depth: Depth) -> Recipe {
        let Self { planning, item, .. } = self;
        let (request, jpeg) = (planning.request, item.target.format == Format::Jpeg);
        let of = |path: &Path| RecipeFile::of(&path.into());
        settings.seed = item.seed as i64;
        Recipe {
            program: concat!("clarifier ", env!("CARGO_PKG_VERSION")).into(),
            settings,
            models: planning.models.clone(),
            precision: models.diffusion.as_ref().map_or("f32", Diffusion::precision).into(),
            diffusion: models.diffusion.is_some(),
            region: request.region.map(|r| [r.x, r.y, r.size.width, r.size.height]),
            mask: request.mask.as_deref().map(of),
            noise: request.noise.as_deref().map(of),
            depth: Some(if depth == Depth::Sixteen { 16 } else { 8 }),
            jpeg_quality: jpeg.then_some(request.jpeg_quality),
            jpeg_chroma: jpeg.then(|| request.jpeg_chroma.name().to_owned()),
            tile_prompts: request.tile_prompts.clone(),
        }
    }
}
