//! A region of a picture as numbers, one plane for each channel.

use clarifier_tile::Size;

/// `channels` planes of `size`, values in \[0, 1\], each plane row by row: the layout of a tensor
/// `[channels, height, width]`.
#[derive(Debug, Clone, PartialEq)]
pub struct Planes {
    /// Columns and rows.
    pub size: Size,
    /// Number of planes.
    pub channels: usize,
    /// The values, `channels · height · width` of them.
    pub data: Vec<f32>,
}

impl Planes {
    /// Planes of zeros.
    pub fn zeros(size: Size, channels: usize) -> Self {
        Self { size, channels, data: vec![0.0; size.area() as usize * channels] }
    }

    /// Planes of these values.
    ///
    /// # Panics
    /// If `data` has another length than `channels · size`.
    pub fn new(size: Size, channels: usize, data: Vec<f32>) -> Self {
        assert_eq!(data.len(), size.area() as usize * channels, "values of {channels} planes of {size}");
        Self { size, channels, data }
    }

    /// One plane.
    pub fn plane(&self, channel: usize) -> &[f32] {
        &self.data[channel * self.size.area() as usize..][..self.size.area() as usize]
    }

    /// One plane, to be changed.
    pub fn plane_mut(&mut self, channel: usize) -> &mut [f32] {
        &mut self.data[channel * self.size.area() as usize..][..self.size.area() as usize]
    }

    /// The part of `size` whose left top corner is at `(x, y)`.
    ///
    /// # Panics
    /// If it is not inside.
    pub fn crop(&self, x: u32, y: u32, size: Size) -> Self {
        let mut data = Vec::with_capacity(size.area() as usize * self.channels);
        for channel in 0..self.channels {
            for row in self
                .plane(channel)
                .chunks_exact(self.size.width as usize)
                .skip(y as usize)
                .take(size.height as usize)
            {
                data.extend_from_slice(&row[x as usize..][..size.width as usize]);
            }
        }
        Self::new(size, self.channels, data)
    }

    /// RGB of any picture: grey in all three, alpha left out.
    pub fn to_rgb(&self) -> Self {
        let first = match self.channels {
            1 | 2 => [0, 0, 0],
            _ => [0, 1, 2],
        };
        Self::new(self.size, 3, first.into_iter().flat_map(|c| self.plane(c).iter().copied()).collect())
    }
}
