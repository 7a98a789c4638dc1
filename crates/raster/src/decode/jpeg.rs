//! Whether a JPEG has its end: the decoder fills what is missing with grey and says nothing. And its
//! header, for which the decoder would read the whole file.

use std::io::{self, BufRead, Read, Seek, SeekFrom};

use clarifier_tile::Size;

const SOI: u8 = 0xD8;
const EOI: u8 = 0xD9;
const APP1: u8 = 0xE1;

/// Walks the markers (ITU-T T.81, annex B) from start to end of image. What follows the end, as some
/// cameras' second pictures do, is of no concern.
pub(super) fn reaches_its_end(reader: &mut (impl BufRead + Seek)) -> io::Result<bool> {
    reader.rewind()?;
    let whole = walk(reader);
    match whole {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        other => other,
    }
}

/// The size as it is stored, and EXIF.
pub(super) fn header(reader: &mut (impl BufRead + Seek)) -> io::Result<(Size, Option<Vec<u8>>)> {
    reader.rewind()?;
    let mut exif = None;
    loop {
        let marker = next_marker(reader)?;
        if matches!(marker, 0x01 | 0xD0..=0xD8) {
            continue;
        }
        let mut length = [0; 2];
        reader.read_exact(&mut length)?;
        let length = u64::from(u16::from_be_bytes(length).saturating_sub(2));
        let mut segment = Vec::new();
        reader.by_ref().take(length).read_to_end(&mut segment)?;
        match (marker, &segment[..]) {
            // EXIF is before the frame (Exif 2.32, 4.7).
            (APP1, [b'E', b'x', b'i', b'f', 0, 0, block @ ..]) => exif = Some(block.to_vec()),
            // Frames but for tables of Huffman's and arithmetic codes.
            (0xC0..=0xCF, [_, h0, h1, w0, w1, ..]) if !matches!(marker, 0xC4 | 0xC8 | 0xCC) => {
                let side = |high: u8, low: u8| u32::from(u16::from_be_bytes([high, low]));
                return Ok((Size::new(side(*w0, *w1), side(*h0, *h1)), exif));
            }
            _ => {}
        }
    }
}

fn walk(reader: &mut (impl BufRead + Seek)) -> io::Result<bool> {
    let mut marker = next_marker(reader)?;
    if marker != SOI {
        return Ok(false);
    }
    loop {
        marker = next_marker(reader)?;
        match marker {
            EOI => return Ok(true),
            // Without a length: restarts and the like.
            0x01 | 0xD0..=0xD8 => {}
            _ => {
                let mut length = [0; 2];
                reader.read_exact(&mut length)?;
                let length = u16::from_be_bytes(length);
                // After a start of scan comes picture data, in which 0xFF is followed by 0: the search
                // for the next marker passes over it.
                reader.seek(SeekFrom::Current(i64::from(length.saturating_sub(2))))?;
            }
        }
    }
}

/// The next byte after an 0xFF that is neither 0, as in picture data, nor fill.
fn next_marker(reader: &mut impl BufRead) -> io::Result<u8> {
    loop {
        let buffer = reader.fill_buf()?;
        if buffer.is_empty() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        match buffer.iter().position(|byte| *byte == 0xFF) {
            None => {
                let length = buffer.len();
                reader.consume(length);
            }
            Some(at) => {
                reader.consume(at + 1);
                let mut byte = [0xFF];
                while byte[0] == 0xFF {
                    reader.read_exact(&mut byte)?;
                }
                if byte[0] != 0 {
                    return Ok(byte[0]);
                }
            }
        }
    }
}
