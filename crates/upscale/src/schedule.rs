//! The noise schedule that SD 1.x was trained with.

/// Timesteps of the training.
pub const TRAINING_STEPS: usize = 1000;
const FIRST_BETA: f64 = 8.5e-4;
const LAST_BETA: f64 = 0.012;

/// ᾱ of each timestep: how much of the picture is left (Ho et al. 2020), for the "scaled linear" βs,
/// `β = linspace(√β₀, √β₉₉₉, 1000)²`.
pub fn alphas_cumprod() -> Vec<f64> {
    let (first, last) = (FIRST_BETA.sqrt(), LAST_BETA.sqrt());
    let mut product = 1.0;
    (0..TRAINING_STEPS)
        .map(|i| {
            let root = first + (last - first) * i as f64 / (TRAINING_STEPS - 1) as f64;
            product *= 1.0 - root * root;
            product
        })
        .collect()
}

/// σ = √((1 − ᾱ)/ᾱ), noise over picture.
pub fn sigma(alpha_cumprod: f64) -> f64 {
    ((1.0 - alpha_cumprod) / alpha_cumprod).sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sigmas_are_those_of_stable_diffusion() {
        let alphas = alphas_cumprod();
        assert!((sigma(alphas[0]) - 0.02917).abs() < 1e-5);
        assert!((sigma(alphas[999]) - 14.6146).abs() < 1e-4);
    }
}
