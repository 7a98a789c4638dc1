//! Which model a LoRA was trained on, as far as its names and shapes tell.

use std::collections::BTreeMap;

use super::keys;
use crate::files::TensorInfo;

/// Parts of names that only one family of models has.
const NAMES: [(&str, &str); 9] = [
    ("double_blocks", "FLUX"),
    ("single_transformer_blocks", "FLUX"),
    ("single_blocks", "FLUX"),
    ("joint_blocks", "SD 3"),
    ("transformer.transformer_blocks", "SD 3"),
    ("lora_te2_", "SDXL"),
    ("text_encoder_2.", "SDXL"),
    ("label_emb", "SDXL"),
    // SD 1.x and 2.x have one transformer block in each place.
    ("transformer_blocks_1_attn", "SDXL"),
];

/// The family of models, by the width of the text that its attention takes.
const WIDTHS: [(usize, &str); 4] =
    [(768, "SD 1.x"), (1024, "SD 2.x"), (2048, "SDXL"), (4096, "SD 3 or FLUX")];

/// The family's name, if anything in the file says it.
pub(super) fn made_for(tensors: &BTreeMap<String, TensorInfo>) -> Option<&'static str> {
    let named = NAMES.iter().find(|(part, _)| {
        tensors.keys().any(|key| key.contains(part) || key.replace('.', "_").contains(part))
    });
    let by_width = || {
        tensors.iter().find_map(|(key, info)| {
            let (module, field) = keys::split(key)?;
            let inputs = [keys::Field::Down, keys::Field::HadaW1B].contains(&field);
            let text = module.ends_with("to_k") && module.contains("attn2");
            let width = info.shape.get(1).filter(|_| inputs && text)?;
            WIDTHS.iter().find(|(known, _)| known == width).map(|(_, name)| *name)
        })
    };
    named.map(|(_, name)| *name).or_else(by_width)
}
