//! The record of what a run has done, as the process that keeps it writes it.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use clarifier_raster::{Channels, Depth, Folder, Raster};
use clarifier_tile::Size;

use super::JournalError;
use super::record::{At, NAME, Record, Whole};
use super::values::{STATE, Stored, Values};
use crate::{Error, Phase};

/// What pictures' stores' names begin with.
pub(super) const PICTURE: &str = "picture-";

/// A working picture's pixels.
pub(super) const KIND: (Channels, Depth) = (Channels::Rgb, Depth::Sixteen);

/// The name of a picture's store.
pub(super) fn store(name: &str) -> String {
    format!("{PICTURE}{name}")
}

/// Of a working picture.
pub(super) fn bytes(size: Size) -> u64 {
    size.area() * (KIND.0.count() * KIND.1.bytes()) as u64
}

/// The record of a run, and where it is written.
pub(super) struct Kept {
    pub folder: Arc<dyn Folder>,
    pub clock: Rc<dyn Fn() -> Duration>,
    pub interval: Duration,
    pub record: Record,
    /// When it was written last.
    pub written: Duration,
    /// Stores that no record names any more, to be removed as soon as that can be done.
    pub leftover: Vec<String>,
    /// The stage that is at work, from 0, and how many there are; none for what comes after them.
    pub stage: Option<(usize, usize)>,
}

impl Kept {
    pub fn is_due(&mut self, phase: Phase, done: usize, total: usize) -> bool {
        self.stand(phase, done, total);
        (self.clock)().saturating_sub(self.written) >= self.interval
    }

    pub fn stand(&mut self, phase: Phase, done: usize, total: usize) {
        if let Some((stage, stages)) = self.stage {
            self.record.at = Some(At { stage, stages, phase, done, total });
        }
    }

    /// Enter a picture that is complete.
    pub fn take(&mut self, name: &str, picture: &mut Raster) -> Result<(), Error> {
        picture.flush()?;
        let Size { width, height } = picture.size();
        let whole = Whole { width, height, sum: picture.checksum(picture.area())? };
        self.record.pictures.insert(name.to_owned(), whole);
        self.record.partial = None;
        Ok(())
    }

    pub fn forget(&mut self, is_needless: impl Fn(&str) -> bool) {
        self.record.pictures.retain(|name, _| !is_needless(name));
        self.record.values.retain(|name, _| !is_needless(name));
    }

    pub fn store(&mut self, values: Values<'_>) -> Result<Stored, JournalError> {
        self.record.states += 1;
        values.store(&*self.folder, format!("{STATE}{}", self.record.states))
    }

    /// All stores that the record names.
    pub fn named(&self) -> Vec<String> {
        let Record { pictures, values, partial, .. } = &self.record;
        let partial_picture = partial.iter().map(|partial| store(&partial.of));
        let partial_values = partial.iter().flat_map(|partial| partial.values.values());
        let states = values.values().chain(partial_values).map(|stored| stored.store.clone());
        pictures.keys().map(|name| store(name)).chain(partial_picture).chain(states).collect()
    }

    /// Write the record, and then remove what only the old one named.
    pub fn write(&mut self) -> Result<(), JournalError> {
        self.folder.replace(NAME, &self.record.to_bytes())?;
        self.written = (self.clock)();
        let named = self.named();
        let ours = self.folder.names()?.into_iter();
        self.leftover = ours
            .filter(|name| (name.starts_with(PICTURE) || name.starts_with(STATE)) && !named.contains(name))
            .collect();
        self.sweep();
        Ok(())
    }

    /// Remove what is left over. Where a store that is still open cannot be removed, it goes the next time.
    pub fn sweep(&mut self) {
        for name in std::mem::take(&mut self.leftover) {
            let _ = self.folder.remove(&name);
        }
    }
}
