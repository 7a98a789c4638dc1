//! Resampling, of a region in memory or of a whole picture row by row.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::f64::consts::PI;
use std::ops::Range;

use clarifier_tile::{Rect, Size};

use crate::{Planes, Raster, RasterError, Wrap};

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
    /// Outside the picture only where it is circular.
    first: i64,
    weights: Vec<f32>,
}

impl Taps {
    fn range(&self) -> Range<i64> {
        self.first..self.first + self.weights.len() as i64
    }
}

/// The taps of each target pixel of an axis. Taps outside the picture are left out and the others
/// made to sum to 1 (Pillow, `precompute_coeffs`); those of a circular axis are on its other side.
fn taps(from: u32, to: u32, filter: Filter, wraps: bool) -> Vec<Taps> {
    if from == to {
        return (0..i64::from(to)).map(|first| Taps { first, weights: vec![1.0] }).collect();
    }
    let scale = f64::from(from) / f64::from(to);
    let widened = scale.max(1.0);
    let support = filter.support() * widened;
    let of = |index: u32| {
        let centre = (f64::from(index) + 0.5) * scale;
        let mut first = (centre - support + 0.5).floor() as i64;
        let mut end = (centre + support + 0.5).floor() as i64;
        if !wraps {
            first = first.clamp(0, i64::from(from) - 1);
            end = end.clamp(first + 1, i64::from(from));
        }
        let weight = |at: i64| filter.at((at as f64 + 0.5 - centre) / widened);
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
    let columns = planes.size.width as usize;
    let mut data = Vec::with_capacity(width as usize * planes.size.height as usize * planes.channels);
    for row in planes.data.chunks_exact(columns) {
        data.extend(taps.iter().map(|taps| {
            match usize::try_from(taps.first)
                .ok()
                .and_then(|first| row.get(first..first + taps.weights.len()))
            {
                Some(pixels) => {
                    pixels.iter().zip(&taps.weights).map(|(pixel, weight)| pixel * weight).sum::<f32>()
                }
                None => {
                    let pixels = taps.range().map(|at| row[at.rem_euclid(columns as i64) as usize]);
                    pixels.zip(&taps.weights).map(|(pixel, weight)| pixel * weight).sum::<f32>()
                }
            }
        }));
    }
    Planes::new(Size::new(width, planes.size.height), planes.channels, data)
}

/// Values that are read at once, about 16 MB.
const BAND_VALUES: u64 = 4 << 20;

/// Resample what `read` gives (rows in order, each once; those of a circular picture that both ends
/// need twice) and give the result's rows to `write`.
///
/// Each source row is added to the target rows that it counts for; only those, at most twice the
/// kernel's support, are in memory. So memory does not grow with the picture's height, and how the
/// source is cut into bands cannot be seen.
fn resample<E>(
    (from, to): (Size, Size),
    channels: usize,
    filter: Filter,
    wrap: Wrap,
    mut read: impl FnMut(Rect) -> Result<Planes, E>,
    mut write: impl FnMut(u32, &Planes) -> Result<(), E>,
) -> Result<(), E> {
    let columns = taps(from.width, to.width, filter, wrap.x);
    let rows = taps(from.height, to.height, filter, wrap.y);
    let row_size = Size::new(to.width, 1);
    let band = (BAND_VALUES / (u64::from(from.width.max(to.width)) * channels as u64))
        .clamp(1, u64::from(from.height)) as i64;
    // The target rows begun, from `done` on.
    let (mut open, mut done) = (VecDeque::<Planes>::new(), 0);
    let height = i64::from(from.height);
    let last = rows.last().map_or(height, |taps| taps.range().end.max(height));
    let mut top = rows.first().map_or(0, |taps| taps.first.min(0));
    while top < last {
        // Up to the band's end, the rows' end or the picture's, whichever comes first.
        let inside = top.rem_euclid(height);
        let count = band.min(last - top).min(height - inside);
        let area = Rect::new(0, inside as u32, Size::new(from.width, count as u32));
        let source = resize_rows(&read(area)?, to.width, &columns);
        for y in top..top + count {
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
        top += count;
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
    let Ok(()) = resample((planes.size, size), planes.channels, filter, Wrap::NONE, read, write);
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
    resize_wrapped(source, target, filter, Wrap::NONE)
}

/// As [`resize`], of a picture that is circular on the axes that `wrap` names.
///
/// # Errors
/// If a store fails.
///
/// # Panics
/// If the two have other channels.
pub fn resize_wrapped(
    source: &Raster,
    target: &mut Raster,
    filter: Filter,
    wrap: Wrap,
) -> Result<(), RasterError> {
    let sizes = (source.size(), target.size());
    resample(
        sizes,
        source.channels().count(),
        filter,
        wrap,
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
    fn a_circular_picture_resized_is_that_of_the_picture_repeated() {
        let size = Size::new(9, 7);
        let mut source = Raster::new(&StoreKind::Memory, size, Channels::Rgb, Depth::Sixteen).unwrap();
        source.write(0, 0, &noise(size, 3)).unwrap();
        let wrap = Wrap { x: true, y: true };
        let repeated = source.read_continued(-9, -7, size.times(3), wrap).unwrap();
        for to in [Size::new(18, 21), Size::new(13, 5), Size::new(9, 20), Size::new(4, 7)] {
            let whole = resize_planes(&repeated, to.times(3), Filter::Lanczos3);
            let expected = whole.crop(to.width, to.height, to);
            let mut target = Raster::new(&StoreKind::Memory, to, Channels::Rgb, Depth::Sixteen).unwrap();
            resize_wrapped(&source, &mut target, Filter::Lanczos3, wrap).unwrap();
            let result = target.read(target.area()).unwrap();
            let error = result.data.iter().zip(&expected.data);
            let error = error.map(|(a, b)| (a - b.clamp(0.0, 1.0)).abs()).fold(0.0, f32::max);
            assert!(error < 0.51 / 65535.0 + 1e-6, "{to}: {error}");
        }
    }

    #[test]
    fn the_same_size_is_a_copy() {
        let planes = noise(Size::new(17, 11), 3);
        assert_eq!(resize_planes(&planes, planes.size, Filter::Lanczos3), planes);
    }
}
