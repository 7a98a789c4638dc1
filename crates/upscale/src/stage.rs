//! One stage: enlarge, redraw, hold the colours.

use clarifier_raster::{Filter, Raster, Wrap, resize_wrapped};
use clarifier_tile::{Rect, Size};

use crate::autoencode::{Autoencoder, FACTOR, Statistics, latent_size};
use crate::enlarge::Enlarging;
use crate::lock::{Lows, REACH};
use crate::tiles::StepTiles;
use crate::{
    Conditioning, Diffusion, Error, HintSource, Job, Models, Observer, Redraw, Settings, Solver, Stage,
    StepNoise, noise, noise_from_file,
};

/// The stages of a run.
pub(crate) struct StageRun<'a> {
    settings: &'a Settings,
    job: &'a Job,
    plan: &'a [Stage],
    /// The part of the last stage's result that is wanted.
    part: Rect,
    /// None if nothing is redrawn.
    conditioning: Option<Conditioning>,
    /// What each stage must get right, in pixels of its result.
    needed: Vec<Needed>,
    statistics: Statistics,
}

/// What a stage must get right, in pixels of its result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Needed {
    /// Of the guess.
    guess: Rect,
    /// Of the latents after the last step.
    latents: Rect,
    /// Of the latents before the first.
    start: Rect,
}

impl<'a> StageRun<'a> {
    pub fn new(
        settings: &'a Settings,
        job: &'a Job,
        plan: &'a [Stage],
        part: Rect,
        conditioning: Option<Conditioning>,
    ) -> Self {
        Self {
            settings,
            job,
            plan,
            part,
            conditioning,
            needed: Vec::new(),
            statistics: Statistics::default(),
        }
    }

    fn wrap(&self) -> Wrap {
        Wrap::from(self.settings.seamless)
    }

    /// The size that a stage works in: circular sides that are redrawn must be whole latents.
    fn work_size(&self, stage: &Stage) -> Size {
        if self.conditioning.is_none() {
            return stage.to;
        }
        let side = |length: u32, wraps: bool| if wraps { length.next_multiple_of(FACTOR) } else { length };
        Size::new(side(stage.to.width, self.wrap().x), side(stage.to.height, self.wrap().y))
    }

    fn autoencoder(&self, stage: &Stage) -> Autoencoder {
        Autoencoder::new(self.work_size(stage), self.settings.vae_tile, self.wrap(), FACTOR)
    }

    fn tiles(&self, stage: &Stage) -> StepTiles {
        StepTiles::new(latent_size(self.work_size(stage), FACTOR), self.settings, stage.seed)
    }

    fn solver(&self, stage: &Stage) -> Solver {
        let area = Rect::new(0, 0, latent_size(self.work_size(stage), FACTOR));
        Solver::new(self.settings, stage.strength, StepNoise { seed: stage.seed, area })
    }

    /// Find out, from the last stage backwards, what each must get right.
    pub fn prepare(&mut self, models: &Models) {
        let whole = |size: Size| Rect::new(0, 0, size);
        let mut part = self.part;
        let mut list = Vec::new();
        for (index, stage) in self.plan.iter().enumerate().rev() {
            let work = self.work_size(stage);
            // A circular picture is resampled to its working size and back; it is done as a whole.
            if self.wrap() != Wrap::NONE {
                part = whole(work);
            }
            let needed = if self.conditioning.is_some() {
                let held = if self.settings.colour_lock > 0.0 { part.grown(REACH, work) } else { part };
                let latents = in_latents(held);
                let autoencoder = self.autoencoder(stage);
                let steps = self.solver(stage).evaluations();
                let (_, start) = self.tiles(stage).needed(steps, autoencoder.cover(latents));
                // The last latents may reach over the picture's end.
                let guess = autoencoder.cover(start).times(FACTOR).grown(0, work).hull(held);
                // All tiles take their statistics from the first stage's whole guess.
                let guess = if index == 0 { whole(work) } else { guess };
                Needed { guess, latents, start }
            } else {
                Needed { guess: part, latents: part, start: part }
            };
            let enlarging = Enlarging::new(models, self.settings, &self.job.scratch);
            part = enlarging.source(stage.from, work, needed.guess);
            list.push(needed);
        }
        list.reverse();
        self.needed = list;
    }

    /// The result of the `index`th stage on `before`.
    pub async fn stage(
        &mut self,
        models: &mut Models,
        before: &Raster,
        index: usize,
        stage: &Stage,
        observe: Observer<'_>,
    ) -> Result<Raster, Error> {
        let (needed, work) = (self.needed[index], self.work_size(stage));
        let enlarging = Enlarging::new(models, self.settings, &self.job.scratch);
        let mut picture = enlarging.run(before, work, needed.guess, observe).await?;
        let backend = models.backend.clone();
        if let (Some(diffusion), Some(_)) = (&mut models.diffusion, &self.conditioning) {
            let lows = match self.settings.colour_lock {
                0.0 => None,
                _ => Some(Lows::of(&picture, self.wrap())?),
            };
            self.redraw(&backend, diffusion, before, &mut picture, index, stage, observe).await?;
            if let Some(lows) = lows {
                lows.hold(&mut picture, self.settings.colour_lock, self.wrap())?;
            }
        }
        if work == stage.to {
            return Ok(picture);
        }
        let mut result = Raster::new(&self.job.scratch, stage.to, picture.channels(), picture.depth())?;
        resize_wrapped(&picture, &mut result, Filter::Lanczos3, self.wrap())?;
        Ok(result)
    }

    /// The diffusion half: replace `guess` by its redrawn self. `before` is the stage's input.
    #[allow(clippy::too_many_arguments)]
    async fn redraw(
        &mut self,
        backend: &crate::device::Backend,
        diffusion: &mut Diffusion,
        before: &Raster,
        guess: &mut Raster,
        index: usize,
        stage: &Stage,
        observe: Observer<'_>,
    ) -> Result<(), Error> {
        let (settings, scratch, needed) = (self.settings, &self.job.scratch, self.needed[index]);
        if index == 0 && self.plan.iter().any(|stage| self.autoencoder(stage).is_divided()) {
            let kind = settings.vae_statistics;
            let measured = Statistics::measure(backend, diffusion, guess, settings.vae_tile, kind);
            self.statistics = measured.await?;
        }
        let mut autoencoder = self.autoencoder(stage);
        autoencoder.statistics = self.statistics.clone();
        let (solver, tiles) = (self.solver(stage), self.tiles(stage));
        let mut canvas = autoencoder.encode(backend, diffusion, guess, needed.start, observe).await?;
        if solver.evaluations() > 0 {
            {
                let area = canvas.size;
                let noise = match &self.job.noise {
                    Some(path) if index == 0 => {
                        let expected = [canvas.channels, area.height as usize, area.width as usize];
                        noise_from_file(path, expected)?
                    }
                    _ => noise(stage.seed, Rect::new(0, 0, area), canvas.channels),
                };
                solver.add_noise(&mut canvas.data, &noise);
            }
            let smooth = match settings.hint {
                HintSource::Guess => None,
                HintSource::Input => {
                    let mut hint = Raster::new(scratch, guess.size(), guess.channels(), guess.depth())?;
                    resize_wrapped(before, &mut hint, Filter::Bicubic, self.wrap())?;
                    Some(hint)
                }
            };
            let conditioning =
                self.conditioning.as_ref().expect("prompts are embedded where there is a UNet");
            let hint = smooth.as_ref().unwrap_or(guess);
            // Later stages have more tiles.
            if index + 1 == self.plan.len() {
                let unused = conditioning.unused(tiles.frame(), tiles.numbered());
                if !unused.is_empty() {
                    let message = format!(
                        "--tile-prompts: no tile has its centre in {}: nothing is said there",
                        unused.join(" or ")
                    );
                    let _ = observe(crate::Event::Warning { message });
                }
            }
            let previews = self.job.step_previews;
            let redraw = Redraw { backend, settings, conditioning, hint, tiles: &tiles, previews };
            let after = autoencoder.cover(needed.latents);
            redraw.run(diffusion, &mut canvas, solver, after, observe).await?;
        }
        autoencoder.decode(backend, diffusion, &canvas, guess, needed.latents, scratch, observe).await
    }
}

/// The latents that a part of the picture is made of.
fn in_latents(pixels: Rect) -> Rect {
    let (x, y) = (pixels.x / FACTOR, pixels.y / FACTOR);
    let size = Size::new(pixels.right().div_ceil(FACTOR) - x, pixels.bottom().div_ceil(FACTOR) - y);
    Rect::new(x, y, size)
}
