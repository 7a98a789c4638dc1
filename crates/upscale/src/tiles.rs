//! Where the tiles lie at each step.

use clarifier_raster::Wrap;
use clarifier_tile::{Rect, Size, TileGrid};

use crate::Settings;
use crate::frame::Frame;
use crate::noise::uniform_pair;

/// The tiles of a stage's diffusion.
#[derive(Debug, Clone)]
pub struct StepTiles {
    frame: Frame,
    grid: TileGrid,
    /// The seed of their moves, if they move.
    jitter: Option<u64>,
}

impl StepTiles {
    /// Tiles on a canvas of `core` latents, as `settings` (which must be valid) have them.
    pub fn new(core: Size, settings: &Settings, seed: u64) -> Self {
        let frame = Frame::new(core, Wrap::from(settings.seamless), settings.tile_overlap);
        let tile = Size::new(settings.tile_width, settings.tile_height);
        let grid = TileGrid::new(frame.area(), tile, settings.tile_overlap).expect("settings were checked");
        Self { frame, grid, jitter: settings.tile_jitter.then_some(seed) }
    }

    /// The canvas that they lie on.
    pub fn frame(&self) -> Frame {
        self.frame
    }

    /// The tiles as they are numbered.
    pub fn numbered(&self) -> &TileGrid {
        &self.grid
    }

    /// The tiles of the `step`th step.
    pub fn grid(&self, step: usize) -> TileGrid {
        match self.jitter {
            Some(seed) => self.grid.clone().shifted(uniform_pair(seed, step as u32)),
            None => self.grid.clone(),
        }
    }

    /// The tiles of the `step`th step that reach into `needed`, a part of the canvas, with their numbers
    /// in that step's grid.
    pub fn reaching(&self, step: usize, needed: Rect) -> Vec<(usize, Rect)> {
        let seen = self.frame.seen(needed);
        self.grid(step).iter().enumerate().filter(|(_, tile)| tile.meets(seen)).collect()
    }

    /// For each of `steps` steps the part of the canvas that must be right after it, and the part that
    /// must be right before the first, so that `needed` is right after the last.
    ///
    /// A tile's noise depends on the whole tile, so the part grows by tiles, backwards.
    pub fn needed(&self, steps: usize, needed: Rect) -> (Vec<Rect>, Rect) {
        let mut after = vec![needed; steps];
        let mut now = needed;
        for step in (0..steps).rev() {
            after[step] = now;
            now = self.frame.under(self.grid(step).cover(self.frame.seen(now)));
        }
        (after, now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_needed_grows_backwards_by_tiles() {
        let settings = Settings { tile_width: 16, tile_height: 16, tile_overlap: 4, ..Settings::default() };
        let tiles = StepTiles::new(Size::new(160, 16), &settings, 7);
        let needed = Rect::new(80, 3, Size::new(1, 1));
        let (after, before) = tiles.needed(3, needed);
        assert_eq!(after[2], needed);
        assert!(after[1].size.width >= 16 && after[0].size.width >= 28 && before.size.width >= 40);
        assert!(before.size.width < 100, "not everything: {before:?}");
        for step in 0..3 {
            for (_, tile) in tiles.reaching(step, after[step]) {
                let seen = if step == 0 { before } else { after[step - 1] };
                assert!(seen.x <= tile.x && tile.right() <= seen.right());
            }
        }
    }

    #[test]
    fn moved_tiles_lie_elsewhere_at_each_step_and_alike_in_each_run() {
        let settings = Settings { tile_width: 16, tile_height: 16, tile_jitter: true, ..Settings::default() };
        let tiles = StepTiles::new(Size::new(160, 100), &settings, 7);
        assert_ne!(tiles.grid(0), tiles.grid(1));
        assert_eq!(tiles.grid(1), StepTiles::new(Size::new(160, 100), &settings, 7).grid(1));
    }
}
