//! What a picture will take: within the user's memory limit, and in words.

use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use anyhow::{Result, bail};
use clarifier_raster::Raster;
use clarifier_tile::Size;
use clarifier_upscale::device::Backend;
use clarifier_upscale::{Machine, ModelDefaults, Models, Peak, Plan, RecipeModels, Settings, shrink, speed};

use crate::job::Request;
use crate::progress::{Style, human, print_json};

/// Plans of one call of the program.
pub struct Planning<'a> {
    pub request: &'a Request,
    pub backend: &'a Backend,
    pub machine: Machine,
    pub diffusion: bool,
    pub style: Style,
    /// The networks, as recipes name them.
    pub models: RecipeModels,
    /// What may change in every picture.
    pub mask: Option<Rc<Raster>>,
}

impl Planning<'_> {
    /// The plan for a picture of this size, with smaller tiles of what needs most if the memory limit or a GPU's memory asks
    /// for them; before that, tiles are computed one by one, and nothing is kept that can be computed again.
    pub fn plan(&self, models: &Models, input: Size) -> Result<(Settings, Plan)> {
        let mut settings = self.request.settings.resolve(ModelDefaults::of(&self.machine.family));
        let mut machine = self.machine.clone();
        machine.tile_batch = self.request.tile_batch.unwrap_or(machine.tile_batch);
        loop {
            let plan = Plan::on(&machine, &models.enlarger, self.diffusion, input, &settings);
            let on_disk = self.request.copies_on_disk(plan.scratch);
            let plan = if on_disk { plan.on_disk() } else { plan };
            let limit = self.request.memory_limit.filter(|limit| plan.peak_memory > *limit);
            if limit.is_none() && machine.room().is_none_or(|room| plan.device_memory <= room) {
                return Ok((settings, plan));
            }
            if plan.peak == Peak::Diffusion && machine.tile_batch > 1 {
                machine.tile_batch = plan.tile_batch.min(machine.tile_batch - 1);
                continue;
            }
            if plan.hints > 0 && plan.peak == Peak::Diffusion {
                machine.hint_budget = 0;
                continue;
            }
            let before = settings.clone();
            shrink(&mut settings, plan.peak);
            if settings == before {
                // A driver may have more than it says, by way of the machine's memory.
                let Some(limit) = limit else { return Ok((settings, plan)) };
                bail!(
                    "--memory-limit: this needs about {} MB even with the smallest tiles, and the limit is {} MB",
                    plan.peak_memory / 1_000_000,
                    limit / 1_000_000
                );
            }
        }
    }

    /// The plan without diffusion, which what a mask keeps is made by.
    pub fn plain(&self, models: &Models, input: Size, settings: &Settings) -> Plan {
        Plan::on(&self.machine, &models.enlarger, false, input, settings)
    }

    /// Tell of the plan, and of the time that it takes.
    pub fn show(&self, plan: &Plan, input: &Path, output: &Path) -> Result<()> {
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
        outln!("{} → {}", input.display(), output.display());
        outln!("  device: {}, {}", plan.device, plan.precision);
        for (index, stage) in plan.stages.iter().enumerate() {
            out!(
                "  stage {}: {} × {}, {} tiles enlarged",
                index + 1,
                stage.width,
                stage.height,
                stage.enlarger_tiles
            );
            match stage.steps {
                0 => outln!(", not redrawn"),
                steps => {
                    let evaluations = match stage.evaluations {
                        same if same == steps => String::new(),
                        more => format!(" of {more} evaluations"),
                    };
                    let (tiles, (width, height)) = (stage.diffusion_tiles, stage.tile);
                    out!(", {steps} steps{evaluations} × {tiles} tiles of {width} × {height} latents");
                    match plan.tile_batch.min(tiles) {
                        1 => outln!(),
                        several => outln!(", {several} at once"),
                    }
                }
            }
        }
        let megabytes = |bytes: u64| bytes / 1_000_000;
        let (memory, copies) = (megabytes(plan.peak_memory), megabytes(plan.scratch));
        let weights = match plan.weights {
            0 => String::new(),
            weights => format!("{} MB weights", megabytes(weights)),
        };
        match (self.request.copies_on_disk(plan.scratch), &*weights) {
            (true, "") => {
                outln!("  memory: about {memory} MB; working copies of the picture: {copies} MB on disk")
            }
            (true, weights) => outln!(
                "  memory: about {memory} MB, of which {weights}; working copies of the picture: {copies} MB on disk"
            ),
            (false, "") => {
                outln!("  memory: about {memory} MB, of which {copies} MB working copies of the picture")
            }
            (false, weights) => outln!(
                "  memory: about {memory} MB, of which {weights} and {copies} MB working copies of the picture"
            ),
        }
        if self.request.work_dir.is_some() {
            outln!("  disk: about {} MB in the work folder", plan.kept.div_ceil(1_000_000));
        }
        if let Some(seconds) = seconds {
            outln!("  time: about {}", human(Duration::from_secs_f64(seconds)));
        }
        Ok(())
    }
}
