//! The settings that are one of a few words.

use clarifier_raster::Wrap;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How overlapping tiles are weighted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum TileWindow {
    /// A plain average, as MultiDiffusion and Refiners do.
    Uniform,
    /// A bell over each tile.
    Gaussian,
    /// A ramp across each overlap: the least visible.
    #[default]
    Feather,
}

impl From<TileWindow> for clarifier_tile::Window {
    fn from(window: TileWindow) -> Self {
        match window {
            TileWindow::Uniform => Self::Uniform,
            TileWindow::Gaussian => Self::Gaussian,
            TileWindow::Feather => Self::Feather,
        }
    }
}

/// Which picture the ControlNet looks at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum HintSource {
    /// The enlarged picture that diffusion starts from (Refiners).
    #[default]
    Guess,
    /// The stage's input, enlarged smoothly (Clarity).
    Input,
}

/// Which half of the guidance the ControlNet has a say in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ControlMode {
    /// Both, each with its own prompt (A1111: "Balanced").
    #[default]
    Balanced,
    /// The prompt's only, so that guidance strengthens it (A1111: "ControlNet is more important").
    Controlnet,
}

/// Which sides continue at the opposite side.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Seamless {
    /// An ordinary picture.
    #[default]
    None,
    /// Left and right.
    X,
    /// Top and bottom.
    Y,
    /// All four.
    Both,
}

/// What the white of a mask means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum MaskMode {
    /// White is redrawn, black is kept.
    #[default]
    Change,
    /// White is kept, black is redrawn.
    Keep,
}

/// Where the autoencoder's tiles take their normalisation from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum VaeStatistics {
    /// The picture reduced to one tile (Refiners).
    #[default]
    Thumbnail,
    /// The picture's corners at full size.
    Sampled,
}

impl From<Seamless> for Wrap {
    fn from(seamless: Seamless) -> Self {
        Self {
            x: matches!(seamless, Seamless::X | Seamless::Both),
            y: matches!(seamless, Seamless::Y | Seamless::Both),
        }
    }
}
