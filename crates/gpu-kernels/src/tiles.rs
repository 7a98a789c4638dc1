//! Where a kernel keeps its tile.

use std::cell::Cell;

use burn_cubecl::cubecl::client::Client;

/// Where a kernel keeps the values that it uses more than once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Tiles {
    /// In registers alone: a processor that pretends to be a GPU has caches, and pays for barriers.
    Registers,
    /// In memory that a workgroup shares, and from there in registers: for real GPUs.
    Shared,
}

/// What processors that pretend to be GPUs call themselves.
const SOFTWARE: [&str; 4] = ["swiftshader", "llvmpipe", "lavapipe", "basic render"];

thread_local! {
    static FORCED: Cell<Option<Tiles>> = const { Cell::new(None) };
}

impl Tiles {
    /// Take these for what this thread launches from now on, whatever the adapter is; with none, as the adapter is.
    ///
    /// For tests of both.
    pub fn force(tiles: Option<Self>) {
        FORCED.set(tiles);
    }

    /// Those for the device of `client`.
    pub fn of(client: &Client) -> Self {
        FORCED.get().unwrap_or_else(|| {
            let identity = &client.properties().identity;
            let name = identity.name.to_lowercase();
            // A software adapter is no card; browsers may say so by its name only.
            let software = identity.physical.is_none() || SOFTWARE.iter().any(|known| name.contains(known));
            if software { Self::Registers } else { Self::Shared }
        })
    }
}
