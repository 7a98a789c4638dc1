//! What the engine tells a face while it works, and how long it still takes.

use std::ops::ControlFlow;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{Error, Preview, StepPreview};

/// A kind of work, in the order in which a stage does it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// The enlarger, tile by tile.
    Enlarge,
    /// Picture to latents.
    Encode,
    /// Steps × tiles.
    Diffuse,
    /// Latents to picture.
    Decode,
}

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// Weights are being read.
    Load {
        /// Which network.
        network: String,
        /// Bytes so far.
        bytes: u64,
        /// Bytes in all.
        total: u64,
    },
    /// The run goes on where it was interrupted; what is counted in the events to come includes what was done then.
    Resumed {
        /// From 1.
        stage: usize,
        /// How many there are.
        stages: usize,
        /// What it was at.
        phase: Phase,
        /// Tiles of this phase done.
        done: usize,
        /// Tiles of this phase in all; 1 where the phase was at its end.
        total: usize,
    },
    /// A stage begins.
    Stage {
        /// From 1.
        stage: usize,
        /// How many there are.
        stages: usize,
        /// Size of the result.
        width: u32,
        /// Size of the result.
        height: u32,
        /// The seed of its noise.
        seed: u64,
    },
    /// A tile is done.
    Tile {
        /// Of which work.
        phase: Phase,
        /// Tiles of this phase done (in diffusion, of all steps).
        done: usize,
        /// Tiles of this phase in all.
        total: usize,
    },
    /// An evaluation of the network is done on the whole canvas; to those who asked for its preview also after each
    /// of its tiles.
    Step {
        /// Which one, from 1.
        step: usize,
        /// How many there are (some samplers take two a step).
        steps: usize,
        /// How it looks, if the job asked for it.
        #[serde(skip_serializing_if = "Option::is_none")]
        preview: Option<StepPreview>,
    },
    /// A part of the picture that was just made, by the enlarger or by the autoencoder, if the job asked for it.
    Part(StepPreview),
    /// A tile of a stage's result, if the job asked for them.
    Preview(Preview),
    /// Something the user should know.
    Warning {
        /// In a sentence.
        message: String,
    },
}

/// Told of every event; answers whether to go on.
pub type Observer<'a> = &'a mut dyn FnMut(Event) -> ControlFlow<()>;

/// Tell `observe` of an event.
///
/// # Errors
/// [`Error::Cancelled`] if it answers so.
pub(crate) fn say(observe: Observer, event: Event) -> Result<(), Error> {
    match observe(event) {
        ControlFlow::Break(()) => Err(Error::Cancelled),
        ControlFlow::Continue(()) => Ok(()),
    }
}

/// Tell `observe` of a tile that is done.
///
/// # Errors
/// [`Error::Cancelled`] if it answers so.
pub(crate) fn tell(observe: Observer, phase: Phase, done: usize, total: usize) -> Result<(), Error> {
    say(observe, Event::Tile { phase, done, total })
}

/// Tell `observe` that of `(step, steps)`, the first being from 0, something is done.
///
/// # Errors
/// [`Error::Cancelled`] if it answers so.
pub(crate) fn tell_step(
    observe: Observer,
    (step, steps): (usize, usize),
    preview: Option<StepPreview>,
) -> Result<(), Error> {
    say(observe, Event::Step { step: step + 1, steps, preview })
}

/// The time that the current phase still needs, measured: its own tiles say how long its tiles take.
#[derive(Debug, Clone, Default)]
pub struct Estimator {
    /// The phase; how many tiles were done when it was first heard of, and when that was.
    begun: Option<(Phase, usize, Duration)>,
}

impl Estimator {
    /// Take notice of [`Event::Tile`], `at` a time since any fixed moment. The first notice of a phase
    /// starts the clock (its tile also pays for what is compiled or allocated once), so the answer begins
    /// with the second. A run that goes on from where it was need not begin with tile 1.
    pub fn tile(&mut self, phase: Phase, done: usize, total: usize, at: Duration) -> Option<Duration> {
        match self.begun {
            Some((current, first, begun)) if current == phase && done > first => {
                Some(at.saturating_sub(begun).mul_f64((total - done) as f64 / (done - first) as f64))
            }
            // Another phase, or the same one of the next stage.
            _ => {
                self.begun = Some((phase, done, at));
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_left_is_what_the_tiles_took() {
        let mut estimator = Estimator::default();
        let seconds = Duration::from_secs;
        assert_eq!(estimator.tile(Phase::Encode, 1, 3, seconds(5)), None);
        assert_eq!(estimator.tile(Phase::Encode, 2, 3, seconds(7)), Some(seconds(2)));
        // Another phase has another pace.
        assert_eq!(estimator.tile(Phase::Diffuse, 1, 10, seconds(20)), None);
        assert_eq!(estimator.tile(Phase::Diffuse, 4, 10, seconds(32)), Some(seconds(24)));
        assert_eq!(estimator.tile(Phase::Diffuse, 10, 10, seconds(56)), Some(Duration::ZERO));
        // A resumed run, and then its next stage, whose tiles are slower.
        assert_eq!(estimator.tile(Phase::Decode, 81, 100, seconds(60)), None);
        assert_eq!(estimator.tile(Phase::Decode, 82, 100, seconds(63)), Some(seconds(54)));
        assert_eq!(estimator.tile(Phase::Decode, 1, 3, seconds(70)), None);
        assert_eq!(estimator.tile(Phase::Decode, 2, 3, seconds(90)), Some(seconds(20)));
    }
}
