//! The linear layer.

use burn::tensor::{Tensor, module};
use clarifier_gpu_kernels::product::{Right, Sizes, Then, product, product_then};
use clarifier_gpu_kernels::{self as gpu, Gpu, Tiles};

use crate::activation::geglu;
use crate::cpu::matmul::{After, Bias, Matrix, matmul_then};
use crate::cpu::{Host, tensor};

/// Fewer rows than these are burn's: there each weight is used too seldom to be worth reordering, and shared tiles are mostly empty. A
/// batch of sequences is ours however short they are, so that what else is in it changes no value.
const FEWEST_ROWS: usize = 16;

/// Whether burn's are better for `x` of these sizes.
fn is_few<const D: usize>(dims: [usize; D]) -> bool {
    D < 3 && dims[..D - 1].iter().product::<usize>() < FEWEST_ROWS
}

/// `x · weight + bias`.
///
/// On the CPU both are read in place in any order of axes, so a transposed view costs nothing; on a GPU `weight` is best a transposed view
/// of `[outputs, inputs]`.
///
/// # Shapes
/// - `x`: `[…, inputs]`
/// - `weight`: `[inputs, outputs]`
/// - `bias`: `[outputs]`
/// - output: `[…, outputs]`
pub fn linear<const D: usize>(x: Tensor<D>, weight: Tensor<2>, bias: Option<Tensor<1>>) -> Tensor<D> {
    ours(&x, &weight, bias.as_ref(), After::Nothing, None).unwrap_or_else(|| module::linear(x, weight, bias))
}

/// The first half of [`linear`]'s outputs times GELU of the second (Shazeer 2020).
///
/// On the CPU, and on GPUs whose tiles are in shared memory, what `linear` would give is never in memory, where it would be the largest of a
/// transformer's tensors.
///
/// # Shapes
/// As [`linear`]'s; the output is `[…, outputs / 2]`.
pub fn linear_geglu<const D: usize>(x: Tensor<D>, weight: Tensor<2>, bias: Option<Tensor<1>>) -> Tensor<D> {
    ours(&x, &weight, bias.as_ref(), After::Geglu, None).unwrap_or_else(|| geglu(linear(x, weight, bias)))
}

/// `to` plus [`linear`] of `x`: the shortcut around a transformer's layers.
///
/// On the CPU, and on GPUs whose tiles are in shared memory, the sums begin with `to`, or end with it, in place of another pass over memory.
///
/// # Shapes
/// As [`linear`]'s; `to` has the output's.
pub fn linear_onto<const D: usize>(
    to: Tensor<D>,
    x: Tensor<D>,
    weight: Tensor<2>,
    bias: Option<Tensor<1>>,
) -> Tensor<D> {
    ours(&x, &weight, bias.as_ref(), After::Nothing, Some(&to))
        .unwrap_or_else(|| to + linear(x, weight, bias))
}

fn ours<const D: usize>(
    x: &Tensor<D>,
    weight: &Tensor<2>,
    bias: Option<&Tensor<1>>,
    after: After,
    onto: Option<&Tensor<D>>,
) -> Option<Tensor<D>> {
    let mut dims = x.dims();
    dims[D - 1] = after.width(weight.dims()[1]);
    if onto.is_some_and(|to| to.dims() != dims) {
        return None;
    }
    on_host(x, weight, bias, after, onto).or_else(|| on_gpu(x, weight, bias, after, onto))
}

fn on_gpu<const D: usize>(
    x: &Tensor<D>,
    weight: &Tensor<2>,
    bias: Option<&Tensor<1>>,
    after: After,
    onto: Option<&Tensor<D>>,
) -> Option<Tensor<D>> {
    let [inputs, outputs] = weight.dims();
    let mut dims = x.dims();
    let rows = dims[..D - 1].iter().product::<usize>();
    if x.dtype() != weight.dtype() {
        return None;
    }
    let x = Gpu::of(x)?;
    // Asked before any operand is copied.
    let tiles = Tiles::of(&x.0.client);
    let epilogue = after != After::Nothing || onto.is_some();
    // Each row's GELU would be a copy of its code in the shader, and another pass over memory is a small part there.
    if epilogue && tiles == Tiles::Registers {
        return None;
    }
    if is_few(dims) && tiles == Tiles::Shared {
        return None;
    }
    #[cfg(not(target_family = "wasm"))]
    if gpu::matrix_units::multiply(&x) {
        return None;
    }
    let (bias, onto) = (Gpu::optional(bias, x.0.dtype)?, Gpu::optional(onto, x.0.dtype)?);
    // Weights lie output by output in files, and are given as a view of that.
    let (x, columns) = (x.contiguous(), Gpu::of(&weight.clone().transpose())?.contiguous());
    dims[D - 1] = after.width(outputs);
    let sizes = Sizes { batch: 1, m: rows, n: dims[D - 1], k: inputs, left: 0, right: 0 };
    let (lies, along, bias) = (Right::Columns, gpu::product::Bias::Columns, bias.as_ref());
    let then = match (after, &onto) {
        (After::Nothing, None) => None,
        (After::Nothing, Some(to)) => Some(Then::Onto(to)),
        (After::Geglu, _) => Some(Then::Geglu),
    };
    let out = match then {
        None => product(&x, &columns, lies, bias, along, sizes),
        Some(then) => product_then(then, &x, &columns, lies, bias, along, sizes),
    };
    Some(out.tensor::<3>().reshape(dims))
}

fn on_host<const D: usize>(
    x: &Tensor<D>,
    weight: &Tensor<2>,
    bias: Option<&Tensor<1>>,
    after: After,
    onto: Option<&Tensor<D>>,
) -> Option<Tensor<D>> {
    let [inputs, outputs] = weight.dims();
    let mut dims = x.dims();
    let rows = dims[..D - 1].iter().product::<usize>();
    if D < 2 || is_few(dims) {
        return None;
    }
    let (from, weights) = (Host::of(x)?, Host::of(weight)?);
    let bias = bias.map_or(Some(Vec::new()), |b| Some(Host::of(b)?.contiguous().into_owned()))?;
    let start = match onto {
        Some(_) => Bias::Onto(&bias),
        None if bias.is_empty() => Bias::None,
        None => Bias::Columns(&bias),
    };
    let [input, output] = weights.strides();
    let weights = Matrix { values: weights.values(), strides: [output, input] };
    let strides = from.strides::<D>();
    let width = after.width(outputs);
    let mut out = match onto {
        Some(to) => Host::of(to)?.contiguous().into_owned(),
        None => vec![0.0; rows * width],
    };
    // Leading axes that cannot be seen as one are taken one by one.
    let joined = (0..D - 2).all(|i| dims[i] == 1 || strides[i] == dims[i + 1] * strides[i + 1]);
    if joined {
        let x = Matrix { values: from.values(), strides: [strides[D - 2], strides[D - 1]] };
        matmul_then(after, x, weights, inputs, start, outputs, &mut out);
    } else if D == 3 {
        for (i, out) in out.chunks_exact_mut(dims[1] * width).enumerate() {
            let x = Matrix { values: &from.values()[i * strides[0]..], strides: [strides[1], strides[2]] };
            matmul_then(after, x, weights, inputs, start, outputs, out);
        }
    } else {
        return None;
    }
    dims[D - 1] = width;
    Some(tensor(out, dims, &x.device()))
}
