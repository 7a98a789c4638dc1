//! The weights of a network that count, and at which size of a picture or a latent each is applied.

use crate::files::TensorFile;

/// A weight that is multiplied with everywhere in a picture or a latent.
pub struct Layer<'a> {
    pub name: &'a str,
    /// Values.
    size: f64,
    /// Length of the first axis.
    outputs: f64,
    /// Times that sides were halved before it is applied.
    level: i32,
    /// The number of the network's innermost level.
    last: i32,
}

impl Layer<'_> {
    /// Operations for a latent, or a pixel, at the full size.
    pub fn operations(&self) -> f64 {
        2.0 * self.size * 0.25f64.powi(self.level)
    }

    /// Operations of the self-attention that it makes the queries of, for a pair of latents at the full size.
    pub fn operations_per_pair(&self) -> f64 {
        if !self.name.ends_with("attn1.to_q.weight") {
            return 0.0;
        }
        4.0 * self.outputs * 0.0625f64.powi(self.level)
    }

    /// True if it belongs to the first level of a UNet, the way back to it left out.
    pub fn is_outermost(&self) -> bool {
        self.level == 0 && !self.name.starts_with(&format!("up_blocks.{}.", self.last - 1))
    }
}

/// The weights of a network in diffusers' names, without those that are applied once for a tile or a prompt.
pub fn layers(file: &dyn TensorFile) -> impl Iterator<Item = Layer<'_>> {
    const ONCE: [&str; 6] =
        ["time_emb", "attn2.to_k", "attn2.to_v", "controlnet_cond", "controlnet_down", "controlnet_mid"];
    let last = count(file, "down_blocks.") as i32 - 1;
    let counts = |name: &str, axes: usize| axes > 1 && !ONCE.iter().any(|once| name.contains(once));
    file.tensors().iter().filter(move |(name, info)| counts(name, info.shape.len())).map(
        move |(name, info)| Layer {
            name,
            size: info.shape.iter().product::<usize>() as f64,
            outputs: info.shape[0] as f64,
            level: level(name, last),
            last,
        },
    )
}

/// Number of entries of a list of the network, whose names have `list` and a number.
pub fn count(file: &dyn TensorFile, list: &str) -> usize {
    let has = |i: &usize| file.tensors().keys().any(|name| name.contains(&format!("{list}{i}.")));
    (0..).take_while(has).count()
}

/// The length of an axis of a tensor, 0 if there is none.
pub fn length(file: &dyn TensorFile, name: &str, axis: usize) -> u64 {
    file.tensors().get(name).and_then(|info| info.shape.get(axis)).map_or(0, |length| *length as u64)
}

/// The numbers of TAESD's layers that halve or double the picture.
const TAESD_HALVES: [i32; 3] = [2, 6, 10];
const TAESD_DOUBLES: [i32; 3] = [6, 11, 16];

/// Times that sides were halved before the weight `name` is applied, in a network of `last + 1` levels.
fn level(name: &str, last: i32) -> i32 {
    let number = |list: &str| {
        let rest = &name[name.find(list)? + list.len()..];
        rest.split('.').next()?.parse::<i32>().ok()
    };
    let passed = |ends: [i32; 3], layer: i32| ends.iter().filter(|end| layer >= **end).count() as i32;
    match (name.starts_with("encoder."), number(".layers.")) {
        (true, Some(layer)) => return passed(TAESD_HALVES, layer),
        (false, Some(layer)) => return 3 - passed(TAESD_DOUBLES, layer),
        _ => {}
    }
    let inner = name.contains("mid_block") || name.contains("quant_conv");
    let ends = [("encoder.conv_out", last), ("decoder.conv_in", last)];
    match (number("down_blocks."), number("up_blocks.")) {
        (Some(block), _) => block + i32::from(name.contains("downsamplers")),
        (_, Some(block)) => last - block - i32::from(name.contains("upsamplers")),
        _ if inner => last,
        _ => ends.iter().find(|(end, _)| name.starts_with(end)).map_or(0, |(_, level)| *level),
    }
}
