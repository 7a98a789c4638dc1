//! Files to pictures.

mod jpeg;
#[cfg(test)]
mod tests;

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};
use std::path::Path;

use clarifier_tile::Size;
use image::metadata::Orientation;
use image::{ColorType, ImageDecoder, ImageError, ImageFormat, ImageReader, Limits};

use crate::exif::{self, Exif};
use crate::metadata::icc_space;
use crate::orient::upright;
use crate::store::zeros;
use crate::{Channels, Depth, Format, Metadata, Raster, RasterError, StoreKind};

/// Why a file is not a picture.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// The file cannot be read.
    #[error("{name}: {source}")]
    Open {
        /// The file.
        name: String,
        /// The system's words.
        source: io::Error,
    },
    /// Nothing in it.
    #[error("{0}: the file is empty")]
    Empty(String),
    /// No known format.
    #[error("{0}: not a picture that this program reads (PNG, JPEG, WebP and TIFF are)")]
    UnknownFormat(String),
    /// The format's decoder gave up.
    #[error("{name}: damaged or cut off ({reason})")]
    Damaged {
        /// The file.
        name: String,
        /// The decoder's words.
        reason: String,
    },
    /// A kind of the format that the decoder does not know.
    #[error(
        "{name}: a kind of {format} that this program does not read ({reason}); save it as an ordinary PNG or TIFF first"
    )]
    Unsupported {
        /// The file.
        name: String,
        /// The format.
        format: &'static str,
        /// The decoder's words.
        reason: String,
    },
    /// More pixels than the file can possibly hold.
    #[error("{name}: its header claims {size} pixels, far more than its {bytes} bytes can hold")]
    Implausible {
        /// The file.
        name: String,
        /// What the header claims.
        size: Size,
        /// What the file has.
        bytes: u64,
    },
    /// The working copy failed.
    #[error("{name}: {source}")]
    Store {
        /// The file.
        name: String,
        /// Why.
        source: RasterError,
    },
}

/// A picture and what is to be said about it.
pub struct Decoded {
    /// The picture, upright.
    pub raster: Raster,
    /// The format it was in.
    pub format: Format,
    /// What was lost on the way, in sentences.
    pub warnings: Vec<String>,
}

/// Read the picture at `path` into a store of `kind`.
///
/// # Errors
/// [`DecodeError`], with the path in it.
pub fn open(path: &Path, kind: &StoreKind) -> Result<Decoded, DecodeError> {
    let name = path.display().to_string();
    let file = File::open(path).and_then(|file| match file.metadata()?.is_dir() {
        true => Err(io::Error::new(io::ErrorKind::IsADirectory, "a folder, not a picture")),
        false => Ok(file),
    });
    let file = file.map_err(|source| DecodeError::Open { name: name.clone(), source })?;
    decode(BufReader::new(file), &name, kind)
}

/// A white page of 1 bit a pixel, deflated, grows by 1032 · 8, with a palette of colours three times
/// as much. Nothing honest grows more.
const PLAUSIBLE_RATIO: u64 = 30_000;
/// Pixels up to this many bytes are always decoded: a blank lossless WebP has no size at all.
const ALWAYS_PLAUSIBLE: u64 = 1 << 30;

/// Read a picture, called `name` in errors, into a store of `kind`. It is turned upright by its EXIF
/// orientation. Colour profile and EXIF come along; of the latter the orientation is then 1 and the
/// thumbnail gone.
///
/// # Errors
/// [`DecodeError`].
pub fn decode(mut reader: impl BufRead + Seek, name: &str, kind: &StoreKind) -> Result<Decoded, DecodeError> {
    let name = name.to_owned();
    let open = |source| DecodeError::Open { name: name.clone(), source };
    let (bytes, format) = recognise(&mut reader, &name)?;
    let damaged = |reason: &str| DecodeError::Damaged { name: name.clone(), reason: reason.to_owned() };
    if format == Format::Jpeg && !jpeg::reaches_its_end(&mut reader).map_err(open)? {
        return Err(damaged("its end is missing"));
    }
    // `image` gives neither of a TIFF's.
    let (tiff_exif, tiff_icc) = match format {
        Format::Tiff => (Exif::read(&mut reader), exif::profile(&mut reader)),
        _ => (None, None),
    };
    reader.rewind().map_err(open)?;

    let failed = |error: ImageError| match error {
        ImageError::Unsupported(error) => {
            DecodeError::Unsupported { name: name.clone(), format: format.name(), reason: error.to_string() }
        }
        other => damaged(&other.to_string()),
    };
    let mut reader = ImageReader::with_format(reader, format.codec());
    let mut limits = Limits::no_limits();
    // What decoders may take beside the pixels.
    limits.max_alloc = Some(ALWAYS_PLAUSIBLE);
    reader.limits(limits.clone());
    let mut decoder = reader.into_decoder().map_err(failed)?;
    let size = Size::from(decoder.dimensions());
    let total = decoder.total_bytes();
    if size.area() == 0 || (total > ALWAYS_PLAUSIBLE && total / PLAUSIBLE_RATIO > bytes) {
        return Err(DecodeError::Implausible { name, size, bytes });
    }
    limits.max_alloc = Some(total.saturating_mul(2).saturating_add(ALWAYS_PLAUSIBLE));
    decoder.set_limits(limits).map_err(failed)?;

    let block = match tiff_exif {
        Some(exif) => Some(exif.to_block()),
        None => decoder.exif_metadata().ok().flatten(),
    };
    let (exif, noted) = block.map(tidy).unwrap_or_default();
    // A TIFF's orientation is a tag of the picture's own.
    let orientation = if format == Format::Tiff { decoder.orientation().ok() } else { noted };
    let mut metadata = Metadata { icc: tiff_icc.or_else(|| decoder.icc_profile().ok().flatten()), exif };
    let mut warnings = Vec::new();

    let store = |source| DecodeError::Store { name: name.clone(), source };
    let colour = decoder.color_type();
    let mut pixels = zeros(total).map_err(|error| store(error.into()))?;
    decoder.read_image(&mut pixels).map_err(failed)?;
    let (channels, depth) = match colour {
        ColorType::L8 => (Channels::Grey, Depth::Eight),
        ColorType::La8 => (Channels::GreyAlpha, Depth::Eight),
        ColorType::Rgb8 => (Channels::Rgb, Depth::Eight),
        ColorType::Rgba8 => (Channels::Rgba, Depth::Eight),
        ColorType::L16 => (Channels::Grey, Depth::Sixteen),
        ColorType::La16 => (Channels::GreyAlpha, Depth::Sixteen),
        ColorType::Rgb16 => (Channels::Rgb, Depth::Sixteen),
        ColorType::Rgba16 => (Channels::Rgba, Depth::Sixteen),
        float => {
            warnings.push("its 32-bit values were cut off at 0 and 1 and reduced to 16 bits".to_owned());
            pixels = sixteen(&pixels);
            (if float.has_alpha() { Channels::Rgba } else { Channels::Rgb }, Depth::Sixteen)
        }
    };
    let space: &[u8] = if channels.is_grey() { b"GRAY" } else { b"RGB " };
    if metadata.icc.as_deref().is_some_and(|icc| icc_space(icc) != Some(space)) {
        metadata.icc = None;
        warnings
            .push("its colour profile is for another kind of colour (CMYK, say) and was left out".to_owned());
    }
    let pixel = channels.count() * depth.bytes();
    let (pixels, size) = upright(pixels, size, pixel, orientation.unwrap_or(Orientation::NoTransforms));
    let mut raster = Raster::from_bytes(kind, size, channels, depth, pixels).map_err(store)?;
    raster.metadata = metadata;
    Ok(Decoded { raster, format, warnings })
}

/// The file's length and its format, by its first bytes.
fn recognise(reader: &mut (impl Read + Seek), name: &str) -> Result<(u64, Format), DecodeError> {
    let open = |source| DecodeError::Open { name: name.to_owned(), source };
    let bytes = reader.seek(SeekFrom::End(0)).map_err(open)?;
    if bytes == 0 {
        return Err(DecodeError::Empty(name.to_owned()));
    }
    reader.rewind().map_err(open)?;
    let mut magic = Vec::new();
    reader.by_ref().take(16).read_to_end(&mut magic).map_err(open)?;
    reader.rewind().map_err(open)?;
    let format = match image::guess_format(&magic) {
        Ok(ImageFormat::Png) => Format::Png,
        Ok(ImageFormat::Jpeg) => Format::Jpeg,
        Ok(ImageFormat::WebP) => Format::WebP,
        Ok(ImageFormat::Tiff) => Format::Tiff,
        // BigTIFF, which `image` reads and does not recognise.
        _ if magic.starts_with(b"II\x2B\0") || magic.starts_with(b"MM\0\x2B") => Format::Tiff,
        _ => return Err(DecodeError::UnknownFormat(name.to_owned())),
    };
    Ok((bytes, format))
}

/// A block without what turning and redrawing make untrue, and the orientation that it had.
fn tidy(mut block: Vec<u8>) -> (Option<Vec<u8>>, Option<Orientation>) {
    // Some programs leave JPEG's marker in front.
    if block.starts_with(b"Exif\0\0") {
        block.drain(..6);
    }
    // Sets the tag to 1 in place.
    let orientation = Orientation::remove_from_exif_chunk(&mut block);
    exif::unlink_thumbnail(&mut block);
    (Some(block).filter(|block| !block.is_empty()), orientation)
}

/// f32 in native byte order to u16 in native byte order.
fn sixteen(bytes: &[u8]) -> Vec<u8> {
    let level =
        |b: &[u8]| (f32::from_ne_bytes([b[0], b[1], b[2], b[3]]).clamp(0.0, 1.0) * 65535.0).round() as u16;
    bytes.chunks_exact(4).flat_map(|b| level(b).to_ne_bytes()).collect()
}
