//! Pictures to files.

mod png;
mod tiff;

use std::io::{self, Seek, Write};

use image::codecs::jpeg::JpegEncoder;
use image::codecs::webp::WebPEncoder;
use image::{ExtendedColorType, ImageEncoder, ImageError};

use crate::{Channels, Depth, Format, FormatError, Planes, Raster, RasterError};

/// How a file is written.
#[derive(Debug, Clone)]
pub struct EncodeOptions {
    /// 1 ..= 100; 95 is hard to tell from the original.
    pub jpeg_quality: u8,
    /// Bits of each value; a format that has only 8 takes 8.
    pub depth: Depth,
}

impl Default for EncodeOptions {
    fn default() -> Self {
        Self { jpeg_quality: 95, depth: Depth::Eight }
    }
}

/// Why a file could not be written.
#[derive(Debug, thiserror::Error)]
pub enum EncodeError {
    /// The picture does not fit the format.
    #[error(transparent)]
    Format(#[from] FormatError),
    /// The disk is full, or some such thing.
    #[error("{0}")]
    Write(#[from] io::Error),
    /// The working copy failed.
    #[error(transparent)]
    Raster(#[from] RasterError),
    /// The format's encoder gave up.
    #[error("the encoder failed: {0}")]
    Codec(String),
}

/// Write `raster` as a file of `format`, with its colour profile and EXIF. JPEG has no opacity:
/// there the picture is laid on white.
///
/// # Errors
/// [`EncodeError`].
pub fn encode(
    raster: &Raster,
    writer: impl Write + Seek,
    format: Format,
    options: &EncodeOptions,
) -> Result<(), EncodeError> {
    format.check_size(raster.size())?;
    match format {
        Format::Png => png::write(raster, writer, options.depth),
        Format::Tiff => tiff::write(raster, writer, options.depth),
        Format::Jpeg => {
            let encoder = JpegEncoder::new_with_quality(writer, options.jpeg_quality.clamp(1, 100));
            write_whole(raster, encoder, format)
        }
        Format::WebP => write_whole(raster, WebPEncoder::new_lossless(writer), format),
    }
}

/// The encoders of `image`, which take a whole picture of 8 bits.
fn write_whole(raster: &Raster, mut encoder: impl ImageEncoder, format: Format) -> Result<(), EncodeError> {
    let codec = |error: ImageError| match error {
        ImageError::IoError(error) => EncodeError::Write(error),
        other => EncodeError::Codec(other.to_string()),
    };
    let metadata = &raster.metadata;
    if let Some(icc) = metadata.icc.clone() {
        encoder.set_icc_profile(icc).map_err(|e| EncodeError::Codec(e.to_string()))?;
    }
    if let Some(exif) = metadata.exif.clone() {
        encoder.set_exif_metadata(exif).map_err(|e| EncodeError::Codec(e.to_string()))?;
    }
    let flatten = raster.channels().has_alpha() && !format.keeps_alpha();
    let colour = match (raster.channels(), flatten) {
        (Channels::Grey, _) | (Channels::GreyAlpha, true) => ExtendedColorType::L8,
        (Channels::GreyAlpha, false) => ExtendedColorType::La8,
        (Channels::Rgb, _) | (Channels::Rgba, true) => ExtendedColorType::Rgb8,
        (Channels::Rgba, false) => ExtendedColorType::Rgba8,
    };
    let size = raster.size();
    let mut bytes = Vec::with_capacity(size.area() as usize * colour.channel_count() as usize);
    for_each_band(raster, |_, planes| {
        let planes = if flatten { on_white(&planes) } else { planes };
        bytes.extend(interleaved(&planes, Depth::Eight));
        Ok(())
    })?;
    encoder.write_image(&bytes, size.width, size.height, colour).map_err(codec)
}

/// Rows that are converted at a time.
const BAND: u32 = 64;

/// Calls `each` with the first row and the values of each band of rows, from the top.
fn for_each_band(
    raster: &Raster,
    mut each: impl FnMut(u32, Planes) -> Result<(), EncodeError>,
) -> Result<(), EncodeError> {
    let size = raster.size();
    for y in (0..size.height).step_by(BAND as usize) {
        let rows = BAND.min(size.height - y);
        let rect = clarifier_tile::Rect::new(0, y, clarifier_tile::Size::new(size.width, rows));
        each(y, raster.read(rect)?)?;
    }
    Ok(())
}

/// Values in the order of files: pixel by pixel, in native byte order.
fn interleaved(planes: &Planes, depth: Depth) -> Vec<u8> {
    let pixels = planes.size.area() as usize;
    let mut bytes = Vec::with_capacity(pixels * planes.channels * depth.bytes());
    for pixel in 0..pixels {
        for channel in 0..planes.channels {
            let value = planes.data[channel * pixels + pixel];
            match depth {
                Depth::Eight => bytes.push((value * 255.0).round() as u8),
                Depth::Sixteen => bytes.extend(((value * 65535.0).round() as u16).to_ne_bytes()),
            }
        }
    }
    bytes
}

fn on_white(planes: &Planes) -> Planes {
    let colours = planes.channels - 1;
    let alpha = planes.plane(colours);
    let mix = |c: usize| planes.plane(c).iter().zip(alpha).map(|(v, a)| v * a + 1.0 - a);
    Planes::new(planes.size, colours, (0..colours).flat_map(mix).collect())
}
