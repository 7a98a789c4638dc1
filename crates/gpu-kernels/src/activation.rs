//! Activations in one pass over memory.

use burn::tensor::Tensor;
use burn_cubecl::cubecl;
use burn_cubecl::cubecl::ir::ElemType;
use burn_cubecl::cubecl::prelude::*;

use crate::Gpu;
use crate::grid::{UNITS, workgroups};

/// `a · gelu(b)` of the two halves of the last axis.
pub fn geglu(x: &Tensor<3>) -> Option<Tensor<3>> {
    let x = Gpu::of(x)?.contiguous();
    let [batch, n, both] = x.dims();
    let half = both / 2;
    let width = if half.is_multiple_of(4) { 4 } else { 1 };
    let out = x.empty([batch, n, half]);
    let vectors = batch * n * half / width;
    // SAFETY: all indices are clamped to the operands' sizes.
    #[allow(unsafe_code)]
    unsafe {
        gate::launch_unchecked(
            &x.0.client,
            workgroups(vectors.div_ceil(UNITS)),
            CubeDim::new_1d(UNITS as u32),
            width,
            x.arg(),
            out.arg(),
            vectors,
            half / width,
            x.element(),
        );
    }
    Some(out.tensor())
}

#[cube(launch_unchecked)]
fn gate<F: Float, N: Size>(
    x: &[Vector<F, N>],
    out: &mut [Vector<F, N>],
    vectors: usize,
    half: usize,
    #[define(F)] _type: ElemType,
) {
    let at = min(ABSOLUTE_POS, vectors - 1);
    let from = at / half * 2 * half + at % half;
    let value = Vector::<f32, N>::cast_from(x[from]);
    let gate = Vector::<f32, N>::cast_from(x[from + half]);
    // GELU by its definition, x · Φ(x).
    let below = (gate * Vector::new(std::f32::consts::FRAC_1_SQRT_2)).erf();
    let gelu = gate * (below + Vector::new(1.0)) * Vector::new(0.5);
    out[at] = Vector::cast_from(value * gelu);
}
