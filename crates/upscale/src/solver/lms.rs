//! Linear multistep (Adams–Bashforth on uneven σs), order 4, as in k-diffusion.

use super::combination::{Combination, EPS, Evaluation, KEPT, alpha, exploding};

/// Slopes that a step looks at: its own and those kept.
const ORDER: usize = 4;

/// `sigmas` end at 0. Kept are the slopes before, the newest first.
pub(super) fn lms(sigmas: &[f64]) -> Vec<Evaluation> {
    let step = |i: usize| {
        let slopes = [EPS, KEPT[0], KEPT[1], KEPT[2]];
        // k-diffusion's executed steps begin without history, wherever the strength begins.
        let order = ORDER.min(i + 1);
        let add = |sum: Combination, j: usize| sum + slopes[j] * weight(sigmas, i, j, order);
        let next = (0..order).fold(exploding(sigmas[i]), add);
        Evaluation::new(sigmas[i], next * alpha(sigmas[i + 1])).keeping([EPS, KEPT[0], KEPT[1]])
    };
    (0..sigmas.len() - 1).map(step).collect()
}

/// The integral from σᵢ to σᵢ₊₁ of the Lagrange polynomial through the last `order` slopes that is 1 at
/// slope `j`. Two Gauss points are exact for its degree, at most 3.
fn weight(sigmas: &[f64], i: usize, j: usize, order: usize) -> f64 {
    let (from, to) = (sigmas[i], sigmas[i + 1]);
    let (middle, half) = ((from + to) / 2.0, (to - from) / 2.0);
    let polynomial = |sigma: f64| {
        let factor = |k: usize| (sigma - sigmas[i - k]) / (sigmas[i - j] - sigmas[i - k]);
        (0..order).filter(|&k| k != j).map(factor).product::<f64>()
    };
    let offset = half / 3f64.sqrt();
    half * (polynomial(middle - offset) + polynomial(middle + offset))
}
