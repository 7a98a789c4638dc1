//! Which parts of the picture are redrawn.

use std::rc::Rc;

use clarifier_raster::{Channels, Depth, Filter, Planes, Raster, StoreKind, resize};
use clarifier_tile::{Rect, Size};

use crate::{Error, MaskMode, Settings};

/// A mask at the result's size.
pub(crate) struct Mask {
    /// How much may change: 1 redrawn, 0 kept.
    change: Raster,
    feather: u32,
}

impl Mask {
    /// `mask`, any size and kind (its brightness counts), for a result of `size`.
    pub fn new(
        mask: &Rc<Raster>,
        size: Size,
        settings: &Settings,
        scratch: &StoreKind,
    ) -> Result<Self, Error> {
        let from = mask.size();
        let mut grey = Raster::new(scratch, from, Channels::Grey, Depth::Eight)?;
        for y in (0..from.height).step_by(64) {
            let rect = Rect::new(0, y, Size::new(from.width, 64.min(from.height - y)));
            let rgb = mask.read(rect)?.to_rgb();
            let mut luma = crate::finish::luma(&rgb);
            if settings.mask_mode == MaskMode::Keep {
                luma.iter_mut().for_each(|v| *v = 1.0 - *v);
            }
            grey.write(0, y, &Planes::new(rect.size, 1, luma))?;
        }
        let mut change = Raster::new(scratch, size, Channels::Grey, Depth::Eight)?;
        // What overshoots is cut off when it is written: black stays black away from the border.
        let filter = if size.width > from.width { Filter::Bicubic } else { Filter::Box };
        resize(&grey, &mut change, filter)?;
        Ok(Self { change, feather: settings.mask_feather })
    }

    /// The smallest rectangle around all that may change; none if nothing may.
    pub fn bounds(&self) -> Result<Option<Rect>, Error> {
        let size = self.change.size();
        let mut bounds: Option<Rect> = None;
        for y in 0..size.height {
            let row = self.change.read(Rect::new(0, y, Size::new(size.width, 1)))?.data;
            let changed = |v: &f32| *v > 0.0;
            if let (Some(first), Some(last)) = (row.iter().position(changed), row.iter().rposition(changed)) {
                let here = Rect::new(first as u32, y, Size::new((last - first) as u32 + 1, 1));
                bounds = Some(bounds.map_or(here, |bounds| bounds.hull(here)));
            }
        }
        Ok(bounds)
    }

    /// How much of the redrawn picture each pixel of `rect` gets: 0 exactly where the mask says keep, and
    /// from its border inwards as far as the feather reaches, more and more.
    pub fn weights(&self, rect: Rect) -> Result<Vec<f32>, Error> {
        let change = self.change.read(rect)?.data;
        if self.feather == 0 {
            return Ok(change);
        }
        // Twice a mean over this radius is a ramp as long as the feather on each side of the border.
        let radius = self.feather.div_ceil(2);
        let margin = 2 * radius;
        let size = Size::new(rect.size.width + 2 * margin, rect.size.height + 2 * margin);
        let (x, y) = (i64::from(rect.x) - i64::from(margin), i64::from(rect.y) - i64::from(margin));
        let mut near = self.change.read_reflected(x, y, size)?;
        near.data.iter_mut().for_each(|v| *v = f32::from(*v > 0.0));
        for _ in 0..2 {
            mean_of_rows(&mut near, radius as usize);
            near = transposed(&near);
            mean_of_rows(&mut near, radius as usize);
            near = transposed(&near);
        }
        let near = near.crop(margin, margin, rect.size).data;
        // Half of what a straight border's pixels see is to be kept.
        Ok(change.iter().zip(near).map(|(c, n)| c * (2.0 * n - 1.0).clamp(0.0, 1.0)).collect())
    }
}

/// Each value replaced by the mean of those up to `radius` away in its row.
fn mean_of_rows(planes: &mut Planes, radius: usize) {
    let width = planes.size.width as usize;
    let mut sums = vec![0f64; width + 1];
    for row in planes.data.chunks_exact_mut(width) {
        for (i, value) in row.iter().enumerate() {
            sums[i + 1] = sums[i] + f64::from(*value);
        }
        for (i, value) in row.iter_mut().enumerate() {
            let (from, to) = (i.saturating_sub(radius), (i + radius + 1).min(width));
            *value = ((sums[to] - sums[from]) / (to - from) as f64) as f32;
        }
    }
}

fn transposed(planes: &Planes) -> Planes {
    let (w, h) = (planes.size.width as usize, planes.size.height as usize);
    let data = (0..w * h).map(|i| planes.data[i % h * w + i / h]).collect();
    Planes::new(Size::new(planes.size.height, planes.size.width), 1, data)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mask(feather: u32, mode: MaskMode) -> Vec<f32> {
        let size = Size::new(40, 30);
        let mut raster = Raster::new(&StoreKind::Memory, size, Channels::Grey, Depth::Eight).unwrap();
        let data = (0..1200).map(|i| f32::from(i % 40 >= 20)).collect();
        raster.write(0, 0, &Planes::new(size, 1, data)).unwrap();
        let settings = Settings { mask_feather: feather, mask_mode: mode, ..Settings::default() };
        let mask = Mask::new(&Rc::new(raster), size.times(2), &settings, &StoreKind::Memory).unwrap();
        let bounds = mask.bounds().unwrap().unwrap();
        assert!(bounds.size.height == 60 && (38..=42).contains(&bounds.size.width), "{bounds:?}");
        mask.weights(Rect::new(0, 11, Size::new(80, 1))).unwrap()
    }

    #[test]
    fn what_is_kept_is_kept_and_change_fades_in() {
        let weights = mask(8, MaskMode::Change);
        assert!(weights[..38].iter().all(|w| *w == 0.0), "{weights:?}");
        assert!(weights[50..].iter().all(|w| *w > 0.999), "{weights:?}");
        assert!(weights[38..50].windows(2).all(|pair| pair[1] >= pair[0]), "{weights:?}");
        let sharp = mask(0, MaskMode::Change);
        assert_eq!((sharp[30], sharp[50]), (0.0, 1.0));
        let keep = mask(8, MaskMode::Keep);
        assert_eq!((keep[10] > 0.999, keep[60]), (true, 0.0));
    }
}
