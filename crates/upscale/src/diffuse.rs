//! MultiDiffusion with the Tile ControlNet: one canvas, one solver, the noise predicted tile by tile
//! (Bar-Tal et al. 2023).

use burn::tensor::{DType, FloatDType, Tensor};
use clarifier_raster::{Raster, Wrap};
use clarifier_tile::{Rect, Window};

use crate::device::Backend;
use crate::event::{tell, tell_step};
use crate::models::read;
use crate::preview::StepPreview;
use crate::tiles::StepTiles;
use crate::{Canvas, Conditioning, ControlMode, Diffusion, Error, Event, Observer, Phase, Settings, Solver};

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
        mut solver: Solver,
        needed: Rect,
        observe: Observer<'_>,
    ) -> Result<(), Error> {
        let window = Window::from(self.settings.tile_window);
        let evaluations = solver.evaluations();
        let (needed, _) = self.tiles.needed(evaluations, needed);
        let reaching = |step: usize| self.tiles.reaching(step, needed[step]);
        let (mut done, total) = (0, (0..evaluations).map(|step| reaching(step).len()).sum());
        for (step, part) in needed.iter().enumerate() {
            let t = solver.timestep(step);
            let frame = self.tiles.frame();
            let mut noise = Canvas::zeros(frame.area(), canvas.channels);
            let grid = self.tiles.grid(step);
            for (index, rect) in reaching(step) {
                let tile = Tile { redraw: self, canvas, rect, t };
                let mut eps = tile.noise(diffusion).await?;
                if !finite(&eps) && diffusion.dtype != DType::F32 {
                    // f16 overflowed. Its range is the cause, so all that follows is done in f32.
                    let message = "a tile overflowed in f16: going on in f32".to_owned();
                    let _ = observe(Event::Warning { message });
                    let paths = diffusion.paths.clone();
                    *diffusion = Diffusion::load(self.backend, DType::F32, &paths, observe).await?;
                    eps = tile.noise(diffusion).await?;
                }
                if !finite(&eps) {
                    return Err(Error::NotFinite { phase: Phase::Diffuse, tile: index + 1 });
                }
                noise.add(rect, &eps, &grid.weights(index, window));
                done += 1;
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
        }
        Ok(())
    }
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
        let text = conditioning.at(frame, tiles.numbered(), *rect).cast(FloatDType::from(dtype));
        // Without guidance the negative prompt has no say, and its half of the work falls away.
        let guided = settings.condition_scale != 1.0;
        let (batch, text) = if guided { (2, text) } else { (1, text.narrow(0, 1, 1)) };
        let x = backend.tensor(frame.crop(canvas, *rect), [1, canvas.channels, h, w], dtype);
        let control = if settings.controlnet_scale > 0.0 {
            let factor = i64::from(diffusion.vae.factor() as u32);
            let pixels = rect.size.times(factor as u32);
            let wrap = Wrap::from(settings.seamless);
            let planes = hint.read_continued(left * factor, top * factor, pixels, wrap)?.to_rgb();
            let dims = [1, 3, pixels.height as usize, pixels.width as usize];
            let hint = backend.tensor(planes.data, dims, dtype);
            let prompt_only = guided && settings.control_mode == ControlMode::Controlnet;
            let residuals = if prompt_only {
                let text = text.clone().narrow(0, 1, 1);
                diffusion.controlnet.forward(x.clone(), hint, *t, &text).after_nothing()
            } else {
                diffusion.controlnet.forward(x.clone().repeat_dim(0, batch), hint, *t, &text)
            };
            Some(residuals.scaled(settings.controlnet_scale as f32, settings.controlnet_decay as f32))
        } else {
            None
        };
        let eps: Tensor<4> = diffusion.unet.forward(x.repeat_dim(0, batch), *t, &text, control);
        let mut values = read(eps).await?;
        if guided {
            let (negative, positive) = values.split_at(canvas.channels * h * w);
            let scale = settings.condition_scale as f32;
            values = negative.iter().zip(positive).map(|(u, c)| u + scale * (c - u)).collect();
        }
        Ok(values)
    }
}
