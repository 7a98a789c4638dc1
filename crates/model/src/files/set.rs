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

/// The sampler that the networks were made for, by diffusers' name (`DDIMScheduler`): the header may have its `scheduler_config.json` under its
/// folder's name too. None in other files.
pub fn scheduler(file: &dyn TensorFile) -> Option<String> {
    let config: Value = serde_json::from_str(file.metadata("scheduler")?).ok()?;
    Some(config.get("_class_name")?.as_str()?.to_owned())
}

/// How much of each pixel's colour should stay as the enlarger gave it, if the header says. None in other files.
pub fn chroma_lock(file: &dyn TensorFile) -> Option<f64> {
    file.metadata("chroma_lock")?.parse().ok().filter(|share| (0.0..=1.0).contains(share))
}
