//! Resampling, of a region in memory or of a whole picture band by band.

use clarifier_tile::{Rect, Size};
use fast_image_resize::images::{TypedImage, TypedImageRef};
use fast_image_resize::pixels::F32;
use fast_image_resize::{FilterType, ResizeAlg, ResizeOptions, Resizer};

use crate::{Planes, Raster, RasterError};

/// A resampling kernel, widened when reducing, as Pillow does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Filter {
    /// Lanczos with 3 lobes.
    Lanczos3,
    /// Catmull-Rom, a = −0.5.
    Bicubic,
    /// The mean of the pixels covered.
    Box,
}

impl Filter {
    fn kernel(self) -> FilterType {
        match self {
            Self::Lanczos3 => FilterType::Lanczos3,
            Self::Bicubic => FilterType::CatmullRom,
            Self::Box => FilterType::Box,
        }
    }

    /// Half the kernel's width in pixels of the coarser side.
    fn support(self) -> f64 {
        match self {
            Self::Lanczos3 => 3.0,
            Self::Bicubic => 2.0,
            Self::Box => 0.5,
        }
    }
}

/// `planes` at another size. Values may overshoot \[0, 1\] where the kernel does.
pub fn resize_planes(planes: &Planes, size: Size, filter: Filter) -> Planes {
    let whole = (0.0, 0.0, f64::from(planes.size.width), f64::from(planes.size.height));
    resize_part(planes, whole, size, filter)
}

/// The part `(x, y, width, height)` of `planes` at `size`.
fn resize_part(planes: &Planes, (x, y, width, height): (f64, f64, f64, f64), size: Size, filter: Filter) -> Planes {
    let options = ResizeOptions::new().resize_alg(ResizeAlg::Convolution(filter.kernel())).use_alpha(false).crop(x, y, width, height);
    let mut resizer = Resizer::new();
    let mut data = Vec::with_capacity(size.area() as usize * planes.channels);
    for channel in 0..planes.channels {
        let pixels: Vec<F32> = planes.plane(channel).iter().map(|v| F32::new(*v)).collect();
        let source = TypedImageRef::new(planes.size.width, planes.size.height, &pixels).expect("as many values as pixels");
        let mut target = TypedImage::<F32>::new(size.width, size.height);
        resizer.resize_typed(&source, &mut target, &options).expect("a part inside the picture");
        data.extend(target.pixels().iter().map(|p| p.0));
    }
    Planes::new(size, planes.channels, data)
}

/// Values of a band that may be in memory at once, about 64 MB.
const BAND_VALUES: u64 = 16 << 20;

/// Fill `target` with `source` at its size, in bands of rows, so that memory does not grow with the
/// picture's height.
///
/// # Errors
/// If a store fails.
///
/// # Panics
/// If the two have other channels.
pub fn resize(source: &Raster, target: &mut Raster, filter: Filter) -> Result<(), RasterError> {
    let (from, to) = (source.size(), target.size());
    let ratio = f64::from(from.height) / f64::from(to.height);
    // Rows of the target whose kernel reaches beyond a band's own source rows.
    let margin = (filter.support() * (1.0 / ratio).max(1.0)).ceil() as u32 + 2;
    let row_values = u64::from(from.width.max(to.width)) * source.channels().count() as u64;
    let rows_in_memory = (BAND_VALUES as f64 / row_values as f64 / ratio.max(1.0)) as u32;
    let band = rows_in_memory.saturating_sub(2 * margin).max(2 * margin).min(to.height);
    for top in (0..to.height).step_by(band as usize) {
        let bottom = (top + band).min(to.height);
        let (outer_top, outer_bottom) = (top.saturating_sub(margin), (bottom + margin).min(to.height));
        let (a, b) = (f64::from(outer_top) * ratio, f64::from(outer_bottom) * ratio);
        let (first, last) = (a.floor() as u32, (b.ceil() as u32).min(from.height));
        let rows = source.read(Rect::new(0, first, Size::new(from.width, last - first)))?;
        let part = (0.0, a - f64::from(first), f64::from(from.width), (b - a).min(f64::from(last) - a));
        let outer = resize_part(&rows, part, Size::new(to.width, outer_bottom - outer_top), filter);
        target.write(0, top, &outer.crop(0, top - outer_top, Size::new(to.width, bottom - top)))?;
    }
    Ok(())
}
