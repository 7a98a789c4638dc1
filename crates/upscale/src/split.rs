//! Who of a team computes which tiles of a step, and what of the canvas each holds for that.
//!
//! The tiles of a step, row by row, are cut into runs of equal length, one for each process. A process holds the whole
//! rows of the canvas that its tiles see in any step: its band. It makes the solver's step on its band alone, and for that needs the
//! noise of all tiles that reach into it: of those, the rows that do are sent, once a step. So neighbours both step the few rows
//! where their tiles overlap, and nothing else is done twice. Where a tile's noise comes from changes nothing: it is added
//! in the tiles' order by everyone, so the bytes do not depend on how many there are.

use std::ops::Range;

use clarifier_tile::{Rect, Size};

use crate::Team;
use crate::frame::Frame;
use crate::tiles::StepTiles;

/// A step's tiles, with their numbers in the grid.
pub(crate) type Tiles = Vec<(usize, Rect)>;

/// The steps of a redrawing, divided among a team.
pub(crate) struct Split {
    rank: usize,
    size: usize,
    channels: usize,
    /// The tiles of each step.
    steps: Vec<Tiles>,
    /// For each rank, the rows of the canvas that it holds, and the rows of the tiles' area that have a say in them.
    held: Vec<Vec<bool>>,
    seen: Vec<Vec<bool>>,
    core: Size,
}

impl Split {
    /// For steps that need these parts of the canvas (of `channels` planes) right after them.
    pub fn new(tiles: &StepTiles, needed: &[Rect], channels: usize, team: &Team) -> Self {
        Self::of(tiles, needed, channels, (team.rank(), team.size()))
    }

    fn of(tiles: &StepTiles, needed: &[Rect], channels: usize, (rank, size): (usize, usize)) -> Self {
        let frame = tiles.frame();
        let steps: Vec<Tiles> =
            needed.iter().enumerate().map(|(step, needed)| tiles.reaching(step, *needed)).collect();
        let held: Vec<_> = (0..size).map(|rank| held(frame, &steps, (rank, size))).collect();
        let (_, folds) = frame.folds();
        let area = frame.area().height as usize;
        let seen = held.iter().map(|held| {
            let mut seen = vec![false; area];
            let rows = held.iter().zip(&folds).filter(|(held, _)| **held);
            rows.flat_map(|(_, from)| from).for_each(|(row, _)| seen[*row] = true);
            seen
        });
        let seen = seen.collect();
        Self { rank, size, channels, steps, held, seen, core: frame.core() }
    }

    /// The tiles of a step.
    pub fn tiles(&self, step: usize) -> &Tiles {
        &self.steps[step]
    }

    /// How many tiles each step has.
    pub fn counts(&self) -> Vec<usize> {
        self.steps.iter().map(Vec::len).collect()
    }

    /// Which of a step's tiles `rank` computes.
    pub fn run(&self, step: usize, rank: usize) -> Range<usize> {
        run(self.steps[step].len(), (rank, self.size))
    }

    /// Which of a step's tiles this process computes.
    pub fn mine(&self, step: usize) -> Range<usize> {
        self.run(step, self.rank)
    }

    /// The parts of the canvas that this process steps: whole rows.
    pub fn bands(&self) -> Vec<Rect> {
        let held = &self.held[self.rank];
        ranges(held.len(), |row| held[row]).map(|rows| self.rows(rows)).collect()
    }

    /// The parts that `rank` answers for when the canvas is put together: of the rows that several hold, the first has them.
    pub fn owned(&self, rank: usize) -> Vec<Rect> {
        let owned = |row: usize| self.held[rank][row] && !self.held[..rank].iter().any(|held| held[row]);
        ranges(self.held[rank].len(), owned).map(|rows| self.rows(rows)).collect()
    }

    fn rows(&self, rows: Range<usize>) -> Rect {
        Rect::new(0, rows.start as u32, Size::new(self.core.width, rows.len() as u32))
    }

    /// The rows of a step's tile, counted from its own first, that have a say in what `rank` holds.
    pub fn rows_for(&self, step: usize, tile: usize, rank: usize) -> Option<Range<u32>> {
        let (_, rect) = self.steps[step][tile];
        let seen = &self.seen[rank][rect.y as usize..rect.bottom() as usize];
        let first = seen.iter().position(|seen| *seen)?;
        let last = seen.iter().rposition(|seen| *seen)?;
        Some(first as u32..last as u32 + 1)
    }

    /// Numbers that `from` sends to `to` after a step.
    pub fn sent(&self, step: usize, from: usize, to: usize) -> usize {
        let of = |tile: usize| {
            let rows = self.rows_for(step, tile, to).map_or(0, |rows| rows.len());
            rows * self.steps[step][tile].1.size.width as usize * self.channels
        };
        self.run(step, from).map(of).sum()
    }
}

/// The share of `rank` in `count` things; rank 0 never has none.
fn run(count: usize, (rank, size): (usize, usize)) -> Range<usize> {
    (count * rank).div_ceil(size)..(count * (rank + 1)).div_ceil(size)
}

/// The rows of the canvas that a rank's tiles see in any step; all for a process alone.
fn held(frame: Frame, steps: &[Tiles], (rank, size): (usize, usize)) -> Vec<bool> {
    let height = frame.core().height;
    let mut held = vec![size == 1; height as usize];
    for tiles in steps {
        for (_, rect) in &tiles[run(tiles.len(), (rank, size))] {
            let (_, top) = frame.corner(*rect);
            for y in top..top + i64::from(rect.size.height) {
                held[y.rem_euclid(height.into()) as usize] = true;
            }
        }
    }
    held
}

/// The longest ranges of numbers below `end` that are all `wanted`.
fn ranges(end: usize, wanted: impl Fn(usize) -> bool) -> impl Iterator<Item = Range<usize>> {
    let mut at = 0;
    std::iter::from_fn(move || {
        let first = (at..end).find(|i| wanted(*i))?;
        at = (first..end).find(|i| !wanted(*i)).unwrap_or(end);
        Some(first..at)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Seamless, Settings};

    fn split(core: Size, settings: &Settings, rank: usize, size: usize) -> Split {
        let tiles = StepTiles::new(core, settings, 7);
        let (needed, _) = tiles.needed(3, Rect::new(0, 0, core));
        Split::of(&tiles, &needed, 4, (rank, size))
    }

    #[test]
    fn every_tile_has_one_process_and_every_row_one_that_answers_for_it() {
        let small = Settings { tile_width: 16, tile_height: 16, tile_overlap: 4, ..Settings::default() };
        let round = Settings { seamless: Seamless::Both, tile_jitter: true, ..small.clone() };
        for settings in [small, round] {
            for size in [1, 2, 3, 4, 7, 100] {
                let core = Size::new(40, 70);
                let all: Vec<_> = (0..size).map(|rank| split(core, &settings, rank, size)).collect();
                for step in 0..3 {
                    let tiles: Vec<usize> = all.iter().flat_map(|split| split.mine(step)).collect();
                    assert_eq!(tiles, (0..all[0].tiles(step).len()).collect::<Vec<_>>());
                }
                let mut rows: Vec<u32> = (0..size)
                    .flat_map(|rank| all[0].owned(rank))
                    .flat_map(|rect| rect.y..rect.bottom())
                    .collect();
                rows.sort_unstable();
                assert_eq!(rows, (0..70).collect::<Vec<_>>(), "{size}");
                // Nothing that a process holds lacks a tile.
                for split in &all {
                    for tile in 0..split.tiles(0).len() {
                        let (_, rect) = split.tiles(0)[tile];
                        let reaches =
                            split.seen[split.rank][rect.y as usize..rect.bottom() as usize].contains(&true);
                        assert_eq!(split.rows_for(0, tile, split.rank).is_some(), reaches);
                    }
                }
            }
        }
    }

    #[test]
    fn what_a_gigapixel_exchanges_is_little() {
        // 32 768 × 32 768 pixels with the default tiles, 64 processes: the figures of docs/many-machines.md.
        let split = split(Size::new(4096, 4096), &Settings::default(), 31, 64);
        let tiles = split.tiles(0).len();
        let most = |of: &dyn Fn(usize) -> usize| (0..64).map(of).max().unwrap();
        let run = most(&|rank| split.run(0, rank).len());
        let received = most(&|to| {
            4 * (0..64).filter(|from| *from != to).map(|from| split.sent(0, from, to)).sum::<usize>()
        });
        let held = most(&|rank| split.held[rank].iter().filter(|held| **held).count());
        println!("{tiles} tiles, {run} for one; at most {received} bytes received, {held} rows held");
        assert!(run * 64 < tiles + 64);
        assert!(received < 24 << 20 && held <= 288, "{received} bytes, {held} rows");
    }
}
