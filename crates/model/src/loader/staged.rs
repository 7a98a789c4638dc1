//! Loading that waits for the device: a browser's accepts uploads without end and holds them all until
//! it is waited for.

use std::cell::RefCell;
use std::collections::HashMap;
use std::ops::ControlFlow;

use burn::tensor::{Device, Tensor};

use super::{LoadError, Placement, Weights, read_finite};
use crate::files::TensorFile;

/// Bytes of f32 that are uploaded between two waits.
const BYTES_IN_FLIGHT: u64 = 128 << 20;

/// A tensor that a network asks for.
pub(super) struct Wanted {
    key: String,
    /// Whether it stays in host memory.
    host: bool,
}

/// A tensor that is where the network wants it.
pub(super) enum Placed {
    Host(Vec<f32>),
    /// Flat.
    Device(Box<Tensor<1>>),
}

/// What [`Weights`] does when it is asked for a tensor.
pub(super) enum Stage<'a> {
    /// Read it.
    AtOnce,
    /// Note it down.
    Listing(&'a RefCell<Vec<Wanted>>),
    /// Take it from those that are there.
    Building(&'a RefCell<HashMap<String, Placed>>),
}

impl Stage<'_> {
    /// The tensor on the device; none while it is only noted down.
    pub fn tensor<const D: usize>(&self, key: &str, dims: [usize; D]) -> Option<Tensor<D>> {
        match self.take(key, false)? {
            Placed::Device(flat) => Some(flat.reshape(dims)),
            Placed::Host(_) => unreachable!("{key} was listed for the host"),
        }
    }

    /// The tensor in host memory; none while it is only noted down.
    pub fn host(&self, key: &str) -> Option<Vec<f32>> {
        match self.take(key, true)? {
            Placed::Host(values) => Some(values),
            Placed::Device(_) => unreachable!("{key} was listed for the device"),
        }
    }

    fn take(&self, key: &str, host: bool) -> Option<Placed> {
        match self {
            Self::AtOnce => None,
            Self::Listing(list) => {
                list.borrow_mut().push(Wanted { key: key.to_owned(), host });
                None
            }
            Self::Building(placed) => {
                let tensor = placed.borrow_mut().remove(key);
                Some(tensor.unwrap_or_else(|| unreachable!("{key} was not listed")))
            }
        }
    }
}

/// The network that `build` makes of `file`, which error messages call `name`.
///
/// `build` is called twice, and must ask for the same tensors, each once: first to find out what it asks for, so that all that is wrong with the file
/// is reported before anything is read; then, when every tensor is on the device, to put them together.
/// Between, `on_bytes` is told the bytes loaded so far and in all (as f32), after each tensor.
///
/// # Errors
/// What `build` returns, if reading fails, and [`LoadError::Cancelled`] if `on_bytes` says so.
pub async fn load<N>(
    file: &dyn TensorFile,
    name: &str,
    placement: &Placement,
    build: impl Fn(Weights) -> Result<N, LoadError>,
    on_bytes: &mut dyn FnMut(u64, u64) -> ControlFlow<()>,
) -> Result<N, LoadError> {
    let wanted = RefCell::default();
    build(Weights { stage: Stage::Listing(&wanted), ..Weights::new(file, name, placement) })?;
    let wanted: Vec<Wanted> = wanted.into_inner();
    let bytes = |key: &str| 4 * file.tensors()[key].shape.iter().product::<usize>() as u64;
    let total = wanted.iter().map(|w| bytes(&w.key)).sum();
    let (mut loaded, mut in_flight) = (0, 0);
    let mut placed = HashMap::new();
    for Wanted { key, host } in wanted {
        let values = read_finite(file, name, &key)?;
        let bytes = bytes(&key);
        let tensor = if host {
            Placed::Host(values)
        } else {
            let length = values.len();
            in_flight += bytes;
            Placed::Device(Box::new(placement.tensor(values, [length])))
        };
        placed.insert(key, tensor);
        if in_flight >= BYTES_IN_FLIGHT {
            wait(&placement.device).await;
            in_flight = 0;
        }
        loaded += bytes;
        if on_bytes(loaded, total).is_break() {
            return Err(LoadError::Cancelled);
        }
    }
    wait(&placement.device).await;
    build(Weights { stage: Stage::Building(&RefCell::new(placed)), ..Weights::new(file, name, placement) })
}

/// Wait until `device` has done all that it was told. One that fails will say so when it is used.
async fn wait(device: &Device) {
    let _ = Tensor::<1>::zeros([1], device).into_data_async().await;
}
