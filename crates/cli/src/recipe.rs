//! Presets and recipes: where the settings of a call come from, and what is stored with its results.

use std::path::{Path, PathBuf};

use clarifier_raster::StoreKind;
use clarifier_upscale::{Preset, Recipe, RecipeFile, RecipeModels};

use crate::{starter, store, text};

/// A preset built in, or a file of the user's.
pub fn preset(name: &str) -> Result<Preset, String> {
    if let Some(preset) = Preset::built_in(name) {
        return Ok(preset);
    }
    let bad = |error: String| format!("--preset {name}: {error}");
    match text::read(Path::new(name)) {
        Ok(preset) => Preset::parse(&preset).map_err(|e| bad(e.to_string())),
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
        text::read(path).map_err(|e| bad(e.to_string()))?
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
    if file.name == starter::NAME {
        return Ok(starter::NAME.into());
    }
    let here = PathBuf::from(&file.name);
    let found = store::by_file_name(&file.name).or_else(|| here.exists().then_some(here));
    found.ok_or_else(|| {
        format!(
            "the recipe needs {}, which is neither in the store nor in this folder; give {option} PATH",
            file.name
        )
    })
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
    fn unknown_presets_are_named_with_those_that_exist() {
        let message = preset("no-such").unwrap_err();
        assert!(message.contains("--preset no-such") && message.contains("refiners, space"), "{message}");
    }
}
