//! MultiDiffusion with the Tile ControlNet: one canvas, one solver, the noise predicted tile by tile
//! (Bar-Tal et al. 2023).

use burn::tensor::Tensor;
use clarifier_model::controlnet::Residuals;
use clarifier_model::shared::{PromptKeys, TimeShifts};
use clarifier_raster::{Raster, StoreKind, Wrap};
use clarifier_tile::Rect;

use crate::device::Backend;
use crate::journal::Ledger;
use crate::shared::Shared;
use crate::steps::Steps;
use crate::tiles::StepTiles;
use crate::transfer::read;
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

/// Which evaluation of the networks.
pub(crate) struct Evaluation {
    /// The timestep.
    pub t: f32,
    /// Whether the negative prompt has a say.
    pub guided: bool,
    /// Whether it takes what the inner levels made of the tile in the one before.
    pub reuses: bool,
    /// Whether the next one does.
    pub is_reused: bool,
}

impl Evaluation {
    /// How many prompts it is under: the batch.
    fn prompts(&self) -> usize {
        if self.guided { 2 } else { 1 }
    }
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

    /// The predicted noise of the tile `rect`, `[4, h, w]`, guided away from the negative prompt: `u + w·(c − u)`.
    pub(crate) async fn noise(
        &self,
        diffusion: &Diffusion,
        canvas: &Canvas,
        rect: Rect,
        at: Evaluation,
    ) -> Result<Vec<f32>, Error> {
        let Self { backend, settings, conditioning, tiles, .. } = self;
        let frame = tiles.frame();
        let (h, w) = (rect.size.height as usize, rect.size.width as usize);
        let networks = diffusion.denoiser();
        let place = conditioning.place_of(frame, tiles.numbered(), rect);
        let x = backend.tensor(frame.crop(canvas, rect), [1, canvas.channels, h, w], diffusion.dtype);
        let eps: Tensor<4> = {
            let mut shared = diffusion.shared.borrow_mut();
            let prompt = shared.prompt(networks, conditioning, (place, at.guided), settings);
            let time = shared.time(networks, at.t, &x, settings);
            let input = x.clone().repeat_dim(0, at.prompts());
            let inner = shared.inner(rect).filter(|_| at.reuses);
            if let Some(inner) = inner {
                networks.unet.forward_reusing(input, &time.0, &prompt.0, inner)
            } else {
                shared.computed.whole += 1;
                let control = match (&time.1, &prompt.1) {
                    (Some(time), Some(prompt)) => {
                        Some(self.control(diffusion, &mut shared, (rect, x, &at), (time, prompt))?)
                    }
                    _ => None,
                };
                if at.is_reused {
                    let (eps, inner) = networks.unet.forward_keeping(input, &time.0, &prompt.0, control);
                    shared.keep_inner(rect, inner);
                    eps
                } else {
                    networks.unet.forward_with(input, &time.0, &prompt.0, control)
                }
            }
        };
        let mut values = read(eps).await?;
        if at.guided {
            let (negative, positive) = values.split_at(canvas.channels * h * w);
            let scale = settings.condition_scale as f32;
            values = negative.iter().zip(positive).map(|(u, c)| u + scale * (c - u)).collect();
        }
        Ok(values)
    }

    /// What holds the tile `rect`, whose latents are `x`, to the picture.
    fn control(
        &self,
        diffusion: &Diffusion,
        shared: &mut Shared,
        (rect, x, at): (Rect, Tensor<4>, &Evaluation),
        (time, prompt): (&TimeShifts, &PromptKeys),
    ) -> Result<Residuals, Error> {
        let settings = self.settings;
        let networks = diffusion.denoiser();
        let read = || {
            let factor = i64::from(diffusion.vae.factor() as u32);
            let (left, top) = self.tiles.frame().corner(rect);
            let pixels = rect.size.times(factor as u32);
            let wrap = Wrap::from(settings.seamless);
            let planes = self.hint.read_continued(left * factor, top * factor, pixels, wrap)?.to_rgb();
            let dims = [1, 3, pixels.height as usize, pixels.width as usize];
            Ok::<_, Error>(self.backend.tensor(planes.data, dims, diffusion.dtype))
        };
        // Tiles that move do not come again.
        let budget = if settings.tile_jitter { 0 } else { diffusion.hint_budget };
        let hint = shared.hint(networks, rect, budget, read)?;
        let prompt_only = at.guided && settings.control_mode == ControlMode::Controlnet;
        let residuals = if prompt_only {
            networks.controlnet.forward_with(x, hint, time, prompt).after_nothing()
        } else {
            networks.controlnet.forward_with(x.repeat_dim(0, at.prompts()), hint, time, prompt)
        };
        Ok(residuals.scaled(settings.controlnet_scale as f32, settings.controlnet_decay as f32))
    }
}
