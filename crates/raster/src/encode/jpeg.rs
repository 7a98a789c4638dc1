//! JPEG, a band of blocks at a time, without subsampling of colour. Opacity is laid on white.

use std::cell::RefCell;
use std::io::Write;
use std::marker::PhantomData;

use image::codecs::jpeg::JpegEncoder;
use image::{GenericImageView, ImageEncoder, Luma, PixelWithColorType, Rgb};

use super::{BAND, Blocks, EncodeError};
use crate::{Depth, Raster, RasterError};

pub(super) fn write(
    raster: &Raster,
    writer: impl Write,
    metadata: Blocks,
    quality: u8,
) -> Result<(), EncodeError> {
    let mut encoder = JpegEncoder::new_with_quality(writer, quality.clamp(1, 100));
    let codec = |error: image::error::UnsupportedError| EncodeError::Codec(error.to_string());
    if let Some(icc) = metadata.icc {
        encoder.set_icc_profile(icc.to_vec()).map_err(codec)?;
    }
    if let Some(exif) = metadata.exif {
        encoder.set_exif_metadata(exif).map_err(codec)?;
    }
    match raster.channels().is_grey() {
        true => Blocked::<Luma<u8>>::new(raster).encode(encoder),
        false => Blocked::<Rgb<u8>>::new(raster).encode(encoder),
    }
}

/// The picture as the encoder asks for it: every pixel once, block by block, so that one band of
/// rows in memory serves.
struct Blocked<'a, P> {
    raster: &'a Raster,
    band: RefCell<Band>,
    pixel: PhantomData<P>,
}

struct Band {
    /// First row, if one was read.
    top: Option<u32>,
    /// Pixels of `P`, or zeros after a failure.
    bytes: Vec<u8>,
    /// Asking for a pixel cannot fail, so this is kept for the end.
    failure: Option<RasterError>,
}

impl<'a, P: PixelWithColorType<Subpixel = u8>> Blocked<'a, P> {
    fn new(raster: &'a Raster) -> Self {
        Self {
            raster,
            band: RefCell::new(Band { top: None, bytes: Vec::new(), failure: None }),
            pixel: PhantomData,
        }
    }

    fn encode<W: Write>(self, mut encoder: JpegEncoder<W>) -> Result<(), EncodeError> {
        encoder.encode_image(&self)?;
        self.band.into_inner().failure.map_or(Ok(()), |error| Err(error.into()))
    }

    fn read(&self, top: u32, band: &mut Band) {
        let size = self.raster.size();
        let rows = BAND.min(size.height - top);
        band.top = Some(top);
        match self.raster.read_rows(top, rows, Depth::Eight) {
            Ok(bytes) if self.raster.channels().has_alpha() => {
                band.bytes = on_white(&bytes, P::CHANNEL_COUNT.into())
            }
            Ok(bytes) => band.bytes = bytes,
            Err(error) => {
                band.bytes = vec![0; rows as usize * size.width as usize * usize::from(P::CHANNEL_COUNT)];
                band.failure.get_or_insert(error);
            }
        }
    }
}

impl<P: PixelWithColorType<Subpixel = u8>> GenericImageView for Blocked<'_, P> {
    type Pixel = P;

    fn dimensions(&self) -> (u32, u32) {
        (self.raster.size().width, self.raster.size().height)
    }

    fn get_pixel(&self, x: u32, y: u32) -> P {
        let mut band = self.band.borrow_mut();
        let top = y - y % BAND;
        if band.top != Some(top) {
            self.read(top, &mut band);
        }
        let channels = usize::from(P::CHANNEL_COUNT);
        let at = ((y - top) as usize * self.raster.size().width as usize + x as usize) * channels;
        *P::from_slice(&band.bytes[at..][..channels])
    }
}

/// `colours` values and an opacity to `colours` values.
fn on_white(bytes: &[u8], colours: usize) -> Vec<u8> {
    let mix = |value: u8, opacity: u8| {
        ((u32::from(value) * u32::from(opacity) + 255 * (255 - u32::from(opacity)) + 127) / 255) as u8
    };
    let pixels = bytes.chunks_exact(colours + 1);
    pixels.flat_map(|pixel| pixel[..colours].iter().map(move |value| mix(*value, pixel[colours]))).collect()
}
