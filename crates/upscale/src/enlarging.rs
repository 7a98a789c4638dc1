//! A picture is enlarged, tile by tile.

use std::collections::VecDeque;

use burn::tensor::{DType, Tensor};
use clarifier_model::upscalers::Upscaler;
use clarifier_raster::{Filter, Planes, Raster, StoreKind, Wrap, resize_wrapped};
use clarifier_tile::{Rect, Size};
use rayon::prelude::*;

use crate::device::Backend;
use crate::enlarge::{Enlarger, grid, to_rgb, together};
use crate::event::{say, tell};
use crate::journal::{Ledger, Unit};
use crate::preview::StepPreview;
use crate::transfer::read;
use crate::{Error, Event, Models, Observer, Phase, Settings, Team};

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
                self.team.agree(
                    StepPreview::of_raster(&target).and_then(|part| say(observe, Event::Part(part))),
                )?;
            }
            self.team.agree(tell(observe, Phase::Enlarge, 1, 1))?;
            return Ok(target);
        };
        let scale = network.scale() as u32;
        let grid = grid(source.size());
        let seen = self.source(source.size(), size, needed);
        // Parts that no two have: what one tile gives would otherwise be changed in its last bits by the next, and what is
        // kept would not have its checksum.
        let parts = (0..grid.len()).map(|index| grid.own(index));
        let tiles: Vec<Rect> = parts.filter(|tile| tile.meets(seen)).collect();
        let large_size = source.size().times(scale);
        let large_name = if large_size == size { name.to_owned() } else { format!("{name}.large") };
        let (mut large, mut sums) = ledger.partial_picture(&large_name, large_size)?;
        sums.truncate(whole_parts(&large, tiles.iter().map(|core| core.times(scale)), &sums)?);
        // A GPU has its work queued, and is waited for.
        let on_gpu = self.backend.adapter.is_some();
        let at_once = if on_gpu { 1 } else { together(network, source.size()) };
        let mut ahead = VecDeque::new();
        for round in self.team.rounds(sums.len()..tiles.len()) {
            let own = match self.team.mine(&round) {
                Some(index) if at_once == 1 => self.tile(network, source, (index, tiles[index])).await,
                Some(index) => {
                    if ahead.is_empty() {
                        let own = (index..tiles.len()).step_by(self.team.size()).take(at_once);
                        ahead = self.together(network, source, own.map(|index| (index, tiles[index])));
                    }
                    ahead.pop_front().expect("one was computed")
                }
                None => Ok(Vec::new()),
            };
            let enlarged = self.team.share_f32(own)?;
            let mut take = |index: usize, data| {
                let core = tiles[index].times(scale);
                let pixels = Planes::new(core.size, 3, data);
                large.write(core.x, core.y, &pixels)?;
                if self.looks {
                    say(observe, Event::Part(StepPreview::of_pixels(&pixels, core, large_size, size)))?;
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

    /// The tile `core`, the `index`th.
    async fn tile(
        &self,
        network: &dyn Upscaler,
        source: &Raster,
        (index, core): (usize, Rect),
    ) -> Result<Vec<f32>, Error> {
        let (x, seen) = self.seen(network, source, core)?;
        self.kept(network, read(network.forward(x)).await?, seen, index)
    }

    /// Some tiles, by number, on a processor, at once.
    fn together(
        &self,
        network: &dyn Upscaler,
        source: &Raster,
        tiles: impl Iterator<Item = (usize, Rect)>,
    ) -> VecDeque<Result<Vec<f32>, Error>> {
        let seen: Vec<_> = tiles.map(|(index, core)| (index, self.seen(network, source, core))).collect();
        let inputs: Vec<_> =
            seen.iter().map(|(_, seen)| seen.as_ref().ok().map(|(x, _)| x.clone())).collect();
        // On a processor what is asked for is there at once.
        let forward = |x: Option<Tensor<4>>| x.map(|x| network.forward(x).into_data().try_into_vec::<f32>());
        let outputs: Vec<_> = inputs.into_par_iter().map(forward).collect();
        let kept = seen.into_iter().zip(outputs).map(|((index, seen), output)| {
            let (_, seen) = seen?;
            let output = output.expect("what was seen was computed");
            self.kept(network, output.map_err(|e| Error::Device(format!("{e:?}")))?, seen, index)
        });
        kept.collect()
    }

    /// What the network sees for the tile `core` of `source`, and where in it the tile is.
    fn seen(&self, network: &dyn Upscaler, source: &Raster, core: Rect) -> Result<(Tensor<4>, Seen), Error> {
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
        let planes = if self.bgr { reversed(planes) } else { planes };
        let dims = [1, 3, height as usize, width as usize];
        let x = self.backend.tensor(planes.data, dims, DType::F32);
        Ok((x, Seen { size: seen, left, top, core: core.size }))
    }

    /// The `index`th tile's own part of the network's output.
    fn kept(
        &self,
        network: &dyn Upscaler,
        output: Vec<f32>,
        seen: Seen,
        index: usize,
    ) -> Result<Vec<f32>, Error> {
        let scale = network.scale() as u32;
        let output = Planes::new(seen.size.times(scale), 3, output);
        let output = if self.bgr { reversed(output) } else { output };
        let kept = output.crop(seen.left * scale, seen.top * scale, seen.core.times(scale)).data;
        if kept.iter().any(|v| !v.is_finite()) {
            return Err(Error::NotFinite { phase: Phase::Enlarge, tile: index + 1 });
        }
        Ok(kept)
    }
}

/// What the network sees for a tile, in pixels of the source.
struct Seen {
    size: Size,
    /// Where the tile begins in it.
    left: u32,
    top: u32,
    /// The tile without its neighbours.
    core: Size,
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
