//! How a convolution is cut into tasks.

use super::super::simd::{LANES, ROWS};
use super::transform::POINTS;

/// Side of the square that a tile makes.
pub(super) const MADE: usize = 4;
/// Side of the square that a tile sees.
pub(super) const SEEN: usize = 6;

/// Input channels whose products are summed before a tile is put back.
pub(super) const DEPTH: usize = 320;
/// Tiles of a task: the filters are transformed once for all of them.
const TASK_TILES: usize = 512;
/// Bytes of transformed pictures that exist at once.
pub(super) const INPUT_BYTES: usize = 32 << 20;
/// Most groups of six output channels in a task: they share what is read of the transformed pictures.
const STRIPS: usize = 8;

/// The cut of the work.
#[derive(Clone, Copy)]
pub(super) struct Plan {
    /// Tiles down and across a picture.
    pub(super) down: usize,
    pub(super) across: usize,
    /// Rows of tiles in all pictures.
    pub(super) all_rows: usize,
    /// Rows of tiles, of all pictures one after the other, in a task.
    pub(super) rows: usize,
    /// Input channels are summed in so many parts of at most `depth`.
    pub(super) parts: usize,
    pub(super) depth: usize,
    /// Pixels across.
    pub(super) w: usize,
    /// Pixels of a picture.
    pub(super) plane: usize,
}

impl Plan {
    pub(super) fn new(batch: usize, inputs: usize, h: usize, w: usize) -> Self {
        let (down, across) = (h.div_ceil(MADE), w.div_ceil(MADE));
        let parts = inputs.div_ceil(DEPTH);
        let fit = INPUT_BYTES / (4 * POINTS * inputs);
        let all_rows = batch * down;
        let rows = (fit.min(TASK_TILES) / across).clamp(1, all_rows);
        Self { down, across, all_rows, rows, parts, depth: inputs.div_ceil(parts), w, plane: h * w }
    }

    /// Groups of rows of tiles.
    pub(super) fn groups(&self) -> usize {
        self.all_rows.div_ceil(self.rows)
    }

    /// Output channels in a task.
    pub(super) fn channels(&self, outputs: usize) -> usize {
        let all = outputs.div_ceil(ROWS);
        // As many tasks as keep all threads busy. Which task computes a value does not change it.
        let threads = rayon::current_num_threads();
        let tasks = (self.groups() * all.div_ceil(STRIPS)).next_multiple_of(threads);
        ROWS * all.div_ceil((tasks / self.groups()).max(1)).max(1)
    }

    /// Groups of sixteen tiles in `rows` rows of them.
    pub(super) fn panels(&self, rows: usize) -> usize {
        (rows * self.across).div_ceil(LANES)
    }

    /// From one point of a transformed tile to the next, in lines of the cache: an odd number, or all points would want
    /// the same place in it.
    pub(super) fn pitch(&self) -> usize {
        self.depth | 1
    }

    /// The same for transformed filters, whose values for one channel are three eighths of a line.
    pub(super) fn filter_pitch(&self) -> usize {
        8 * (self.depth.div_ceil(8) | 1)
    }

    /// Rows of [`LANES`] that the transformed input of one panel takes.
    pub(super) fn panel(&self) -> usize {
        self.parts * POINTS * self.pitch()
    }

    /// The same for a group of rows of tiles.
    pub(super) fn group(&self) -> usize {
        self.panels(self.rows) * self.panel()
    }
}

/// Tiles of a panel that lie beside each other.
#[derive(Clone, Copy, Default)]
pub(super) struct Run {
    /// The first one's lane, and how many they are.
    pub lane: usize,
    pub count: usize,
    /// Of the first: picture, row and column of tiles.
    pub picture: usize,
    pub row: usize,
    pub column: usize,
}

/// Where the sixteen tiles of a panel lie; fewer at the end.
#[derive(Clone, Copy)]
pub(super) struct Runs {
    all: [Run; LANES],
    count: usize,
}

impl Runs {
    /// Of the `panel`th in the rows of tiles from `row` to `end`.
    pub(super) fn new(plan: &Plan, row: usize, panel: usize, end: usize) -> Self {
        let Plan { down, across, .. } = *plan;
        let first = row * across + panel * LANES;
        let last = (first + LANES).min(end * across);
        let mut runs = Self { all: [Run::default(); LANES], count: 0 };
        let mut tile = first;
        while tile < last {
            let (row, column) = (tile / across, tile % across);
            let count = (across - column).min(last - tile);
            runs.all[runs.count] =
                Run { lane: tile - first, count, picture: row / down, row: row % down, column };
            runs.count += 1;
            tile += count;
        }
        runs
    }

    /// The one that all lanes lie in, if they do.
    pub(super) fn whole(&self) -> Option<Run> {
        (self.all[0].count == LANES).then_some(self.all[0])
    }

    /// From the first lane on.
    pub(super) fn iter(&self) -> impl Iterator<Item = Run> {
        self.all[..self.count].iter().copied()
    }
}
