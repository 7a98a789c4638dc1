//! Archives whose bytes depend on nothing but their entries: sorted, with fixed owner, time and mode.

use std::io::{Cursor, Write};

use flate2::{Compression, GzBuilder};
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, DateTime, ZipWriter};

use super::Outcome;

/// 1 January 1980, the earliest time that a zip archive can hold, in seconds since 1970.
pub const TIME: u64 = 315_532_800;
/// Number of gzip's "unknown" operating system.
const UNKNOWN: u8 = 255;

/// A file or folder of an archive.
pub struct Entry {
    /// Path inside the archive, without a slash at either end.
    pub path: String,
    pub mode: u32,
    /// Contents; `None` for a folder.
    pub bytes: Option<Vec<u8>>,
}

impl Entry {
    pub fn folder(path: impl Into<String>) -> Self {
        Self { path: path.into(), mode: 0o755, bytes: None }
    }

    pub fn file(path: impl Into<String>, bytes: Vec<u8>) -> Self {
        Self { path: path.into(), mode: 0o644, bytes: Some(bytes) }
    }

    pub fn program(path: impl Into<String>, bytes: Vec<u8>) -> Self {
        Self { path: path.into(), mode: 0o755, bytes: Some(bytes) }
    }
}

/// A compressed tar archive.
pub fn tar_gz(mut entries: Vec<Entry>) -> Outcome<Vec<u8>> {
    entries.sort_by(|a, b| a.path.cmp(&b.path));
    let gzip = GzBuilder::new().operating_system(UNKNOWN).write(Vec::new(), Compression::best());
    let mut tar = tar::Builder::new(gzip);
    for Entry { path, mode, bytes } in entries {
        let mut header = tar::Header::new_gnu();
        header.set_mode(mode);
        header.set_mtime(TIME);
        header.set_uid(0);
        header.set_gid(0);
        header.set_username("root")?;
        header.set_groupname("root")?;
        header.set_entry_type(if bytes.is_some() {
            tar::EntryType::Regular
        } else {
            tar::EntryType::Directory
        });
        let path = if bytes.is_some() { path } else { format!("{path}/") };
        let bytes = bytes.unwrap_or_default();
        header.set_size(bytes.len() as u64);
        tar.append_data(&mut header, path, bytes.as_slice())?;
    }
    Ok(tar.into_inner()?.finish()?)
}

/// A zip archive.
pub fn zip(mut entries: Vec<Entry>) -> Outcome<Vec<u8>> {
    entries.sort_by(|a, b| a.path.cmp(&b.path));
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    for Entry { path, mode, bytes } in entries {
        let options = SimpleFileOptions::default()
            .compression_method(CompressionMethod::Deflated)
            .compression_level(Some(9))
            .last_modified_time(DateTime::default())
            .unix_permissions(mode);
        // Folders come to be with their files.
        let Some(bytes) = bytes else { continue };
        zip.start_file(path, options)?;
        zip.write_all(&bytes)?;
    }
    Ok(zip.finish()?.into_inner())
}

/// A Unix archive, the container of a Debian package.
pub fn ar(files: &[(&str, &[u8])]) -> Outcome<Vec<u8>> {
    let mut archive = b"!<arch>\n".to_vec();
    for (name, bytes) in files {
        writeln!(archive, "{name:<16}{TIME:<12}{:<6}{:<6}{:<8}{:<10}`", 0, 0, "100644", bytes.len())?;
        archive.extend_from_slice(bytes);
        if bytes.len() % 2 == 1 {
            archive.push(b'\n');
        }
    }
    Ok(archive)
}
