//! PyTorch's `.pth`, `.pt`, `.ckpt` and `.bin`: pickles, of which only the tensors are read.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::path::Path;

use pytorch_reader::{PickleError, PickleValue, PytorchError, PytorchReader, Tensor};

use super::{FileError, TensorFile, TensorInfo, pickle_limits, to_f32};

/// Where training programs put the weights, the best copy first.
const STATE_DICTS: [&str; 5] = ["params_ema", "params", "state_dict", "model_state_dict", "model"];

/// Modules whose objects training programs leave in their files. None of them is run.
const HARMLESS: [&str; 8] = [
    "torch.",
    "numpy.",
    "collections.",
    "_codecs.",
    "pytorch_lightning.",
    "lightning",
    "argparse.",
    "omegaconf.",
];

/// An open PyTorch file.
pub struct PickleFile {
    name: String,
    tensors: BTreeMap<String, TensorInfo>,
    lazy: HashMap<String, Tensor>,
}

impl PickleFile {
    /// Read the structure of the file at `path`; the tensors stay on disk.
    ///
    /// # Errors
    /// [`FileError::Unsafe`] if it holds Python objects that no file of weights needs, else
    /// [`FileError::Damaged`] if it is no PyTorch file or has no tensors.
    pub fn open(path: &Path) -> Result<Self, FileError> {
        let name = path.display().to_string();
        let damaged = |error: PytorchError| {
            FileError::Damaged {
            name: name.clone(),
            reason: match error {
                // PyTorch Lightning did, for its callbacks.
                PytorchError::Pickle(PickleError::InvalidData(what)) if what.starts_with("dict key") => {
                    "its pickle has a class for a name, as some training programs' files have; take its .safetensors file".into()
                }
                error => format!("neither a safetensors nor a PyTorch file, or a damaged one ({error})"),
            },
        }
        };
        let file = File::open(path).map_err(|source| FileError::Read { name: name.clone(), source })?;
        pickle_limits::check(&file).map_err(|reason| FileError::Damaged { name: name.clone(), reason })?;
        let reader = PytorchReader::new(path);
        // The structure is looked through even where there are no tensors: an attack has none.
        let root = PytorchReader::read_pickle_data(path, None);
        let root = root.ok();
        if let Some(wants) = root.as_ref().and_then(unwanted) {
            return Err(FileError::Unsafe { name, wants });
        }
        let mut lazy = reader.map_err(damaged)?.into_tensors();
        if let Some(dict) = STATE_DICTS.iter().find(|dict| is_dict(root.as_ref(), dict)) {
            lazy = lazy.into_iter().filter_map(|(k, t)| Some((within(&k, dict)?.to_owned(), t))).collect();
        }
        if lazy.is_empty() {
            return Err(FileError::Damaged { name, reason: "it holds no tensors".into() });
        }
        let info = |t: &Tensor| TensorInfo { dtype: format!("{:?}", t.dtype()), shape: t.shape().to_vec() };
        let tensors = lazy.iter().map(|(k, t)| (k.clone(), info(t))).collect();
        Ok(Self { name, tensors, lazy })
    }
}

/// Whether `key` of the file's root is a dictionary: `model.0.weight` may also be a flat name.
fn is_dict(root: Option<&PickleValue>, key: &str) -> bool {
    matches!(root, Some(PickleValue::Dict(root)) if matches!(root.get(key), Some(PickleValue::Dict(_))))
}

/// The name without the dictionary it is in.
fn within<'a>(key: &'a str, dict: &str) -> Option<&'a str> {
    key.strip_prefix(dict)?.strip_prefix('.')
}

/// The first Python object that a file of weights has no business with.
fn unwanted(value: &PickleValue) -> Option<String> {
    match value {
        PickleValue::Unsupported(class) => {
            let harmless = HARMLESS.iter().any(|module| class.starts_with(module))
                // Not a class but a description: a tensor, a number too large.
                || !class.contains('.');
            (!harmless).then(|| class.clone())
        }
        PickleValue::List(list) => list.iter().find_map(unwanted),
        PickleValue::Dict(dict) => dict.values().find_map(unwanted),
        _ => None,
    }
}

impl TensorFile for PickleFile {
    fn tensors(&self) -> &BTreeMap<String, TensorInfo> {
        &self.tensors
    }

    fn read(&self, name: &str) -> Result<Vec<f32>, FileError> {
        let read = |source| FileError::Read { name: self.name.clone(), source };
        let missing = || std::io::Error::new(std::io::ErrorKind::NotFound, format!("no tensor {name}"));
        let bytes = self.lazy.get(name).ok_or_else(missing).and_then(Tensor::read).map_err(read)?;
        let dtype = &self.tensors[name].dtype;
        to_f32(dtype, &bytes).ok_or_else(|| FileError::Damaged {
            name: self.name.clone(),
            reason: format!("{name} is of type {dtype}, which this program does not read"),
        })
    }
}
