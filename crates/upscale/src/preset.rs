//! Presets: other programs' defaults, and the user's own, as data.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{Settings, SettingsError};

/// Values for some of the settings, and the models that go with them.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Preset {
    /// What it is, in a line.
    pub about: String,
    /// Where its numbers are from.
    pub source: String,
    /// Names or paths with scales, `name:0.5`.
    pub loras: Vec<String>,
    /// Settings by name; the others keep their values.
    pub settings: Map<String, Value>,
}

/// The built-in ones, as JSON of `presets/` (build.rs).
const BUILT_IN: [(&str, &str); 4] = [
    ("refiners", include_str!(concat!(env!("OUT_DIR"), "/refiners.json"))),
    ("space", include_str!(concat!(env!("OUT_DIR"), "/space.json"))),
    ("clarity", include_str!(concat!(env!("OUT_DIR"), "/clarity.json"))),
    ("clarifier", include_str!(concat!(env!("OUT_DIR"), "/clarifier.json"))),
];

/// A preset that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PresetError {
    /// Neither TOML nor JSON, or an unknown field.
    #[error("it is no preset: {0}")]
    Syntax(String),
    /// A setting that does not exist, or a value that is none of its.
    #[error(transparent)]
    Settings(#[from] SettingsError),
}

impl PresetError {
    fn syntax(error: &impl std::fmt::Display) -> Self {
        Self::Syntax(error.to_string().trim().to_owned())
    }
}

impl Preset {
    /// The names of those built in.
    pub fn names() -> impl Iterator<Item = &'static str> {
        BUILT_IN.iter().map(|(name, _)| *name)
    }

    /// The one of this name.
    pub fn built_in(name: &str) -> Option<Self> {
        let (_, text) = BUILT_IN.iter().find(|(known, _)| *known == name)?;
        Some(Self::from_json(text).expect("built-in presets are tested"))
    }

    /// A preset in TOML or in JSON.
    ///
    /// # Errors
    /// [`PresetError::Syntax`], or the first setting that is wrong.
    pub fn parse(text: &str) -> Result<Self, PresetError> {
        if text.trim_start().starts_with('{') {
            return Self::from_json(text);
        }
        toml::from_str::<Self>(text).map_err(|error| PresetError::syntax(&error))?.checked()
    }

    fn from_json(text: &str) -> Result<Self, PresetError> {
        serde_json::from_str::<Self>(text).map_err(|error| PresetError::syntax(&error))?.checked()
    }

    fn checked(self) -> Result<Self, PresetError> {
        self.apply(&mut Settings::default())?;
        Ok(self)
    }

    /// Give `settings` this preset's values.
    ///
    /// # Errors
    /// The first that is wrong.
    pub fn apply(&self, settings: &mut Settings) -> Result<(), SettingsError> {
        for (name, value) in &self.settings {
            let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            settings.set(name, &text)?;
        }
        settings.validate()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{HintSource, SolverKind};

    #[test]
    fn the_built_in_ones_are_whole_and_named() {
        for name in Preset::names() {
            let preset = Preset::built_in(name).unwrap();
            assert!(!preset.about.is_empty() && !preset.source.is_empty(), "{name}");
        }
        let applied = |name: &str| {
            let mut settings = Settings::default();
            Preset::built_in(name).unwrap().apply(&mut settings).unwrap();
            settings
        };
        assert_eq!((applied("space").solver, applied("space").controlnet_decay), (SolverKind::Ddim, 1.0));
        assert_eq!((applied("clarity").seed, applied("clarity").hint), (1337, HintSource::Input));
        assert_eq!(
            (applied("clarifier").upscale_factor, applied("clarifier").num_inference_steps),
            (4.0, 100)
        );
        assert_eq!(applied("refiners").colour_lock, 0.0);
    }

    #[test]
    fn a_users_own_may_be_toml_or_json_and_mistakes_are_named() {
        let toml = Preset::parse("[settings]\nupscale_factor = 3\ntile_jitter = true\n").unwrap();
        let json = Preset::parse(r#"{"settings": {"upscale_factor": 3, "tile_jitter": true}}"#).unwrap();
        assert_eq!(toml, json);
        for (bad, says) in [
            ("[settings]\nstrenght = 1\n", "strenght"),
            ("[settings]\nupscale_factor = 99\n", "`upscale_factor` 99"),
            ("[setings]\n", "setings"),
            ("hello", "no preset"),
            ("{\"settings\": 1}", "no preset"),
        ] {
            let message = Preset::parse(bad).unwrap_err().to_string();
            assert!(message.contains(says), "{message}");
        }
    }
}
