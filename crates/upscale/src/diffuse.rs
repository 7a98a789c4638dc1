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
use crate::transfer::Reading;
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

    /// Have the noise of tiles of one size predicted, all at once. On a GPU that is queued, so what is asked for next is prepared
    /// and sent while it computes.
    pub(crate) async fn begin(
        &self,
        diffusion: &Diffusion,
        canvas: &Canvas,
        rects: &[Rect],
        at: &Evaluation,
    ) -> Result<Noise, Error> {
        let Self { backend, settings, conditioning, tiles, .. } = self;
        let frame = tiles.frame();
        let networks = diffusion.denoiser();
        let dims = |rect: &Rect| [canvas.channels, rect.size.height as usize, rect.size.width as usize];
        let [channels, h, w] = rects.first().map_or([0; 3], dims);
        let places = rects.iter().map(|rect| conditioning.place_of(frame, tiles.numbered(), *rect)).collect();
        let latents = rects.iter().flat_map(|rect| frame.crop(canvas, *rect)).collect();
        let x = backend.tensor(latents, [rects.len(), channels, h, w], diffusion.dtype);
        let eps: Tensor<4> = {
            let mut shared = diffusion.shared.borrow_mut();
            let prompt = shared.prompts(networks, conditioning, (places, at.guided), settings);
            let time = shared.time(networks, at.t, &x, settings);
            let input = x.clone().repeat_dim(0, at.prompts());
            let inner = if at.reuses { shared.inner(rects) } else { None };
            if let Some(inner) = inner {
                networks.unet.forward_reusing(input, &time.0, &prompt.0, &inner)
            } else {
                shared.computed.whole += rects.len();
                let control = match (&time.1, &prompt.1) {
                    (Some(time), Some(prompt)) => {
                        Some(self.control(diffusion, &mut shared, (rects, x, at), (time, prompt))?)
                    }
                    _ => None,
                };
                if at.is_reused {
                    let (eps, inner) = networks.unet.forward_keeping(input, &time.0, &prompt.0, control);
                    shared.keep_inner(rects, inner);
                    eps
                } else {
                    networks.unet.forward_with(input, &time.0, &prompt.0, control)
                }
            }
        };
        let guidance = at.guided.then_some(settings.condition_scale as f32);
        Ok(Noise { reading: Reading::begin(eps).await, tiles: rects.len(), guidance })
    }

    /// What holds tiles, whose latents are `x`, to the picture.
    fn control(
        &self,
        diffusion: &Diffusion,
        shared: &mut Shared,
        (rects, x, at): (&[Rect], Tensor<4>, &Evaluation),
        (time, prompt): (&TimeShifts, &PromptKeys),
    ) -> Result<Residuals, Error> {
        let settings = self.settings;
        let networks = diffusion.denoiser();
        let read = |rect: Rect| {
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
        let hints = rects.iter().map(|rect| shared.hint(networks, *rect, budget, || read(*rect)));
        let mut hints = hints.collect::<Result<Vec<_>, _>>()?;
        let prompt_only = at.guided && settings.control_mode == ControlMode::Controlnet;
        let prompts = if prompt_only { 1 } else { at.prompts() };
        let hint = match hints.len() {
            // It is the same for all of the batch.
            1 => hints.remove(0),
            _ => Tensor::cat(hints, 0).repeat_dim(0, prompts),
        };
        let residuals = networks.controlnet.forward_with(x.repeat_dim(0, prompts), hint, time, prompt);
        let residuals = if prompt_only { residuals.after_nothing() } else { residuals };
        Ok(residuals.scaled(settings.controlnet_scale as f32, settings.controlnet_decay as f32))
    }
}

/// The noise of tiles on its way from the device.
pub(crate) struct Noise {
    reading: Reading,
    tiles: usize,
    /// How far it is guided away from the negative prompt, if that has a say.
    guidance: Option<f32>,
}

impl Noise {
    /// That of each tile, `[4, h, w]`, guided: `u + w·(c − u)`.
    pub async fn finish(self) -> Result<Vec<Vec<f32>>, Error> {
        let mut values = self.reading.finish().await?;
        if let Some(scale) = self.guidance {
            let (negative, positive) = values.split_at(values.len() / 2);
            values = negative.iter().zip(positive).map(|(u, c)| u + scale * (c - u)).collect();
        }
        Ok(values.chunks_exact(values.len() / self.tiles).map(<[_]>::to_vec).collect())
    }
}
