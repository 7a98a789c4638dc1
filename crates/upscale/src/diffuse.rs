//! MultiDiffusion with the Tile ControlNet: one canvas, one solver, the noise predicted tile by tile
//! (Bar-Tal et al. 2023).

use burn::tensor::{FloatDType, Tensor};
use clarifier_raster::{Raster, StoreKind, Wrap};
use clarifier_tile::Rect;

use crate::device::Backend;
use crate::journal::Ledger;
use crate::models::read;
use crate::steps::Steps;
use crate::tiles::StepTiles;
use crate::{Canvas, Conditioning, ControlMode, Diffusion, Error, Observer, Settings, Solver, Team};

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
    /// Who computes.
    pub team: &'a Team,
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

    /// [`Self::run`], of which `ledger` keeps what is done under `name`.
    pub(crate) async fn run_kept(
        &self,
        diffusion: &mut Diffusion,
        canvas: &mut Canvas,
        solver: Solver,
        needed: Rect,
        kept: (&mut Ledger, &str),
        observe: Observer<'_>,
    ) -> Result<(), Error> {
        let (after, _) = self.tiles.needed(solver.evaluations(), needed);
        let steps = Steps::new(self, diffusion, canvas, &solver, &after, kept);
        steps.run(&after, observe).await
    }

    /// The predicted noise of the tile `rect` at timestep `t`, `[4, h, w]`, guided away from the negative prompt:
    /// `u + w·(c − u)`.
    pub(crate) async fn noise(
        &self,
        diffusion: &Diffusion,
        canvas: &Canvas,
        rect: Rect,
        t: f32,
    ) -> Result<Vec<f32>, Error> {
        let Self { backend, settings, conditioning, hint, tiles, .. } = self;
        let frame = tiles.frame();
        let (h, w) = (rect.size.height as usize, rect.size.width as usize);
        let dtype = diffusion.dtype;
        let (left, top) = frame.corner(rect);
        let text = conditioning.at(frame, tiles.numbered(), rect).cast(FloatDType::from(dtype));
        // Without guidance the negative prompt has no say, and its half of the work falls away.
        let guided = settings.condition_scale != 1.0;
        let (batch, text) = if guided { (2, text) } else { (1, text.narrow(0, 1, 1)) };
        let x = backend.tensor(frame.crop(canvas, rect), [1, canvas.channels, h, w], dtype);
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
                diffusion.controlnet.forward(x.clone(), hint, t, &text).after_nothing()
            } else {
                diffusion.controlnet.forward(x.clone().repeat_dim(0, batch), hint, t, &text)
            };
            Some(residuals.scaled(settings.controlnet_scale as f32, settings.controlnet_decay as f32))
        } else {
            None
        };
        let eps: Tensor<4> = diffusion.unet.forward(x.repeat_dim(0, batch), t, &text, control);
        let mut values = read(eps).await?;
        if guided {
            let (negative, positive) = values.split_at(canvas.channels * h * w);
            let scale = settings.condition_scale as f32;
            values = negative.iter().zip(positive).map(|(u, c)| u + scale * (c - u)).collect();
        }
        Ok(values)
    }
}
