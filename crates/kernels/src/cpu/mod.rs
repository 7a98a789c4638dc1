//! The CPU's own kernels: loops over slices, for tensors of burn's `flex` backend in f32.
//!
//! Every result is the same for any number of threads: which task computes a value never changes the order of its sum.

pub(crate) mod activation;
pub(crate) mod attention;
mod host;
pub(crate) mod matmul;
pub(crate) mod norm;
mod probe;
mod simd;
pub(crate) mod winograd;

pub(crate) use host::{Host, is_host, tensor};
pub use probe::peak_flops;
pub(crate) use simd::KEPT;
