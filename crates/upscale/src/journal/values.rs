//! Numbers in stores of their own, each written once.

use clarifier_raster::Folder;
use serde::{Deserialize, Serialize};

use super::JournalError;

/// What their stores' names begin with.
pub const STATE: &str = "state-";
/// Bytes converted at once.
const AT_ONCE: usize = 1 << 20;

/// A store of numbers as the record names it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Stored {
    pub store: String,
    /// Bytes.
    pub length: u64,
    /// Checksum of all of them.
    pub sum: u32,
}

/// Numbers, little-endian in the store.
#[derive(Clone, Copy)]
pub enum Values<'a> {
    F32(&'a [f32]),
    /// One list after the other.
    F64(&'a [Vec<f64>]),
    /// What was kept before under the same key.
    Same,
}

impl Values<'_> {
    fn length(&self) -> u64 {
        match self {
            Self::F32(values) => 4 * values.len() as u64,
            Self::F64(lists) => lists.iter().map(|list| 8 * list.len() as u64).sum(),
            Self::Same => 0,
        }
    }

    /// Give `take` all bytes, some at a time.
    fn bytes<E>(&self, mut take: impl FnMut(&[u8]) -> Result<(), E>) -> Result<(), E> {
        let mut bytes = Vec::new();
        match self {
            Self::F32(values) => {
                for part in values.chunks(AT_ONCE / 4) {
                    bytes.clear();
                    part.iter().for_each(|value| bytes.extend_from_slice(&value.to_le_bytes()));
                    take(&bytes)?;
                }
            }
            Self::F64(lists) => {
                for part in lists.iter().flat_map(|list| list.chunks(AT_ONCE / 8)) {
                    bytes.clear();
                    part.iter().for_each(|value| bytes.extend_from_slice(&value.to_le_bytes()));
                    take(&bytes)?;
                }
            }
            Self::Same => {}
        }
        Ok(())
    }

    /// Write and flush them under `store`.
    pub fn store(&self, folder: &dyn Folder, store: String) -> Result<Stored, JournalError> {
        let length = self.length();
        let mut into = folder.create(&store, length)?;
        let (mut sum, mut at) = (crc32fast::Hasher::new(), 0);
        self.bytes(|bytes| {
            sum.update(bytes);
            into.write_at(at, bytes)?;
            at += bytes.len() as u64;
            Ok::<_, std::io::Error>(())
        })?;
        into.flush()?;
        Ok(Stored { store, length, sum: sum.finalize() })
    }
}

impl Stored {
    fn bytes(&self, folder: &dyn Folder) -> Result<Vec<u8>, JournalError> {
        let damaged = |what: &str| JournalError::Damaged(format!("{} {what}", self.store));
        let (store, length) = folder.open(&self.store)?.ok_or_else(|| damaged("is gone"))?;
        if length != self.length {
            return Err(damaged(&format!("has {length} bytes and not {}", self.length)));
        }
        let mut bytes = vec![0; length as usize];
        store.read_at(0, &mut bytes)?;
        if crc32fast::hash(&bytes) != self.sum {
            return Err(damaged("does not have its checksum"));
        }
        Ok(bytes)
    }

    /// Read them back: `count` of them, if given.
    pub fn f32(&self, folder: &dyn Folder, count: Option<usize>) -> Result<Vec<f32>, JournalError> {
        let bytes = self.bytes(folder)?;
        if bytes.len() % 4 != 0 || count.is_some_and(|count| bytes.len() != 4 * count) {
            return Err(JournalError::Damaged(format!("{} has another size than needed", self.store)));
        }
        Ok(bytes.as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect())
    }

    /// Read lists of `count` back.
    pub fn f64(&self, folder: &dyn Folder, count: usize) -> Result<Vec<Vec<f64>>, JournalError> {
        let bytes = self.bytes(folder)?;
        if count == 0 || bytes.len() % (8 * count) != 0 {
            return Err(JournalError::Damaged(format!("{} has another size than needed", self.store)));
        }
        let list =
            |bytes: &[u8]| bytes.as_chunks().0.iter().map(|bytes| f64::from_le_bytes(*bytes)).collect();
        Ok(bytes.chunks_exact(8 * count).map(list).collect())
    }
}
