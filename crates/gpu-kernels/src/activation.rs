//! Activations in one pass over memory.

use burn::tensor::Tensor;
use burn_cubecl::cubecl;
use burn_cubecl::cubecl::ir::ElemType;
use burn_cubecl::cubecl::prelude::*;

use crate::Gpu;
use crate::grid::{UNITS, workgroups};
use crate::product::width;

/// `a · gelu(b)` of the two halves of the last axis.
pub fn geglu<const D: usize>(x: &Tensor<D>) -> Option<Tensor<D>> {
    let x = Gpu::of(x)?.contiguous();
    let mut dims = x.dims::<D>();
    dims[D - 1] /= 2;
    let half = dims[D - 1];
    let width = width(half);
    let out = x.empty(dims);
    let vectors = dims.iter().product::<usize>() / width;
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
    out[at] = Vector::cast_from(value * gelu::<N>(gate));
}

/// GELU by its definition, x · Φ(x).
#[cube]
pub(crate) fn gelu<N: Size>(x: Vector<f32, N>) -> Vector<f32, N> {
    let below = (x * Vector::new(std::f32::consts::FRAC_1_SQRT_2)).erf();
    x * (below + Vector::new(1.0)) * Vector::new(0.5)
}
