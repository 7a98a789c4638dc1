//! Which file: by its path, or already open where there are no paths.

use std::fmt;
use std::io;
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{FileError, ReadAt};

/// A file of weights: one that lies at a path, or one that is open under a name (in a browser, where the
/// user gives files and not paths).
///
/// It stands for its path or name, as a [`Path`].
#[derive(Clone)]
pub struct Source {
    path: PathBuf,
    opened: Option<Arc<dyn ReadAt + Sync>>,
}

impl Source {
    /// An open file, which messages and prompts call `name`.
    pub fn opened(name: impl Into<PathBuf>, bytes: Arc<dyn ReadAt + Sync>) -> Self {
        Self { path: name.into(), opened: Some(bytes) }
    }

    /// Bytes that are part of the program, which messages and recipes call `name`.
    pub fn built_in(name: impl Into<PathBuf>, bytes: &'static [u8]) -> Self {
        Self::opened(name, Arc::new(BuiltIn(bytes)))
    }

    /// The open file, if it is not to be opened by its path.
    pub fn bytes(&self) -> Option<&Arc<dyn ReadAt + Sync>> {
        self.opened.as_ref()
    }

    /// The file `name`, a path from the same folder, whole; none if there is none. An open file has no folder.
    ///
    /// # Errors
    /// [`FileError::Read`] if it is there and cannot be read.
    pub(crate) fn beside(&self, name: &str) -> Result<Option<Beside>, FileError> {
        if self.opened.is_some() {
            return Ok(None);
        }
        let path = self.path.parent().unwrap_or(Path::new("")).join(name);
        let name = path.display().to_string();
        match std::fs::read(&path) {
            Ok(content) => Ok(Some(Beside { name, content })),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(FileError::Read { name, source }),
        }
    }
}

/// Bytes that are part of the program.
struct BuiltIn(&'static [u8]);

impl ReadAt for BuiltIn {
    fn length(&self) -> io::Result<u64> {
        Ok(self.0.len() as u64)
    }

    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<()> {
        let part = usize::try_from(offset).ok().and_then(|from| self.0.get(from..)?.get(..into.len()));
        into.copy_from_slice(part.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }
}

/// A small file in a [`Source`]'s folder.
pub(crate) struct Beside {
    /// For messages.
    pub name: String,
    /// All of it.
    pub content: Vec<u8>,
}

impl ReadAt for Arc<dyn ReadAt + Sync> {
    fn length(&self) -> io::Result<u64> {
        (**self).length()
    }

    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<()> {
        (**self).read_at(offset, into)
    }
}

impl Deref for Source {
    type Target = Path;

    fn deref(&self) -> &Path {
        &self.path
    }
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.path.fmt(f)
    }
}

impl Default for Source {
    fn default() -> Self {
        PathBuf::new().into()
    }
}

/// The same path, or the same open file.
impl PartialEq for Source {
    fn eq(&self, other: &Self) -> bool {
        let opened = match (&self.opened, &other.opened) {
            (Some(mine), Some(others)) => Arc::ptr_eq(mine, others),
            (None, None) => true,
            _ => false,
        };
        opened && self.path == other.path
    }
}

impl Eq for Source {}

impl From<PathBuf> for Source {
    fn from(path: PathBuf) -> Self {
        Self { path, opened: None }
    }
}

impl From<&Path> for Source {
    fn from(path: &Path) -> Self {
        path.to_owned().into()
    }
}

impl From<&PathBuf> for Source {
    fn from(path: &PathBuf) -> Self {
        path.clone().into()
    }
}

impl From<&Source> for Source {
    fn from(source: &Self) -> Self {
        source.clone()
    }
}
