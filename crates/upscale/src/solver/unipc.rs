//! UniPC of order 2 with B₂(h), predicting the picture (Zhao et al. 2023), as in diffusers.
//!
//! Each evaluation first corrects the canvas that it was made on, then predicts the next one.

use super::combination::{Evaluation, KEPT, alpha, exploding, picture};

/// `sigmas` end at 0. Kept are the corrected canvas (exploding), its predicted picture and the one before.
pub(super) fn unipc(sigmas: &[f64]) -> Vec<Evaluation> {
    let steps = sigmas.len() - 1;
    let log = |i: usize| sigmas[i].ln();
    // The order of the prediction from i on: first without history, first at the end.
    let order = |i: usize| {
        let alone = i == 0 || i + 1 == steps;
        // With 1000 steps, rounding makes two neighbours the same timestep: no slope between them.
        if alone || sigmas[i - 1] == sigmas[i] { 1 } else { 2 }
    };
    let step = |i: usize| {
        let now = sigmas[i];
        let new = picture(now);
        let corrected = match i.checked_sub(1) {
            Some(before) if sigmas[before] != now => {
                let [canvas, newest, older] = KEPT;
                let h = log(before) - log(i);
                let slope = new - newest;
                let correction = if order(before) == 1 {
                    slope * 0.5
                } else {
                    let r = (log(before) - log(before - 1)) / h;
                    let (old_weight, weight) = corrector_weights(r, h);
                    (older - newest) * (old_weight / r) + slope * weight
                };
                canvas * (now / sigmas[before]) + (newest + correction) * -(-h).exp_m1()
            }
            _ => exploding(now),
        };
        let next = sigmas[i + 1];
        if next == now {
            return Evaluation::new(now, corrected * alpha(now)).keeping([corrected, new, KEPT[1]]);
        }
        let h = log(i) - next.ln();
        let ahead = match order(i) {
            1 => new,
            // (D₁ = (older − newest)/r) · ½ with r = −(h before)/h.
            _ => new + (new - KEPT[1]) * (0.5 * h / (log(i - 1) - log(i))),
        };
        let canvas = corrected * (next / now) + ahead * -(-h).exp_m1();
        Evaluation::new(now, canvas * alpha(next)).keeping([corrected, new, KEPT[1]])
    };
    (0..steps).map(step).collect()
}

/// The corrector's weights of (the older slope, the new slope) for order 2: the solution of
/// `[[1, 1], [r, 1]] · w = b`, where `r` is −(step before)/(step).
fn corrector_weights(r: f64, h: f64) -> (f64, f64) {
    let hh = -h;
    let b_h = hh.exp_m1();
    let phi_1 = b_h / hh - 1.0;
    let phi_2 = phi_1 / hh - 0.5;
    let (b_1, b_2) = (phi_1 / b_h, 2.0 * phi_2 / b_h);
    let old = (b_1 - b_2) / (1.0 - r);
    (old, b_1 - old)
}
