//! The latents of a whole picture, in host memory: a quarter of a byte for each output pixel.

use clarifier_tile::{Rect, Size, TileWeights};

/// Latents in the layout `[channels, height, width]`.
#[derive(Debug, Clone, PartialEq)]
pub struct Canvas {
    /// Columns and rows.
    pub size: Size,
    /// Planes: 4.
    pub channels: usize,
    /// The values.
    pub data: Vec<f32>,
}

impl Canvas {
    /// Zeros.
    pub fn zeros(size: Size, channels: usize) -> Self {
        Self { size, channels, data: vec![0.0; channels * size.area() as usize] }
    }

    /// The part in `rect`, in the layout `[channels, height, width]`.
    ///
    /// # Panics
    /// If it is not inside.
    pub fn crop(&self, rect: Rect) -> Vec<f32> {
        let mut part = Vec::with_capacity(self.channels * rect.size.area() as usize);
        for channel in 0..self.channels {
            for y in rect.y..rect.bottom() {
                let row = self.index(channel, rect.x, y);
                part.extend_from_slice(&self.data[row..row + rect.size.width as usize]);
            }
        }
        part
    }

    /// [`Self::crop`], which leaves nothing behind if it is all.
    pub(crate) fn lift(&mut self, rect: Rect) -> Vec<f32> {
        if rect.size == self.size { std::mem::take(&mut self.data) } else { self.crop(rect) }
    }

    /// Set the part in `rect` to what [`Self::lift`] may have given.
    ///
    /// # Panics
    /// If it is not inside, or has another size.
    pub(crate) fn lay(&mut self, rect: Rect, part: Vec<f32>) {
        assert_eq!(part.len(), self.channels * rect.size.area() as usize);
        if rect.size == self.size {
            self.data = part;
            return;
        }
        let mut rows = part.chunks_exact(rect.size.width as usize);
        for channel in 0..self.channels {
            for (y, row) in (rect.y..rect.bottom()).zip(&mut rows) {
                let start = self.index(channel, rect.x, y);
                self.data[start..start + row.len()].copy_from_slice(row);
            }
        }
    }

    /// Add `part`, weighted, where `rect` is. If the weights of all parts that cover a point sum to 1,
    /// so does what is added there.
    ///
    /// # Panics
    /// If it is not inside, or has another size.
    pub fn add(&mut self, rect: Rect, part: &[f32], weights: &TileWeights) {
        assert_eq!(part.len(), self.channels * rect.size.area() as usize);
        let mut rows = part.chunks_exact(rect.size.width as usize);
        for channel in 0..self.channels {
            for (dy, wy) in weights.y.iter().enumerate() {
                let start = self.index(channel, rect.x, rect.y + dy as u32);
                let into = &mut self.data[start..start + rect.size.width as usize];
                let row = rows.next().expect("as many rows as the rectangle has");
                for ((sum, value), wx) in into.iter_mut().zip(row).zip(&weights.x) {
                    *sum += value * wx * wy;
                }
            }
        }
    }

    fn index(&self, channel: usize, x: u32, y: u32) -> usize {
        (channel * self.size.height as usize + y as usize) * self.size.width as usize + x as usize
    }
}

#[cfg(test)]
mod tests {
    use clarifier_tile::{TileGrid, Window};

    use super::*;

    #[test]
    fn parts_put_together_are_the_whole() {
        let mut canvas = Canvas::zeros(Size::new(31, 17), 4);
        canvas.data.iter_mut().enumerate().for_each(|(i, v)| *v = (i as f32 * 0.7).sin());
        let grid = TileGrid::new(canvas.size, Size::new(12, 9), 4).unwrap();
        for window in [Window::Uniform, Window::Gaussian, Window::Feather] {
            let mut sum = Canvas::zeros(canvas.size, 4);
            for (index, rect) in grid.iter().enumerate() {
                sum.add(rect, &canvas.crop(rect), &grid.weights(index, window));
            }
            let worst = sum.data.iter().zip(&canvas.data).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            assert!(worst < 1e-6, "{window}: {worst}");
        }
    }
}
