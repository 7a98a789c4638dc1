//! Picture to latents and back, tile by tile, as if in one piece.
//!
//! What makes tiles visible is that each has its own group-normalisation statistics, hence its own
//! contrast and colour. Here all tiles share one set, taken before the first tile is computed.

use burn::tensor::DType;
use clarifier_model::layers::Norms;
use clarifier_raster::{Filter, Planes, Raster, StoreKind, resize, resize_planes};
use clarifier_tile::{Rect, Size, TileGrid, Window};

use crate::band::BandBlender;
use crate::device::Backend;
use crate::event::tell;
use crate::models::read;
use crate::{Canvas, Diffusion, Error, Observer, Phase, VaeStatistics};

/// Least overlap of the tiles, in latents: beyond it, what a tile lacks at its border no longer shows.
const OVERLAP: u32 = 8;
/// How many places the statistics are sampled at, in each direction.
const SAMPLES: u32 = 2;

/// How the tiles are cut.
struct Tiling {
    grid: TileGrid,
    /// Side of a sample.
    sample: Size,
}

impl Tiling {
    /// `tile` is the side of a tile in pixels.
    fn new(area: Size, tile: u32, factor: u32) -> Self {
        let side = (tile / factor).max(2 * OVERLAP);
        let grid =
            TileGrid::new(area, Size::new(side, side), OVERLAP).expect("an overlap smaller than the tile");
        // Four samples of half the side take the memory of one tile.
        let sample = Size::new((side / 2).min(area.width), (side / 2).min(area.height));
        Self { grid, sample }
    }

    /// Samples spread over the area, corner to corner.
    fn samples(&self) -> impl Iterator<Item = Rect> + '_ {
        let area = self.grid.area();
        let place = |i: u32, free: u32| free * i / (SAMPLES - 1);
        (0..SAMPLES * SAMPLES).map(move |i| {
            let x = place(i % SAMPLES, area.width - self.sample.width);
            let y = place(i / SAMPLES, area.height - self.sample.height);
            Rect::new(x, y, self.sample)
        })
    }
}

fn dims(size: Size, channels: usize, batch: usize) -> [usize; 4] {
    [batch, channels, size.height as usize, size.width as usize]
}

/// What every tile uses: the pooled statistics, or the tile's own if it is the only one.
struct Shared(Option<std::sync::Arc<[clarifier_kernels::GroupStats]>>);

impl Shared {
    /// The statistics that `run` meets when it puts its batch through the network; nothing is run for
    /// a single tile.
    fn measure(tiling: &Tiling, run: impl FnOnce(&mut Norms) -> Result<(), Error>) -> Result<Self, Error> {
        if tiling.grid.len() == 1 {
            return Ok(Self(None));
        }
        let mut norms = Norms::Pooled(Vec::new());
        run(&mut norms)?;
        match norms {
            Norms::Pooled(stats) => Ok(Self(Some(stats.into()))),
            _ => unreachable!("a network does not change the kind of its statistics"),
        }
    }

    fn norms(&self) -> Norms {
        self.0.as_ref().map_or(Norms::Own, |stats| Norms::Frozen(stats.clone(), 0))
    }
}

/// The latents of `picture`, which is continued by reflection to multiples of the VAE's factor (8).
///
/// # Errors
/// If the store or the device fails; [`Error::Cancelled`].
pub async fn encode(
    backend: &Backend,
    diffusion: &Diffusion,
    picture: &Raster,
    tile: u32,
    statistics: VaeStatistics,
    observe: Observer<'_>,
) -> Result<Canvas, Error> {
    let vae = &diffusion.vae;
    let factor = vae.factor() as u32;
    let area = latent_size(picture.size(), factor);
    let tiling = Tiling::new(area, tile, factor);
    let pixels = |rect: Rect| -> Result<Vec<f32>, Error> {
        let rect = rect.times(factor);
        let planes = picture.read_reflected(i64::from(rect.x), i64::from(rect.y), rect.size)?;
        Ok(planes.to_rgb().data.into_iter().map(|v| 2.0 * v - 1.0).collect())
    };
    let shared = Shared::measure(&tiling, |norms| {
        let batch = match statistics {
            VaeStatistics::Sampled => {
                let samples: Result<Vec<_>, _> = tiling.samples().map(pixels).collect();
                let size = dims(tiling.sample.times(factor), 3, (SAMPLES * SAMPLES) as usize);
                backend.tensor(samples?.concat(), size, DType::F32)
            }
            VaeStatistics::Thumbnail => {
                let size = fitted(area, tiling.grid.tile()).times(factor);
                // Streamed: the picture itself may not fit in memory.
                let mut small = Raster::new(&StoreKind::Memory, size, picture.channels(), picture.depth())?;
                resize(picture, &mut small, Filter::Bicubic)?;
                let small = small.read(small.area())?.to_rgb();
                backend.tensor(
                    small.data.iter().map(|v| 2.0 * v - 1.0).collect(),
                    dims(size, 3, 1),
                    DType::F32,
                )
            }
        };
        vae.encode(batch, norms);
        Ok(())
    })?;
    let channels = vae.config.latent_channels;
    let mut canvas = Canvas::zeros(area, channels);
    for (index, rect) in tiling.grid.iter().enumerate() {
        let x = backend.tensor(pixels(rect)?, dims(rect.size.times(factor), 3, 1), DType::F32);
        let latent = read(vae.encode(x, &mut shared.norms())).await?;
        check(&latent, Phase::Encode, index)?;
        canvas.add(rect, &latent, &tiling.grid.weights(index, Window::Feather));
        tell(observe, Phase::Encode, index + 1, tiling.grid.len())?;
    }
    Ok(canvas)
}

/// The picture of `canvas`, written into `picture` band by band.
///
/// # Errors
/// If the store or the device fails; [`Error::Cancelled`].
pub async fn decode(
    backend: &Backend,
    diffusion: &Diffusion,
    canvas: &Canvas,
    picture: &mut Raster,
    tile: u32,
    statistics: VaeStatistics,
    observe: Observer<'_>,
) -> Result<(), Error> {
    let vae = &diffusion.vae;
    let factor = vae.factor() as u32;
    let tiling = Tiling::new(canvas.size, tile, factor);
    let shared = Shared::measure(&tiling, |norms| {
        let batch = match statistics {
            VaeStatistics::Sampled => {
                let samples: Vec<_> = tiling.samples().map(|rect| canvas.crop(rect)).collect();
                let size = dims(tiling.sample, canvas.channels, samples.len());
                backend.tensor(samples.concat(), size, DType::F32)
            }
            VaeStatistics::Thumbnail => {
                let size = fitted(canvas.size, tiling.grid.tile());
                let whole = Planes::new(canvas.size, canvas.channels, canvas.data.clone());
                let small = resize_planes(&whole, size, Filter::Bicubic);
                backend.tensor(small.data, dims(size, canvas.channels, 1), DType::F32)
            }
        };
        vae.decode(batch, norms);
        Ok(())
    })?;
    let rows = tiling.grid.tile().height * factor;
    let mut band = BandBlender::new(picture, canvas.size.times(factor), rows);
    for (index, rect) in tiling.grid.iter().enumerate() {
        let z = backend.tensor(canvas.crop(rect), dims(rect.size, canvas.channels, 1), DType::F32);
        let mut pixels = read(vae.decode(z, &mut shared.norms())).await?;
        check(&pixels, Phase::Decode, index)?;
        pixels.iter_mut().for_each(|v| *v = 0.5 + 0.5 * *v);
        let rect = rect.times(factor);
        let weights = pixel_weights(&tiling.grid, index, factor);
        band.add(rect, &Planes::new(rect.size, 3, pixels), &weights)?;
        tell(observe, Phase::Decode, index + 1, tiling.grid.len())?;
    }
    band.finish()
}

/// The weights of a tile's pixels: those of its latents, interpolated, so that a ramp is no staircase.
fn pixel_weights(grid: &TileGrid, index: usize, factor: u32) -> clarifier_tile::TileWeights {
    let scaled = TileGrid::new(grid.area().times(factor), grid.tile().times(factor), OVERLAP * factor);
    let scaled = scaled.expect("a grid that exists, enlarged");
    // Rounding may place tiles elsewhere on the finer grid; then the coarse weights are repeated.
    if scaled.len() == grid.len() && (0..grid.len()).all(|i| scaled.get(i) == grid.get(i).times(factor)) {
        return scaled.weights(index, Window::Feather);
    }
    let coarse = grid.weights(index, Window::Feather);
    let repeat = |w: &[f32]| w.iter().flat_map(|v| std::iter::repeat_n(*v, factor as usize)).collect();
    clarifier_tile::TileWeights { x: repeat(&coarse.x), y: repeat(&coarse.y) }
}

/// Latents that cover a picture.
pub(crate) fn latent_size(picture: Size, factor: u32) -> Size {
    Size::new(picture.width.div_ceil(factor), picture.height.div_ceil(factor))
}

/// `area`'s proportions inside `tile`.
fn fitted(area: Size, tile: Size) -> Size {
    let ratio = f64::from(tile.width) / f64::from(area.width);
    let ratio = ratio.min(f64::from(tile.height) / f64::from(area.height)).min(1.0);
    let side = |length: u32| (f64::from(length) * ratio).round().max(1.0) as u32;
    Size::new(side(area.width), side(area.height))
}

fn check(values: &[f32], phase: Phase, index: usize) -> Result<(), Error> {
    if values.iter().all(|v| v.is_finite()) {
        Ok(())
    } else {
        Err(Error::NotFinite { phase, tile: index + 1 })
    }
}
