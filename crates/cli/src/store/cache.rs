//! The layout of the hub's cache, as huggingface_hub keeps it:
//! `models--owner--name/{blobs/<hash>, refs/<branch>, snapshots/<commit>/<file>}`.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::manifest::Model;

/// The branch that models are taken from.
pub const BRANCH: &str = "main";

/// The cache folder.
pub struct Cache(PathBuf);

impl Cache {
    /// Where the ecosystem's tools look: `HF_HUB_CACHE`, `HF_HOME/hub`, `XDG_CACHE_HOME/huggingface/hub`,
    /// `~/.cache/huggingface/hub`.
    pub fn from_environment() -> Result<Self> {
        let folder = |name: &str| std::env::var_os(name).filter(|v| !v.is_empty()).map(PathBuf::from);
        let cache = folder("HF_HUB_CACHE")
            .or_else(|| Some(home()?.join("hub")))
            .context("there is no home folder; set HF_HOME to where models may be kept")?;
        Ok(Self(cache))
    }

    /// The folder itself.
    pub fn folder(&self) -> &Path {
        &self.0
    }

    /// The folder of a model's repository.
    pub fn repo(&self, model: &Model) -> PathBuf {
        self.0.join(format!("models--{}", model.repo.replace('/', "--")))
    }

    /// The model's file, if it is here.
    pub fn find(&self, model: &Model) -> Option<PathBuf> {
        let repo = self.repo(model);
        let commit = std::fs::read_to_string(repo.join("refs").join(BRANCH)).ok()?;
        let file = repo.join("snapshots").join(commit.trim()).join(&model.file);
        file.is_file().then_some(file)
    }

    /// Where the bytes with this hash are or go.
    pub fn blob(&self, model: &Model, hash: &str) -> PathBuf {
        self.repo(model).join("blobs").join(hash)
    }

    /// The file that is locked while this blob is written, as huggingface_hub does: both append to the
    /// same unfinished file.
    pub fn lock(&self, model: &Model, hash: &str) -> PathBuf {
        let repo = self.repo(model);
        self.0.join(".locks").join(repo.file_name().expect("it has a name")).join(format!("{hash}.lock"))
    }

    /// Make the model's file, at `commit`, the blob with this hash.
    pub fn publish(&self, model: &Model, commit: &str, hash: &str) -> Result<PathBuf> {
        let repo = self.repo(model);
        let file = repo.join("snapshots").join(commit).join(&model.file);
        let (folder, refs) = (file.parent().expect("it is in a snapshot"), repo.join("refs"));
        std::fs::create_dir_all(folder)?;
        std::fs::create_dir_all(&refs)?;
        if !file.is_file() {
            // Relative, so that the whole cache can be moved.
            let up = "../".repeat(2 + model.file.matches('/').count());
            let linked = link(Path::new(&format!("{up}blobs/{hash}")), &self.blob(model, hash), &file);
            // Another process may have made the same link a moment ago.
            linked.or_else(|e| if file.is_file() { Ok(()) } else { Err(e) })?;
        }
        std::fs::write(refs.join(BRANCH), commit)?;
        Ok(file)
    }
}

/// `HF_HOME`, or its default.
pub fn home() -> Option<PathBuf> {
    let folder = |name: &str| std::env::var_os(name).filter(|v| !v.is_empty()).map(PathBuf::from);
    folder("HF_HOME")
        .or_else(|| Some(folder("XDG_CACHE_HOME")?.join("huggingface")))
        .or_else(|| Some(folder("HOME").or_else(|| folder("USERPROFILE"))?.join(".cache/huggingface")))
}

/// A symbolic link where there are such, else a second name for the same bytes.
fn link(relative: &Path, blob: &Path, file: &Path) -> std::io::Result<()> {
    #[cfg(unix)]
    {
        let _ = blob;
        std::os::unix::fs::symlink(relative, file)
    }
    #[cfg(not(unix))]
    {
        let _ = relative;
        std::fs::hard_link(blob, file).or_else(|_| std::fs::copy(blob, file).map(drop))
    }
}
