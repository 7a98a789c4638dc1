//! A rectangular area covered by overlapping tiles of one size.

use std::fmt;

use crate::{Rect, Size, TileWeights, Window};

/// Why an area cannot be covered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GridError {
    /// The area or the tile has no pixels.
    Empty,
    /// Tiles that overlap by their whole size never get anywhere.
    OverlapTooLarge {
        /// The overlap asked for.
        overlap: u32,
        /// The tile's side.
        side: u32,
    },
}

impl fmt::Display for GridError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("an area or a tile without pixels"),
            Self::OverlapTooLarge { overlap, side } => {
                write!(f, "an overlap of {overlap} leaves nothing of a tile of {side}; it must be smaller")
            }
        }
    }
}

impl std::error::Error for GridError {}

/// Tiles along one axis.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Axis {
    pub length: u32,
    pub tile: u32,
    pub starts: Vec<u32>,
}

impl Axis {
    /// With `L` the length, `T` the tile: one tile of length `L` if `L ≤ T`; else
    /// `n = ⌈(L − T)/(T − overlap)⌉ + 1` tiles, their overlap spread evenly, the last against the end.
    fn new(length: u32, tile: u32, overlap: u32) -> Result<Self, GridError> {
        if length == 0 || tile == 0 {
            return Err(GridError::Empty);
        }
        if length <= tile {
            return Ok(Self { length, tile: length, starts: vec![0] });
        }
        if overlap >= tile {
            return Err(GridError::OverlapTooLarge { overlap, side: tile });
        }
        let count = (length - tile).div_ceil(tile - overlap) + 1;
        let spread = (u64::from(count) * u64::from(tile) - u64::from(length)) / u64::from(count - 1);
        let stride = tile - spread as u32;
        let starts = (0..count).map(|i| (i * stride).min(length - tile)).collect();
        Ok(Self { length, tile, starts })
    }

    fn times(&self, factor: u32) -> Self {
        let starts = self.starts.iter().map(|start| start * factor).collect();
        Self { length: self.length * factor, tile: self.tile * factor, starts }
    }

    /// The first and the last end of the tiles that reach into `from .. to`.
    fn cover(&self, from: u32, to: u32) -> (u32, u32) {
        let mut reach = self.starts.iter().copied().filter(|start| *start < to && start + self.tile > from);
        let first = reach.next().unwrap_or(from);
        (first, reach.next_back().unwrap_or(first) + self.tile)
    }

    /// Where the `index`th tile's own part begins and ends.
    fn own(&self, index: usize) -> (u32, u32) {
        let end = |index: usize| self.starts[index] + self.tile;
        (index.checked_sub(1).map_or(0, end), end(index))
    }

    /// The same tiles moved back by `shift` of a stride (0 ..= 1), with one more at the end; an axis of
    /// one tile stays as it is.
    fn shifted(self, shift: f64) -> Self {
        let [_, second, ..] = self.starts[..] else { return self };
        let back = (shift * f64::from(second)) as u32;
        let last = self.length - self.tile;
        let mut starts: Vec<u32> =
            (0..=self.starts.len() as u32).map(|i| (i * second).saturating_sub(back).min(last)).collect();
        starts.dedup();
        Self { starts, ..self }
    }
}

/// Overlapping tiles of one size that cover an area, row by row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TileGrid {
    x: Axis,
    y: Axis,
}

impl TileGrid {
    /// Cover `area` by tiles of `tile` that overlap by at least `overlap`. An axis shorter than the
    /// tile gets one tile of its own length, whatever the other axis does.
    ///
    /// # Errors
    /// [`GridError`] if a side is 0, or if `overlap` is not smaller than a tile that has a neighbour.
    pub fn new(area: Size, tile: Size, overlap: u32) -> Result<Self, GridError> {
        Ok(Self {
            x: Axis::new(area.width, tile.width, overlap)?,
            y: Axis::new(area.height, tile.height, overlap)?,
        })
    }

    /// The same tiles moved by a share of their stride, `(x, y)` in 0 ..= 1, so that their borders fall
    /// elsewhere; an axis with several tiles gets one more, and none reaches outside.
    pub fn shifted(self, (x, y): (f64, f64)) -> Self {
        Self { x: self.x.shifted(x), y: self.y.shifted(y) }
    }

    /// The same tiles on an area `factor` times as wide and high.
    pub fn times(&self, factor: u32) -> Self {
        Self { x: self.x.times(factor), y: self.y.times(factor) }
    }

    /// The area covered.
    pub fn area(&self) -> Size {
        Size::new(self.x.length, self.y.length)
    }

    /// The size of every tile.
    pub fn tile(&self) -> Size {
        Size::new(self.x.tile, self.y.tile)
    }

    /// Tiles in a row.
    pub fn columns(&self) -> usize {
        self.x.starts.len()
    }

    /// Tiles in a column.
    pub fn rows(&self) -> usize {
        self.y.starts.len()
    }

    /// Tiles in all.
    #[allow(clippy::len_without_is_empty)] // a grid has at least one tile
    pub fn len(&self) -> usize {
        self.columns() * self.rows()
    }

    /// The `index`th tile.
    ///
    /// # Panics
    /// If there are fewer tiles.
    pub fn get(&self, index: usize) -> Rect {
        let (row, column) = (index / self.columns(), index % self.columns());
        Rect::new(self.x.starts[column], self.y.starts[row], self.tile())
    }

    /// What the `index`th tile covers and none in the row before, or before it in its row: a share of the area that no
    /// other tile has.
    ///
    /// # Panics
    /// If there are fewer tiles.
    pub fn own(&self, index: usize) -> Rect {
        let (row, column) = (index / self.columns(), index % self.columns());
        let ((left, right), (top, bottom)) = (self.x.own(column), self.y.own(row));
        Rect::new(left, top, Size::new(right - left, bottom - top))
    }

    /// The tiles, row by row.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = Rect> + '_ {
        (0..self.len()).map(|index| self.get(index))
    }

    /// The smallest rectangle around all tiles that have a point in `rect`.
    pub fn cover(&self, rect: Rect) -> Rect {
        let (left, right) = self.x.cover(rect.x, rect.right());
        let (top, bottom) = self.y.cover(rect.y, rect.bottom());
        Rect::new(left, top, Size::new(right - left, bottom - top))
    }

    /// How much the `index`th tile counts at each of its columns and rows. Over all tiles, the
    /// products of the two sum to 1 at every point.
    pub fn weights(&self, index: usize, window: Window) -> TileWeights {
        let (row, column) = (index / self.columns(), index % self.columns());
        TileWeights { x: window.axis(&self.x, column), y: window.axis(&self.y, row) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Areas, tiles and overlaps of all proportions.
    fn cases() -> impl Iterator<Item = (Size, Size, u32)> {
        let sides = [1, 2, 7, 8, 9, 63, 64, 65, 100, 257, 1000];
        let tiles = [(8, 8, 0), (8, 8, 7), (16, 9, 4), (112, 144, 8), (64, 64, 32), (1, 1, 0)];
        sides.into_iter().flat_map(move |w| {
            sides.into_iter().flat_map(move |h| {
                tiles.into_iter().map(move |(tw, th, o)| (Size::new(w, h), Size::new(tw, th), o))
            })
        })
    }

    #[test]
    fn own_parts_cover_the_area_once() {
        for (area, tile, overlap) in cases() {
            let grid = TileGrid::new(area, tile, overlap).unwrap();
            let parts: Vec<Rect> = (0..grid.len()).map(|index| grid.own(index)).collect();
            assert_eq!(parts.iter().map(|part| part.size.area()).sum::<u64>(), area.area(), "{area} {tile}");
            for (part, tile) in parts.iter().zip(grid.iter()) {
                assert!(part.right() == tile.right() && part.bottom() == tile.bottom(), "{area}: {part:?}");
                assert!(part.size.area() > 0 && part.x >= tile.x && part.y >= tile.y, "{area}: {part:?}");
            }
        }
    }

    #[test]
    fn every_point_is_covered_by_tiles_inside_the_area_that_overlap_enough() {
        for (area, tile, overlap) in cases() {
            let grid = TileGrid::new(area, tile, overlap).unwrap();
            for (axis, side) in [(&grid.x, area.width), (&grid.y, area.height)] {
                assert_eq!(axis.starts[0], 0);
                assert_eq!(axis.starts[axis.starts.len() - 1] + axis.tile, side);
                for pair in axis.starts.windows(2) {
                    assert!(pair[1] > pair[0] && pair[0] + axis.tile >= pair[1] + overlap, "{area} {tile}");
                }
            }
            assert_eq!(grid.iter().len(), grid.len());
        }
    }

    #[test]
    fn shifted_tiles_cover_as_well_and_have_other_borders() {
        for (area, tile, overlap) in cases() {
            let grid = TileGrid::new(area, tile, overlap).unwrap();
            for shift in [0.0, 0.3, 0.99, 1.0] {
                let shifted = grid.clone().shifted((shift, shift));
                for (axis, before) in [(&shifted.x, &grid.x), (&shifted.y, &grid.y)] {
                    assert_eq!(axis.starts[0], 0);
                    assert_eq!(axis.starts[axis.starts.len() - 1] + axis.tile, axis.length);
                    for pair in axis.starts.windows(2) {
                        assert!(pair[1] > pair[0] && pair[0] + axis.tile >= pair[1] + overlap);
                    }
                    assert!(axis.starts.len() <= before.starts.len() + 1);
                }
            }
        }
        let grid = TileGrid::new(Size::new(1000, 8), Size::new(100, 8), 20).unwrap();
        let inner = |grid: &TileGrid| grid.x.starts[1..grid.columns() - 1].to_vec();
        assert!(inner(&grid.clone().shifted((0.5, 0.5))).iter().all(|x| !grid.x.starts.contains(x)));
    }

    #[test]
    fn weights_sum_to_one_everywhere() {
        for (area, tile, overlap) in cases().filter(|(area, ..)| area.area() < 20_000) {
            let grid = TileGrid::new(area, tile, overlap).unwrap();
            for (window, shift) in [
                (Window::Uniform, 0.0),
                (Window::Gaussian, 0.0),
                (Window::Feather, 0.0),
                (Window::Uniform, 0.4),
                (Window::Feather, 0.7),
            ] {
                let grid = grid.clone().shifted((shift, shift / 2.0));
                let mut sum = vec![0f64; area.area() as usize];
                for (index, rect) in grid.iter().enumerate() {
                    let weights = grid.weights(index, window);
                    for (j, wy) in weights.y.iter().enumerate() {
                        for (i, wx) in weights.x.iter().enumerate() {
                            let at = (rect.y as usize + j) * area.width as usize + rect.x as usize + i;
                            sum[at] += f64::from(*wx) * f64::from(*wy);
                        }
                    }
                }
                assert!(sum.iter().all(|s| (s - 1.0).abs() < 1e-6), "{area} {tile} {overlap} {window}");
            }
        }
    }

    #[test]
    fn the_default_tile_covers_usual_pictures_as_published() {
        let tiles = |side: u32| {
            let grid = TileGrid::new(Size::new(side / 8, side / 8), Size::new(112, 144), 8).unwrap();
            (grid.columns(), grid.rows())
        };
        assert_eq!(tiles(2048), (3, 2));
        assert_eq!(tiles(4096), (5, 4));
        assert_eq!(tiles(8192), (10, 8));
    }

    #[test]
    fn a_panorama_is_cut_along_its_long_side_only() {
        let grid = TileGrid::new(Size::new(5000, 1), Size::new(112, 144), 8).unwrap();
        assert_eq!((grid.rows(), grid.tile()), (1, Size::new(112, 1)));
    }

    #[test]
    fn a_cover_is_all_tiles_that_reach_into_a_rectangle_and_no_other() {
        let grid = TileGrid::new(Size::new(40, 24), Size::new(16, 24), 8).unwrap();
        let cover = |x, width| grid.cover(Rect::new(x, 3, Size::new(width, 1)));
        // Tiles begin at 0, 8, 16 and 24.
        assert_eq!(cover(0, 8), Rect::new(0, 0, Size::new(16, 24)));
        assert_eq!(cover(8, 1), Rect::new(0, 0, Size::new(24, 24)));
        assert_eq!(cover(15, 2), Rect::new(0, 0, Size::new(32, 24)));
        assert_eq!(cover(39, 1), Rect::new(24, 0, Size::new(16, 24)));
        for (area, tile, overlap) in cases().filter(|(area, ..)| area.area() < 5000) {
            let grid = TileGrid::new(area, tile, overlap).unwrap();
            let rect = Rect::new(area.width / 3, area.height / 2, Size::new(1, 1));
            let cover = grid.cover(rect);
            for tile in grid.iter() {
                assert!(!tile.meets(rect) || tile.x >= cover.x && tile.bottom() <= cover.bottom());
            }
        }
    }

    #[test]
    fn an_overlap_as_large_as_the_tile_is_refused() {
        let error = TileGrid::new(Size::new(100, 100), Size::new(8, 8), 8).unwrap_err();
        assert_eq!(error, GridError::OverlapTooLarge { overlap: 8, side: 8 });
    }
}
