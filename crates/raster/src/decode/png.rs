//! A PNG's texts and EXIF, wherever they are: many programs write theirs after the pixels, where a
//! decoder of pixels does not look.

use std::io::{self, BufRead, Read, Seek, SeekFrom};

use flate2::read::ZlibDecoder;

use crate::encode::png::{RECIPE_KEYWORD, XMP_KEYWORD};

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
