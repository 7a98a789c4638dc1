//! Activations on the CPU, one value at a time inside loops that the compiler turns into vectors.

use rayon::prelude::*;

use super::simd::{exp, plain};

/// Values that a task takes.
const TASK: usize = 1 << 15;

/// x · σ(x).
#[inline(always)]
pub(crate) fn silu(x: f32) -> f32 {
    x / (1.0 + exp(-x))
}

/// The error function within 5·10⁻⁷ (the rational approximation of Eigen and XLA).
#[inline(always)]
fn erf(x: f32) -> f32 {
    let x = if x < -4.0 { -4.0 } else { x };
    let x = if x > 4.0 { 4.0 } else { x };
    let s = x * x;
    let p = -2.726_142_3e-10;
    let p = p * s + 2.770_681_4e-8;
    let p = p * s - 2.101_024e-6;
    let p = p * s - 5.692_506_4e-5;
    let p = p * s - 7.349_906_3e-4;
    let p = p * s - 2.954_6e-3;
    let p = p * s - 1.609_603_3e-2;
    let q = -1.456_607_2e-5;
    let q = q * s - 2.133_740_6e-4;
    let q = q * s - 1.682_827e-3;
    let q = q * s - 7.373_329_2e-3;
    let q = q * s - 1.426_473_9e-2;
    x * p / q
}

/// Rows of `2 · half` values into rows of `half`: the first half times GELU of the second.
pub(crate) fn geglu(x: &[f32], half: usize, out: &mut [f32]) {
    let rows = (TASK / half).max(1);
    let tasks = out.par_chunks_mut(rows * half).zip(x.par_chunks(rows * 2 * half));
    tasks.for_each(|(out, x)| geglu_rows(x, half, out));
}

/// [`geglu`] of what one task takes.
pub(crate) fn geglu_rows(x: &[f32], half: usize, out: &mut [f32]) {
    plain(|| {
        for (out, x) in out.chunks_exact_mut(half).zip(x.chunks_exact(2 * half)) {
            let (value, gate) = x.split_at(half);
            for i in 0..half {
                let g = gate[i];
                out[i] = value[i] * (0.5 * g * (1.0 + erf(g * std::f32::consts::FRAC_1_SQRT_2)));
            }
        }
    });
}
