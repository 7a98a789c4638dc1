//! Work and memory of UNet and ControlNet.

use super::DenoiserCost;
use super::layers::{Layer, count, layers, length};
use crate::files::TensorFile;

impl DenoiserCost {
    /// The cost of a UNet and a ControlNet.
    pub fn of(unet: &dyn TensorFile, controlnet: &dyn TensorFile) -> Self {
        let both = [unet, controlnet];
        let level = |i: usize| length(unet, &format!("down_blocks.{i}.resnets.0.conv1.weight"), 0);
        let attends = |i: usize| {
            let name = format!("down_blocks.{i}.attentions.0.norm.weight");
            unet.tensors().contains_key(&name)
        };
        // Before its gate, the feed-forward is eight times as wide; a resnet on the way up has its skip beside it.
        let gated = (0..2).filter(|i| attends(*i)).map(|i| (8 * level(i)) >> (2 * i)).max().unwrap_or(0);
        let largest = |file: &&dyn TensorFile| {
            let values = file.tensors().values().map(|info| info.shape.iter().product::<usize>());
            values.max().unwrap_or(0) as u64
        };
        let total = |operations: fn(&Layer) -> f64| {
            both.iter().flat_map(|file| layers(*file)).map(|layer| operations(&layer)).sum::<f64>()
        };
        let outer = |operations: fn(&Layer) -> f64| -> f64 {
            layers(unet).filter(Layer::is_outermost).map(|layer| operations(&layer)).sum()
        };
        let share = |operations: fn(&Layer) -> f64| outer(operations) / total(operations).max(1.0);
        let last = count(unet, "up_blocks.").saturating_sub(1);
        let resnets = count(unet, &format!("up_blocks.{last}.resnets.")) as u64;
        Self {
            // Under guidance there are two prompts.
            per_latent: 2.0 * total(|layer| layer.operations()),
            per_pair: 2.0 * total(|layer| layer.operations_per_pair()),
            outermost: (share(|layer| layer.operations()), share(|layer| layer.operations_per_pair())),
            reused: 2 * (level(1) + resnets * level(0)),
            channels: level(0),
            widest: 2 * gated.max(level(0) + level(1)),
            largest_weight: both.iter().map(largest).max().unwrap_or(0),
        }
    }

    /// Operations of a tile of so many latents under guidance; of the outermost level alone if it `reuses` the others' features.
    pub fn of_tile(&self, latents: f64, reuses: bool) -> f64 {
        let (linear, pairs) = if reuses { self.outermost } else { (1.0, 1.0) };
        latents * (linear * self.per_latent + pairs * latents * self.per_pair)
    }
}
