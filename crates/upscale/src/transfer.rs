//! Values on their way to a device and back.

use std::cell::RefCell;
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
///
/// One that is dropped unread (by a run that was cancelled, say) is waited for by whoever reads next: until it has come, the buffer that it
/// comes in is not to be used again, which cubecl would.
pub(crate) struct Reading(State);

enum State {
    Here(Result<TensorData, Error>),
    Coming(Coming),
    Read,
}

type Coming = Pin<Box<dyn Future<Output = Result<TensorData, Error>>>>;

thread_local! {
    /// Dropped unread.
    static LEFT: RefCell<Vec<Coming>> = const { RefCell::new(Vec::new()) };
}

impl Reading {
    /// Queue it behind the work that is queued.
    pub async fn begin<const D: usize>(tensor: Tensor<D>) -> Self {
        let values = tensor.shape().num_elements();
        Self::of(tensor.reshape([values])).await
    }

    /// The same for all ranks: the page's engine has it once.
    async fn of(tensor: Tensor<1>) -> Self {
        while let Some(left) = LEFT.with_borrow_mut(Vec::pop) {
            let _ = left.await;
        }
        let data = async move { tensor.into_data_async().await.map_err(|e| Error::Device(e.to_string())) };
        let mut coming: Coming = Box::pin(data);
        // What has never been polled has not begun.
        Self(match poll_fn(|context| Poll::Ready(coming.as_mut().poll(context))).await {
            Poll::Ready(data) => State::Here(data),
            Poll::Pending => State::Coming(coming),
        })
    }

    /// The values.
    pub async fn finish(mut self) -> Result<Vec<f32>, Error> {
        breathe().await;
        if let State::Coming(coming) = &mut self.0 {
            self.0 = State::Here(coming.await);
        }
        let State::Here(data) = std::mem::replace(&mut self.0, State::Read) else {
            unreachable!("read once")
        };
        data?.convert::<f32>().try_into_vec::<f32>().map_err(|e| Error::Device(format!("{e:?}")))
    }
}

impl Drop for Reading {
    fn drop(&mut self) {
        if let State::Coming(coming) = std::mem::replace(&mut self.0, State::Read) {
            // At a thread's end nobody reads any more.
            let _ = LEFT.try_with(|left| left.borrow_mut().push(coming));
        }
    }
}
