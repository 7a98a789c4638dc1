//! DDIM and DDPM, on "leading" timesteps with offset 1.

use super::combination::{EPS, Evaluation, NOISE, X, pairs};
use crate::noise::Draw;

/// ᾱ of a σ.
fn alpha_cumprod(sigma: f64) -> f64 {
    1.0 / (1.0 + sigma * sigma)
}

/// DDIM with η = 0 (Song et al. 2021, equation 12) on executed `sigmas` and the one where it ends, that of
/// timestep 0 (diffusers' `set_alpha_to_one = False`).
pub(super) fn ddim(sigmas: &[f64]) -> Vec<Evaluation> {
    let step = |(sigma, end): (f64, f64)| {
        let (now, next) = (alpha_cumprod(sigma), alpha_cumprod(end));
        let keep = (next / now).sqrt();
        let add = (1.0 - next).sqrt() - keep * (1.0 - now).sqrt();
        Evaluation::new(sigma, X * keep + EPS * add)
    };
    pairs(sigmas).map(step).collect()
}

/// DDPM (Ho et al. 2020, equations 6 and 7), between any two timesteps, with the smaller variance
/// (diffusers' `fixed_small`); `sigmas` end at 0.
pub(super) fn ddpm(sigmas: &[f64]) -> Vec<Evaluation> {
    let step = |(i, (sigma, end)): (usize, (f64, f64))| {
        let (now, next) = (alpha_cumprod(sigma), alpha_cumprod(end));
        let beta = 1.0 - now / next;
        let picture = (X - EPS * (1.0 - now).sqrt()) * (1.0 / now.sqrt());
        let mean = picture * (next.sqrt() * beta / (1.0 - now))
            + X * ((now / next).sqrt() * (1.0 - next) / (1.0 - now));
        // diffusers adds noise of 10⁻¹⁰ in the last step, too.
        let deviation = ((1.0 - next) / (1.0 - now) * beta).sqrt();
        let evaluation = Evaluation::new(sigma, mean + NOISE * deviation);
        if end > 0.0 { evaluation.drawing(Draw::Step(i)) } else { evaluation }
    };
    pairs(sigmas).enumerate().map(step).collect()
}
