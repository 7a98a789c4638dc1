//! Tensor operations where burn's own are slow or need too much memory.
//!
//! Every operation here is a plain function on [`burn::tensor::Tensor`]; which implementation runs
//! is decided by the device the tensors live on.

mod attention;
mod norm;
mod packed;

pub use attention::{AttentionBudget, attention};
pub use norm::{GroupStats, group_norm, group_stats};
pub use packed::{Half, Packed, PackedValues, widen};
