//! The beginnings of names in LoRA files: which module of the model.
//!
//! Trainers spell a module in four ways: with underscores for dots (kohya), dotted (peft, diffusers),
//! and each under the diffusers or the LDM names. All are compared with underscores.

use crate::files::ldm_unet;

/// A network that a LoRA can change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Part {
    /// The noise predictor.
    UNet,
    /// CLIP's.
    Text,
    /// One that SD 1.5 does not have.
    Foreign,
}

/// Beginnings of module names, longest first among those that begin alike.
const BEGINNINGS: [(&str, Option<Part>); 13] = [
    ("base_model.model.", None),
    ("lycoris_", None),
    ("lora_unet_", Some(Part::UNet)),
    ("unet.", Some(Part::UNet)),
    ("model.diffusion_model.", Some(Part::UNet)),
    ("diffusion_model.", Some(Part::UNet)),
    ("lora_te1_", Some(Part::Text)),
    ("lora_te_", Some(Part::Text)),
    ("text_encoder.", Some(Part::Text)),
    ("lora_te2_", Some(Part::Foreign)),
    ("lora_te3_", Some(Part::Foreign)),
    ("text_encoder_2.", Some(Part::Foreign)),
    ("transformer.", Some(Part::Foreign)),
];

/// Where a module is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    /// The network, if the name says.
    pub part: Option<Part>,
    /// The module's name in it, with underscores for dots.
    pub flat: String,
}

impl Place {
    /// Of a module as a file spells it.
    pub fn of(module: &str) -> Self {
        let (mut rest, mut part) = (module, None);
        while let Some((start, found)) = BEGINNINGS.iter().find(|(start, _)| rest.starts_with(start)) {
            rest = &rest[start.len()..];
            part = part.or(*found);
        }
        let dotted = rest.replace(".processor.", ".");
        Self { part, flat: dotted.replace('.', "_") }
    }

    /// The names under which a network may have this module, the likeliest first; `layers` is the
    /// number of residual blocks in each of the UNet's levels.
    pub fn names(&self, layers: usize) -> Vec<String> {
        let flat = &self.flat;
        let mut names = vec![flat.clone()];
        names.extend(from_ldm(flat, layers));
        // transformers 5 leaves this out.
        names.push(format!("text_model_{flat}"));
        // diffusers' old names of the projections, in the text encoder and in the UNet.
        for (old, new) in
            [("_to_q", "_q_proj"), ("_to_k", "_k_proj"), ("_to_v", "_v_proj"), ("_to_out", "_out_proj")]
        {
            names.extend(flat.strip_suffix(old).map(|start| format!("{start}{new}")));
        }
        names.extend(flat.strip_suffix("_to_out").map(|start| format!("{start}_to_out_0")));
        names
    }
}

/// The diffusers name, with underscores, of a module of the UNet under its LDM name with underscores.
fn from_ldm(flat: &str, layers: usize) -> Option<String> {
    let numbers = |start: &str, count: usize| {
        let mut rest = flat.strip_prefix(start)?.strip_prefix('_')?;
        let mut key = start.to_owned();
        for _ in 0..count {
            let (number, after) = rest.split_once('_').unwrap_or((rest, ""));
            let _: usize = number.parse().ok()?;
            key = format!("{key}.{number}");
            rest = after;
        }
        Some((key, rest))
    };
    let (start, rest) = numbers("input_blocks", 2)
        .or_else(|| numbers("output_blocks", 2))
        .or_else(|| numbers("middle_block", 1))
        .or_else(|| numbers("time_embed", 1))
        .or_else(|| numbers("out", 1))?;
    // Inside residual blocks the names end in a number: in_layers_2.
    let rest = match rest.rsplit_once('_') {
        Some((layer, number)) if layer.ends_with("_layers") => format!("{layer}.{number}"),
        _ => rest.to_owned(),
    };
    let dot = if rest.is_empty() { "" } else { "." };
    let name = ldm_unet(&format!("{start}{dot}{rest}.weight"), layers)?;
    Some(name.strip_suffix(".weight")?.replace('.', "_"))
}

#[cfg(test)]
mod tests {
    use super::super::keys::{Field, other_kind, split};
    use super::*;

    fn names(key: &str) -> (Vec<String>, Field, Option<Part>) {
        let (module, field) = split(key).unwrap_or_else(|| panic!("{key}"));
        let place = Place::of(module);
        (place.names(2), field, place.part)
    }

    #[test]
    fn every_spelling_leads_to_the_module() {
        let q = "down_blocks_0_attentions_0_transformer_blocks_0_attn1_to_q";
        let out = "down_blocks_0_attentions_0_transformer_blocks_0_attn1_to_out_0";
        let te = "text_model_encoder_layers_3_self_attn_q_proj";
        for (key, module, field, part) in [
            (
                "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn1_to_q.lora_down.weight",
                q,
                Field::Down,
                Some(Part::UNet),
            ),
            (
                "lora_unet_input_blocks_1_1_transformer_blocks_0_attn1_to_q.alpha",
                q,
                Field::Alpha,
                Some(Part::UNet),
            ),
            (
                "lycoris_down_blocks_0_attentions_0_transformer_blocks_0_attn1_to_q.lokr_w1_a",
                q,
                Field::LokrW1A,
                None,
            ),
            (
                "diffusion_model.input_blocks.1.1.transformer_blocks.0.attn1.to_q.lora_B.weight",
                q,
                Field::Up,
                Some(Part::UNet),
            ),
            (
                "unet.down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q.lora_A.weight",
                q,
                Field::Down,
                Some(Part::UNet),
            ),
            (
                "base_model.model.down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q.lora_A.default.weight",
                q,
                Field::Down,
                None,
            ),
            (
                "base_model.model.down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q.hada_w2_b.default",
                q,
                Field::HadaW2B,
                None,
            ),
            (
                "unet.down_blocks.0.attentions.0.transformer_blocks.0.attn1.processor.to_q_lora.up.weight",
                q,
                Field::Up,
                Some(Part::UNet),
            ),
            (
                "down_blocks.0.attentions.0.transformer_blocks.0.attn1.processor.to_out_lora.up.weight",
                out,
                Field::Up,
                None,
            ),
            (
                "lora_te_text_model_encoder_layers_3_self_attn_q_proj.lora_up.weight",
                te,
                Field::Up,
                Some(Part::Text),
            ),
            (
                "text_encoder.text_model.encoder.layers.3.self_attn.to_q_lora.up.weight",
                te,
                Field::Up,
                Some(Part::Text),
            ),
            (
                "text_encoder.text_model.encoder.layers.3.self_attn.q_proj.lora_linear_layer.down.weight",
                te,
                Field::Down,
                Some(Part::Text),
            ),
            ("base_model.model.encoder.layers.3.self_attn.q_proj.lora_A.weight", te, Field::Down, None),
            (
                "lora_unet_input_blocks_4_0_in_layers_2.lora_mid.weight",
                "down_blocks_1_resnets_0_conv1",
                Field::Mid,
                Some(Part::UNet),
            ),
            (
                "lora_unet_input_blocks_3_0_op.lora_up.weight",
                "down_blocks_0_downsamplers_0_conv",
                Field::Up,
                Some(Part::UNet),
            ),
            (
                "lora_unet_output_blocks_5_2_conv.lora_up.weight",
                "up_blocks_1_upsamplers_0_conv",
                Field::Up,
                Some(Part::UNet),
            ),
            (
                "lora_unet_output_blocks_3_0_skip_connection.diff",
                "up_blocks_1_resnets_0_conv_shortcut",
                Field::Diff,
                Some(Part::UNet),
            ),
            (
                "lora_unet_middle_block_2_emb_layers_1.diff_b",
                "mid_block_resnets_1_time_emb_proj",
                Field::DiffBias,
                Some(Part::UNet),
            ),
            (
                "lora_unet_middle_block_1_proj_in.lora_up.weight",
                "mid_block_attentions_0_proj_in",
                Field::Up,
                Some(Part::UNet),
            ),
            ("lora_unet_time_embed_0.lora_up.weight", "time_embedding_linear_1", Field::Up, Some(Part::UNet)),
            ("lora_unet_out_2.lora_up.weight", "conv_out", Field::Up, Some(Part::UNet)),
            ("lora_unet_input_blocks_0_0.lora_up.weight", "conv_in", Field::Up, Some(Part::UNet)),
        ] {
            let (found, found_field, found_part) = names(key);
            assert!(found.iter().any(|name| name == module), "{key}: {found:?}");
            assert_eq!((found_field, found_part), (field, part), "{key}");
        }
        assert_eq!(split("down_blocks.0.resnets.0.conv1.weight"), None);
        assert_eq!(other_kind("lora_unet_mid.oft_blocks"), Some("OFT"));
    }
}
