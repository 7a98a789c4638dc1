//! A tensor as the kernels here read it.

use burn::backend::Cube;
use burn::tensor::{DType, Shape, Tensor};
use burn_cubecl::cubecl::ir::{ElemType, FloatKind};
use burn_cubecl::cubecl::prelude::BufferArg;
use burn_cubecl::kernel::into_contiguous;
use burn_cubecl::ops::numeric::empty_device_contiguous_dtype;
use burn_cubecl::tensor::CubeTensor;

/// A tensor in f32 or f16 on a GPU.
#[derive(Debug, Clone)]
pub struct Gpu(pub CubeTensor);

impl Gpu {
    /// The tensor, if the kernels here can read it: of these types, on a GPU, not empty.
    pub fn of<const D: usize>(tensor: &Tensor<D>) -> Option<Self> {
        let known = matches!(tensor.dtype(), DType::F32 | DType::F16);
        if !known || tensor.dims().contains(&0) {
            return None;
        }
        tensor.clone().try_into_primitive::<Cube>().ok().map(Self)
    }

    /// An operand that need not be there, in row-major order; none if it is there and is not of this type.
    pub fn optional<const D: usize>(tensor: Option<&Tensor<D>>, dtype: DType) -> Option<Option<Self>> {
        let Some(tensor) = tensor else { return Some(None) };
        (tensor.dtype() == dtype).then(|| Self::of(tensor).map(Self::contiguous).map(Some))?
    }

    /// The same values in row-major order; copied on the GPU if they lie otherwise.
    pub fn contiguous(self) -> Self {
        Self(into_contiguous(self.0))
    }

    /// Its sizes.
    pub fn dims<const D: usize>(&self) -> [usize; D] {
        std::array::from_fn(|axis| self.0.meta.shape()[axis])
    }

    /// How far apart neighbours are along each axis, in values.
    pub fn strides<const D: usize>(&self) -> [usize; D] {
        std::array::from_fn(|axis| self.0.meta.strides()[axis])
    }

    /// Memory for a result of this tensor's type, on its device.
    pub fn empty(&self, dims: impl Into<Shape>) -> Self {
        self.empty_of(dims, self.0.dtype)
    }

    /// Memory for a result on this tensor's device.
    pub fn empty_of(&self, dims: impl Into<Shape>, dtype: DType) -> Self {
        let CubeTensor { client, device, .. } = &self.0;
        Self(empty_device_contiguous_dtype(client.clone(), device.clone(), dims.into(), dtype))
    }

    /// What it holds.
    pub fn element(&self) -> ElemType {
        ElemType::Float(if self.0.dtype == DType::F16 { FloatKind::F16 } else { FloatKind::F32 })
    }

    /// As an argument of a kernel.
    pub fn arg(&self) -> BufferArg {
        self.0.clone().into_buffer_arg()
    }

    /// For burn.
    pub fn tensor<const D: usize>(self) -> Tensor<D> {
        Tensor::from_primitive::<Cube>(self.0)
    }
}
