//! Files to pictures.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Seek, SeekFrom};
use std::path::Path;

use clarifier_tile::Size;
use image::metadata::Orientation;
use image::{ColorType, DynamicImage, ImageDecoder, ImageError, ImageFormat, ImageReader, Limits};

use crate::metadata::icc_space;
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

/// No honest file is more than this many times smaller than its pixels, once they fill gigabytes.
const PLAUSIBLE_RATIO: u64 = 2000;
/// Pixels up to this many bytes are always decoded.
const ALWAYS_PLAUSIBLE: u64 = 2 << 30;

/// Read a picture, called `name` in errors, into a store of `kind`.
///
/// # Errors
/// [`DecodeError`].
pub fn decode(mut reader: impl BufRead + Seek, name: &str, kind: &StoreKind) -> Result<Decoded, DecodeError> {
    let name = name.to_owned();
    let open = |source| DecodeError::Open { name: name.clone(), source };
    let bytes = reader.seek(SeekFrom::End(0)).map_err(open)?;
    reader.rewind().map_err(open)?;
    if bytes == 0 {
        return Err(DecodeError::Empty(name));
    }
    let damaged = |error: ImageError| DecodeError::Damaged { name: name.clone(), reason: error.to_string() };
    let reader = ImageReader::new(reader).with_guessed_format().map_err(open)?;
    let format = match reader.format() {
        Some(ImageFormat::Png) => Format::Png,
        Some(ImageFormat::Jpeg) => Format::Jpeg,
        Some(ImageFormat::WebP) => Format::WebP,
        Some(ImageFormat::Tiff) => Format::Tiff,
        _ => return Err(DecodeError::UnknownFormat(name)),
    };
    let mut reader = reader;
    reader.no_limits();
    let mut decoder = reader.into_decoder().map_err(damaged)?;
    let (width, height) = decoder.dimensions();
    let size = Size::new(width, height);
    let total = decoder.total_bytes();
    if size.area() == 0 || (total > ALWAYS_PLAUSIBLE && total / PLAUSIBLE_RATIO > bytes) {
        return Err(DecodeError::Implausible { name, size, bytes });
    }
    let mut limits = Limits::no_limits();
    limits.max_alloc = Some(total.saturating_mul(4).max(ALWAYS_PLAUSIBLE));
    decoder.set_limits(limits).map_err(damaged)?;
    let orientation = decoder.orientation().unwrap_or(Orientation::NoTransforms);
    let mut metadata = Metadata {
        icc: decoder.icc_profile().ok().flatten(),
        exif: decoder.exif_metadata().ok().flatten(),
    };
    if let Some(exif) = &mut metadata.exif {
        // Sets the tag to 1 in place.
        let _ = Orientation::remove_from_exif_chunk(exif);
    }
    let float = matches!(decoder.color_type(), ColorType::Rgb32F | ColorType::Rgba32F);
    let mut picture = DynamicImage::from_decoder(decoder).map_err(damaged)?;
    picture.apply_orientation(orientation);
    let mut warnings = Vec::new();
    if float {
        warnings.push("32-bit values were reduced to 16 bits".to_owned());
    }
    let store = |source| DecodeError::Store { name: name.clone(), source };
    let mut raster = to_raster(&picture, kind).map_err(store)?;
    let space: &[u8] = if raster.channels().is_grey() { b"GRAY" } else { b"RGB " };
    if metadata.icc.as_deref().is_some_and(|icc| icc_space(icc) != Some(space)) {
        metadata.icc = None;
        warnings.push("its colour profile is for another kind of colour (CMYK, say) and was dropped".to_owned());
    }
    raster.metadata = metadata;
    Ok(Decoded { raster, format, warnings })
}

fn to_raster(picture: &DynamicImage, kind: &StoreKind) -> Result<Raster, RasterError> {
    use DynamicImage as D;
    let size = Size::new(picture.width(), picture.height());
    let (channels, depth, bytes): (_, _, &[u8]) = match picture {
        D::ImageLuma8(p) => (Channels::Grey, Depth::Eight, p.as_raw()),
        D::ImageLumaA8(p) => (Channels::GreyAlpha, Depth::Eight, p.as_raw()),
        D::ImageRgb8(p) => (Channels::Rgb, Depth::Eight, p.as_raw()),
        D::ImageRgba8(p) => (Channels::Rgba, Depth::Eight, p.as_raw()),
        D::ImageLuma16(_) => (Channels::Grey, Depth::Sixteen, picture.as_bytes()),
        D::ImageLumaA16(_) => (Channels::GreyAlpha, Depth::Sixteen, picture.as_bytes()),
        D::ImageRgb16(_) => (Channels::Rgb, Depth::Sixteen, picture.as_bytes()),
        D::ImageRgba16(_) => (Channels::Rgba, Depth::Sixteen, picture.as_bytes()),
        other if other.color().has_alpha() => return to_raster(&D::ImageRgba16(other.to_rgba16()), kind),
        other => return to_raster(&D::ImageRgb16(other.to_rgb16()), kind),
    };
    let mut raster = Raster::new(kind, size, channels, depth)?;
    raster.write_rows(0, bytes)?;
    Ok(raster)
}
