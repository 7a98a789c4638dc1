//! The timesteps of the samplers that go by timesteps, the noisiest first.

use clarifier_model::family::TRAINING_STEPS;

/// The last timestep of training.
pub(super) const LAST: f64 = (TRAINING_STEPS - 1) as f64;
/// Timesteps that consistency models are distilled on: every 20th.
const DISTILLED: usize = 50;

/// `linspace(0, 999, steps + 1)` without its 0, as diffusers has it. NumPy rounds halves to even.
pub(super) fn linspace(steps: usize) -> Vec<f64> {
    (1..=steps).rev().map(|i| (LAST * i as f64 / steps as f64).round_ties_even()).collect()
}

/// diffusers' "leading" with offset 1, as SD 1.5's own configuration says.
pub(super) fn leading(steps: usize) -> Vec<f64> {
    let ratio = TRAINING_STEPS / steps;
    (0..steps).rev().map(|i| ((i * ratio + 1) as f64).min(LAST)).collect()
}

/// `steps` of those that LCM and TCD were distilled on, about evenly chosen.
///
/// # Panics
/// If there are more steps than those.
pub(super) fn distilled(steps: usize) -> Vec<f64> {
    assert!(steps <= DISTILLED, "settings were checked");
    let every = TRAINING_STEPS / DISTILLED;
    let chosen = |i: usize| (i as f64 * (DISTILLED as f64 / steps as f64)) as usize;
    (0..steps).map(|i| LAST - (chosen(i) * every) as f64).collect()
}

/// From `start` down to just above 0.
pub(super) fn even(start: f64, steps: usize) -> Vec<f64> {
    (0..steps).map(|i| start * (1.0 - i as f64 / steps as f64)).collect()
}
