//! Pictures to files.

mod jpeg;
pub(crate) mod png;
#[cfg(test)]
mod tests;
mod tiff;
mod webp;

use std::io::{self, Seek, Write};

use image::ImageError;
use rayon::prelude::*;

use crate::carry::Blocks;
use crate::{Depth, Format, FormatError, Raster, RasterError};

/// How finely a JPEG's colour is stored beside its brightness.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Chroma {
    /// 4:4:4: as finely.
    #[default]
    Full,
    /// 4:2:2: half the columns.
    Half,
    /// 4:2:0: half the columns and rows.
    Quarter,
}

impl Chroma {
    /// `444`, `422` or `420`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Full => "444",
            Self::Half => "422",
            Self::Quarter => "420",
        }
    }
}

/// How a file is written.
#[derive(Debug, Clone)]
pub struct EncodeOptions {
    /// 1 ..= 100; 95 is hard to tell from the original.
    pub jpeg_quality: u8,
    /// How finely a JPEG's colour is stored.
    pub jpeg_chroma: Chroma,
    /// Bits of each value; a format that has only 8 takes 8.
    pub depth: Depth,
}

impl Default for EncodeOptions {
    fn default() -> Self {
        Self { jpeg_quality: 95, jpeg_chroma: Chroma::Full, depth: Depth::Eight }
    }
}

/// Why a file could not be written.
#[derive(Debug, thiserror::Error)]
pub enum EncodeError {
    /// The picture does not fit the format.
    #[error(transparent)]
    Format(#[from] FormatError),
    /// The disk is full, or some such thing.
    #[error("{0}")]
    Write(#[from] io::Error),
    /// The working copy failed.
    #[error(transparent)]
    Raster(#[from] RasterError),
    /// As it was asked to be by [`SaveOptions::stop`](crate::SaveOptions::stop).
    #[error("stopped")]
    Stopped,
    /// The format's encoder gave up.
    #[error("the encoder failed: {0}")]
    Codec(String),
}

impl From<ImageError> for EncodeError {
    fn from(error: ImageError) -> Self {
        match error {
            ImageError::IoError(error) => Self::Write(error),
            other => Self::Codec(other.to_string()),
        }
    }
}

/// Write `raster` as a file of `format`, with its colour profile, EXIF, XMP, IPTC and recipe. All but WebP are written
/// as they are read, a band at a time. What does not go into the format is left out:
/// [`Format::losses`] says what that is.
///
/// # Errors
/// [`EncodeError`].
pub fn encode(
    raster: &Raster,
    writer: impl Write + Seek,
    format: Format,
    options: &EncodeOptions,
) -> Result<(), EncodeError> {
    format.check_size(raster.size())?;
    let (metadata, _) = Blocks::new(raster, format);
    match format {
        Format::Png => png::write(raster, writer, &metadata, options.depth),
        Format::Tiff => tiff::write(raster, writer, &metadata, options.depth),
        Format::Jpeg => jpeg::write(raster, writer, metadata, options),
        Format::WebP => webp::write(raster, writer, metadata),
    }
}

/// Rows that are converted at a time; a multiple of a JPEG's blocks.
const BAND: u32 = 64;

/// Calls `each` with the bytes of each band of rows, from the top: interleaved, in native byte order.
fn for_each_band(
    raster: &Raster,
    depth: Depth,
    mut each: impl FnMut(Vec<u8>) -> Result<(), EncodeError>,
) -> Result<(), EncodeError> {
    let height = raster.size().height;
    (0..height)
        .step_by(BAND as usize)
        .try_for_each(|y| each(raster.read_rows(y, BAND.min(height - y), depth)?))
}

/// Each of `list` read, worked on and written: reading and writing in order here, the work on all processors. What is under
/// way at once is bounded by their number.
pub(crate) fn in_parallel<I, T: Send, R: Send, E: Send>(
    list: impl IntoIterator<Item = I>,
    mut read: impl FnMut(I) -> Result<T, E>,
    work: impl Fn(T) -> Result<R, E> + Sync,
    mut write: impl FnMut(R) -> Result<(), E>,
) -> Result<(), E> {
    let mut list = list.into_iter();
    // Two for each, since some are quicker than others.
    let most = if cfg!(target_arch = "wasm32") { 1 } else { 2 * rayon::current_num_threads() };
    loop {
        let batch = list.by_ref().take(most).map(&mut read).collect::<Result<Vec<_>, _>>()?;
        match batch.len() {
            0 => return Ok(()),
            1 => batch.into_iter().try_for_each(|one| write(work(one)?))?,
            _ => {
                let done: Vec<_> = batch.into_par_iter().map(&work).collect();
                done.into_iter().try_for_each(|one| write(one?))?;
            }
        }
    }
}
