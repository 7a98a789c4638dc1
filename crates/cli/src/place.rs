//! Where a process stands among those that do a run together; a process alone needs nothing of it.

use anyhow::{Result, anyhow};
use clarifier_upscale::{Error, Team};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::words;

/// A process's place.
#[derive(Debug, Clone)]
pub struct Place {
    /// With whom it works.
    pub team: Team,
    /// Which of the team's processes on this machine it is, from 0, and how many there are.
    pub on_machine: (usize, usize),
    /// The machine's name.
    pub machine: String,
}

/// One process failed where the others do not know of it: they must be ended.
#[derive(Debug)]
pub struct Apart(pub anyhow::Error);

impl std::fmt::Display for Apart {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:#}", self.0)
    }
}

impl std::error::Error for Apart {}

impl Place {
    /// Of a process alone.
    pub fn alone() -> Self {
        Self { team: Team::alone(), on_machine: (0, 1), machine: String::new() }
    }

    /// Whether this is rank 0, which has the work folder, writes the results and talks to the user.
    pub fn leads(&self) -> bool {
        self.team.leads()
    }

    /// What rank 0 makes, at all; what it fails at, all do.
    pub fn told<T: Serialize + DeserializeOwned>(&self, own: impl FnOnce() -> Result<T>) -> Result<T> {
        if self.team.is_alone() {
            return own();
        }
        let mut made = None;
        let said = self.team.told(|| {
            let result = own().and_then(|value| Ok((serde_json::to_vec(&value)?, value)));
            let message = result.as_ref().err().map(words::of_error);
            let bytes = result.as_ref().map(|(bytes, _)| bytes.clone()).unwrap_or_default();
            made = Some(result);
            message.map_or(Ok(bytes), |message| Err(Error::Elsewhere { rank: 0, message }))
        });
        match made {
            Some(result) => result.map(|(_, value)| value),
            None => Ok(serde_json::from_slice(&said?)?),
        }
    }

    /// Meet: if one has failed, all have.
    pub fn agree<T>(&self, own: Result<T>) -> Result<T> {
        if self.team.is_alone() {
            return own;
        }
        let said = match &own {
            Ok(_) => Ok(()),
            Err(error) if matches!(error.downcast_ref(), Some(Error::Cancelled)) => Err(Error::Cancelled),
            Err(error) => {
                Err(Error::Elsewhere { rank: self.team.rank(), message: self.named(&words::of_error(error)) })
            }
        };
        let agreed = self.team.agree(said);
        let value = own?;
        agreed?;
        Ok(value)
    }

    /// What the engine says, if the others know of it; else they are to be ended.
    pub fn known<T>(&self, own: Result<T, Error>) -> Result<T> {
        own.map_err(|error| match self.team.has_agreed() {
            true => error.into(),
            false => Apart(anyhow!(error)).into(),
        })
    }

    /// A message with the machine that it is of.
    pub fn named(&self, message: &str) -> String {
        if self.machine.is_empty() { message.to_owned() } else { format!("{message} (on {})", self.machine) }
    }
}
