//! Files as a recipe names them: by their last name and a hash of samples of what is in them.

use std::fs::File;
use std::path::{Path, PathBuf};

use clarifier_model::files::{ReadAt, Source};
use sha2::{Digest, Sha256};

use crate::{DiffusionPaths, RecipeFile, RecipeLora, RecipeModels, UpscalerChoice};

/// Bytes of a sample.
const SAMPLE: u64 = 64 << 10;
/// Samples of a file: to read gigabytes would take longer than a small picture.
const SAMPLES: u64 = 16;
/// How far below a folder of networks their files are.
const DEPTH: u32 = 2;

impl RecipeFile {
    /// `source` by its name and a hash of its size and of samples of its bytes; of a folder's files of weights, if it
    /// is one. What cannot be read is left out: it has failed already, where it was loaded.
    pub fn of(source: &Source) -> Self {
        // A store's files are links to blobs: the name is the link's.
        let name = source.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let mut hash = Sha256::new();
        match source.bytes() {
            Some(bytes) => add_samples(bytes, &mut hash),
            None => add(source, &mut hash, DEPTH),
        }
        let fingerprint = hash.finalize().iter().take(8).map(|byte| format!("{byte:02x}")).collect();
        Self { name, fingerprint }
    }

    fn built_in(name: &str) -> Self {
        Self { name: name.to_owned(), fingerprint: String::new() }
    }
}

impl RecipeModels {
    /// The networks of a choice.
    pub fn of(upscaler: &UpscalerChoice, paths: Option<&DiffusionPaths>) -> Self {
        let upscaler = match upscaler {
            UpscalerChoice::File(source) => RecipeFile::of(source),
            built_in => RecipeFile::built_in(&built_in.name()),
        };
        let upscaler = Some(upscaler);
        let Some(paths) = paths else { return Self { upscaler, ..Self::default() } };
        let loras = paths.loras.iter();
        Self {
            upscaler,
            checkpoint: Some(RecipeFile::of(&paths.checkpoint)),
            controlnet: Some(RecipeFile::of(&paths.controlnet)),
            vae: paths.vae.as_ref().map(RecipeFile::of),
            loras: loras
                .map(|lora| RecipeLora { file: RecipeFile::of(&lora.path), scale: lora.scale })
                .collect(),
            embeddings: paths.embeddings.iter().map(RecipeFile::of).collect(),
        }
    }
}

fn add(path: &Path, hash: &mut Sha256, depth: u32) {
    if !path.is_dir() {
        // To open a pipe is to wait for whoever writes into it.
        if path.is_file()
            && let Ok(file) = File::open(path)
        {
            add_samples(&file, hash);
        }
        return;
    }
    let entries = std::fs::read_dir(path).into_iter().flatten().flatten();
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
    files.sort();
    let weights = |p: &PathBuf| {
        p.extension().is_some_and(|e| ["safetensors", "bin", "pt", "ckpt", "pth"].iter().any(|w| e == *w))
    };
    let kept = files.iter().filter(|p| weights(p) || (depth > 0 && p.is_dir()));
    kept.for_each(|file| add(file, hash, depth.saturating_sub(1)));
}

fn add_samples(file: &impl ReadAt, hash: &mut Sha256) {
    let length = file.length().unwrap_or_default();
    hash.update(length.to_le_bytes());
    // Spread from the first byte to the last, or, in a small file, one after the other.
    let free = length.saturating_sub(SAMPLE).max(SAMPLE * (SAMPLES - 1));
    let mut bytes = vec![0; SAMPLE as usize];
    for start in (0..SAMPLES).map(|i| i * free / (SAMPLES - 1)).take_while(|start| *start < length) {
        let sample = &mut bytes[..SAMPLE.min(length - start) as usize];
        if file.read_at(start, sample).is_ok() {
            hash.update(&*sample);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn fingerprint(path: &Path) -> String {
        RecipeFile::of(&path.into()).fingerprint
    }

    #[test]
    fn fingerprints_tell_files_apart() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.safetensors");
        let mut seen = std::collections::HashSet::new();
        // Sizes around those of samples, and a byte changed in what is read.
        for length in [0usize, 1, 65_536, 65_537, 3_000_000] {
            let mut bytes = vec![1u8; length];
            std::fs::write(&path, &bytes).unwrap();
            let first = RecipeFile::of(&path.as_path().into());
            let opened = Source::opened("a.safetensors", Arc::new(File::open(&path).unwrap()));
            assert_eq!(first, RecipeFile::of(&opened), "however it is opened");
            assert!(seen.insert(first.fingerprint.clone()));
            if let Some(byte) = bytes.last_mut() {
                *byte = 2;
                std::fs::write(&path, &bytes).unwrap();
                assert_ne!(first.fingerprint, fingerprint(&path), "{length}");
            }
        }
        let of_folder = fingerprint(folder.path());
        std::fs::write(folder.path().join("notes.txt"), "x").unwrap();
        assert_eq!(of_folder, fingerprint(folder.path()));
        std::fs::write(&path, "other").unwrap();
        assert_ne!(of_folder, fingerprint(folder.path()));
    }
}
