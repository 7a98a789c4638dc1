//! Whole models by formula, in the real file formats.

use std::collections::BTreeMap;
use std::path::Path;

use clarifier_upscale::DiffusionPaths;
use serde_json::Value;

use crate::json;
use crate::weights::{Entry, Stored, write_safetensors};

/// How large the networks are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scale {
    /// A few channels.
    Tiny,
    /// A quarter of those, for pictures so large that the tiny networks take days.
    Narrow,
    /// Those of SD 1.5.
    Full,
}

impl Scale {
    /// `tiny` or `full`, as in the name of the fixture that its shapes come from.
    pub fn name(self) -> &'static str {
        match self {
            Self::Tiny | Self::Narrow => "tiny",
            Self::Full => "full",
        }
    }
}

/// Whether a tiny network's weight is doubled: SiLUs between its convolutions weaken the hint until a tiny
/// ControlNet hardly sees it.
fn is_doubled(name: &str, scale: Scale) -> bool {
    scale != Scale::Full && name.starts_with("controlnet_cond_embedding.") && name.ends_with(".weight")
}

/// A set whose ControlNet lies with its checkpoint.
pub fn set_at(path: &Path) -> DiffusionPaths {
    DiffusionPaths { checkpoint: path.into(), controlnet: path.into(), ..DiffusionPaths::default() }
}

/// The tensors of a manifest.
pub fn entries(tensors: &Value) -> Vec<Entry> {
    let shape = |v: &Value| v.as_array().unwrap().iter().map(|n| n.as_u64().unwrap() as usize).collect();
    let list = tensors.as_object().unwrap().iter();
    list.map(|(name, s)| Entry { name: name.clone(), formula: name.clone(), shape: shape(s) }).collect()
}

/// The tensors of one network in LDM's layout, tiny.
pub fn ldm_entries(part: &str) -> Vec<Entry> {
    let list = json("ldm.json");
    let shape = |v: &Value| v.as_array().unwrap().iter().map(|n| n.as_u64().unwrap() as usize).collect();
    let entries = list[part].as_object().unwrap().iter();
    entries
        .map(|(name, content)| Entry {
            name: name.clone(),
            formula: content["formula"].as_str().unwrap().into(),
            shape: shape(&content["shape"]),
        })
        .collect()
}

/// The tensors of one network in LDM's layout, of SD 1.5's sizes: named as the tiny ones are, which lack a few shortcuts.
pub fn ldm_entries_full(part: &str) -> Vec<Entry> {
    let manifest = json("manifest_full.json");
    let full = entries(&manifest[part]["tensors"]);
    if part == "text_encoder" {
        let named =
            |entry: Entry| Entry { name: format!("cond_stage_model.transformer.{}", entry.name), ..entry };
        return full.into_iter().map(named).collect();
    }
    let tiny: BTreeMap<String, String> =
        ldm_entries(part).into_iter().map(|entry| (entry.formula, entry.name)).collect();
    let named = |Entry { formula, mut shape, .. }: Entry| {
        let name = tiny.get(&formula).cloned().unwrap_or_else(|| {
            // Beside the first convolution of the same block.
            let first = &tiny[&formula.replace("conv_shortcut", "conv1")];
            first.replace("in_layers.2", "skip_connection").replace("conv1", "nin_shortcut")
        });
        // A VAE's attention is made of 1 x 1 convolutions there.
        if part == "vae" && formula.contains(".to_") && formula.ends_with("weight") {
            shape.extend([1, 1]);
        }
        Entry { name, formula, shape }
    };
    full.into_iter().map(named).collect()
}

/// Write a checkpoint and a ControlNet in LDM's layout, in f16: `checkpoint.safetensors` and `controlnet.safetensors`.
pub fn write_ldm(folder: &Path, entries: impl Fn(&str) -> Vec<Entry>) {
    let checkpoint: Vec<Entry> = ["unet", "vae", "text_encoder"].into_iter().flat_map(&entries).collect();
    write_safetensors(&folder.join("checkpoint.safetensors"), &checkpoint, Stored::F16);
    write_safetensors(&folder.join("controlnet.safetensors"), &entries("controlnet"), Stored::F16);
}

/// As many channels or more become an eighth in a narrow network.
const NARROWED: usize = 16;

/// A tiny network's shape, narrowed: what counts channels is an eighth, what comes from outside (pixels, latents, text) stays.
fn narrow(name: &str, shape: &mut [usize]) {
    let sees_text = name.ends_with("attn2.to_k.weight") || name.ends_with("attn2.to_v.weight");
    let channels = if sees_text { 1 } else { 2 };
    shape.iter_mut().take(channels).filter(|length| **length >= NARROWED).for_each(|length| *length /= 8);
}

/// The same of its configuration.
fn narrow_config(config: &mut Value) {
    for key in ["block_out_channels", "conditioning_embedding_out_channels"] {
        for channels in config.get_mut(key).and_then(Value::as_array_mut).into_iter().flatten() {
            if let Some(wide) = channels.as_u64().filter(|channels| *channels >= NARROWED as u64) {
                *channels = (wide / 8).into();
            }
        }
    }
    config["norm_num_groups"] = 4.into();
    if config.get("latent_channels").is_some() {
        config["layers_per_block"] = 1.into();
    }
    for (key, outermost) in [("down_block_types", 0), ("up_block_types", 3)] {
        if let Some(kind) = config.get_mut(key).and_then(|kinds| kinds.get_mut(outermost)) {
            *kind = kind.as_str().unwrap().replace("CrossAttn", "").into();
        }
    }
}

/// What a narrow network lacks: attention at full resolution, whose scores take most of a tiny network's time, and the second
/// residual block of each level of the autoencoder.
fn is_left_out(part: &str, name: &str) -> bool {
    let outermost = name.contains("down_blocks.0.attentions") || name.contains("up_blocks.3.attentions");
    let second = name.contains("encoder.down_blocks") && name.contains("resnets.1.")
        || name.contains("decoder.up_blocks") && name.contains("resnets.2.");
    outermost || part == "vae" && second
}

/// A diffusers folder with `unet/`, `vae/`, `text_encoder/` and `controlnet/`.
pub fn write_diffusers(folder: &Path, scale: Scale, stored: Stored) {
    let manifest = json(&format!("manifest_{}.json", scale.name()));
    for (part, content) in manifest.as_object().unwrap() {
        let narrowed = scale == Scale::Narrow && part != "text_encoder";
        let mut config = content["config"].clone();
        if narrowed {
            narrow_config(&mut config);
        }
        let folder = folder.join(part);
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("config.json"), config.to_string()).unwrap();
        let file = if part == "text_encoder" { "model" } else { "diffusion_pytorch_model" };
        let mut entries = entries(&content["tensors"]);
        if narrowed {
            entries.retain(|entry| !is_left_out(part, &entry.name));
            entries.iter_mut().for_each(|entry| narrow(&entry.name, &mut entry.shape));
        }
        for entry in entries.iter_mut().filter(|entry| is_doubled(&entry.name, scale)) {
            entry.formula = format!("2*{}", entry.name);
        }
        write_safetensors(&folder.join(format!("{file}.safetensors")), &entries, stored);
    }
}
