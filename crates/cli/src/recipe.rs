//! Presets and recipes: where the settings of a call come from, and what is stored with its results.

use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use clarifier_raster::StoreKind;
use clarifier_upscale::{
    DiffusionPaths, Preset, Recipe, RecipeFile, RecipeLora, RecipeModels, UpscalerChoice,
};
use sha2::{Digest, Sha256};

use crate::store;

/// A preset built in, or a file of the user's.
pub fn preset(name: &str) -> Result<Preset, String> {
    if let Some(preset) = Preset::built_in(name) {
        return Ok(preset);
    }
    let bad = |error: String| format!("--preset {name}: {error}");
    match std::fs::read_to_string(name) {
        Ok(text) => Preset::parse(&text).map_err(|e| bad(e.to_string())),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let known: Vec<_> = Preset::names().collect();
            Err(bad(format!("there is no such file, and the built-in ones are {}", known.join(", "))))
        }
        Err(error) => Err(bad(error.to_string())),
    }
}

/// The recipe in a result, or in a file of JSON.
pub fn recipe(path: &Path) -> Result<Recipe, String> {
    let bad = |error: String| format!("--recipe {}: {error}", path.display());
    let json = if path.extension().is_some_and(|e| e.eq_ignore_ascii_case("json")) {
        std::fs::read_to_string(path).map_err(|e| bad(e.to_string()))?
    } else {
        let picture =
            clarifier_raster::open(path, &StoreKind::Memory).map_err(|e| format!("--recipe {e}"))?;
        let none =
            || bad("there is no recipe in it: this program did not make it, or another removed it".into());
        picture.raster.metadata.recipe.ok_or_else(none)?
    };
    Recipe::from_json(&json).map_err(bad)
}

/// A file of a recipe, on this machine: in the store, or in the folder that one is in.
pub fn find(file: &RecipeFile, option: &str) -> Result<PathBuf, String> {
    let here = PathBuf::from(&file.name);
    let found = store::by_file_name(&file.name).or_else(|| here.exists().then_some(here));
    found.ok_or_else(|| {
        format!(
            "the recipe needs {}, which is neither in the store nor in this folder; give {option} PATH",
            file.name
        )
    })
}

/// Bytes of a sample.
const SAMPLE: u64 = 64 << 10;
/// Samples of a file: to read gigabytes would take longer than a small picture.
const SAMPLES: u64 = 16;

/// A hash of a file's size and of samples of its bytes; of a folder's files of weights, if it is one.
pub fn fingerprint(path: &Path) -> String {
    let mut hash = Sha256::new();
    add(path, &mut hash, 2);
    let digest = hash.finalize();
    digest.iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

fn add(path: &Path, hash: &mut Sha256, depth: u32) {
    if path.is_dir() {
        let entries = std::fs::read_dir(path).into_iter().flatten().flatten();
        let mut files: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
        files.sort();
        let weights = |p: &PathBuf| {
            p.extension().is_some_and(|e| ["safetensors", "bin", "pt", "ckpt", "pth"].iter().any(|w| e == *w))
        };
        let kept = files.iter().filter(|p| weights(p) || (depth > 0 && p.is_dir()));
        kept.for_each(|file| add(file, hash, depth.saturating_sub(1)));
        return;
    }
    // What cannot be read has failed already, where it was loaded.
    let Ok(mut file) = std::fs::File::open(path) else { return };
    let length = file.metadata().map_or(0, |m| m.len());
    hash.update(length.to_le_bytes());
    // Spread from the first byte to the last, or, in a small file, one after the other.
    let free = length.saturating_sub(SAMPLE).max(SAMPLE * (SAMPLES - 1));
    let mut bytes = Vec::new();
    for start in (0..SAMPLES).map(|i| i * free / (SAMPLES - 1)).take_while(|start| *start < length) {
        bytes.clear();
        if file.seek(SeekFrom::Start(start)).is_ok() {
            let _ = (&mut file).take(SAMPLE).read_to_end(&mut bytes);
        }
        hash.update(&bytes);
    }
}

/// A file as a recipe names it.
pub fn named(path: &Path) -> RecipeFile {
    // The store's files are links to blobs: the name is the link's.
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    RecipeFile { name, fingerprint: fingerprint(path) }
}

/// The networks of a call.
pub fn models(upscaler: &UpscalerChoice, paths: Option<&DiffusionPaths>) -> RecipeModels {
    let built_in = |name: &str| RecipeFile { name: name.into(), fingerprint: String::new() };
    let upscaler = match upscaler {
        UpscalerChoice::Lite => built_in("lite"),
        UpscalerChoice::Lanczos => built_in("lanczos"),
        UpscalerChoice::File(path) => named(path),
    };
    let lora = |choice: &clarifier_upscale::LoraChoice| RecipeLora {
        file: named(&choice.path),
        scale: choice.scale,
    };
    RecipeModels {
        upscaler: Some(upscaler),
        checkpoint: paths.map(|paths| named(&paths.checkpoint)),
        controlnet: paths.map(|paths| named(&paths.controlnet)),
        vae: paths.and_then(|paths| paths.vae.as_deref()).map(named),
        loras: paths.map_or_else(Vec::new, |paths| paths.loras.iter().map(lora).collect()),
        embeddings: paths.map_or_else(Vec::new, |paths| paths.embeddings.iter().map(|p| named(p)).collect()),
    }
}

/// The files that are not those that the recipe was made with, in sentences.
pub fn differences(recipe: &RecipeModels, now: &RecipeModels) -> Vec<String> {
    let files = |models: &RecipeModels| {
        let single = [&models.upscaler, &models.checkpoint, &models.controlnet, &models.vae];
        let single =
            single.map(Clone::clone).into_iter().zip(["upscaler", "checkpoint", "controlnet", "vae"]);
        single.map(|(file, role)| (role, file)).collect::<Vec<_>>()
    };
    let mut list = Vec::new();
    for ((role, was), (_, is)) in files(recipe).into_iter().zip(files(now)) {
        if was != is {
            let name = |file: Option<RecipeFile>| file.map_or_else(|| "none".to_owned(), |file| file.name);
            let (was, is) = (name(was), name(is));
            list.push(match was == is {
                true => format!("{role}: {is} is another file than the one that the recipe was made with"),
                false => format!("{role}: {is} in place of the recipe's {was}"),
            });
        }
    }
    let adapters = |models: &RecipeModels| -> Vec<(String, RecipeFile)> {
        let loras =
            models.loras.iter().map(|l| (format!("the LoRA {}:{}", l.file.name, l.scale), l.file.clone()));
        let embeddings =
            models.embeddings.iter().map(|file| (format!("the embedding {}", file.name), file.clone()));
        loras.chain(embeddings).collect()
    };
    let (was, is) = (adapters(recipe), adapters(now));
    for (said, file) in &was {
        match is.iter().find(|(other, _)| other == said) {
            None => list.push(format!("{said} of the recipe is not used")),
            Some((_, other)) if other != file => {
                list.push(format!("{said} is another file than the one that the recipe was made with"));
            }
            Some(_) => {}
        }
    }
    let more = is.iter().filter(|(said, _)| !was.iter().any(|(other, _)| other == said));
    list.extend(more.map(|(said, _)| format!("{said} is none of the recipe's")));
    list
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fingerprints_tell_files_apart() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.safetensors");
        let mut seen = std::collections::HashSet::new();
        // Sizes around those of samples, and a byte changed in what is read.
        for length in [0usize, 1, 65_536, 65_537, 3_000_000] {
            let mut bytes = vec![1u8; length];
            std::fs::write(&path, &bytes).unwrap();
            let first = fingerprint(&path);
            assert_eq!(first, fingerprint(&path));
            assert!(seen.insert(first.clone()));
            if let Some(byte) = bytes.last_mut() {
                *byte = 2;
                std::fs::write(&path, &bytes).unwrap();
                assert_ne!(first, fingerprint(&path), "{length}");
            }
        }
        let of_folder = fingerprint(folder.path());
        std::fs::write(folder.path().join("notes.txt"), "x").unwrap();
        assert_eq!(of_folder, fingerprint(folder.path()));
        std::fs::write(&path, "other").unwrap();
        assert_ne!(of_folder, fingerprint(folder.path()));
    }

    #[test]
    fn unknown_presets_are_named_with_those_that_exist() {
        let message = preset("no-such").unwrap_err();
        assert!(message.contains("--preset no-such") && message.contains("refiners, space"), "{message}");
    }
}
