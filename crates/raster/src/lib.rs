//! One picture, in memory or on disk, read and written by regions; its codecs and its metadata.
//!
//! Nothing above this crate assumes that a picture fits in memory.
// What a library has to say it returns; a face says it.
#![cfg_attr(not(test), deny(clippy::print_stdout, clippy::print_stderr))]

mod carry;
mod decode;
mod deep_zoom;
mod disk_folder;
mod encode;
mod exif;
#[cfg(test)]
mod fixtures;
mod format;
mod iptc;
mod memory;
mod metadata;
mod orient;
mod overview;
mod panics;
mod planes;
mod pool;
mod raster;
mod resize;
mod save;
mod store;
#[cfg(test)]
mod stream;
mod xmp;

pub use decode::{DecodeError, Decoded, Header, decode, open, probe};
pub use deep_zoom::{deep_zoom_folder, save_deep_zoom};
pub use disk_folder::{DiskFolder, FolderError};
pub use encode::{Chroma, EncodeError, EncodeOptions, encode};
pub use format::{Format, FormatError};
pub use metadata::Metadata;
pub use overview::overview;
pub use panics::catches_panics;
pub use planes::Planes;
pub use pool::{PoolFile, PoolFolder};
pub use raster::{Channels, Depth, Raster, RasterError, Wrap};
pub use resize::{Filter, resize, resize_planes, resize_wrapped};
pub use save::{SaveError, SaveOptions, save};
pub use store::{ByteStore, FileStore, Folder, MemoryStore, StoreKind};
