//! Diffusion model families as data: the numbers that all models of a kind share, and what a model's own files say instead.

mod declared;
mod training;

use std::borrow::Cow;

pub use training::{Betas, Prediction, TRAINING_STEPS};

use crate::cost::{ModelCost, UsualWeights};
use crate::tokenizer::CHUNK;

/// Facts about diffusion networks that a run needs beside their tensors. [`ModelFamily::sd15`] and [`ModelFamily::starter`]
/// are known before there is a file; [`ModelFamily::read`] takes what a checkpoint's files say.
#[derive(Debug, Clone, PartialEq)]
pub struct ModelFamily {
    /// Channels of a latent.
    pub latent_channels: usize,
    /// Pixels along each side of a latent.
    pub factor: u32,
    /// Tokens that the text encoder takes at once.
    pub context: usize,
    /// Noise that each timestep of the training adds.
    pub betas: Betas,
    /// True if the last timestep of the training was noise alone (Lin et al. 2023, "Common Diffusion Noise Schedules and
    /// Sample Steps are Flawed").
    pub zero_terminal_snr: bool,
    /// Meaning of the UNet's output.
    pub prediction: Prediction,
    /// Factor that latents are multiplied by on their way from the autoencoder to the UNet, unless the autoencoder's
    /// configuration says otherwise.
    pub scaling: f32,
    /// RGB of each channel of a latent, for values in -1 ..= 1, and last what is added to their sum: for previews,
    /// unless the autoencoder's configuration has its own. None if nothing is known.
    pub latent_rgb: Option<Cow<'static, [[f32; 3]]>>,
    /// The sampler that the networks were made for, by diffusers' class (`DDIMScheduler`) or any other program's name for
    /// it; None if any will do.
    pub sampler: Option<Cow<'static, str>>,
    /// Share of each pixel's colour that stays as the upscaler gave it, from 0 to 1.
    pub chroma_lock: f64,
    /// Work and memory that the networks take.
    pub cost: ModelCost,
    /// Bytes of weights, for a plan before the files are there.
    pub weights: UsualWeights,
}

/// A least squares fit of what SD 1.5's autoencoder decodes (Kevin Turner, "Decoding latents to RGB without upscaling",
/// Hugging Face forum, 2022); nothing is added.
const SD15_LATENT_RGB: [[f32; 3]; 5] = [
    [0.298, 0.207, 0.208],
    [0.187, 0.286, 0.173],
    [-0.158, 0.189, 0.264],
    [-0.184, -0.271, -0.473],
    [0.0; 3],
];

impl ModelFamily {
    /// Stable Diffusion 1.x and its finetunes.
    pub fn sd15() -> Self {
        Self {
            latent_channels: 4,
            factor: 8,
            context: CHUNK,
            betas: Betas::SD,
            zero_terminal_snr: false,
            prediction: Prediction::Epsilon,
            scaling: 0.18215,
            latent_rgb: Some(Cow::Borrowed(&SD15_LATENT_RGB)),
            sampler: None,
            chroma_lock: 0.0,
            cost: ModelCost::sd15(),
            // FACTS: 5.8 GB in f32.
            weights: UsualWeights {
                denoiser: 4_890_000_000,
                others: 820_000_000,
                // The table of tokens stays in f32 on the host.
                others_packed: 490_000_000,
            },
        }
    }

    /// The set of small networks that the program ships with (`training/starter`).
    pub fn starter() -> Self {
        Self {
            latent_channels: 64,
            latent_rgb: None,
            sampler: Some(Cow::Borrowed("DDIMScheduler")),
            chroma_lock: 1.0,
            cost: ModelCost::starter(),
            weights: UsualWeights { denoiser: 48_600_000, others: 27_100_000, others_packed: 18_400_000 },
            ..Self::sd15()
        }
    }
}

impl Default for ModelFamily {
    fn default() -> Self {
        Self::sd15()
    }
}
