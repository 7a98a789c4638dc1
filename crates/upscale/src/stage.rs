//! One stage: enlarge, redraw, hold the colours.

use clarifier_model::family::ModelFamily;
use clarifier_raster::{Filter, Raster, Wrap, resize_wrapped};
use clarifier_tile::{Rect, Size};

use crate::autoencode::{Autoencoder, latent_size};
use crate::chroma;
use crate::device::Backend;
use crate::enlarging::Enlarging;
use crate::journal::{JournalError, Ledger};
use crate::lock::{Lows, REACH};
use crate::statistics::Statistics;
use crate::team::{from_bytes, to_bytes};
use crate::tiles::StepTiles;
use crate::{
    Canvas, Conditioning, Diffusion, Error, HintSource, Job, Models, Observer, Phase, Redraw, Settings,
    Solver, Stage, StepNoise, noise, noise_from_file,
};

/// The VAE's statistics, as the journal calls them.
const STATISTICS: &str = "statistics";

/// The stages of a run.
pub(crate) struct StageRun<'a> {
    settings: &'a Settings,
    job: &'a Job,
    plan: &'a [Stage],
    family: ModelFamily,
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
        family: ModelFamily,
        part: Rect,
        conditioning: Option<Conditioning>,
    ) -> Self {
        Self {
            settings,
            job,
            plan,
            family,
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
        let factor = self.family.factor;
        let side = |length: u32, wraps: bool| if wraps { length.next_multiple_of(factor) } else { length };
        Size::new(side(stage.to.width, self.wrap().x), side(stage.to.height, self.wrap().y))
    }

    fn autoencoder(&self, stage: &Stage) -> Autoencoder {
        Autoencoder::new(self.work_size(stage), self.settings.vae_tile, self.wrap(), self.family.factor)
    }

    fn tiles(&self, stage: &Stage) -> StepTiles {
        StepTiles::new(latent_size(self.work_size(stage), self.family.factor), self.settings, stage.seed)
    }

    fn solver(&self, stage: &Stage) -> Solver {
        let area = Rect::new(0, 0, latent_size(self.work_size(stage), self.family.factor));
        Solver::new(self.settings, &self.family, stage.strength, StepNoise { seed: stage.seed, area })
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
                let latents = in_latents(held, self.family.factor);
                let autoencoder = self.autoencoder(stage);
                let steps = self.solver(stage).evaluations();
                let (_, start) = self.tiles(stage).needed(steps, autoencoder.cover(latents));
                // The last latents may reach over the picture's end.
                let guess = autoencoder.cover(start).times(self.family.factor).grown(0, work).hull(held);
                // All tiles take their statistics from the first stage's whole guess.
                let guess = if index == 0 { whole(work) } else { guess };
                Needed { guess, latents, start }
            } else {
                Needed { guess: part, latents: part, start: part }
            };
            let enlarging = Enlarging::new(models, self.settings, &self.job.scratch, &self.job.team);
            part = enlarging.source(stage.from, work, needed.guess);
            list.push(needed);
        }
        list.reverse();
        self.needed = list;
    }

    /// Take what an interrupted run had measured.
    ///
    /// # Errors
    /// If it is damaged.
    pub fn resume(&mut self, backend: &Backend, ledger: &Ledger) -> Result<(), Error> {
        if let Some(values) = ledger.value(STATISTICS, None)? {
            let damaged = || JournalError::Damaged("the statistics are none".into());
            self.statistics = Statistics::from_values(backend, &values).ok_or_else(damaged)?;
        }
        Ok(())
    }

    /// The result of the `index`th stage on `before`.
    pub async fn stage(
        &mut self,
        models: &mut Models,
        before: &Raster,
        index: usize,
        stage: &Stage,
        ledger: &mut Ledger,
        observe: Observer<'_>,
    ) -> Result<Raster, Error> {
        let (needed, work) = (self.needed[index], self.work_size(stage));
        let name = |what: &str| format!("{index}.{what}");
        ledger.set_stage(Some((index, self.plan.len())));
        let looks = self.job.looks;
        let enlarging =
            Enlarging { looks, ..Enlarging::new(models, self.settings, &self.job.scratch, &self.job.team) };
        let mut made = name("guess");
        let mut picture = enlarging.run_kept(before, work, needed.guess, (ledger, &made), observe).await?;
        let backend = models.backend.clone();
        let redrawn = models.diffusion.as_mut().filter(|_| self.conditioning.is_some());
        let last = if redrawn.is_some() { Phase::Decode } else { Phase::Enlarge };
        if let Some(diffusion) = redrawn {
            let lows = match self.settings.colour_lock {
                0.0 => None,
                _ => Some(Lows::of(&picture, self.wrap())?),
            };
            let redraw = StageRedraw { backend: &backend, before, index, stage };
            let guess;
            (picture, guess) = self.redraw(redraw, diffusion, picture, ledger, observe).await?;
            made = name("decoded");
            // What is kept is not changed, so that it can be done again: the first change goes elsewhere.
            if let Some(guess) = guess {
                let share = self.settings.chroma_lock;
                if ledger.is_kept() {
                    made = name("held");
                    let mut held = ledger.begin(&made, work)?;
                    chroma::hold(&guess, Some(&picture), &mut held, share)?;
                    picture = held;
                } else {
                    chroma::hold(&guess, None, &mut picture, share)?;
                }
            }
            match lows {
                Some(lows) if ledger.is_kept() && made != name("held") => {
                    made = name("held");
                    let mut held = ledger.begin(&made, work)?;
                    lows.hold_into(&picture, &mut held, self.settings.colour_lock, self.wrap())?;
                    picture = held;
                }
                Some(lows) => lows.hold(&mut picture, self.settings.colour_lock, self.wrap())?,
                None => {}
            }
        }
        if work != stage.to {
            made = name("result");
            let mut result = ledger.begin(&made, stage.to)?;
            resize_wrapped(&picture, &mut result, Filter::Lanczos3, self.wrap())?;
            picture = result;
        }
        ledger.finish_stage(index, &made, &mut picture, last, &[STATISTICS])?;
        Ok(picture)
    }

    /// Measure the statistics on the first guess.
    async fn measure(
        &mut self,
        backend: &Backend,
        diffusion: &Diffusion,
        guess: &Raster,
    ) -> Result<Vec<f32>, Error> {
        let (tile, kind) = (self.settings.vae_tile, self.settings.vae_statistics);
        self.statistics = Statistics::measure(backend, diffusion, guess, tile, kind).await?;
        self.statistics.to_values().await
    }

    /// The diffusion half: `guess` redrawn; and `guess` itself, if its colours are still wanted.
    async fn redraw(
        &mut self,
        StageRedraw { backend, before, index, stage }: StageRedraw<'_>,
        diffusion: &mut Diffusion,
        mut guess: Raster,
        ledger: &mut Ledger,
        observe: Observer<'_>,
    ) -> Result<(Raster, Option<Raster>), Error> {
        let (settings, scratch, needed) = (self.settings, &self.job.scratch, self.needed[index]);
        let team = &self.job.team;
        let name = |what: &str| format!("{index}.{what}");
        let (encoded, latents, decoded) = (name("encoded"), name("latents"), name("decoded"));
        let is_wanted = settings.chroma_lock > 0.0;
        if let Some(picture) = ledger.picture(&decoded, guess.size())? {
            return Ok((picture, is_wanted.then_some(guess)));
        }
        let divided = self.plan.iter().any(|stage| self.autoencoder(stage).is_divided());
        if index == 0 && divided && !self.statistics.is_measured() {
            // By one for all: another kind of GPU would measure others.
            let values =
                if team.leads() { self.measure(backend, diffusion, &guess).await } else { Ok(Vec::new()) };
            let values = from_bytes(&team.told(|| values.map(|values| to_bytes(&values)))?);
            if !team.leads() {
                let lost = || Error::Link("the statistics did not arrive".into());
                self.statistics = Statistics::from_values(backend, &values).ok_or_else(lost)?;
            }
            if ledger.is_kept() {
                ledger.keep(STATISTICS, &values, Phase::Enlarge, &[])?;
            }
        }
        let mut autoencoder = self.autoencoder(stage);
        (autoencoder.statistics, autoencoder.team) = (self.statistics.clone(), team.clone());
        autoencoder.looks = self.job.looks;
        let (solver, tiles) = (self.solver(stage), self.tiles(stage));
        let (area, channels) = (tiles.frame().core(), diffusion.family.latent_channels);
        let count = Some(channels * area.area() as usize);
        let canvas = |data| Canvas { size: area, channels, data };
        let canvas = match ledger.value(&latents, count)? {
            Some(data) => canvas(data),
            None => {
                let mut canvas = match ledger.value(&encoded, count)? {
                    Some(data) => canvas(data),
                    None => {
                        let kept = (&mut *ledger, &*encoded);
                        let encoding =
                            autoencoder.encode_kept(backend, diffusion, &guess, needed.start, kept, observe);
                        let canvas = encoding.await?;
                        ledger.keep(&encoded, &canvas.data, Phase::Encode, &[])?;
                        canvas
                    }
                };
                if solver.evaluations() > 0 {
                    {
                        let noise = match &self.job.noise {
                            Some(path) if index == 0 => {
                                let expected = [channels, area.height as usize, area.width as usize];
                                noise_from_file(path, expected)?
                            }
                            _ => noise(stage.seed, Rect::new(0, 0, area), channels),
                        };
                        solver.add_noise(&mut canvas.data, &noise);
                    }
                    let smooth = match settings.hint {
                        HintSource::Guess => None,
                        HintSource::Input => {
                            let mut hint =
                                Raster::new(scratch, guess.size(), guess.channels(), guess.depth())?;
                            resize_wrapped(before, &mut hint, Filter::Bicubic, self.wrap())?;
                            Some(hint)
                        }
                    };
                    let conditioning =
                        self.conditioning.as_ref().expect("prompts are embedded where there is a UNet");
                    let hint = smooth.as_ref().unwrap_or(&guess);
                    // Later stages have more tiles.
                    if index + 1 == self.plan.len() {
                        let unused = conditioning.unused(tiles.frame(), tiles.numbered());
                        if !unused.is_empty() {
                            let message = format!(
                                "`tile_prompts`: no tile has its centre in {}: nothing is said there",
                                unused.join(" or ")
                            );
                            let _ = observe(crate::Event::Warning { message });
                        }
                    }
                    let previews = self.job.looks;
                    let tiles = &tiles;
                    let redraw = Redraw { backend, settings, conditioning, hint, tiles, previews, team };
                    let after = autoencoder.cover(needed.latents);
                    let kept = (&mut *ledger, &*latents);
                    redraw.run_kept(diffusion, &mut canvas, solver, after, kept, observe).await?;
                }
                ledger.keep(&latents, &canvas.data, Phase::Diffuse, &[&encoded])?;
                canvas
            }
        };
        let seen = needed.latents;
        if ledger.is_kept() {
            let (kept, size) = ((ledger, &*decoded), guess.size());
            let decoding = autoencoder.decode_kept(backend, diffusion, &canvas, size, seen, kept, observe);
            return Ok((decoding.await?, is_wanted.then_some(guess)));
        }
        let mut aside = match is_wanted {
            true => Some(Raster::new(scratch, guess.size(), guess.channels(), guess.depth())?),
            false => None,
        };
        // Else the picture takes the guess's place.
        let place = aside.as_mut().unwrap_or(&mut guess);
        autoencoder.decode(backend, diffusion, &canvas, place, seen, scratch, observe).await?;
        Ok(match aside {
            Some(picture) => (picture, Some(guess)),
            None => (guess, None),
        })
    }
}

/// What a stage's diffusion is about.
struct StageRedraw<'a> {
    backend: &'a Backend,
    /// The stage's input.
    before: &'a Raster,
    index: usize,
    stage: &'a Stage,
}

/// The latents that a part of the picture is made of.
fn in_latents(pixels: Rect, factor: u32) -> Rect {
    let (x, y) = (pixels.x / factor, pixels.y / factor);
    let size = Size::new(pixels.right().div_ceil(factor) - x, pixels.bottom().div_ceil(factor) - y);
    Rect::new(x, y, size)
}
