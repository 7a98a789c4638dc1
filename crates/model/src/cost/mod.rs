//! Work and memory of networks, computed from their tensors' shapes: a plan is made before anything is loaded.

mod autoencoder;
mod denoiser;
mod layers;

use crate::files::TensorFile;

/// Work and memory of the networks of a diffusion model.
///
/// Operations are those of arithmetic: a multiplication and an addition are two.
#[derive(Debug, Clone, PartialEq)]
pub struct ModelCost {
    /// The networks that predict noise.
    pub denoiser: DenoiserCost,
    /// The network between pictures and latents.
    pub autoencoder: AutoencoderCost,
}

/// Work and memory of UNet and ControlNet under guidance, with two prompts.
#[derive(Debug, Clone, PartialEq)]
pub struct DenoiserCost {
    /// Operations for each latent of a tile, without those that grow with the tile.
    pub per_latent: f64,
    /// Operations of self-attention for each pair of a tile's latents, scores and values.
    pub per_pair: f64,
    /// Shares of `per_latent` and `per_pair` that are the UNet's outermost level's: all that an evaluation with reused features does.
    pub outermost: (f64, f64),
    /// Values of each latent that are stored for evaluations with reused features.
    pub reused: u64,
    /// Channels of the UNet's first level, which are also those of an embedded control image.
    pub channels: u64,
    /// Values of a tile's largest tensor, for each latent.
    pub widest: u64,
    /// Values of the largest weight.
    pub largest_weight: u64,
}

/// Work and memory of the VAE.
#[derive(Debug, Clone, PartialEq)]
pub struct AutoencoderCost {
    /// Operations of encoding, for each pixel.
    pub encoder: f64,
    /// Operations of decoding, for each pixel.
    pub decoder: f64,
    /// Channels of the first level.
    pub channels: u64,
    /// Channels of the second level: the decoder brings as many to the picture's size.
    pub widest: u64,
}

/// Bytes of a family's weights in f32, for a plan before there are files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UsualWeights {
    /// UNet and ControlNet.
    pub denoiser: u64,
    /// Text encoder and VAE.
    pub others: u64,
    /// Text encoder and VAE where weights are packed into 16 bits, but for the table of tokens.
    pub others_packed: u64,
}

impl UsualWeights {
    /// Bytes of all weights from files in f16, computed with in f16 (`half`) or f32, and kept `packed` in 16 bits or not.
    pub fn bytes(&self, half: bool, packed: bool) -> u64 {
        let others = if packed { self.others_packed } else { self.others };
        others + if half || packed { self.denoiser / 2 } else { self.denoiser }
    }
}

impl ModelCost {
    /// The cost of networks in open files, whose tensors have diffusers' names.
    pub fn of(unet: &dyn TensorFile, controlnet: &dyn TensorFile, vae: &dyn TensorFile) -> Self {
        Self { denoiser: DenoiserCost::of(unet, controlnet), autoencoder: AutoencoderCost::of(vae) }
    }

    /// SD 1.5's. A test holds it against files of its shapes.
    pub const fn sd15() -> Self {
        Self {
            denoiser: DenoiserCost {
                per_latent: 4.26e8,
                per_pair: 20_440.0,
                outermost: (0.224, 0.626),
                reused: 2 * (640 + 3 * 320),
                channels: 320,
                // The feed-forward's inner layer before its gate.
                widest: 2 * 2 * 4 * 320,
                // 3 × 3 from 2560 to 1280 channels.
                largest_weight: 9 * 2560 * 1280,
            },
            autoencoder: AutoencoderCost { encoder: 4.13e6, decoder: 9.46e6, channels: 128, widest: 256 },
        }
    }

    /// The starter set's. A test holds it against the set.
    pub const fn starter() -> Self {
        Self {
            denoiser: DenoiserCost {
                per_latent: 5.40e6,
                per_pair: 210.3,
                outermost: (0.300, 0.0),
                reused: 2 * (96 + 2 * 64),
                channels: 64,
                widest: 2 * 2 * 96,
                // 3 × 3 from 288 to 144 channels.
                largest_weight: 9 * 288 * 144,
            },
            autoencoder: AutoencoderCost { encoder: 97_184.0, decoder: 273_680.0, channels: 24, widest: 40 },
        }
    }
}
