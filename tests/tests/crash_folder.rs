//! A folder in memory that crashes when told to, and then has lost what a power cut would.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard};

use clarifier_raster::{ByteStore, Folder};

/// A named store: what is safe, and what was written since.
#[derive(Debug, Clone, Default)]
struct Entry {
    /// None if even the name is not safe yet.
    safe: Option<Vec<u8>>,
    now: Vec<u8>,
    /// Writes since the last flush.
    writes: Vec<(usize, Vec<u8>)>,
}

#[derive(Debug, Default)]
struct State {
    entries: BTreeMap<String, Entry>,
    /// Calls that are still answered.
    left: usize,
    calls: usize,
    /// The most bytes that its stores had, without what is replaced as a whole.
    peak: u64,
    /// From the first call that was not answered.
    is_off: bool,
    /// Removed names may come back.
    removed: BTreeMap<String, Vec<u8>>,
    random: u64,
}

/// Named stores; a clone is the same folder.
#[derive(Debug, Clone, Default)]
pub struct CrashFolder(Arc<Mutex<State>>);

impl State {
    /// splitmix64.
    fn random(&mut self) -> u64 {
        self.random = self.random.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.random;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    fn coin(&mut self) -> bool {
        self.random() & 1 == 0
    }

    fn call(&mut self) -> io::Result<()> {
        self.calls += 1;
        match self.left.checked_sub(1) {
            Some(left) => self.left = left,
            None => {
                self.is_off = true;
                return Err(io::Error::other("the power is off"));
            }
        }
        Ok(())
    }

    /// Of the writes since the last flush some arrived, in any order, and some in part.
    fn torn(&mut self, entry: &Entry) -> Vec<u8> {
        let mut bytes = entry.safe.clone().unwrap_or_else(|| vec![0; entry.now.len()]);
        bytes.resize(entry.now.len(), 0);
        for (at, written) in &entry.writes {
            let kept = match self.random() % 3 {
                0 => 0,
                1 => written.len(),
                _ => (self.random() % (written.len() as u64 + 1)) as usize,
            };
            bytes[*at..at + kept].copy_from_slice(&written[..kept]);
        }
        bytes
    }
}

impl CrashFolder {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    /// Answer so many calls from now on, and no more.
    pub fn crash_after(&self, calls: usize) {
        self.state().left = calls;
    }

    /// Calls that came.
    pub fn calls(&self) -> usize {
        self.state().calls
    }

    /// The power is back: what was not flushed is torn.
    pub fn after_power_cut(&self, seed: u64) {
        let mut state = self.state();
        state.random = seed;
        state.is_off = false;
        let entries = std::mem::take(&mut state.entries);
        for (name, entry) in entries {
            let gone = entry.safe.is_none() && state.coin();
            let bytes = state.torn(&entry);
            if !gone {
                let entry = Entry { safe: Some(bytes.clone()), now: bytes, writes: Vec::new() };
                state.entries.insert(name, entry);
            }
        }
        for (name, bytes) in std::mem::take(&mut state.removed) {
            if state.coin() && !state.entries.contains_key(&name) {
                let entry = Entry { safe: Some(bytes.clone()), now: bytes, writes: Vec::new() };
                state.entries.insert(name, entry);
            }
        }
    }

    /// The most bytes that its stores had at once.
    pub fn peak(&self) -> u64 {
        self.state().peak
    }

    /// All names and bytes.
    pub fn contents(&self) -> BTreeMap<String, Vec<u8>> {
        self.state().entries.iter().map(|(name, entry)| (name.clone(), entry.now.clone())).collect()
    }

    /// A folder of these.
    pub fn of(contents: BTreeMap<String, Vec<u8>>) -> Self {
        let folder = Self::default();
        folder.crash_after(usize::MAX);
        for (name, bytes) in contents {
            folder.replace(&name, &bytes).unwrap();
        }
        folder
    }
}

struct Store {
    folder: CrashFolder,
    name: String,
}

impl ByteStore for Store {
    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<()> {
        let mut state = self.folder.state();
        state.call()?;
        let entry = state.entries.get(&self.name).ok_or(io::ErrorKind::NotFound)?;
        let part = entry.now.get(offset as usize..offset as usize + into.len());
        into.copy_from_slice(part.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let mut state = self.folder.state();
        state.call()?;
        let entry = state.entries.get_mut(&self.name).ok_or(io::ErrorKind::NotFound)?;
        let at = offset as usize;
        entry.now.get_mut(at..at + bytes.len()).ok_or(io::ErrorKind::UnexpectedEof)?.copy_from_slice(bytes);
        entry.writes.push((at, bytes.to_vec()));
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        let mut state = self.folder.state();
        state.call()?;
        if let Some(entry) = state.entries.get_mut(&self.name) {
            entry.safe = Some(entry.now.clone());
            entry.writes.clear();
        }
        Ok(())
    }
}

impl Folder for CrashFolder {
    fn create(&self, name: &str, length: u64) -> io::Result<Box<dyn ByteStore>> {
        let mut state = self.state();
        state.call()?;
        let entry = Entry { safe: None, now: vec![0; length as usize], writes: Vec::new() };
        state.entries.insert(name.into(), entry);
        let stores = state.entries.iter().filter(|(name, _)| *name != "record");
        let bytes: u64 = stores.map(|(_, entry)| entry.now.len() as u64).sum();
        state.peak = state.peak.max(bytes);
        Ok(Box::new(Store { folder: self.clone(), name: name.into() }))
    }

    fn open(&self, name: &str) -> io::Result<Option<(Box<dyn ByteStore>, u64)>> {
        let mut state = self.state();
        state.call()?;
        let store = Store { folder: self.clone(), name: name.into() };
        Ok(state.entries.get(name).map(|entry| (Box::new(store) as _, entry.now.len() as u64)))
    }

    fn replace(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        let mut state = self.state();
        // The power may go before or after.
        let was_on = !state.is_off;
        let before = state.call();
        if before.is_ok() || (was_on && state.coin()) {
            let entry = Entry { safe: Some(bytes.to_vec()), now: bytes.to_vec(), writes: Vec::new() };
            state.entries.insert(name.into(), entry);
        }
        before
    }

    fn read(&self, name: &str) -> io::Result<Option<Vec<u8>>> {
        let mut state = self.state();
        state.call()?;
        Ok(state.entries.get(name).map(|entry| entry.now.clone()))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut state = self.state();
        state.call()?;
        if let Some(entry) = state.entries.remove(name) {
            state.removed.insert(name.into(), entry.now);
        }
        Ok(())
    }

    fn names(&self) -> io::Result<Vec<String>> {
        let mut state = self.state();
        state.call()?;
        Ok(state.entries.keys().cloned().collect())
    }
}
