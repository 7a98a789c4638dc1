//! LCM (Luo et al. 2023) and TCD (Zheng et al. 2024), as in diffusers: predict the picture, and add noise again.

use super::combination::{EPS, Evaluation, NOISE, X, alpha, picture};
use crate::noise::Draw;
use crate::schedule::Training;

/// Standard deviation of the data, and how much a timestep counts, in LCM's boundary condition.
const SIGMA_DATA: f64 = 0.5;
const TIMESTEP_SCALING: f64 = 10.0;
/// TCD's share of a step that is gone by noise ("γ" in the paper, `eta` in diffusers).
const TCD_ETA: f64 = 0.3;

/// At these timesteps, each with its σ; the last step ends at the picture.
pub(super) fn lcm(timesteps: &[f64], sigmas: &[f64]) -> Vec<Evaluation> {
    let step = |i: usize| {
        let (t, now) = (timesteps[i] * TIMESTEP_SCALING, sigmas[i]);
        let square = SIGMA_DATA * SIGMA_DATA;
        let (skip, out) = (square / (t * t + square), t / (t * t + square).sqrt());
        let denoised = picture(now) * out + X * skip;
        match sigmas.get(i + 1) {
            None => Evaluation::new(now, denoised),
            Some(&next) => {
                let again = denoised * alpha(next) + NOISE * (next * alpha(next));
                Evaluation::new(now, again).drawing(Draw::Step(i))
            }
        }
    };
    (0..timesteps.len()).map(step).collect()
}

/// Likewise; the last step ends at timestep 0.
pub(super) fn tcd(timesteps: &[f64], training: &Training) -> Vec<Evaluation> {
    let step = |i: usize| {
        let now = training.sigma(timesteps[i]);
        let last = i + 1 == timesteps.len();
        let t = if last { 0.0 } else { timesteps[i + 1] };
        // Further down than the next timestep, then up to it by noise.
        let (next, down) = (training.sigma(t), training.sigma(((1.0 - TCD_ETA) * t).floor()));
        let below = (picture(now) + EPS * down) * alpha(down);
        if last {
            return Evaluation::new(now, below);
        }
        let left = (alpha(next) / alpha(down)).powi(2);
        let again = below * left.sqrt() + NOISE * (1.0 - left).sqrt();
        Evaluation::new(now, again).drawing(Draw::Step(i))
    };
    (0..timesteps.len()).map(step).collect()
}
