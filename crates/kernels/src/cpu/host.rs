//! The values of a tensor that lives in this process's memory, without a copy.

use std::borrow::Cow;

use burn::backend::flex::FlexTensor;
use burn::backend::{DispatchDevice, Flex};
use burn::tensor::{DType, Device, Tensor, TensorData};

/// An f32 tensor of the `flex` backend.
pub(crate) struct Host(FlexTensor);

/// Whether tensors of this device are in this process's memory.
pub(crate) fn is_host(device: &Device) -> bool {
    matches!(device.as_dispatch(), DispatchDevice::Flex(_))
}

impl Host {
    /// The tensor, if the kernels here can read it: f32 on `flex`, not empty, no axis reversed.
    pub fn of<const D: usize>(tensor: &Tensor<D>) -> Option<Self> {
        if !is_host(&tensor.device()) || tensor.dtype() != DType::F32 || tensor.dims().contains(&0) {
            return None;
        }
        let tensor = tensor.clone().try_into_primitive::<Flex>().ok()?;
        tensor.layout().strides().iter().all(|stride| *stride >= 0).then_some(Self(tensor))
    }

    /// The values, from the first element on, of which [`Host::strides`] says where each lies.
    pub fn values(&self) -> &[f32] {
        &self.0.storage::<f32>()[self.0.layout().start_offset()..]
    }

    /// How far apart neighbours are along each axis.
    pub fn strides<const D: usize>(&self) -> [usize; D] {
        std::array::from_fn(|axis| self.0.layout().strides()[axis] as usize)
    }

    /// The values in row-major order; copied if they lie otherwise.
    pub fn contiguous(&self) -> Cow<'_, [f32]> {
        match self.0.as_slice::<f32>() {
            Some(values) => Cow::Borrowed(values),
            None => Cow::Owned(self.0.to_contiguous().storage::<f32>().to_vec()),
        }
    }
}

/// A tensor on `device` that takes these values over.
pub(crate) fn tensor<const D: usize>(values: Vec<f32>, dims: [usize; D], device: &Device) -> Tensor<D> {
    Tensor::from_data(TensorData::new(values, dims), (device, DType::F32))
}
