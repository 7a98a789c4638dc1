//! The models that can be downloaded: data, in `assets/models.json`, which the page reads too.

use serde::Deserialize;

/// The models, and where they are.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// The address of the hub.
    pub hub: String,
    /// All that can be named.
    pub models: Vec<Model>,
}

/// One file on the hub.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Model {
    /// What the user types.
    pub name: String,
    /// What it is.
    pub role: String,
    /// What it is used as.
    pub kind: Kind,
    /// Owner and repository on the hub.
    pub repo: String,
    /// The file in it.
    pub file: String,
    /// Its SHA-256, or the first digits of it, where they are known from elsewhere. Any other file is
    /// checked against the hash that the hub itself states for it.
    #[serde(default)]
    pub sha256_start: String,
    /// About how many million bytes it has, where that is known: told before the hub is asked.
    #[serde(default)]
    pub megabytes: Option<u64>,
    /// Its licence.
    pub licence: String,
    /// Never downloaded unless named.
    #[serde(default)]
    pub non_commercial: bool,
    /// Part of the recommended set.
    #[serde(default)]
    pub recommended: bool,
}

/// What a model is used as. Prompts use LoRAs and embeddings by name, which then is their file's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// A whole SD 1.5.
    Checkpoint,
    /// The Tile ControlNet.
    Controlnet,
    /// In place of the checkpoint's.
    Vae,
    /// An ESRGAN.
    Upscaler,
    /// As `<lora:name>`.
    Lora,
    /// As a word.
    Embedding,
}

/// All of it.
pub fn manifest() -> Manifest {
    serde_json::from_str(include_str!("../../../../assets/models.json"))
        .expect("the built-in list is well-formed")
}

/// All models.
pub fn models() -> Vec<Model> {
    manifest().models
}

#[cfg(test)]
mod tests {
    use super::Kind;

    #[test]
    fn nothing_non_commercial_is_recommended_and_names_differ() {
        let models = super::models();
        let mut named = models.iter().filter(|m| matches!(m.kind, Kind::Lora | Kind::Embedding));
        assert!(named.all(|m| m.file.starts_with(&format!("{}.", m.name))));
        assert!(models.iter().all(|m| !(m.recommended && m.non_commercial)));
        assert!(models.iter().enumerate().all(|(i, a)| models[..i].iter().all(|b| a.name != b.name)));
    }
}
