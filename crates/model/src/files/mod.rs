//! Where the bytes of tensors come from: one tensor at a time, never a whole file.

mod checkpoint;
mod identify;
mod ldm;
mod pickle;
mod pickle_limits;
mod renamed;
mod safetensors;
mod scheduler;
mod set;
mod sharded;
mod source;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;
use std::sync::Arc;

pub use checkpoint::{Component, ComponentFile, component};
pub use identify::{FileKind, identify};
pub(crate) use ldm::unet as ldm_unet;
pub use pickle::PickleFile;
pub use renamed::Renamed;
pub use safetensors::SafetensorsFile;
pub use sharded::ShardedFile;
pub(crate) use source::Beside;
pub use source::Source;

/// What a file says about one of its tensors.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TensorInfo {
    /// The type, as the file spells it.
    pub dtype: String,
    /// The shape, outermost first.
    pub shape: Vec<usize>,
}

/// A file of named tensors.
pub trait TensorFile: Send {
    /// Every tensor, by name.
    fn tensors(&self) -> &BTreeMap<String, TensorInfo>;

    /// One tensor's values as f32, in row-major order. Nothing else of the file is read.
    ///
    /// # Errors
    /// If the file cannot be read, or the type is none of floats or integers.
    fn read(&self, name: &str) -> Result<Vec<f32>, FileError>;

    /// A text that the file's header holds beside the tensors.
    fn metadata(&self, _key: &str) -> Option<&str> {
        None
    }
}

/// Bytes that can be read anywhere: a file, or a part of one in a browser.
pub trait ReadAt: Send {
    /// The number of bytes.
    ///
    /// # Errors
    /// If the system does not say.
    fn length(&self) -> io::Result<u64>;

    /// Fill `into` with the bytes at `offset`.
    ///
    /// # Errors
    /// If the device fails or there are not as many.
    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<()>;
}

impl ReadAt for File {
    fn length(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }

    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<()> {
        let mut file = self;
        file.seek(SeekFrom::Start(offset))?;
        file.read_exact(into)
    }
}

/// Why a file is not a file of tensors.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// The file cannot be read.
    #[error("{name}: {source}")]
    Read {
        /// The file.
        name: String,
        /// The system's words.
        source: io::Error,
    },
    /// The file is not what it should be.
    #[error("{name}: {reason}")]
    Damaged {
        /// The file.
        name: String,
        /// What is wrong and what to do.
        reason: String,
    },
    /// A pickle that wants more than tensors.
    #[error(
        "{name}: refused, since it asks Python for {wants}, which no file of weights needs (nothing of it was run); take a .safetensors file"
    )]
    Unsafe {
        /// The file.
        name: String,
        /// The Python object.
        wants: String,
    },
    /// A folder without the file.
    #[error("{name}: there is no {wanted} in it; give a diffusers folder or a single .safetensors file")]
    NotFound {
        /// The folder.
        name: String,
        /// What was looked for.
        wanted: String,
    },
    /// Another kind of file.
    #[error("{name}: this is {is}; {wanted}")]
    WrongKind {
        /// The file.
        name: String,
        /// What it is.
        is: FileKind,
        /// What was wanted in its place.
        wanted: String,
    },
}

/// Open a file of tensors, recognised by its content: safetensors, its index of shards, or a PyTorch
/// pickle.
///
/// # Errors
/// [`FileError`], with the path in it.
pub fn open(source: impl Into<Source>) -> Result<Box<dyn TensorFile>, FileError> {
    let source = source.into();
    let (path, name): (&Path, _) = (&source, source.display().to_string());
    if let Some(bytes) = source.bytes() {
        return open_bytes(bytes, name);
    }
    let read = |source| FileError::Read { name: name.clone(), source };
    let refused = |kind, what| Err(read(io::Error::new(kind, what)));
    // Asked before it is opened: to open a pipe is to wait for whoever writes into it.
    let about = std::fs::metadata(path).map_err(read)?;
    if about.is_dir() {
        return refused(io::ErrorKind::IsADirectory, "a folder, not a file of weights");
    }
    if !about.is_file() {
        return refused(io::ErrorKind::InvalidInput, "a pipe or a device, not a file of weights");
    }
    if name.ends_with(".index.json") || name.ends_with(".index.fp16.json") {
        return Ok(Box::new(ShardedFile::open(path)?));
    }
    let mut file = File::open(path).map_err(read)?;
    let mut start = Vec::new();
    (&mut file).take(9).read_to_end(&mut start).map_err(read)?;
    if start.is_empty() {
        return Err(FileError::Damaged { name, reason: "the file is empty".into() });
    }
    // The length of the header, then its opening brace; or a name that promises as much.
    let safetensors = start.get(8) == Some(&b'{') || path.extension().is_some_and(|e| e == "safetensors");
    if safetensors {
        return Ok(Box::new(SafetensorsFile::new(Box::new(file), &name)?));
    }
    Ok(Box::new(PickleFile::open(path)?))
}

/// Of a file that is open already. Pickles need a path: their reader opens the file for itself.
fn open_bytes(bytes: &Arc<dyn ReadAt + Sync>, name: String) -> Result<Box<dyn TensorFile>, FileError> {
    let mut start = [0; 9];
    let long = bytes.length().is_ok_and(|length| length >= start.len() as u64);
    if long {
        bytes.read_at(0, &mut start).map_err(|source| FileError::Read { name: name.clone(), source })?;
    }
    if !name.ends_with(".safetensors") && start[8] != b'{' {
        let reason = "no .safetensors file, which is the only kind that can be read here".into();
        return Err(FileError::Damaged { name, reason });
    }
    Ok(Box::new(SafetensorsFile::new(Box::new(bytes.clone()), &name)?))
}

/// Little-endian or native bytes of a float or integer type to f32; `None` for other types.
fn to_f32(dtype: &str, bytes: &[u8]) -> Option<Vec<f32>> {
    fn each<const N: usize>(bytes: &[u8], f: impl Fn([u8; N]) -> f32) -> Vec<f32> {
        bytes.as_chunks::<N>().0.iter().map(|chunk| f(*chunk)).collect()
    }
    Some(match dtype {
        "F32" => each(bytes, f32::from_le_bytes),
        "F16" => each(bytes, |b| half::f16::from_le_bytes(b).to_f32()),
        "BF16" => each(bytes, |b| half::bf16::from_le_bytes(b).to_f32()),
        "F64" => each(bytes, |b| f64::from_le_bytes(b) as f32),
        "I64" => each(bytes, |b| i64::from_le_bytes(b) as f32),
        "I32" => each(bytes, |b| i32::from_le_bytes(b) as f32),
        "I16" => each(bytes, |b| f32::from(i16::from_le_bytes(b))),
        "I8" => each(bytes, |b: [u8; 1]| f32::from(b[0] as i8)),
        "U8" => each(bytes, |b: [u8; 1]| f32::from(b[0])),
        _ => return None,
    })
}
