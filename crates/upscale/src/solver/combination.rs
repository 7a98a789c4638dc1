//! What an evaluation of the network does to the canvas, as coefficients.
//!
//! Every sampler here is a list of such combinations, written down once for a schedule; what runs is the same
//! loop for all. So none can look beyond an element, or bend what it gets: each is affine in (x, ε, history, noise).

use std::ops::{Add, Mul, Sub};

use crate::noise::Draw;

/// Latents that a sampler may keep from one evaluation to the next.
pub(super) const MOST_KEPT: usize = 3;
/// x, ε, noise, and what is kept.
const TERMS: usize = 3 + MOST_KEPT;

/// A sum of multiples of the canvas, the network's answer, the noise and what was kept.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Combination([f64; TERMS]);

const fn term(index: usize) -> Combination {
    let mut terms = [0.0; TERMS];
    terms[index] = 1.0;
    Combination(terms)
}

/// The canvas, scaled as in training: √ᾱ · picture + √(1 − ᾱ) · noise.
pub(super) const X: Combination = term(0);
/// The noise that the network sees in it.
pub(super) const EPS: Combination = term(1);
/// Standard normal noise, if the evaluation draws any.
pub(super) const NOISE: Combination = term(2);
/// What was kept.
pub(super) const KEPT: [Combination; MOST_KEPT] = [term(3), term(4), term(5)];

impl Combination {
    /// Its value for one element.
    pub fn of(&self, x: f64, eps: f64, noise: f64, kept: &[f64; MOST_KEPT]) -> f64 {
        let [a, b, c, d, e, f] = self.0;
        a * x + b * eps + c * noise + d * kept[0] + e * kept[1] + f * kept[2]
    }
}

impl Add for Combination {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self(std::array::from_fn(|i| self.0[i] + other.0[i]))
    }
}

impl Sub for Combination {
    type Output = Self;

    fn sub(self, other: Self) -> Self {
        self + other * -1.0
    }
}

impl Mul<f64> for Combination {
    type Output = Self;

    fn mul(self, factor: f64) -> Self {
        Self(self.0.map(|term| term * factor))
    }
}

/// One evaluation of the network, and what follows from it.
#[derive(Debug, Clone)]
pub(super) struct Evaluation {
    /// The noise of the canvas that the network sees, over picture.
    pub sigma: f64,
    /// The canvas after it.
    pub next: Combination,
    /// What is kept after it, in the order of [`KEPT`]; of the same length in all evaluations of a run.
    pub keep: Vec<Combination>,
    /// The noise that it needs.
    pub draw: Option<Draw>,
}

impl Evaluation {
    /// At `sigma`, to `next`; nothing is kept or drawn.
    pub fn new(sigma: f64, next: Combination) -> Self {
        Self { sigma, next, keep: Vec::new(), draw: None }
    }

    /// It keeps this.
    pub fn keeping(self, keep: impl Into<Vec<Combination>>) -> Self {
        Self { keep: keep.into(), ..self }
    }

    /// It draws this.
    pub fn drawing(self, draw: Draw) -> Self {
        Self { draw: Some(draw), ..self }
    }
}

/// √ᾱ of a σ.
pub(super) fn alpha(sigma: f64) -> f64 {
    1.0 / (1.0 + sigma * sigma).sqrt()
}

/// The canvas as k-diffusion scales it, picture + σ · noise (variance exploding).
pub(super) fn exploding(sigma: f64) -> Combination {
    X * (1.0 / alpha(sigma))
}

/// The picture that ε implies at `sigma`.
pub(super) fn picture(sigma: f64) -> Combination {
    exploding(sigma) - EPS * sigma
}

/// Each σ with the next.
pub(super) fn pairs(sigmas: &[f64]) -> impl Iterator<Item = (f64, f64)> {
    sigmas.windows(2).map(|pair| (pair[0], pair[1]))
}
