//! A picture in a byte store, read and written by regions.

use std::io;
use std::ops::Range;

use clarifier_tile::{Rect, Size};

use crate::{ByteStore, Metadata, Planes, StoreKind};

/// What each pixel holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Channels {
    /// Luminance.
    Grey,
    /// Luminance and opacity.
    GreyAlpha,
    /// Red, green, blue.
    Rgb,
    /// Red, green, blue and opacity.
    Rgba,
}

impl Channels {
    /// How many values that is.
    pub const fn count(self) -> usize {
        match self {
            Self::Grey => 1,
            Self::GreyAlpha => 2,
            Self::Rgb => 3,
            Self::Rgba => 4,
        }
    }

    /// Whether the last one is opacity.
    pub const fn has_alpha(self) -> bool {
        matches!(self, Self::GreyAlpha | Self::Rgba)
    }

    /// Whether there is only luminance.
    pub const fn is_grey(self) -> bool {
        matches!(self, Self::Grey | Self::GreyAlpha)
    }
}

/// How finely each value is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Depth {
    /// 256 levels.
    Eight,
    /// 65536 levels.
    Sixteen,
}

impl Depth {
    /// Bytes of a value.
    pub const fn bytes(self) -> usize {
        match self {
            Self::Eight => 1,
            Self::Sixteen => 2,
        }
    }
}

/// Why a region could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum RasterError {
    /// The byte store failed.
    #[error("the picture's working copy could not be read or written: {0}")]
    Store(#[from] io::Error),
    /// A value is not a number.
    #[error("a pixel of the region at ({x}, {y}) is not a number")]
    NotANumber {
        /// Column of the region.
        x: u32,
        /// Row of the region.
        y: u32,
    },
}

/// How much of a picture [`Raster::checksum`] reads at once.
const CHECKSUM_BYTES: usize = 1 << 20;

/// One picture: interleaved values, row by row, in native byte order.
pub struct Raster {
    size: Size,
    channels: Channels,
    depth: Depth,
    /// What the file said about the picture.
    pub metadata: Metadata,
    store: Box<dyn ByteStore>,
}

impl Raster {
    /// A black picture.
    ///
    /// # Errors
    /// If the store cannot be made.
    pub fn new(kind: &StoreKind, size: Size, channels: Channels, depth: Depth) -> Result<Self, RasterError> {
        let length = size.area() * (channels.count() * depth.bytes()) as u64;
        Ok(Self::on(kind.create(length)?, size, channels, depth))
    }

    /// The picture that is in `store`, or will be: one that is neither in memory nor in a file.
    pub fn on(store: Box<dyn ByteStore>, size: Size, channels: Channels, depth: Depth) -> Self {
        Self { size, channels, depth, metadata: Metadata::default(), store }
    }

    /// A picture of these bytes: interleaved values, row by row, in native byte order.
    ///
    /// # Errors
    /// If the store cannot be made.
    pub fn from_bytes(
        kind: &StoreKind,
        size: Size,
        channels: Channels,
        depth: Depth,
        bytes: Vec<u8>,
    ) -> Result<Self, RasterError> {
        debug_assert_eq!(bytes.len() as u64, size.area() * (channels.count() * depth.bytes()) as u64);
        Ok(Self::on(kind.filled(bytes)?, size, channels, depth))
    }

    /// Columns and rows.
    pub fn size(&self) -> Size {
        self.size
    }

    /// The whole picture.
    pub fn area(&self) -> Rect {
        Rect::new(0, 0, self.size)
    }

    /// What each pixel holds.
    pub fn channels(&self) -> Channels {
        self.channels
    }

    /// How finely each value is stored.
    pub fn depth(&self) -> Depth {
        self.depth
    }

    /// Bytes of a pixel.
    pub(crate) fn pixel_bytes(&self) -> usize {
        self.channels.count() * self.depth.bytes()
    }

    fn offset(&self, x: u32, y: u32) -> u64 {
        (u64::from(y) * u64::from(self.size.width) + u64::from(x)) * self.pixel_bytes() as u64
    }

    fn check(&self, rect: Rect) {
        assert!(
            rect.right() <= self.size.width && rect.bottom() <= self.size.height,
            "a region inside the picture"
        );
    }

    /// Whole rows from `y` on as they go into files: interleaved, in native byte order, at `depth`.
    pub(crate) fn read_rows(&self, y: u32, rows: u32, depth: Depth) -> Result<Vec<u8>, RasterError> {
        let mut bytes = vec![0; rows as usize * self.size.width as usize * self.pixel_bytes()];
        self.store.read_at(self.offset(0, y), &mut bytes)?;
        Ok(match (self.depth, depth) {
            (Depth::Eight, Depth::Eight) | (Depth::Sixteen, Depth::Sixteen) => bytes,
            (Depth::Eight, Depth::Sixteen) => bytes.into_iter().flat_map(|level| [level; 2]).collect(),
            (Depth::Sixteen, Depth::Eight) => levels(&bytes),
        })
    }

    /// A checksum (CRC-32) of a region's bytes as they are stored; 0 of no pixels.
    ///
    /// # Errors
    /// If the store fails.
    ///
    /// # Panics
    /// If the region is not inside the picture.
    pub fn checksum(&self, rect: Rect) -> Result<u32, RasterError> {
        self.check(rect);
        let mut sum = crc32fast::Hasher::new();
        let row_bytes = rect.size.width as usize * self.pixel_bytes();
        // Whole rows lie one after the other and are read many at once.
        let whole = rect.size.width == self.size.width;
        let at_once = if whole { (CHECKSUM_BYTES / row_bytes.max(1)).max(1) as u32 } else { 1 };
        let mut bytes = Vec::new();
        for y in (0..rect.size.height).step_by(at_once as usize) {
            bytes.resize(row_bytes * at_once.min(rect.size.height - y) as usize, 0);
            self.store.read_at(self.offset(rect.x, rect.y + y), &mut bytes)?;
            sum.update(&bytes);
        }
        Ok(sum.finalize())
    }

    /// When this returns, all that was written will be there after a power cut, if the store is of a kind that
    /// outlives the program.
    ///
    /// # Errors
    /// If the store fails.
    pub fn flush(&mut self) -> Result<(), RasterError> {
        Ok(self.store.flush()?)
    }

    /// A region as it is stored: interleaved, row by row, in native byte order.
    ///
    /// # Errors
    /// If the store fails.
    ///
    /// # Panics
    /// If the region is not inside the picture.
    pub fn read_bytes(&self, rect: Rect) -> Result<Vec<u8>, RasterError> {
        self.check(rect);
        let row = rect.size.width as usize * self.pixel_bytes();
        let mut bytes = vec![0; row * rect.size.height as usize];
        for (y, row) in (rect.y..).zip(bytes.chunks_exact_mut(row.max(1))) {
            self.store.read_at(self.offset(rect.x, y), row)?;
        }
        Ok(bytes)
    }

    /// Set a region to what [`Self::read_bytes`] would give of it.
    ///
    /// # Errors
    /// If the store fails.
    ///
    /// # Panics
    /// If the region is not inside the picture, or has more or fewer bytes.
    pub fn write_bytes(&mut self, rect: Rect, bytes: &[u8]) -> Result<(), RasterError> {
        self.check(rect);
        let row = rect.size.width as usize * self.pixel_bytes();
        assert_eq!(bytes.len(), row * rect.size.height as usize, "the region's bytes");
        if rect.size.width == self.size.width {
            return Ok(self.store.write_at(self.offset(0, rect.y), bytes)?);
        }
        for (y, row) in (rect.y..).zip(bytes.chunks_exact(row.max(1))) {
            self.store.write_at(self.offset(rect.x, y), row)?;
        }
        Ok(())
    }

    /// A region, all channels, values in \[0, 1\].
    ///
    /// # Errors
    /// If the store fails.
    ///
    /// # Panics
    /// If the region is not inside the picture.
    pub fn read(&self, rect: Rect) -> Result<Planes, RasterError> {
        self.check(rect);
        let mut planes = Planes::zeros(rect.size, self.channels.count());
        let (width, channels) = (rect.size.width as usize, self.channels.count());
        let mut row = vec![0; width * self.pixel_bytes()];
        for y in 0..rect.size.height {
            self.store.read_at(self.offset(rect.x, rect.y + y), &mut row)?;
            for channel in 0..channels {
                let into = &mut planes.plane_mut(channel)[y as usize * width..][..width];
                match self.depth {
                    Depth::Eight => {
                        for (value, pixel) in into.iter_mut().zip(row.chunks_exact(channels)) {
                            *value = f32::from(pixel[channel]) / 255.0;
                        }
                    }
                    Depth::Sixteen => {
                        for (value, pixel) in into.iter_mut().zip(row.chunks_exact(2 * channels)) {
                            let bytes = [pixel[2 * channel], pixel[2 * channel + 1]];
                            *value = f32::from(u16::from_ne_bytes(bytes)) / 65535.0;
                        }
                    }
                }
            }
        }
        Ok(planes)
    }

    /// A region that may reach outside, where the picture is continued by reflection about its
    /// border pixels (`dcb|abcd|cba`), as often as necessary.
    ///
    /// # Errors
    /// If the store fails.
    pub fn read_reflected(&self, x: i64, y: i64, size: Size) -> Result<Planes, RasterError> {
        self.read_continued(x, y, size, Wrap::NONE)
    }

    /// A region that may reach outside, where the picture is continued by its other side on the axes
    /// that `wrap` names (`bcd|abcd|abc`) and by reflection on the others.
    ///
    /// # Errors
    /// If the store fails.
    pub fn read_continued(&self, x: i64, y: i64, size: Size, wrap: Wrap) -> Result<Planes, RasterError> {
        let columns = continued(x, size.width, self.size.width, wrap.x);
        let rows = continued(y, size.height, self.size.height, wrap.y);
        let mut data = Vec::with_capacity(size.area() as usize * self.channels.count());
        // A region across the seam of a wrapped axis lies in two places: each is read for itself.
        let bounds = |list: &[u32]| {
            let (low, high) = list.iter().fold((u32::MAX, 0), |(l, h), &v| (l.min(v), h.max(v)));
            (low, high + 1 - low)
        };
        let spans = |list: &[u32], wraps: bool| -> Vec<Range<usize>> {
            if !wraps {
                return std::iter::once(0..list.len()).collect();
            }
            let cuts: Vec<usize> = (1..list.len()).filter(|&i| list[i] < list[i - 1]).collect();
            let starts = std::iter::once(0).chain(cuts.iter().copied());
            starts.zip(cuts.iter().copied().chain([list.len()])).map(|(a, b)| a..b).collect()
        };
        let (across, down) = (spans(&columns, wrap.x), spans(&rows, wrap.y));
        data.resize(size.area() as usize * self.channels.count(), 0.0);
        for rows_at in &down {
            for columns_at in &across {
                let (columns, rows) = (&columns[columns_at.clone()], &rows[rows_at.clone()]);
                let ((left, width), (top, height)) = (bounds(columns), bounds(rows));
                let source = self.read(Rect::new(left, top, Size::new(width, height)))?;
                for channel in 0..source.channels {
                    let plane = source.plane(channel);
                    for (dy, row) in rows.iter().enumerate() {
                        let row = &plane[(row - top) as usize * width as usize..][..width as usize];
                        let at = (channel * size.height as usize + rows_at.start + dy) * size.width as usize;
                        let into = &mut data[at + columns_at.start..][..columns.len()];
                        for (value, column) in into.iter_mut().zip(columns) {
                            *value = row[(column - left) as usize];
                        }
                    }
                }
            }
        }
        Ok(Planes::new(size, self.channels.count(), data))
    }

    /// Set a region. Values are clamped to \[0, 1\] and rounded to the nearest level.
    ///
    /// # Errors
    /// If the store fails or a value is NaN; then nothing of that row was written.
    ///
    /// # Panics
    /// If the region is not inside the picture or has other channels.
    pub fn write(&mut self, x: u32, y: u32, planes: &Planes) -> Result<(), RasterError> {
        let size = planes.size;
        assert!(
            x + size.width <= self.size.width && y + size.height <= self.size.height,
            "a region inside the picture"
        );
        assert_eq!(planes.channels, self.channels.count(), "the picture's channels");
        let (width, channels) = (size.width as usize, planes.channels);
        let mut row = vec![0; width * self.pixel_bytes()];
        for dy in 0..size.height {
            for channel in 0..channels {
                let from = &planes.plane(channel)[dy as usize * width..][..width];
                if from.iter().any(|v| v.is_nan()) {
                    return Err(RasterError::NotANumber { x, y: y + dy });
                }
                match self.depth {
                    Depth::Eight => {
                        for (value, pixel) in from.iter().zip(row.chunks_exact_mut(channels)) {
                            pixel[channel] = (value.clamp(0.0, 1.0) * 255.0).round() as u8;
                        }
                    }
                    Depth::Sixteen => {
                        for (value, pixel) in from.iter().zip(row.chunks_exact_mut(2 * channels)) {
                            let level = (value.clamp(0.0, 1.0) * 65535.0).round() as u16;
                            pixel[2 * channel..][..2].copy_from_slice(&level.to_ne_bytes());
                        }
                    }
                }
            }
            let offset = self.offset(x, y + dy);
            self.store.write_at(offset, &row)?;
        }
        Ok(())
    }
}

/// Values of 16 bits as levels of 8.
pub(crate) fn levels(bytes: &[u8]) -> Vec<u8> {
    bytes.as_chunks::<2>().0.iter().map(|pair| eight(u16::from_ne_bytes(*pair))).collect()
}

/// The nearest of 256 levels to one of 65536.
pub(crate) fn eight(level: u16) -> u8 {
    ((u32::from(level) * 255 + 32767) / 65535) as u8
}

/// Which axes of a picture are circular: its left border continues at its right one, its top at its
/// bottom, as those of a tileable texture do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Wrap {
    /// Columns.
    pub x: bool,
    /// Rows.
    pub y: bool,
}

impl Wrap {
    /// An ordinary picture.
    pub const NONE: Self = Self { x: false, y: false };
}

/// `count` coordinates from `start` on, brought into `0 .. length` by going round or by reflection.
fn continued(start: i64, count: u32, length: u32, wraps: bool) -> Vec<u32> {
    let period = if wraps { i64::from(length) } else { 2 * (i64::from(length) - 1).max(1) };
    (start..start + i64::from(count))
        .map(|at| match at.rem_euclid(period) {
            at if wraps => at as u32,
            // A side of one pixel has nothing to reflect: it is repeated.
            _ if length == 1 => 0,
            at => at.min(period - at) as u32,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbered(kind: &StoreKind, depth: Depth) -> Raster {
        let size = Size::new(5, 4);
        let mut raster = Raster::new(kind, size, Channels::Rgb, depth).unwrap();
        let data = (0..60).map(|i| i as f32 / 64.0).collect();
        raster.write(0, 0, &Planes::new(size, 3, data)).unwrap();
        raster
    }

    #[test]
    fn both_stores_and_regions_give_the_same() {
        let folder = tempfile::tempdir().unwrap();
        for depth in [Depth::Eight, Depth::Sixteen] {
            let memory = numbered(&StoreKind::Memory, depth);
            let file = numbered(&StoreKind::File(folder.path().into()), depth);
            let whole = memory.read(memory.area()).unwrap();
            assert_eq!(whole, file.read(file.area()).unwrap());
            let part = Rect::new(1, 2, Size::new(3, 2));
            assert_eq!(file.read(part).unwrap(), whole.crop(1, 2, part.size));
        }
    }

    #[test]
    fn a_checksum_sees_every_byte_of_its_region() {
        let folder = tempfile::tempdir().unwrap();
        let mut raster = numbered(&StoreKind::File(folder.path().into()), Depth::Sixteen);
        let part = Rect::new(1, 1, Size::new(3, 2));
        let sums =
            |raster: &Raster| (raster.checksum(raster.area()).unwrap(), raster.checksum(part).unwrap());
        let before = sums(&raster);
        assert_eq!(before, sums(&numbered(&StoreKind::Memory, Depth::Sixteen)));
        raster.write(4, 3, &Planes::zeros(Size::new(1, 1), 3)).unwrap();
        let outside = sums(&raster);
        assert!(outside.0 != before.0 && outside.1 == before.1);
        raster.write(3, 2, &Planes::zeros(Size::new(1, 1), 3)).unwrap();
        assert_ne!(sums(&raster).1, before.1);
        assert_eq!(raster.checksum(Rect::new(0, 4, Size::new(5, 0))).unwrap(), 0);
    }

    #[test]
    fn depths_are_converted_to_the_nearest_level() {
        for level in 0..=u16::MAX {
            assert_eq!(eight(level), (f64::from(level) / 65535.0 * 255.0).round() as u8);
        }
        let raster = numbered(&StoreKind::Memory, Depth::Eight);
        let (short, long) =
            (raster.read_rows(1, 2, Depth::Eight).unwrap(), raster.read_rows(1, 2, Depth::Sixteen).unwrap());
        let whole: Vec<u8> =
            long.chunks_exact(2).map(|pair| eight(u16::from_ne_bytes([pair[0], pair[1]]))).collect();
        assert_eq!(whole, short);
    }

    #[test]
    fn reflection_leaves_out_the_border_pixel_and_goes_on_for_ever() {
        assert_eq!(continued(-3, 10, 4, false), [3, 2, 1, 0, 1, 2, 3, 2, 1, 0]);
        assert_eq!(continued(-7, 4, 2, false), [1, 0, 1, 0]);
        assert_eq!(continued(-2, 4, 1, false), [0, 0, 0, 0]);
    }

    #[test]
    fn a_wrapped_picture_goes_round() {
        assert_eq!(continued(-3, 10, 4, true), [1, 2, 3, 0, 1, 2, 3, 0, 1, 2]);
        let raster = numbered(&StoreKind::Memory, Depth::Sixteen);
        let whole = raster.read(raster.area()).unwrap();
        let wrap = Wrap { x: true, y: true };
        let far = raster.read_continued(-7, 3, Size::new(13, 9), wrap).unwrap();
        for (channel, y, x) in [(0, 0, 0), (1, 3, 12), (2, 8, 6), (0, 1, 7)] {
            let at = (3 + y) % 4 * 5 + (x + 5 * 2 - 7) % 5;
            assert_eq!(far.plane(channel)[y * 13 + x], whole.plane(channel)[at], "{channel} {y} {x}");
        }
        let inside = raster.read_continued(1, 1, Size::new(3, 2), wrap).unwrap();
        assert_eq!(inside, whole.crop(1, 1, Size::new(3, 2)));
    }

    #[test]
    fn values_are_rounded_clamped_and_numbers() {
        let size = Size::new(1, 1);
        let mut raster = Raster::new(&StoreKind::Memory, size, Channels::Rgb, Depth::Eight).unwrap();
        raster.write(0, 0, &Planes::new(size, 3, vec![1.7, -0.2, 127.6 / 255.0])).unwrap();
        let levels: Vec<_> = raster.read(raster.area()).unwrap().data.iter().map(|v| v * 255.0).collect();
        assert_eq!(levels, [255.0, 0.0, 128.0]);
        let nan = Planes::new(size, 3, vec![0.0, f32::NAN, 0.0]);
        assert!(matches!(raster.write(0, 0, &nan), Err(RasterError::NotANumber { .. })));
    }
}
