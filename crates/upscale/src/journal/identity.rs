//! What a result depends on, in words: a run goes on only if nothing of it has changed.

use std::collections::BTreeMap;

use clarifier_model::family::Prediction;
use clarifier_raster::Raster;
use serde::Serialize;

use super::{Journal, JournalError};
use crate::diffusion::precision;
use crate::subject::is_subject;
use crate::{Error, Job, Models, RecipeFile, Settings};

/// Values by their names: of settings and inputs as in messages, of anything else in words.
pub type Identity = BTreeMap<String, String>;

/// Characters of a value that a message shows.
const SHOWN: usize = 60;

/// What the result of a run depends on. `noise` are the numbers of the noise file.
pub fn identity(
    journal: &Journal,
    models: &Models,
    input: &Raster,
    settings: &Settings,
    job: &Job,
    noise: Option<&[f32]>,
) -> Result<Identity, Error> {
    let none = || "none".to_owned();
    let mut list = Identity::new();
    let mut add = |name: &str, value: String| drop(list.insert(name.to_owned(), value));
    add("the program", concat!("clarifier ", env!("CARGO_PKG_VERSION")).to_owned());
    add("the input", fingerprint(input)?);
    add("mask", job.mask.as_deref().map_or_else(|| Ok(none()), fingerprint)?);
    let noise = noise.map(|values| {
        let mut sum = crc32fast::Hasher::new();
        values.iter().for_each(|value| sum.update(&value.to_le_bytes()));
        format!("{} values, {:08x}", values.len(), sum.finalize())
    });
    add("noise", noise.unwrap_or_else(none));
    let all = serde_json::to_value(settings).expect("settings are plain data");
    for field in Settings::describe() {
        let value = match (&*field.name, &all[&field.name]) {
            ("seed", _) => job.seed.to_string(),
            (_, serde_json::Value::String(text)) => text.clone(),
            (_, other) => other.to_string(),
        };
        add(&field.name, value);
    }
    let region = job.region.map(|r| format!("{},{},{},{}", r.x, r.y, r.size.width, r.size.height));
    add("region", region.unwrap_or_else(none));
    add("tile_prompts", json(&job.tile_prompts));
    let file = |file: &RecipeFile| format!("{} {}", file.name, file.fingerprint).trim_end().to_owned();
    let used = &journal.models;
    for (name, used) in [
        ("upscaler", &used.upscaler),
        ("checkpoint", &used.checkpoint),
        ("controlnet", &used.controlnet),
        ("vae", &used.vae),
    ] {
        add(name, used.as_ref().map_or_else(none, file));
    }
    let loras: Vec<_> =
        used.loras.iter().map(|lora| format!("{}:{}", file(&lora.file), lora.scale)).collect();
    add("lora", loras.join(", "));
    add("embedding", used.embeddings.iter().map(file).collect::<Vec<_>>().join(", "));
    let prediction = models.diffusion.as_ref().map(|diffusion| diffusion.family.prediction);
    // Journals of before this was read had no other.
    if let Some(prediction) = prediction.filter(|prediction| *prediction != Prediction::Epsilon) {
        add("the checkpoint's prediction", prediction.to_string());
    }
    add("diffusion", if models.diffusion.is_some() { "on" } else { "off" }.to_owned());
    let backend = &models.backend;
    let device = backend.adapter.as_ref().map(|gpu| format!("{} through {}", gpu.name, gpu.api));
    add("device", device.unwrap_or_else(|| "the CPU".to_owned()));
    add("precision", precision(backend.dtype, backend.packing).to_owned());
    Ok(list)
}

fn json(value: &impl Serialize) -> String {
    serde_json::to_string(value).expect("plain data")
}

/// A picture by its size and checksums of its pixels and of what is said about it.
fn fingerprint(picture: &Raster) -> Result<String, Error> {
    let pixels = picture.checksum(picture.area())?;
    let said = crc32fast::hash(format!("{:?}", picture.metadata).as_bytes());
    Ok(format!("{}, {} bits, {pixels:08x}-{said:08x}", picture.size(), 8 * picture.depth().bytes()))
}

/// The identity with the names of today: journals may have the program's options in their place.
fn with_own_names(was: &Identity) -> Identity {
    let own = |name: &String| match name.strip_prefix("--") {
        Some(option) => option.replace('-', "_"),
        None => name.clone(),
    };
    was.iter().map(|(name, value)| (own(name), value.clone())).collect()
}

/// Whether a run may go on.
///
/// # Errors
/// [`JournalError::Changed`] with all that differs.
pub fn check(was: &Identity, is: &Identity) -> Result<(), JournalError> {
    let was = &with_own_names(was);
    let names: std::collections::BTreeSet<&String> = was.keys().chain(is.keys()).collect();
    let shown = |value: Option<&String>| {
        let value = value.map_or("nothing", |value| if value.is_empty() { "nothing" } else { value });
        let short: String = value.chars().take(SHOWN).collect();
        if short == value { short } else { short + "…" }
    };
    let differences: Vec<String> = names
        .into_iter()
        .filter(|name| was.get(*name) != is.get(*name))
        .map(|name| {
            let quote = if is_subject(name) { "`" } else { "" };
            format!("{quote}{name}{quote} was {} and is {}", shown(was.get(name)), shown(is.get(name)))
        })
        .collect();
    if differences.is_empty() { Ok(()) } else { Err(JournalError::Changed(differences)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_differs_is_said() {
        let list = |pairs: &[(&str, &str)]| -> Identity {
            pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
        };
        let was = list(&[("seed", "7"), ("prompt", "a cat"), ("sharpen", "0")]);
        assert!(check(&was, &was.clone()).is_ok());
        let long = "ü".repeat(80);
        let is = list(&[("seed", "8"), ("prompt", &long), ("sharpen", "0"), ("new", "")]);
        let message = check(&was, &is).unwrap_err().to_string();
        for says in ["`seed` was 7 and is 8", "`prompt` was a cat and is ü", "ü…", "new was nothing"] {
            assert!(message.contains(says), "{says}: {message}");
        }
        assert!(!message.contains("sharpen"), "{message}");
        let old = list(&[("--seed", "7"), ("--tile-width", "96")]);
        assert!(check(&old, &list(&[("seed", "7"), ("tile_width", "96")])).is_ok(), "names of before");
    }
}
