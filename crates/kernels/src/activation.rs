//! Activations that burn computes in several passes over memory.

use burn::tensor::Tensor;
use burn::tensor::activation::gelu;
use clarifier_gpu_kernels as gpu;

use crate::cpu::{Host, activation, tensor};

/// The first half of the last axis, times GELU of the second (Shazeer 2020).
///
/// # Shapes
/// `[…, 2 · channels]` → `[…, channels]`
pub fn geglu<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    let mut dims = x.dims();
    dims[D - 1] /= 2;
    let half = dims[D - 1];
    if let Some(host) = Host::of(&x) {
        let mut out = vec![0.0; dims.iter().product()];
        activation::geglu(&host.contiguous(), half, &mut out);
        return tensor(out, dims, &x.device());
    }
    if let Some(done) = gpu::activation::geglu(&x) {
        return done;
    }
    let gate = gelu(x.clone().narrow(D - 1, half, half));
    x.narrow(D - 1, 0, half) * gate
}
