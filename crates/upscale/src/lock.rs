//! Colours and brightness held to the picture's: the low frequencies of the one in place of the other's.
//!
//! Diffusion drifts in colour, more with each stage. Both pictures are averaged over cells, and the
//! difference of the averages, interpolated smoothly, is added: no detail finer than a cell changes.

use clarifier_raster::{Channels, Depth, Filter, Planes, Raster, StoreKind, Wrap, resize_wrapped};
use clarifier_tile::{Rect, Size};

use crate::Error;

/// Side of a cell in pixels.
const CELL: u32 = 64;
/// How often what is lacking is added: black and white take no more, and the cells around them less than
/// they should.
const PASSES: u32 = 2;
/// How far a pixel's correction looks: each pass at half a cell and two neighbours of it.
pub(crate) const REACH: u32 = PASSES * 3 * CELL;

/// A picture's averages over cells.
pub(crate) struct Lows(Planes);

impl Lows {
    /// Those of `picture`, RGB.
    pub fn of(picture: &Raster, wrap: Wrap) -> Result<Self, Error> {
        let size = picture.size();
        let cells = Size::new(size.width.div_ceil(CELL), size.height.div_ceil(CELL));
        let mut small = Raster::new(&StoreKind::Memory, cells, Channels::Rgb, Depth::Sixteen)?;
        resize_wrapped(picture, &mut small, Filter::Box, wrap)?;
        Ok(Self(small.read(small.area())?))
    }

    /// Give `picture` these averages, by `strength` of the difference to its own.
    pub fn hold(&self, picture: &mut Raster, strength: f64, wrap: Wrap) -> Result<(), Error> {
        let wanted = self.between(&Self::of(picture, wrap)?, strength);
        (0..PASSES).try_for_each(|_| wanted.approach(None, picture, wrap))
    }

    /// [`Self::hold`], of `picture` into another of its size.
    pub fn hold_into(
        &self,
        picture: &Raster,
        held: &mut Raster,
        strength: f64,
        wrap: Wrap,
    ) -> Result<(), Error> {
        let wanted = self.between(&Self::of(picture, wrap)?, strength);
        wanted.approach(Some(picture), held, wrap)?;
        (1..PASSES).try_for_each(|_| wanted.approach(None, held, wrap))
    }

    /// These by `strength`, and `own` by the rest.
    fn between(&self, own: &Self, strength: f64) -> Self {
        let mix = |(wanted, own): (&f32, &f32)| own + strength as f32 * (wanted - own);
        let data = self.0.data.iter().zip(&own.0.data).map(mix).collect();
        Self(Planes::new(self.0.size, 3, data))
    }

    /// Add to a picture what its averages lack: to `target`, or to `source` and into `target`.
    fn approach(&self, source: Option<&Raster>, target: &mut Raster, wrap: Wrap) -> Result<(), Error> {
        let mut difference = Self::of(source.unwrap_or(target), wrap)?.0;
        for (own, wanted) in difference.data.iter_mut().zip(&self.0.data) {
            *own = wanted - *own;
        }
        let size = target.size();
        let columns = taps(size.width, difference.size.width, wrap.x);
        let rows = taps(size.height, difference.size.height, wrap.y);
        for top in (0..size.height).step_by(64) {
            let rect = Rect::new(0, top, Size::new(size.width, 64.min(size.height - top)));
            let mut band = source.unwrap_or(target).read(rect)?;
            for channel in 0..3 {
                let cells = difference.plane(channel);
                let width = difference.size.width as usize;
                let lines = band.plane_mut(channel).chunks_exact_mut(size.width as usize);
                for (line, down) in lines.zip(&rows[top as usize..]) {
                    let mix = |x: usize| down.iter().map(|(y, w)| w * cells[y * width + x]).sum();
                    let mixed: Vec<f32> = (0..width).map(mix).collect();
                    for (value, across) in line.iter_mut().zip(&columns) {
                        *value += across.iter().map(|(x, w)| w * mixed[*x]).sum::<f32>();
                    }
                }
            }
            target.write(0, top, &band)?;
        }
        Ok(())
    }
}

/// For each of `side` pixels the four cells around it and their weights: Keys' cubic, a = −½, which
/// passes through the averages.
fn taps(side: u32, cells: u32, wraps: bool) -> Vec<[(usize, f32); 4]> {
    let of = |pixel: u32| {
        let at = (f64::from(pixel) + 0.5) * f64::from(cells) / f64::from(side) - 0.5;
        let (first, t) = (at.floor() as i64 - 1, (at - at.floor()) as f32);
        let weights = [
            ((-0.5 * t + 1.0) * t - 0.5) * t,
            (1.5 * t - 2.5) * t * t + 1.0,
            ((-1.5 * t + 2.0) * t + 0.5) * t,
            (0.5 * t - 0.5) * t * t,
        ];
        let place = |i: i64| match wraps {
            true => (first + i).rem_euclid(cells.into()) as usize,
            false => (first + i).clamp(0, i64::from(cells) - 1) as usize,
        };
        std::array::from_fn(|i| (place(i as i64), weights[i]))
    };
    (0..side).map(of).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Detail on a slope.
    fn picture(size: Size, tint: f32) -> Raster {
        let mut raster = Raster::new(&StoreKind::Memory, size, Channels::Rgb, Depth::Sixteen).unwrap();
        let (w, h) = (size.width as usize, size.height as usize);
        let value = |i: usize| {
            let (x, y) = (i % w, i / w % h);
            let slope = 0.4 + 0.1 * (x as f32 / w as f32) + tint * (y as f32 / h as f32 - 0.3);
            slope + if (x + y) % 2 == 0 { 0.05 } else { -0.05 }
        };
        let data = (0..3 * w * h).map(value).collect();
        raster.write(0, 0, &Planes::new(size, 3, data)).unwrap();
        raster
    }

    #[test]
    fn a_tint_is_taken_back_and_detail_is_left() {
        let size = Size::new(500, 400);
        let (source, mut tinted) = (picture(size, 0.0), picture(size, 0.25));
        let before = tinted.read(tinted.area()).unwrap();
        let mut apart = picture(size, 0.0);
        Lows::of(&source, Wrap::NONE).unwrap().hold_into(&tinted, &mut apart, 1.0, Wrap::NONE).unwrap();
        Lows::of(&source, Wrap::NONE).unwrap().hold(&mut tinted, 1.0, Wrap::NONE).unwrap();
        assert_eq!(apart.read(apart.area()).unwrap(), tinted.read(tinted.area()).unwrap());
        let (wanted, held) = (source.read(source.area()).unwrap(), tinted.read(tinted.area()).unwrap());
        let error = |a: &Planes| {
            let sum = a.data.iter().zip(&wanted.data).map(|(a, b)| f64::from((a - b).abs())).sum::<f64>();
            sum / a.data.len() as f64
        };
        println!("{} → {}", error(&before), error(&held));
        assert!(error(&before) > 0.05 && error(&held) < 0.002, "{} {}", error(&before), error(&held));
        // Neighbours differ by what they did.
        let step = |planes: &Planes| planes.data[1000] - planes.data[1001];
        assert!((step(&held) - step(&before)).abs() < 1e-3);
    }

    #[test]
    fn weights_sum_to_one_at_every_pixel() {
        for (side, cells, wraps) in
            [(500, 8, false), (500, 8, true), (1, 1, false), (3, 1, true), (129, 3, true)]
        {
            for taps in taps(side, cells, wraps) {
                assert!((taps.iter().map(|(_, w)| w).sum::<f32>() - 1.0).abs() < 1e-5);
            }
        }
    }
}
