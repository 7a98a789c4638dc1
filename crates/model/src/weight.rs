//! The large tensors of a layer, which may be kept in 16 bits a value.

use burn::tensor::{DType, Tensor};
use clarifier_kernels::{Packed, PackedValues};

use crate::files::TensorInfo;

/// Whether weights that are computed with in f32 are kept in 16 bits a value, and unpacked when a layer
/// runs: half the memory for a little time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Packing {
    /// All in f32.
    #[default]
    Never,
    /// Each tensor all of whose values an f16, or a bf16, holds exactly: results are the same to the bit.
    Exact,
    /// As [`Self::Exact`], and the others rounded to f16, but for those with values beyond its range.
    Rounded,
}

/// Fewer values than this are not worth unpacking.
const LEAST: usize = 1024;

impl Packing {
    /// `values` packed, if they are to be.
    pub(crate) fn pack(self, values: &[f32]) -> Option<PackedValues> {
        if self == Self::Never || values.len() < LEAST {
            return None;
        }
        PackedValues::exact(values)
            .or_else(|| (self == Self::Rounded).then(|| PackedValues::rounded(values)).flatten())
    }
}

/// The bytes that a tensor of a file takes on the device, as far as its header says: its layer computes in
/// `dtype`. Only one of 16 bits in the file is exact in them for certain.
pub fn expected_bytes(info: &TensorInfo, dtype: DType, packing: Packing) -> u64 {
    let values = info.shape.iter().product::<usize>();
    let halves = match packing {
        _ if dtype != DType::F32 => true,
        // Biases and the like are small, and never packed.
        _ if values < LEAST || info.shape.len() < 2 => false,
        Packing::Never => false,
        Packing::Exact => ["F16", "BF16"].contains(&&*info.dtype),
        Packing::Rounded => true,
    };
    if halves { 2 * values as u64 } else { 4 * values as u64 }
}

/// A weight on the device.
#[derive(Debug, Clone)]
pub enum Weight<const D: usize> {
    /// As it is computed with.
    Plain(Tensor<D>),
    /// In 16 bits a value.
    Packed(Packed<D>),
}

impl<const D: usize> Weight<D> {
    /// To compute with; of a packed weight a copy, which is not to outlive the layer's run.
    pub fn tensor(&self) -> Tensor<D> {
        match self {
            Self::Plain(tensor) => tensor.clone(),
            Self::Packed(packed) => packed.unpack(),
        }
    }

    /// Bytes on the device.
    pub fn bytes(&self) -> u64 {
        match self {
            Self::Plain(tensor) => (tensor.dtype().size() * tensor.shape().num_elements()) as u64,
            Self::Packed(packed) => packed.bytes(),
        }
    }

    /// The same values under another shape.
    pub(crate) fn reshape<const E: usize>(self, dims: [usize; E]) -> Weight<E> {
        match self {
            Self::Plain(tensor) => Weight::Plain(tensor.reshape(dims)),
            Self::Packed(packed) => Weight::Packed(packed.reshape(dims)),
        }
    }
}
