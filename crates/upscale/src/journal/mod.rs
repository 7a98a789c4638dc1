//! What outlives the program: a run goes on where it was, to the same bytes.
//!
//! Every phase makes new stores from earlier ones and changes none in place, so it can be entered again at any of its
//! units (a tile, a band) and does the same. What is done is said by one record, which is replaced as a whole after
//! the stores that it names have been flushed. Hence a kill, a power cut or a full disk at any moment leaves either the old
//! record with all that it names or the new one.
//!
//! In a team rank 0 has the folder. What is kept within a step is the noise of single tiles, whoever computed them; so a run
//! goes on with any number of processes.
//!
//! | in the folder | what |
//! | --- | --- |
//! | `record` | what is done, and the names, lengths and checksums of: |
//! | `picture-<stage>.<what>` | pictures, RGB in 16 bits: `guess` (and the network's `guess.large`), `decoded` (`area` for a circular one), `held`, `result` |
//! | `state-<number>` | numbers: latents, what the sampler keeps, the noise of tiles; written once, never changed |

mod identity;
mod kept;
mod ledger;
mod record;
mod room;
mod spread;
mod values;

use std::fmt;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use clarifier_raster::Folder;

pub(crate) use identity::identity;
pub(crate) use ledger::{Ledger, Unit};
pub use record::At;
pub(crate) use room::room;
pub(crate) use values::Values;

use crate::RecipeModels;

/// How long a run works at most before it writes down what it has, if nothing else is said.
const INTERVAL: Duration = Duration::from_secs(30);

/// Where a run keeps what it needs to go on after an interruption.
#[derive(Clone)]
pub struct Journal {
    /// Where. The record and the stores `picture-…` and `state-…` there are the journal's.
    pub folder: Arc<dyn Folder>,
    /// The files of the networks: with others nothing goes on.
    pub models: RecipeModels,
    /// How much work may be lost at most, but for a single tile that takes longer.
    pub interval: Duration,
    /// The time since any fixed moment.
    pub clock: Rc<dyn Fn() -> Duration>,
}

impl Journal {
    /// In `folder`, for these networks; `clock` tells the time since any fixed moment.
    pub fn new(
        folder: Arc<dyn Folder>,
        models: RecipeModels,
        clock: impl Fn() -> Duration + 'static,
    ) -> Self {
        Self { folder, models, interval: INTERVAL, clock: Rc::new(clock) }
    }

    /// Whether there is work in `folder` to go on with.
    ///
    /// # Errors
    /// If the device fails.
    pub fn is_begun(folder: &dyn Folder) -> io::Result<bool> {
        Ok(folder.read(record::NAME)?.is_some())
    }

    /// Where the work in `folder` stands, if there is any and it has said so.
    ///
    /// # Errors
    /// [`JournalError`] if the device fails or the record is not one.
    pub fn at(folder: &dyn Folder) -> Result<Option<At>, JournalError> {
        let Some(bytes) = folder.read(record::NAME)? else { return Ok(None) };
        Ok(record::Record::from_bytes(&bytes)?.at)
    }

    /// Forget all work in `folder`: to be called when the result is safe. Stores of others stay.
    ///
    /// # Errors
    /// If the device fails.
    pub fn clear(folder: &dyn Folder) -> io::Result<()> {
        // First, so that it names nothing that is gone.
        folder.remove(record::NAME)?;
        let ours = |name: &String| name.starts_with(kept::PICTURE) || name.starts_with(values::STATE);
        folder.names()?.iter().filter(|name| ours(name)).try_for_each(|name| folder.remove(name))
    }
}

impl fmt::Debug for Journal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Journal").field("folder", &self.folder).field("interval", &self.interval).finish()
    }
}

/// Why a run does not go on.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// The run that was interrupted was another one.
    #[error(
        "the interrupted run kept here was not the same: {}; ask for the same again, or delete what is kept, or work elsewhere",
        .0.join("; ")
    )]
    Changed(Vec<String>),
    /// What is kept is not what was written.
    #[error("what is kept of the interrupted run is damaged ({0}); delete it to begin anew")]
    Damaged(String),
    /// Written by a program that does it otherwise.
    #[error(
        "the interrupted run was kept by another version of the program (journal {0}); go on with that one, or delete what is kept"
    )]
    Version(String),
    /// The device failed, or is full.
    #[error("what is kept for an interruption could not be read or written: {0}")]
    Store(#[from] io::Error),
}
