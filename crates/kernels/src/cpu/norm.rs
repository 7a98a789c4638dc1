//! Group normalisation on the CPU: two passes for the statistics, while the group is in the cache, and one to apply them.

use rayon::prelude::*;

use super::activation::silu;
use super::simd::plain;

/// Values that are summed in f32 before the sum goes on in f64.
const RUN: usize = 1 << 12;

/// Σ f(x), in sixteen sums side by side.
#[inline(always)]
fn sum(x: &[f32], f: impl Fn(f32) -> f32) -> f64 {
    let mut total = 0.0;
    for run in x.chunks(RUN) {
        let mut sums = [0.0_f32; 16];
        let (rows, rest) = run.as_chunks::<16>();
        for row in rows {
            for i in 0..16 {
                sums[i] += f(row[i]);
            }
        }
        total += sums.iter().map(|s| f64::from(*s)).sum::<f64>();
        total += rest.iter().map(|x| f64::from(f(*x))).sum::<f64>();
    }
    total
}

/// Mean and variance of each run of `group` values.
pub(crate) fn moments(x: &[f32], group: usize) -> Vec<(f64, f64)> {
    let of = |x: &[f32]| {
        plain(|| {
            let mean = sum(x, |x| x) / group as f64;
            let centre = mean as f32;
            let variance = sum(x, |x| (x - centre) * (x - centre)) / group as f64;
            // What the centre's rounding left.
            (mean, variance - (mean - f64::from(centre)).powi(2))
        })
    };
    x.par_chunks_exact(group).map(of).collect()
}

/// What happens to one channel: `(x − mean) · scale + shift`.
#[derive(Clone, Copy)]
pub(crate) struct Channel {
    pub mean: f32,
    pub scale: f32,
    pub shift: f32,
}

/// Each channel's `plane` of values normalised, and through SiLU if `activate`.
pub(crate) fn apply(x: &[f32], plane: usize, channels: &[Channel], activate: bool, out: &mut [f32]) {
    let pairs = out.par_chunks_exact_mut(plane).zip(x.par_chunks_exact(plane)).zip(channels);
    pairs.with_min_len((1 << 13) / plane + 1).for_each(|((out, x), channel)| {
        let Channel { mean, scale, shift } = *channel;
        plain(|| {
            // Centred first: folding the mean into the shift would cancel digits where |mean| >> σ.
            if activate {
                out.iter_mut().zip(x).for_each(|(out, x)| *out = silu((x - mean) * scale + shift));
            } else {
                out.iter_mut().zip(x).for_each(|(out, x)| *out = (x - mean) * scale + shift);
            }
        });
    });
}
