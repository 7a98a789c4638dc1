//! Convolutions.

use burn::tensor::Tensor;
use burn::tensor::ops::ConvOptions;
use burn_cubecl::cubecl;
use burn_cubecl::cubecl::ir::ElemType;
use burn_cubecl::cubecl::prelude::*;

use super::Gpu;
use super::grid::workgroups;
use super::product::{Bias, LANES, Right, SizesOf, product};
use super::tiled::{Geometry, Source, Window, tiled};
use super::tiles::Tiles;

/// Output channels of an invocation whose tile is in registers.
const OUTPUTS: usize = 8;
/// Neighbouring pixels of a row that such an invocation has: windows overlap, so each value read serves up to three of them.
const PIXELS: usize = 8;

/// 1 × 1 without padding and 3 × 3, undilated, ungrouped; the others are burn's.
pub fn conv2d(
    x: &Tensor<4>,
    weight: &Tensor<4>,
    bias: Option<&Tensor<1>>,
    options: &ConvOptions<2>,
) -> Option<Tensor<4>> {
    let [_, _, rows, columns] = weight.dims();
    let ([stride, across], plain) = (options.stride, options.dilation == [1; 2] && options.groups == 1);
    if !plain || stride != across || x.dtype() != weight.dtype() {
        return None;
    }
    let (x, weight) = (Gpu::of(x)?, Gpu::of(weight)?);
    let bias = bias.map(Gpu::of).transpose_some()?;
    match (rows, columns) {
        (1, 1) if stride == 1 && options.padding == [(0, 0); 2] => Some(point(x, weight, bias)),
        (3, 3) => three(x, weight, bias, options),
        _ => None,
    }
}

/// An optional operand that must be readable if it is there.
trait TransposeSome<T> {
    fn transpose_some(self) -> Option<Option<T>>;
}

impl<T> TransposeSome<T> for Option<Option<T>> {
    fn transpose_some(self) -> Option<Option<T>> {
        match self {
            None => Some(None),
            Some(inner) => inner.map(Some),
        }
    }
}

/// 1 × 1.
fn point(x: Gpu, weight: Gpu, bias: Option<Gpu>) -> Tensor<4> {
    let (x, weight) = (x.contiguous(), weight.contiguous());
    let [batch, inputs, h, w] = x.dims();
    let [outputs, ..] = weight.dims::<4>();
    let sizes = SizesOf { batch, m: outputs, n: h * w, k: inputs, left: 0, right: inputs * h * w };
    let bias = bias.map(Gpu::contiguous);
    let out = product(&weight, &x, Right::Rows, bias.as_ref(), Bias::Rows, sizes);
    out.tensor::<3>().reshape([batch, outputs, h, w])
}

/// 3 × 3.
fn three(x: Gpu, weight: Gpu, bias: Option<Gpu>, options: &ConvOptions<2>) -> Option<Tensor<4>> {
    let (x, weight) = (x.contiguous(), weight.contiguous());
    let bias = bias.map(Gpu::contiguous);
    let [batch, inputs, h, w] = x.dims();
    let [outputs, ..] = weight.dims::<4>();
    let stride = options.stride[0];
    let [(top, bottom), (start, end)] = options.padding;
    let across = |length: usize, padding: usize| Some((length + padding).checked_sub(3)? / stride + 1);
    let (high, wide) = (across(h, top + bottom)?, across(w, start + end)?);
    let out = x.empty([batch, outputs, high, wide]);
    let window = Window { h, w, wide, stride, top, start };
    let sizes = SizesOf {
        batch,
        m: outputs,
        n: high * wide,
        k: 9 * inputs,
        left: 0,
        right: inputs * h * w,
    };
    let (along, bias) = bias.as_ref().map_or((Bias::None, &x), |bias| (Bias::Rows, bias));
    let client = &x.0.client;
    match Tiles::of(client) {
        Tiles::Registers => {
            let runs = high * wide.div_ceil(PIXELS);
            let tiles = batch * outputs.div_ceil(OUTPUTS) * runs.div_ceil(LANES);
            // SAFETY: all indices are clamped to the operands' sizes.
            #[allow(unsafe_code)]
            unsafe {
                registers::launch_unchecked(
                    client,
                    workgroups(tiles),
                    CubeDim::new_1d(LANES as u32),
                    x.arg(),
                    weight.arg(),
                    bias.arg(),
                    out.arg(),
                    batch,
                    inputs,
                    outputs,
                    high,
                    window.launch(),
                    along == Bias::Rows,
                    x.element(),
                );
            }
        }
        Tiles::Shared => tiled(&weight, &x, bias, &out, along, Source::Windows, sizes, window),
    }
    Some(out.tensor())
}

/// An invocation has a run of pixels of one row in some output channels; neighbours have neighbouring runs.
#[cube(launch_unchecked)]
fn registers<F: Float>(
    x: &[F],
    weight: &[F],
    bias: &[F],
    out: &mut [F],
    batch: usize,
    inputs: usize,
    outputs: usize,
    high: usize,
    window: Geometry,
    #[comptime] biased: bool,
    #[define(F)] _type: ElemType,
) {
    let wide_runs = window.wide.div_ceil(PIXELS);
    let runs = high * wide_runs;
    let (tiles_m, tiles_n) = (outputs.div_ceil(OUTPUTS), runs.div_ceil(LANES));
    let tile = min(CUBE_POS, batch * tiles_m * tiles_n - 1);
    let picture = tile / (tiles_m * tiles_n);
    let output = tile % tiles_m * OUTPUTS;
    let run = tile / tiles_m % tiles_n * LANES + UNIT_POS as usize;
    let (row, column) = (min(run / wide_runs, high - 1), run % wide_runs * PIXELS);

    let mut sums = Array::<f32>::new(comptime!(OUTPUTS * PIXELS));
    let mut weights = Array::<usize>::new(OUTPUTS);
    #[unroll]
    for o in 0..OUTPUTS {
        weights[o] = min(output + o, outputs - 1) * inputs * 9;
        #[unroll]
        for p in 0..PIXELS {
            sums[o * PIXELS + p] = 0.0;
        }
    }
    let top = (row * window.stride) as i32 - window.top as i32;
    let start = (column * window.stride) as i32 - window.start as i32;
    let plane = window.h * window.w;
    for input in 0..inputs {
        for dy in 0..3usize {
            let y = top + dy as i32;
            let inside = y >= 0 && y < window.h as i32;
            let line = (picture * inputs + input) * plane + clamp(y, 0, window.h as i32 - 1) as usize * window.w;
            let at = input * 9 + dy * 3;
            strip::<F>(x, weight, &weights, &mut sums, line, at, start, inside, window.w as i32, window.stride);
        }
    }
    #[unroll]
    for o in 0..OUTPUTS {
        #[unroll]
        for p in 0..PIXELS {
            let (output, column) = (output + o, column + p);
            if run < runs && output < outputs && column < window.wide {
                let mut sum = sums[o * PIXELS + p];
                if comptime!(biased) {
                    sum += f32::cast_from(bias[output]);
                }
                out[((picture * outputs + output) * high + row) * window.wide + column] = F::cast_from(sum);
            }
        }
    }
}

/// What one line of one channel gives to a run of pixels.
#[cube]
fn strip<F: Float>(
    x: &[F],
    weight: &[F],
    weights: &Array<usize>,
    sums: &mut Array<f32>,
    line: usize,
    at: usize,
    start: i32,
    inside: bool,
    w: i32,
    stride: usize,
) {
    let mut taps = Array::<f32>::new(comptime!(3 * OUTPUTS));
    #[unroll]
    for o in 0..OUTPUTS {
        #[unroll]
        for d in 0..3usize {
            taps[o * 3 + d] = f32::cast_from(weight[weights[o] + at + d]);
        }
    }
    if stride == 1 {
        let mut values = Array::<f32>::new(comptime!(PIXELS + 2));
        #[unroll]
        for p in 0..PIXELS + 2 {
            let column = start + p as i32;
            let value = f32::cast_from(x[line + clamp(column, 0, w - 1) as usize]);
            values[p] = select(inside && column >= 0 && column < w, value, 0.0);
        }
        #[unroll]
        for o in 0..OUTPUTS {
            #[unroll]
            for p in 0..PIXELS {
                #[unroll]
                for d in 0..3usize {
                    sums[o * PIXELS + p] += taps[o * 3 + d] * values[p + d];
                }
            }
        }
    } else {
        #[unroll]
        for p in 0..PIXELS {
            #[unroll]
            for d in 0..3usize {
                let column = start + (p * stride + d) as i32;
                let value = f32::cast_from(x[line + clamp(column, 0, w - 1) as usize]);
                let value = select(inside && column >= 0 && column < w, value, 0.0);
                #[unroll]
                for o in 0..OUTPUTS {
                    sums[o * PIXELS + p] += taps[o * 3 + d] * value;
                }
            }
        }
    }
}
