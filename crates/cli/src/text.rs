//! Small files of text that the user names: settings, presets, recipes, prompts.

use std::fs::File;
use std::io::{self, ErrorKind, Read};
use std::path::Path;

/// Bytes that none of them needs more than.
const MOST: u64 = 16 << 20;

/// The whole file, which may be a pipe.
///
/// # Errors
/// If it cannot be read, is no UTF-8, or does not end within 16 MiB.
pub fn read(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    File::open(path)?.take(MOST + 1).read_to_string(&mut text)?;
    if text.len() as u64 > MOST {
        return Err(io::Error::new(
            ErrorKind::FileTooLarge,
            "more than 16 MB, too much for a file of this kind",
        ));
    }
    Ok(text)
}
