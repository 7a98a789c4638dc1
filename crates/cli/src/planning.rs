//! What a picture will take: within the user's memory limit, and in words.

use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use anyhow::{Result, bail};
use clarifier_raster::Raster;
use clarifier_tile::Size;
use clarifier_upscale::device::Backend;
use clarifier_upscale::{Models, Peak, Plan, RecipeModels, Settings, speed};

use crate::job::Request;
use crate::progress::{Style, human, print_json};

/// Plans of one call of the program.
pub struct Planning<'a> {
    pub request: &'a Request,
    pub backend: &'a Backend,
    pub diffusion: bool,
    pub style: Style,
    /// The networks, as recipes name them.
    pub models: RecipeModels,
    /// What may change in every picture.
    pub mask: Option<Rc<Raster>>,
}

impl Planning<'_> {
    /// The plan for a picture of this size, with smaller tiles of what needs most if the memory limit asks
    /// for them.
    pub fn plan(&self, models: &Models, input: Size) -> Result<(Settings, Plan)> {
        let mut settings = self.request.settings.clone();
        loop {
            let plan = Plan::new(self.backend, &models.enlarger, self.diffusion, input, &settings);
            let on_disk = self.request.copies_on_disk(plan.scratch);
            let plan = if on_disk { plan.on_disk() } else { plan };
            let Some(limit) = self.request.memory_limit.filter(|limit| plan.peak_memory > *limit) else {
                return Ok((settings, plan));
            };
            let before = settings.clone();
            shrink(&mut settings, plan.peak);
            if settings == before {
                bail!(
                    "--memory-limit: this needs about {} MB even with the smallest tiles, and the limit is {} MB",
                    plan.peak_memory / 1_000_000,
                    limit / 1_000_000
                );
            }
        }
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
                steps => {
                    let evaluations = match stage.evaluations {
                        same if same == steps => String::new(),
                        more => format!(" of {more} evaluations"),
                    };
                    let (tiles, (width, height)) = (stage.diffusion_tiles, stage.tile);
                    println!(", {steps} steps{evaluations} × {tiles} tiles of {width} × {height} latents");
                }
            }
        }
        let (memory, copies) = (plan.peak_memory / 1_000_000, plan.scratch / 1_000_000);
        match self.request.copies_on_disk(plan.scratch) {
            true => {
                println!("  memory: about {memory} MB; working copies of the picture: {copies} MB on disk")
            }
            false => {
                println!("  memory: about {memory} MB, of which {copies} MB working copies of the picture")
            }
        }
        if let Some(seconds) = seconds {
            println!("  time: about {}", human(Duration::from_secs_f64(seconds)));
        }
        Ok(())
    }
}

/// Make the tiles smaller that `peak` comes from, down to the smallest that still show the networks what
/// they are of, unless the user's are smaller.
fn shrink(settings: &mut Settings, peak: Peak) {
    let smaller = |side: u32, least: u32| (side * 3 / 4).next_multiple_of(8).max(least).min(side);
    match peak {
        Peak::Picture | Peak::Enlarger => {}
        Peak::Autoencoder => settings.vae_tile = smaller(settings.vae_tile, 128),
        Peak::Diffusion => {
            settings.tile_width = smaller(settings.tile_width, 32);
            settings.tile_height = smaller(settings.tile_height, 32);
            let side = settings.tile_width.min(settings.tile_height);
            settings.tile_overlap = settings.tile_overlap.min(side / 2);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_needs_most_shrinks_and_there_is_an_end_to_it() {
        let mut settings = Settings::default();
        shrink(&mut settings, Peak::Autoencoder);
        assert_eq!(settings, Settings { vae_tile: 576, ..Settings::default() });
        shrink(&mut settings, Peak::Diffusion);
        assert_eq!((settings.vae_tile, settings.tile_width, settings.tile_height), (576, 88, 112));
        for peak in [Peak::Picture, Peak::Autoencoder, Peak::Diffusion] {
            (0..20).for_each(|_| shrink(&mut settings, peak));
        }
        assert_eq!((settings.vae_tile, settings.tile_width, settings.tile_height), (128, 32, 32));
        let small = Settings { tile_width: 16, tile_overlap: 4, vae_tile: 64, ..Settings::default() };
        let mut same = Settings { tile_height: 16, ..small };
        let before = same.clone();
        shrink(&mut same, Peak::Autoencoder);
        shrink(&mut same, Peak::Diffusion);
        assert_eq!(same, before, "smaller already");
    }
}
