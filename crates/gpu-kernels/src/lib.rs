//! The GPU's own kernels, in CubeCL: WGSL, SPIR-V and MSL are made of one source.
//!
//! Values are read in the tensors' type, f32 or f16, and summed in f32. Every kernel has the sizes at run time, so few shaders are compiled;
//! only the tile is fixed, which [`Tiles`] chooses by what the adapter is.
//!
//! A crate of its own, so that the page's engine has it small: what is compiled here only describes shaders, which other compilers make fast.
//!
//! The launches are unchecked, since a check of each index would cost more than the arithmetic: all indices here are
//! clamped to the operands' sizes, which are taken from the tensors themselves.
// What a library has to say it returns; a face says it.
#![cfg_attr(not(test), deny(clippy::print_stdout, clippy::print_stderr))]
// CubeCL's macros make public items that cannot be documented.
#![allow(missing_docs)]

pub mod activation;
pub mod attention;
mod attention_tiled;
pub mod conv;
mod conv_any;
mod grid;
pub mod layer_norm;
#[cfg(not(target_family = "wasm"))]
pub mod matrix_units;
pub mod norm;
pub mod product;
pub mod subgroups;
mod tensor;
mod tiled;
mod tiles;
pub mod unpack;

pub use tensor::Gpu;
pub use tiles::Tiles;
