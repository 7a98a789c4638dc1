//! How much each tile counts where several overlap.

use std::fmt;
use std::str::FromStr;

use crate::grid::Axis;

/// The shape of a tile's weight.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Window {
    /// A plain average (MultiDiffusion).
    #[default]
    Uniform,
    /// A bell over the tile (Mixture of Diffusers, Jiménez 2023).
    Gaussian,
    /// A straight ramp across each overlap.
    Feather,
}

impl fmt::Display for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Uniform => "uniform",
            Self::Gaussian => "gaussian",
            Self::Feather => "feather",
        })
    }
}

impl FromStr for Window {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "uniform" => Ok(Self::Uniform),
            "gaussian" => Ok(Self::Gaussian),
            "feather" => Ok(Self::Feather),
            _ => Err(format!("{text:?} is no window; uniform, gaussian and feather are")),
        }
    }
}

/// A tile's weight is the product of its column's and its row's.
#[derive(Debug, Clone, PartialEq)]
pub struct TileWeights {
    /// One for each column.
    pub x: Vec<f32>,
    /// One for each row.
    pub y: Vec<f32>,
}

/// Variance of the Gaussian, in squares of the tile's side.
const VARIANCE: f64 = 0.01;

impl Window {
    /// The weights of the `index`th tile of an axis. A grid is the product of its axes, so weights
    /// normalised on each axis are normalised on the grid.
    pub(crate) fn axis(self, axis: &Axis, index: usize) -> Vec<f32> {
        let tile = axis.tile as usize;
        (0..tile)
            .map(|offset| {
                let at = axis.starts[index] as usize + offset;
                // Tiles are in order: those that reach `at` are neighbours of this one.
                let sum: f64 = (0..axis.starts.len())
                    .filter(|&i| (axis.starts[i] as usize..axis.starts[i] as usize + tile).contains(&at))
                    .map(|i| self.raw(axis, i, at - axis.starts[i] as usize))
                    .sum();
                (self.raw(axis, index, offset) / sum) as f32
            })
            .collect()
    }

    /// The weight at `offset` into tile `index`, before normalisation; greater than 0.
    fn raw(self, axis: &Axis, index: usize, offset: usize) -> f64 {
        let tile = f64::from(axis.tile);
        match self {
            Self::Uniform => 1.0,
            Self::Gaussian => {
                let from_centre = (offset as f64 + 0.5) / tile - 0.5;
                (-from_centre * from_centre / (2.0 * VARIANCE)).exp()
            }
            Self::Feather => {
                let ramp = |overlap: u32, distance: f64| {
                    if overlap == 0 { 1.0 } else { (distance / (f64::from(overlap) + 1.0)).min(1.0) }
                };
                let overlap = |i: usize| (axis.starts[i] + axis.tile).saturating_sub(axis.starts[i + 1]);
                let before = if index == 0 { 0 } else { overlap(index - 1) };
                let after = if index + 1 == axis.starts.len() { 0 } else { overlap(index) };
                ramp(before, offset as f64 + 1.0) * ramp(after, tile - offset as f64)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::{Size, TileGrid, Window};

    #[test]
    fn a_feather_has_no_ramp_at_the_edge_of_the_picture() {
        let grid = TileGrid::new(Size::new(40, 8), Size::new(24, 8), 8).unwrap();
        let first = grid.weights(0, Window::Feather);
        assert!(first.x[..16].iter().all(|w| *w == 1.0) && first.x[23] < 0.2);
        assert!(first.y.iter().all(|w| *w == 1.0));
    }

    #[test]
    fn a_gaussian_has_a_variance_of_a_hundredth_of_the_tile() {
        let grid = TileGrid::new(Size::new(150, 1), Size::new(100, 1), 50).unwrap();
        let (first, second) = (grid.weights(0, Window::Gaussian), grid.weights(1, Window::Gaussian));
        // Column 60 is 10.5 from the first tile's centre and 39.5 from the second's.
        let expected = ((0.395f64.powi(2) - 0.105f64.powi(2)) / 0.02).exp();
        let ratio = f64::from(first.x[60]) / f64::from(second.x[10]);
        assert!((ratio / expected - 1.0).abs() < 1e-5, "{ratio} {expected}");
    }

    #[test]
    fn names_are_read_as_written() {
        for window in [Window::Uniform, Window::Gaussian, Window::Feather] {
            assert_eq!(window.to_string().parse(), Ok(window));
        }
        assert!("round".parse::<Window>().is_err());
    }
}
