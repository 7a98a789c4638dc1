//! A picture as a pyramid of tiles that viewers such as OpenSeadragon fetch as they need them: Deep Zoom, a file
//! `name.dzi` and a folder `name_files/<level>/<column>_<row>.<format>`.
//!
//! The levels are made from the rows as they come, from the largest down: each keeps one row of tiles, so that memory grows
//! with the picture's width alone.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use clarifier_tile::Size;

use crate::encode::in_parallel;
use crate::save::write_whole;
use crate::{
    Channels, Depth, EncodeError, EncodeOptions, Format, Metadata, Raster, SaveError, SaveOptions, StoreKind,
    encode,
};

/// Side of a tile without its overlap; with it, 256 where there are neighbours on both sides.
const TILE: u32 = 254;
/// Pixels that a tile has of each neighbour.
const OVERLAP: u32 = 1;
/// Rows that are read at a time.
const BAND: u32 = 64;

/// The folder of the tiles of the pyramid at `path`.
pub fn deep_zoom_folder(path: &Path) -> PathBuf {
    let mut name = OsString::from(path.file_stem().unwrap_or_default());
    name.push("_files");
    path.with_file_name(name)
}

/// Write `raster` as a pyramid at `path` (`name.dzi`), with tiles of `format`: both beside their places first, renamed when
/// whole. All tiles have the colour profile, that of
/// level 0 has all metadata.
///
/// # Errors
/// [`SaveError`]; then nothing was made or changed.
pub fn save_deep_zoom(
    raster: &Raster,
    path: &Path,
    format: Format,
    options: &EncodeOptions,
    how: SaveOptions,
) -> Result<(), SaveError> {
    write(raster, path, format, options, how).map_err(|source| SaveError { path: path.to_owned(), source })
}

fn write(
    raster: &Raster,
    path: &Path,
    format: Format,
    options: &EncodeOptions,
    how: SaveOptions,
) -> Result<(), EncodeError> {
    let overwrite = how.overwrite;
    let files = deep_zoom_folder(path);
    check_free(path, &files, overwrite)?;
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    // Removed at the end, whatever happens, with what is in it then.
    let beside = tempfile::Builder::new().prefix(".clarifier-").tempdir_in(folder)?;
    let (new, old) = (beside.path().join("new"), beside.path().join("old"));
    Pyramid::new(raster, &new, format, options)?.write(raster, how)?;
    let Size { width, height } = raster.size();
    let description = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
         <Image xmlns=\"http://schemas.microsoft.com/deepzoom/2008\" Format=\"{}\" Overlap=\"{OVERLAP}\" \
         TileSize=\"{TILE}\">\n  <Size Width=\"{width}\" Height=\"{height}\"/>\n</Image>\n",
        format.extension()
    );
    check_free(path, &files, overwrite)?;
    let replaces = files.exists();
    if replaces {
        fs::rename(&files, &old)?;
    }
    let placed = fs::rename(&new, &files).map_err(EncodeError::from);
    let described = placed.and_then(|()| {
        write_whole(path, how, |file| Ok(file.write_all(description.as_bytes())?)).inspect_err(|_| {
            // Into the folder that goes.
            let _ = fs::rename(&files, &new);
        })
    });
    if described.is_err() && replaces {
        fs::rename(&old, &files)?;
    }
    described
}

/// Whether a pyramid may be put there. Folders with anything but levels in them are nobody's to replace.
fn check_free(path: &Path, files: &Path, overwrite: bool) -> io::Result<()> {
    let exists = |what: &Path| {
        Err(io::Error::new(io::ErrorKind::AlreadyExists, format!("{} exists already", what.display())))
    };
    if !overwrite && path.exists() {
        return exists(path);
    }
    if !files.exists() {
        return Ok(());
    }
    if !overwrite {
        return exists(files);
    }
    for entry in fs::read_dir(files)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let level = entry.file_type()?.is_dir() && name.parse::<u8>().is_ok();
        if !level && name != "vips-properties.xml" {
            let message =
                format!("{} holds {name}, which is no level of a pyramid: it is left alone", files.display());
            return Err(io::Error::new(io::ErrorKind::AlreadyExists, message));
        }
    }
    Ok(())
}

/// The levels of a picture of `size`, from the largest down to one pixel.
fn sizes(size: Size) -> Vec<Size> {
    let mut sizes = vec![size];
    while let Some(last) = sizes.last().filter(|last| last.area() > 1) {
        sizes.push(Size::new(last.width.div_ceil(2), last.height.div_ceil(2)));
    }
    sizes
}

/// One level in the making.
struct Level {
    size: Size,
    folder: PathBuf,
    /// The rows that tiles to come need, in 16 bits, from `first` on.
    rows: VecDeque<Vec<u16>>,
    first: u32,
    /// Rows of tiles that are written.
    written: u32,
    /// A row without its pair.
    odd: Option<Vec<u16>>,
}

impl Level {
    /// The end of the row of tiles that is next, with its overlap.
    fn end(&self) -> u32 {
        ((self.written + 1) * TILE + OVERLAP).min(self.size.height)
    }

    /// Rows that have come.
    fn come(&self) -> u32 {
        self.first + self.rows.len() as u32
    }
}

struct Pyramid<'a> {
    /// The largest first.
    levels: Vec<Level>,
    channels: Channels,
    metadata: &'a Metadata,
    format: Format,
    options: &'a EncodeOptions,
}

/// A tile to be written.
struct Tile {
    path: PathBuf,
    size: Size,
    bytes: Vec<u8>,
}

impl<'a> Pyramid<'a> {
    fn new(
        raster: &'a Raster,
        folder: &Path,
        format: Format,
        options: &'a EncodeOptions,
    ) -> Result<Self, EncodeError> {
        let sizes = sizes(raster.size());
        let mut levels = Vec::new();
        for (number, size) in (0..sizes.len()).rev().zip(&sizes) {
            let folder = folder.join(number.to_string());
            fs::create_dir_all(&folder)?;
            let rows = VecDeque::new();
            levels.push(Level { size: *size, folder, rows, first: 0, written: 0, odd: None });
        }
        Ok(Self { levels, channels: raster.channels(), metadata: &raster.metadata, format, options })
    }

    fn write(mut self, raster: &Raster, how: SaveOptions) -> Result<(), EncodeError> {
        let Size { width, height } = raster.size();
        let row = width as usize * self.channels.count();
        for y in (0..height).step_by(BAND as usize) {
            let bytes = raster.read_rows(y, BAND.min(height - y), Depth::Sixteen)?;
            let values: Vec<u16> = bytes.as_chunks().0.iter().map(|pair| u16::from_ne_bytes(*pair)).collect();
            for values in values.chunks_exact(row) {
                how.check()?;
                self.add(0, values.to_vec())?;
            }
        }
        Ok(())
    }

    /// The next row of a level, from which follow those of the smaller ones.
    fn add(&mut self, index: usize, row: Vec<u16>) -> Result<(), EncodeError> {
        let channels = self.channels;
        let is_last_level = index + 1 == self.levels.len();
        let level = &mut self.levels[index];
        let is_last = level.come() + 1 == level.size.height;
        let half = match level.odd.take() {
            _ if is_last_level => None,
            Some(above) => Some(halved(&above, &row, channels)),
            None if is_last => Some(halved(&row, &row, channels)),
            None => {
                level.odd = Some(row.clone());
                None
            }
        };
        level.rows.push_back(row);
        while self.levels[index].written * TILE < self.levels[index].size.height
            && self.levels[index].come() >= self.levels[index].end()
        {
            self.write_tiles(index)?;
        }
        half.map_or(Ok(()), |half| self.add(index + 1, half))
    }

    /// Write the next row of tiles of a level, and forget what no other needs.
    fn write_tiles(&mut self, index: usize) -> Result<(), EncodeError> {
        let level = &self.levels[index];
        let (row, depth, channels) = (level.written, self.options.depth, self.channels.count());
        let (top, bottom) = ((row * TILE).saturating_sub(OVERLAP), level.end());
        let tile = |column: u32| {
            let left = (column * TILE).saturating_sub(OVERLAP);
            let right = ((column + 1) * TILE + OVERLAP).min(level.size.width);
            let rows = level.rows.range((top - level.first) as usize..(bottom - level.first) as usize);
            let values = rows.flat_map(|row| &row[left as usize * channels..right as usize * channels]);
            let bytes = match depth {
                Depth::Eight => values.map(|level| crate::raster::eight(*level)).collect(),
                Depth::Sixteen => values.flat_map(|level| level.to_ne_bytes()).collect(),
            };
            let path = level.folder.join(format!("{column}_{row}.{}", self.format.extension()));
            Ok::<_, EncodeError>(Tile { path, size: Size::new(right - left, bottom - top), bytes })
        };
        let metadata = match index + 1 == self.levels.len() {
            true => self.metadata.clone(),
            false => Metadata { icc: self.metadata.icc.clone(), ..Metadata::default() },
        };
        let write = |Tile { path, size, bytes }| {
            let mut raster = Raster::from_bytes(&StoreKind::Memory, size, self.channels, depth, bytes)?;
            raster.metadata = metadata.clone();
            let mut file = BufWriter::new(File::create_new(path)?);
            encode(&raster, &mut file, self.format, self.options)?;
            Ok(file.flush()?)
        };
        in_parallel(0..level.size.width.div_ceil(TILE), tile, write, Ok)?;
        let level = &mut self.levels[index];
        level.written += 1;
        let kept = level.written * TILE - OVERLAP;
        while level.first < kept && level.rows.pop_front().is_some() {
            level.first += 1;
        }
        Ok(())
    }
}

/// Two rows as one of half the width: the means of four pixels, of two at an odd end. Colours count as much as they can be
/// seen.
fn halved(above: &[u16], below: &[u16], channels: Channels) -> Vec<u16> {
    let count = channels.count();
    let pixels = above.chunks(2 * count).zip(below.chunks(2 * count));
    let mean = |(above, below): (&[u16], &[u16])| {
        let last = above.len() - count;
        let four = [&above[..count], &above[last..], &below[..count], &below[last..]];
        let mut pixel = [0; 4];
        let opacity = |pixel: &[u16]| if channels.has_alpha() { u64::from(pixel[count - 1]) } else { 1 };
        let seen: u64 = four.iter().map(|pixel| opacity(pixel)).sum();
        for channel in 0..count {
            let is_opacity = channels.has_alpha() && channel == count - 1;
            // What cannot be seen at all is averaged as it is.
            let weight = |pixel: &[u16]| if is_opacity || seen == 0 { 1 } else { opacity(pixel) };
            let sum: u64 = four.iter().map(|pixel| weight(pixel) * u64::from(pixel[channel])).sum();
            let all: u64 = four.iter().map(|pixel| weight(pixel)).sum();
            pixel[channel] = ((sum + all / 2) / all) as u16;
        }
        pixel.into_iter().take(count)
    };
    pixels.flat_map(mean).collect()
}

#[cfg(test)]
mod tests;
