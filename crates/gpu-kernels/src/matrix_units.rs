//! Units that multiply small matrices: CUDA's tensor cores, Vulkan's cooperative matrices, Metal's SIMD-group matrices.
//!
//! Burn's kernels know how to feed them, and ours do not: where there are such units for f16, linear layers and convolutions are burn's. WebGPU's
//! language has none, so nothing of this is in the page's engine, and the program has them only if built with the feature `spirv`.
//! None of burn's choices here is tuned while it runs, which would make results differ from run to run.

use std::cell::Cell;

use burn::tensor::Tensor;
use burn::tensor::ops::ConvOptions;
use burn_cubecl::cubecl::ir::features::MmaConfig;
use burn_cubecl::cubecl::ir::{ElemType, FloatKind};
use burn_cubecl::kernel::conv::{ConvStrategy, conv_forward};

use crate::Gpu;

/// Channels must be a multiple of this: the side of a unit's matrices.
const SIDE: usize = 16;

thread_local! {
    static FORCED: Cell<bool> = const { Cell::new(false) };
}

/// Take burn's kernels for what this thread launches from now on, units or not, or what the device has again. For tests of both.
pub fn force(forced: bool) {
    FORCED.set(forced);
}

/// Whether the device of `x` has units for values of its type.
fn are_there(x: &Gpu) -> bool {
    let half = ElemType::Float(FloatKind::F16);
    let fits = |unit: &MmaConfig| {
        unit.a_type == half && unit.b_type == half && unit.cd_type == ElemType::Float(FloatKind::F32)
    };
    x.element() == half && x.0.client.properties().features.matmul.cmma.iter().any(fits)
}

/// Whether burn multiplies matrices of the type of `x` faster than we do.
pub fn multiply(x: &Gpu) -> bool {
    FORCED.get() || are_there(x)
}

/// Burn's convolution; none if there are no units, or if it cannot be put to them.
pub fn conv2d(x: &Gpu, weight: &Gpu, bias: Option<&Gpu>, options: &ConvOptions<2>) -> Option<Tensor<4>> {
    let [outputs, inputs, ..] = weight.dims::<4>();
    let fits = options.groups == 1 && inputs.is_multiple_of(SIDE) && outputs.is_multiple_of(SIDE);
    if !fits || !multiply(x) {
        return None;
    }
    let strategy = if are_there(x) { ConvStrategy::ImplicitGemm } else { ConvStrategy::Direct };
    let (x, weight, bias) = (x.0.clone(), weight.0.clone(), bias.map(|bias| bias.0.clone()));
    let done = conv_forward::<2>(x, weight, bias, options.clone(), strategy);
    Some(Gpu(done.ok()?).tensor())
}
