//! Turning pixels the way up that EXIF's orientation says.

use clarifier_tile::Size;
use image::metadata::Orientation;

/// Whether width and height change places.
pub(crate) fn is_sideways(orientation: Orientation) -> bool {
    use Orientation::*;
    matches!(orientation, Rotate90 | Rotate270 | Rotate90FlipH | Rotate270FlipH)
}

/// `bytes`, rows of pixels of `pixel` bytes, turned upright, and the size that they have then.
pub(crate) fn upright(bytes: Vec<u8>, size: Size, pixel: usize, orientation: Orientation) -> (Vec<u8>, Size) {
    use Orientation::*;
    if orientation == NoTransforms {
        return (bytes, size);
    }
    let (width, height) = (size.width as usize, size.height as usize);
    let turned = if is_sideways(orientation) { Size::new(size.height, size.width) } else { size };
    let mut result = Vec::with_capacity(bytes.len());
    for y in 0..turned.height as usize {
        for x in 0..turned.width as usize {
            let (column, row) = match orientation {
                NoTransforms => (x, y),
                FlipHorizontal => (width - 1 - x, y),
                Rotate180 => (width - 1 - x, height - 1 - y),
                FlipVertical => (x, height - 1 - y),
                Rotate90FlipH => (y, x),
                Rotate90 => (y, height - 1 - x),
                Rotate270FlipH => (width - 1 - y, height - 1 - x),
                Rotate270 => (width - 1 - y, x),
            };
            result.extend_from_slice(&bytes[(row * width + column) * pixel..][..pixel]);
        }
    }
    (result, turned)
}
