//! Convolutions.

use burn::tensor::Tensor;
use burn::tensor::ops::ConvOptions;
use burn_cubecl::cubecl;
use burn_cubecl::cubecl::ir::ElemType;
use burn_cubecl::cubecl::prelude::*;

use crate::Gpu;
use crate::conv_any::{any, made};
use crate::grid::{UNITS, workgroups};
use crate::product::{Bias, LANES, Right, Sizes, Then, product, product_then};
use crate::tiled::{Source, Window, tiled};
use crate::tiles::Tiles;

/// Output channels of an invocation whose tile is in registers.
const OUTPUTS: usize = 8;
/// Neighbouring pixels of a row that such an invocation has: windows overlap, so each value read serves up to three of them.
const PIXELS: usize = 8;

/// 2-D convolution of `x: [batch, inputs, h, w]` by `weight: [outputs, inputs / groups, k, k]`, for operands of one type.
pub fn conv2d(
    x: &Tensor<4>,
    weight: &Tensor<4>,
    bias: Option<&Tensor<1>>,
    options: &ConvOptions<2>,
) -> Option<Tensor<4>> {
    let [_, _, rows, columns] = weight.dims();
    let ([stride, across], plain) = (options.stride, options.dilation == [1; 2] && options.groups == 1);
    if x.dtype() != weight.dtype() {
        return None;
    }
    let (x, weight, bias) = (Gpu::of(x)?, Gpu::of(weight)?, Gpu::optional(bias, x.dtype())?);
    #[cfg(not(target_family = "wasm"))]
    if let Some(done) = crate::matrix_units::conv2d(&x, &weight, bias.as_ref(), options) {
        return Some(done);
    }
    match (rows, columns) {
        (1, 1) if plain && stride == 1 && across == 1 && options.padding == [(0, 0); 2] => {
            Some(point(x, weight, bias, Then::Nothing))
        }
        (3, 3) if plain && stride == across => three(x, weight, bias, options, Then::Nothing),
        _ => any(&x.contiguous(), &weight.contiguous(), bias.as_ref(), options),
    }
}

/// `to` plus [`conv2d`] of `x`, for kernels of 1 × 1 and 3 × 3 that keep the size, where tiles are shared. In registers another pass over
/// memory is a small part, and each value's shortcut would be a copy of its code in the shader.
pub fn conv2d_onto(
    to: &Tensor<4>,
    x: &Tensor<4>,
    weight: &Tensor<4>,
    bias: Option<&Tensor<1>>,
    options: &ConvOptions<2>,
) -> Option<Tensor<4>> {
    let ([batch, _, h, w], [outputs, _, rows, columns]) = (x.dims(), weight.dims());
    let plain = options.stride == [1; 2] && options.dilation == [1; 2] && options.groups == 1;
    if x.dtype() != weight.dtype() || !plain || to.dims() != [batch, outputs, h, w] {
        return None;
    }
    let x = Gpu::of(x)?;
    // Asked before any operand is copied.
    if Tiles::of(&x.0.client) == Tiles::Registers {
        return None;
    }
    #[cfg(not(target_family = "wasm"))]
    if crate::matrix_units::multiply(&x) {
        return None;
    }
    let dtype = x.0.dtype;
    let (weight, bias, to) = (Gpu::of(weight)?, Gpu::optional(bias, dtype)?, Gpu::optional(Some(to), dtype)?);
    let then = Then::Onto(to.as_ref()?);
    match (rows, columns) {
        (1, 1) if options.padding == [(0, 0); 2] => Some(point(x, weight, bias, then)),
        (3, 3) if options.padding == [(1, 1); 2] => three(x, weight, bias, options, then),
        _ => None,
    }
}

/// 1 × 1.
fn point(x: Gpu, weight: Gpu, bias: Option<Gpu>, then: Then) -> Tensor<4> {
    let (x, weight) = (x.contiguous(), weight.contiguous());
    let [batch, inputs, h, w] = x.dims();
    let [outputs, ..] = weight.dims::<4>();
    let sizes = Sizes { batch, m: outputs, n: h * w, k: inputs, left: 0, right: inputs * h * w };
    let bias = bias.as_ref();
    let out = match then {
        Then::Nothing => product(&weight, &x, Right::Rows, bias, Bias::Rows, sizes),
        _ => product_then(then, &weight, &x, Right::Rows, bias, Bias::Rows, sizes),
    };
    out.tensor::<3>().reshape([batch, outputs, h, w])
}

/// 3 × 3.
fn three(x: Gpu, weight: Gpu, bias: Option<Gpu>, options: &ConvOptions<2>, then: Then) -> Option<Tensor<4>> {
    let (x, weight) = (x.contiguous(), weight.contiguous());
    let [batch, inputs, h, w] = x.dims();
    let [outputs, ..] = weight.dims::<4>();
    let stride = options.stride[0];
    let [(top, bottom), (start, end)] = options.padding;
    let (high, wide) = (made(h + top + bottom, 3, 1, stride)?, made(w + start + end, 3, 1, stride)?);
    let out = x.empty([batch, outputs, high, wide]);
    let window = Window { h, w, wide, stride, top, start };
    let sizes = Sizes { batch, m: outputs, n: high * wide, k: 9 * inputs, left: 0, right: inputs * h * w };
    let (along, bias) = bias.as_ref().map_or((Bias::None, &x), |bias| (Bias::Rows, bias));
    let client = &x.0.client;
    let padded = if Tiles::of(client) == Tiles::Registers { pad(&x, high, window) } else { None };
    match padded {
        Some(padded) => {
            let runs = high * wide.div_ceil(PIXELS);
            let tiles = batch * outputs.div_ceil(OUTPUTS) * runs.div_ceil(LANES);
            // SAFETY: all indices are clamped to the operands' sizes.
            #[allow(unsafe_code)]
            unsafe {
                registers::launch_unchecked(
                    client,
                    workgroups(tiles),
                    CubeDim::new_1d(LANES as u32),
                    padded.arg(),
                    weight.arg(),
                    bias.arg(),
                    out.arg(),
                    batch,
                    inputs,
                    outputs,
                    high,
                    wide,
                    stride,
                    along == Bias::Rows,
                    x.element(),
                );
            }
        }
        None => tiled(&weight, &x, bias, &out, along, Source::Windows, then, sizes, window),
    }
    Some(out.tensor())
}

/// The rows and columns that runs of pixels read, with the zeros around the picture: then no read has to ask where it is. None if that is
/// more than the device's buffers hold.
fn pad(x: &Gpu, high: usize, window: Window) -> Option<Gpu> {
    let [batch, inputs, ..] = x.dims::<4>();
    let rows = (high - 1) * window.stride + 3;
    let columns = (window.wide.next_multiple_of(PIXELS) - 1) * window.stride + 3;
    let bytes = (batch * inputs * rows * columns * x.0.dtype.size()) as u64;
    if bytes > x.0.client.properties().memory.max_page_size {
        return None;
    }
    let padded = x.empty([batch, inputs, rows, columns]);
    let lines = batch * inputs * rows * columns.div_ceil(STRETCH);
    // SAFETY: all indices are clamped to the operands' sizes.
    #[allow(unsafe_code)]
    unsafe {
        surround::launch_unchecked(
            &x.0.client,
            workgroups(lines.div_ceil(UNITS)),
            CubeDim::new_1d(UNITS as u32),
            x.arg(),
            padded.arg(),
            batch * inputs,
            rows,
            columns,
            window.launch(),
            x.element(),
        );
    }
    Some(padded)
}

/// Values of a line that one invocation copies.
const STRETCH: usize = 16;

#[cube(launch_unchecked)]
fn surround<F: Float>(
    x: &[F],
    padded: &mut [F],
    planes: usize,
    rows: usize,
    columns: usize,
    window: Window,
    #[define(F)] _type: ElemType,
) {
    let stretches = columns.div_ceil(STRETCH);
    let at = min(ABSOLUTE_POS, planes * rows * stretches - 1);
    let (line, column) = (at / stretches, at % stretches * STRETCH);
    let y = (line % rows) as i32 - window.top as i32;
    let inside = y >= 0 && y < window.h as i32;
    let from = (line / rows * window.h + clamp(y, 0, window.h as i32 - 1) as usize) * window.w;
    for column in column..min(column + STRETCH, columns) {
        let x_at = column as i32 - window.start as i32;
        let value = x[from + clamp(x_at, 0, window.w as i32 - 1) as usize];
        let zero = F::new(0.0);
        padded[line * columns + column] = select(inside && x_at >= 0 && x_at < window.w as i32, value, zero);
    }
}

/// An invocation has a run of pixels of one row in some output channels; neighbours have neighbouring runs.
#[cube(launch_unchecked)]
fn registers<F: Float>(
    padded: &[F],
    weight: &[F],
    bias: &[F],
    out: &mut [F],
    batch: usize,
    inputs: usize,
    outputs: usize,
    high: usize,
    wide: usize,
    #[comptime] stride: usize,
    #[comptime] biased: bool,
    #[define(F)] _type: ElemType,
) {
    let wide_runs = wide.div_ceil(PIXELS);
    let runs = high * wide_runs;
    let (tiles_m, tiles_n) = (outputs.div_ceil(OUTPUTS), runs.div_ceil(LANES));
    let tile = min(CUBE_POS, batch * tiles_m * tiles_n - 1);
    let picture = tile / (tiles_m * tiles_n);
    // Neighbours share filters, which then stay in the cache.
    let output = tile / tiles_n % tiles_m * OUTPUTS;
    let run = tile % tiles_n * LANES + UNIT_POS as usize;
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
    let across = (wide_runs * PIXELS - 1) * stride + 3;
    let plane = ((high - 1) * stride + 3) * across;
    let first = picture * inputs * plane + row * stride * across + column * stride;
    for input in 0..inputs {
        for dy in 0..3usize {
            let line = first + input * plane + dy * across;
            let at = input * 9 + dy * 3;
            let mut values = Array::<f32>::new(comptime!((PIXELS - 1) * stride + 3));
            #[unroll]
            for p in 0..(PIXELS - 1) * stride + 3 {
                values[p] = f32::cast_from(padded[line + p]);
            }
            #[unroll]
            for o in 0..OUTPUTS {
                #[unroll]
                for dx in 0..3usize {
                    let tap = f32::cast_from(weight[weights[o] + at + dx]);
                    #[unroll]
                    for p in 0..PIXELS {
                        sums[o * PIXELS + p] += tap * values[p * stride + dx];
                    }
                }
            }
        }
    }
    #[unroll]
    for o in 0..OUTPUTS {
        #[unroll]
        for p in 0..PIXELS {
            let (output, column) = (output + o, column + p);
            if run < runs && output < outputs && column < wide {
                let mut sum = sums[o * PIXELS + p];
                if comptime!(biased) {
                    sum += f32::cast_from(bias[output]);
                }
                out[((picture * outputs + output) * high + row) * wide + column] = F::cast_from(sum);
            }
        }
    }
}
