//! The training of a diffusion model: how much noise each timestep has, and which part of a noisy latent the network predicts.

use std::fmt;

/// Timesteps of the training of every model that this recipe takes.
pub const TRAINING_STEPS: usize = 1000;

/// ᾱ of the last timestep where its noise-free part is 0: diffusers' samplers take this in its place, so that σ stays finite.
const LEAST_ALPHA: f64 = 1.0 / (1 << 24) as f64;

/// Growth of β, the noise that a timestep adds, over the training (diffusers' `beta_schedule`).
#[derive(Debug, Clone, PartialEq)]
pub enum Betas {
    /// Evenly from `first` to `last`: `linear`.
    Linear {
        /// β of the first timestep.
        first: f64,
        /// β of the last timestep.
        last: f64,
    },
    /// The square of a line from √`first` to √`last`: `scaled_linear`, which Stable Diffusion was trained with.
    ScaledLinear {
        /// β of the first timestep.
        first: f64,
        /// β of the last timestep.
        last: f64,
    },
    /// Nichol and Dhariwal's cosine, each β at most 0.999: `squaredcos_cap_v2`.
    Cosine,
    /// One β for each timestep: `trained_betas`.
    Listed(Vec<f64>),
}

impl Betas {
    /// Stable Diffusion's.
    pub const SD: Self = Self::ScaledLinear { first: 8.5e-4, last: 0.012 };

    /// True if every β is a share of a picture's power that can be taken from it: over 0 and under 1.
    pub fn are_valid(&self) -> bool {
        let valid = |beta: &f64| *beta > 0.0 && *beta < 1.0;
        match self {
            Self::Linear { first, last } | Self::ScaledLinear { first, last } => valid(first) && valid(last),
            Self::Cosine => true,
            Self::Listed(list) => list.iter().all(valid),
        }
    }

    /// ᾱ of each timestep, the part of the picture's power that is left in it (Ho et al. 2020), without or with
    /// [`zero_terminal_snr`](super::ModelFamily::zero_terminal_snr).
    ///
    /// # Panics
    /// If [`Self::Listed`] has not [`TRAINING_STEPS`] values.
    pub fn alphas_cumprod(&self, zero_terminal_snr: bool) -> Vec<f64> {
        let share = |i: usize| i as f64 / (TRAINING_STEPS - 1) as f64;
        let mut product = 1.0;
        let mut left = |beta: f64| {
            product *= 1.0 - beta;
            product
        };
        let steps = 0..TRAINING_STEPS;
        let mut alphas: Vec<f64> = match self {
            Self::Linear { first, last } => steps.map(|i| left(first + (last - first) * share(i))).collect(),
            Self::ScaledLinear { first, last } => {
                let (first, last) = (first.sqrt(), last.sqrt());
                let root = |i: usize| first + (last - first) * i as f64 / (TRAINING_STEPS - 1) as f64;
                steps.map(|i| left(root(i) * root(i))).collect()
            }
            Self::Cosine => {
                let bar = |i: usize| {
                    ((i as f64 / TRAINING_STEPS as f64 + 0.008) / 1.008 * std::f64::consts::FRAC_PI_2).cos()
                };
                steps.map(|i| left((1.0 - (bar(i + 1) / bar(i)).powi(2)).min(0.999))).collect()
            }
            Self::Listed(betas) => {
                assert_eq!(betas.len(), TRAINING_STEPS, "a β for each timestep");
                betas.iter().map(|beta| left(*beta)).collect()
            }
        };
        if zero_terminal_snr {
            let (first, last) = (alphas[0].sqrt(), alphas[TRAINING_STEPS - 1].sqrt());
            for alpha in &mut alphas {
                *alpha = ((alpha.sqrt() - last) * first / (first - last)).powi(2);
            }
            alphas[TRAINING_STEPS - 1] = LEAST_ALPHA;
        }
        alphas
    }
}

/// Meaning of the UNet's output for a latent `x = √ᾱ · picture + √(1 − ᾱ) · noise`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Prediction {
    /// The noise.
    #[default]
    Epsilon,
    /// The velocity `√ᾱ · noise − √(1 − ᾱ) · picture` (Salimans and Ho 2022).
    V,
    /// The picture.
    Sample,
}

impl Prediction {
    /// Every prediction with diffusers' name for it.
    pub const ALL: [(Self, &'static str); 3] =
        [(Self::Epsilon, "epsilon"), (Self::V, "v_prediction"), (Self::Sample, "sample")];

    /// The noise in a value `x` of a latent at the noise level σ = √((1 − ᾱ)/ᾱ) > 0, of which the network gave `output`.
    pub fn noise(self, sigma: f64, x: f64, output: f64) -> f64 {
        let signal = 1.0 / (1.0 + sigma * sigma).sqrt();
        match self {
            Self::Epsilon => output,
            Self::V => signal * output + sigma * signal * x,
            Self::Sample => (x - signal * output) / (sigma * signal),
        }
    }
}

impl fmt::Display for Prediction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = Self::ALL.iter().find(|(prediction, _)| prediction == self).map_or("", |(_, name)| name);
        f.write_str(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_prediction_gives_the_noise_that_is_in_a_latent() {
        for sigma in [0.03, 0.5, 1.0, 14.6, 4096.0f64] {
            let signal = 1.0 / (1.0 + sigma * sigma).sqrt();
            for (picture, noise) in [(0.7, -1.2), (-0.3, 0.01), (0.0, 2.0)] {
                let x = signal * picture + sigma * signal * noise;
                let outputs = [
                    (Prediction::Epsilon, noise),
                    (Prediction::V, signal * noise - sigma * signal * picture),
                    (Prediction::Sample, picture),
                ];
                for (prediction, output) in outputs {
                    let found = prediction.noise(sigma, x, output);
                    assert!((found - noise).abs() < 1e-9 * (1.0 + 1.0 / sigma), "{prediction}: {found}");
                }
            }
        }
    }

    #[test]
    fn noise_alone_is_left_at_the_end_where_the_training_had_it() {
        let (usual, rescaled) = (Betas::SD.alphas_cumprod(false), Betas::SD.alphas_cumprod(true));
        assert!((usual[0] - rescaled[0]).abs() < 1e-12, "the first timestep stays");
        assert!(rescaled.windows(2).all(|pair| pair[0] > pair[1]));
        assert!(usual[999] > 4e-3 && rescaled[999] < 1e-7 && rescaled[999] > 0.0);
    }
}
