//! Convolutions that the networks here do not have, by the definition, so that burn's own need not be in the page's engine.

use burn::tensor::Tensor;
use burn::tensor::ops::ConvOptions;
use burn_cubecl::cubecl;
use burn_cubecl::cubecl::ir::ElemType;
use burn_cubecl::cubecl::prelude::*;

use crate::Gpu;
use crate::grid::{UNITS, workgroups};

/// Sizes of a convolution, each by rows and by columns.
#[derive(Debug, Clone, Copy, CubeType, CubeLaunch)]
struct Shape {
    h: usize,
    w: usize,
    high: usize,
    wide: usize,
    rows: usize,
    columns: usize,
    stride_y: usize,
    stride_x: usize,
    dilation_y: usize,
    dilation_x: usize,
    top: usize,
    start: usize,
}

/// How many values a kernel makes along an axis of so many, padding included; none if it is larger.
pub fn made(length: usize, kernel: usize, dilation: usize, stride: usize) -> Option<usize> {
    Some(length.checked_sub(dilation * (kernel - 1) + 1)? / stride + 1)
}

/// Any kernel, stride, padding, dilation and number of groups; none if the kernel is larger than the padded picture.
pub fn any(x: &Gpu, weight: &Gpu, bias: Option<&Gpu>, options: &ConvOptions<2>) -> Option<Tensor<4>> {
    let [batch, inputs, h, w] = x.dims();
    let [outputs, of_group, rows, columns] = weight.dims();
    let ([stride_y, stride_x], [dilation_y, dilation_x]) = (options.stride, options.dilation);
    let [(top, bottom), (start, end)] = options.padding;
    let high = made(h + top + bottom, rows, dilation_y, stride_y)?;
    let wide = made(w + start + end, columns, dilation_x, stride_x)?;
    let out = x.empty([batch, outputs, high, wide]);
    let shape = ShapeLaunch::new(
        h, w, high, wide, rows, columns, stride_y, stride_x, dilation_y, dilation_x, top, start,
    );
    // SAFETY: all indices are clamped to the operands' sizes.
    #[allow(unsafe_code)]
    unsafe {
        values::launch_unchecked(
            &x.0.client,
            workgroups((batch * outputs * high * wide).div_ceil(UNITS)),
            CubeDim::new_1d(UNITS as u32),
            x.arg(),
            weight.arg(),
            bias.unwrap_or(x).arg(),
            out.arg(),
            batch,
            inputs,
            outputs,
            of_group,
            shape,
            bias.is_some(),
            x.element(),
        );
    }
    Some(out.tensor())
}

/// An invocation has one value.
#[cube(launch_unchecked)]
fn values<F: Float>(
    x: &[F],
    weight: &[F],
    bias: &[F],
    out: &mut [F],
    batch: usize,
    inputs: usize,
    outputs: usize,
    of_group: usize,
    shape: Shape,
    #[comptime] biased: bool,
    #[define(F)] _type: ElemType,
) {
    let at = min(ABSOLUTE_POS, batch * outputs * shape.high * shape.wide - 1);
    let (row, column) = (at / shape.wide % shape.high, at % shape.wide);
    let plane = at / (shape.high * shape.wide);
    let (picture, output) = (plane / outputs, plane % outputs);
    let first = output / (outputs / (inputs / of_group)) * of_group;
    let mut sum = 0.0f32;
    if comptime!(biased) {
        sum = f32::cast_from(bias[output]);
    }
    for input in 0..of_group {
        let of_x = (picture * inputs + first + input) * shape.h;
        let of_weight = (output * of_group + input) * shape.rows;
        for i in 0..shape.rows {
            let y = (row * shape.stride_y + i * shape.dilation_y) as i32 - shape.top as i32;
            if y >= 0 && y < shape.h as i32 {
                for j in 0..shape.columns {
                    let z = (column * shape.stride_x + j * shape.dilation_x) as i32 - shape.start as i32;
                    if z >= 0 && z < shape.w as i32 {
                        let value = x[(of_x + y as usize) * shape.w + z as usize];
                        let tap = weight[(of_weight + i) * shape.columns + j];
                        sum += f32::cast_from(value) * f32::cast_from(tap);
                    }
                }
            }
        }
    }
    out[at] = F::cast_from(sum);
}
