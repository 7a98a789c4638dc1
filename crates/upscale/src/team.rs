//! Several processes at one run, on one machine or on many: each computes some of the tiles, all get the same results.
//!
//! All of them run the same program and meet at the same calls here, in the same order. What one cannot do is known to
//! all at the next of these calls, so all end alike.

use std::cell::Cell;
use std::fmt;
use std::io;
use std::ops::Range;
use std::rc::Rc;

use crate::Error;

/// What connects the processes of a team. No call returns before every process it concerns has made it too.
pub trait Link {
    /// Which of them this is, from 0.
    fn rank(&self) -> usize;

    /// How many there are.
    fn size(&self) -> usize;

    /// Send `(to, bytes)` and receive `(from, length)`, all at once; what was received, in the order of `incoming`. No
    /// rank is named twice in a list, nor itself.
    ///
    /// # Errors
    /// If the connection fails.
    fn exchange(
        &self,
        outgoing: &[(usize, Vec<u8>)],
        incoming: &[(usize, usize)],
    ) -> io::Result<Vec<Vec<u8>>>;

    /// What each process gives, at all of them, in the order of their ranks.
    ///
    /// # Errors
    /// If the connection fails.
    fn all_gather(&self, bytes: Vec<u8>) -> io::Result<Vec<Vec<u8>>>;

    /// What rank 0 gives, at all; what the others give does not matter.
    ///
    /// # Errors
    /// If the connection fails.
    fn broadcast(&self, bytes: Vec<u8>) -> io::Result<Vec<u8>>;
}

/// The processes of a run as one of them sees them.
#[derive(Clone)]
pub struct Team {
    /// None for a process alone.
    link: Option<Rc<dyn Link>>,
    /// Whether the last error is known to all.
    agreed: Rc<Cell<bool>>,
}

impl fmt::Debug for Team {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "rank {} of {}", self.rank(), self.size())
    }
}

/// What a message about a process's work begins with.
const DONE: u8 = 0;
const CANCELLED: u8 = 1;
const FAILED: u8 = 2;

impl Team {
    /// One process, which needs no other.
    pub fn alone() -> Self {
        Self { link: None, agreed: Rc::default() }
    }

    /// The processes that `link` connects.
    pub fn new(link: Rc<dyn Link>) -> Self {
        let link = Some(link).filter(|link| link.size() > 1);
        Self { link, agreed: Rc::default() }
    }

    /// Which this is, from 0.
    pub fn rank(&self) -> usize {
        self.link.as_ref().map_or(0, |link| link.rank())
    }

    /// How many there are.
    pub fn size(&self) -> usize {
        self.link.as_ref().map_or(1, |link| link.size())
    }

    /// Whether there is no other.
    pub fn is_alone(&self) -> bool {
        self.link.is_none()
    }

    /// Whether this is rank 0, which has journal and output.
    pub fn leads(&self) -> bool {
        self.rank() == 0
    }

    /// Whether the error that this process got last is known to the others, so that they end with it. With any other
    /// they would wait for ever, and must be ended.
    pub fn has_agreed(&self) -> bool {
        self.is_alone() || self.agreed.get()
    }

    /// `units` in rounds, of which each has one for each process.
    pub(crate) fn rounds(&self, units: Range<usize>) -> impl Iterator<Item = Range<usize>> + use<> {
        let size = self.size();
        let end = units.end;
        units.step_by(size).map(move |first| first..(first + size).min(end))
    }

    /// This process's unit of a round, if there is one for it.
    pub(crate) fn mine(&self, round: &Range<usize>) -> Option<usize> {
        round.clone().nth(self.rank())
    }

    /// Meet: if any process has an error, all get one, their own if they have it.
    ///
    /// # Errors
    /// The own one, [`Error::Elsewhere`], or [`Error::Cancelled`] if another was.
    pub fn agree<T>(&self, own: Result<T, Error>) -> Result<T, Error> {
        let Some(link) = &self.link else { return own };
        let all = link.all_gather(said(own.as_ref().err(), Vec::new())).map_err(lost)?;
        let others = self.heard(all);
        match (own, others) {
            (Ok(value), Ok(_)) => Ok(value),
            (Err(error), _) => Err(error),
            (_, Err(error)) => Err(error),
        }
    }

    /// What each made, at all, in the order of their ranks.
    ///
    /// # Errors
    /// As [`Self::agree`].
    pub fn share(&self, own: Result<Vec<u8>, Error>) -> Result<Vec<Vec<u8>>, Error> {
        let Some(link) = &self.link else { return own.map(|bytes| vec![bytes]) };
        let (bytes, error) = match own {
            Ok(bytes) => (bytes, None),
            Err(error) => (Vec::new(), Some(error)),
        };
        let all = link.all_gather(said(error.as_ref(), bytes)).map_err(lost)?;
        let heard = self.heard(all);
        error.map_or(heard, Err)
    }

    /// [`Self::share`] of numbers.
    pub(crate) fn share_f32(&self, own: Result<Vec<f32>, Error>) -> Result<Vec<Vec<f32>>, Error> {
        if self.is_alone() {
            return own.map(|values| vec![values]);
        }
        let all = self.share(own.map(|values| to_bytes(&values)))?;
        Ok(all.iter().map(|bytes| from_bytes(bytes)).collect())
    }

    /// What rank 0 made, at all; `own` is not looked at elsewhere.
    ///
    /// # Errors
    /// As [`Self::agree`], if rank 0 failed.
    pub fn told(&self, own: impl FnOnce() -> Result<Vec<u8>, Error>) -> Result<Vec<u8>, Error> {
        let Some(link) = &self.link else { return own() };
        if !self.leads() {
            let message = link.broadcast(Vec::new()).map_err(lost)?;
            let mut heard = self.heard(vec![message])?;
            return Ok(heard.remove(0));
        }
        match own() {
            Ok(bytes) => {
                link.broadcast(said(None, bytes.clone())).map_err(lost)?;
                Ok(bytes)
            }
            Err(error) => {
                link.broadcast(said(Some(&error), Vec::new())).map_err(lost)?;
                self.agreed.set(true);
                Err(error)
            }
        }
    }

    /// As [`Link::exchange`].
    ///
    /// # Errors
    /// [`Error::Link`].
    pub(crate) fn exchange(
        &self,
        outgoing: &[(usize, Vec<u8>)],
        incoming: &[(usize, usize)],
    ) -> Result<Vec<Vec<u8>>, Error> {
        match &self.link {
            Some(link) => link.exchange(outgoing, incoming).map_err(lost),
            None => Ok(Vec::new()),
        }
    }

    /// Messages without what they begin with, unless one is of a failure.
    fn heard(&self, all: Vec<Vec<u8>>) -> Result<Vec<Vec<u8>>, Error> {
        let failed = all.iter().position(|message| message.first() != Some(&DONE));
        self.agreed.set(failed.is_some());
        match failed {
            None => Ok(all.into_iter().map(|mut message| message.split_off(1)).collect()),
            Some(rank) if all[rank].first() == Some(&CANCELLED) => Err(Error::Cancelled),
            Some(rank) => {
                let message = String::from_utf8_lossy(all[rank].get(1..).unwrap_or_default()).into_owned();
                Err(Error::Elsewhere { rank, message })
            }
        }
    }
}

fn said(error: Option<&Error>, bytes: Vec<u8>) -> Vec<u8> {
    match error {
        None => [vec![DONE], bytes].concat(),
        Some(Error::Cancelled) => vec![CANCELLED],
        // The rank is named where it is heard.
        Some(Error::Elsewhere { message, .. }) => [vec![FAILED], message.clone().into_bytes()].concat(),
        Some(error) => [vec![FAILED], error.to_string().into_bytes()].concat(),
    }
}

fn lost(error: io::Error) -> Error {
    Error::Link(error.to_string())
}

/// Numbers as bytes, little-endian.
pub(crate) fn to_bytes(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

/// Back from [`to_bytes`].
pub(crate) fn from_bytes(bytes: &[u8]) -> Vec<f32> {
    bytes.as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect()
}
