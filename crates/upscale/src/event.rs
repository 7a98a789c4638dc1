//! What the engine tells a face while it works, and how long it still takes.

use std::ops::ControlFlow;
use std::time::Duration;

use serde::Serialize;

/// A kind of work, in the order in which a stage does it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
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
    /// Something the user should know.
    Warning {
        /// In a sentence.
        message: String,
    },
}

/// Told of every event; answers whether to go on.
pub type Observer<'a> = &'a mut dyn FnMut(Event) -> ControlFlow<()>;

/// A time left that was measured: each phase's own tiles say how long its tiles take.
#[derive(Debug, Clone, Default)]
pub struct Estimator {
    phases: Vec<Progress>,
}

#[derive(Debug, Clone)]
struct Progress {
    tiles: usize,
    done: usize,
    spent: Duration,
}

impl Estimator {
    /// For phases of these numbers of tiles, in order.
    pub fn new(tiles: impl IntoIterator<Item = usize>) -> Self {
        let phase = |tiles| Progress { tiles, done: 0, spent: Duration::ZERO };
        Self { phases: tiles.into_iter().map(phase).collect() }
    }

    /// `done` tiles of phase `phase` took `spent` together.
    ///
    /// # Panics
    /// If there is no such phase.
    pub fn record(&mut self, phase: usize, done: usize, spent: Duration) {
        let phase = &mut self.phases[phase];
        (phase.done, phase.spent) = (done, spent);
    }

    /// What the current phase still needs, by its own measure; none before its first tile is done.
    pub fn left(&self, phase: usize) -> Option<Duration> {
        let phase = self.phases.get(phase).filter(|p| p.done > 0)?;
        Some(phase.spent.mul_f64((phase.tiles - phase.done.min(phase.tiles)) as f64 / phase.done as f64))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_left_is_what_the_tiles_took() {
        let mut estimator = Estimator::new([4, 10]);
        assert_eq!(estimator.left(1), None);
        estimator.record(1, 4, Duration::from_secs(8));
        assert_eq!(estimator.left(1), Some(Duration::from_secs(12)));
        estimator.record(1, 10, Duration::from_secs(21));
        assert_eq!(estimator.left(1), Some(Duration::ZERO));
    }
}
