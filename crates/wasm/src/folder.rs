//! The engine's own folder, in files that the worker opens: where what is too large for memory lies.

use std::sync::Arc;

use clarifier_raster::{Folder, PoolFile, PoolFolder, StoreKind};
use js_sys::Array;
use wasm_bindgen::JsCast;

use crate::browser::{FolderFile, SyncAccessHandle};
use crate::engine::ENGINE;
use crate::{Answer, failed};

/// Bytes that are kept in memory without a thought.
const SMALL: u64 = 256 << 20;

/// Whether that much is kept out of memory, where there is a folder.
pub fn is_large(bytes: u64) -> bool {
    bytes > SMALL
}

/// Where `bytes` are kept: in memory if they are few or there is no folder.
pub fn store_for(bytes: u64) -> StoreKind {
    let folder = ENGINE.with_borrow(|engine| engine.folder.clone());
    match folder {
        Some(folder) if is_large(bytes) => StoreKind::Folder(folder),
        _ => StoreKind::Memory,
    }
}

/// Take these open files too. The first ones are all that earlier workers left.
pub fn add(handles: &Array) -> Answer<()> {
    let files: Vec<Box<dyn PoolFile>> = handles
        .iter()
        .map(|handle| -> Box<dyn PoolFile> {
            Box::new(FolderFile::new(handle.unchecked_into::<SyncAccessHandle>()))
        })
        .collect();
    ENGINE.with_borrow_mut(|engine| match &engine.folder {
        Some(folder) => folder.add(files).map_err(failed),
        None => {
            engine.folder = Some(Arc::new(PoolFolder::new(files).map_err(failed)?));
            Ok(())
        }
    })
}

/// How many names there is room for.
pub fn room() -> usize {
    ENGINE.with_borrow(|engine| engine.folder.as_ref().map_or(0, |folder| folder.room()))
}

/// The names that are kept, for tests and for whoever goes on with a run.
pub fn names() -> Answer<Vec<String>> {
    ENGINE.with_borrow(|engine| {
        engine.folder.as_ref().map_or(Ok(Vec::new()), |folder| folder.names()).map_err(failed)
    })
}
