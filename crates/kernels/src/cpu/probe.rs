//! What this processor can do at most: multiply-adds that never leave the registers.

use std::time::Instant;

use pulp::{Simd, WithSimd};

use super::simd::vectorized;

/// Chains of multiply-adds that are independent: as many as hide an instruction's latency.
const CHAINS: usize = 12;
/// Links of a chain.
const LINKS: usize = 1 << 21;

struct Chains;

impl WithSimd for Chains {
    type Output = (usize, f32);

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> (usize, f32) {
        let [slope, shift] = [simd.splat_f32s(std::hint::black_box(0.5)), simd.splat_f32s(1.0)];
        let mut sums = [simd.splat_f32s(0.25); CHAINS];
        for _ in 0..LINKS {
            for sum in &mut sums {
                *sum = simd.mul_add_e_f32s(*sum, slope, shift);
            }
        }
        let sum = sums.iter().map(|sum| simd.reduce_sum_f32s(*sum)).sum();
        (2 * LINKS * CHAINS * S::F32_LANES, sum)
    }
}

/// Floating-point operations a second of this process's threads together, in f32, each multiply-add as two.
///
/// Takes some milliseconds; on a machine that others use, take the best of several.
pub fn peak_flops() -> f64 {
    let begun = Instant::now();
    let done: usize = rayon::broadcast(|_| std::hint::black_box(vectorized(Chains)).0).iter().sum();
    done as f64 / begun.elapsed().as_secs_f64()
}
