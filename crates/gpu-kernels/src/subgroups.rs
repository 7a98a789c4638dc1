//! Values handed from invocation to invocation of a workgroup.

use std::cell::Cell;
use std::sync::{PoisonError, RwLock};

use burn::tensor::{Device, Tensor};
use burn_cubecl::cubecl;
use burn_cubecl::cubecl::client::Client;
use burn_cubecl::cubecl::prelude::*;

use crate::Gpu;
use crate::product::LANES;

/// Adapters that were said to have subgroups, by name. CubeCL does not believe software adapters that they have, so whoever opened the
/// device must say so.
static KNOWN: RwLock<Vec<String>> = RwLock::new(Vec::new());

thread_local! {
    static REFUSED: Cell<bool> = const { Cell::new(false) };
}

/// Shaders on `device` may use subgroups: it was opened with that feature of WebGPU. Nothing happens if it is no GPU.
pub fn allow(device: &Device) {
    let Some(gpu) = Gpu::of(&Tensor::<1>::zeros([1], device)) else { return };
    let name = &gpu.0.client.properties().identity.name;
    let mut known = KNOWN.write().unwrap_or_else(PoisonError::into_inner);
    if !known.contains(name) {
        known.push(name.clone());
    }
}

/// Take no subgroups for what this thread launches from now on, or take them again. For tests of both.
pub fn refuse(refused: bool) {
    REFUSED.set(refused);
}

/// Whether a workgroup of [`LANES`] invocations is one subgroup of the device of `client`.
pub(crate) fn span_workgroups(client: &Client) -> bool {
    let properties = client.properties();
    let (least, most) = (properties.hardware.plane_size_min, properties.hardware.plane_size_max);
    let known = || KNOWN.read().unwrap_or_else(PoisonError::into_inner);
    least == LANES as u32 && most == least && !REFUSED.get() && known().contains(&properties.identity.name)
}

/// What the invocation `lane` has as `value`; each its own unless values are `shared`.
#[cube]
pub(crate) fn of_lane(value: f32, #[comptime] lane: usize, #[comptime] shared: bool) -> f32 {
    if comptime!(shared) { plane_broadcast(value, comptime!(lane as u32)) } else { value }
}
