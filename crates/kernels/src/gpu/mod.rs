//! The GPU's own kernels, in CubeCL: WGSL, SPIR-V and MSL are made of one source.
//!
//! Values are read in the tensors' type, f32 or f16, and summed in f32. Every kernel has the sizes at run time, so few shaders are compiled;
//! only the tile is fixed, which [`Tiles`] chooses by what the adapter is.
//!
//! The launches are unchecked, since a check of each index would cost more than the arithmetic: all indices here are
//! clamped to the operands' sizes, which are taken from the tensors themselves.

pub(crate) mod activation;
pub(crate) mod attention;
mod attention_tiled;
pub(crate) mod conv;
mod conv_any;
mod grid;
pub(crate) mod norm;
pub(crate) mod product;
mod tensor;
mod tiled;
mod tiles;

pub(crate) use tensor::Gpu;
pub use tiles::Tiles;
