//! What a file of tensors is, by its names and shapes, so that the wrong one is refused by name.

use std::fmt;

use super::TensorFile;
use crate::lora::is_lora;

/// A kind of file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileKind {
    /// SD 1.x in one file, LDM's names.
    Checkpoint,
    /// SDXL in one file.
    Sdxl,
    /// SD 2.x in one file.
    Sd2,
    /// A LoRA.
    Lora,
    /// A ControlNet, LDM's names.
    LdmControlNet,
    /// A ControlNet, diffusers' names.
    ControlNet,
    /// A UNet, diffusers' names.
    UNet,
    /// A VAE, diffusers' names.
    Vae,
    /// A VAE, LDM's names.
    LdmVae,
    /// A CLIP text encoder.
    TextEncoder,
    /// An enlarger.
    Esrgan,
    /// A textual inversion.
    Embedding,
    /// Something else.
    Unknown,
}

impl fmt::Display for FileKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Checkpoint => "an SD 1.x checkpoint",
            Self::Sdxl => "an SDXL checkpoint",
            Self::Sd2 => "an SD 2.x checkpoint",
            Self::Lora => "a LoRA",
            Self::LdmControlNet | Self::ControlNet => "a ControlNet",
            Self::UNet => "a UNet",
            Self::Vae | Self::LdmVae => "a VAE",
            Self::TextEncoder => "a CLIP text encoder",
            Self::Esrgan => "an ESRGAN enlarger",
            Self::Embedding => "a textual inversion embedding",
            Self::Unknown => "no file of a kind that this program knows",
        })
    }
}

/// Width of the text embedding that SD 2.x's attention takes.
const SD2_CONTEXT: usize = 1024;

/// What `file` is.
pub fn identify(file: &dyn TensorFile) -> FileKind {
    let tensors = file.tensors();
    let has =
        |start: &str| tensors.range(start.to_owned()..).next().is_some_and(|(key, _)| key.starts_with(start));
    if is_lora(file) {
        return FileKind::Lora;
    }
    if has("conditioner.embedders.") || has("model.diffusion_model.label_emb.") || has("add_embedding.") {
        return FileKind::Sdxl;
    }
    if has("model.diffusion_model.") {
        let sd2 = has("cond_stage_model.model.")
            || tensors.iter().any(|(key, info)| {
                key.ends_with("attn2.to_k.weight") && info.shape.get(1) == Some(&SD2_CONTEXT)
            });
        return if sd2 { FileKind::Sd2 } else { FileKind::Checkpoint };
    }
    if has("control_model.") || has("input_hint_block.") {
        FileKind::LdmControlNet
    } else if has("controlnet_cond_embedding.") {
        FileKind::ControlNet
    } else if has("down_blocks.") && has("up_blocks.") && has("time_embedding.") {
        FileKind::UNet
    } else if has("encoder.down_blocks.") && has("decoder.") {
        FileKind::Vae
    } else if has("first_stage_model.") || (has("encoder.down.") && has("decoder.")) {
        FileKind::LdmVae
    } else if has("text_model.") || has("embeddings.token_embedding.") {
        FileKind::TextEncoder
    } else if has("model.1.sub.")
        || has("conv_first.")
        || has("RRDB_trunk.")
        || (has("body.0.") && has("body.1."))
    {
        FileKind::Esrgan
    } else if has("emb_params") || has("string_to_param") {
        FileKind::Embedding
    } else {
        FileKind::Unknown
    }
}
