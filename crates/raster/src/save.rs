//! A file appears under its name only when it is whole.

use std::fs::File;
use std::io::{self, BufWriter, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

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

/// How a file gets its place.
#[derive(Debug, Clone, Copy, Default)]
pub struct SaveOptions<'a> {
    /// An existing file is replaced; else it is an error.
    pub overwrite: bool,
    /// Once set, by another thread, the file is not wanted any more: [`EncodeError::Stopped`].
    pub stop: Option<&'a AtomicBool>,
}

impl SaveOptions<'_> {
    /// Replace what is there, and finish.
    pub const REPLACING: Self = Self { overwrite: true, stop: None };

    /// An error once the file is not wanted any more.
    pub(crate) fn check(&self) -> Result<(), EncodeError> {
        match self.stop {
            Some(stop) if stop.load(Ordering::Relaxed) => Err(EncodeError::Stopped),
            _ => Ok(()),
        }
    }
}

/// Write `raster` to `path` in `format`: beside it first, renamed when whole.
///
/// # Errors
/// [`SaveError`]; then no file was made or changed.
pub fn save(
    raster: &Raster,
    path: &Path,
    format: Format,
    options: &EncodeOptions,
    how: SaveOptions,
) -> Result<(), SaveError> {
    write_whole(path, how, |file| {
        let mut writer = Stoppable { writer: BufWriter::with_capacity(1 << 20, file), how };
        // However the encoder calls the error of its writer.
        encode(raster, &mut writer, format, options).or_else(|error| how.check().and(Err(error)))?;
        Ok(writer.flush()?)
    })
    .map_err(|source| SaveError { path: path.to_owned(), source })
}

/// A writer that fails once the file is not wanted any more.
struct Stoppable<'a, W> {
    writer: W,
    how: SaveOptions<'a>,
}

impl<W: Write> Write for Stoppable<'_, W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.how.check().map_err(io::Error::other)?;
        self.writer.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.writer.flush()
    }
}

impl<W: Seek> Seek for Stoppable<'_, W> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.writer.seek(to)
    }
}

pub(crate) fn write_whole(
    path: &Path,
    how: SaveOptions,
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
    how.check()?;
    let renamed = match how.overwrite {
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
        save(&picture(3), &path, Format::Png, &EncodeOptions::default(), SaveOptions::default()).unwrap();
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
        let error = save(&picture(3), &path, Format::Png, &EncodeOptions::default(), SaveOptions::default())
            .unwrap_err();
        assert!(error.to_string().contains("it exists already"), "{error}");
        assert_eq!((fs::read(&path).unwrap(), names(folder.path()).len()), (b"mine".to_vec(), 1));
        save(&picture(3), &path, Format::Png, &EncodeOptions::default(), SaveOptions::REPLACING).unwrap();
        assert!(fs::read(&path).unwrap().len() > 4);
    }

    #[test]
    fn a_failure_leaves_nothing_and_changes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("it.jpg");
        fs::write(&path, b"mine").unwrap();
        let error =
            save(&picture(70_000), &path, Format::Jpeg, &EncodeOptions::default(), SaveOptions::REPLACING)
                .unwrap_err();
        assert!(error.to_string().contains("it.jpg"), "{error}");
        assert_eq!((fs::read(&path).unwrap(), names(folder.path()).len()), (b"mine".to_vec(), 1));
        let nowhere = folder.path().join("no/such/folder.jpg");
        save(&picture(3), &nowhere, Format::Jpeg, &EncodeOptions::default(), SaveOptions::REPLACING)
            .unwrap_err();
    }

    #[test]
    fn a_file_that_is_not_wanted_any_more_leaves_nothing_and_changes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        for format in [Format::Png, Format::Jpeg, Format::Tiff, Format::WebP] {
            let path = folder.path().join("it");
            fs::write(&path, b"mine").unwrap();
            let stop = AtomicBool::new(true);
            let how = SaveOptions { stop: Some(&stop), ..SaveOptions::REPLACING };
            let error = save(&picture(3), &path, format, &EncodeOptions::default(), how).unwrap_err();
            assert!(matches!(error.source, EncodeError::Stopped), "{error}");
            assert_eq!((fs::read(&path).unwrap(), names(folder.path()).len()), (b"mine".to_vec(), 1));
            stop.store(false, Ordering::Relaxed);
            save(&picture(3), &path, format, &EncodeOptions::default(), how).unwrap();
        }
    }
}
