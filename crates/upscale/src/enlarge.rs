//! The first guess: the picture made larger, tile by tile, by a network or by resampling.

use burn::tensor::DType;
use clarifier_model::esrgan::Esrgan;
use clarifier_model::files::{ReadAt, SafetensorsFile};
use clarifier_model::loader::{Placement, Weights};
use clarifier_raster::{Channels, Depth, Filter, Planes, Raster, StoreKind, resize};
use clarifier_tile::{Rect, Size, TileGrid};

use crate::device::Backend;
use crate::event::tell;
use crate::models::read;
use crate::{Error, Observer, Phase};

/// The built-in network for factors up to 2.
const LITE_X2: &[u8] = include_bytes!("../assets/lite_x2.safetensors");
/// The built-in network for factors up to 4.
const LITE_X4: &[u8] = include_bytes!("../assets/lite_x4.safetensors");

/// What enlarges.
pub enum Enlarger {
    /// Resampling.
    Lanczos,
    /// The built-in networks.
    Lite {
        /// 2×.
        x2: Esrgan,
        /// 4×.
        x4: Esrgan,
    },
    /// A network from a file.
    Network(Esrgan),
}

/// Bytes that are part of the program.
struct BuiltIn(&'static [u8]);

impl ReadAt for BuiltIn {
    fn length(&self) -> std::io::Result<u64> {
        Ok(self.0.len() as u64)
    }

    fn read_at(&self, offset: u64, into: &mut [u8]) -> std::io::Result<()> {
        into.copy_from_slice(&self.0[offset as usize..][..into.len()]);
        Ok(())
    }
}

impl Enlarger {
    /// The built-in networks.
    pub fn lite(placement: &Placement) -> Self {
        let load = |bytes| {
            let file =
                SafetensorsFile::new(Box::new(BuiltIn(bytes)), "lite").expect("the built-in file is whole");
            Esrgan::load(Weights::new(&file, "lite", placement)).expect("the built-in network fits")
        };
        Self::Lite { x2: load(LITE_X2), x4: load(LITE_X4) }
    }

    /// The largest factor that one pass is good for.
    pub fn largest_step(&self) -> f64 {
        match self {
            Self::Lanczos => f64::INFINITY,
            Self::Lite { x4, .. } => x4.scale() as f64,
            Self::Network(network) => (network.scale() as f64).max(2.0),
        }
    }

    fn network(&self, factor: f64) -> Option<&Esrgan> {
        match self {
            Self::Lanczos => None,
            Self::Lite { x2, .. } if factor <= 2.0 => Some(x2),
            Self::Lite { x4, .. } => Some(x4),
            Self::Network(network) => Some(network),
        }
    }

    /// Operations that it takes, of which a multiplication and an addition are two; about.
    pub fn operations(&self, from: Size, to: Size) -> f64 {
        let factor = f64::from(to.width) / f64::from(from.width);
        match self.network(factor) {
            Some(network) => from.area() as f64 * network.operations(),
            // Two filters of some ten values, for three channels.
            None => to.area() as f64 * 120.0,
        }
    }

    /// How many tiles it takes to enlarge a picture of this size.
    pub fn tiles(&self, from: Size, factor: f64) -> usize {
        self.network(factor).map_or(1, |_| grid(from).len())
    }
}

/// Side of a tile in input pixels, without what it sees of its neighbours.
const TILE: u32 = 192;

fn grid(from: Size) -> TileGrid {
    TileGrid::new(from, Size::new(TILE, TILE), 0).expect("a picture has pixels")
}

/// `source` at `size`, as RGB in 16 bits, in a store of `scratch`'s kind.
///
/// Each tile is computed with as much of its neighbours as the network can see, and only its own part
/// is kept: there is nothing to blend.
///
/// # Errors
/// If a store or the device fails; [`Error::Cancelled`].
pub async fn enlarge(
    backend: &Backend,
    enlarger: &Enlarger,
    source: &Raster,
    size: Size,
    scratch: &StoreKind,
    observe: Observer<'_>,
) -> Result<Raster, Error> {
    let factor = f64::from(size.width) / f64::from(source.size().width);
    let new = |size| Raster::new(scratch, size, Channels::Rgb, Depth::Sixteen);
    let Some(network) = enlarger.network(factor) else {
        let rgb = to_rgb(source, scratch)?;
        let mut target = new(size)?;
        resize(&rgb, &mut target, Filter::Lanczos3)?;
        tell(observe, Phase::Enlarge, 1, 1)?;
        return Ok(target);
    };
    let scale = network.scale() as u32;
    let grid = grid(source.size());
    let mut large = new(source.size().times(scale))?;
    for (index, core) in grid.iter().enumerate() {
        let seen = core.grown(network.reach(), source.size());
        let planes = source.read(seen)?.to_rgb();
        let dims = [1, 3, seen.size.height as usize, seen.size.width as usize];
        let output = network.forward(backend.tensor(planes.data, dims, DType::F32));
        let output = Planes::new(seen.size.times(scale), 3, read(output).await?);
        let inside = Rect::new(core.x - seen.x, core.y - seen.y, core.size).times(scale);
        let kept = output.crop(inside.x, inside.y, inside.size);
        if kept.data.iter().any(|v| !v.is_finite()) {
            return Err(Error::NotFinite { phase: Phase::Enlarge, tile: index + 1 });
        }
        large.write(core.x * scale, core.y * scale, &kept)?;
        tell(observe, Phase::Enlarge, index + 1, grid.len())?;
    }
    if large.size() == size {
        return Ok(large);
    }
    let mut target = new(size)?;
    resize(&large, &mut target, Filter::Lanczos3)?;
    Ok(target)
}

/// A copy in RGB of 16 bits, without opacity.
pub(crate) fn to_rgb(source: &Raster, scratch: &StoreKind) -> Result<Raster, Error> {
    let size = source.size();
    let mut rgb = Raster::new(scratch, size, Channels::Rgb, Depth::Sixteen)?;
    for y in (0..size.height).step_by(64) {
        let rect = Rect::new(0, y, Size::new(size.width, 64.min(size.height - y)));
        rgb.write(0, y, &source.read(rect)?.to_rgb())?;
    }
    Ok(rgb)
}
