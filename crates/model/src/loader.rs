//! From a file's tensors to a network's: one at a time, with every problem listed at the end.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{self, Display};

use burn::tensor::{DType, Device, Tensor, TensorData};
use clarifier_kernels::AttentionBudget;

use crate::files::{FileError, TensorFile, TensorInfo};
use crate::weight::{Packing, Weight};

mod staged;

use staged::Stage;
pub use staged::load;

/// How a network is put onto a device.
#[derive(Debug, Clone)]
pub struct Placement {
    /// Where the tensors live.
    pub device: Device,
    /// The type of the weights and of the arithmetic: `F32` or `F16`.
    pub dtype: DType,
    /// How much memory attention may take for scores.
    pub attention: AttentionBudget,
    /// Whether weights are kept in 16 bits where the arithmetic is in f32.
    pub packing: Packing,
}

impl Placement {
    /// f32 on `device`, nothing packed, with the default attention budget.
    pub fn f32(device: &Device) -> Self {
        let attention = AttentionBudget::default();
        Self { device: device.clone(), dtype: DType::F32, attention, packing: Packing::Never }
    }

    /// A tensor of this placement's type from `[dims]` values in row-major order.
    pub fn tensor<const D: usize>(&self, values: Vec<f32>, dims: [usize; D]) -> Tensor<D> {
        Tensor::from_data(TensorData::new(values, dims), (&self.device, self.dtype))
    }

    /// A weight from `[dims]` values in row-major order, packed if this placement says so.
    pub fn weight<const D: usize>(&self, values: Vec<f32>, dims: [usize; D]) -> Weight<D> {
        let packing = if self.dtype == DType::F32 { self.packing } else { Packing::Never };
        match packing.pack(&values) {
            Some(packed) => Weight::Packed(packed.place(dims, &self.device)),
            None => Weight::Plain(self.tensor(values, dims)),
        }
    }
}

/// Why a network could not be built from a file.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The file itself is at fault.
    #[error(transparent)]
    File(#[from] FileError),
    /// The file holds other tensors than the network has.
    #[error("{name} does not fit: {problems}")]
    Mismatch {
        /// The file, as the user named it.
        name: String,
        /// Every key that is missing, extra or wrongly shaped.
        problems: Problems,
    },
    /// The sizes in `config.json` or in the tensors are not those of this kind of network.
    #[error("{name}: {reason}")]
    Config {
        /// The file, as the user named it.
        name: String,
        /// What is wrong.
        reason: String,
    },
    /// A weight is NaN or infinite.
    #[error("{name}: the tensor {tensor} holds NaN or infinite values; download the file again")]
    NotFinite {
        /// The file, as the user named it.
        name: String,
        /// The first such tensor.
        tensor: String,
    },
    /// The observer said so.
    #[error("cancelled")]
    Cancelled,
}

/// Every key of a file that does not match the network.
#[derive(Debug, Default)]
pub struct Problems {
    /// Keys that the network needs and the file lacks.
    pub missing: Vec<String>,
    /// Keys that the file has and the network does not know.
    pub extra: Vec<String>,
    /// Keys whose shape differs: name, expected, found.
    pub misshapen: Vec<(String, Vec<usize>, Vec<usize>)>,
}

impl Problems {
    fn is_empty(&self) -> bool {
        self.missing.is_empty() && self.extra.is_empty() && self.misshapen.is_empty()
    }
}

impl Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut parts = Vec::new();
        if !self.missing.is_empty() {
            parts.push(format!("{} missing ({})", self.missing.len(), self.missing.join(", ")));
        }
        if !self.extra.is_empty() {
            parts.push(format!("{} unknown ({})", self.extra.len(), self.extra.join(", ")));
        }
        if !self.misshapen.is_empty() {
            let list: Vec<_> = self
                .misshapen
                .iter()
                .map(|(name, want, got)| format!("{name} is {got:?}, not {want:?}"))
                .collect();
            parts.push(format!("{} of another shape ({})", list.len(), list.join(", ")));
        }
        f.write_str(&parts.join("; "))
    }
}

/// One file on its way to becoming a network.
pub struct Weights<'a> {
    file: &'a dyn TensorFile,
    name: String,
    placement: Placement,
    used: RefCell<BTreeSet<String>>,
    problems: RefCell<Problems>,
    failure: RefCell<Option<LoadError>>,
    stage: Stage<'a>,
}

impl<'a> Weights<'a> {
    /// Start loading `file`, which error messages call `name`, at one go; [`load`] does not hold up the
    /// device's other work.
    pub fn new(file: &'a dyn TensorFile, name: impl Into<String>, placement: &Placement) -> Self {
        Self {
            file,
            name: name.into(),
            placement: placement.clone(),
            used: RefCell::default(),
            problems: RefCell::default(),
            failure: RefCell::default(),
            stage: Stage::AtOnce,
        }
    }

    /// What the file says of its tensors, by name.
    pub fn tensors(&self) -> &'a BTreeMap<String, TensorInfo> {
        self.file.tensors()
    }

    /// The top of the file's tree of names.
    pub fn root(&self) -> Scope<'_> {
        Scope { weights: self, prefix: String::new() }
    }

    /// Succeeds if every tensor was found, had its shape, was finite, and none was left over.
    ///
    /// # Errors
    /// [`LoadError::File`] if reading failed, else [`LoadError::Mismatch`] with every such key.
    pub fn finish(self) -> Result<(), LoadError> {
        let mut problems = self.problems.into_inner();
        let used = self.used.into_inner();
        problems.extra = self.file.tensors().keys().filter(|k| !used.contains(*k)).cloned().collect();
        if !problems.is_empty() {
            return Err(LoadError::Mismatch { name: self.name, problems });
        }
        self.failure.into_inner().map_or(Ok(()), Err)
    }

    /// An error about the sizes found, with this file's name.
    pub fn config_error(&self, reason: impl Into<String>) -> LoadError {
        LoadError::Config { name: self.name.clone(), reason: reason.into() }
    }

    /// Whether the file has a tensor of this shape; if not, that is recorded.
    fn check(&self, key: &str, dims: &[usize]) -> bool {
        let Some(info) = self.file.tensors().get(key) else {
            self.problems.borrow_mut().missing.push(key.to_owned());
            return false;
        };
        self.used.borrow_mut().insert(key.to_owned());
        if info.shape != dims {
            let found = info.shape.clone();
            self.problems.borrow_mut().misshapen.push((key.to_owned(), dims.to_vec(), found));
            return false;
        }
        true
    }

    /// Read a tensor into host memory, or record why that is impossible.
    fn read(&self, key: String, dims: &[usize]) -> Option<Vec<f32>> {
        if !self.check(&key, dims) {
            return None;
        }
        // After the first problem only the list of keys still matters: no more bytes are read.
        if self.failure.borrow().is_some() || !self.problems.borrow().is_empty() {
            return None;
        }
        match read_finite(self.file, &self.name, &key) {
            Ok(values) => Some(values),
            Err(error) => {
                self.failure.borrow_mut().get_or_insert(error);
                None
            }
        }
    }
}

/// The values of a tensor that holds numbers.
fn read_finite(file: &dyn TensorFile, name: &str, key: &str) -> Result<Vec<f32>, LoadError> {
    let values = file.read(key)?;
    if values.iter().all(|v| v.is_finite()) {
        return Ok(values);
    }
    Err(LoadError::NotFinite { name: name.to_owned(), tensor: key.to_owned() })
}

/// A place in the tree of names, as `down_blocks.0.resnets.1`.
#[derive(Clone)]
pub struct Scope<'a> {
    weights: &'a Weights<'a>,
    prefix: String,
}

impl Scope<'_> {
    /// The place `name` below this one.
    pub fn sub(&self, name: impl Display) -> Self {
        Self { weights: self.weights, prefix: self.key(name) }
    }

    /// Where the network goes.
    pub fn placement(&self) -> &Placement {
        &self.weights.placement
    }

    /// The shape of a tensor of this place, if the file has it.
    pub fn dims(&self, name: &str) -> Option<&[usize]> {
        self.weights.file.tensors().get(&self.key(name)).map(|info| info.shape.as_slice())
    }

    /// Whether the file has any tensor below `name`.
    pub fn has(&self, name: impl Display) -> bool {
        let prefix = format!("{}.", self.key(name));
        let tensors = self.weights.file.tensors();
        tensors.range(prefix.clone()..).next().is_some_and(|(key, _)| key.starts_with(&prefix))
    }

    /// How many children `name.0`, `name.1`, … there are.
    pub fn count(&self, name: &str) -> usize {
        (0..).take_while(|i| self.has(format_args!("{name}.{i}"))).count()
    }

    /// A tensor on the device. A problem is recorded, and a placeholder of one zero returned: the
    /// network it ends up in is never used, since [`Weights::finish`] then fails.
    pub fn tensor<const D: usize>(&self, name: &str, dims: [usize; D]) -> Tensor<D> {
        let key = self.key(name);
        let found = match &self.weights.stage {
            Stage::AtOnce => {
                self.weights.read(key, &dims).map(|values| self.placement().tensor(values, dims))
            }
            staged => self.weights.check(&key, &dims).then(|| staged.tensor(&key, dims)).flatten(),
        };
        // Not on the device, which may have to make room even for one zero.
        found.unwrap_or_else(|| Tensor::zeros([1; D], &Device::flex()))
    }

    /// A large tensor of a layer: [`Self::tensor`], packed if the placement says so.
    pub fn weight<const D: usize>(&self, name: &str, dims: [usize; D]) -> Weight<D> {
        let key = self.key(name);
        let found = match &self.weights.stage {
            Stage::AtOnce => {
                self.weights.read(key, &dims).map(|values| self.placement().weight(values, dims))
            }
            staged => self.weights.check(&key, &dims).then(|| staged.weight(&key, dims)).flatten(),
        };
        found.unwrap_or_else(|| Weight::Plain(Tensor::zeros([1; D], &Device::flex())))
    }

    /// A tensor in host memory, for tables that are looked up there.
    pub fn host(&self, name: &str, dims: &[usize]) -> Vec<f32> {
        let key = self.key(name);
        let found = match &self.weights.stage {
            Stage::AtOnce => self.weights.read(key, dims),
            staged => self.weights.check(&key, dims).then(|| staged.host(&key)).flatten(),
        };
        found.unwrap_or_default()
    }

    fn key(&self, name: impl Display) -> String {
        if self.prefix.is_empty() { name.to_string() } else { format!("{}.{name}", self.prefix) }
    }
}
