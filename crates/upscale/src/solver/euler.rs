//! Euler, Heun, DPM-Solver-2 and the ancestral ones, as in k-diffusion: Karras et al. 2022 (algorithm 2,
//! without churn) and Lu et al. 2022. ε is the derivative dx/dσ.

use super::combination::{EPS, Evaluation, KEPT, NOISE, alpha, exploding, pairs};
use crate::noise::Draw;

/// The σ to which an ancestral step goes down, and that of the noise which then takes it to `next`.
pub(super) fn ancestral(now: f64, next: f64) -> (f64, f64) {
    let up = next.min((next * next * (now * now - next * next) / (now * now)).sqrt());
    ((next * next - up * up).sqrt(), up)
}

pub(super) fn euler(sigmas: &[f64]) -> Vec<Evaluation> {
    pairs(sigmas).map(|(now, next)| Evaluation::new(now, to(now, next, next))).collect()
}

/// The Euler step from `now` down to `down`, as a canvas of σ `next`.
fn to(now: f64, down: f64, next: f64) -> super::combination::Combination {
    (exploding(now) + EPS * (down - now)) * alpha(next)
}

pub(super) fn euler_ancestral(sigmas: &[f64]) -> Vec<Evaluation> {
    let step = |(i, (now, next)): (usize, (f64, f64))| {
        let (down, up) = ancestral(now, next);
        let evaluation = Evaluation::new(now, to(now, down, next) + NOISE * (up * alpha(next)));
        if next > 0.0 { evaluation.drawing(Draw::Step(i)) } else { evaluation }
    };
    pairs(sigmas).enumerate().map(step).collect()
}

/// Kept is where the mean of both slopes is added to: the canvas with half a step along the first.
pub(super) fn heun(sigmas: &[f64]) -> Vec<Evaluation> {
    let step = |(now, next): (f64, f64)| {
        let half = (next - now) / 2.0;
        let first = Evaluation::new(now, to(now, next, next)).keeping([exploding(now) + EPS * half]);
        let second = Evaluation::new(next, (KEPT[0] + EPS * half) * alpha(next)).keeping([KEPT[0]]);
        if next > 0.0 { vec![first, second] } else { vec![first] }
    };
    pairs(sigmas).flat_map(step).collect()
}

/// Kept is the canvas at the step's start.
pub(super) fn dpm2(sigmas: &[f64]) -> Vec<Evaluation> {
    pairs(sigmas).flat_map(|(now, next)| midpoint(now, next, next)).collect()
}

/// One or two evaluations from `now` down to `down`, as a canvas of σ `next`.
fn midpoint(now: f64, down: f64, next: f64) -> Vec<Evaluation> {
    if down == 0.0 {
        return vec![Evaluation::new(now, to(now, down, next)).keeping([exploding(now)])];
    }
    // The mean in log σ.
    let middle = (now * down).sqrt();
    let first = Evaluation::new(now, to(now, middle, middle)).keeping([exploding(now)]);
    let end = (KEPT[0] + EPS * (down - now)) * alpha(next);
    vec![first, Evaluation::new(middle, end).keeping([KEPT[0]])]
}

pub(super) fn dpm2_ancestral(sigmas: &[f64]) -> Vec<Evaluation> {
    let step = |(i, (now, next)): (usize, (f64, f64))| {
        let (down, up) = ancestral(now, next);
        let mut evaluations = midpoint(now, down, next);
        if let [_, second] = &mut evaluations[..] {
            second.next = second.next + NOISE * (up * alpha(next));
            second.draw = Some(Draw::Step(i));
        }
        evaluations
    };
    pairs(sigmas).enumerate().flat_map(step).collect()
}
