//! MultiDiffusion with the Tile ControlNet: one canvas, one solver, the noise predicted tile by tile
//! (Bar-Tal et al. 2023).

use burn::tensor::{DType, FloatDType, Tensor};
use clarifier_raster::Raster;
use clarifier_tile::{Rect, TileGrid, Window};

use crate::device::Backend;
use crate::event::tell;
use crate::models::read;
use crate::{Canvas, Diffusion, Error, Event, Observer, Phase, Settings, Solver};

/// What guides every tile alike.
pub struct Conditioning {
    /// `[2, tokens, 768]`: the negative prompt's embedding, then the prompt's.
    pub text: Tensor<3>,
}

impl Conditioning {
    /// Of two embeddings of the same length, `[1, tokens, 768]` each.
    pub fn new(negative: Tensor<3>, positive: Tensor<3>) -> Self {
        Self { text: Tensor::cat(vec![negative, positive], 0) }
    }
}

/// Redraw the latents in `canvas`, which already have the noise of `solver`'s first evaluation, under the
/// guidance of `hint`, a picture of the canvas's size in pixels.
///
/// # Errors
/// If the store or the device fails, or a tile is no number even in f32; [`Error::Cancelled`].
#[allow(clippy::too_many_arguments)]
pub async fn diffuse(
    backend: &Backend,
    diffusion: &mut Diffusion,
    canvas: &mut Canvas,
    hint: &Raster,
    conditioning: &Conditioning,
    mut solver: Solver,
    settings: &Settings,
    observe: Observer<'_>,
) -> Result<(), Error> {
    let tile = clarifier_tile::Size::new(settings.tile_width, settings.tile_height);
    let grid = TileGrid::new(canvas.size, tile, settings.tile_overlap).expect("settings were checked");
    let window = Window::from(settings.tile_window);
    let (mut done, total) = (0, solver.evaluations() * grid.len());
    for evaluation in 0..solver.evaluations() {
        let t = solver.timestep(evaluation);
        let mut noise = Canvas::zeros(canvas.size, canvas.channels);
        for (index, rect) in grid.iter().enumerate() {
            let tile = Tile { canvas, hint, rect, t };
            let mut eps = tile.noise(backend, diffusion, conditioning, settings).await?;
            if !finite(&eps) && diffusion.dtype != DType::F32 {
                // f16 overflowed. Its range is the cause, so all that follows is done in f32.
                let message = "a tile overflowed in f16: going on in f32".to_owned();
                let _ = observe(Event::Warning { message });
                let paths = diffusion.paths.clone();
                *diffusion = Diffusion::load(backend, DType::F32, &paths, observe)?;
                eps = tile.noise(backend, diffusion, conditioning, settings).await?;
            }
            if !finite(&eps) {
                return Err(Error::NotFinite { phase: Phase::Diffuse, tile: index + 1 });
            }
            noise.add(rect, &eps, &grid.weights(index, window));
            done += 1;
            tell(observe, Phase::Diffuse, done, total)?;
        }
        solver.step(evaluation, &mut canvas.data, &noise.data);
    }
    Ok(())
}

fn finite(values: &[f32]) -> bool {
    values.iter().all(|v| v.is_finite())
}

/// One tile at one step.
struct Tile<'a> {
    canvas: &'a Canvas,
    hint: &'a Raster,
    rect: Rect,
    t: f32,
}

impl Tile<'_> {
    /// Its predicted noise, `[4, h, w]`, guided away from the negative prompt: `u + w·(c − u)`.
    async fn noise(
        &self,
        backend: &Backend,
        diffusion: &Diffusion,
        conditioning: &Conditioning,
        settings: &Settings,
    ) -> Result<Vec<f32>, Error> {
        let Self { canvas, hint, rect, t } = self;
        let (h, w) = (rect.size.height as usize, rect.size.width as usize);
        let dtype = diffusion.dtype;
        let text = conditioning.text.clone().cast(FloatDType::from(dtype));
        // Without guidance the negative prompt has no say, and its half of the work falls away.
        let guided = settings.condition_scale != 1.0;
        let (batch, text) = if guided { (2, text) } else { (1, text.narrow(0, 1, 1)) };
        let x = backend.tensor(canvas.crop(*rect), [1, canvas.channels, h, w], dtype).repeat_dim(0, batch);
        let control = if settings.controlnet_scale > 0.0 {
            let factor = diffusion.vae.factor() as u32;
            let pixels = rect.times(factor);
            let planes = hint.read_reflected(i64::from(pixels.x), i64::from(pixels.y), pixels.size)?.to_rgb();
            let dims = [1, 3, pixels.size.height as usize, pixels.size.width as usize];
            let hint = backend.tensor(planes.data, dims, dtype);
            let residuals = diffusion.controlnet.forward(x.clone(), hint, *t, &text);
            Some(residuals.scaled(settings.controlnet_scale as f32, settings.controlnet_decay as f32))
        } else {
            None
        };
        let eps = diffusion.unet.forward(x, *t, &text, control);
        let mut values = read(eps).await?;
        if guided {
            let (negative, positive) = values.split_at(canvas.channels * h * w);
            let scale = settings.condition_scale as f32;
            values = negative.iter().zip(positive).map(|(u, c)| u + scale * (c - u)).collect();
        }
        Ok(values)
    }
}
