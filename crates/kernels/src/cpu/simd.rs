//! The one inner loop of all that multiplies, and what it needs: the instruction set and reused memory.

use std::cell::RefCell;

use pulp::{Simd, WithSimd};

/// Rows of a [`Tile`]: 6 × 16 values and what is multiplied fill AVX2's sixteen registers.
pub(crate) const ROWS: usize = 6;
/// Columns of a [`Tile`].
pub(crate) const LANES: usize = 16;
/// A part of a product that stays in registers.
pub(crate) type Tile = [[f32; LANES]; ROWS];

/// Run `op` compiled for what this machine's processor has. No closure inside `op` may hold vector operations: it would
/// be compiled for any processor.
#[inline]
pub(crate) fn vectorized<Op: WithSimd>(op: Op) -> Op::Output {
    // Without pulp's feature `x86-v3` its `Arch` does not look for AVX2.
    #[cfg(target_arch = "x86_64")]
    if let Some(simd) = pulp::x86::V3::try_new() {
        return Simd::vectorize(simd, op);
    }
    pulp::Arch::new().dispatch(op)
}

/// Run a closure of plain loops, compiled for what this machine's processor has.
#[inline]
pub(crate) fn plain<R>(f: impl FnOnce() -> R) -> R {
    struct Plain<F>(F);
    impl<R, F: FnOnce() -> R> WithSimd for Plain<F> {
        type Output = R;
        #[inline(always)]
        fn with_simd<S: Simd>(self, _: S) -> R {
            (self.0)()
        }
    }
    vectorized(Plain(f))
}

/// `c += Σₖ a[k]ᵀ · b[k]`, over as many `k` as the shorter of both has.
#[inline(always)]
pub(crate) fn multiply<S: Simd>(simd: S, a: &[[f32; ROWS]], b: &[[f32; LANES]], c: &mut Tile) {
    match S::F32_LANES {
        16 => columns::<S, 1>(simd, a, b, c, 0),
        8 => columns::<S, 2>(simd, a, b, c, 0),
        4 if S::REGISTER_COUNT >= 32 => columns::<S, 4>(simd, a, b, c, 0),
        lanes => {
            for at in 0..LANES / (2 * lanes) {
                columns::<S, 2>(simd, a, b, c, at);
            }
        }
    }
}

/// The columns of `c` that `V` registers hold, from the `at`-th such group on.
#[inline(always)]
fn columns<S: Simd, const V: usize>(simd: S, a: &[[f32; ROWS]], b: &[[f32; LANES]], c: &mut Tile, at: usize) {
    let mut sums = [[simd.splat_f32s(0.0); V]; ROWS];
    for (a, b) in a.iter().zip(b) {
        let b = &S::as_simd_f32s(b).0[at * V..][..V];
        for i in 0..ROWS {
            let a = simd.splat_f32s(a[i]);
            for j in 0..V {
                sums[i][j] = simd.mul_add_e_f32s(a, b[j], sums[i][j]);
            }
        }
    }
    for (c, sums) in c.iter_mut().zip(sums) {
        let c = &mut S::as_mut_simd_f32s(c).0[at * V..][..V];
        for j in 0..V {
            c[j] = simd.add_f32s(c[j], sums[j]);
        }
    }
}

/// eˣ within two units in the last place; held at e⁸⁸ and e⁻⁸⁷ outside. NaN stays NaN.
#[inline(always)]
pub(crate) fn exp(x: f32) -> f32 {
    // Cephes' expf: x = n·ln 2 + r, a polynomial in r, and n put into the exponent. Adding 1.5·2²³ rounds to the
    // nearest integer and leaves it in the low bits.
    const ROUND: f32 = 12_582_912.0;
    let x = if x < -87.0 { -87.0 } else { x };
    let x = if x > 88.0 { 88.0 } else { x };
    let shifted = x * std::f32::consts::LOG2_E + ROUND;
    let n = shifted - ROUND;
    let r = x - n * 0.693_359_4 + n * 2.121_944_4e-4;
    let p = 1.987_569_2e-4 * r + 1.398_2e-3;
    let p = p * r + 8.333_452e-3;
    let p = p * r + 4.166_579_6e-2;
    let p = p * r + 1.666_666_5e-1;
    let p = p * r + 0.5;
    let p = p * r * r + r + 1.0;
    p * f32::from_bits((shifted.to_bits() << 23).wrapping_add(127 << 23))
}

/// Most bytes of scratch that a thread keeps between operations.
pub(crate) const KEPT: usize = 128 << 20;

thread_local! {
    static SCRATCH: RefCell<Vec<Vec<f32>>> = const { RefCell::new(Vec::new()) };
}

/// Give `f` a buffer of `N`-wide rows with undefined content. Fresh memory would cost a page fault every 4 KiB.
pub(crate) fn scratch<const N: usize, R>(rows: usize, f: impl FnOnce(&mut [[f32; N]]) -> R) -> R {
    let mut buffer = SCRATCH.with(|kept| kept.borrow_mut().pop()).unwrap_or_default();
    if buffer.len() < rows * N {
        buffer.resize(rows * N, 0.0);
    }
    let result = f(&mut buffer[..rows * N].as_chunks_mut().0[..rows]);
    if buffer.len() * size_of::<f32>() <= KEPT {
        SCRATCH.with(|kept| kept.borrow_mut().push(buffer));
    }
    result
}
