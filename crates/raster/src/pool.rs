//! A folder of named stores in files that are open already, as a browser's worker has them: it can open files only while
//! it waits, and the engine reads and writes without waiting.

mod header;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use header::{Checksum, Header, Kind, SPACE};

use crate::{ByteStore, Folder};

/// Names of stores that nobody needs any more when the program that made them is gone begin so.
pub(crate) const SCRATCH: &str = "scratch-";
/// Bytes that are read at once where they are only looked at.
const PIECE: u64 = 1 << 20;

/// A file that is open. What is behind its end reads as zeros once it is made longer.
pub trait PoolFile: Send + Sync {
    /// Fill `into` with the bytes at `offset`.
    ///
    /// # Errors
    /// If the device fails, or the file ends before.
    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<()>;

    /// Write `bytes` at `offset`.
    ///
    /// # Errors
    /// If the device fails or is full.
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()>;

    /// Cut off, or make longer by zeros.
    ///
    /// # Errors
    /// If the device fails or is full.
    fn set_length(&self, length: u64) -> io::Result<()>;

    /// Bytes of it.
    ///
    /// # Errors
    /// If the device fails.
    fn length(&self) -> io::Result<u64>;

    /// When this returns, all that was written outlives a crash.
    ///
    /// # Errors
    /// If the device fails or is full.
    fn flush(&self) -> io::Result<()>;
}

/// A file of the pool, and what it holds: nothing if there is no header.
struct Entry {
    file: Arc<dyn PoolFile>,
    holds: Option<Header>,
    /// Whether stores that are open on it still may be used.
    valid: Arc<AtomicBool>,
}

impl Entry {
    fn free(&mut self) -> io::Result<()> {
        self.valid.store(false, Ordering::Relaxed);
        self.holds = None;
        self.file.set_length(0)
    }

    /// What the file holds, if it is whole.
    fn look(file: &dyn PoolFile) -> io::Result<Option<Header>> {
        if file.length()? < SPACE {
            return Ok(None);
        }
        let mut bytes = vec![0; SPACE as usize];
        file.read_at(0, &mut bytes)?;
        let Some(header) = Header::parse(&bytes) else { return Ok(None) };
        // Its contents are on the device before the header is, if the device keeps its promises.
        let whole = match header.kind {
            _ if file.length()? != SPACE + header.length => false,
            Kind::Store => true,
            Kind::Kept(expected) => checksum(file, header.length)? == expected,
        };
        Ok(whole.then_some(header))
    }
}

fn checksum(file: &dyn PoolFile, length: u64) -> io::Result<u64> {
    let mut sum = Checksum::default();
    let mut piece = vec![0; PIECE.min(length) as usize];
    for start in (0..length).step_by(PIECE as usize) {
        let piece = &mut piece[..PIECE.min(length - start) as usize];
        file.read_at(SPACE + start, piece)?;
        sum.add(piece);
    }
    Ok(sum.value())
}

/// Named stores in a pool of open files, each of which says in a header what it holds. There is no list that
/// could be torn: a header is only ever written to a file that is in no use, and of two files of one name the
/// one written later counts.
///
/// A store of a name that is given to another one, or forgotten, can no longer be used.
pub struct PoolFolder(Mutex<Vec<Entry>>);

impl fmt::Debug for PoolFolder {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "a folder of {} open files", self.lock().len())
    }
}

impl PoolFolder {
    /// What earlier programs left in these files, but for their scratch; empty files are room for more.
    ///
    /// # Errors
    /// If the device fails.
    pub fn new(files: Vec<Box<dyn PoolFile>>) -> io::Result<Self> {
        let folder = Self(Mutex::new(Vec::new()));
        folder.add(files)?;
        let mut entries = folder.lock();
        let mut newest = BTreeMap::<String, u64>::new();
        for header in entries.iter().filter_map(|entry| entry.holds.as_ref()) {
            let sequence = newest.entry(header.name.clone()).or_default();
            *sequence = header.sequence.max(*sequence);
        }
        for entry in entries.iter_mut() {
            if entry.holds.as_ref().is_some_and(|header| {
                header.name.starts_with(SCRATCH) || newest[&header.name] > header.sequence
            }) {
                entry.free()?;
            }
        }
        drop(entries);
        Ok(folder)
    }

    /// Room for more names: files that hold nothing yet.
    ///
    /// # Errors
    /// If the device fails.
    pub fn add(&self, files: Vec<Box<dyn PoolFile>>) -> io::Result<()> {
        let mut entries = self.lock();
        for file in files {
            let file: Arc<dyn PoolFile> = file.into();
            let holds = Entry::look(&*file)?;
            let mut entry = Entry { file, holds, valid: Arc::default() };
            if entry.holds.is_none() {
                entry.free()?;
            }
            entries.push(entry);
        }
        Ok(())
    }

    /// How many names there is room for.
    pub fn room(&self) -> usize {
        self.lock().iter().filter(|entry| entry.holds.is_none()).count()
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Entry>> {
        // Nobody can be in the middle of a change to it who panicked.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Have a free file hold `length` bytes, which `fill` writes, under `name`, and free what held it before.
    fn hold(
        &self,
        name: &str,
        length: u64,
        fill: impl FnOnce(&dyn PoolFile) -> io::Result<Kind>,
    ) -> io::Result<(Arc<dyn PoolFile>, Arc<AtomicBool>)> {
        let mut entries = self.lock();
        let sequence =
            entries.iter().filter_map(|e| e.holds.as_ref()).map(|h| h.sequence).max().unwrap_or(0) + 1;
        let before = position(&entries, name);
        let entry = entries
            .iter_mut()
            .find(|entry| entry.holds.is_none())
            .ok_or_else(|| io::Error::other("all files that the browser opened are in use"))?;
        let file = entry.file.clone();
        let made = fill(&*file).and_then(|kind| {
            let header = Header { sequence, kind, length, name: name.to_owned() };
            file.write_at(0, &header.bytes()?)?;
            file.flush()?;
            Ok(header)
        });
        match made {
            Ok(header) => entry.holds = Some(header),
            Err(error) => {
                // What is half there is of no use, and takes room.
                let _ = entry.free();
                return Err(error);
            }
        }
        entry.valid = Arc::new(AtomicBool::new(true));
        let valid = entry.valid.clone();
        if let Some(before) = before {
            entries[before].free()?;
        }
        Ok((file, valid))
    }
}

fn position(entries: &[Entry], name: &str) -> Option<usize> {
    entries.iter().position(|entry| entry.holds.as_ref().is_some_and(|header| header.name == name))
}

impl Folder for PoolFolder {
    fn create(&self, name: &str, length: u64) -> io::Result<Box<dyn ByteStore>> {
        let (file, valid) = self.hold(name, length, |file| {
            file.set_length(0)?;
            file.set_length(SPACE + length)?;
            Ok(Kind::Store)
        })?;
        Ok(Box::new(PoolStore { file, length, valid }))
    }

    fn open(&self, name: &str) -> io::Result<Option<(Box<dyn ByteStore>, u64)>> {
        let mut entries = self.lock();
        let Some(at) = position(&entries, name) else { return Ok(None) };
        let Entry { file, holds: Some(header), valid } = &mut entries[at] else { return Ok(None) };
        valid.store(true, Ordering::Relaxed);
        let store = PoolStore { file: file.clone(), length: header.length, valid: valid.clone() };
        Ok(Some((Box::new(store), header.length)))
    }

    fn replace(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        let length = bytes.len() as u64;
        let kept = self.hold(name, length, |file| {
            file.set_length(0)?;
            file.set_length(SPACE + length)?;
            file.write_at(SPACE, bytes)?;
            file.flush()?;
            let mut sum = Checksum::default();
            sum.add(bytes);
            Ok(Kind::Kept(sum.value()))
        });
        kept.map(drop)
    }

    fn read(&self, name: &str) -> io::Result<Option<Vec<u8>>> {
        let entries = self.lock();
        let Some(at) = position(&entries, name) else { return Ok(None) };
        let Entry { file, holds: Some(header), .. } = &entries[at] else { return Ok(None) };
        let mut bytes = crate::store::zeros(header.length)?;
        file.read_at(SPACE, &mut bytes)?;
        Ok(Some(bytes))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut entries = self.lock();
        position(&entries, name).map_or(Ok(()), |at| entries[at].free())
    }

    fn names(&self) -> io::Result<Vec<String>> {
        let entries = self.lock();
        Ok(entries.iter().filter_map(|entry| Some(entry.holds.as_ref()?.name.clone())).collect())
    }
}

/// A store in a file of the pool.
struct PoolStore {
    file: Arc<dyn PoolFile>,
    length: u64,
    valid: Arc<AtomicBool>,
}

impl PoolStore {
    fn check(&self, offset: u64, length: usize) -> io::Result<u64> {
        if !self.valid.load(Ordering::Relaxed) {
            return Err(io::ErrorKind::NotFound.into());
        }
        match offset.checked_add(length as u64) {
            Some(end) if end <= self.length => Ok(SPACE + offset),
            _ => Err(io::Error::new(io::ErrorKind::UnexpectedEof, "outside the picture's bytes")),
        }
    }
}

impl ByteStore for PoolStore {
    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<()> {
        self.file.read_at(self.check(offset, into.len())?, into)
    }

    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.file.write_at(self.check(offset, bytes.len())?, bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.check(0, 0)?;
        self.file.flush()
    }
}
