//! The module's constructors, of which cubecl's registries are made (`inventory`).
//!
//! They must be called by name: where nobody does, the linker takes the module for a program of many entry
//! points and has every exported function call all of them. The registries then grow with each call from
//! JavaScript, and all becomes slower and slower.
#![allow(unsafe_code)]

unsafe extern "C" {
    /// The linker's.
    fn __wasm_call_ctors();
}

/// To be called once, before all else.
pub fn call() {
    // SAFETY: nothing of the module has run yet, and nothing else calls them.
    unsafe { __wasm_call_ctors() }
}
