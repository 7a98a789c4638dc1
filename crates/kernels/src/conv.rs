//! Convolution.

use burn::backend::Flex;
use burn::backend::ops::ModuleOps;
use burn::tensor::Tensor;
use burn::tensor::activation::leaky_relu;
use burn::tensor::ops::ConvOptions;
use clarifier_gpu_kernels as gpu;

use crate::cpu::matmul::{Bias, Matrix, matmul};
use crate::cpu::winograd::{After, Conv3x3, Filters, conv3x3, dense_bytes, dense3x3};
use crate::cpu::{Host, KEPT, tensor};

/// 2-D convolution.
///
/// On the CPU in f32, 3 × 3 kernels that keep the size run by minimal filtering (Lavin & Gray 2016: a quarter of the
/// multiplications, about 10⁻⁵ σ of error at 640 channels) and 1 × 1 kernels as a product that reads the picture in
/// place; all else is burn's. On a GPU all is our own, and 1 × 1 and 3 × 3 kernels of any stride and padding are fast.
///
/// # Shapes
/// - `x`: `[batch, inputs, h, w]`
/// - `weight`: `[outputs, inputs / groups, k, k]`
/// - `bias`: `[outputs]`
/// - output: `[batch, outputs, h', w']`
///
/// # Panics
/// If the shapes do not fit each other; on a GPU if the types are not all f32 or all f16.
pub fn conv2d(
    x: Tensor<4>,
    weight: Tensor<4>,
    bias: Option<Tensor<1>>,
    options: ConvOptions<2>,
) -> Tensor<4> {
    let done = on_host(&x, &weight, bias.as_ref(), &options, None);
    let done = done.or_else(|| gpu::conv::conv2d(&x, &weight, bias.as_ref(), &options));
    done.unwrap_or_else(|| of_flex(x, weight, bias, options))
}

/// `to` plus [`conv2d`] of `x`: the shortcut around a residual block.
///
/// On the CPU, and on GPUs whose tiles are in shared memory, the sums begin with `to`, or end with it, in place of another pass over
/// memory.
///
/// # Shapes
/// As [`conv2d`]'s; `to` has the output's.
///
/// # Panics
/// Likewise.
pub fn conv2d_onto(
    to: Tensor<4>,
    x: Tensor<4>,
    weight: Tensor<4>,
    bias: Option<Tensor<1>>,
    options: ConvOptions<2>,
) -> Tensor<4> {
    let done = on_host(&x, &weight, bias.as_ref(), &options, Some(&to));
    let done = done.or_else(|| gpu::conv::conv2d_onto(&to, &x, &weight, bias.as_ref(), &options));
    done.unwrap_or_else(|| to + conv2d(x, weight, bias, options))
}

/// Ours on the CPU, for kernels that keep the size. Called from two places, it would be twice in the page's engine.
#[inline(never)]
fn on_host(
    x: &Tensor<4>,
    weight: &Tensor<4>,
    bias: Option<&Tensor<1>>,
    options: &ConvOptions<2>,
    onto: Option<&Tensor<4>>,
) -> Option<Tensor<4>> {
    let ([batch, _, h, w], [outputs, _, rows, columns]) = (x.dims(), weight.dims());
    let plain = options.stride == [1; 2] && options.dilation == [1; 2] && options.groups == 1;
    if !plain || onto.is_some_and(|to| to.dims() != [batch, outputs, h, w]) {
        return None;
    }
    match (rows, columns) {
        (3, 3) if options.padding == [(1, 1); 2] => same(x, weight, bias, onto),
        (1, 1) if options.padding == [(0, 0); 2] => point(x, weight, bias, onto),
        _ => None,
    }
}

/// burn's on the CPU, and not by way of [`burn::tensor::module`], which would bring burn's kernels for GPUs too.
fn of_flex(x: Tensor<4>, weight: Tensor<4>, bias: Option<Tensor<1>>, options: ConvOptions<2>) -> Tensor<4> {
    let sizes = format!("{:?} {:?} by {:?} {:?}", x.dtype(), x.dims(), weight.dtype(), weight.dims());
    let host = || {
        let bias = bias.map_or(Ok(None), |bias| bias.try_into_primitive::<Flex>().map(Some));
        Some((x.try_into_primitive::<Flex>().ok()?, weight.try_into_primitive::<Flex>().ok()?, bias.ok()?))
    };
    let Some((x, weight, bias)) = host() else {
        panic!("no convolution of {sizes}: on a GPU, all operands are of f32 or all of f16")
    };
    Tensor::from_primitive::<Flex>(Flex::conv2d(x, weight, bias, options))
}

/// ESRGAN's dense block (Wang et al. 2018): 3 × 3 convolutions with a padding of one, each of which sees `x` and the outputs
/// of all before it, with a leaky ReLU after all but the last, whose output times `scale` is added to `x`.
///
/// On the CPU in f32 all of them share what minimal filtering makes of the pictures.
///
/// # Shapes
/// - `x` and output: `[batch, channels, h, w]`
/// - `convs`: weight `[outputs, inputs, 3, 3]` and bias `[outputs]` of each, the last with as many outputs as `x` has channels
pub fn dense_block(x: Tensor<4>, convs: &[(Tensor<4>, Tensor<1>)], slope: f64, scale: f64) -> Tensor<4> {
    if let Some(done) = dense(&x, convs, slope as f32, scale as f32) {
        return done;
    }
    let options = ConvOptions::new([1; 2], [1; 2], [1; 2], 1);
    let mut seen = x.clone();
    let Some(((weight, bias), inner)) = convs.split_last() else { return x };
    for (weight, bias) in inner {
        let y = conv2d(seen.clone(), weight.clone(), Some(bias.clone()), options.clone());
        seen = Tensor::cat(vec![seen, leaky_relu(y, slope)], 1);
    }
    conv2d(seen, weight.clone(), Some(bias.clone()), options).mul_scalar(scale) + x
}

fn dense(x: &Tensor<4>, convs: &[(Tensor<4>, Tensor<1>)], slope: f32, scale: f32) -> Option<Tensor<4>> {
    let [batch, _, h, w] = x.dims();
    let most = convs.last()?.0.dims()[1];
    if dense_bytes(batch, most, h, w)? > KEPT {
        return None;
    }
    let from = Host::of(x)?;
    let hosts: Option<Vec<_>> = convs.iter().map(|(w, b)| Some((Host::of(w)?, Host::of(b)?))).collect();
    let hosts = hosts?;
    let values: Vec<_> = hosts.iter().map(|(w, b)| (w.contiguous(), b.contiguous())).collect();
    let from = from.contiguous();
    let filters = values.iter().zip(convs).enumerate().map(|(i, ((weight, bias), (tensor, _)))| {
        let [outputs, inputs, ..] = tensor.dims();
        let last = i + 1 == convs.len();
        let after = if last { After::Residual { scale, to: &from } } else { After::LeakyRelu(slope) };
        Filters { weight, bias, inputs, outputs, after }
    });
    let mut out = vec![0.0; x.dims().iter().product()];
    dense3x3(&from, &filters.collect::<Vec<_>>(), batch, h, w, &mut out);
    Some(tensor(out, x.dims(), &x.device()))
}

/// 3 × 3 with a padding of one.
fn same(
    x: &Tensor<4>,
    weight: &Tensor<4>,
    bias: Option<&Tensor<1>>,
    onto: Option<&Tensor<4>>,
) -> Option<Tensor<4>> {
    let [batch, inputs, h, w] = x.dims();
    let outputs = weight.dims()[0];
    let (from, weights) = (Host::of(x)?, Host::of(weight)?);
    let bias =
        bias.map_or_else(|| Some(vec![0.0; outputs]), |b| Some(Host::of(b)?.contiguous().into_owned()))?;
    let mut out = vec![0.0; batch * outputs * h * w];
    let (from, weights) = (from.contiguous(), weights.contiguous());
    let onto = onto.map_or(Some(None), |to| Some(Some(Host::of(to)?)))?;
    let onto = onto.as_ref().map(Host::contiguous);
    let after = onto.as_ref().map_or(After::Nothing, |to| After::Residual { scale: 1.0, to });
    let filters = Filters { weight: &weights, bias: &bias, inputs, outputs, after };
    conv3x3(Conv3x3 { x: &from, filters, batch, h, w }, &mut out);
    Some(tensor(out, [batch, outputs, h, w], &x.device()))
}

/// 1 × 1.
fn point(
    x: &Tensor<4>,
    weight: &Tensor<4>,
    bias: Option<&Tensor<1>>,
    onto: Option<&Tensor<4>>,
) -> Option<Tensor<4>> {
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
    let (start, mut out) = match onto {
        Some(to) => (Bias::OntoRows(&bias), Host::of(to)?.contiguous().into_owned()),
        None if bias.is_empty() => (Bias::None, vec![0.0; batch * outputs * h * w]),
        None => (Bias::Rows(&bias), vec![0.0; batch * outputs * h * w]),
    };
    for (i, out) in out.chunks_exact_mut(outputs * h * w).enumerate() {
        let pixels = Matrix { values: &from.values()[i * picture..], strides: [column, channel] };
        matmul(weights, pixels, inputs, start, h * w, out);
    }
    Some(tensor(out, [batch, outputs, h, w], &x.device()))
}
