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

pub(crate) fn write_whole(
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
    let renamed = match overwrite {
        true => file.persist(path),
        false => file.persist_noclobber(path).or_else(|error| match error.error.kind() {
            io::ErrorKind::AlreadyExists => Err(error),
            // Some file systems (exFAT) cannot rename only where there is nothing.
            _ if path.exists() => Err(error),
            _ => error.file.persist(path),
        }),
    };
    renamed.map_err(|e| match e.error.kind() {
        io::ErrorKind::AlreadyExists => io::Error::new(e.error.kind(), "it exists already"),
        _ => e.error,
    })?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use clarifier_tile::Size;

    use super::*;
    use crate::{Channels, Depth, StoreKind};

    fn picture(width: u32) -> Raster {
        Raster::new(&StoreKind::Memory, Size::new(width, 2), Channels::Rgb, Depth::Eight).unwrap()
    }

    fn names(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }

    #[test]
    fn a_saved_file_is_whole_and_an_ordinary_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("it.png");
        save(&picture(3), &path, Format::Png, &EncodeOptions::default(), false).unwrap();
        assert_eq!(crate::open(&path, &StoreKind::Memory).unwrap().raster.size(), Size::new(3, 2));
        assert_eq!(names(folder.path()), ["it.png"]);
        let ordinary = folder.path().join("ordinary");
        fs::write(&ordinary, b"").unwrap();
        let permissions = |path: &Path| fs::metadata(path).unwrap().permissions();
        assert_eq!(permissions(&path), permissions(&ordinary));
    }

    #[test]
    fn an_existing_file_is_replaced_only_if_asked() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("it.png");
        fs::write(&path, b"mine").unwrap();
        let error = save(&picture(3), &path, Format::Png, &EncodeOptions::default(), false).unwrap_err();
        assert!(error.to_string().contains("it exists already"), "{error}");
        assert_eq!((fs::read(&path).unwrap(), names(folder.path()).len()), (b"mine".to_vec(), 1));
        save(&picture(3), &path, Format::Png, &EncodeOptions::default(), true).unwrap();
        assert!(fs::read(&path).unwrap().len() > 4);
    }

    #[test]
    fn a_failure_leaves_nothing_and_changes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("it.jpg");
        fs::write(&path, b"mine").unwrap();
        let error = save(&picture(70_000), &path, Format::Jpeg, &EncodeOptions::default(), true).unwrap_err();
        assert!(error.to_string().contains("it.jpg"), "{error}");
        assert_eq!((fs::read(&path).unwrap(), names(folder.path()).len()), (b"mine".to_vec(), 1));
        let nowhere = folder.path().join("no/such/folder.jpg");
        save(&picture(3), &nowhere, Format::Jpeg, &EncodeOptions::default(), true).unwrap_err();
    }
}
