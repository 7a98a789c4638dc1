//! All that gives a picture again, as it is stored with the picture.

use serde::{Deserialize, Serialize};

use crate::{Settings, TilePrompts};

/// All that gives a picture again, with the input itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Recipe {
    /// `clarifier 0.1.0`.
    pub program: String,
    /// The settings, with the seed that was drawn.
    pub settings: Settings,
    /// The networks.
    pub models: RecipeModels,
    /// `f32`, `f16` or `packed`.
    pub precision: String,
    /// Whether the picture was redrawn.
    pub diffusion: bool,
    /// Left, top, width and height of the part of the input that was wanted, if not all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub region: Option<[u32; 4]>,
    /// The mask.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mask: Option<RecipeFile>,
    /// A file of noise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub noise: Option<RecipeFile>,
    /// Bits of each value of the result.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub depth: Option<u8>,
    /// Of a JPEG: quality, 1 to 100.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jpeg_quality: Option<u8>,
    /// Of a JPEG: `444`, `422` or `420`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jpeg_chroma: Option<String>,
    /// Prompts of places.
    #[serde(default, skip_serializing_if = "TilePrompts::is_empty")]
    pub tile_prompts: TilePrompts,
}

/// The networks of a recipe.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct RecipeModels {
    /// `lite`, `lanczos`, or a file.
    pub upscaler: Option<RecipeFile>,
    /// SD 1.5.
    pub checkpoint: Option<RecipeFile>,
    /// The Tile ControlNet.
    pub controlnet: Option<RecipeFile>,
    /// In place of the checkpoint's.
    pub vae: Option<RecipeFile>,
    /// With their scales.
    pub loras: Vec<RecipeLora>,
    /// Textual inversions.
    pub embeddings: Vec<RecipeFile>,
}

/// A file by its name, without its folder, and by what is in it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecipeFile {
    /// The last part of its path.
    pub name: String,
    /// A hash of its size and of samples of its bytes.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub fingerprint: String,
}

/// A LoRA and how much of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RecipeLora {
    /// Which.
    #[serde(flatten)]
    pub file: RecipeFile,
    /// How much.
    pub scale: f32,
}

impl Recipe {
    /// As it is stored: JSON in one line.
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).expect("a recipe is plain data")
    }

    /// A stored recipe.
    ///
    /// # Errors
    /// In words, if it is none, or one of a program that knows other settings.
    pub fn from_json(text: &str) -> Result<Self, String> {
        let recipe: Self = serde_json::from_str(text)
            .map_err(|e| format!("its recipe is not one that this version understands ({e})"))?;
        recipe.settings.validate().map_err(|e| e.to_string())?;
        Ok(recipe)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_recipe_survives_storage() {
        let file = |name: &str| RecipeFile { name: name.into(), fingerprint: "abc".into() };
        let recipe = Recipe {
            program: "clarifier 0.1.0".into(),
            settings: Settings {
                seed: 7,
                prompt: "ein Häuschen \"am\" Meer\n".into(),
                ..Settings::default()
            },
            models: RecipeModels {
                upscaler: Some(RecipeFile { name: "lite".into(), fingerprint: String::new() }),
                loras: vec![RecipeLora { file: file("more_details.safetensors"), scale: 0.1 }],
                ..RecipeModels::default()
            },
            precision: "f32".into(),
            diffusion: true,
            region: Some([1, 2, 3, 4]),
            mask: None,
            noise: None,
            depth: Some(16),
            jpeg_quality: Some(90),
            jpeg_chroma: Some("420".into()),
            tile_prompts: TilePrompts::parse("R1C1: a cat").unwrap(),
        };
        assert_eq!(Recipe::from_json(&recipe.to_json()), Ok(recipe));
        assert!(Recipe::from_json("{}").unwrap_err().contains("not one that this version understands"));
    }
}
