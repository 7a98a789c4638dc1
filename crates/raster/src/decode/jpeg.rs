//! Whether a JPEG has its end: the decoder fills what is missing with grey and says nothing.

use std::io::{self, BufRead, Seek, SeekFrom};

const SOI: u8 = 0xD8;
const EOI: u8 = 0xD9;

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
