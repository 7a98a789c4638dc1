//! Overlapping tiles of pixels, blended and written row by row.

use clarifier_raster::{Planes, Raster};
use clarifier_tile::{Rect, Size, TileWeights};

use crate::Error;

/// Rows that are written at a time.
const ROWS: u32 = 64;

/// Adds up weighted tiles that come row of tiles by row of tiles, and writes the rows that no further
/// tile reaches: memory holds one row of tiles, whatever the picture's height.
pub(crate) struct BandBlender<'a> {
    target: &'a mut Raster,
    /// Sums for the rows from `top` on, each plane `rows` high.
    sums: Planes,
    top: u32,
}

impl<'a> BandBlender<'a> {
    /// For tiles that together cover `area`, of which `target` is the left top part, each up to `rows`
    /// high.
    pub fn new(target: &'a mut Raster, area: Size, rows: u32) -> Self {
        Self { target, sums: Planes::zeros(Size::new(area.width, rows), 3), top: 0 }
    }

    /// Add a tile at `rect`, which no earlier tile may start below.
    pub fn add(&mut self, rect: Rect, tile: &Planes, weights: &TileWeights) -> Result<(), Error> {
        self.flush(rect.y)?;
        let (width, columns) = (self.sums.size.width as usize, rect.size.width as usize);
        for channel in 0..3 {
            let sums = self.sums.plane_mut(channel);
            for (dy, (row, wy)) in tile.plane(channel).chunks_exact(columns).zip(&weights.y).enumerate() {
                let start = ((rect.y - self.top) as usize + dy) * width + rect.x as usize;
                for ((sum, value), wx) in sums[start..start + columns].iter_mut().zip(row).zip(&weights.x) {
                    *sum += value * wx * wy;
                }
            }
        }
        Ok(())
    }

    /// Write the rows above `y` and forget them.
    fn flush(&mut self, y: u32) -> Result<(), Error> {
        let done = y - self.top;
        if done == 0 {
            return Ok(());
        }
        let visible = self.target.size();
        // Rows that no tile came for are left as they are.
        let given = done.min(self.sums.size.height);
        let rows = given.min(visible.height.saturating_sub(self.top));
        // A few at a time: a copy of them all would be as large as the sums.
        for y in (0..rows).step_by(ROWS as usize) {
            let part = self.sums.crop(0, y, Size::new(visible.width, ROWS.min(rows - y)));
            self.target.write(0, self.top + y, &part)?;
        }
        let (width, height) = (self.sums.size.width as usize, self.sums.size.height as usize);
        for channel in 0..3 {
            let plane = self.sums.plane_mut(channel);
            let shift = (done as usize).min(height) * width;
            plane.copy_within(shift.., 0);
            let kept = plane.len() - shift;
            plane[kept..].fill(0.0);
        }
        self.top = y;
        Ok(())
    }

    /// Go on with what [`Self::sums`] had when the last tile added lay at `top`.
    ///
    /// # Panics
    /// If they are of another width or height.
    pub fn resume(&mut self, top: u32, sums: Vec<f32>) {
        assert_eq!(sums.len(), self.sums.data.len());
        (self.top, self.sums.data) = (top, sums);
    }

    /// The sums so far of the rows from [`Self::top`] on.
    pub fn sums(&self) -> &[f32] {
        &self.sums.data
    }

    /// The first row that is not written yet.
    pub fn top(&self) -> u32 {
        self.top
    }

    /// What the rows are written into.
    pub fn target(&mut self) -> &mut Raster {
        self.target
    }

    /// Target and sums.
    pub fn parts(&mut self) -> (&mut Raster, &[f32]) {
        (self.target, &self.sums.data)
    }

    /// Write what is left.
    pub fn finish(mut self) -> Result<(), Error> {
        let end = self.top + self.sums.size.height;
        self.flush(end)
    }
}

#[cfg(test)]
mod tests {
    use clarifier_raster::{Channels, Depth, StoreKind};
    use clarifier_tile::{TileGrid, Window};

    use super::*;

    #[test]
    fn tiles_cut_from_a_picture_blend_into_it() {
        let area = Size::new(43, 61);
        let data = (0..3 * area.area()).map(|i| (i as f32 * 0.37).sin() * 0.5 + 0.5).collect();
        let picture = Planes::new(area, 3, data);
        // The picture itself ends before the tiles do.
        let visible = Size::new(41, 58);
        for window in [Window::Uniform, Window::Gaussian, Window::Feather] {
            let grid = TileGrid::new(area, Size::new(16, 20), 6).unwrap();
            let mut target = Raster::new(&StoreKind::Memory, visible, Channels::Rgb, Depth::Sixteen).unwrap();
            let mut band = BandBlender::new(&mut target, area, grid.tile().height);
            for (index, rect) in grid.iter().enumerate() {
                band.add(rect, &picture.crop(rect.x, rect.y, rect.size), &grid.weights(index, window))
                    .unwrap();
            }
            band.finish().unwrap();
            let (result, expected) = (target.read(target.area()).unwrap(), picture.crop(0, 0, visible));
            // Half a level of 16 bits, and rounding.
            let same = |(a, b): (&f32, &f32)| (a - b).abs() < 1e-5;
            assert!(result.data.iter().zip(&expected.data).all(same), "{window}");
        }
    }
}
