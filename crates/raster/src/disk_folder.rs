//! A folder of a disk as named stores, for one process at a time.

use std::fmt;
use std::fs::{self, File, TryLockError};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::{ByteStore, Folder};

/// The file that the process which has the folder holds locked. The system unlocks it when the process ends, however.
const LOCK: &str = "lock";
/// What [`Folder::replace`] writes first.
const HALF: &str = ".half";
/// Somebody may only have looked whether the lock is held.
const TRIES: u32 = 5;
const BETWEEN_TRIES: Duration = Duration::from_millis(30);

/// Why a folder could not be taken.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    /// Another process has it.
    #[error("{}: another process is at work in it; wait until it has ended, or end it", .0.display())]
    InUse(PathBuf),
    /// The device failed.
    #[error("{}: {source}", path.display())]
    Device {
        /// The folder.
        path: PathBuf,
        /// The system's words.
        source: io::Error,
    },
}

/// A folder of a disk: its stores are plain files. Nobody else has it while this lives.
pub struct DiskFolder {
    path: PathBuf,
    /// Locked.
    _lock: File,
}

impl fmt::Debug for DiskFolder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.path.fmt(f)
    }
}

impl DiskFolder {
    /// Take the folder at `path`, which is made if it is not there.
    ///
    /// # Errors
    /// [`FolderError`].
    pub fn open(path: &Path) -> Result<Self, FolderError> {
        let failed = |source| FolderError::Device { path: path.to_owned(), source };
        for attempt in 0..TRIES {
            if attempt > 0 {
                std::thread::sleep(BETWEEN_TRIES);
            }
            if !path.is_dir() {
                fs::create_dir_all(path).map_err(failed)?;
                path.parent().map_or(Ok(()), sync).map_err(failed)?;
            }
            let name = path.join(LOCK);
            let opened = File::options().create(true).truncate(false).write(true).open(&name);
            let lock = match opened {
                Ok(lock) => lock,
                // Whoever had it has just deleted it.
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(failed(error)),
            };
            match lock.try_lock() {
                // Deleted between opening and locking, it would lock nobody out.
                Ok(()) if name.exists() => return Ok(Self { path: path.to_owned(), _lock: lock }),
                Ok(()) | Err(TryLockError::WouldBlock) => {}
                Err(TryLockError::Error(error)) => return Err(failed(error)),
            }
        }
        Err(FolderError::InUse(path.to_owned()))
    }

    /// Whether a process has the folder at `path`.
    pub fn is_in_use(path: &Path) -> bool {
        let lock = File::options().write(true).open(path.join(LOCK));
        lock.is_ok_and(|lock| matches!(lock.try_lock_shared(), Err(TryLockError::WouldBlock)))
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Remove it with all its stores. What lies in folders in it stays, and it with them.
    ///
    /// # Errors
    /// If the device fails.
    pub fn delete(self) -> io::Result<()> {
        for name in self.names()? {
            self.remove(&name)?;
        }
        let _ = fs::remove_file(self.path.join(HALF));
        fs::remove_file(self.path.join(LOCK))?;
        match fs::remove_dir(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => Ok(()),
            other => other,
        }
    }

    fn file(&self, name: &str) -> io::Result<PathBuf> {
        let plain = |c: char| c.is_ascii_alphanumeric() || ['-', '_', '.'].contains(&c);
        if name.starts_with('.') || name == LOCK || name.is_empty() || !name.chars().all(plain) {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, format!("{name:?} is no store's name")));
        }
        Ok(self.path.join(name))
    }
}

/// Make names that were given or taken away last. Where a folder cannot be opened (Windows), they last without.
fn sync(folder: &Path) -> io::Result<()> {
    File::open(folder).map_or(Ok(()), |folder| folder.sync_all())
}

impl Folder for DiskFolder {
    fn create(&self, name: &str, length: u64) -> io::Result<Box<dyn ByteStore>> {
        let file =
            File::options().read(true).write(true).create(true).truncate(true).open(self.file(name)?)?;
        file.set_len(length)?;
        Ok(Box::new(DiskStore { file, length, new_in: Some(self.path.clone()) }))
    }

    fn open(&self, name: &str) -> io::Result<Option<(Box<dyn ByteStore>, u64)>> {
        match File::options().read(true).write(true).open(self.file(name)?) {
            Ok(file) => {
                let length = file.metadata()?.len();
                Ok(Some((Box::new(DiskStore { file, length, new_in: None }), length)))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn replace(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        let (file, half) = (self.file(name)?, self.path.join(HALF));
        let written = || {
            let mut part = File::create(&half)?;
            part.write_all(bytes)?;
            part.sync_all()?;
            fs::rename(&half, &file)?;
            sync(&self.path)
        };
        written().inspect_err(|_| drop(fs::remove_file(&half)))
    }

    fn read(&self, name: &str) -> io::Result<Option<Vec<u8>>> {
        match fs::read(self.file(name)?) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            other => other.map(Some),
        }
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        match fs::remove_file(self.file(name)?) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            other => other,
        }
    }

    fn names(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.path)? {
            let entry = entry?;
            let name = entry.file_name().into_string().unwrap_or_default();
            if entry.file_type()?.is_file() && self.file(&name).is_ok() {
                names.push(name);
            }
        }
        Ok(names)
    }
}

/// A file of a [`DiskFolder`].
struct DiskStore {
    file: File,
    /// What is asked for beyond it is a mistake, and no reason to grow.
    length: u64,
    /// The folder that does not surely have its name yet.
    new_in: Option<PathBuf>,
}

impl DiskStore {
    fn at(&self, offset: u64, length: usize) -> io::Result<&File> {
        if offset.checked_add(length as u64).is_none_or(|end| end > self.length) {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "outside the picture's bytes"));
        }
        let mut file = &self.file;
        file.seek(SeekFrom::Start(offset))?;
        Ok(file)
    }
}

impl ByteStore for DiskStore {
    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<()> {
        self.at(offset, into.len())?.read_exact(into)
    }

    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.at(offset, bytes.len())?.write_all(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.sync_all()?;
        match self.new_in.take() {
            Some(folder) => sync(&folder),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stores_outlive_the_folder_that_made_them() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("a/b");
        let folder = DiskFolder::open(&path).unwrap();
        let mut store = folder.create("picture-1.x", 100).unwrap();
        store.write_at(98, &[7, 8]).unwrap();
        assert!(store.write_at(99, &[7, 8]).is_err() && store.write_at(u64::MAX, &[1]).is_err());
        store.flush().unwrap();
        folder.replace("record", b"one").unwrap();
        folder.replace("record", b"two").unwrap();
        drop((store, folder));
        let folder = DiskFolder::open(&path).unwrap();
        let (store, length) = folder.open("picture-1.x").unwrap().unwrap();
        let mut end = [0; 3];
        store.read_at(97, &mut end).unwrap();
        assert_eq!((length, end), (100, [0, 7, 8]));
        assert_eq!(folder.read("record").unwrap().unwrap(), b"two");
        let mut names = folder.names().unwrap();
        names.sort();
        assert_eq!(names, ["picture-1.x", "record"]);
        for bad in ["", "lock", ".half", "a/b", "..", "ü"] {
            assert!(folder.replace(bad, b"").is_err(), "{bad}");
        }
        assert!(folder.open("none").unwrap().is_none() && folder.read("none").unwrap().is_none());
        folder.remove("none").unwrap();
        drop(store);
        folder.delete().unwrap();
        assert!(!path.exists() && root.path().join("a").exists());
    }

    #[test]
    fn a_second_user_is_refused_until_the_first_has_gone() {
        let root = tempfile::tempdir().unwrap();
        assert!(!DiskFolder::is_in_use(root.path()));
        let first = DiskFolder::open(root.path()).unwrap();
        assert!(DiskFolder::is_in_use(root.path()));
        let message = DiskFolder::open(root.path()).unwrap_err().to_string();
        assert!(message.contains("another process is at work in it"), "{message}");
        drop(first);
        assert!(!DiskFolder::is_in_use(root.path()));
        DiskFolder::open(root.path()).unwrap();
    }
}
