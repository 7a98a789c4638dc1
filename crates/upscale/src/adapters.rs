//! LoRAs and textual inversions: what prompts ask for, and opening them.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use clarifier_model::embedding::Embedding;
use clarifier_model::files::{FileError, Source};
use clarifier_model::lora::{Adapter, Lora};
use clarifier_model::tokenizer::{ClipTokenizer, LoraTag, Prompt};

use crate::{DiffusionPaths, Error, Settings, TilePrompts};

/// A LoRA to merge into the checkpoint.
#[derive(Debug, Clone, PartialEq)]
pub struct LoraChoice {
    /// The file.
    pub path: Source,
    /// How strongly it changes the UNet; 1 is as trained.
    pub scale: f32,
    /// How strongly it changes the text encoder.
    pub text_scale: f32,
}

impl LoraChoice {
    /// The same scale for both networks.
    pub fn new(path: impl Into<Source>, scale: f32) -> Self {
        Self { path: path.into(), scale, text_scale: scale }
    }
}

/// A file's name without its folder and extension: what prompts call it.
fn stem(path: &Path) -> String {
    path.file_stem().unwrap_or_default().to_string_lossy().into_owned()
}

pub(crate) fn open_loras(choices: &[LoraChoice]) -> Result<Vec<Adapter>, FileError> {
    let open = |choice: &LoraChoice| {
        let lora = Arc::new(Lora::open(&choice.path)?);
        Ok(Adapter { lora, unet_scale: choice.scale, text_scale: choice.text_scale })
    };
    choices.iter().map(open).collect()
}

/// Open embeddings for a text encoder of `width`.
pub(crate) fn open_embeddings(paths: &[Source], width: usize) -> Result<Vec<Embedding>, FileError> {
    let mut embeddings: Vec<Embedding> = Vec::new();
    for path in paths {
        let embedding = Embedding::open(path)?;
        embedding.check_width(width)?;
        let word = embedding.names[0].to_lowercase();
        if let Some(other) = embeddings.iter().find(|e| e.names[0].to_lowercase() == word) {
            let reason = format!("the embedding {} has the same name; rename one of the files", other.file);
            return Err(FileError::Damaged { name: embedding.file, reason });
        }
        embeddings.push(embedding);
    }
    Ok(embeddings)
}

/// All that is said: of the picture, of its parts, and against.
fn prompts(settings: &Settings, places: &TilePrompts) -> Vec<String> {
    let general = [settings.full_prompt(), settings.negative_prompt.clone()];
    general.into_iter().chain(places.prompts().map(str::to_owned)).collect()
}

/// The `<lora:…>` tags of all prompts. Those of a part of the picture are merged for all of it too.
///
/// # Errors
/// [`Error::Tag`] for the first that cannot be read.
pub fn lora_tags(settings: &Settings, places: &TilePrompts) -> Result<Vec<LoraTag>, Error> {
    let mut tags = Vec::new();
    for text in prompts(settings, places) {
        let prompt = Prompt::parse(&text);
        if let Some(tag) = prompt.malformed.into_iter().next() {
            return Err(Error::Tag(tag));
        }
        tags.extend(prompt.loras);
    }
    Ok(tags)
}

/// Those of `files` whose names, as words, stand in any prompt.
pub fn mentioned_embeddings(settings: &Settings, places: &TilePrompts, files: &[PathBuf]) -> Vec<PathBuf> {
    if files.is_empty() {
        return Vec::new();
    }
    let tokenizer = ClipTokenizer::new();
    let prompts = prompts(settings, places);
    let mentioned = |path: &&PathBuf| prompts.iter().any(|prompt| tokenizer.mentions(prompt, &stem(path)));
    files.iter().filter(mentioned).cloned().collect()
}

/// Whether every LoRA that the prompts name was loaded.
pub(crate) fn check_tags(
    settings: &Settings,
    places: &TilePrompts,
    paths: &DiffusionPaths,
) -> Result<(), Error> {
    let loaded: Vec<String> = paths.loras.iter().map(|choice| stem(&choice.path)).collect();
    for LoraTag { name, .. } in lora_tags(settings, places)? {
        if !loaded.iter().any(|stem| stem.eq_ignore_ascii_case(&name)) {
            let loaded = if loaded.is_empty() { "none".into() } else { loaded.join(", ") };
            return Err(Error::LoraMissing { name, loaded });
        }
    }
    Ok(())
}
