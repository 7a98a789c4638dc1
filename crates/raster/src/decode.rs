//! Files to pictures.

mod jpeg;
mod pixels;
#[cfg(test)]
mod tests;
mod tiff;

use std::fs::File;
use std::io::{self, BufRead, BufReader, Seek};
use std::path::Path;

use clarifier_tile::Size;
use image::metadata::Orientation;

use self::pixels::{Input, Pixels, by_codec};
use crate::exif::{self, Exif};
use crate::metadata::icc_space;
use crate::orient::upright;
use crate::{Format, Metadata, Raster, RasterError, StoreKind};

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

/// Read a picture, called `name` in errors, into a store of `kind`. It is turned upright by its EXIF
/// orientation. Colour profile and EXIF come along; of the latter the orientation is then 1 and the
/// thumbnail gone.
///
/// # Errors
/// [`DecodeError`].
pub fn decode(mut reader: impl BufRead + Seek, name: &str, kind: &StoreKind) -> Result<Decoded, DecodeError> {
    let input = Input::recognise(&mut reader, name)?;
    let store = |source| DecodeError::Store { name: name.to_owned(), source };
    let (pixels, orientation, mut metadata) = match input.format {
        // `image` gives neither EXIF nor most profiles of a TIFF; its orientation is a tag of its own.
        Format::Tiff => {
            let (exif, _) = Exif::read(&mut reader).map(|exif| tidy(exif.to_block())).unwrap_or_default();
            let (icc, orientation) = (exif::profile(&mut reader), exif::orientation(&mut reader));
            let premultiplied = exif::is_premultiplied(&mut reader);
            let mut pixels = match tiff::rare(&mut reader, &input)? {
                Some(pixels) => pixels,
                None => by_codec(reader, &input)?.0,
            };
            if premultiplied && pixels.channels.has_alpha() {
                tiff::divide_by_opacity(&mut pixels);
            }
            (pixels, orientation, Metadata { icc, exif })
        }
        format => {
            if format == Format::Jpeg && !jpeg::reaches_its_end(&mut reader).map_err(|e| input.unread(e))? {
                return Err(input.damaged("its end is missing"));
            }
            let (pixels, Metadata { icc, exif }) = by_codec(reader, &input)?;
            let (exif, orientation) = exif.map(tidy).unwrap_or_default();
            (pixels, orientation, Metadata { icc, exif })
        }
    };
    let Pixels { size, channels, depth, bytes, mut warnings } = pixels;
    let space: &[u8] = if channels.is_grey() { b"GRAY" } else { b"RGB " };
    if metadata.icc.as_deref().is_some_and(|icc| icc_space(icc) != Some(space)) {
        metadata.icc = None;
        warnings
            .push("its colour profile is for another kind of colour (CMYK, say) and was left out".to_owned());
    }
    let pixel = channels.count() * depth.bytes();
    let (bytes, size) = upright(bytes, size, pixel, orientation.unwrap_or(Orientation::NoTransforms));
    let mut raster = Raster::from_bytes(kind, size, channels, depth, bytes).map_err(store)?;
    raster.metadata = metadata;
    Ok(Decoded { raster, format: input.format, warnings })
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
