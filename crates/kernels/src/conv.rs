//! Convolution.

use burn::tensor::ops::ConvOptions;
use burn::tensor::{Tensor, module};

use crate::cpu::matmul::{Bias, Matrix, matmul};
use crate::cpu::winograd::{Conv3x3, conv3x3};
use crate::cpu::{Host, tensor};
use crate::gpu;

/// 2-D convolution.
///
/// On the CPU in f32, 3 × 3 kernels that keep the size run by minimal filtering (Lavin & Gray 2016: a quarter of the
/// multiplications, about 10⁻⁵ σ of error at 640 channels) and 1 × 1 kernels as a product that reads the picture in
/// place. On a GPU, in f32 and f16, 1 × 1 and 3 × 3 kernels of any stride and padding are our own. All else is burn's.
///
/// # Shapes
/// - `x`: `[batch, inputs, h, w]`
/// - `weight`: `[outputs, inputs / groups, k, k]`
/// - `bias`: `[outputs]`
/// - output: `[batch, outputs, h', w']`
pub fn conv2d(
    x: Tensor<4>,
    weight: Tensor<4>,
    bias: Option<Tensor<1>>,
    options: ConvOptions<2>,
) -> Tensor<4> {
    let [_, _, rows, columns] = weight.dims();
    let plain = options.stride == [1; 2] && options.dilation == [1; 2] && options.groups == 1;
    let done = match (plain, rows, columns) {
        (true, 3, 3) if options.padding == [(1, 1); 2] => same(&x, &weight, bias.as_ref()),
        (true, 1, 1) if options.padding == [(0, 0); 2] => point(&x, &weight, bias.as_ref()),
        _ => None,
    };
    let done = done.or_else(|| gpu::conv::conv2d(&x, &weight, bias.as_ref(), &options));
    done.unwrap_or_else(|| module::conv2d(x, weight, bias, options))
}

/// 3 × 3 with a padding of one.
fn same(x: &Tensor<4>, weight: &Tensor<4>, bias: Option<&Tensor<1>>) -> Option<Tensor<4>> {
    let [batch, inputs, h, w] = x.dims();
    let outputs = weight.dims()[0];
    let (from, weights) = (Host::of(x)?, Host::of(weight)?);
    let bias =
        bias.map_or_else(|| Some(vec![0.0; outputs]), |b| Some(Host::of(b)?.contiguous().into_owned()))?;
    let mut out = vec![0.0; batch * outputs * h * w];
    let (from, weights) = (from.contiguous(), weights.contiguous());
    conv3x3(Conv3x3 { x: &from, weight: &weights, bias: &bias, batch, inputs, outputs, h, w }, &mut out);
    Some(tensor(out, [batch, outputs, h, w], &x.device()))
}

/// 1 × 1.
fn point(x: &Tensor<4>, weight: &Tensor<4>, bias: Option<&Tensor<1>>) -> Option<Tensor<4>> {
    let [batch, inputs, h, w] = x.dims();
    let outputs = weight.dims()[0];
    let (from, weights) = (Host::of(x)?, Host::of(weight)?);
    let [picture, channel, row, column] = from.strides();
    if row != w * column && h > 1 {
        return None;
    }
    let bias = bias.map_or(Some(Vec::new()), |b| Some(Host::of(b)?.contiguous().into_owned()))?;
    let [output, input, ..] = weights.strides::<4>();
    let weights = Matrix { values: weights.values(), strides: [output, input] };
    let start = if bias.is_empty() { Bias::None } else { Bias::Rows(&bias) };
    let mut out = vec![0.0; batch * outputs * h * w];
    for (i, out) in out.chunks_exact_mut(outputs * h * w).enumerate() {
        let pixels = Matrix { values: &from.values()[i * picture..], strides: [column, channel] };
        matmul(weights, pixels, inputs, start, h * w, out);
    }
    Some(tensor(out, [batch, outputs, h, w], &x.device()))
}
