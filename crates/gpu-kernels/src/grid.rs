//! Workgroups by one number, since a dimension of the grid ends at 65 535.

use burn_cubecl::cubecl::prelude::*;

/// The most workgroups in one dimension that WebGPU promises.
const MOST: usize = 65_535;

/// Invocations of a workgroup where each does a little of its own.
pub const UNITS: usize = 64;

/// At least `count` workgroups, as near to a square as it must be.
///
/// There may be more than asked for: a kernel takes `min(CUBE_POS, count - 1)`, so that those do the last one's work again, and no
/// workgroup leaves before a barrier.
pub fn workgroups(count: usize) -> CubeCount {
    let rows = count.div_ceil(MOST);
    CubeCount::Static(count.div_ceil(rows) as u32, rows as u32, 1)
}
