//! DPM-Solver++(2M), midpoint, for noise prediction (Lu et al. 2022, algorithm 2).

use super::combination::{Evaluation, KEPT, alpha, exploding, picture};

/// On executed `sigmas` and the one where the last step ends, which must not be 0: first order without
/// history, else second order, also at the end (Refiners). What is kept is the picture predicted before.
pub(super) fn dpm_solver(sigmas: &[f64]) -> Vec<Evaluation> {
    solver(sigmas, true)
}

/// The same with k-diffusion's end: `sigmas` end at 0, and the last step is the predicted picture.
pub(super) fn dpmpp_2m(sigmas: &[f64]) -> Vec<Evaluation> {
    solver(sigmas, false)
}

fn solver(sigmas: &[f64], second_order_end: bool) -> Vec<Evaluation> {
    let step = |i: usize| {
        let (now, next) = (sigmas[i], sigmas[i + 1]);
        let h = now.ln() - next.ln();
        // How much the change since the previous step counts.
        let trend = match i.checked_sub(1).map(|before| sigmas[before]) {
            // With 1000 steps, rounding makes two neighbours the same timestep: no trend between them.
            Some(before) if before != now && (next > 0.0 || second_order_end) => {
                0.5 * h / (before.ln() - now.ln())
            }
            _ => 0.0,
        };
        let new = picture(now);
        let ahead = new * (1.0 + trend) - KEPT[0] * trend;
        let canvas = exploding(now) * (next / now) + ahead * -(-h).exp_m1();
        Evaluation::new(now, canvas * alpha(next)).keeping([new])
    };
    (0..sigmas.len() - 1).map(step).collect()
}
