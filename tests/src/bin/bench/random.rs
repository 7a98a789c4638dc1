//! Weights that are made in memory.

use std::collections::BTreeMap;

use clarifier_model::files::{FileError, TensorFile, TensorInfo};
use rayon::prelude::*;

/// Tensors of numbers as small as their layer wants them.
pub struct Random(BTreeMap<String, TensorInfo>);

impl Random {
    /// Of these names and shapes.
    pub fn new(tensors: impl IntoIterator<Item = (String, Vec<usize>)>) -> Self {
        let info = |shape| TensorInfo { dtype: "F32".into(), shape };
        Self(tensors.into_iter().map(|(name, shape)| (name, info(shape))).collect())
    }
}

impl TensorFile for Random {
    fn tensors(&self) -> &BTreeMap<String, TensorInfo> {
        &self.0
    }

    fn read(&self, name: &str) -> Result<Vec<f32>, FileError> {
        let shape = &self.0[name].shape;
        let count = shape.iter().product::<usize>();
        if shape.len() == 1 {
            return Ok(vec![f32::from(u8::from(name.ends_with("weight"))); count]);
        }
        let bound = (3.0 / shape[1..].iter().product::<usize>() as f32).sqrt();
        let value = |i: usize| {
            // A step of SplitMix64: enough for weights that only have to be different.
            let mixed = (i as u64 ^ 0x9E37_79B9).wrapping_mul(0xBF58_476D_1CE4_E5B9);
            let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
            ((mixed >> 40) as f32 / (1 << 23) as f32 - 1.0) * bound
        };
        Ok((0..count).into_par_iter().map(value).collect())
    }
}
