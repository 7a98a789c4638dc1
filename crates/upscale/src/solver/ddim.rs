//! DDIM with η = 0 (Song et al. 2021, equation 12), "leading" timesteps with offset 1.

use crate::schedule::{TRAINING_STEPS, alphas_cumprod};

#[derive(Debug, Clone)]
pub(super) struct Ddim {
    timesteps: Vec<u32>,
    /// ᾱ of each step, and of the end: ᾱ₀ (diffusers' `set_alpha_to_one = False`).
    alphas: Vec<f64>,
}

impl Ddim {
    pub fn new(steps: usize) -> Self {
        let alphas_cumprod = alphas_cumprod();
        let ratio = TRAINING_STEPS / steps;
        let timestep = |i: usize| (i * ratio + 1).min(TRAINING_STEPS - 1);
        let timesteps: Vec<u32> = (0..steps).rev().map(|i| timestep(i) as u32).collect();
        let alphas = timesteps.iter().map(|&t| alphas_cumprod[t as usize]);
        let alphas = alphas.chain([alphas_cumprod[0]]).collect();
        Self { timesteps, alphas }
    }

    pub fn timesteps(&self) -> &[u32] {
        &self.timesteps
    }

    pub fn step(&mut self, index: usize, x: &mut [f32], eps: &[f32]) {
        let (now, next) = (self.alphas[index], self.alphas[index + 1]);
        let keep = (next / now).sqrt();
        let add = (1.0 - next).sqrt() - keep * (1.0 - now).sqrt();
        for (x, e) in x.iter_mut().zip(eps) {
            *x = (keep * f64::from(*x) + add * f64::from(*e)) as f32;
        }
    }
}
