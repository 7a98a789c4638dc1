//! The last step: what was redrawn, sharpened, put under the mask, in the input's channels.

use clarifier_raster::{Filter, Planes, Raster, StoreKind, Wrap, resize_wrapped};
use clarifier_tile::{Rect, Size};

use crate::Error;
use crate::mask::Mask;

/// ITU-R BT.601 luma, which is what a grey picture's single channel is.
const LUMA: [f32; 3] = [0.299, 0.587, 0.114];
/// σ of the blur that sharpening takes away, in pixels.
const SIGMA: f32 = 1.0;
/// How far that blur is computed.
pub(crate) const RADIUS: u32 = 3;
/// Rows at a time.
const BAND: u32 = 64;

/// Brightness of RGB.
pub(crate) fn luma(rgb: &Planes) -> Vec<f32> {
    let (r, g, b) = (rgb.plane(0), rgb.plane(1), rgb.plane(2));
    (0..r.len()).map(|i| LUMA[0] * r[i] + LUMA[1] * g[i] + LUMA[2] * b[i]).collect()
}

/// What a result is made of.
pub(crate) struct Finish<'a> {
    /// The run's input, for channels, opacity and metadata.
    pub input: &'a Raster,
    /// The whole result, RGB.
    pub picture: &'a Raster,
    /// What the mask leaves, RGB, and the mask.
    pub kept: Option<(&'a Raster, &'a Mask)>,
    /// The part of it that is wanted.
    pub part: Rect,
    /// Amount of sharpening.
    pub sharpen: f32,
    /// Which axes are circular.
    pub wrap: Wrap,
}

impl Finish<'_> {
    /// Fill `output`, which has the part's size and the input's channels.
    pub fn write(&self, output: &mut Raster, scratch: &StoreKind) -> Result<(), Error> {
        let (channels, part) = (self.input.channels(), self.part);
        let alpha = if channels.has_alpha() {
            let mut alpha = Raster::new(scratch, self.picture.size(), channels, output.depth())?;
            resize_wrapped(self.input, &mut alpha, Filter::Lanczos3, self.wrap)?;
            Some(alpha)
        } else {
            None
        };
        for top in (0..part.size.height).step_by(BAND as usize) {
            let size = Size::new(part.size.width, BAND.min(part.size.height - top));
            let rect = Rect::new(part.x, part.y + top, size);
            let mut rgb = self.sharpened(rect)?;
            if let Some((kept, mask)) = self.kept {
                blend(&mut rgb, &kept.read(rect)?, &mask.weights(rect)?);
            }
            let mut data = if channels.is_grey() { luma(&rgb) } else { rgb.data };
            if let Some(alpha) = &alpha {
                data.extend_from_slice(alpha.read(rect)?.plane(channels.count() - 1));
            }
            output.write(0, top, &Planes::new(size, channels.count(), data))?;
        }
        output.metadata = self.input.metadata.clone();
        Ok(())
    }

    /// The picture plus what a blur would take from it.
    fn sharpened(&self, rect: Rect) -> Result<Planes, Error> {
        if self.sharpen == 0.0 {
            return Ok(self.picture.read(rect)?);
        }
        let size = Size::new(rect.size.width + 2 * RADIUS, rect.size.height + 2 * RADIUS);
        let corner = |at: u32| i64::from(at) - i64::from(RADIUS);
        let seen = self.picture.read_continued(corner(rect.x), corner(rect.y), size, self.wrap)?;
        let mut result = seen.crop(RADIUS, RADIUS, rect.size);
        for channel in 0..result.channels {
            let blurred = blur(seen.plane(channel), size);
            for (value, soft) in result.plane_mut(channel).iter_mut().zip(blurred) {
                *value += self.sharpen * (*value - soft);
            }
        }
        Ok(result)
    }
}

/// `rgb` by `weights`, `kept` by the rest; where that is all, exactly `kept`.
fn blend(rgb: &mut Planes, kept: &Planes, weights: &[f32]) {
    for channel in 0..3 {
        let pixels = rgb.plane_mut(channel).iter_mut().zip(kept.plane(channel)).zip(weights);
        for ((value, kept), weight) in pixels {
            *value = if *weight == 0.0 { *kept } else { kept + weight * (*value - kept) };
        }
    }
}

/// A Gaussian over a plane of `size`, without the margin that it looks at.
fn blur(plane: &[f32], size: Size) -> Vec<f32> {
    let raw: Vec<f32> =
        (0..=2 * RADIUS).map(|i| (-((i as f32 - RADIUS as f32) / SIGMA).powi(2) / 2.0).exp()).collect();
    let sum: f32 = raw.iter().sum();
    let kernel: Vec<f32> = raw.into_iter().map(|w| w / sum).collect();
    let (width, inner) = (size.width as usize, (size.width - 2 * RADIUS) as usize);
    let across: Vec<f32> = plane
        .chunks_exact(width)
        .flat_map(|row| {
            row.windows(kernel.len()).map(|w| w.iter().zip(&kernel).map(|(v, k)| v * k).sum::<f32>())
        })
        .collect();
    let rows = (size.height - 2 * RADIUS) as usize;
    (0..rows * inner)
        .map(|i| kernel.iter().enumerate().map(|(k, w)| w * across[i + k * inner]).sum())
        .collect()
}

#[cfg(test)]
mod tests {
    use clarifier_raster::{Channels, Depth};

    use super::*;

    fn edge(size: Size) -> Raster {
        let mut raster = Raster::new(&StoreKind::Memory, size, Channels::Rgb, Depth::Sixteen).unwrap();
        let data =
            (0..3 * size.area()).map(|i| if i as u32 % size.width < size.width / 2 { 0.3 } else { 0.6 });
        raster.write(0, 0, &Planes::new(size, 3, data.collect())).unwrap();
        raster
    }

    fn finished(picture: &Raster, part: Rect, sharpen: f32) -> Planes {
        let mut output = Raster::new(&StoreKind::Memory, part.size, Channels::Rgb, Depth::Sixteen).unwrap();
        Finish { input: picture, picture, kept: None, part, sharpen, wrap: Wrap::NONE }
            .write(&mut output, &StoreKind::Memory)
            .unwrap();
        output.read(output.area()).unwrap()
    }

    #[test]
    fn sharpening_steepens_edges_and_leaves_the_rest() {
        let picture = edge(Size::new(30, 100));
        let whole = finished(&picture, picture.area(), 1.0);
        let row = &whole.plane(0)[..30];
        assert!((row[3] - 0.3).abs() < 1e-4 && row[14] < 0.28 && row[15] > 0.62, "{row:?}");
        // A part is cut out of the whole, bands or not.
        let part = Rect::new(7, 50, Size::new(20, 40));
        assert_eq!(finished(&picture, part, 1.0), whole.crop(7, 50, part.size));
        assert_eq!(finished(&picture, part, 0.0), picture.read(part).unwrap());
    }
}
