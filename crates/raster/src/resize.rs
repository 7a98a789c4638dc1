//! Resampling, of a region in memory or of a whole picture row by row.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::f64::consts::PI;
use std::ops::Range;

use clarifier_tile::{Rect, Size};

use crate::{Planes, Raster, RasterError};

/// A resampling kernel, widened when reducing, as Pillow does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Filter {
    /// Lanczos with 3 lobes.
    Lanczos3,
    /// Keys' cubic, a = −0.5 (Catmull-Rom).
    Bicubic,
    /// The mean of the pixels covered.
    Box,
}

impl Filter {
    /// Half the kernel's width in pixels of the coarser side.
    fn support(self) -> f64 {
        match self {
            Self::Lanczos3 => 3.0,
            Self::Bicubic => 2.0,
            Self::Box => 0.5,
        }
    }

    fn at(self, x: f64) -> f64 {
        let sinc = |x: f64| if x == 0.0 { 1.0 } else { (PI * x).sin() / (PI * x) };
        let distance = x.abs();
        match self {
            Self::Lanczos3 if distance < 3.0 => sinc(x) * sinc(x / 3.0),
            Self::Bicubic if distance < 1.0 => (1.5 * distance - 2.5) * distance * distance + 1.0,
            Self::Bicubic if distance < 2.0 => ((-0.5 * distance + 2.5) * distance - 4.0) * distance + 2.0,
            // Half open, or a pixel between two others would count for both.
            Self::Box if x > -0.5 && x <= 0.5 => 1.0,
            _ => 0.0,
        }
    }
}

/// The source pixels that make a target pixel.
struct Taps {
    first: u32,
    weights: Vec<f32>,
}

impl Taps {
    fn range(&self) -> Range<u32> {
        self.first..self.first + self.weights.len() as u32
    }
}

/// The taps of each target pixel of an axis. Taps outside the picture are left out and the others
/// made to sum to 1 (Pillow, `precompute_coeffs`).
fn taps(from: u32, to: u32, filter: Filter) -> Vec<Taps> {
    if from == to {
        return (0..to).map(|first| Taps { first, weights: vec![1.0] }).collect();
    }
    let scale = f64::from(from) / f64::from(to);
    let widened = scale.max(1.0);
    let support = filter.support() * widened;
    let of = |index: u32| {
        let centre = (f64::from(index) + 0.5) * scale;
        let first = ((centre - support + 0.5).max(0.0) as u32).min(from - 1);
        let end = ((centre + support + 0.5) as u32).clamp(first + 1, from);
        let weight = |at: u32| filter.at((f64::from(at) + 0.5 - centre) / widened);
        let weights: Vec<f64> = (first..end).map(weight).collect();
        let sum: f64 = weights.iter().sum();
        Taps { first, weights: weights.into_iter().map(|w| (w / sum) as f32).collect() }
    };
    (0..to).map(of).collect()
}

/// `planes` with rows resampled to `width` pixels.
fn resize_rows(planes: &Planes, width: u32, taps: &[Taps]) -> Planes {
    if planes.size.width == width {
        return planes.clone();
    }
    let mut data = Vec::with_capacity(width as usize * planes.size.height as usize * planes.channels);
    for row in planes.data.chunks_exact(planes.size.width as usize) {
        data.extend(taps.iter().map(|taps| {
            let pixels = &row[taps.first as usize..][..taps.weights.len()];
            pixels.iter().zip(&taps.weights).map(|(pixel, weight)| pixel * weight).sum::<f32>()
        }));
    }
    Planes::new(Size::new(width, planes.size.height), planes.channels, data)
}

/// Values that are read at once, about 16 MB.
const BAND_VALUES: u64 = 4 << 20;

/// Resample what `read` gives (rows in order, each once) and give the result's rows to `write`.
///
/// Each source row is added to the target rows that it counts for; only those, at most twice the
/// kernel's support, are in memory. So memory does not grow with the picture's height, and how the
/// source is cut into bands cannot be seen.
fn resample<E>(
    (from, to): (Size, Size),
    channels: usize,
    filter: Filter,
    mut read: impl FnMut(Rect) -> Result<Planes, E>,
    mut write: impl FnMut(u32, &Planes) -> Result<(), E>,
) -> Result<(), E> {
    let (columns, rows) = (taps(from.width, to.width, filter), taps(from.height, to.height, filter));
    let row_size = Size::new(to.width, 1);
    let band = (BAND_VALUES / (u64::from(from.width.max(to.width)) * channels as u64))
        .clamp(1, u64::from(from.height)) as u32;
    // The target rows begun, from `done` on.
    let (mut open, mut done) = (VecDeque::<Planes>::new(), 0);
    for top in (0..from.height).step_by(band as usize) {
        let height = band.min(from.height - top);
        let source =
            resize_rows(&read(Rect::new(0, top, Size::new(from.width, height)))?, to.width, &columns);
        for y in top..top + height {
            while rows.get(done + open.len()).is_some_and(|taps| taps.first <= y) {
                open.push_back(Planes::zeros(row_size, channels));
            }
            for (target, taps) in
                open.iter_mut().zip(&rows[done..]).filter(|(_, taps)| taps.range().contains(&y))
            {
                let weight = taps.weights[(y - taps.first) as usize];
                for channel in 0..channels {
                    let row =
                        &source.plane(channel)[(y - top) as usize * to.width as usize..][..to.width as usize];
                    for (sum, value) in target.plane_mut(channel).iter_mut().zip(row) {
                        *sum += weight * value;
                    }
                }
            }
            while !open.is_empty() && rows[done].range().end <= y + 1 {
                if let Some(row) = open.pop_front() {
                    write(done as u32, &row)?;
                }
                done += 1;
            }
        }
    }
    Ok(())
}

/// `planes` at another size. Values may overshoot \[0, 1\] where the kernel does.
pub fn resize_planes(planes: &Planes, size: Size, filter: Filter) -> Planes {
    let mut result = Planes::zeros(size, planes.channels);
    let read = |rect: Rect| Ok::<_, Infallible>(planes.crop(rect.x, rect.y, rect.size));
    let write = |y: u32, row: &Planes| {
        for channel in 0..planes.channels {
            let into =
                &mut result.plane_mut(channel)[y as usize * size.width as usize..][..size.width as usize];
            into.copy_from_slice(row.plane(channel));
        }
        Ok(())
    };
    let Ok(()) = resample((planes.size, size), planes.channels, filter, read, write);
    result
}

/// Fill `target` with `source` at its size. Both are read and written in order; memory is bounded
/// whatever their heights. Opacity is resampled beside colour, which is not weighted by it.
///
/// # Errors
/// If a store fails.
///
/// # Panics
/// If the two have other channels.
pub fn resize(source: &Raster, target: &mut Raster, filter: Filter) -> Result<(), RasterError> {
    let sizes = (source.size(), target.size());
    resample(
        sizes,
        source.channels().count(),
        filter,
        |rect| source.read(rect),
        |y, row| target.write(0, y, row),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::{ResizeTable, noise};
    use crate::{Channels, Depth, StoreKind};

    #[test]
    fn every_kernel_gives_what_pillow_gives() {
        let table = ResizeTable::load();
        for case in table.cases {
            let filter = match case.filter.as_str() {
                "lanczos3" => Filter::Lanczos3,
                "bicubic" => Filter::Bicubic,
                _ => Filter::Box,
            };
            let source = Planes::new(Size::new(table.size.0, table.size.1), 1, table.data.clone());
            let size = Size::new(case.size.0, case.size.1);
            let result = resize_planes(&source, size, filter);
            // Pillow sums in f64, this in f32; the table has six decimals.
            let error = result.data.iter().zip(&case.data).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            assert!(error < 3e-6, "{filter:?} to {size}: {error}");
        }
    }

    #[test]
    fn a_picture_resized_in_bands_is_the_same_as_in_one_piece() {
        let folder = tempfile::tempdir().unwrap();
        let file = StoreKind::File(folder.path().into());
        // Wide enough that a band is a few rows.
        for (from, to) in [
            ((200_000, 24), (3000, 50)),
            ((150_000, 60), (1000, 7)),
            ((30, 4000), (61, 8001)),
            ((1, 5000), (3, 1)),
        ] {
            let (from, to) = (Size::new(from.0, from.1), Size::new(to.0, to.1));
            let planes = noise(from, 4);
            let mut source = Raster::new(&file, from, Channels::Rgba, Depth::Sixteen).unwrap();
            source.write(0, 0, &planes).unwrap();
            let mut target = Raster::new(&file, to, Channels::Rgba, Depth::Sixteen).unwrap();
            resize(&source, &mut target, Filter::Lanczos3).unwrap();
            let whole = resize_planes(&source.read(source.area()).unwrap(), to, Filter::Lanczos3);
            let banded = target.read(target.area()).unwrap();
            let error = whole
                .data
                .iter()
                .zip(&banded.data)
                .map(|(a, b)| (a.clamp(0.0, 1.0) - b).abs())
                .fold(0.0, f32::max);
            // Half a level, from storing 16 bits.
            assert!(error < 0.51 / 65535.0, "{from} to {to}: {error}");
        }
    }

    #[test]
    fn a_flat_picture_stays_flat() {
        for (from, to) in [((1, 1), (9, 7)), ((1, 5000), (2, 13)), ((640, 3), (7, 41)), ((5, 5), (4, 4))] {
            let planes = Planes::new(Size::new(from.0, from.1), 1, vec![0.25; (from.0 * from.1) as usize]);
            for filter in [Filter::Lanczos3, Filter::Bicubic, Filter::Box] {
                let result = resize_planes(&planes, Size::new(to.0, to.1), filter);
                assert!(result.data.iter().all(|v| (v - 0.25).abs() < 1e-5), "{filter:?} {from:?} to {to:?}");
            }
        }
    }

    #[test]
    fn the_same_size_is_a_copy() {
        let planes = noise(Size::new(17, 11), 3);
        assert_eq!(resize_planes(&planes, planes.size, Filter::Lanczos3), planes);
    }
}
