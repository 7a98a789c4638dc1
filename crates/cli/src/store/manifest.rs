//! The models that can be downloaded: data, in `manifest.json`.

use serde::Deserialize;

/// One file on the hub.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Model {
    /// What the user types.
    pub name: String,
    /// What it is.
    pub role: String,
    /// Owner and repository on the hub.
    pub repo: String,
    /// The file in it.
    pub file: String,
    /// Its SHA-256, or the first digits of it, where they are known from elsewhere. Any other file is
    /// checked against the hash that the hub itself states for it.
    #[serde(default)]
    pub sha256_start: String,
    /// What prompts can use by its name, which then is its file's.
    #[serde(default)]
    pub kind: Option<Kind>,
    /// Its licence.
    pub licence: String,
    /// Never downloaded unless named.
    #[serde(default)]
    pub non_commercial: bool,
    /// Part of the recommended set.
    #[serde(default)]
    pub recommended: bool,
}

/// What prompts can use by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// As `<lora:name>`.
    Lora,
    /// As a word.
    Embedding,
}

/// All of them.
pub fn models() -> Vec<Model> {
    serde_json::from_str(include_str!("manifest.json")).expect("the built-in list is well-formed")
}

#[cfg(test)]
mod tests {
    #[test]
    fn nothing_non_commercial_is_recommended_and_names_differ() {
        let models = super::models();
        assert!(
            models.iter().filter(|m| m.kind.is_some()).all(|m| m.file.starts_with(&format!("{}.", m.name)))
        );
        assert!(models.iter().all(|m| !(m.recommended && m.non_commercial)));
        assert!(models.iter().enumerate().all(|(i, a)| models[..i].iter().all(|b| a.name != b.name)));
    }
}
