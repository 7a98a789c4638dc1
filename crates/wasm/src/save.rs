//! The commands `pixels` and `save`: the last result, out again.

use std::io::{BufWriter, Cursor, Seek, Write};
use std::path::Path;

use clarifier_raster::{EncodeOptions, Format, Raster, encode, overview};
use clarifier_tile::{Rect, Size};

use crate::browser::{OwnFile, SyncAccessHandle};
use crate::engine::ENGINE;
use crate::{Answer, failed};

/// Bytes that go into a file at once.
const BUFFER: usize = 1 << 20;
/// By how much an overview may be smaller.
const MOST_SCALE: u32 = 4096;

fn with_result<T>(act: impl FnOnce(&Raster) -> Answer<T>) -> Answer<T> {
    ENGINE.with_borrow(|engine| match &engine.result {
        Some(result) => act(result),
        None => Err(failed("there is no result yet")),
    })
}

pub fn pixels(x: u32, y: u32, width: u32, height: u32, scale: u32) -> Answer<Vec<u8>> {
    with_result(|result| {
        let inside = |at: u32, length: u32, side: u32| at.checked_add(length).is_some_and(|end| end <= side);
        let size = result.size();
        if !inside(x, width, size.width) || !inside(y, height, size.height) {
            return Err(failed(format!("that part is not inside the result, which is {size} pixels")));
        }
        if !(1..=MOST_SCALE).contains(&scale) {
            return Err(failed(format!("the scale is a whole number from 1 to {MOST_SCALE}")));
        }
        overview(result, Rect::new(x, y, Size::new(width, height)), scale).map_err(failed)
    })
}

fn write(format: &str, quality: u8, into: impl Write + Seek) -> Answer<()> {
    let format = Format::from_path(&Path::new("it").with_extension(format)).map_err(failed)?;
    let options = EncodeOptions { jpeg_quality: quality.clamp(1, 100), ..EncodeOptions::default() };
    with_result(|result| encode(result, into, format, &options).map_err(failed))
}

pub fn to_file(format: &str, quality: u8, file: SyncAccessHandle) -> Answer<()> {
    let mut file = BufWriter::with_capacity(BUFFER, OwnFile::new(file));
    write(format, quality, &mut file)?;
    file.flush().map_err(failed)
}

pub fn to_memory(format: &str, quality: u8) -> Answer<Vec<u8>> {
    let mut file = Cursor::new(Vec::new());
    write(format, quality, &mut file)?;
    Ok(file.into_inner())
}
