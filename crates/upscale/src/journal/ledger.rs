//! A run's hand on its journal: what is done already, and what has been done just now.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use clarifier_raster::{Channels, Depth, Folder, Raster, StoreKind};
use clarifier_tile::{Rect, Size};

use super::identity::{Identity, check};
use super::record::{At, NAME, Partial, Record, Whole};
use super::values::{STATE, Values};
use super::{Journal, JournalError};
use crate::team::{from_bytes, to_bytes};
use crate::{Error, Phase, Team};

/// What pictures' stores' names begin with.
pub const PICTURE: &str = "picture-";

/// Where a run's pictures are made and its progress is kept. Without a journal pictures are scratch and nothing is kept.
///
/// In a team rank 0 alone has it, and tells the others what it says; they make their pictures as scratch.
pub(crate) struct Ledger {
    scratch: StoreKind,
    team: Team,
    /// Whether rank 0 keeps anything.
    is_kept: bool,
    kept: Option<Kept>,
}

struct Kept {
    folder: Arc<dyn Folder>,
    clock: Rc<dyn Fn() -> Duration>,
    interval: Duration,
    record: Record,
    /// When it was written last.
    written: Duration,
    /// Stores that no record names any more, to be removed as soon as that can be done.
    leftover: Vec<String>,
    /// The stage that is at work, from 0, and how many there are; none for what comes after them.
    stage: Option<(usize, usize)>,
}

/// A unit of a phase that is done.
pub(crate) struct Unit<'a> {
    /// What is being made.
    pub of: &'a str,
    pub phase: Phase,
    /// With this one.
    pub done: usize,
    pub total: usize,
    /// Checksums of the picture's parts.
    pub sums: &'a [u32],
    /// The picture.
    pub picture: Option<&'a mut Raster>,
    /// What else is needed to go on after it. What was kept under the same key before is not written again.
    pub values: &'a [(String, Values<'a>)],
}

/// Bytes of a picture that rank 0 sends at once.
const AT_ONCE: u64 = 64 << 20;
/// A working picture's pixels.
const KIND: (Channels, Depth) = (Channels::Rgb, Depth::Sixteen);

fn store(name: &str) -> String {
    format!("{PICTURE}{name}")
}

impl Ledger {
    /// Of a run that keeps nothing.
    pub fn none(scratch: &StoreKind) -> Self {
        Self { scratch: scratch.clone(), team: Team::alone(), is_kept: false, kept: None }
    }

    /// What rank 0 has opened, for all of `team`.
    pub fn of_team(opened: Result<Self, Error>, team: &Team) -> Result<Self, Error> {
        let mut ledger = team.agree(opened)?;
        ledger.is_kept = team.told(|| Ok(vec![u8::from(ledger.is_kept)]))? == [1];
        ledger.team = team.clone();
        Ok(ledger)
    }

    /// Of a run with these dependencies, which goes on if there is a record of it.
    pub fn open(journal: &Journal, scratch: &StoreKind, identity: Identity) -> Result<Self, JournalError> {
        let Journal { folder, clock, interval, .. } = journal;
        let record = match folder.read(NAME)? {
            Some(bytes) => {
                let record = Record::from_bytes(&bytes)?;
                check(&record.identity, &identity)?;
                record
            }
            None => Record { identity, ..Record::default() },
        };
        let mut kept = Kept {
            folder: folder.clone(),
            clock: clock.clone(),
            interval: *interval,
            record,
            written: clock(),
            leftover: Vec::new(),
            stage: None,
        };
        // What was made and not recorded.
        let named = kept.named();
        kept.leftover = folder.names()?;
        kept.leftover
            .retain(|name| (name.starts_with(PICTURE) || name.starts_with(STATE)) && !named.contains(name));
        kept.sweep();
        Ok(Self { scratch: scratch.clone(), team: Team::alone(), is_kept: true, kept: Some(kept) })
    }

    /// Whether anything is kept, by rank 0.
    pub fn is_kept(&self) -> bool {
        self.is_kept
    }

    /// Where the run stood when it was interrupted, as rank 0 knows.
    pub fn at(&self) -> Option<At> {
        self.kept.as_ref()?.record.at
    }

    /// What UNet and ControlNet computed in by then.
    pub fn precision(&self) -> Result<Option<String>, Error> {
        let own = || self.kept.as_ref()?.record.precision.clone();
        let said = self.team.told(|| Ok(own().unwrap_or_default().into_bytes()))?;
        Ok(String::from_utf8(said).ok().filter(|precision| !precision.is_empty()))
    }

    /// What they compute in from now on.
    pub fn set_precision(&mut self, precision: &str) {
        if let Some(kept) = &mut self.kept {
            kept.record.precision = Some(precision.to_owned());
        }
    }

    /// Which stage is at work, from 0, of how many; none for what comes after them.
    pub fn set_stage(&mut self, stage: Option<(usize, usize)>) {
        if let Some(kept) = &mut self.kept {
            kept.stage = stage;
        }
    }

    /// A new picture, black.
    pub fn begin(&self, name: &str, size: Size) -> Result<Raster, Error> {
        let (channels, depth) = KIND;
        let Some(kept) = &self.kept else {
            return Ok(Raster::new(&self.scratch, size, channels, depth)?);
        };
        let store = kept.folder.create(&store(name), bytes(size)).map_err(JournalError::from)?;
        Ok(Raster::on(store, size, channels, depth))
    }

    /// A picture that is there, if its store is whole.
    fn reopen(&self, name: &str, size: Size) -> Result<Option<Raster>, Error> {
        let Some(kept) = &self.kept else { return Ok(None) };
        let opened = kept.folder.open(&store(name)).map_err(JournalError::from)?;
        let (channels, depth) = KIND;
        Ok(opened
            .filter(|(_, length)| *length == bytes(size))
            .map(|(store, _)| Raster::on(store, size, channels, depth)))
    }

    /// A picture that is complete.
    pub fn picture(&self, name: &str, size: Size) -> Result<Option<Raster>, Error> {
        self.spread(self.own_picture(name, size), size)
    }

    fn own_picture(&self, name: &str, size: Size) -> Result<Option<Raster>, Error> {
        let whole = self.kept.as_ref().and_then(|kept| kept.record.pictures.get(name));
        let Some(whole) = whole else { return Ok(None) };
        let damaged = |what: &str| JournalError::Damaged(format!("{} {what}", store(name)));
        if (whole.width, whole.height) != (size.width, size.height) {
            return Err(damaged("has another size than needed").into());
        }
        let picture = self.reopen(name, size)?.ok_or_else(|| damaged("is gone or cut off"))?;
        if picture.checksum(picture.area())? != whole.sum {
            return Err(damaged("does not have its checksum").into());
        }
        Ok(Some(picture))
    }

    /// Rank 0's picture, at all.
    fn spread(&self, own: Result<Option<Raster>, Error>, size: Size) -> Result<Option<Raster>, Error> {
        if self.team.is_alone() || !self.is_kept {
            return own;
        }
        let own = self.team.agree(own)?;
        if self.team.told(|| Ok(vec![u8::from(own.is_some())]))? != [1] {
            return Ok(None);
        }
        let mut picture = match own {
            Some(picture) => picture,
            None => self.begin("", size)?,
        };
        let rows = (AT_ONCE / (u64::from(size.width) * bytes(Size::new(1, 1)))).clamp(1, size.height.into());
        for y in (0..size.height).step_by(rows as usize) {
            let rect = Rect::new(0, y, Size::new(size.width, (rows as u32).min(size.height - y)));
            let band = self.team.told(|| Ok(picture.read_bytes(rect)?))?;
            if !self.team.leads() {
                picture.write_bytes(rect, &band)?;
            }
        }
        Ok(Some(picture))
    }

    /// What there is of a picture that is being made, and the checksums of its parts; a new one if there is nothing.
    pub fn partial_picture(&self, name: &str, size: Size) -> Result<(Raster, Vec<u32>), Error> {
        let own = match self.partial(name) {
            Some(_) => self.reopen(name, size),
            None => Ok(None),
        };
        let Some(picture) = self.spread(own, size)? else { return Ok((self.begin(name, size)?, Vec::new())) };
        let own = || self.partial(name).map(|partial| &*partial.sums).unwrap_or_default();
        let sums = self.team.told(|| Ok(own().iter().flat_map(|sum| sum.to_le_bytes()).collect()))?;
        Ok((picture, sums.as_chunks().0.iter().map(|sum| u32::from_le_bytes(*sum)).collect()))
    }

    fn partial(&self, name: &str) -> Option<&Partial> {
        self.kept.as_ref()?.record.partial.as_ref().filter(|partial| partial.of == name)
    }

    /// How many units of `name` are done.
    pub fn done(&self, name: &str) -> Result<usize, Error> {
        let own = || self.partial(name).map_or(0, |partial| partial.done) as u64;
        let said = self.team.told(|| Ok(own().to_le_bytes().to_vec()))?;
        Ok(said.as_chunks().0.first().map_or(0, |done| u64::from_le_bytes(*done)) as usize)
    }

    /// The keys of what is kept beside `name`.
    pub fn partial_keys(&self, name: &str) -> Result<Vec<String>, Error> {
        let own = || self.partial(name).map(|partial| partial.values.keys().cloned().collect::<Vec<_>>());
        let said = self.team.told(|| Ok(own().unwrap_or_default().join("\n").into_bytes()))?;
        Ok(String::from_utf8_lossy(&said).lines().map(str::to_owned).collect())
    }

    /// `count` numbers kept beside what there is of `name`.
    pub fn partial_f32(&self, name: &str, key: &str, count: usize) -> Result<Option<Vec<f32>>, Error> {
        self.spread_f32(|kept| {
            let stored = self.partial(name).and_then(|partial| partial.values.get(key));
            Ok(stored.map(|stored| stored.f32(&*kept.folder, Some(count))).transpose()?)
        })
    }

    /// Lists of `count` numbers likewise.
    pub fn partial_f64(&self, name: &str, key: &str, count: usize) -> Result<Option<Vec<Vec<f64>>>, Error> {
        let own = || -> Result<Option<Vec<Vec<f64>>>, Error> {
            let Some(kept) = &self.kept else { return Ok(None) };
            let stored = self.partial(name).and_then(|partial| partial.values.get(key));
            Ok(stored.map(|stored| stored.f64(&*kept.folder, count)).transpose()?)
        };
        if self.team.is_alone() || !self.is_kept {
            return own();
        }
        let own = self.team.agree(own())?;
        // How many lists, and then one after the other.
        let number = own.as_ref().map_or(0, |lists| 1 + lists.len());
        let number = self.team.told(|| Ok(vec![number as u8]))?;
        let Some(number) = number.first().and_then(|number| number.checked_sub(1)) else { return Ok(None) };
        let mut own = own.unwrap_or_default().into_iter();
        let mut list = || {
            let own = own.next();
            let bytes = |list: &Vec<f64>| list.iter().flat_map(|value| value.to_le_bytes()).collect();
            let said = self.team.told(|| Ok(own.as_ref().map(bytes).unwrap_or_default()))?;
            Ok(own.unwrap_or_else(|| said.as_chunks().0.iter().map(|b| f64::from_le_bytes(*b)).collect()))
        };
        (0..number).map(|_| list()).collect::<Result<_, Error>>().map(Some)
    }

    /// Numbers that are complete; `count` of them, if given.
    pub fn value(&self, name: &str, count: Option<usize>) -> Result<Option<Vec<f32>>, Error> {
        self.spread_f32(|kept| {
            let stored = kept.record.values.get(name);
            Ok(stored.map(|stored| stored.f32(&*kept.folder, count)).transpose()?)
        })
    }

    /// Rank 0's numbers, at all.
    fn spread_f32(
        &self,
        own: impl FnOnce(&Kept) -> Result<Option<Vec<f32>>, Error>,
    ) -> Result<Option<Vec<f32>>, Error> {
        let own = self.kept.as_ref().map_or(Ok(None), own);
        if self.team.is_alone() || !self.is_kept {
            return own;
        }
        let own = self.team.agree(own)?;
        if self.team.told(|| Ok(vec![u8::from(own.is_some())]))? != [1] {
            return Ok(None);
        }
        let said = self.team.told(|| Ok(own.as_deref().map(to_bytes).unwrap_or_default()))?;
        Ok(Some(own.unwrap_or_else(|| from_bytes(&said))))
    }

    /// The last stage that is done, from 0, and its picture; `sizes` are those of all stages.
    pub fn result(&self, sizes: &[Size]) -> Result<Option<(usize, Raster)>, Error> {
        let own = self.team.agree(self.own_result(sizes))?;
        if !self.is_kept {
            return Ok(None);
        }
        let index = own.as_ref().map_or(0, |(index, _)| 1 + *index as u64);
        let said = self.team.told(|| Ok(index.to_le_bytes().to_vec()))?;
        let index = said.as_chunks().0.first().map_or(0, |index| u64::from_le_bytes(*index)) as usize;
        let Some(index) = index.checked_sub(1) else { return Ok(None) };
        let picture = self.spread(Ok(own.map(|(_, picture)| picture)), sizes[index])?;
        Ok(picture.map(|picture| (index, picture)))
    }

    fn own_result(&self, sizes: &[Size]) -> Result<Option<(usize, Raster)>, Error> {
        let result = self.kept.as_ref().and_then(|kept| kept.record.result.as_ref());
        let Some((index, name)) = result else { return Ok(None) };
        let damaged = || JournalError::Damaged(format!("{} is gone", store(name)));
        let size = sizes.get(*index).ok_or_else(damaged)?;
        Ok(Some((*index, self.own_picture(name, *size)?.ok_or_else(damaged)?)))
    }

    /// Whether the last time that something was written is long enough ago; units are at `(done, total)`. All of a team
    /// ask and get rank 0's answer.
    pub fn is_due(&mut self, phase: Phase, (done, total): (usize, usize)) -> Result<bool, Error> {
        let own = self.kept.as_mut().is_some_and(|kept| kept.is_due(phase, done, total));
        if self.team.is_alone() || !self.is_kept {
            return Ok(own);
        }
        Ok(self.team.told(|| Ok(vec![u8::from(own)]))? == [1])
    }

    /// A unit is done. Rank 0 writes it down if the last time was long enough ago.
    pub fn unit(&mut self, unit: Unit<'_>) -> Result<(), Error> {
        let is_due = |kept: &mut Kept| kept.is_due(unit.phase, unit.done, unit.total);
        if self.kept.as_mut().is_some_and(is_due) { self.save(unit) } else { Ok(()) }
    }

    /// Rank 0 writes this down.
    pub fn save(&mut self, unit: Unit<'_>) -> Result<(), Error> {
        let Some(kept) = &mut self.kept else { return Ok(()) };
        let Unit { of, phase, done, total, sums, picture, values } = unit;
        kept.stand(phase, done, total);
        if let Some(picture) = picture {
            picture.flush()?;
        }
        let before = kept.record.partial.take();
        let mut old = before.filter(|partial| partial.of == of).map(|p| p.values).unwrap_or_default();
        let mut partial =
            Partial { of: of.to_owned(), done, total, sums: sums.to_vec(), values: Default::default() };
        for (key, values) in values {
            let stored = match old.remove(key) {
                Some(stored) => stored,
                None if matches!(values, Values::Same) => unreachable!("{key} was kept before"),
                None => kept.store(*values)?,
            };
            partial.values.insert(key.clone(), stored);
        }
        kept.record.partial = Some(partial);
        Ok(kept.write()?)
    }

    /// The picture `name` is complete, and takes the place of `instead_of`.
    pub fn complete(
        &mut self,
        name: &str,
        picture: &mut Raster,
        phase: Phase,
        instead_of: &[&str],
    ) -> Result<(), Error> {
        let kept = self.own_complete(name, picture, phase, instead_of);
        self.team.agree(kept)
    }

    fn own_complete(
        &mut self,
        name: &str,
        picture: &mut Raster,
        phase: Phase,
        instead_of: &[&str],
    ) -> Result<(), Error> {
        let Some(kept) = &mut self.kept else { return Ok(()) };
        kept.take(name, picture)?;
        kept.stand(phase, 1, 1);
        kept.forget(|other| instead_of.contains(&other));
        Ok(kept.write()?)
    }

    /// The numbers `name` are complete, and take the place of `instead_of`.
    pub fn keep(
        &mut self,
        name: &str,
        values: &[f32],
        phase: Phase,
        instead_of: &[&str],
    ) -> Result<(), Error> {
        let kept = self.own_keep(name, values, phase, instead_of);
        self.team.agree(kept)
    }

    fn own_keep(
        &mut self,
        name: &str,
        values: &[f32],
        phase: Phase,
        instead_of: &[&str],
    ) -> Result<(), Error> {
        let Some(kept) = &mut self.kept else { return Ok(()) };
        let stored = kept.store(Values::F32(values))?;
        kept.record.values.insert(name.to_owned(), stored);
        kept.record.partial = None;
        kept.stand(phase, 1, 1);
        kept.forget(|other| instead_of.contains(&other));
        Ok(kept.write()?)
    }

    /// The stage `index` is done: its picture is `name`, and nothing else of it and of those before is needed,
    /// but for what is in `shared`.
    pub fn finish_stage(
        &mut self,
        index: usize,
        name: &str,
        picture: &mut Raster,
        phase: Phase,
        shared: &[&str],
    ) -> Result<(), Error> {
        let kept = self.own_finish_stage(index, name, picture, phase, shared);
        self.team.agree(kept)
    }

    fn own_finish_stage(
        &mut self,
        index: usize,
        name: &str,
        picture: &mut Raster,
        phase: Phase,
        shared: &[&str],
    ) -> Result<(), Error> {
        let Some(kept) = &mut self.kept else { return Ok(()) };
        if !kept.record.pictures.contains_key(name) {
            kept.take(name, picture)?;
        }
        kept.record.result = Some((index, name.to_owned()));
        kept.record.partial = None;
        kept.stand(phase, 1, 1);
        kept.forget(|other| other != name && !shared.contains(&other));
        Ok(kept.write()?)
    }
}

/// Of a working picture.
fn bytes(size: Size) -> u64 {
    size.area() * (KIND.0.count() * KIND.1.bytes()) as u64
}

impl Kept {
    fn is_due(&mut self, phase: Phase, done: usize, total: usize) -> bool {
        self.stand(phase, done, total);
        (self.clock)().saturating_sub(self.written) >= self.interval
    }

    fn stand(&mut self, phase: Phase, done: usize, total: usize) {
        if let Some((stage, stages)) = self.stage {
            self.record.at = Some(At { stage, stages, phase, done, total });
        }
    }

    /// Enter a picture that is complete.
    fn take(&mut self, name: &str, picture: &mut Raster) -> Result<(), Error> {
        picture.flush()?;
        let Size { width, height } = picture.size();
        let whole = Whole { width, height, sum: picture.checksum(picture.area())? };
        self.record.pictures.insert(name.to_owned(), whole);
        self.record.partial = None;
        Ok(())
    }

    fn forget(&mut self, is_needless: impl Fn(&str) -> bool) {
        self.record.pictures.retain(|name, _| !is_needless(name));
        self.record.values.retain(|name, _| !is_needless(name));
    }

    fn store(&mut self, values: Values<'_>) -> Result<super::values::Stored, JournalError> {
        self.record.states += 1;
        values.store(&*self.folder, format!("{STATE}{}", self.record.states))
    }

    /// All stores that the record names.
    fn named(&self) -> Vec<String> {
        let Record { pictures, values, partial, .. } = &self.record;
        let partial_picture = partial.iter().map(|partial| store(&partial.of));
        let partial_values = partial.iter().flat_map(|partial| partial.values.values());
        let states = values.values().chain(partial_values).map(|stored| stored.store.clone());
        pictures.keys().map(|name| store(name)).chain(partial_picture).chain(states).collect()
    }

    /// Write the record, and then remove what only the old one named.
    fn write(&mut self) -> Result<(), JournalError> {
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
    fn sweep(&mut self) {
        for name in std::mem::take(&mut self.leftover) {
            let _ = self.folder.remove(&name);
        }
    }
}
