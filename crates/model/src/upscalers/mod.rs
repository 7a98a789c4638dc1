//! Networks that upscale a picture by a whole factor, recognised by their tensors.
//!
//! Each architecture is a file here and a line of [`ARCHITECTURES`], which detects, names and builds them.

mod rrdb;
mod srvgg;

use std::collections::BTreeMap;
use std::fmt::Debug;

use burn::tensor::Tensor;

use crate::files::TensorInfo;
use crate::loader::{LoadError, Weights};

/// A network that upscales a picture by a whole factor.
pub trait Upscaler: Debug + Send + Sync {
    /// The factor: 1, 2, 3, 4 or 8.
    fn scale(&self) -> usize;

    /// How far, in input pixels, an output pixel is influenced by the input. Beyond this from a tile's edge the tile's
    /// result is that of the whole picture.
    fn reach(&self) -> u32;

    /// Number that the sides of the input are extended to a multiple of, in pixels; [`Self::forward`] does so by itself.
    fn granularity(&self) -> usize {
        1
    }

    /// Work and memory, for an input pixel.
    fn cost(&self) -> UpscalerCost;

    /// `[batch, 3, height, width]` → `[batch, 3, scale·height, scale·width]`, RGB in \[0, 1\] (the output may exceed it a little).
    fn forward(&self, x: Tensor<4>) -> Tensor<4>;
}

/// Estimated work and memory of an upscaler for each pixel of its input.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct UpscalerCost {
    /// Operations, of which a multiplication and an addition are two.
    pub operations: f64,
    /// Bytes that are alive at once, in f32.
    pub bytes: u64,
}

/// A kind of upscaling network.
pub struct Architecture {
    /// Its name in messages.
    pub name: &'static str,
    /// Recognises a file of this architecture by the names of its tensors.
    pub detect: fn(&BTreeMap<String, TensorInfo>) -> bool,
    /// Build the network from weights of this kind, without [`Weights::finish`]; the error says what about them does not fit.
    build: fn(&Weights) -> Result<Box<dyn Upscaler>, String>,
}

/// Every architecture, the first that detects a file is taken.
pub const ARCHITECTURES: [Architecture; 2] = [rrdb::ARCHITECTURE, srvgg::ARCHITECTURE];

/// The architecture of a file with these tensors.
pub fn detect(tensors: &BTreeMap<String, TensorInfo>) -> Option<&'static Architecture> {
    const ALL: &[Architecture] = &ARCHITECTURES;
    ALL.iter().find(|architecture| (architecture.detect)(tensors))
}

/// Build the upscaler that `weights` are of.
///
/// # Errors
/// [`LoadError::Config`] if no architecture knows them; as [`Weights::finish`].
pub fn load(weights: Weights) -> Result<Box<dyn Upscaler>, LoadError> {
    let Some(architecture) = detect(weights.tensors()) else {
        let names = ARCHITECTURES.map(|architecture| architecture.name).join(" or ");
        return Err(
            weights.config_error(format!("it holds no upscaler of a kind that is known here: {names}"))
        );
    };
    let upscaler = (architecture.build)(&weights).map_err(|reason| {
        weights.config_error(format!("it looks like {} but {reason}", architecture.name))
    })?;
    weights.finish()?;
    Ok(upscaler)
}

/// True if any tensor's name begins with `start`.
fn has(tensors: &BTreeMap<String, TensorInfo>, start: &str) -> bool {
    tensors.range(start.to_owned()..).next().is_some_and(|(name, _)| name.starts_with(start))
}
