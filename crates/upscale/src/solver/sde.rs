//! The stochastic DPM-Solver++ (Lu et al. 2022), as in k-diffusion with η = 1. `sigmas` end at 0, where the
//! last step is the predicted picture. Their noise is increments of a Brownian path ([`Draw::Path`]).

use super::combination::{Combination, Evaluation, KEPT, NOISE, alpha, exploding, picture};
use super::euler::ancestral;
use crate::noise::Draw;

/// DPM-Solver++ SDE, midpoint: two evaluations a step. Kept is the canvas at the step's start.
pub(super) fn dpmpp_sde(sigmas: &[f64]) -> Vec<Evaluation> {
    let step = |pair: &[f64]| {
        let (now, next) = (pair[0], pair[1]);
        let start = exploding(now);
        if next == 0.0 {
            return vec![Evaluation::new(now, picture(now)).keeping([start])];
        }
        // From `start`, at `now`, towards a predicted picture; then up again to `to` by noise.
        let towards = |start: Combination, picture: Combination, to: f64| {
            let (down, up) = ancestral(now, to);
            (start * (down / now) + picture * (1.0 - down / now) + NOISE * up) * alpha(to)
        };
        // The mean in log σ.
        let middle = (now * next).sqrt();
        let first = Evaluation::new(now, towards(start, picture(now), middle)).keeping([start]);
        let second = Evaluation::new(middle, towards(KEPT[0], picture(middle), next)).keeping([KEPT[0]]);
        let draw = |to: f64| Draw::Path { from: now, to };
        vec![first.drawing(draw(middle)), second.drawing(draw(next))]
    };
    sigmas.windows(2).flat_map(step).collect()
}

/// A multistep solver: `trend` is what the pictures before add, given how far apart in log σ this step and
/// those before are, times the factor that it is given with.
fn multistep(sigmas: &[f64], kept: usize, trend: impl Fn(usize, f64) -> Combination) -> Vec<Evaluation> {
    let step = |i: usize| {
        let (now, next) = (sigmas[i], sigmas[i + 1]);
        let new = picture(now);
        let keep: Vec<_> = [new, KEPT[0]].into_iter().take(kept).collect();
        if next == 0.0 {
            return Evaluation::new(now, new).keeping(keep);
        }
        let h = now.ln() - next.ln();
        let share = -(-2.0 * h).exp_m1();
        let mean = exploding(now) * (-2.0 * h).exp() + new * share + trend(i, 2.0 * h);
        let canvas = mean + NOISE * (next * share.sqrt());
        Evaluation::new(now, canvas * alpha(next)).keeping(keep).drawing(Draw::Path { from: now, to: next })
    };
    (0..sigmas.len() - 1).map(step).collect()
}

/// DPM-Solver++(2M) SDE, midpoint.
pub(super) fn dpmpp_2m_sde(sigmas: &[f64]) -> Vec<Evaluation> {
    multistep(sigmas, 1, |i, h_eta| match i {
        0 => NOISE * 0.0,
        _ => {
            let r = step_before(sigmas, i, 1) / (h_eta / 2.0);
            (picture(sigmas[i]) - KEPT[0]) * (0.5 * -(-h_eta).exp_m1() / r)
        }
    })
}

/// DPM-Solver++(3M) SDE.
pub(super) fn dpmpp_3m_sde(sigmas: &[f64]) -> Vec<Evaluation> {
    multistep(sigmas, 2, |i, h_eta| {
        let h = h_eta / 2.0;
        let phi_2 = (-h_eta).exp_m1() / h_eta + 1.0;
        let phi_3 = phi_2 / h_eta - 0.5;
        let slope = |r: f64| (picture(sigmas[i]) - KEPT[0]) * (1.0 / r);
        match i {
            0 => NOISE * 0.0,
            1 => slope(step_before(sigmas, i, 1) / h) * phi_2,
            _ => {
                let (r0, r1) = (step_before(sigmas, i, 1) / h, step_before(sigmas, i, 2) / h);
                let (new, old) = (slope(r0), (KEPT[0] - KEPT[1]) * (1.0 / r1));
                let first = new + (new - old) * (r0 / (r0 + r1));
                let second = (new - old) * (1.0 / (r0 + r1));
                first * phi_2 - second * phi_3
            }
        }
    })
}

/// Length in log σ of the step that is `back` before step `i`.
fn step_before(sigmas: &[f64], i: usize, back: usize) -> f64 {
    sigmas[i - back].ln() - sigmas[i - back + 1].ln()
}
