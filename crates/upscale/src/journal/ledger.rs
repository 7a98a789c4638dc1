//! A run's hand on its journal: what is done already, and what has been done just now.

use clarifier_raster::{Raster, StoreKind};
use clarifier_tile::Size;

use super::identity::{Identity, check};
use super::kept::{KIND, Kept, PICTURE, bytes, store};
use super::record::{At, NAME, Partial, Record};
use super::values::{STATE, Values};
use super::{Journal, JournalError, spread};
use crate::{Error, Phase, Team};

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

impl Ledger {
    /// Of a run that keeps nothing.
    pub fn none(scratch: &StoreKind) -> Self {
        Self { scratch: scratch.clone(), team: Team::alone(), is_kept: false, kept: None }
    }

    /// What rank 0 has opened, for all of `team`.
    pub fn of_team(opened: Result<Self, Error>, team: &Team) -> Result<Self, Error> {
        let mut ledger = team.agree(opened)?;
        ledger.is_kept = spread::flag(team, ledger.is_kept)?;
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

    fn spread(&self, own: Result<Option<Raster>, Error>, size: Size) -> Result<Option<Raster>, Error> {
        match self.is_kept {
            true => spread::picture(&self.team, own, size, || self.begin("", size)),
            false => own,
        }
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

    /// What there is of a picture that is being made, and the checksums of its parts; a new one if there is nothing.
    pub fn partial_picture(&self, name: &str, size: Size) -> Result<(Raster, Vec<u32>), Error> {
        let own = match self.partial(name) {
            Some(_) => self.reopen(name, size),
            None => Ok(None),
        };
        let Some(picture) = self.spread(own, size)? else { return Ok((self.begin(name, size)?, Vec::new())) };
        let own = || self.partial(name).map(|partial| partial.sums.clone());
        Ok((picture, spread::numbers(&self.team, || own().unwrap_or_default())?))
    }

    fn partial(&self, name: &str) -> Option<&Partial> {
        self.kept.as_ref()?.record.partial.as_ref().filter(|partial| partial.of == name)
    }

    /// How many units of `name` are done.
    pub fn done(&self, name: &str) -> Result<usize, Error> {
        let own = || self.partial(name).map_or(0, |partial| partial.done);
        Ok(spread::numbers(&self.team, || vec![own() as u64])?[0] as usize)
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
        if self.is_kept { spread::lists(&self.team, own()) } else { Ok(None) }
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
        let own = self.kept.as_ref().map_or(Ok(None), own).map(|own| own.map(|list| vec![list]));
        if !self.is_kept {
            return Ok(None);
        }
        Ok(spread::lists(&self.team, own)?.and_then(|mut lists| lists.pop()))
    }

    /// The last stage that is done, from 0, and its picture; `sizes` are those of all stages.
    pub fn result(&self, sizes: &[Size]) -> Result<Option<(usize, Raster)>, Error> {
        let own = self.team.agree(self.own_result(sizes))?;
        if !self.is_kept {
            return Ok(None);
        }
        let index = own.as_ref().map_or(0, |(index, _)| 1 + *index as u64);
        let index = spread::numbers(&self.team, || vec![index])?[0] as usize;
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
        if self.is_kept { spread::flag(&self.team, own) } else { Ok(own) }
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
        self.change(|kept| {
            kept.take(name, picture)?;
            kept.stand(phase, 1, 1);
            kept.forget(|other| instead_of.contains(&other));
            Ok(())
        })
    }

    /// The numbers `name` are complete, and take the place of `instead_of`.
    pub fn keep(
        &mut self,
        name: &str,
        values: &[f32],
        phase: Phase,
        instead_of: &[&str],
    ) -> Result<(), Error> {
        self.change(|kept| {
            let stored = kept.store(Values::F32(values))?;
            kept.record.values.insert(name.to_owned(), stored);
            kept.record.partial = None;
            kept.stand(phase, 1, 1);
            kept.forget(|other| instead_of.contains(&other));
            Ok(())
        })
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
        self.change(|kept| {
            if !kept.record.pictures.contains_key(name) {
                kept.take(name, picture)?;
            }
            kept.record.result = Some((index, name.to_owned()));
            kept.record.partial = None;
            kept.stand(phase, 1, 1);
            kept.forget(|other| other != name && !shared.contains(&other));
            Ok(())
        })
    }

    /// Rank 0 changes the record and writes it down; all of a team learn whether that went well.
    fn change(&mut self, change: impl FnOnce(&mut Kept) -> Result<(), Error>) -> Result<(), Error> {
        let written = self.kept.as_mut().map_or(Ok(()), |kept| {
            change(kept)?;
            Ok(kept.write()?)
        });
        self.team.agree(written)
    }
}
