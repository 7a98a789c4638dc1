//! A part of a picture as it is shown on a screen, also from afar.

use clarifier_tile::{Rect, Size};

use crate::{Depth, Raster, RasterError};

/// RGBA of 8 bits, row by row, of `part`: each pixel the mean of `scale` × `scale` of the picture's, at the right and at
/// the bottom of fewer. Colours count by their opacity. A row of the picture is in memory at a time.
///
/// # Errors
/// If the store fails.
///
/// # Panics
/// If `part` is not inside the picture, or `scale` is 0 or more than 4096.
pub fn overview(raster: &Raster, part: Rect, scale: u32) -> Result<Vec<u8>, RasterError> {
    assert!((1..=4096).contains(&scale), "a scale whose sums are numbers of 32 bits");
    let channels = raster.channels();
    let Size { width, height } = part.size;
    let columns = width.div_ceil(scale) as usize;
    let mut bytes = Vec::with_capacity(4 * columns * height.div_ceil(scale) as usize);
    let mut sums = vec![[0u32; 4]; columns];
    // Colour × opacity, where opacity is not the same everywhere.
    let mut weighted = vec![[0u64; 3]; if channels.has_alpha() { columns } else { 0 }];
    for top in (0..height).step_by(scale as usize) {
        sums.fill([0; 4]);
        weighted.fill([0; 3]);
        let rows = scale.min(height - top);
        for row in 0..rows {
            let row = Rect::new(part.x, part.y + top + row, Size::new(width, 1));
            let levels = raster.read_levels(row)?;
            let groups = levels.chunks(channels.count() * scale as usize);
            for (at, (group, sum)) in groups.zip(&mut sums).enumerate() {
                for pixel in group.chunks_exact(channels.count()) {
                    let colour =
                        if channels.is_grey() { [pixel[0]; 3] } else { [pixel[0], pixel[1], pixel[2]] };
                    for (sum, level) in sum.iter_mut().zip(colour) {
                        *sum += u32::from(level);
                    }
                    if channels.has_alpha() {
                        let alpha = pixel[channels.count() - 1];
                        sum[3] += u32::from(alpha);
                        for (sum, level) in weighted[at].iter_mut().zip(colour) {
                            *sum += u64::from(level) * u64::from(alpha);
                        }
                    }
                }
            }
        }
        for (at, [r, g, b, alpha]) in sums.iter().enumerate() {
            let count = rows * scale.min(width - at as u32 * scale);
            let mean = |sum: u32| ((sum + count / 2) / count) as u8;
            match weighted.get(at) {
                None => bytes.extend([mean(*r), mean(*g), mean(*b), u8::MAX]),
                Some(weighted) => {
                    let alpha_sum = u64::from(*alpha).max(1);
                    bytes.extend(weighted.map(|sum| ((sum + alpha_sum / 2) / alpha_sum) as u8));
                    bytes.push(mean(*alpha));
                }
            }
        }
    }
    Ok(bytes)
}

impl Raster {
    /// A region as levels of 8 bits, interleaved.
    fn read_levels(&self, rect: Rect) -> Result<Vec<u8>, RasterError> {
        let bytes = self.read_bytes(rect)?;
        Ok(match self.depth() {
            Depth::Eight => bytes,
            Depth::Sixteen => crate::raster::levels(&bytes),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Channels, StoreKind};

    fn picture(channels: Channels, depth: Depth, bytes: Vec<u8>) -> Raster {
        Raster::from_bytes(&StoreKind::Memory, Size::new(5, 3), channels, depth, bytes).unwrap()
    }

    #[test]
    fn pixels_are_the_means_of_what_they_stand_for() {
        let levels: Vec<u8> = (0..15u8).flat_map(|i| [i * 10, 7, 255 - i]).collect();
        let raster = picture(Channels::Rgb, Depth::Eight, levels);
        let whole = overview(&raster, raster.area(), 1).unwrap();
        assert_eq!(whole[4 * 7..][..8], [70, 7, 248, 255, 80, 7, 247, 255]);
        // Columns 1 to 4 of all rows, by two: the last row stands for itself.
        let part = overview(&raster, Rect::new(1, 0, Size::new(4, 3)), 2).unwrap();
        let reds: Vec<u8> = part.as_chunks::<4>().0.iter().map(|pixel| pixel[0]).collect();
        // (10 + 20 + 60 + 70) / 4, (30 + 40 + 80 + 90) / 4; (110 + 120) / 2, (130 + 140) / 2.
        assert_eq!(reds, [40, 60, 115, 135]);
    }

    #[test]
    fn what_cannot_be_seen_has_no_colour() {
        let levels =
            (0..15u8).flat_map(|i| if i % 2 == 0 { [200, 100, 50, 255] } else { [9, 9, 9, 0] }).collect();
        let raster = picture(Channels::Rgba, Depth::Eight, levels);
        let found = overview(&raster, Rect::new(0, 0, Size::new(4, 2)), 2).unwrap();
        assert_eq!(found, [200, 100, 50, 128, 200, 100, 50, 128]);
        let grey = (0..15u16).flat_map(|i| (i * 257).to_ne_bytes()).collect();
        let grey = picture(Channels::Grey, Depth::Sixteen, grey);
        assert_eq!(overview(&grey, Rect::new(2, 1, Size::new(1, 1)), 9).unwrap(), [7, 7, 7, 255]);
    }
}
