//! DPM-Solver++(2M), midpoint, for noise prediction (Lu et al. 2022, algorithm 2).

use crate::schedule::{TRAINING_STEPS, alphas_cumprod, sigma};

#[derive(Debug, Clone)]
pub(super) struct DpmSolver {
    timesteps: Vec<u32>,
    /// σ of each step, and where the last one ends: σ of timestep 0, as Refiners has it, not 0.
    sigmas: Vec<f64>,
    /// The picture predicted at the previous step.
    previous: Option<Vec<f32>>,
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

    /// First order without history, else second order; the constants in f64.
    pub fn step(&mut self, index: usize, x: &mut [f32], eps: &[f32]) {
        let (now, next) = (self.sigmas[index], self.sigmas[index + 1]);
        let (alpha_now, alpha_next) = (alpha(now), alpha(next));
        // The picture that ε implies: (x − σ_t ε)/α_t, with σ_t = σ·α.
        let (of_x, of_eps) = ((1.0 / alpha_now) as f32, now as f32);
        let predicted: Vec<f32> = x.iter().zip(eps).map(|(x, e)| of_x * x - of_eps * e).collect();
        let h = now.ln() - next.ln();
        let keep = (alpha_next * next / (alpha_now * now)) as f32;
        let gain = alpha_next * -(-h).exp_m1();
        match self.previous.take() {
            None => {
                let gain = gain as f32;
                for (x, p) in x.iter_mut().zip(&predicted) {
                    *x = keep * *x + gain * p;
                }
            }
            Some(previous) => {
                let h_before = self.sigmas[index - 1].ln() - now.ln();
                let r = h_before / h;
                let (of_new, of_old) = ((gain * (1.0 + 0.5 / r)) as f32, (-gain * 0.5 / r) as f32);
                for ((x, new), old) in x.iter_mut().zip(&predicted).zip(&previous) {
                    *x = keep * *x + of_new * new + of_old * old;
                }
            }
        }
        self.previous = Some(predicted);
    }
}

/// √ᾱ of a σ.
fn alpha(sigma: f64) -> f64 {
    1.0 / (1.0 + sigma * sigma).sqrt()
}
