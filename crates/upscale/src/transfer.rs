//! Values on their way to a device and back.

use std::future::poll_fn;
use std::pin::Pin;
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
    Reading::begin(tensor).await.finish().await
}

/// Values on their way to the host. A GPU sends them as soon as they are computed, whatever it is told to do after that.
pub(crate) enum Reading {
    Here(Result<TensorData, Error>),
    Coming(Coming),
}

type Coming = Pin<Box<dyn Future<Output = Result<TensorData, Error>>>>;

impl Reading {
    /// Queue it behind the work that is queued.
    pub async fn begin<const D: usize>(tensor: Tensor<D>) -> Self {
        let values = tensor.shape().num_elements();
        Self::of(tensor.reshape([values])).await
    }

    /// The same for all ranks: the page's engine has it once.
    async fn of(tensor: Tensor<1>) -> Self {
        let data = async move { tensor.into_data_async().await.map_err(|e| Error::Device(e.to_string())) };
        let mut coming: Coming = Box::pin(data);
        // What has never been polled has not begun.
        match poll_fn(|context| Poll::Ready(coming.as_mut().poll(context))).await {
            Poll::Ready(data) => Self::Here(data),
            Poll::Pending => Self::Coming(coming),
        }
    }

    /// The values.
    pub async fn finish(self) -> Result<Vec<f32>, Error> {
        breathe().await;
        let data = match self {
            Self::Here(data) => data?,
            Self::Coming(coming) => coming.await?,
        };
        data.convert::<f32>().try_into_vec::<f32>().map_err(|e| Error::Device(format!("{e:?}")))
    }
}
