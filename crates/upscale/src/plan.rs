//! What a run is going to do and need, before any of it is done.

use burn::tensor::DType;
use clarifier_model::weight::Packing;
use clarifier_tile::{Rect, Size, TileGrid};
use serde::Serialize;

use crate::autoencode::latent_size;
use crate::device::Backend;
use crate::diffusion::precision;
use crate::enlarge::Enlarger;
use crate::journal::room;
use crate::pipeline::{enlarger_steps, source_size};
use crate::settings::ModelDefaults;
use crate::{HintSource, Machine, Seamless, Settings, Solver, StepNoise, stages};

/// What a run is going to do.
#[derive(Debug, Clone, Serialize)]
pub struct Plan {
    /// The device, and why it was taken.
    pub device: String,
    /// `f32`, `f16`, or `packed` for f32 with weights rounded to 16 bits.
    pub precision: String,
    /// Bytes that the weights of diffusion take; 0 without.
    pub weights: u64,
    /// Bytes of tiles' hints that are kept for later steps, at most.
    pub hints: u64,
    /// Tiles of diffusion that are computed at once, where a stage has so many.
    pub tile_batch: usize,
    /// In order.
    pub stages: Vec<PlannedStage>,
    /// The most memory that will be in use at once, in bytes, weights and working copies included; an estimate.
    pub peak_memory: u64,
    /// Of that, without the working copies of the picture: what the device must have.
    pub device_memory: u64,
    /// What that peak comes from.
    pub peak: Peak,
    /// Bytes of working copies of the picture at once, in memory or on a disk; the result's among them, the input's not.
    pub scratch: u64,
    /// Bytes that a journal of the run needs ([`crate::Journal`]).
    pub kept: u64,
    /// Bytes of the largest tensor, which a GPU must be able to see as one buffer, and what it belongs to; an estimate.
    /// 0 without diffusion, whose tensors are the large ones.
    pub largest_tensor: (u64, Peak),
}

/// Make the tiles smaller that `peak` comes from, down to the smallest that still show the networks what
/// they are of, unless the user's are smaller.
pub fn shrink(settings: &mut Settings, peak: Peak) {
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

/// What a peak of memory comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Peak {
    /// The picture itself.
    Picture,
    /// A tile of the enlarger.
    Enlarger,
    /// A tile of diffusion (`tile_width` × `tile_height`).
    Diffusion,
    /// A tile of the autoencoder (`vae_tile`).
    Autoencoder,
}

/// One stage of a plan.
#[derive(Debug, Clone, Serialize)]
pub struct PlannedStage {
    /// Width of its result.
    pub width: u32,
    /// Height of its result.
    pub height: u32,
    /// Tiles of the enlarger.
    pub enlarger_tiles: usize,
    /// Tiles of a diffusion step; 0 without diffusion.
    pub diffusion_tiles: usize,
    /// Side of these, width and height in latents.
    pub tile: (u32, u32),
    /// Diffusion steps.
    pub steps: usize,
    /// Evaluations of the networks for each tile: as many, or with some samplers twice as many but one.
    pub evaluations: usize,
    /// Denoising strength.
    pub strength: f64,
    /// Operations of its diffusion and of its autoencoder, of which a multiplication and an addition
    /// are two.
    pub operations: f64,
    /// Operations of each phase, in [`Phase::ALL`](crate::Phase::ALL)'s order.
    #[serde(skip)]
    pub work: [f64; 4],
}

/// Bytes alive for each value of a latent of the canvas: itself, ε, the sum over tiles and the step's noise in f32, at
/// most three of the solver's in f64.
const BYTES_PER_CANVAS_VALUE: u64 = 4 * 4 + 3 * 8;
/// Bytes alive for each latent of a tile under guidance and each of the first level's channels, in f32: skips, residuals, the
/// widest layer; 80 KiB of SD 1.5.
const BYTES_PER_LATENT_CHANNEL: u64 = (80 << 10) / 320;
/// Bytes alive for each pixel of a tile of the VAE and each of its first level's channels, in f32: 6 KiB of SD 1.5.
const BYTES_PER_VAE_CHANNEL: u64 = (6 << 10) / 128;
/// Bytes of the band that the autoencoder's tiles are blended in, for each pixel: RGB in f32.
const BYTES_PER_BAND_PIXEL: u64 = 3 * 4;
/// Bytes of a pixel of a working copy: RGB in 16 bits.
const BYTES_PER_PIXEL: u64 = 6;

impl Plan {
    /// Seconds that diffusion and autoencoder take at `speed` operations a second ([`crate::speed`]); an
    /// estimate.
    pub fn seconds(&self, speed: f64) -> f64 {
        self.stages.iter().map(|stage| stage.operations).sum::<f64>() / speed
    }

    /// The same with working copies that are not in memory.
    pub fn on_disk(mut self) -> Self {
        self.peak_memory -= self.scratch;
        self
    }

    /// The plan for a picture of size `input` on a device that is there.
    pub fn new(
        backend: &Backend,
        enlarger: &Enlarger,
        diffusion: bool,
        input: Size,
        settings: &Settings,
    ) -> Self {
        Self::on(&Machine::from(backend), enlarger, diffusion, input, settings)
    }

    /// The plan for a picture of size `input` before any device is started or any network loaded.
    pub fn on(
        machine: &Machine,
        enlarger: &Enlarger,
        diffusion: bool,
        input: Size,
        settings: &Settings,
    ) -> Self {
        let family = &machine.family;
        let settings = &settings.resolve(ModelDefaults::of(&machine.family));
        let input = source_size(input, settings);
        let stages = if diffusion {
            stages(input, settings.upscale_factor, settings.denoise_strength, 0)
        } else {
            enlarger_steps(input, settings.upscale_factor, enlarger)
        };
        let (mut memory, mut peak) = (0, Peak::Picture);
        // The stages' copies, and those that a stage adds to its input and its guess.
        let (mut copies, mut before) = (0, 0);
        let beside = u64::from(settings.hint == HintSource::Input)
            + u64::from(settings.seamless != Seamless::None)
            + u64::from(settings.chroma_lock > 0.0);
        let mut largest_tensor = (0, Peak::Diffusion);
        let (mut hints, mut tile_batch) = (0, machine.tile_batch.max(1));
        let kept =
            stages.iter().map(|stage| room(stage, enlarger, diffusion.then_some(family), settings)).max();
        let (half, denoiser, autoencoder) = (machine.half, &family.cost.denoiser, &family.cost.autoencoder);
        let planned = stages.iter().map(|stage| {
            let latents = latent_size(stage.to, family.factor);
            let tile = Size::new(settings.tile_width, settings.tile_height);
            let grid =
                TileGrid::new(latents, tile, settings.tile_overlap.min(tile.width.min(tile.height) - 1));
            let grid = grid.expect("a picture has pixels");
            let noise = StepNoise { seed: 0, area: Rect::new(0, 0, latents) };
            let solver = Solver::new(settings, family, stage.strength, noise);
            let (steps, evaluations) =
                if diffusion { (solver.steps(), solver.evaluations()) } else { (0, 0) };
            let enlarger_tile = enlarger.memory(stage.from, stage.to);
            if enlarger_tile > memory {
                (memory, peak) = (enlarger_tile, Peak::Enlarger);
            }
            if diffusion {
                let side = u64::from(settings.vae_tile.min(stage.to.width.max(stage.to.height)));
                let value = if half { 2 } else { 4 };
                let values = grid.tile().area() * denoiser.channels;
                let unet = values * BYTES_PER_LATENT_CHANNEL / if half { 2 } else { 1 };
                let canvas = BYTES_PER_CANVAS_VALUE * family.latent_channels as u64 * latents.area();
                let kept = match settings.controlnet_scale > 0.0 && !settings.tile_jitter {
                    true => grid.len() as u64 * values * value,
                    false => 0,
                };
                let kept = kept.min(machine.hint_budget);
                hints = hints.max(kept);
                let reused = match settings.reuse_features > 1 {
                    true => grid.len() as u64 * grid.tile().area() * denoiser.reused * value,
                    false => 0,
                };
                let beside = canvas + machine.attention.score_bytes + kept + reused;
                let widest = grid.tile().area() * denoiser.widest * value;
                let most = |room: Option<u64>, each: u64| room.map_or(u64::MAX, |room| room / each.max(1));
                let room = machine.room().map(|room| room.saturating_sub(machine.weights + beside));
                let at_once = most(room, unet).min(most(machine.max_tensor, widest)).max(1);
                tile_batch = tile_batch.min(at_once as usize);
                let at_once = at_once.min(tile_batch as u64).min(grid.len() as u64);
                let unet = beside + at_once * unet;
                let bands = BYTES_PER_BAND_PIXEL * u64::from(stage.to.width) * u64::from(settings.vae_tile);
                let vae = canvas + side * side * autoencoder.channels * BYTES_PER_VAE_CHANNEL + bands;
                let tensors = [
                    (at_once * widest, Peak::Diffusion),
                    (side * side * autoencoder.widest * 4, Peak::Autoencoder),
                ];
                largest_tensor =
                    tensors.into_iter().fold(largest_tensor, |a, b| if b.0 > a.0 { b } else { a });
                for (needed, by) in [(unet, Peak::Diffusion), (vae, Peak::Autoencoder)] {
                    if needed > memory {
                        (memory, peak) = (needed, by);
                    }
                }
            }
            let redrawing = if diffusion { (1 + beside) * stage.to.area() } else { 0 };
            copies = copies.max(before + enlarger.copies(stage.from, stage.to).max(redrawing));
            before = stage.to.area();
            let factor = f64::from(stage.to.width) / f64::from(stage.from.width);
            // Without the negative prompt an evaluation takes half.
            let prompts = |at| if settings.is_guided(at, evaluations) { 1.0 } else { 0.5 };
            let latents_of_a_tile = grid.tile().area() as f64;
            let of_tile = |at| denoiser.of_tile(latents_of_a_tile, settings.is_reusing(at, evaluations));
            let redraw: f64 = (0..evaluations).map(|at| prompts(at) * grid.len() as f64 * of_tile(at)).sum();
            let pixels = if diffusion { stage.to.area() as f64 } else { 0.0 };
            let (encoding, decoding) = (pixels * autoencoder.encoder, pixels * autoencoder.decoder);
            let work = [enlarger.operations(stage.from, stage.to), encoding, redraw, decoding];
            PlannedStage {
                operations: encoding + redraw + decoding,
                work,
                width: stage.to.width,
                height: stage.to.height,
                enlarger_tiles: enlarger.tiles(stage.from, factor),
                diffusion_tiles: if steps > 0 { grid.len() } else { 0 },
                tile: (grid.tile().width, grid.tile().height),
                steps,
                evaluations,
                strength: stage.strength,
            }
        });
        let planned: Vec<_> = planned.collect();
        // The last stage's result stays while the run's is made of it.
        let scratch = (copies.max(before) + before) * BYTES_PER_PIXEL;
        if diffusion {
            memory += machine.weights;
            if !half && machine.packing != Packing::Never {
                memory += 4 * denoiser.largest_weight;
            }
        }
        Self {
            device: machine.reason.clone(),
            precision: precision(if half { DType::F16 } else { DType::F32 }, machine.packing).into(),
            weights: if diffusion { machine.weights } else { 0 },
            hints,
            tile_batch,
            stages: planned,
            peak_memory: memory + scratch,
            device_memory: memory,
            peak,
            scratch,
            kept: kept.unwrap_or_default(),
            largest_tensor,
        }
    }

    /// Whether `machine` can see its largest tensor.
    pub fn fits(&self, machine: &Machine) -> bool {
        machine.max_tensor.is_none_or(|most| self.largest_tensor.0 <= most)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clarifier_model::cost::ModelCost;

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

    #[test]
    fn what_a_device_cannot_see_fits_with_smaller_tiles_and_needs_no_device_to_say_so() {
        let machine = |max_tensor| Machine::described("a GPU", false, max_tensor);
        let plan = |machine: &Machine, settings: &Settings| {
            Plan::on(machine, &Enlarger::Lanczos, true, Size::new(2000, 1500), settings)
        };
        let (weak, mut settings) = (machine(Some(128 << 20)), Settings::default());
        let first = plan(&weak, &settings);
        assert_eq!(first.largest_tensor, (768 * 768 * 1024, Peak::Autoencoder));
        assert!(!first.fits(&weak) && first.fits(&machine(Some(1 << 30))) && first.fits(&machine(None)));
        let mut rounds = 0;
        loop {
            let plan = plan(&weak, &settings);
            if plan.fits(&weak) {
                break;
            }
            shrink(&mut settings, plan.largest_tensor.1);
            rounds += 1;
            assert!(rounds < 20, "{settings:?}");
        }
        assert!(settings.tile_width < 112 && settings.vae_tile < 768, "{settings:?}");
    }

    #[test]
    fn packed_weights_take_half_and_a_layer_more() {
        let plan = |packing, dtype| {
            let backend = Backend { packing, dtype, ..Backend::flex() };
            Plan::new(&backend, &Enlarger::Lanczos, true, Size::new(500, 400), &Settings::default())
        };
        let plain = plan(Packing::Never, DType::F32);
        let packed = plan(Packing::Exact, DType::F32);
        let half = plan(Packing::Exact, DType::F16);
        assert_eq!((plain.weights, packed.weights), (5_710_000_000, 2_935_000_000));
        assert_eq!(half.weights, packed.weights);
        let saved = plain.peak_memory - packed.peak_memory;
        assert_eq!(saved, plain.weights - packed.weights - 4 * ModelCost::sd15().denoiser.largest_weight);
        let rounded = plan(Packing::Rounded, DType::F32);
        assert_eq!((&*packed.precision, &*rounded.precision, &*half.precision), ("f32", "packed", "f16"));
    }

    fn plan(enlarger: &Enlarger, factor: f64, side: u32) -> Plan {
        let settings = Settings { upscale_factor: factor, ..Settings::default() };
        Plan::new(&Backend::flex(), enlarger, false, Size::new(side, side), &settings)
    }

    #[test]
    fn copies_are_those_that_there_are_at_once() {
        let pixel = BYTES_PER_PIXEL;
        let lite = Enlarger::lite(&clarifier_model::loader::Placement::f32(&burn::tensor::Device::flex()));
        // What the network gives is the last copy; the result beside it.
        assert_eq!(plan(&lite, 4.0, 100).scratch, 2 * 400 * 400 * pixel);
        // What it gives is larger, and reduced.
        assert_eq!(plan(&lite, 3.0, 100).scratch, (400 * 400 + 2 * 300 * 300) * pixel);
        assert_eq!(plan(&Enlarger::Lanczos, 3.0, 100).scratch, (100 * 100 + 2 * 300 * 300) * pixel);
    }

    #[test]
    fn a_tile_of_the_enlarger_counts_and_does_not_grow_with_the_picture() {
        let lite = Enlarger::lite(&clarifier_model::loader::Placement::f32(&burn::tensor::Device::flex()));
        let (small, large) = (plan(&lite, 4.0, 2000).on_disk(), plan(&lite, 4.0, 8192).on_disk());
        assert_eq!((small.peak, small.peak_memory), (Peak::Enlarger, large.peak_memory));
        // Measured with the program's own 30 MB: 68 MB.
        assert!((15_000_000..100_000_000).contains(&small.peak_memory), "{}", small.peak_memory);
    }
}
