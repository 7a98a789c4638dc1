//! Layer normalisation in one kernel.

use burn::tensor::Tensor;
use burn_cubecl::cubecl;
use burn_cubecl::cubecl::ir::ElemType;
use burn_cubecl::cubecl::prelude::*;

use crate::grid::{UNITS, workgroups};
use crate::product::width;
use crate::{Gpu, Tiles};

/// Each row of the last axis: less its mean, by its deviation, times `gamma`, plus `beta`.
pub fn layer_norm<const D: usize>(
    x: &Tensor<D>,
    gamma: &Tensor<1>,
    beta: &Tensor<1>,
    eps: f64,
) -> Option<Tensor<D>> {
    if gamma.dtype() != x.dtype() || beta.dtype() != x.dtype() {
        return None;
    }
    let x = Gpu::of(x)?.contiguous();
    let [gamma, beta] = [Gpu::of(gamma)?.contiguous(), Gpu::of(beta)?.contiguous()];
    let dims = x.dims::<D>();
    let size = dims[D - 1];
    let rows = dims.iter().product::<usize>() / size;
    let width = width(size);
    let out = x.empty(dims);
    // A processor reads a row alone best; a GPU's lanes want neighbouring values.
    let together = Tiles::of(&x.0.client) == Tiles::Shared;
    // SAFETY: all indices are clamped to the operands' sizes.
    #[allow(unsafe_code)]
    unsafe {
        normalise::launch_unchecked(
            &x.0.client,
            workgroups(if together { rows } else { rows.div_ceil(UNITS) }),
            CubeDim::new_1d(UNITS as u32),
            width,
            x.arg(),
            gamma.arg(),
            beta.arg(),
            out.arg(),
            rows,
            size / width,
            eps as f32,
            together,
            width,
            x.element(),
        );
    }
    Some(out.tensor())
}

/// The sum of a vector's values, and of all the workgroup's if it is `together` at it.
#[cube]
fn sum_of<N: Size>(
    values: Vector<f32, N>,
    shared: &mut Shared<[f32]>,
    #[comptime] together: bool,
    #[comptime] width: usize,
) -> f32 {
    let mut sum = 0.0f32;
    #[unroll]
    for i in 0..width {
        sum += values.extract(i);
    }
    if comptime!(together) {
        let unit = UNIT_POS as usize;
        // Whoever still reads the sum before this one.
        sync_cube();
        shared[unit] = sum;
        let mut half = comptime!(UNITS / 2).runtime();
        while half > 0 {
            sync_cube();
            if unit < half {
                let other = shared[unit + half];
                shared[unit] += other;
            }
            half /= 2;
        }
        sync_cube();
        sum = shared[0];
    }
    sum
}

/// A workgroup or, by itself, a unit has a row.
#[cube(launch_unchecked)]
fn normalise<F: Float, N: Size>(
    x: &[Vector<F, N>],
    gamma: &[Vector<F, N>],
    beta: &[Vector<F, N>],
    out: &mut [Vector<F, N>],
    rows: usize,
    vectors: usize,
    eps: f32,
    #[comptime] together: bool,
    #[comptime] width: usize,
    #[define(F)] _type: ElemType,
) {
    let mut shared = Shared::<[f32]>::new_slice(UNITS);
    let (row, first) = if comptime!(together) {
        (min(CUBE_POS, rows - 1), UNIT_POS as usize)
    } else {
        (min(ABSOLUTE_POS, rows - 1), 0usize.runtime())
    };
    let step = comptime!(if together { UNITS } else { 1 });
    let from = row * vectors;
    let size = f32::cast_from(vectors * width);
    // Deviations are from the row's first value: sums of values far from zero would lose the digits that matter.
    let about = f32::cast_from(x[from].extract(0usize));
    let mut sum = Vector::<f32, N>::new(0.0);
    for i in range_stepped(first, vectors, step) {
        sum += Vector::<f32, N>::cast_from(x[from + i]) - Vector::new(about);
    }
    let mean = about + sum_of::<N>(sum, &mut shared, together, width) / size;
    let mut squares = Vector::<f32, N>::new(0.0);
    for i in range_stepped(first, vectors, step) {
        let off = Vector::<f32, N>::cast_from(x[from + i]) - Vector::new(mean);
        squares += off * off;
    }
    let variance = sum_of::<N>(squares, &mut shared, together, width) / size;
    let scale = 1.0 / (variance + eps).sqrt();
    for i in range_stepped(first, vectors, step) {
        let off = Vector::<f32, N>::cast_from(x[from + i]) - Vector::new(mean);
        let value = off * Vector::new(scale) * Vector::cast_from(gamma[i]) + Vector::cast_from(beta[i]);
        out[from + i] = Vector::cast_from(value);
    }
}
