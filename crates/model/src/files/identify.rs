//! What a file of tensors is, by its names and shapes, so that the wrong one is refused by name.

use std::fmt;

use super::TensorFile;
use crate::lora::is_lora;
use crate::upscalers;

/// A kind of file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileKind {
    /// SD 1.x in one file, LDM's names.
    Checkpoint,
    /// All networks under diffusers' names after their folders', their configurations in the header: see [`super::set`].
    Set,
    /// SDXL, in whole or in part.
    Sdxl,
    /// SD 2.x, in whole or in part.
    Sd2,
    /// SD 3.x, in whole or in part.
    Sd3,
    /// FLUX, in whole or in part.
    Flux,
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
    /// An upscaler.
    Upscaler,
    /// A textual inversion.
    Embedding,
    /// Something else.
    Unknown,
}

impl fmt::Display for FileKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Checkpoint => "an SD 1.x checkpoint",
            Self::Set => "a set of networks in one file",
            Self::Sdxl => "an SDXL checkpoint or a part of one",
            Self::Sd2 => "an SD 2.x checkpoint or a part of one",
            Self::Sd3 => "an SD 3 checkpoint or a part of one",
            Self::Flux => "a FLUX checkpoint or a part of one",
            Self::Lora => "a LoRA",
            Self::LdmControlNet | Self::ControlNet => "a ControlNet",
            Self::UNet => "a UNet",
            Self::Vae | Self::LdmVae => "a VAE",
            Self::TextEncoder => "a CLIP text encoder",
            Self::Upscaler => "an upscaler",
            Self::Embedding => "a textual inversion embedding",
            Self::Unknown => "no file of a kind that this program knows",
        })
    }
}

/// Width of the text embedding that SD 2.x's attention takes.
const SD2_CONTEXT: usize = 1024;
/// That of SDXL.
const SDXL_CONTEXT: usize = 2048;
/// Width of SDXL's second text encoder.
const SDXL_TEXT: usize = 1280;

/// What `file` is.
pub fn identify(file: &dyn TensorFile) -> FileKind {
    let tensors = file.tensors();
    let has =
        |start: &str| tensors.range(start.to_owned()..).next().is_some_and(|(key, _)| key.starts_with(start));
    let attention = tensors.iter().find(|(key, _)| key.ends_with("attn2.to_k.weight"));
    let context = attention.and_then(|(_, info)| info.shape.get(1).copied());
    if is_lora(file) {
        return FileKind::Lora;
    }
    if has("unet.down_blocks.") && has("vae.decoder.") {
        return FileKind::Set;
    }
    if has("conditioner.embedders.") || has("model.diffusion_model.label_emb.") || has("add_embedding.") {
        return FileKind::Sdxl;
    }
    for prefix in ["model.diffusion_model.", ""] {
        let any_of = |parts: &[&str]| parts.iter().any(|part| has(&format!("{prefix}{part}")));
        if any_of(&["joint_blocks.0.", "transformer_blocks.0.attn.add_q_proj."]) {
            // FLUX has the second kind too, and more.
            return if has("single_transformer_blocks.") { FileKind::Flux } else { FileKind::Sd3 };
        }
        if any_of(&["double_blocks.0.", "single_transformer_blocks.0."]) {
            return FileKind::Flux;
        }
    }
    if has("model.diffusion_model.") {
        let sd2 = has("cond_stage_model.model.") || context == Some(SD2_CONTEXT);
        return if sd2 { FileKind::Sd2 } else { FileKind::Checkpoint };
    }
    if has("control_model.") || has("input_hint_block.") {
        FileKind::LdmControlNet
    } else if has("controlnet_cond_embedding.") {
        FileKind::ControlNet
    } else if has("down_blocks.") && has("up_blocks.") && has("time_embedding.") {
        match context {
            Some(SD2_CONTEXT) => FileKind::Sd2,
            Some(SDXL_CONTEXT) => FileKind::Sdxl,
            _ => FileKind::UNet,
        }
    } else if (has("encoder.down_blocks.") && has("decoder."))
        || (has("encoder.layers.") && has("decoder.layers."))
    {
        FileKind::Vae
    } else if has("first_stage_model.") || (has("encoder.down.") && has("decoder.")) {
        FileKind::LdmVae
    } else if has("text_model.") || has("embeddings.token_embedding.") {
        let table = tensors.iter().find(|(key, _)| key.ends_with("token_embedding.weight"));
        match table.and_then(|(_, info)| info.shape.get(1)) {
            Some(&SD2_CONTEXT) => FileKind::Sd2,
            Some(&SDXL_TEXT) => FileKind::Sdxl,
            _ => FileKind::TextEncoder,
        }
    } else if upscalers::detect(tensors).is_some() {
        FileKind::Upscaler
    } else if has("emb_params") || has("string_to_param") {
        FileKind::Embedding
    } else {
        FileKind::Unknown
    }
}
