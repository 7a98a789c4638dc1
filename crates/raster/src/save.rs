//! A file appears under its name only when it is whole.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

use crate::{EncodeError, EncodeOptions, Format, Raster, encode};

/// Why a picture could not be saved. Nothing of it is left on the disk.
#[derive(Debug, thiserror::Error)]
#[error("{}: cannot be written: {source}", path.display())]
pub struct SaveError {
    /// The output.
    pub path: PathBuf,
    /// Why.
    pub source: EncodeError,
}

/// Write `raster` to `path` in `format`: beside it first, renamed when whole. With `overwrite` an
/// existing file is replaced, else it is an error.
///
/// # Errors
/// [`SaveError`]; then no file was made or changed.
pub fn save(
    raster: &Raster,
    path: &Path,
    format: Format,
    options: &EncodeOptions,
    overwrite: bool,
) -> Result<(), SaveError> {
    write_whole(path, overwrite, |file| {
        let mut writer = BufWriter::with_capacity(1 << 20, file);
        encode(raster, &mut writer, format, options)?;
        Ok(writer.flush()?)
    })
    .map_err(|source| SaveError { path: path.to_owned(), source })
}

fn write_whole(
    path: &Path,
    overwrite: bool,
    write: impl FnOnce(&mut NamedTempFile) -> Result<(), EncodeError>,
) -> Result<(), EncodeError> {
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    // Temporary files are private by default; this one becomes an ordinary file of the user's, with
    // ordinary permissions.
    let mut file =
        tempfile::Builder::new().prefix(".clarifier-").make_in(folder, |path| File::create_new(path))?;
    write(&mut file)?;
    // A full disk may only show here.
    file.as_file().sync_all()?;
    let renamed = if overwrite { file.persist(path) } else { file.persist_noclobber(path) };
    renamed.map_err(|e| match e.error.kind() {
        io::ErrorKind::AlreadyExists => io::Error::new(e.error.kind(), "it exists already"),
        _ => e.error,
    })?;
    Ok(())
}
