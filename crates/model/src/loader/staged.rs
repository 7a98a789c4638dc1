//! Loading that waits for the device: a browser's accepts uploads without end and holds them all until
//! it is waited for.

use std::cell::RefCell;
use std::collections::HashMap;
use std::ops::ControlFlow;

use burn::tensor::{Device, Tensor};

use super::{LoadError, Placement, Weights, read_finite};
use crate::files::TensorFile;
use crate::weight::Weight;

/// Bytes that are uploaded between two waits.
const BYTES_IN_FLIGHT: u64 = 128 << 20;

/// Where a network wants a tensor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    Host,
    Device,
    /// On the device, packed if the placement says so.
    Weight,
}

/// A tensor that a network asks for.
pub(super) struct Wanted {
    key: String,
    place: Place,
}

/// A tensor that is where the network wants it; those on the device are flat.
pub(super) enum Placed {
    Host(Vec<f32>),
    Device(Box<Tensor<1>>),
    Weight(Box<Weight<1>>),
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
        match self.take(key, Place::Device)? {
            Placed::Device(flat) => Some(flat.reshape(dims)),
            _ => unreachable!("{key} was listed for another place"),
        }
    }

    /// The weight on the device; none while it is only noted down.
    pub fn weight<const D: usize>(&self, key: &str, dims: [usize; D]) -> Option<Weight<D>> {
        match self.take(key, Place::Weight)? {
            Placed::Weight(flat) => Some(flat.reshape(dims)),
            _ => unreachable!("{key} was listed for another place"),
        }
    }

    /// The tensor in host memory; none while it is only noted down.
    pub fn host(&self, key: &str) -> Option<Vec<f32>> {
        match self.take(key, Place::Host)? {
            Placed::Host(values) => Some(values),
            _ => unreachable!("{key} was listed for another place"),
        }
    }

    fn take(&self, key: &str, place: Place) -> Option<Placed> {
        match self {
            Self::AtOnce => None,
            Self::Listing(list) => {
                list.borrow_mut().push(Wanted { key: key.to_owned(), place });
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
/// Beside the network it gives the bytes that its tensors take, on the device and on the host.
///
/// # Errors
/// What `build` returns, if reading fails, and [`LoadError::Cancelled`] if `on_bytes` says so.
pub async fn load<N>(
    file: &dyn TensorFile,
    name: &str,
    placement: &Placement,
    build: impl Fn(Weights) -> Result<N, LoadError>,
    on_bytes: &mut dyn FnMut(u64, u64) -> ControlFlow<()>,
) -> Result<(N, u64), LoadError> {
    let wanted = RefCell::default();
    build(Weights { stage: Stage::Listing(&wanted), ..Weights::new(file, name, placement) })?;
    let wanted: Vec<Wanted> = wanted.into_inner();
    let bytes = |key: &str| 4 * file.tensors()[key].shape.iter().product::<usize>() as u64;
    let total = wanted.iter().map(|w| bytes(&w.key)).sum();
    let (mut loaded, mut in_flight, mut held) = (0, 0, 0);
    let mut placed = HashMap::new();
    for Wanted { key, place } in wanted {
        let values = read_finite(file, name, &key)?;
        let (bytes, length) = (bytes(&key), values.len());
        let (tensor, uploaded) = match place {
            Place::Host => {
                held += bytes;
                (Placed::Host(values), 0)
            }
            Place::Device => {
                let tensor = placement.tensor(values, [length]);
                let uploaded = (tensor.dtype().size() * length) as u64;
                (Placed::Device(Box::new(tensor)), uploaded)
            }
            Place::Weight => {
                let weight = placement.weight(values, [length]);
                let uploaded = weight.bytes();
                (Placed::Weight(Box::new(weight)), uploaded)
            }
        };
        placed.insert(key, tensor);
        in_flight += uploaded;
        held += uploaded;
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
    let stage = Stage::Building(&RefCell::new(placed));
    let network = build(Weights { stage, ..Weights::new(file, name, placement) })?;
    Ok((network, held))
}

/// Wait until `device` has done all that it was told. One that fails will say so when it is used.
async fn wait(device: &Device) {
    let _ = Tensor::<1>::zeros([1], device).into_data_async().await;
}
