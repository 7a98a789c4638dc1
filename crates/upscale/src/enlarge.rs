//! What enlarges a picture for the first guess, and what that takes.

use clarifier_model::files::{Source, open};
use clarifier_model::loader::{Placement, Weights};
use clarifier_model::upscalers::{self, Upscaler};
use clarifier_raster::{Channels, Depth, Raster, StoreKind};
use clarifier_tile::{Rect, Size, TileGrid};

use crate::Error;

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
        x2: Box<dyn Upscaler>,
        /// 4×.
        x4: Box<dyn Upscaler>,
    },
    /// A network from a file.
    Network(Box<dyn Upscaler>),
}

impl Enlarger {
    /// The built-in networks.
    pub fn lite(placement: &Placement) -> Self {
        let load = |bytes| {
            let file = open(Source::built_in("lite", bytes)).expect("the built-in file is whole");
            upscalers::load(Weights::new(&*file, "lite", placement)).expect("the built-in network fits")
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

    pub(crate) fn network(&self, factor: f64) -> Option<&dyn Upscaler> {
        match self {
            Self::Lanczos => None,
            Self::Lite { x2, .. } if factor <= 2.0 => Some(&**x2),
            Self::Lite { x4, .. } => Some(&**x4),
            Self::Network(network) => Some(&**network),
        }
    }

    /// The size of what its network makes of a picture, which is then brought to `to`; none without a network.
    pub(crate) fn enlarged(&self, from: Size, to: Size) -> Option<Size> {
        let factor = f64::from(to.width) / f64::from(from.width);
        self.network(factor).map(|network| from.times(network.scale() as u32))
    }

    /// Operations that it takes, of which a multiplication and an addition are two; about.
    pub fn operations(&self, from: Size, to: Size) -> f64 {
        let factor = f64::from(to.width) / f64::from(from.width);
        match self.network(factor) {
            Some(network) => from.area() as f64 * network.cost().operations,
            // Two filters of some ten values, for three channels.
            None => to.area() as f64 * 120.0,
        }
    }

    /// Pixels of working copies while it enlarges, the result's among them.
    pub fn copies(&self, from: Size, to: Size) -> u64 {
        let factor = f64::from(to.width) / f64::from(from.width);
        match self.network(factor) {
            None => from.area() + to.area(),
            Some(network) => {
                let large = from.times(network.scale() as u32);
                large.area() + if large == to { 0 } else { to.area() }
            }
        }
    }

    /// Bytes that the tiles take that are computed at once, about.
    pub fn memory(&self, from: Size, to: Size) -> u64 {
        let factor = f64::from(to.width) / f64::from(from.width);
        self.network(factor).map_or(0, |network| together(network, from) as u64 * tile_memory(network, from))
    }

    /// How many tiles it takes to enlarge a picture of this size.
    pub fn tiles(&self, from: Size, factor: f64) -> usize {
        self.network(factor).map_or(1, |_| grid(from).len())
    }
}

/// Side of a tile in input pixels, without what it sees of its neighbours.
const TILE: u32 = 192;

/// The tiles of a picture.
pub(crate) fn grid(from: Size) -> TileGrid {
    TileGrid::new(from, Size::new(TILE, TILE), 0).expect("a picture has pixels")
}

/// Bytes that a tile takes, about.
fn tile_memory(network: &dyn Upscaler, from: Size) -> u64 {
    let side = |length: u32| u64::from(length.min(TILE + 2 * network.reach()));
    side(from.width) * side(from.height) * network.cost().bytes
}

/// Most bytes of tiles that a processor computes at once.
const TOGETHER_BYTES: u64 = 128 << 20;
/// Most of them.
const MOST_TOGETHER: u64 = 4;

/// How many tiles a processor computes at once: of a small network each layer ends before all its cores have had their share.
pub(crate) fn together(network: &dyn Upscaler, from: Size) -> usize {
    let threads = rayon::current_num_threads() as u64;
    let fit = TOGETHER_BYTES / tile_memory(network, from).max(1);
    fit.clamp(1, threads.min(MOST_TOGETHER)) as usize
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
