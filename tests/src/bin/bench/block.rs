//! A UNet of one level: what the larger ones are made of, small enough for a browser on a processor.

use clarifier_model::loader::Weights;
use clarifier_model::unet::UNet;
use serde_json::json;

use crate::cases::{Setting, noise};
use crate::random::Random;

/// Latent channels, tokens of a prompt and what each has.
const LATENTS: usize = 4;
const TOKENS: usize = 77;
const CONTEXT: usize = 768;

/// Names and shapes of its tensors.
fn tensors(channels: usize) -> Vec<(String, Vec<usize>)> {
    let (c, time) = (channels, 4 * channels);
    let mut all = Vec::new();
    let mut weight = |name: String, shape: &[usize], biased: bool| {
        if biased {
            all.push((format!("{name}.bias"), vec![shape[0]]));
        }
        all.push((format!("{name}.weight"), shape.to_vec()));
    };
    weight("conv_in".into(), &[c, LATENTS, 3, 3], true);
    weight("conv_norm_out".into(), &[c], true);
    weight("conv_out".into(), &[LATENTS, c, 3, 3], true);
    weight("time_embedding.linear_1".into(), &[time, c], true);
    weight("time_embedding.linear_2".into(), &[time, time], true);
    let down = [("down_blocks.0.resnets.0", c), ("mid_block.resnets.0", c), ("mid_block.resnets.1", c)];
    let up = [("up_blocks.0.resnets.0", 2 * c), ("up_blocks.0.resnets.1", 2 * c)];
    for (name, inputs) in down.into_iter().chain(up) {
        weight(format!("{name}.norm1"), &[inputs], true);
        weight(format!("{name}.conv1"), &[c, inputs, 3, 3], true);
        weight(format!("{name}.time_emb_proj"), &[c, time], true);
        weight(format!("{name}.norm2"), &[c], true);
        weight(format!("{name}.conv2"), &[c, c, 3, 3], true);
        if inputs != c {
            weight(format!("{name}.conv_shortcut"), &[c, inputs, 1, 1], true);
        }
    }
    for block in [
        "down_blocks.0.attentions.0",
        "mid_block.attentions.0",
        "up_blocks.0.attentions.0",
        "up_blocks.0.attentions.1",
    ] {
        weight(format!("{block}.norm"), &[c], true);
        weight(format!("{block}.proj_in"), &[c, c, 1, 1], true);
        weight(format!("{block}.proj_out"), &[c, c, 1, 1], true);
        let inner = format!("{block}.transformer_blocks.0");
        for i in 1..=3 {
            weight(format!("{inner}.norm{i}"), &[c], true);
        }
        for (attention, context) in [("attn1", c), ("attn2", CONTEXT)] {
            weight(format!("{inner}.{attention}.to_q"), &[c, c], false);
            weight(format!("{inner}.{attention}.to_k"), &[c, context], false);
            weight(format!("{inner}.{attention}.to_v"), &[c, context], false);
            weight(format!("{inner}.{attention}.to_out.0"), &[c, c], true);
        }
        weight(format!("{inner}.ff.net.0.proj"), &[8 * c, c], true);
        weight(format!("{inner}.ff.net.2"), &[c, 4 * c], true);
    }
    all
}

/// Operations for a batch of two, a multiply-add as two.
pub fn operations(channels: usize, h: usize, w: usize) -> f64 {
    let (c, pixels) = (channels as f64, (h * w) as f64);
    // Five residual blocks of two convolutions, two of whose first see twice as much and have a shortcut of it.
    let resnets = 9.0 * c * c * (10.0 + 2.0) + 2.0 * 2.0 * c * c;
    // Two projections, eight of attention but two of text, the feed-forward's twelve.
    let text = 2.0 * TOKENS as f64 / pixels * CONTEXT as f64 * c;
    let linear = c * c * (2.0 + 6.0 + 12.0) + text;
    let attention = 2.0 * (pixels + TOKENS as f64) * c;
    let ends = 2.0 * 9.0 * LATENTS as f64 * c;
    2.0 * 2.0 * pixels * (resnets + 4.0 * (linear + attention) + ends)
}

/// Ready to be run; time and prompt are known, as in a run.
pub fn prepare(channels: usize, (h, w): (usize, usize), setting: &Setting) -> Box<dyn FnMut()> {
    let config = json!({
        "in_channels": LATENTS,
        "block_out_channels": [channels],
        "layers_per_block": 1,
        "down_block_types": ["CrossAttnDownBlock2D"],
        "cross_attention_dim": CONTEXT,
        "attention_head_dim": 8,
    });
    let placement = setting.placement();
    let file = Random::new(tensors(channels));
    let weights = Weights::new(&file, "random", &placement);
    let unet = UNet::load(weights, Some(&config)).expect("sizes of its own");
    let x = noise([2, LATENTS, h, w], setting);
    let (time, prompt) = (unet.time(500.0, &x), unet.prompt(&noise([2, TOKENS, CONTEXT], setting)));
    Box::new(move || drop(unet.forward_with(x.clone(), &time, &prompt, None)))
}
