//! Activations that burn computes in several passes over memory.

use burn::tensor::Tensor;
use burn::tensor::activation::gelu;
use clarifier_gpu_kernels as gpu;

use crate::cpu::{Host, activation, tensor};

/// The first half of the last axis, times GELU of the second (Shazeer 2020).
///
/// # Shapes
/// `[batch, n, 2 · channels]` → `[batch, n, channels]`
pub fn geglu(x: Tensor<3>) -> Tensor<3> {
    let [batch, n, both] = x.dims();
    let half = both / 2;
    if let Some(host) = Host::of(&x) {
        let mut out = vec![0.0; batch * n * half];
        activation::geglu(&host.contiguous(), half, &mut out);
        return tensor(out, [batch, n, half], &x.device());
    }
    if let Some(done) = gpu::activation::geglu(&x) {
        return done;
    }
    let gate = gelu(x.clone().narrow(2, half, half));
    x.narrow(2, 0, half) * gate
}
