//! `clarifier models verify`: are the bytes here those that were downloaded?

use std::fs::File;
use std::io::{Read, Seek};
use std::path::Path;

use anyhow::{Context, Result, bail};
use sha2::{Digest, Sha256};

use super::cache::Cache;
use super::manifest::Model;

/// Read each model and compare it with the hash in its blob's name.
pub fn verify(cache: &Cache, models: &[Model]) -> Result<()> {
    if models.is_empty() {
        outln!("no models here; `clarifier models pull` downloads the recommended set");
    }
    let mut damaged = Vec::new();
    for model in models {
        let path = cache.find(model).with_context(|| format!("{} is not here", model.name))?;
        let blob = path.canonicalize()?;
        let stated = stated_hashes(cache, model, &blob);
        if stated.is_empty() {
            outln!("{}: no SHA-256 is known for it", model.name);
            continue;
        }
        let hash = hash_of(&mut File::open(&blob)?)?;
        let sound = stated.contains(&hash);
        outln!("{}: {}", model.name, if sound { "as downloaded" } else { "DAMAGED" });
        if !sound {
            damaged.push(format!("{} ({})", model.name, blob.display()));
        }
    }
    if !damaged.is_empty() {
        bail!("damaged: {}; delete them and pull again", damaged.join(", "));
    }
    Ok(())
}

/// The hashes that the file may have: its own blob's name where it is a link to one; where links are
/// none (Windows), its repository's blobs' and its author's.
fn stated_hashes(cache: &Cache, model: &Model, blob: &Path) -> Vec<String> {
    let name = |path: &Path| path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let own = name(blob);
    if is_sha256(&own) {
        return vec![own];
    }
    let blobs = std::fs::read_dir(cache.blob(model, "")).into_iter().flatten().flatten();
    let mut stated: Vec<_> = blobs.map(|entry| name(&entry.path())).collect();
    stated.push(model.sha256_start.clone());
    stated.retain(|hash| is_sha256(hash));
    stated
}

/// Whether this is written as a SHA-256 is.
pub fn is_sha256(text: &str) -> bool {
    text.len() == 64 && text.chars().all(|c| c.is_ascii_hexdigit())
}

/// The SHA-256 of a whole file.
pub fn hash_of(file: &mut File) -> Result<String> {
    file.rewind()?;
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 1 << 20];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(hex(&hasher.finalize())),
            read => hasher.update(&buffer[..read]),
        }
    }
}

/// Bytes as digits.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}
