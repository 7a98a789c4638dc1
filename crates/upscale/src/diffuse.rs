//! MultiDiffusion with the Tile ControlNet: one canvas, one solver, the noise predicted tile by tile
//! (Bar-Tal et al. 2023).

use burn::tensor::{DType, Tensor};
use clarifier_raster::{Raster, StoreKind, Wrap};
use clarifier_tile::{Rect, Window};

use crate::device::Backend;
use crate::event::{tell, tell_step};
use crate::journal::{Ledger, Unit, Values};
use crate::models::read;
use crate::preview::StepPreview;
use crate::tiles::StepTiles;
use crate::{
    Canvas, Conditioning, ControlMode, Diffusion, Error, Event, Observer, Phase, Settings, Solver,
    SolverState,
};

/// A canvas to be redrawn, and what it is redrawn under.
pub struct Redraw<'a> {
    /// Where.
    pub backend: &'a Backend,
    /// How.
    pub settings: &'a Settings,
    /// What the prompts say.
    pub conditioning: &'a Conditioning,
    /// What the ControlNet looks at: a picture of the canvas's size in pixels.
    pub hint: &'a Raster,
    /// Where the tiles lie.
    pub tiles: &'a StepTiles,
    /// Whether to show each step.
    pub previews: bool,
}

impl Redraw<'_> {
    /// Redraw the latents in `canvas`, which already have the noise of `solver`'s first evaluation. Only those
    /// in `needed` are sure to be right.
    ///
    /// # Errors
    /// If the store or the device fails, or a tile is no number even in f32; [`Error::Cancelled`].
    pub async fn run(
        &self,
        diffusion: &mut Diffusion,
        canvas: &mut Canvas,
        solver: Solver,
        needed: Rect,
        observe: Observer<'_>,
    ) -> Result<(), Error> {
        let ledger = &mut Ledger::none(&StoreKind::Memory);
        self.run_kept(diffusion, canvas, solver, needed, (ledger, "latents"), observe).await
    }

    /// [`Self::run`], of which the ledger keeps what is done under a name.
    pub(crate) async fn run_kept(
        &self,
        diffusion: &mut Diffusion,
        canvas: &mut Canvas,
        solver: Solver,
        needed: Rect,
        kept: (&mut Ledger, &str),
        observe: Observer<'_>,
    ) -> Result<(), Error> {
        diffusion.shared.take();
        let result = self.run_steps(diffusion, canvas, solver, needed, kept, observe).await;
        // The decoder needs the room.
        diffusion.shared.borrow_mut().forget();
        result
    }

    async fn run_steps(
        &self,
        diffusion: &mut Diffusion,
        canvas: &mut Canvas,
        mut solver: Solver,
        needed: Rect,
        (ledger, name): (&mut Ledger, &str),
        observe: Observer<'_>,
    ) -> Result<(), Error> {
        let window = Window::from(self.settings.tile_window);
        let evaluations = solver.evaluations();
        let (needed, _) = self.tiles.needed(evaluations, needed);
        let reaching = |step: usize| self.tiles.reaching(step, needed[step]);
        let counts: Vec<usize> = (0..evaluations).map(|step| reaching(step).len()).collect();
        let total = counts.iter().sum();
        let frame = self.tiles.frame();
        // Before a step's first tile, and of the step's sum after some.
        let x_key = |step: usize| format!("x@{step}");
        let kept_key = |step: usize| format!("kept@{step}");
        let sum_key = |done: usize| format!("sum@{done}");
        let (mut first, mut done, mut begun) = (0, 0, None);
        let (step, within) = place(&counts, ledger.done(name));
        if let Some(x) = ledger.partial_f32(name, &x_key(step), canvas.data.len())? {
            canvas.data = x;
            let kept = ledger.partial_f64(name, &kept_key(step), canvas.data.len())?;
            solver.resume(SolverState { done: step, kept: kept.unwrap_or_default() });
            first = step;
            let values = canvas.channels * frame.area().area() as usize;
            begun = ledger.partial_f32(name, &sum_key(ledger.done(name)), values)?;
            done = counts[..step].iter().sum();
        }
        for (step, (in_step, part)) in counts.iter().zip(&needed).enumerate().skip(first) {
            let t = solver.timestep(step);
            let mut noise = Canvas::zeros(frame.area(), canvas.channels);
            let mut skipped = 0;
            if let Some(sum) = begun.take() {
                (noise.data, skipped) = (sum, within);
                done += within;
            }
            let grid = self.tiles.grid(step);
            for (count, (index, rect)) in reaching(step).into_iter().enumerate().skip(skipped) {
                let tile = Tile { redraw: self, canvas, rect, t };
                let mut eps = tile.noise(diffusion).await?;
                if !finite(&eps) && diffusion.dtype != DType::F32 {
                    // f16 overflowed. Its range is the cause, so all that follows is done in f32.
                    let message = "a tile overflowed in f16: going on in f32".to_owned();
                    let _ = observe(Event::Warning { message });
                    diffusion.reload(self.backend, observe).await?;
                    ledger.set_precision(diffusion.precision());
                    eps = tile.noise(diffusion).await?;
                }
                if !finite(&eps) {
                    return Err(Error::NotFinite { phase: Phase::Diffuse, tile: index + 1 });
                }
                noise.add(rect, &eps, &grid.weights(index, window));
                done += 1;
                // After the last, the solver steps first.
                if count + 1 < *in_step {
                    let kept = &solver.state().kept;
                    ledger.unit(unit(
                        name,
                        (done, total),
                        &[
                            (x_key(step), Values::F32(&canvas.data)),
                            (kept_key(step), Values::F64(kept)),
                            (sum_key(done), Values::F32(&noise.data)),
                        ],
                    ))?;
                }
                tell(observe, Phase::Diffuse, done, total)?;
                if let Some(place) = frame.inside(rect).filter(|_| self.previews && grid.len() > 1) {
                    let part = |data| Canvas { size: rect.size, channels: canvas.channels, data };
                    let (x, eps) = (part(frame.crop(canvas, rect)), part(eps));
                    let whole = Rect::new(0, 0, rect.size);
                    let preview =
                        StepPreview::new((&x, &eps), whole, (place.x, place.y), solver.sigma_at(step));
                    tell_step(observe, (step, evaluations), preview)?;
                }
            }
            let noise = frame.fold(noise);
            let preview = if self.previews {
                StepPreview::new((canvas, &noise), *part, (part.x, part.y), solver.sigma_at(step))
            } else {
                None
            };
            tell_step(observe, (step, evaluations), preview)?;
            solver.step(step, &mut canvas.data, &noise.data);
            let kept = &solver.state().kept;
            ledger.unit(unit(
                name,
                (done, total),
                &[(x_key(step + 1), Values::F32(&canvas.data)), (kept_key(step + 1), Values::F64(kept))],
            ))?;
        }
        Ok(())
    }
}

fn unit<'a>(of: &'a str, (done, total): (usize, usize), values: &'a [(String, Values<'a>)]) -> Unit<'a> {
    Unit { of, phase: Phase::Diffuse, done, total, sums: &[], picture: None, values }
}

/// The step of the tile after `done` of them, where each step has so many as `counts` says, and how many of
/// the step's are done.
fn place(counts: &[usize], done: usize) -> (usize, usize) {
    let (mut step, mut within) = (0, done);
    while counts.get(step).is_some_and(|count| within >= *count) {
        within -= counts[step];
        step += 1;
    }
    (step, within)
}

fn finite(values: &[f32]) -> bool {
    values.iter().all(|v| v.is_finite())
}

/// One tile at one step.
struct Tile<'a> {
    redraw: &'a Redraw<'a>,
    canvas: &'a Canvas,
    rect: Rect,
    t: f32,
}

impl Tile<'_> {
    /// Its predicted noise, `[4, h, w]`, guided away from the negative prompt: `u + w·(c − u)`.
    async fn noise(&self, diffusion: &Diffusion) -> Result<Vec<f32>, Error> {
        let Self { redraw, canvas, rect, t } = self;
        let Redraw { backend, settings, conditioning, hint, tiles, .. } = redraw;
        let frame = tiles.frame();
        let (h, w) = (rect.size.height as usize, rect.size.width as usize);
        let dtype = diffusion.dtype;
        let (left, top) = frame.corner(*rect);
        let networks = diffusion.denoiser();
        let place = conditioning.place_of(frame, tiles.numbered(), *rect);
        let guided = settings.condition_scale != 1.0;
        let batch = if guided { 2 } else { 1 };
        let x = backend.tensor(frame.crop(canvas, *rect), [1, canvas.channels, h, w], dtype);
        let eps: Tensor<4> = {
            let mut shared = diffusion.shared.borrow_mut();
            let prompt = shared.prompt(networks, conditioning, place, settings);
            let time = shared.time(networks, *t, &x, settings);
            let control = if let (Some(time), Some(prompt)) = (&time.1, &prompt.1) {
                let read = || {
                    let factor = i64::from(diffusion.vae.factor() as u32);
                    let pixels = rect.size.times(factor as u32);
                    let wrap = Wrap::from(settings.seamless);
                    let planes = hint.read_continued(left * factor, top * factor, pixels, wrap)?.to_rgb();
                    let dims = [1, 3, pixels.height as usize, pixels.width as usize];
                    Ok::<_, Error>(backend.tensor(planes.data, dims, dtype))
                };
                // Tiles that move do not come again.
                let budget = if settings.tile_jitter { 0 } else { diffusion.hint_budget };
                let hint = shared.hint(networks, *rect, budget, read)?;
                let prompt_only = guided && settings.control_mode == ControlMode::Controlnet;
                let residuals = if prompt_only {
                    networks.controlnet.forward_with(x.clone(), hint, time, prompt).after_nothing()
                } else {
                    networks.controlnet.forward_with(x.clone().repeat_dim(0, batch), hint, time, prompt)
                };
                Some(residuals.scaled(settings.controlnet_scale as f32, settings.controlnet_decay as f32))
            } else {
                None
            };
            networks.unet.forward_with(x.repeat_dim(0, batch), &time.0, &prompt.0, control)
        };
        let mut values = read(eps).await?;
        if guided {
            let (negative, positive) = values.split_at(canvas.channels * h * w);
            let scale = settings.condition_scale as f32;
            values = negative.iter().zip(positive).map(|(u, c)| u + scale * (c - u)).collect();
        }
        Ok(values)
    }
}
