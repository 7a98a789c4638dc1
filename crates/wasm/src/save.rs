//! The commands `pixels` and `save`: the last result, out again.

use std::io::{BufWriter, Cursor, Seek, Write};
use std::path::Path;

use clarifier_raster::{Channels, EncodeOptions, Format, Raster, encode};
use clarifier_tile::{Rect, Size};

use crate::browser::{OwnFile, SyncAccessHandle};
use crate::engine::ENGINE;
use crate::{Answer, failed};

/// Bytes that go into a file at once.
const BUFFER: usize = 1 << 20;

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
        if scale == 0 {
            return Err(failed("the scale is a whole number from 1 on"));
        }
        let channels = result.channels().count();
        let columns = width.div_ceil(scale) as usize;
        let mut bytes = Vec::with_capacity(4 * columns * height.div_ceil(scale) as usize);
        // Sums of colour × opacity, and of opacity: what cannot be seen does not count.
        let mut sums = vec![[0u64; 4]; columns];
        for top in (0..height).step_by(scale as usize) {
            sums.fill([0; 4]);
            let rows = scale.min(height - top);
            for row in 0..rows {
                let row = Rect::new(x, y + top + row, Size::new(width, 1));
                let levels = result.read_bytes(row).map_err(failed)?;
                for (group, sum) in levels.chunks(channels * scale as usize).zip(&mut sums) {
                    for pixel in group.chunks_exact(channels) {
                        let alpha = if result.channels() == Channels::Rgba { pixel[3] } else { u8::MAX };
                        for (sum, level) in sum.iter_mut().zip(&pixel[..3]) {
                            *sum += u64::from(*level) * u64::from(alpha);
                        }
                        sum[3] += u64::from(alpha);
                    }
                }
            }
            for (column, [r, g, b, alpha]) in (0..).zip(&sums) {
                let count = u64::from(rows) * u64::from(scale.min(width - column * scale));
                let mean = |sum: &u64, of: u64| ((sum + of / 2) / of.max(1)) as u8;
                bytes.extend([mean(r, *alpha), mean(g, *alpha), mean(b, *alpha), mean(alpha, count)]);
            }
        }
        Ok(bytes)
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
