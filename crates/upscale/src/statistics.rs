//! What the autoencoder's tiles are normalised by.
//!
//! What makes tiles visible is that each has its own group-normalisation statistics, hence its own
//! contrast and colour. Here all tiles of encoder and decoder share one set, taken from the run's first
//! guess before the first tile is computed. Since it is the same picture for every stage and for a
//! region of it, so are the statistics.

use burn::tensor::DType;
use clarifier_kernels::GroupStats;
use clarifier_model::layers::Norms;
use clarifier_raster::{Filter, Planes, Raster, StoreKind, resize};
use clarifier_tile::Size;

use crate::autoencode::{dims, latent_size, tile_side};
use crate::device::Backend;
use crate::transfer::read;
use crate::{Diffusion, Error, VaeStatistics};

/// How many places the statistics are sampled at, in each direction.
const SAMPLES: u32 = 2;

/// What all tiles are normalised by; [`Statistics::default`] is each tile's own.
#[derive(Debug, Clone, Default)]
pub struct Statistics {
    pub(crate) encoder: Shared,
    pub(crate) decoder: Shared,
}

/// In the order in which the network uses them.
pub(crate) type Shared = Option<std::sync::Arc<[GroupStats]>>;

/// What a network's normalisations take.
pub(crate) fn norms(shared: &Shared) -> Norms {
    shared.as_ref().map_or(Norms::Own, |stats| Norms::Frozen(stats.clone(), 0))
}

impl Statistics {
    /// All of them as numbers: for encoder and decoder how many groups of statistics there are, and for each
    /// its shape, means and variances.
    ///
    /// # Errors
    /// If the device fails.
    pub(crate) async fn to_values(&self) -> Result<Vec<f32>, Error> {
        let mut values = Vec::new();
        for shared in [&self.encoder, &self.decoder] {
            let list = shared.as_deref().unwrap_or_default();
            values.push(list.len() as f32);
            for stats in list {
                values.extend(stats.mean.dims().map(|side| side as f32));
                values.extend(read(stats.mean.clone()).await?);
                values.extend(read(stats.variance.clone()).await?);
            }
        }
        Ok(values)
    }

    /// From [`Self::to_values`]; none if they are not its.
    pub(crate) fn from_values(backend: &Backend, values: &[f32]) -> Option<Self> {
        let mut rest = values;
        let mut take = |count: usize| {
            let (taken, after) = rest.split_at_checked(count)?;
            rest = after;
            Some(taken)
        };
        let mut shared = || {
            let mut list = Vec::new();
            for _ in 0..take(1)?[0] as usize {
                let dims: [usize; 2] = std::array::from_fn(|i| i);
                let shape = take(dims.len())?;
                let dims = dims.map(|i| shape[i] as usize);
                let mut tensor = || {
                    let values = take(dims[0].checked_mul(dims[1])?)?.to_vec();
                    Some(backend.tensor(values, dims, DType::F32))
                };
                list.push(GroupStats { mean: tensor()?, variance: tensor()? });
            }
            Some((!list.is_empty()).then(|| list.into()))
        };
        let read = Self { encoder: shared()?, decoder: shared()? };
        rest.is_empty().then_some(read)
    }

    /// Whether they have been measured.
    pub(crate) fn is_measured(&self) -> bool {
        self.encoder.is_some()
    }

    /// Those that encoder and decoder have on `picture`, reduced to a tile of `tile` pixels or in samples.
    ///
    /// # Errors
    /// If the store or the device fails.
    pub async fn measure(
        backend: &Backend,
        diffusion: &Diffusion,
        picture: &Raster,
        tile: u32,
        kind: VaeStatistics,
    ) -> Result<Self, Error> {
        if !diffusion.vae.has_statistics() {
            return Ok(Self::default());
        }
        let factor = diffusion.vae.factor() as u32;
        let side = tile_side(tile, factor);
        let batch = match kind {
            VaeStatistics::Thumbnail => thumbnail(picture, side, factor)?,
            VaeStatistics::Sampled => samples(picture, side, factor)?,
        };
        let (count, size) = (batch.len(), batch[0].size);
        let pixels = batch.into_iter().flat_map(|planes| planes.data).map(|v| 2.0 * v - 1.0).collect();
        let x = backend.tensor(pixels, dims(size, 3, count), DType::F32);
        let (mut encoder, mut decoder) = (Norms::Pooled(Vec::new()), Norms::Pooled(Vec::new()));
        let latent = diffusion.vae.encode(x, &mut encoder);
        // Awaited, so that encoder and decoder do not take memory at once.
        let size = latent.dims();
        let latent = backend.tensor(read(latent).await?, size, DType::F32);
        diffusion.vae.decode(latent, &mut decoder);
        let pooled = |norms| match norms {
            Norms::Pooled(stats) => Some(stats.into()),
            _ => unreachable!("a network does not change the kind of its statistics"),
        };
        Ok(Self { encoder: pooled(encoder), decoder: pooled(decoder) })
    }
}

/// `picture`, at most `side` latents large and in multiples of the VAE's factor; never enlarged.
fn thumbnail(picture: &Raster, side: u32, factor: u32) -> Result<Vec<Planes>, Error> {
    let size = latent_size(picture.size(), factor).fitted(Size::new(side, side)).times(factor);
    // Streamed: the picture itself may not fit in memory.
    let mut small = Raster::new(&StoreKind::Memory, size, picture.channels(), picture.depth())?;
    resize(picture, &mut small, Filter::Bicubic)?;
    Ok(vec![small.read(small.area())?.to_rgb()])
}

/// Parts of `picture` at full size, corner to corner, which together take the memory of one tile.
fn samples(picture: &Raster, side: u32, factor: u32) -> Result<Vec<Planes>, Error> {
    let area = latent_size(picture.size(), factor);
    let sample = Size::new((side / 2).min(area.width), (side / 2).min(area.height));
    let place = |i: u32, free: u32| i64::from(factor * (free * i / (SAMPLES - 1)));
    let at = |i: u32| {
        let x = place(i % SAMPLES, area.width - sample.width);
        let y = place(i / SAMPLES, area.height - sample.height);
        Ok(picture.read_reflected(x, y, sample.times(factor))?.to_rgb())
    };
    (0..SAMPLES * SAMPLES).map(at).collect()
}
