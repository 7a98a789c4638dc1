//! How much room a journal needs.

use clarifier_model::family::ModelFamily;
use clarifier_raster::Wrap;
use clarifier_tile::Size;

use crate::autoencode::latent_size;
use crate::{Enlarger, Frame, Settings, Stage, StepTiles};

/// Of a working picture: RGB in 16 bits.
const BYTES_PER_PIXEL: u64 = 6;
/// Of a canvas, for each value: itself in f32 and at most three of the sampler's in f64, twice, since the new is written
/// before the old is removed; and the encoded canvas.
const BYTES_PER_CANVAS_VALUE: u64 = 2 * (4 + 3 * 8) + 4;
/// Bytes of a value of a latent: f32.
const BYTES_PER_VALUE: u64 = 4;
/// Of a row of the decoder's tiles, for each pixel: the sums of RGB in f32, twice.
const BYTES_PER_BAND_PIXEL: u64 = 2 * 3 * 4;
/// Of the autoencoder's statistics: means and variances of 32 groups, for some 60 normalisations.
const STATISTICS: u64 = 32 << 10;

/// The most bytes that `stage` keeps at once; `family` is that of the networks that redraw it, none if nothing does.
pub(crate) fn room(
    stage: &Stage,
    enlarger: &Enlarger,
    family: Option<&ModelFamily>,
    settings: &Settings,
) -> u64 {
    let wrap = Wrap::from(settings.seamless);
    let picture = |size: Size| size.area() * BYTES_PER_PIXEL;
    let (before, guess) = (picture(stage.from), picture(stage.to));
    let large = match enlarger.enlarged(stage.from, stage.to) {
        Some(size) if size != stage.to => picture(size),
        _ => 0,
    };
    let enlarging = before + large + guess;
    let Some(family) = family else { return enlarging };
    let (channels, factor) = (family.latent_channels as u64, family.factor);
    let latents = latent_size(stage.to, factor);
    let continued = Frame::new(latents, wrap, settings.tile_overlap).area();
    let tiles = StepTiles::new(latents, settings, 0).numbered().clone();
    // Tiles that move are one more in each direction.
    let tiles = if settings.tile_jitter { tiles.shifted((0.5, 0.5)) } else { tiles };
    let noise = tiles.len() as u64 * tiles.tile().area() * channels * BYTES_PER_VALUE;
    let diffusing = before + guess + continued.area() * channels * BYTES_PER_CANVAS_VALUE + noise;
    let circular = wrap != Wrap::NONE;
    let pixels = continued.times(factor);
    let band =
        u64::from(pixels.width) * u64::from(settings.vae_tile.min(pixels.height)) * BYTES_PER_BAND_PIXEL;
    // The decoded picture, continued if it is circular, and brought to its size; the same with its colours held.
    let copies = if circular { picture(pixels) + 2 * guess } else { guess };
    let held = if settings.colour_lock > 0.0 || settings.chroma_lock > 0.0 { guess } else { 0 };
    let decoding = before + guess + copies + band.max(held) + latents.area() * channels * BYTES_PER_VALUE;
    enlarging.max(diffusing).max(decoding) + STATISTICS
}
