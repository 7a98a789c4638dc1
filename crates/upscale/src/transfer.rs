//! Values on their way to a device and back.

use std::future::poll_fn;
use std::task::Poll;

use burn::tensor::{DType, Tensor, TensorData};
use clarifier_kernels::AttentionBudget;
use clarifier_model::loader::Placement;
use clarifier_model::weight::Packing;

use crate::Error;
use crate::device::Backend;

impl Backend {
    /// A tensor on the device.
    pub(crate) fn tensor<const D: usize>(
        &self,
        values: Vec<f32>,
        dims: [usize; D],
        dtype: DType,
    ) -> Tensor<D> {
        Tensor::from_data(TensorData::new(values, dims), (&self.device, dtype))
    }

    /// How networks that compute in `dtype` are put onto the device.
    pub(crate) fn placement(&self, dtype: DType) -> Placement {
        let Self { device, attention, packing, .. } = self;
        Placement { device: device.clone(), dtype, attention: *attention, packing: *packing }
    }

    /// For tests: burn's CPU backend.
    pub fn flex() -> Self {
        Self {
            device: burn::tensor::Device::flex(),
            dtype: DType::F32,
            packing: Packing::Exact,
            attention: AttentionBudget::default(),
            adapter: None,
            reason: "CPU".into(),
        }
    }
}

/// Lets whoever polls do something else first. A GPU is waited for anyway, a CPU is not: without this a
/// page would not hear of anything before all is done.
async fn breathe() {
    let mut breathed = false;
    poll_fn(|context| {
        if std::mem::replace(&mut breathed, true) {
            return Poll::Ready(());
        }
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// The values of a tensor, on the host, in f32.
pub(crate) async fn read<const D: usize>(tensor: Tensor<D>) -> Result<Vec<f32>, Error> {
    breathe().await;
    let data = tensor.into_data_async().await.map_err(|e| Error::Device(e.to_string()))?;
    data.convert::<f32>().try_into_vec::<f32>().map_err(|e| Error::Device(format!("{e:?}")))
}
