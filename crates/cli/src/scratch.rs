//! Where pictures are kept while they are worked on: small ones in memory, others on a disk that has room.

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use clarifier_raster::StoreKind;
use clarifier_tile::Size;

use crate::job::Request;

/// Working copies up to this many bytes stay in memory.
const COPIES_IN_MEMORY: u64 = 2 << 30;
/// An input of this many bytes and less, likewise.
const INPUT_IN_MEMORY: u64 = 512 << 20;
/// Bytes of a pixel of an input before it is known what it has: RGB of 16 bits.
const BYTES_PER_PIXEL: u64 = 6;

impl Request {
    /// Whether working copies of so many bytes are kept on a disk: they are large, or would take most of the memory that
    /// the user allows.
    pub fn copies_on_disk(&self, bytes: u64) -> bool {
        bytes > self.memory_limit.map_or(COPIES_IN_MEMORY, |limit| COPIES_IN_MEMORY.min(limit / 2))
    }

    /// Where working copies of so many bytes go. `output` is the result's file.
    ///
    /// # Errors
    /// If no disk has room for them.
    pub fn scratch(&self, bytes: u64, output: &Path) -> Result<StoreKind> {
        match self.copies_on_disk(bytes) {
            false => Ok(StoreKind::Memory),
            true => self.disk(bytes, output).map(StoreKind::File),
        }
    }

    /// Where an input of this size goes.
    ///
    /// # Errors
    /// If no disk has room for it.
    pub fn input_store(&self, size: Size, output: &Path) -> Result<StoreKind> {
        let bytes = size.area() * BYTES_PER_PIXEL;
        let most = self.memory_limit.map_or(INPUT_IN_MEMORY, |limit| INPUT_IN_MEMORY.min(limit / 4));
        if bytes <= most {
            return Ok(StoreKind::Memory);
        }
        self.disk(bytes, output).map(StoreKind::File)
    }

    /// The first of these folders that has room: the work folder if there is one and it is this process's, else the system's for temporary files,
    /// else the result's. A disk that does not say is trusted.
    fn disk(&self, bytes: u64, output: &Path) -> Result<PathBuf> {
        let beside = output.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let folders = match &self.work_dir {
            Some(folder) if !self.follows => vec![folder.clone()],
            _ => vec![std::env::temp_dir(), beside.to_owned()],
        };
        let free: Vec<_> =
            folders.iter().map(|folder| fs4::available_space(folder).unwrap_or(u64::MAX)).collect();
        match folders.iter().zip(&free).find(|(_, free)| **free >= bytes) {
            Some((folder, _)) => Ok(folder.clone()),
            None => bail!(
                "working copies of the picture take {} MB on a disk, and {}; --work-dir takes a folder on another disk",
                bytes.div_ceil(1_000_000),
                folders
                    .iter()
                    .zip(free)
                    .map(|(folder, free)| format!("{} has {} MB free", folder.display(), free / 1_000_000))
                    .collect::<Vec<_>>()
                    .join(", ")
            ),
        }
    }
}
