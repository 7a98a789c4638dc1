//! The starter set: the diffusion set that comes with the program. All networks, small ones, trained by `training/starter`.

use std::path::Path;
use std::sync::OnceLock;

use clarifier_upscale::{DiffusionPaths, Source};

/// What `--checkpoint` calls it.
pub const NAME: &str = "starter";

/// Its file.
pub static BYTES: &[u8] = include_bytes!("../../../assets/starter.safetensors");

/// The set itself.
pub fn source() -> Source {
    static SET: OnceLock<Source> = OnceLock::new();
    SET.get_or_init(|| Source::built_in(NAME, BYTES)).clone()
}

/// Whether the user means the set by `path`. A file of that name is `./starter`.
pub fn is_meant(path: &Path) -> bool {
    path == Path::new(NAME)
}

/// What the user means by `path`: the set, or a file.
pub fn or_file(path: impl AsRef<Path>) -> Source {
    let path = path.as_ref();
    if is_meant(path) { source() } else { path.into() }
}

/// Whether a checkpoint has its ControlNet in it: a diffusers folder may, and a set in one file has.
pub fn has_controlnet(checkpoint: &Path) -> bool {
    DiffusionPaths::has_controlnet(&or_file(checkpoint))
}
