//! A PNG's pixels, row by row, and its texts and EXIF, wherever they are: many programs write theirs after the
//! pixels, where a decoder of pixels does not look.

use std::io::{self, BufRead, Read, Seek, SeekFrom};

use flate2::read::ZlibDecoder;
use image::ImageFormat;
use image::error::{DecodingError, ImageError, LimitError, LimitErrorKind};
use png::{Decoder, Limits, Transformations};

use super::DecodeError;
use super::pixels::Input;
use super::upright::{Layout, Place};

use crate::encode::png::{RECIPE_KEYWORD, XMP_KEYWORD};
use crate::{Depth, Raster};

/// Longer texts are none of anybody's.
const MOST_BYTES: u64 = 1 << 26;

/// What was found.
#[derive(Default)]
pub(super) struct Texts {
    pub xmp: Option<Vec<u8>>,
    pub recipe: Option<String>,
    pub exif: Option<Vec<u8>>,
}

/// Walks the chunks (PNG 3rd edition, 5.3). What is damaged is left to the decoder to complain of.
pub(super) fn texts(reader: &mut (impl BufRead + Seek)) -> Texts {
    let mut texts = Texts::default();
    let _ = walk(reader, &mut texts);
    texts
}

fn walk(reader: &mut (impl BufRead + Seek), texts: &mut Texts) -> io::Result<()> {
    // After the signature.
    reader.seek(SeekFrom::Start(8))?;
    loop {
        let mut head = [0; 8];
        reader.read_exact(&mut head)?;
        let (length, kind) = head.split_at(4);
        let length = u64::from(u32::from_be_bytes([length[0], length[1], length[2], length[3]]));
        if !matches!(kind, b"iTXt" | b"eXIf") || length > MOST_BYTES {
            // With its checksum. Relative to where it is, so that what was buffered stays of use.
            reader.seek_relative(length as i64 + 4)?;
            continue;
        }
        let mut data = Vec::new();
        reader.by_ref().take(length).read_to_end(&mut data)?;
        reader.seek_relative(4)?;
        match (kind, text(&data)) {
            (b"eXIf", _) => texts.exif = Some(data),
            (_, Some((keyword, text))) if keyword == XMP_KEYWORD.as_bytes() => texts.xmp = Some(text),
            (_, Some((keyword, text))) if keyword == RECIPE_KEYWORD.as_bytes() => {
                texts.recipe = String::from_utf8(text).ok();
            }
            _ => {}
        }
    }
}

/// Keyword and text of an `iTXt` (11.3.3.4): keyword, 0, compressed or not, how, language, 0, the
/// keyword in that language, 0, text.
fn text(data: &[u8]) -> Option<(&[u8], Vec<u8>)> {
    let zero = |data: &[u8]| data.iter().position(|byte| *byte == 0);
    let (keyword, rest) = data.split_at(zero(data)?);
    let (flags, rest) = rest.get(1..)?.split_at_checked(2)?;
    let rest = &rest[zero(rest)? + 1..];
    let rest = &rest[zero(rest)? + 1..];
    let mut text = Vec::new();
    match flags[0] {
        0 => text.extend_from_slice(rest),
        _ => drop(ZlibDecoder::new(rest).take(MOST_BYTES).read_to_end(&mut text).ok()?),
    }
    Some((keyword, text))
}

/// Where a file says that its rows come in seven passes (11.2.1): after signature and head of the first chunk,
/// size, depth, kind of colour, compression and filter.
const INTERLACE: u64 = 8 + 8 + 8 + 1 + 1 + 1 + 1;
/// What the decoder may take for itself.
const MOST_FOR_DECODER: usize = 1 << 30;

/// Whether its rows are not in order, so that all must be there before one is whole.
pub(super) fn is_interlaced(reader: &mut (impl Read + Seek)) -> io::Result<bool> {
    let mut byte = [0];
    reader.seek(SeekFrom::Start(INTERLACE))?;
    // What is cut off, the decoder will say.
    Ok(reader.read(&mut byte)? == 1 && byte[0] != 0)
}

/// The pixels, as `image` decodes them: `layout` is what it says that they are.
pub(super) fn rows(
    reader: &mut (impl BufRead + Seek),
    input: &Input,
    layout: Layout,
    place: Place,
) -> Result<Raster, DecodeError> {
    let failed = |error| input.failed(as_image_has_it(error));
    reader.rewind().map_err(|error| input.unread(error))?;
    let mut decoder = Decoder::new_with_limits(reader, Limits { bytes: MOST_FOR_DECODER });
    decoder.set_ignore_text_chunk(true);
    // Palettes to colours, few bits to 8.
    decoder.set_transformations(Transformations::EXPAND);
    let mut rows = decoder.read_info().map_err(failed)?;
    let mut room = place.room(input, layout)?;
    let row_bytes = layout.row_bytes();
    for band in layout.bands() {
        let mut bytes = vec![0; band.size.height as usize * row_bytes];
        for row in bytes.chunks_exact_mut(row_bytes) {
            rows.read_row(row).map_err(failed)?;
        }
        if layout.depth == Depth::Sixteen && cfg!(target_endian = "little") {
            bytes.chunks_exact_mut(2).for_each(|pair| pair.swap(0, 1));
        }
        room.put(band, bytes).map_err(|source| input.unstored(source))?;
    }
    // Checks the end of the compressed data.
    rows.read_row(&mut []).map_err(failed)?;
    Ok(room.raster)
}

/// The error that `image` makes of one of `png`.
fn as_image_has_it(error: png::DecodingError) -> ImageError {
    match error {
        png::DecodingError::IoError(error) => ImageError::IoError(error),
        png::DecodingError::LimitsExceeded => {
            ImageError::Limits(LimitError::from_kind(LimitErrorKind::InsufficientMemory))
        }
        other => ImageError::Decoding(DecodingError::new(ImageFormat::Png.into(), other)),
    }
}
