//! The whole networks at their true sizes, with random weights that are made in memory.

use std::collections::BTreeMap;

use burn::tensor::Device;
use clarifier_kernels::AttentionBudget;
use clarifier_model::controlnet::ControlNet;
use clarifier_model::esrgan::Esrgan;
use clarifier_model::files::{FileError, TensorFile, TensorInfo};
use clarifier_model::layers::Norms;
use clarifier_model::loader::{Placement, Weights};
use clarifier_model::unet::UNet;
use clarifier_model::vae::Vae;
use clarifier_tests::json;
use clarifier_tests::models::entries;
use rayon::prelude::*;
use serde_json::Value;

use crate::cases::noise;

/// Operations of UNet and ControlNet for a batch of two, a latent pixel at 64 × 64 (by torch's FlopCounterMode).
pub const CFG_OPERATIONS: f64 = 2.1731e12 / 4096.0;
/// Operations of the VAE's decoder, a latent pixel at 128 × 128 (by torch's FlopCounterMode).
pub const VAE_OPERATIONS: f64 = 10.470e12 / 16384.0;
/// Operations of RRDB-23, an input pixel (by torch's FlopCounterMode).
pub const RRDB_OPERATIONS: f64 = 2.3497e12 / 65536.0;

/// Tensors of numbers as small as their layer wants them.
struct Random(BTreeMap<String, TensorInfo>);

impl Random {
    fn new(tensors: impl IntoIterator<Item = (String, Vec<usize>)>) -> Self {
        let info = |shape| TensorInfo { dtype: "F32".into(), shape };
        Self(tensors.into_iter().map(|(name, shape)| (name, info(shape))).collect())
    }

    /// A network of `manifest_full.json`, and its `config.json`.
    fn of_sd(part: &str) -> (Self, Value) {
        let mut manifest = json("manifest_full.json");
        let content = manifest[part].take();
        let list = entries(&content["tensors"]).into_iter().map(|entry| (entry.name, entry.shape));
        (Self::new(list), content["config"].clone())
    }
}

impl TensorFile for Random {
    fn tensors(&self) -> &BTreeMap<String, TensorInfo> {
        &self.0
    }

    fn read(&self, name: &str) -> Result<Vec<f32>, FileError> {
        let shape = &self.0[name].shape;
        let count = shape.iter().product::<usize>();
        if shape.len() == 1 {
            return Ok(vec![f32::from(u8::from(name.ends_with("weight"))); count]);
        }
        let bound = (3.0 / shape[1..].iter().product::<usize>() as f32).sqrt();
        let value = |i: usize| {
            // A step of SplitMix64: enough for weights that only have to be different.
            let mixed = (i as u64 ^ 0x9E37_79B9).wrapping_mul(0xBF58_476D_1CE4_E5B9);
            let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
            ((mixed >> 40) as f32 / (1 << 23) as f32 - 1.0) * bound
        };
        Ok((0..count).into_par_iter().map(value).collect())
    }
}

fn placement(device: &Device, attention: AttentionBudget) -> Placement {
    Placement { attention, ..Placement::f32(device) }
}

/// ControlNet, then UNet, for the unconditional and the conditional half.
pub fn cfg_step(h: usize, w: usize, device: &Device, attention: AttentionBudget) -> Box<dyn FnMut()> {
    let placement = placement(device, attention);
    let (file, config) = Random::of_sd("unet");
    let unet = UNet::load(Weights::new(&file, "random", &placement), Some(&config)).expect("sizes of SD 1.5");
    let (file, config) = Random::of_sd("controlnet");
    let controlnet =
        ControlNet::load(Weights::new(&file, "random", &placement), Some(&config)).expect("sizes of SD 1.5");
    let (x, hint) = (noise([2, 4, h, w], device), noise([2, 3, 8 * h, 8 * w], device));
    let text = noise([2, 77, 768], device);
    Box::new(move || {
        let residuals = controlnet.forward(x.clone(), hint.clone(), 500.0, &text);
        drop(unet.forward(x.clone(), 500.0, &text, Some(residuals)));
    })
}

/// Latents to pixels.
pub fn vae_decode(h: usize, w: usize, device: &Device, attention: AttentionBudget) -> Box<dyn FnMut()> {
    let (file, config) = Random::of_sd("vae");
    let weights = Weights::new(&file, "random", &placement(device, attention));
    let vae = Vae::load(weights, Some(&config)).expect("sizes of SD 1.5");
    let z = noise([1, 4, h, w], device);
    Box::new(move || drop(vae.decode(z.clone(), &mut Norms::Own)))
}

/// ESRGAN's enlarger by 4.
pub fn rrdb(h: usize, w: usize, device: &Device, attention: AttentionBudget) -> Box<dyn FnMut()> {
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
    let weights = Weights::new(&file, "random", &placement(device, attention));
    let network = Esrgan::load(weights).expect("RRDB-23");
    let x = noise([1, 3, h, w], device);
    Box::new(move || drop(network.forward(x.clone())))
}
