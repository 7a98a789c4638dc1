//! The safetensors format, read by positions.

use std::collections::{BTreeMap, HashMap};
use std::io;

use safetensors::tensor::Metadata;

use super::{FileError, ReadAt, TensorFile, TensorInfo, to_f32};

/// The largest header that the format allows.
const MAX_HEADER: u64 = 100_000_000;

/// An open safetensors file.
pub struct SafetensorsFile {
    bytes: Box<dyn ReadAt>,
    name: String,
    tensors: BTreeMap<String, TensorInfo>,
    /// First byte and number of bytes of each tensor.
    places: BTreeMap<String, (u64, usize)>,
    metadata: HashMap<String, String>,
}

impl SafetensorsFile {
    /// Read the header of the file that errors call `name`.
    ///
    /// # Errors
    /// [`FileError::Damaged`] if it is not one, or was cut off.
    pub fn new(bytes: Box<dyn ReadAt>, name: &str) -> Result<Self, FileError> {
        let read = |source| FileError::Read { name: name.to_owned(), source };
        let damaged = |reason: String| FileError::Damaged { name: name.to_owned(), reason };
        let length = bytes.length().map_err(read)?;
        let mut start = [0; 8];
        if length < 8 {
            return Err(damaged("too short for a safetensors file".into()));
        }
        bytes.read_at(0, &mut start).map_err(read)?;
        let header = u64::from_le_bytes(start);
        // Before anything is allocated: the number may be anything.
        if header > MAX_HEADER || header > length - 8 {
            return Err(damaged(format!(
                "not a safetensors file, or a damaged one: its header claims {header} bytes of a file of {length}"
            )));
        }
        let mut json = vec![0; header as usize];
        bytes.read_at(8, &mut json).map_err(read)?;
        let metadata: Metadata = serde_json::from_slice(&json)
            .map_err(|e| damaged(format!("its safetensors header is damaged or of an unknown type ({e})")))?;
        let data = 8 + header;
        let end = metadata.tensors().values().map(|t| t.data_offsets.1 as u64).max().unwrap_or(0);
        if data + end > length {
            let missing = data + end - length;
            return Err(damaged(format!("cut off: {missing} bytes are missing; download it again")));
        }
        let mut tensors = BTreeMap::new();
        let mut places = BTreeMap::new();
        for (key, info) in metadata.tensors() {
            let (first, last) = info.data_offsets;
            places.insert(key.clone(), (data + first as u64, last - first));
            tensors.insert(key, TensorInfo { dtype: format!("{:?}", info.dtype), shape: info.shape.clone() });
        }
        let texts = metadata.metadata().clone().unwrap_or_default();
        Ok(Self { bytes, name: name.to_owned(), tensors, places, metadata: texts })
    }
}

impl TensorFile for SafetensorsFile {
    fn tensors(&self) -> &BTreeMap<String, TensorInfo> {
        &self.tensors
    }

    fn read(&self, name: &str) -> Result<Vec<f32>, FileError> {
        let read = |source| FileError::Read { name: self.name.clone(), source };
        let missing = || read(io::Error::new(io::ErrorKind::NotFound, format!("no tensor {name}")));
        let (offset, length) = *self.places.get(name).ok_or_else(missing)?;
        let mut bytes = vec![0; length];
        self.bytes.read_at(offset, &mut bytes).map_err(read)?;
        let dtype = &self.tensors[name].dtype;
        to_f32(dtype, &bytes).ok_or_else(|| FileError::Damaged {
            name: self.name.clone(),
            reason: format!(
                "{name} is of type {dtype}, which this program does not read; take the fp16 or fp32 file"
            ),
        })
    }

    fn metadata(&self, key: &str) -> Option<&str> {
        self.metadata.get(key).map(String::as_str)
    }
}
