//! MultiDiffusion with the Tile ControlNet: one canvas, one solver, the noise predicted tile by tile
//! (Bar-Tal et al. 2023).

use burn::tensor::Tensor;
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
        let (after, _) = self.tiles.needed(solver.evaluations(), needed);
        let result = Steps::new(self, diffusion, canvas, &solver, &after, kept).run(&after, observe).await;
        // The decoder needs the room.
        diffusion.shared.borrow_mut().forget();
        result
    }

    /// The predicted noise of the tile `rect` at timestep `t`, `[4, h, w]`, guided away from the negative prompt:
    /// `u + w·(c − u)`, unless `guided` says that it has no say.
    pub(crate) async fn noise(
        &self,
        diffusion: &Diffusion,
        canvas: &Canvas,
        rect: Rect,
        (t, guided): (f32, bool),
    ) -> Result<Vec<f32>, Error> {
        let Self { backend, settings, conditioning, hint, tiles, .. } = self;
        let frame = tiles.frame();
        let (h, w) = (rect.size.height as usize, rect.size.width as usize);
        let dtype = diffusion.dtype;
        let (left, top) = frame.corner(rect);
        let networks = diffusion.denoiser();
        let place = conditioning.place_of(frame, tiles.numbered(), rect);
        let batch = if guided { 2 } else { 1 };
        let x = backend.tensor(frame.crop(canvas, rect), [1, canvas.channels, h, w], dtype);
        let eps: Tensor<4> = {
            let mut shared = diffusion.shared.borrow_mut();
            let prompt = shared.prompt(networks, conditioning, (place, guided), settings);
            let time = shared.time(networks, t, &x, settings);
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
                let hint = shared.hint(networks, rect, budget, read)?;
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
