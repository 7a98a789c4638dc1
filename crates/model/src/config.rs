//! The sizes of the networks: from `config.json` where there is one, else from the tensors' shapes.

use serde::Deserialize;
use serde_json::Value;

use crate::family::ModelFamily;
use crate::loader::{LoadError, Scope, Weights};
use crate::taesd::Tiny;

/// Sizes of the UNet, and of the ControlNet made from its first half.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UNetConfig {
    /// Channels of the noisy latent: 4 for SD 1.x, whose single files say no more; as many as the VAE's otherwise.
    pub in_channels: usize,
    /// Channels of each level: 320, 640, 1280, 1280.
    pub block_out_channels: Vec<usize>,
    /// Residual blocks of each level on the way down: 2 (one more on the way up).
    pub layers_per_block: usize,
    /// Which levels have transformers: all but the last.
    pub attention: Vec<bool>,
    /// Attention heads of each level: 8.
    pub heads: Vec<usize>,
    /// Width of the text embedding: 768.
    pub cross_attention_dim: usize,
    /// Groups of the group normalisations: 32.
    pub groups: usize,
}

/// Either one number for all levels or one for each.
#[derive(Deserialize)]
#[serde(untagged)]
enum PerLevel {
    One(usize),
    Each(Vec<usize>),
}

impl PerLevel {
    fn expand(self, levels: usize) -> Vec<usize> {
        match self {
            Self::One(n) => vec![n; levels],
            Self::Each(list) => list,
        }
    }
}

#[derive(Deserialize)]
struct UNetJson {
    #[serde(default = "sd_latent_channels")]
    in_channels: usize,
    block_out_channels: Vec<usize>,
    #[serde(default = "two")]
    layers_per_block: usize,
    down_block_types: Vec<String>,
    // diffusers' name is a slip that it keeps for compatibility: for SD 1.x it counts heads.
    #[serde(default = "eight_heads")]
    attention_head_dim: PerLevel,
    cross_attention_dim: usize,
    #[serde(default = "thirty_two")]
    norm_num_groups: usize,
}

fn two() -> usize {
    2
}
fn sd_latent_channels() -> usize {
    ModelFamily::sd15().latent_channels
}
fn eight_heads() -> PerLevel {
    PerLevel::One(SD15_HEADS)
}
fn thirty_two() -> usize {
    NORM_GROUPS
}

/// Attention heads of every SD 1.x level; the tensors do not tell.
const SD15_HEADS: usize = 8;
/// Groups of every group normalisation of SD; the tensors do not tell.
const NORM_GROUPS: usize = 32;

impl UNetConfig {
    /// The sizes of the network in `weights`.
    ///
    /// # Errors
    /// [`LoadError::Config`] if `json` is not a UNet's or the tensors are not.
    pub fn read(weights: &Weights, json: Option<&Value>) -> Result<Self, LoadError> {
        let config = match json {
            Some(json) => {
                Self::from_json(json).map_err(|e| weights.config_error(format!("its config.json: {e}")))?
            }
            None => Self::from_tensors(&weights.root())
                .ok_or_else(|| weights.config_error("it holds no SD 1.x UNet or ControlNet"))?,
        };
        config.check().map_err(|reason| weights.config_error(reason))?;
        // A ControlNet has no last convolution.
        match weights.root().dims("conv_out.weight").and_then(|dims| dims.first().copied()) {
            Some(out) if out != config.in_channels => Err(weights.config_error(format!(
                "its UNet takes {} channels, not {out}: inpainting and other special checkpoints do not fit this recipe",
                config.in_channels
            ))),
            _ => Ok(config),
        }
    }

    fn from_json(json: &Value) -> Result<Self, serde_json::Error> {
        let json = UNetJson::deserialize(json)?;
        let levels = json.block_out_channels.len();
        Ok(Self {
            in_channels: json.in_channels,
            layers_per_block: json.layers_per_block,
            attention: json.down_block_types.iter().map(|t| t.starts_with("CrossAttn")).collect(),
            heads: json.attention_head_dim.expand(levels),
            cross_attention_dim: json.cross_attention_dim,
            groups: json.norm_num_groups,
            block_out_channels: json.block_out_channels,
        })
    }

    fn from_tensors(scope: &Scope) -> Option<Self> {
        let levels = scope.count("down_blocks");
        let level = |i: usize| scope.sub("down_blocks").sub(i);
        let block_out_channels: Option<Vec<_>> =
            (0..levels).map(|i| level(i).dims("resnets.0.conv1.weight").map(|dims| dims[0])).collect();
        let attention: Vec<_> = (0..levels).map(|i| level(i).has("attentions")).collect();
        let first = attention.iter().position(|&a| a)?;
        let to_k = "attentions.0.transformer_blocks.0.attn2.to_k.weight";
        Some(Self {
            in_channels: *scope.dims("conv_in.weight")?.get(1)?,
            block_out_channels: block_out_channels?,
            layers_per_block: level(0).count("resnets"),
            heads: vec![SD15_HEADS; levels],
            cross_attention_dim: *level(first).dims(to_k)?.get(1)?,
            groups: NORM_GROUPS,
            attention,
        })
    }

    fn check(&self) -> Result<(), String> {
        let levels = self.block_out_channels.len();
        if levels == 0 || self.attention.len() != levels || self.heads.len() != levels {
            return Err("its lists of levels differ in length".into());
        }
        for (&channels, &heads) in self.block_out_channels.iter().zip(&self.heads) {
            if heads == 0 || channels % heads != 0 || self.groups == 0 || channels % self.groups != 0 {
                return Err(format!(
                    "{channels} channels do not divide into {heads} heads and {} groups",
                    self.groups
                ));
            }
        }
        Ok(())
    }

    /// Width of the time embedding inside the blocks: 1280.
    pub fn time_embed_dim(&self) -> usize {
        4 * self.block_out_channels[0]
    }
}

/// Sizes of the variational autoencoder.
#[derive(Debug, Clone, PartialEq)]
pub struct VaeConfig {
    /// Channels of each level, from the picture inwards: 128, 256, 512, 512.
    pub block_out_channels: Vec<usize>,
    /// Residual blocks of each level of the encoder: 2 (one more in the decoder).
    pub layers_per_block: usize,
    /// Channels of the latent: 4.
    pub latent_channels: usize,
    /// Groups of the group normalisations: 32.
    pub groups: usize,
    /// What latents are multiplied by on their way to the UNet: 0.18215.
    pub scaling_factor: f32,
    /// Whether the innermost blocks attend over the whole picture: SD 1.x's do.
    pub mid_attention: bool,
    /// For previews: RGB, in -1 ..= 1, of each channel of the latent that the UNet sees, and last what is added to
    /// their sum. None if the configuration has none.
    pub rgb_of_latents: Option<Vec<[f32; 3]>>,
}

#[derive(Deserialize)]
struct VaeJson {
    block_out_channels: Vec<usize>,
    #[serde(default = "two")]
    layers_per_block: usize,
    #[serde(default = "sd_latent_channels")]
    latent_channels: usize,
    #[serde(default = "thirty_two")]
    norm_num_groups: usize,
    #[serde(default = "sd_scaling")]
    scaling_factor: f32,
    #[serde(default = "yes")]
    mid_block_add_attention: bool,
    rgb_of_latents: Option<Vec<[f32; 3]>>,
}

/// What SDXL multiplies its latents by; its VAE's tensors have the same names and shapes.
const SDXL_SCALING: f32 = 0.13025;

fn yes() -> bool {
    true
}
fn sd_scaling() -> f32 {
    ModelFamily::sd15().scaling
}

impl VaeConfig {
    /// The sizes of the network in `weights`.
    ///
    /// # Errors
    /// [`LoadError::Config`] if `json` is not a VAE's or the tensors are not.
    pub fn read(weights: &Weights, json: Option<&Value>) -> Result<Self, LoadError> {
        if let Some((channels, latent_channels)) = Tiny::sizes(&weights.root()) {
            let scaling = json.and_then(|json| json.get("scaling_factor")).and_then(Value::as_f64);
            return Ok(Self::tiny(channels, latent_channels, scaling.unwrap_or(1.0) as f32));
        }
        let config = match json {
            Some(json) => {
                let json = VaeJson::deserialize(json)
                    .map_err(|e| weights.config_error(format!("its config.json: {e}")))?;
                Self {
                    block_out_channels: json.block_out_channels,
                    layers_per_block: json.layers_per_block,
                    latent_channels: json.latent_channels,
                    groups: json.norm_num_groups,
                    scaling_factor: json.scaling_factor,
                    mid_attention: json.mid_block_add_attention,
                    rgb_of_latents: json.rgb_of_latents,
                }
            }
            None => Self::from_tensors(&weights.root())
                .ok_or_else(|| weights.config_error("it holds no Stable Diffusion VAE"))?,
        };
        if (config.scaling_factor - SDXL_SCALING).abs() < 1e-5 {
            return Err(
                weights.config_error("its config.json says that it is SDXL's VAE; SD 1.x has another")
            );
        }
        let fits = |&c: &usize| config.groups > 0 && c % config.groups == 0;
        if config.block_out_channels.is_empty() || !config.block_out_channels.iter().all(fits) {
            return Err(weights.config_error("its VAE's channels do not divide into groups"));
        }
        if config.rgb_of_latents.as_ref().is_some_and(|rgb| rgb.len() != config.latent_channels + 1) {
            return Err(weights.config_error("its rgb_of_latents has not one row a channel and one more"));
        }
        Ok(config)
    }

    /// That of TAESD, which has no groups.
    fn tiny(channels: usize, latent_channels: usize, scaling_factor: f32) -> Self {
        Self {
            block_out_channels: vec![channels; Tiny::LEVELS],
            layers_per_block: 3,
            latent_channels,
            groups: 1,
            scaling_factor,
            mid_attention: false,
            rgb_of_latents: None,
        }
    }

    fn from_tensors(scope: &Scope) -> Option<Self> {
        let encoder = scope.sub("encoder");
        let block = |i: usize| encoder.sub("down_blocks").sub(i);
        let channels: Option<Vec<_>> = (0..encoder.count("down_blocks"))
            .map(|i| block(i).dims("resnets.0.conv1.weight").map(|dims| dims[0]))
            .collect();
        Some(Self {
            block_out_channels: channels.filter(|c| !c.is_empty())?,
            layers_per_block: block(0).count("resnets"),
            latent_channels: *scope.dims("post_quant_conv.weight")?.first()?,
            groups: NORM_GROUPS,
            scaling_factor: sd_scaling(),
            mid_attention: encoder.sub("mid_block").has("attentions"),
            rgb_of_latents: None,
        })
    }
}

/// Sizes of CLIP's text encoder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClipConfig {
    /// Width of the embeddings: 768.
    pub hidden_size: usize,
    /// Width of the feed-forward: 3072.
    pub intermediate_size: usize,
    /// Transformer layers: 12.
    pub layers: usize,
    /// Attention heads: 12.
    pub heads: usize,
    /// Tokens known: 49408.
    pub vocab_size: usize,
    /// Longest sequence: 77.
    pub positions: usize,
}

impl ClipConfig {
    /// The sizes of the network in `weights`.
    ///
    /// # Errors
    /// [`LoadError::Config`] if the tensors are not those of a CLIP text encoder, or one that is not
    /// SD 1.x's kind.
    pub fn read(weights: &Weights, json: Option<&Value>) -> Result<Self, LoadError> {
        let config = Self::from_tensors(&weights.root(), json)
            .ok_or_else(|| weights.config_error("it holds no CLIP text encoder"))?;
        if config.heads == 0 || config.hidden_size % config.heads != 0 {
            return Err(weights.config_error("its text encoder's width does not divide into heads"));
        }
        match json.and_then(|j| j.get("hidden_act")).and_then(Value::as_str) {
            Some(act) if act != "quick_gelu" => {
                Err(weights.config_error(format!("its text encoder uses {act}; SD 1.x has quick_gelu")))
            }
            _ => Ok(config),
        }
    }

    fn from_tensors(scope: &Scope, json: Option<&Value>) -> Option<Self> {
        let text = scope.sub("text_model");
        let table = text.dims("embeddings.token_embedding.weight")?;
        let (vocab_size, hidden_size) = (*table.first()?, *table.get(1)?);
        let heads = json.and_then(|j| j.get("num_attention_heads")).and_then(Value::as_u64);
        Some(Self {
            hidden_size,
            vocab_size,
            positions: *text.dims("embeddings.position_embedding.weight")?.first()?,
            intermediate_size: *text.dims("encoder.layers.0.mlp.fc1.weight")?.first()?,
            layers: text.sub("encoder").count("layers"),
            // Every CLIP of OpenAI's has heads of 64.
            heads: heads.map_or(hidden_size / 64, |h| h as usize),
        })
    }
}
