//! Rectangles, overlapping tile grids and the windows that blend tiles together.
//!
//! Units are whatever the caller counts in: latents for diffusion, pixels for the VAE.
// What a library has to say it returns; a face says it.
#![cfg_attr(not(test), deny(clippy::print_stdout, clippy::print_stderr))]

mod grid;
mod window;

pub use grid::{GridError, TileGrid};
pub use window::{TileWeights, Window};

/// Width and height.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Size {
    /// Columns.
    pub width: u32,
    /// Rows.
    pub height: u32,
}

impl Size {
    /// A size of `width` columns and `height` rows.
    pub const fn new(width: u32, height: u32) -> Self {
        Self { width, height }
    }

    /// `width · height`.
    pub const fn area(self) -> u64 {
        self.width as u64 * self.height as u64
    }

    /// Both sides times `factor`.
    pub const fn times(self, factor: u32) -> Self {
        Self::new(self.width * factor, self.height * factor)
    }

    /// The largest size of these proportions that fits in `within`, rounded; never larger than this one, never empty.
    pub fn fitted(self, within: Self) -> Self {
        let ratio = f64::from(within.width) / f64::from(self.width);
        let ratio = ratio.min(f64::from(within.height) / f64::from(self.height)).min(1.0);
        let side = |length: u32| (f64::from(length) * ratio).round().max(1.0) as u32;
        Self::new(side(self.width), side(self.height))
    }
}

impl From<(u32, u32)> for Size {
    fn from((width, height): (u32, u32)) -> Self {
        Self { width, height }
    }
}

impl std::fmt::Display for Size {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} × {}", self.width, self.height)
    }
}

/// A rectangle: its left top corner and its size.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Rect {
    /// First column.
    pub x: u32,
    /// First row.
    pub y: u32,
    /// Columns and rows.
    pub size: Size,
}

impl Rect {
    /// The rectangle of `size` with its left top corner at `(x, y)`.
    pub const fn new(x: u32, y: u32, size: Size) -> Self {
        Self { x, y, size }
    }

    /// The column after the last.
    pub const fn right(self) -> u32 {
        self.x + self.size.width
    }

    /// The row after the last.
    pub const fn bottom(self) -> u32 {
        self.y + self.size.height
    }

    /// Coordinates and size times `factor`.
    pub const fn times(self, factor: u32) -> Self {
        Self::new(self.x * factor, self.y * factor, self.size.times(factor))
    }

    /// Whether the two have a point in common.
    pub const fn meets(self, other: Self) -> bool {
        self.x < other.right() && other.x < self.right() && self.y < other.bottom() && other.y < self.bottom()
    }

    /// What the two have in common, if anything.
    pub fn common(self, other: Self) -> Option<Self> {
        let (x, y) = (self.x.max(other.x), self.y.max(other.y));
        let (right, bottom) = (self.right().min(other.right()), self.bottom().min(other.bottom()));
        (x < right && y < bottom).then(|| Self::new(x, y, Size::new(right - x, bottom - y)))
    }

    /// The smallest rectangle around both.
    pub fn hull(self, other: Self) -> Self {
        let (x, y) = (self.x.min(other.x), self.y.min(other.y));
        let (right, bottom) = (self.right().max(other.right()), self.bottom().max(other.bottom()));
        Self::new(x, y, Size::new(right - x, bottom - y))
    }

    /// Larger by `margin` on each side, as far as `area` reaches.
    pub fn grown(self, margin: u32, area: Size) -> Self {
        let (x, y) = (self.x.saturating_sub(margin), self.y.saturating_sub(margin));
        let right = self.right().saturating_add(margin).min(area.width);
        let bottom = self.bottom().saturating_add(margin).min(area.height);
        Self::new(x, y, Size::new(right - x, bottom - y))
    }
}
