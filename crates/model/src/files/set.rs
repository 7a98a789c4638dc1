//! A diffusers checkpoint in one file: every tensor under its folder's name and its own, `unet.conv_in.weight`, and each
//! network's `config.json` in the header's metadata, under its folder's name. `training/starter/export.py` writes such files.

use serde_json::Value;

use super::{Component, FileError, TensorFile};

/// The name that a tensor of the set has in its network; none for those of other networks.
pub fn key(key: &str, component: Component) -> Option<String> {
    Some(key.strip_prefix(component.folder())?.strip_prefix('.')?.to_owned())
}

/// A network's configuration. Sets have networks of other sizes than SD 1.5's: without it they could not be read.
///
/// # Errors
/// [`FileError::Damaged`] if it is missing or no JSON.
pub fn config(file: &dyn TensorFile, component: Component, name: &str) -> Result<Option<Value>, FileError> {
    let folder = component.folder();
    let damaged = |reason: String| FileError::Damaged { name: name.into(), reason };
    let text = file
        .metadata(folder)
        .ok_or_else(|| damaged(format!("its header has no configuration of {folder}")))?;
    serde_json::from_str(text)
        .map(Some)
        .map_err(|error| damaged(format!("the configuration of {folder} is not JSON ({error})")))
}
