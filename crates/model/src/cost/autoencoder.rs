//! Work and memory of a VAE, SD's or TAESD.

use super::AutoencoderCost;
use super::layers::{layers, length};
use crate::files::TensorFile;

/// The first weight of TAESD.
const TAESD_FIRST: &str = "encoder.layers.0.weight";

impl AutoencoderCost {
    /// The cost of the VAE in `file`.
    pub fn of(file: &dyn TensorFile) -> Self {
        let half = |start: &str| -> f64 {
            layers(file).filter(|layer| layer.name.starts_with(start)).map(|layer| layer.operations()).sum()
        };
        // All its levels are as wide.
        let taesd = length(file, TAESD_FIRST, 0);
        Self {
            encoder: half("encoder."),
            decoder: half("decoder."),
            channels: length(file, "encoder.conv_in.weight", 0).max(taesd),
            widest: length(file, "encoder.down_blocks.1.resnets.0.conv1.weight", 0).max(taesd),
        }
    }
}
