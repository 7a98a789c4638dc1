//! The whole networks at their true sizes, with random weights that are made in memory.

use clarifier_model::controlnet::ControlNet;
use clarifier_model::layers::Norms;
use clarifier_model::loader::Weights;
use clarifier_model::unet::UNet;
use clarifier_model::upscalers;
use clarifier_model::vae::Vae;
use clarifier_tests::json;
use clarifier_tests::models::entries;
use serde_json::Value;

use crate::cases::{Case, Setting, noise};
use crate::random::Random;

/// A network of `manifest_full.json`, and its `config.json`.
fn of_sd(part: &str) -> (Random, Value) {
    let mut manifest = json("manifest_full.json");
    let content = manifest[part].take();
    let list = entries(&content["tensors"]).into_iter().map(|entry| (entry.name, entry.shape));
    (Random::new(list), content["config"].clone())
}

/// The work of a case that is a network.
pub fn prepare(case: Case, setting: &Setting) -> Option<Box<dyn FnMut()>> {
    Some(match case {
        Case::CfgStep { h, w, tiles } => cfg_step((h, w), tiles, setting),
        Case::VaeDecode { h, w } => vae_decode(h, w, setting),
        Case::Rrdb { h, w } => rrdb(h, w, setting),
        _ => return None,
    })
}

/// ControlNet, then UNet, for the unconditional and the conditional half of each tile.
fn cfg_step((h, w): (usize, usize), tiles: usize, setting: &Setting) -> Box<dyn FnMut()> {
    let placement = setting.placement();
    let (file, config) = of_sd("unet");
    let unet = UNet::load(Weights::new(&file, "random", &placement), Some(&config)).expect("sizes of SD 1.5");
    let (file, config) = of_sd("controlnet");
    let controlnet =
        ControlNet::load(Weights::new(&file, "random", &placement), Some(&config)).expect("sizes of SD 1.5");
    let batch = 2 * tiles;
    let (x, hint) = (noise([batch, 4, h, w], setting), noise([batch, 3, 8 * h, 8 * w], setting));
    let text = noise([batch, 77, 768], setting);
    Box::new(move || {
        let residuals = controlnet.forward(x.clone(), hint.clone(), 500.0, &text);
        drop(unet.forward(x.clone(), 500.0, &text, Some(residuals)));
    })
}

/// Latents to pixels.
fn vae_decode(h: usize, w: usize, setting: &Setting) -> Box<dyn FnMut()> {
    let (file, config) = of_sd("vae");
    let weights = Weights::new(&file, "random", &setting.placement());
    let vae = Vae::load(weights, Some(&config)).expect("sizes of SD 1.5");
    let z = noise([1, 4, h, w], setting);
    Box::new(move || drop(vae.decode(z.clone(), &mut Norms::Own)))
}

/// ESRGAN's enlarger by 4.
fn rrdb(h: usize, w: usize, setting: &Setting) -> Box<dyn FnMut()> {
    let (wide, grown) = (64, 32);
    let mut tensors = Vec::new();
    let mut conv = |name: String, inputs: usize, outputs: usize| {
        tensors.push((format!("{name}.weight"), vec![outputs, inputs, 3, 3]));
        tensors.push((format!("{name}.bias"), vec![outputs]));
    };
    conv("conv_first".into(), 3, wide);
    for block in 0..23 {
        for rdb in 1..=3 {
            for k in 1..=5 {
                let outputs = if k == 5 { wide } else { grown };
                conv(format!("body.{block}.rdb{rdb}.conv{k}"), wide + (k - 1) * grown, outputs);
            }
        }
    }
    for name in ["conv_body", "conv_up1", "conv_up2", "conv_hr"] {
        conv(name.into(), wide, wide);
    }
    conv("conv_last".into(), wide, 3);
    let file = Random::new(tensors);
    let weights = Weights::new(&file, "random", &setting.placement());
    let network = upscalers::load(weights).expect("RRDB-23");
    let x = noise([1, 3, h, w], setting);
    Box::new(move || drop(network.forward(x.clone())))
}
