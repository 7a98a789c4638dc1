//! Where a picture's bytes are kept.

use std::fmt;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::pool::SCRATCH;

/// A fixed number of bytes, read and written at any position.
pub trait ByteStore: Send {
    /// Fill `into` with the bytes at `offset`.
    ///
    /// # Errors
    /// If the device fails, or the range is outside the store.
    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<()>;

    /// Write `bytes` at `offset`.
    ///
    /// # Errors
    /// If the device fails or is full, or the range is outside the store.
    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()>;

    /// When this returns, all that was written will be there again after a crash or a power cut, if the store
    /// is of a kind that outlives the program.
    ///
    /// # Errors
    /// If the device fails or is full.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Named stores that outlive the program: a folder on a disk, or of a browser's own files.
pub trait Folder: fmt::Debug + Send + Sync {
    /// A store of `length` zeros under `name`, in place of what was there.
    ///
    /// # Errors
    /// If the device fails or has no room.
    fn create(&self, name: &str, length: u64) -> io::Result<Box<dyn ByteStore>>;

    /// The store under `name`, and its length, if there is one.
    ///
    /// # Errors
    /// If the device fails.
    fn open(&self, name: &str) -> io::Result<Option<(Box<dyn ByteStore>, u64)>>;

    /// Keep `bytes` under `name`: a reader finds the old ones or these, never a part, whatever happens meanwhile.
    ///
    /// # Errors
    /// If the device fails or has no room; then the old ones are there.
    fn replace(&self, name: &str, bytes: &[u8]) -> io::Result<()>;

    /// What [`Self::replace`] keeps under `name`, if anything.
    ///
    /// # Errors
    /// If the device fails.
    fn read(&self, name: &str) -> io::Result<Option<Vec<u8>>>;

    /// Forget `name`, if it is there.
    ///
    /// # Errors
    /// If the device fails.
    fn remove(&self, name: &str) -> io::Result<()>;

    /// All names that are there, in no order.
    ///
    /// # Errors
    /// If the device fails.
    fn names(&self) -> io::Result<Vec<String>>;
}

/// `length` zeros, or an error where memory does not suffice.
pub(crate) fn zeros(length: u64) -> io::Result<Vec<u8>> {
    let too_much =
        || io::Error::new(io::ErrorKind::OutOfMemory, format!("no memory for a picture of {length} bytes"));
    let length = usize::try_from(length).map_err(|_| too_much())?;
    let mut bytes = Vec::new();
    bytes.try_reserve_exact(length).map_err(|_| too_much())?;
    bytes.resize(length, 0);
    Ok(bytes)
}

/// Bytes in memory.
pub struct MemoryStore(Vec<u8>);

impl MemoryStore {
    /// `length` zeros.
    ///
    /// # Errors
    /// If memory does not suffice.
    pub fn new(length: u64) -> io::Result<Self> {
        zeros(length).map(Self)
    }

    fn range(&self, offset: u64, length: usize) -> io::Result<std::ops::Range<usize>> {
        let outside = || io::Error::new(io::ErrorKind::UnexpectedEof, "outside the picture's bytes");
        let start = usize::try_from(offset).map_err(|_| outside())?;
        let end = start.checked_add(length).filter(|end| *end <= self.0.len()).ok_or_else(outside)?;
        Ok(start..end)
    }
}

impl ByteStore for MemoryStore {
    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<()> {
        into.copy_from_slice(&self.0[self.range(offset, into.len())?]);
        Ok(())
    }

    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let range = self.range(offset, bytes.len())?;
        self.0[range].copy_from_slice(bytes);
        Ok(())
    }
}

/// Bytes in a file without a name, which the system removes when the store is dropped.
pub struct FileStore(File);

impl FileStore {
    /// `length` zeros in a file in `folder`.
    ///
    /// # Errors
    /// If the file cannot be made.
    pub fn new(folder: &std::path::Path, length: u64) -> io::Result<Self> {
        let file = tempfile::tempfile_in(folder)?;
        file.set_len(length)?;
        Ok(Self(file))
    }
}

impl ByteStore for FileStore {
    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<()> {
        let mut file = &self.0;
        file.seek(SeekFrom::Start(offset))?;
        file.read_exact(into)
    }

    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.0.seek(SeekFrom::Start(offset))?;
        self.0.write_all(bytes)
    }
}

/// A store of a folder that goes when it is dropped.
struct ScratchStore {
    /// None only while it is dropped.
    store: Option<Box<dyn ByteStore>>,
    folder: Arc<dyn Folder>,
    name: String,
}

impl ScratchStore {
    fn new(folder: &Arc<dyn Folder>, length: u64) -> io::Result<Self> {
        static MADE: AtomicU64 = AtomicU64::new(0);
        let name = format!("{SCRATCH}{}", MADE.fetch_add(1, Ordering::Relaxed));
        let store = Some(folder.create(&name, length)?);
        Ok(Self { store, folder: folder.clone(), name })
    }

    fn gone() -> io::Error {
        io::ErrorKind::NotFound.into()
    }
}

impl ByteStore for ScratchStore {
    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<()> {
        self.store.as_ref().ok_or_else(Self::gone)?.read_at(offset, into)
    }

    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.store.as_mut().ok_or_else(Self::gone)?.write_at(offset, bytes)
    }
}

impl Drop for ScratchStore {
    fn drop(&mut self) {
        self.store = None;
        // What cannot be removed now is found by its name later.
        let _ = self.folder.remove(&self.name);
    }
}

/// Which store a new picture gets.
#[derive(Debug, Clone)]
pub enum StoreKind {
    /// Memory.
    Memory,
    /// A nameless file in this folder.
    File(PathBuf),
    /// A store `scratch-<number>` of this folder, removed with the picture.
    Folder(Arc<dyn Folder>),
}

impl StoreKind {
    /// A store of `length` zeros.
    ///
    /// # Errors
    /// If memory does not suffice or the file cannot be made.
    pub fn create(&self, length: u64) -> io::Result<Box<dyn ByteStore>> {
        Ok(match self {
            Self::Memory => Box::new(MemoryStore::new(length)?),
            Self::File(folder) => Box::new(FileStore::new(folder, length)?),
            Self::Folder(folder) => Box::new(ScratchStore::new(folder, length)?),
        })
    }

    /// A store of these bytes.
    pub(crate) fn filled(&self, bytes: Vec<u8>) -> io::Result<Box<dyn ByteStore>> {
        if matches!(self, Self::Memory) {
            return Ok(Box::new(MemoryStore(bytes)));
        }
        let mut store = self.create(bytes.len() as u64)?;
        store.write_at(0, &bytes)?;
        Ok(store)
    }
}
