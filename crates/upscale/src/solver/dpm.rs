//! DPM-Solver++(2M), midpoint, for noise prediction (Lu et al. 2022, algorithm 2).

use crate::schedule::{TRAINING_STEPS, alphas_cumprod, sigma};

#[derive(Debug, Clone)]
pub(super) struct DpmSolver {
    timesteps: Vec<u32>,
    /// σ of each step, and where the last one ends: σ of timestep 0, as Refiners has it, not 0.
    sigmas: Vec<f64>,
    /// The picture predicted at the previous step.
    previous: Option<Vec<f64>>,
}

impl DpmSolver {
    pub fn new(steps: usize) -> Self {
        let alphas = alphas_cumprod();
        let last = (TRAINING_STEPS - 1) as f64;
        // linspace(0, 999, steps + 1) without its 0, backwards. NumPy rounds halves to even.
        let timesteps: Vec<u32> =
            (1..=steps).rev().map(|i| (last * i as f64 / steps as f64).round_ties_even() as u32).collect();
        let mut sigmas: Vec<_> = timesteps.iter().map(|&t| sigma(alphas[t as usize])).collect();
        sigmas.push(sigma(alphas[0]));
        Self { timesteps, sigmas, previous: None }
    }

    pub fn timesteps(&self) -> &[u32] {
        &self.timesteps
    }

    /// First order without history, else second order. In f64: at large σ the predicted picture is a
    /// small difference of large numbers.
    pub fn step(&mut self, index: usize, x: &mut [f32], eps: &[f32]) {
        let (now, next) = (self.sigmas[index], self.sigmas[index + 1]);
        let (alpha_now, alpha_next) = (alpha(now), alpha(next));
        // The picture that ε implies: (x − σ_t ε)/α_t, with σ_t = σ·α.
        let picture = |(x, e): (&f32, &f32)| f64::from(*x) / alpha_now - now * f64::from(*e);
        let predicted: Vec<f64> = x.iter().zip(eps).map(picture).collect();
        let h = now.ln() - next.ln();
        let keep = alpha_next * next / (alpha_now * now);
        let gain = alpha_next * -(-h).exp_m1();
        // How much the change since the previous step counts.
        let trend = match index.checked_sub(1) {
            // With 1000 steps, rounding makes two neighbours the same timestep: no trend between them.
            Some(before) if self.previous.is_some() && self.sigmas[before] != now => {
                0.5 * h / (self.sigmas[before].ln() - now.ln())
            }
            _ => 0.0,
        };
        let previous = self.previous.take();
        for (i, x) in x.iter_mut().enumerate() {
            let new = predicted[i];
            let old = previous.as_ref().map_or(new, |previous| previous[i]);
            *x = (keep * f64::from(*x) + gain * (new + trend * (new - old))) as f32;
        }
        self.previous = Some(predicted);
    }
}

/// √ᾱ of a σ.
fn alpha(sigma: f64) -> f64 {
    1.0 / (1.0 + sigma * sigma).sqrt()
}
