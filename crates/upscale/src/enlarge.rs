//! The first guess: the picture made larger, tile by tile, by a network or by resampling.

use burn::tensor::DType;
use clarifier_model::esrgan::Esrgan;
use clarifier_model::files::{ReadAt, SafetensorsFile};
use clarifier_model::loader::{Placement, Weights};
use clarifier_raster::{Channels, Depth, Filter, Planes, Raster, StoreKind, Wrap, resize_wrapped};
use clarifier_tile::{Rect, Size, TileGrid};

use crate::device::Backend;
use crate::event::{tell, tell_part};
use crate::journal::{Ledger, Unit};
use crate::models::read;
use crate::preview::StepPreview;
use crate::{Error, Models, Observer, Phase, Settings, Team};

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

    /// The size of what its network makes of a picture, which is then brought to `to`; none without a network.
    pub(crate) fn enlarged(&self, from: Size, to: Size) -> Option<Size> {
        let factor = f64::from(to.width) / f64::from(from.width);
        self.network(factor).map(|network| from.times(network.scale() as u32))
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

    /// Bytes that a tile takes, about.
    pub fn memory(&self, from: Size, to: Size) -> u64 {
        let factor = f64::from(to.width) / f64::from(from.width);
        self.network(factor).map_or(0, |network| {
            let side = |length: u32| u64::from(length.min(TILE + 2 * network.reach()));
            side(from.width) * side(from.height) * network.bytes_per_pixel()
        })
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

/// How a picture is enlarged.
pub struct Enlarging<'a> {
    /// Where.
    pub backend: &'a Backend,
    /// By what.
    pub enlarger: &'a Enlarger,
    /// Which axes are circular.
    pub wrap: Wrap,
    /// Whether the network gets blue, green, red.
    pub bgr: bool,
    /// Where copies are kept.
    pub scratch: &'a StoreKind,
    /// Who computes.
    pub team: &'a Team,
    /// Whether to tell of each tile ([`crate::Event::Part`]).
    pub looks: bool,
}

impl<'a> Enlarging<'a> {
    /// With the enlarger of `models`.
    pub fn new(models: &'a Models, settings: &Settings, scratch: &'a StoreKind, team: &'a Team) -> Self {
        Self {
            backend: &models.backend,
            enlarger: &models.enlarger,
            wrap: Wrap::from(settings.seamless),
            bgr: settings.upscaler_bgr,
            scratch,
            team,
            looks: false,
        }
    }

    /// The factor that the network is chosen by: circular sides may be up to 7 pixels longer than asked for.
    fn factor(&self, from: Size, to: Size) -> f64 {
        let spare = if self.wrap.x { 7 } else { 0 };
        f64::from(to.width.saturating_sub(spare).max(1)) / f64::from(from.width)
    }

    /// The part of the source that the part `needed` of a result of `size` depends on: all that its tiles
    /// see.
    pub fn source(&self, from: Size, size: Size, needed: Rect) -> Rect {
        let whole = Rect::new(0, 0, from);
        if self.wrap != Wrap::NONE {
            return whole;
        }
        // What the resampling after the network looks at on each side, in source pixels.
        let margin = |from: u32, to: u32| (3.0 * f64::from(from) / f64::from(to)).max(3.0).ceil() as u32 + 1;
        let axis = |start: u32, end: u32, from: u32, to: u32| {
            let scaled = |at: u32| f64::from(at) * f64::from(from) / f64::from(to);
            let start = (scaled(start) as u32).saturating_sub(margin(from, to));
            (start, (scaled(end).ceil() as u32 + margin(from, to)).min(from))
        };
        let (left, right) = axis(needed.x, needed.right(), from.width, size.width);
        let (top, bottom) = axis(needed.y, needed.bottom(), from.height, size.height);
        let seen = Rect::new(left, top, Size::new(right - left, bottom - top));
        match self.enlarger.network(self.factor(from, size)) {
            None => seen,
            Some(network) => grid(from).cover(seen).grown(network.reach(), from),
        }
    }

    /// `source` at `size`, as RGB in 16 bits. Only what is in `needed` is sure to be right.
    ///
    /// Each tile is computed with as much of its neighbours as the network can see, and only its own part
    /// is kept: there is nothing to blend.
    ///
    /// # Errors
    /// If a store or the device fails; [`Error::Cancelled`].
    pub async fn run(
        &self,
        source: &Raster,
        size: Size,
        needed: Rect,
        observe: Observer<'_>,
    ) -> Result<Raster, Error> {
        self.run_kept(source, size, needed, (&mut Ledger::none(self.scratch), "picture"), observe).await
    }

    /// [`Self::run`], of which `ledger` keeps what is done under `name`.
    pub(crate) async fn run_kept(
        &self,
        source: &Raster,
        size: Size,
        needed: Rect,
        (ledger, name): (&mut Ledger, &str),
        observe: Observer<'_>,
    ) -> Result<Raster, Error> {
        if let Some(picture) = ledger.picture(name, size)? {
            return Ok(picture);
        }
        let Some(network) = self.enlarger.network(self.factor(source.size(), size)) else {
            let rgb = to_rgb(source, self.scratch)?;
            let mut target = ledger.begin(name, size)?;
            resize_wrapped(&rgb, &mut target, Filter::Lanczos3, self.wrap)?;
            ledger.complete(name, &mut target, Phase::Enlarge, &[])?;
            if self.looks {
                self.team.agree(StepPreview::of_raster(&target).and_then(|part| tell_part(observe, part)))?;
            }
            self.team.agree(tell(observe, Phase::Enlarge, 1, 1))?;
            return Ok(target);
        };
        let scale = network.scale() as u32;
        let grid = grid(source.size());
        let seen = self.source(source.size(), size, needed);
        let tiles: Vec<Rect> = grid.iter().filter(|tile| tile.meets(seen)).collect();
        let large_size = source.size().times(scale);
        let large_name = if large_size == size { name.to_owned() } else { format!("{name}.large") };
        let (mut large, mut sums) = ledger.partial_picture(&large_name, large_size)?;
        sums.truncate(whole_parts(&large, tiles.iter().map(|core| core.times(scale)), &sums)?);
        for round in self.team.rounds(sums.len()..tiles.len()) {
            let own = match self.team.mine(&round) {
                Some(index) => self.tile(network, source, tiles[index], index).await,
                None => Ok(Vec::new()),
            };
            let enlarged = self.team.share_f32(own)?;
            let mut take = |index: usize, data| {
                let core = tiles[index].times(scale);
                let pixels = Planes::new(core.size, 3, data);
                large.write(core.x, core.y, &pixels)?;
                if self.looks {
                    tell_part(observe, StepPreview::of_pixels(&pixels, core, large_size, size))?;
                }
                if ledger.is_kept() {
                    sums.push(large.checksum(core)?);
                }
                ledger.unit(Unit {
                    of: &large_name,
                    phase: Phase::Enlarge,
                    done: index + 1,
                    total: tiles.len(),
                    sums: &sums,
                    picture: Some(&mut large),
                    values: &[],
                })?;
                tell(observe, Phase::Enlarge, index + 1, tiles.len())
            };
            let taken = round.zip(enlarged).try_for_each(|(index, data)| take(index, data));
            self.team.agree(taken)?;
        }
        if large.size() == size {
            ledger.complete(name, &mut large, Phase::Enlarge, &[])?;
            return Ok(large);
        }
        let mut target = ledger.begin(name, size)?;
        resize_wrapped(&large, &mut target, Filter::Lanczos3, self.wrap)?;
        drop(large);
        ledger.complete(name, &mut target, Phase::Enlarge, &[])?;
        Ok(target)
    }

    /// The `index`th tile, `core` of `source`, enlarged.
    async fn tile(
        &self,
        network: &Esrgan,
        source: &Raster,
        core: Rect,
        index: usize,
    ) -> Result<Vec<f32>, Error> {
        let reach = network.reach();
        // As far as the picture goes on a flat axis, as far as the network sees on a circular one.
        let axis = |start: u32, length: u32, side: u32, wraps: bool| {
            let (before, after) = match wraps {
                true => (reach, reach),
                false => (reach.min(start), reach.min(side - start - length)),
            };
            (i64::from(start) - i64::from(before), before + length + after, before)
        };
        let size = source.size();
        let (x, width, left) = axis(core.x, core.size.width, size.width, self.wrap.x);
        let (y, height, top) = axis(core.y, core.size.height, size.height, self.wrap.y);
        let seen = Size::new(width, height);
        let planes = source.read_continued(x, y, seen, self.wrap)?.to_rgb();
        let swapped = |planes: Planes| if self.bgr { reversed(planes) } else { planes };
        let dims = [1, 3, height as usize, width as usize];
        let output = network.forward(self.backend.tensor(swapped(planes).data, dims, DType::F32));
        let scale = network.scale() as u32;
        let output = swapped(Planes::new(seen.times(scale), 3, read(output).await?));
        let kept = output.crop(left * scale, top * scale, core.size.times(scale)).data;
        if kept.iter().any(|v| !v.is_finite()) {
            return Err(Error::NotFinite { phase: Phase::Enlarge, tile: index + 1 });
        }
        Ok(kept)
    }
}

/// How many of `parts` of a picture, from the first on, still have their checksums.
pub(crate) fn whole_parts(
    picture: &Raster,
    parts: impl Iterator<Item = Rect>,
    sums: &[u32],
) -> Result<usize, Error> {
    let mut whole = 0;
    for (part, sum) in parts.zip(sums) {
        if picture.checksum(part)? != *sum {
            break;
        }
        whole += 1;
    }
    Ok(whole)
}

/// Planes in the opposite order.
fn reversed(planes: Planes) -> Planes {
    let data = (0..planes.channels).rev().flat_map(|c| planes.plane(c).iter().copied()).collect();
    Planes::new(planes.size, planes.channels, data)
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
