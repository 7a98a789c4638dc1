//! Files to pictures.

mod jpeg;
mod pixels;
mod png;
mod strip;
#[cfg(test)]
mod tests;
mod tiff;
mod upright;

use std::fs::File;
use std::io::{self, BufRead, BufReader, Seek};
use std::path::Path;

use clarifier_tile::Size;
use image::metadata::Orientation;

use self::pixels::{Codec, Input, header_by_codec};
use self::png::Texts;
use self::upright::Place;
use crate::exif::{self, Exif};
use crate::metadata::icc_space;
use crate::orient::is_sideways;
use crate::panics::caught;
use crate::xmp;
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
    /// It can only be decoded in one piece, and there is no memory for that.
    #[error(
        "{name}: {what} is decoded in one piece, which takes {} MB of memory, and {} MB are free; save it as an \
         ordinary PNG or a TIFF in strips or tiles, which are read in parts",
        needed / 1_000_000, available / 1_000_000
    )]
    Memory {
        /// The file.
        name: String,
        /// What cannot be decoded in parts.
        what: &'static str,
        /// Bytes.
        needed: u64,
        /// Bytes.
        available: u64,
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

/// What a file's header says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// The format, whatever the file's name.
    pub format: Format,
    /// The picture's size, upright.
    pub size: Size,
}

/// Look at the picture at `path` without reading its pixels.
///
/// # Errors
/// [`DecodeError`], with the path in it.
pub fn probe(path: &Path) -> Result<Header, DecodeError> {
    let name = path.display().to_string();
    guarded(&name, || header(reader(path, &name)?, &name))
}

/// Run a decoder; where it panics, the picture `name` is damaged.
fn guarded<T>(name: &str, decode: impl FnOnce() -> Result<T, DecodeError>) -> Result<T, DecodeError> {
    caught(decode).unwrap_or_else(|words| {
        let reason = format!("its decoder broke down: {words}");
        Err(DecodeError::Damaged { name: name.to_owned(), reason })
    })
}

fn header(mut reader: BufReader<File>, name: &str) -> Result<Header, DecodeError> {
    let input = Input::recognise(&mut reader, name)?;
    let (size, orientation) = match input.format {
        Format::Tiff => {
            let orientation = exif::orientation(&mut reader);
            (tiff::size(reader, &input)?, orientation)
        }
        Format::Jpeg => {
            let header = jpeg::header(&mut reader).map_err(|error| match error.kind() {
                io::ErrorKind::UnexpectedEof => input.damaged("its header is cut off"),
                _ => input.unread(error),
            });
            let (size, exif) = header?;
            (size, exif.map(tidy).unwrap_or_default().1)
        }
        format => {
            let texts = if format == Format::Png { png::texts(&mut reader) } else { Texts::default() };
            let (size, exif) = header_by_codec(reader, &input)?;
            (size, exif.or(texts.exif).map(tidy).unwrap_or_default().1)
        }
    };
    // A header may claim no pixels at all.
    input.check(size, 0)?;
    let turned = orientation.is_some_and(is_sideways);
    let size = if turned { Size::new(size.height, size.width) } else { size };
    Ok(Header { format: input.format, size })
}

/// Read the picture at `path` into a store of `kind`.
///
/// # Errors
/// [`DecodeError`], with the path in it.
pub fn open(path: &Path, kind: &StoreKind) -> Result<Decoded, DecodeError> {
    let name = path.display().to_string();
    decode(reader(path, &name)?, &name, kind)
}

fn reader(path: &Path, name: &str) -> Result<BufReader<File>, DecodeError> {
    let refused = |kind, what| Err(io::Error::new(kind, what));
    // Asked before it is opened: to open a pipe is to wait for whoever writes into it.
    let file = std::fs::metadata(path).and_then(|about| match about {
        about if about.is_dir() => refused(io::ErrorKind::IsADirectory, "a folder, not a picture"),
        about if !about.is_file() => {
            refused(io::ErrorKind::InvalidInput, "a pipe or a device; save the picture as a file first")
        }
        _ => File::open(path),
    });
    Ok(BufReader::new(file.map_err(|source| DecodeError::Open { name: name.to_owned(), source })?))
}

/// Read a picture, called `name` in errors, into a store of `kind`. It is turned upright by its EXIF
/// orientation. Colour profile, EXIF, XMP, IPTC and recipe come along; of EXIF and XMP the orientation is
/// then 1, and the thumbnail gone.
///
/// PNG and TIFF are read in bands and tiles, so that memory does not grow with the picture if the store is not in
/// memory. JPEG, WebP, interlaced PNG and TIFF of one large strip (unless it is plain or deflated) are decoded in one piece.
/// A decoder that panics has met a damaged picture; see [`catches_panics`](crate::catches_panics).
///
/// # Errors
/// [`DecodeError`]; nothing is left behind.
pub fn decode(reader: impl BufRead + Seek, name: &str, kind: &StoreKind) -> Result<Decoded, DecodeError> {
    guarded(name, || read(reader, name, kind))
}

fn read(mut reader: impl BufRead + Seek, name: &str, kind: &StoreKind) -> Result<Decoded, DecodeError> {
    let input = Input::recognise(&mut reader, name)?;
    let place = |orientation: Option<Orientation>| Place {
        kind,
        orientation: orientation.unwrap_or(Orientation::NoTransforms),
    };
    let mut warnings = Vec::new();
    let (mut raster, mut metadata) = match input.format {
        // `image` gives neither EXIF nor most profiles of a TIFF; its orientation is a tag of its own.
        Format::Tiff => {
            let (exif, _) = Exif::read(&mut reader).map(|exif| tidy(exif.to_block())).unwrap_or_default();
            let (icc, orientation) = (exif::profile(&mut reader), exif::orientation(&mut reader));
            let (xmp, iptc) = (exif::xmp(&mut reader), exif::iptc(&mut reader));
            let premultiplied = exif::is_premultiplied(&mut reader);
            let raster = tiff::read(&mut reader, &input, place(orientation), premultiplied, &mut warnings)?;
            (raster, Metadata { icc, exif, xmp, iptc, recipe: None })
        }
        format => {
            if format == Format::Jpeg && !jpeg::reaches_its_end(&mut reader).map_err(|e| input.unread(e))? {
                return Err(input.damaged("its end is missing"));
            }
            let is_png = format == Format::Png;
            let texts = if is_png { png::texts(&mut reader) } else { Texts::default() };
            let in_rows = is_png && !png::is_interlaced(&mut reader).map_err(|e| input.unread(e))?;
            let mut codec = Codec::open(&mut reader, &input)?;
            let read = std::mem::take(&mut codec.metadata);
            let (exif, orientation) = read.exif.or(texts.exif).map(tidy).unwrap_or_default();
            let layout =
                codec.layout().ok_or_else(|| input.unsupported("its values are of an unusual kind"))?;
            let raster = if in_rows {
                drop(codec);
                png::rows(&mut reader, &input, layout, place(orientation))?
            } else {
                codec.whole(&input, layout, place(orientation))?
            };
            let xmp = read.xmp.or(texts.xmp);
            (raster, Metadata { exif, xmp, recipe: texts.recipe, ..read })
        }
    };
    let space: &[u8] = if raster.channels().is_grey() { b"GRAY" } else { b"RGB " };
    if metadata.icc.as_deref().is_some_and(|icc| icc_space(icc) != Some(space)) {
        metadata.icc = None;
        warnings
            .push("its colour profile is for another kind of colour (CMYK, say) and was left out".to_owned());
    }
    if let Some(packet) = metadata.xmp.take() {
        if contains(&packet, b"HasExtendedXMP") {
            warnings.push("the second half of its XMP was left out".to_owned());
        }
        let (packet, recipe) = xmp::take_recipe(xmp::set_upright(packet));
        metadata.xmp = packet;
        metadata.recipe = recipe.or(metadata.recipe);
    }
    raster.metadata = metadata;
    Ok(Decoded { raster, format: input.format, warnings })
}

fn contains(bytes: &[u8], word: &[u8]) -> bool {
    bytes.windows(word.len()).any(|window| window == word)
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
