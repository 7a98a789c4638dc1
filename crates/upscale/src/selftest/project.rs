//! Judges layers that are linear in their weights: some values exactly, all of them by random projections.
//!
//! A reference for every value of a convolution costs as much as the convolution. But Σ ±y over a group of output
//! channels is one convolution with Σ ±w (Freivalds 1977), so a 64th of the work sees every value: one that is
//! wrong by δ puts its group's sum off by δ, among roundings that grow only as √64 (half of which is allowed: a
//! tolerance is what the worst of millions may have, twice over).

use super::case::Output;
use super::compare::{Worst, rms};

/// How many output channels are summed.
const GROUP: usize = 64;
/// How many values are computed exactly beside that.
const SAMPLES: usize = 512;

/// A layer's outputs as `[outer, channels, inner]`.
pub(super) struct Layout {
    pub outer: usize,
    pub channels: usize,
    pub inner: usize,
}

/// Judge `output`, given the exact value at (outer, channel, inner) and the values of all inner places for a
/// weighted sum of channels: `(channel, sign)` each.
pub(super) fn judge(
    output: &Output,
    layout: &Layout,
    tolerance: f64,
    exact: impl Fn(usize, usize, usize) -> f64,
    summed: impl Fn(usize, &[(usize, f64)]) -> Vec<f64>,
) -> Worst {
    let Layout { outer, channels, inner } = *layout;
    let (count, values) = (outer * channels * inner, &output.values);
    if values.len() != count {
        return output.misshapen(&format!("{count} values"));
    }
    // The corners, and places that have nothing to do with powers of two.
    let step = (count / SAMPLES).max(1) | 1;
    let places: Vec<usize> = (0..count).step_by(step).chain([count - 1]).collect();
    let split = |at: usize| (at / (channels * inner), at / inner % channels, at % inner);
    let wanted: Vec<f64> = places.iter().map(|at| split(*at)).map(|(o, c, i)| exact(o, c, i)).collect();
    let allowed = tolerance * rms(wanted.iter().copied()).max(0.1);
    let mut worst = Worst::default();
    for (at, want) in places.iter().zip(&wanted) {
        worst.see(f64::from(values[*at]), *want, allowed, || format!("{:?}", split(*at)));
    }
    for o in 0..outer {
        for first in (0..channels).step_by(GROUP) {
            let group: Vec<(usize, f64)> = (first..channels.min(first + GROUP))
                .map(|c| (c, if (c * 0x9E37 + c / 7) & 1 == 0 { 1.0 } else { -1.0 }))
                .collect();
            let wanted = summed(o, &group);
            let allowed = allowed * (1.0 + (group.len() as f64).sqrt() / 2.0);
            let value = |c: usize, i: usize| f64::from(values[(o * channels + c) * inner + i]);
            for (i, want) in wanted.iter().enumerate() {
                let got = group.iter().map(|(c, sign)| sign * value(*c, i)).sum();
                let place = || format!("[{o}, {first}.., {i}], a sum over {} channels", group.len());
                worst.see(got, *want, allowed, place);
            }
        }
    }
    worst
}
