//! Tensor operations where burn's own are slow or need too much memory.
//!
//! Every operation here is a plain function on [`burn::tensor::Tensor`]; which implementation runs
//! is decided by the device the tensors live on.
// What a library has to say it returns; a face says it.
#![cfg_attr(not(test), deny(clippy::print_stdout, clippy::print_stderr))]

mod activation;
mod attention;
mod conv;
mod cpu;
mod linear;
mod norm;
mod packed;

pub use activation::geglu;
pub use attention::{AttentionBudget, attention};
pub use clarifier_gpu_kernels::Tiles;
#[cfg(not(target_family = "wasm"))]
pub use clarifier_gpu_kernels::matrix_units::force as force_matrix_units;
pub use clarifier_gpu_kernels::subgroups::{allow as allow_subgroups, refuse as refuse_subgroups};
pub use conv::{conv2d, conv2d_onto, dense_block};
pub use cpu::peak_flops;
pub use linear::{linear, linear_geglu, linear_onto};
pub use norm::{GroupStats, group_norm, group_norm_silu, group_stats, layer_norm};
pub use packed::{Half, Packed, PackedValues, widen};
