//! A picture as its decoder gives it, block by block, turned upright on its way into the store.

use clarifier_tile::{Rect, Size};
use image::metadata::Orientation;

use super::DecodeError;
use super::pixels::Input;
use crate::orient::{is_sideways, upright};
use crate::{Channels, Depth, Raster, RasterError, StoreKind};

/// What decoders read at once, if they can choose: a band of rows. The fixtures are in bands, too.
const BAND_BYTES: u64 = if cfg!(test) { 1 << 10 } else { 16 << 20 };

/// What a file holds, as it is stored.
#[derive(Debug, Clone, Copy)]
pub(super) struct Layout {
    pub size: Size,
    pub channels: Channels,
    pub depth: Depth,
}

impl Layout {
    pub fn pixel_bytes(&self) -> usize {
        self.channels.count() * self.depth.bytes()
    }

    pub fn row_bytes(&self) -> usize {
        self.size.width as usize * self.pixel_bytes()
    }

    /// Bytes of the whole picture.
    pub fn total(&self) -> u64 {
        self.size.area() * self.pixel_bytes() as u64
    }

    /// Bands of rows from the top, each of a few megabytes.
    pub fn bands(&self) -> impl Iterator<Item = Rect> + use<> {
        let Size { width, height } = self.size;
        let rows = (BAND_BYTES / self.row_bytes().max(1) as u64).clamp(1, height.max(1).into()) as u32;
        (0..height)
            .step_by(rows as usize)
            .map(move |y| Rect::new(0, y, Size::new(width, rows.min(height - y))))
    }
}

/// Where a picture is to go.
#[derive(Clone, Copy)]
pub(super) struct Place<'a> {
    pub kind: &'a StoreKind,
    /// How it lies in its file.
    pub orientation: Orientation,
}

impl Place<'_> {
    /// Room for a picture.
    pub fn room(self, input: &Input, layout: Layout) -> Result<Upright, DecodeError> {
        let size = turned(layout.size, self.orientation);
        let raster = Raster::new(self.kind, size, layout.channels, layout.depth);
        let raster = raster.map_err(|source| input.unstored(source))?;
        Ok(Upright { raster, layout, orientation: self.orientation })
    }

    /// A picture whose bytes are all there.
    pub fn whole(self, input: &Input, layout: Layout, bytes: Vec<u8>) -> Result<Raster, DecodeError> {
        if self.orientation == Orientation::NoTransforms {
            let Layout { size, channels, depth } = layout;
            let raster = Raster::from_bytes(self.kind, size, channels, depth, bytes);
            return raster.map_err(|source| input.unstored(source));
        }
        let mut room = self.room(input, layout)?;
        let mut rest = &bytes[..];
        for band in layout.bands() {
            let (rows, after) = rest.split_at(band.size.height as usize * layout.row_bytes());
            room.put(band, rows.to_vec()).map_err(|source| input.unstored(source))?;
            rest = after;
        }
        Ok(room.raster)
    }
}

/// A picture that is being filled.
pub(super) struct Upright {
    pub raster: Raster,
    layout: Layout,
    orientation: Orientation,
}

impl Upright {
    /// A block that is at `rect` in the file: interleaved, row by row, in native byte order.
    pub fn put(&mut self, rect: Rect, bytes: Vec<u8>) -> Result<(), RasterError> {
        use Orientation::*;
        let Size { width, height } = self.layout.size;
        let (right, below) = (width - rect.right(), height - rect.bottom());
        let (x, y) = match self.orientation {
            NoTransforms => (rect.x, rect.y),
            FlipHorizontal => (right, rect.y),
            Rotate180 => (right, below),
            FlipVertical => (rect.x, below),
            Rotate90FlipH => (rect.y, rect.x),
            Rotate90 => (below, rect.x),
            Rotate270FlipH => (below, right),
            Rotate270 => (rect.y, right),
        };
        let (bytes, size) = upright(bytes, rect.size, self.layout.pixel_bytes(), self.orientation);
        self.raster.write_bytes(Rect::new(x, y, size), &bytes)
    }
}

fn turned(size: Size, orientation: Orientation) -> Size {
    if is_sideways(orientation) { Size::new(size.height, size.width) } else { size }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_turned_to_where_the_whole_turned_has_them() {
        let size = Size::new(7, 5);
        let layout = Layout { size, channels: Channels::GreyAlpha, depth: Depth::Eight };
        let bytes: Vec<u8> = (0..70).collect();
        let input = Input { name: "it", format: crate::Format::Png, bytes: 1 };
        for exif in 1..=8 {
            let orientation = Orientation::from_exif(exif).unwrap();
            let place = Place { kind: &StoreKind::Memory, orientation };
            let (whole, expected) = upright(bytes.clone(), size, 2, orientation);
            let mut room = place.room(&input, layout).unwrap();
            for rect in [(0, 0, 4, 3), (4, 0, 3, 3), (0, 3, 4, 2), (4, 3, 3, 2)] {
                let rect = Rect::new(rect.0, rect.1, Size::new(rect.2, rect.3));
                let rows = (rect.y..rect.bottom()).map(|y| (y * 7 + rect.x) as usize * 2);
                let block = rows.flat_map(|at| bytes[at..][..rect.size.width as usize * 2].to_vec());
                room.put(rect, block.collect()).unwrap();
            }
            let read = |raster: &Raster| raster.read_rows(0, expected.height, Depth::Eight).unwrap();
            assert_eq!((room.raster.size(), read(&room.raster)), (expected, whole.clone()), "{exif}");
            assert_eq!(read(&place.whole(&input, layout, bytes.clone()).unwrap()), whole, "{exif}");
        }
    }
}
