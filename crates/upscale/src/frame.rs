//! A canvas that may be circular, and the tiles that lie on it.
//!
//! Tiles know nothing of circles: on a circular axis the canvas is continued by a margin at both ends,
//! tiles are laid on that, and what they give for the margins is faded into the other end. So the join
//! is blended as every border between tiles is, and at every step.

use clarifier_raster::Wrap;
use clarifier_tile::{Rect, Size};

use crate::Canvas;

/// The least margin in latents: what a tile lacks beyond that hardly shows.
const MARGIN: u32 = 8;

/// A canvas and the area that tiles are laid on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Frame {
    core: Size,
    /// Latents added at each end of the axes.
    margin: (u32, u32),
}

impl Frame {
    /// A canvas of `core` latents, circular on the axes of `wrap`, whose tiles overlap by `overlap`.
    pub fn new(core: Size, wrap: Wrap, overlap: u32) -> Self {
        let margin = |wraps: bool, side: u32| if wraps { overlap.max(MARGIN).min(side / 2) } else { 0 };
        Self { core, margin: (margin(wrap.x, core.width), margin(wrap.y, core.height)) }
    }

    /// A canvas with four ends.
    pub fn flat(core: Size) -> Self {
        Self { core, margin: (0, 0) }
    }

    /// The canvas itself.
    pub fn core(&self) -> Size {
        self.core
    }

    /// The area that tiles are laid on.
    pub fn area(&self) -> Size {
        Size::new(self.core.width + 2 * self.margin.0, self.core.height + 2 * self.margin.1)
    }

    /// The frame of the canvas's pixels.
    pub fn times(self, factor: u32) -> Self {
        Self { core: self.core.times(factor), margin: (self.margin.0 * factor, self.margin.1 * factor) }
    }

    /// Where a tile's left top corner is on the canvas.
    pub fn corner(&self, tile: Rect) -> (i64, i64) {
        (i64::from(tile.x) - i64::from(self.margin.0), i64::from(tile.y) - i64::from(self.margin.1))
    }

    /// Where a tile is on the canvas, if none of it is beyond an end.
    pub fn inside(&self, tile: Rect) -> Option<Rect> {
        let (x, y) = self.corner(tile);
        let place = Rect::new(u32::try_from(x).ok()?, u32::try_from(y).ok()?, tile.size);
        (place.right() <= self.core.width && place.bottom() <= self.core.height).then_some(place)
    }

    /// The part of the canvas under `tile`, in the layout `[channels, height, width]`.
    ///
    /// # Panics
    /// If the canvas has another size, or the tile is outside the area.
    pub fn crop(&self, canvas: &Canvas, tile: Rect) -> Vec<f32> {
        assert_eq!(canvas.size, self.core);
        let (x, y) = self.corner(tile);
        let inside =
            |start: i64, count: u32, side: u32| start >= 0 && start + i64::from(count) <= side.into();
        if inside(x, tile.size.width, self.core.width) && inside(y, tile.size.height, self.core.height) {
            return canvas.crop(Rect::new(x as u32, y as u32, tile.size));
        }
        let round = |start: i64, count: u32, side: u32| -> Vec<usize> {
            (start..start + i64::from(count)).map(|at| at.rem_euclid(side.into()) as usize).collect()
        };
        let columns = round(x, tile.size.width, self.core.width);
        let rows = round(y, tile.size.height, self.core.height);
        let width = self.core.width as usize;
        let mut part = Vec::with_capacity(canvas.channels * tile.size.area() as usize);
        for plane in canvas.data.chunks_exact(self.core.area() as usize) {
            for row in &rows {
                let row = &plane[row * width..][..width];
                part.extend(columns.iter().map(|column| row[*column]));
            }
        }
        part
    }

    /// What tiles gave for the whole area, as a canvas: margins faded into the other end.
    ///
    /// # Panics
    /// If `given` is not of the area's size.
    pub fn fold(&self, mut given: Canvas) -> Canvas {
        let channels = given.channels;
        let data = self.fold_part(&mut given, Rect::new(0, 0, self.core));
        Canvas { size: self.core, channels, data }
    }

    /// The part `rect` of [`Self::fold`], `[channels, height, width]`; whole rows. If it is all, it may be taken from `given`.
    pub(crate) fn fold_part(&self, given: &mut Canvas, rect: Rect) -> Vec<f32> {
        assert_eq!(given.size, self.area());
        assert_eq!((rect.x, rect.size.width), (0, self.core.width), "whole rows");
        if self.margin == (0, 0) {
            return given.lift(rect);
        }
        let (columns, rows) = self.folds();
        let rows = &rows[rect.y as usize..rect.bottom() as usize];
        let mut folded = vec![0.0; given.channels * rect.size.area() as usize];
        let width = given.size.width as usize;
        let planes = given.data.chunks_exact(given.size.area() as usize);
        for (into, plane) in folded.chunks_exact_mut(rect.size.area() as usize).zip(planes) {
            for (into, down) in into.chunks_exact_mut(rect.size.width as usize).zip(rows) {
                for (into, across) in into.iter_mut().zip(&columns) {
                    for (y, wy) in down {
                        *into += across.iter().map(|(x, wx)| wy * wx * plane[y * width + x]).sum::<f32>();
                    }
                }
            }
        }
        folded
    }

    /// For each column and each row of the canvas, those of the area that it is made of.
    pub fn folds(&self) -> (Vec<Fold>, Vec<Fold>) {
        (fold_axis(self.core.width, self.margin.0), fold_axis(self.core.height, self.margin.1))
    }

    /// The part of the area whose tiles have a say in `needed`, a part of the canvas. On a circular
    /// axis that is all of it as soon as the join is touched.
    pub fn seen(&self, needed: Rect) -> Rect {
        let axis = |from: u32, to: u32, side: u32, margin: u32| {
            if from < margin || to + margin > side {
                (0, side + 2 * margin)
            } else {
                (from + margin, to + margin)
            }
        };
        let (left, right) = axis(needed.x, needed.right(), self.core.width, self.margin.0);
        let (top, bottom) = axis(needed.y, needed.bottom(), self.core.height, self.margin.1);
        Rect::new(left, top, Size::new(right - left, bottom - top))
    }

    /// The part of the canvas that lies under `seen`, a part of the area.
    pub fn under(&self, seen: Rect) -> Rect {
        let axis = |from: u32, to: u32, side: u32, margin: u32| {
            if from < margin || to > side + margin { (0, side) } else { (from - margin, to - margin) }
        };
        let (left, right) = axis(seen.x, seen.right(), self.core.width, self.margin.0);
        let (top, bottom) = axis(seen.y, seen.bottom(), self.core.height, self.margin.1);
        Rect::new(left, top, Size::new(right - left, bottom - top))
    }
}

/// Places of the continued axis and their shares, which sum to 1.
pub(crate) type Fold = Vec<(usize, f32)>;

/// For each place of an axis, the places of the continued axis that it is made of, and their shares.
///
/// The zone around the join, two margins wide, is given twice: at the beginning and at the end.
fn fold_axis(side: u32, margin: u32) -> Vec<Fold> {
    let (side, margin) = (side as usize, margin as usize);
    (0..side)
        .map(|at| {
            // How far into the zone, which begins a margin before the join.
            let into = match at {
                _ if margin == 0 => None,
                at if at < margin => Some(at + margin),
                at if at + margin >= side => Some(at + margin - side),
                _ => None,
            };
            match into {
                None => vec![(at + margin, 1.0)],
                Some(into) => {
                    let beginning = (into as f32 + 1.0) / (2.0 * margin as f32 + 1.0);
                    vec![(into, beginning), (into + side, 1.0 - beginning)]
                }
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbered(size: Size) -> Canvas {
        let mut canvas = Canvas::zeros(size, 2);
        canvas.data.iter_mut().enumerate().for_each(|(i, v)| *v = (i as f32 * 0.7).sin());
        canvas
    }

    #[test]
    fn what_is_continued_and_folded_is_what_it_was() {
        for (wrap, size) in [
            (Wrap { x: true, y: false }, Size::new(30, 9)),
            (Wrap { x: true, y: true }, Size::new(17, 40)),
            (Wrap { x: false, y: true }, Size::new(3, 5)),
            (Wrap { x: true, y: true }, Size::new(1, 1)),
            (Wrap::NONE, Size::new(4, 4)),
        ] {
            let frame = Frame::new(size, wrap, 4);
            let canvas = numbered(size);
            let whole = Rect::new(0, 0, frame.area());
            let continued = Canvas { size: frame.area(), channels: 2, data: frame.crop(&canvas, whole) };
            let folded = frame.fold(continued);
            let worst = folded.data.iter().zip(&canvas.data).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            assert!(worst < 1e-6, "{wrap:?} {size}: {worst}");
        }
    }

    #[test]
    fn the_ends_of_a_folded_axis_meet() {
        // A ramp: without a fade it would jump at the join.
        let frame = Frame::new(Size::new(64, 1), Wrap { x: true, y: false }, 8);
        let area = frame.area();
        let data = (0..area.width).map(|x| x as f32).collect();
        let folded = frame.fold(Canvas { size: area, channels: 1, data }).data;
        let step = |i: usize| (folded[(i + 1) % 64] - folded[i]).abs();
        assert!((0..64).all(|i| step(i) < 5.0), "{folded:?}");
    }

    #[test]
    fn what_is_needed_grows_to_the_whole_axis_at_the_join() {
        let frame = Frame::new(Size::new(100, 50), Wrap { x: true, y: false }, 8);
        let inner = Rect::new(20, 0, Size::new(10, 5));
        assert_eq!(frame.seen(inner), Rect::new(28, 0, Size::new(10, 5)));
        assert_eq!(frame.under(frame.seen(inner)), inner);
        let edge = Rect::new(3, 0, Size::new(10, 5));
        assert_eq!(frame.seen(edge), Rect::new(0, 0, Size::new(116, 5)));
        assert_eq!(frame.under(frame.seen(edge)).size.width, 100);
    }
}
