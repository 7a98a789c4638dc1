//! The noise levels that a model was trained with, and the schedules that samplers take from them.

use clarifier_model::family::{ModelFamily, TRAINING_STEPS};

use crate::settings::Schedule;

/// How much of a Karras schedule's steps lies at small σ.
const KARRAS_RHO: f64 = 7.0;

/// σ = √((1 − ᾱ)/ᾱ), noise over picture.
pub fn sigma(alpha_cumprod: f64) -> f64 {
    ((1.0 - alpha_cumprod) / alpha_cumprod).sqrt()
}

/// The noise levels of training, between whole timesteps too.
pub(crate) struct Training {
    log_sigmas: Vec<f64>,
}

impl Training {
    pub fn new(family: &ModelFamily) -> Self {
        let alphas = family.betas.alphas_cumprod(family.zero_terminal_snr);
        Self { log_sigmas: alphas.into_iter().map(|alpha| sigma(alpha).ln()).collect() }
    }

    /// σ at `timestep` (0 ..= 999), which may be fractional: log σ is interpolated.
    pub fn sigma(&self, timestep: f64) -> f64 {
        let below = (timestep as usize).min(TRAINING_STEPS - 2);
        let share = timestep - below as f64;
        ((1.0 - share) * self.log_sigmas[below] + share * self.log_sigmas[below + 1]).exp()
    }

    /// The timestep of a σ, fractional as A1111 and k-diffusion without `quantize` have it; 0 or 999 for a σ
    /// beyond those of training.
    pub fn timestep(&self, sigma: f64) -> f64 {
        let log = sigma.ln();
        let above = self.log_sigmas.partition_point(|l| *l <= log).clamp(1, TRAINING_STEPS - 1);
        let (low, high) = (self.log_sigmas[above - 1], self.log_sigmas[above]);
        (above - 1) as f64 + ((log - low) / (high - low)).clamp(0.0, 1.0)
    }

    /// The `steps` σs of a schedule from timestep `start` down, the last above 0; then 0 (k-diffusion's and
    /// A1111's formulas).
    pub fn sigmas(&self, schedule: Schedule, steps: usize, start: f64) -> Vec<f64> {
        let (top, bottom) = (self.sigma(start), self.sigma(0.0));
        // From 0 at the first to 1 at the last.
        let ramp = |i: usize| if steps > 1 { i as f64 / (steps - 1) as f64 } else { 0.0 };
        let karras = |i: usize| {
            let (first, last) = (top.powf(1.0 / KARRAS_RHO), bottom.powf(1.0 / KARRAS_RHO));
            (first + ramp(i) * (last - first)).powf(KARRAS_RHO)
        };
        let sigma = |i: usize| match schedule {
            Schedule::Default => self.sigma(start * (1.0 - ramp(i))),
            Schedule::SgmUniform => self.sigma(start * (1.0 - i as f64 / steps as f64)),
            Schedule::Karras => karras(i),
            Schedule::Exponential => (top.ln() + ramp(i) * (bottom.ln() - top.ln())).exp(),
        };
        (0..steps).map(sigma).chain([0.0]).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timesteps_and_sigmas_are_inverse() {
        let training = Training::new(&ModelFamily::sd15());
        for t in [0.0, 0.25, 1.0, 499.5, 936.0, 998.75, 999.0] {
            assert!((training.timestep(training.sigma(t)) - t).abs() < 1e-9, "{t}");
        }
        assert_eq!((training.timestep(1e-3), training.timestep(100.0)), (0.0, 999.0));
    }

    #[test]
    fn schedules_run_from_the_start_to_zero() {
        let training = Training::new(&ModelFamily::sd15());
        for schedule in [Schedule::Default, Schedule::Karras, Schedule::Exponential, Schedule::SgmUniform] {
            for (steps, start) in [(1, 999.0), (2, 300.0), (18, 999.0), (1000, 999.0)] {
                let sigmas = training.sigmas(schedule, steps, start);
                assert_eq!(sigmas.len(), steps + 1);
                assert!((sigmas[0] / training.sigma(start) - 1.0).abs() < 1e-12);
                assert!(sigmas.windows(2).all(|pair| pair[0] > pair[1]), "{schedule:?} {steps}");
                assert_eq!(sigmas[steps], 0.0);
            }
        }
    }

    #[test]
    fn sigmas_are_those_of_stable_diffusion() {
        let alphas = ModelFamily::sd15().betas.alphas_cumprod(false);
        assert!((sigma(alphas[0]) - 0.02917).abs() < 1e-5);
        assert!((sigma(alphas[999]) - 14.6146).abs() < 1e-4);
    }
}
