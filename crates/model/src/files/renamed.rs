//! A file seen under the diffusers names.

use std::collections::BTreeMap;

use super::{FileError, TensorFile, TensorInfo};

/// Some tensors of a file under other names, and with trailing 1s of their shapes left out where
/// diffusers has a linear layer for what LDM stores as a 1 × 1 convolution.
pub struct Renamed {
    inner: Box<dyn TensorFile>,
    names: BTreeMap<String, String>,
    tensors: BTreeMap<String, TensorInfo>,
}

impl Renamed {
    /// The tensors of `inner` that `rename` gives a name; the others are not part of this view.
    pub fn new(inner: Box<dyn TensorFile>, rename: impl Fn(&str) -> Option<String>) -> Self {
        let mut names = BTreeMap::new();
        let mut tensors = BTreeMap::new();
        for (key, info) in inner.tensors() {
            let Some(name) = rename(key) else { continue };
            let mut info = info.clone();
            if is_linear(&name) {
                while info.shape.len() > 2 && info.shape.last() == Some(&1) {
                    info.shape.pop();
                }
            }
            tensors.insert(name.clone(), info);
            names.insert(name, key.clone());
        }
        Self { inner, names, tensors }
    }
}

/// The VAE's attention, whose projections LDM stores as convolutions.
fn is_linear(name: &str) -> bool {
    name.contains("mid_block.attentions.0.to_") && name.ends_with(".weight")
}

impl TensorFile for Renamed {
    fn tensors(&self) -> &BTreeMap<String, TensorInfo> {
        &self.tensors
    }

    fn read(&self, name: &str) -> Result<Vec<f32>, FileError> {
        self.inner.read(self.names.get(name).map_or(name, String::as_str))
    }

    fn metadata(&self, key: &str) -> Option<&str> {
        self.inner.metadata(key)
    }
}
