//! The scales of files whose alpha is not among their tensors: peft's `adapter_config.json`, diffusers'
//! metadata in the safetensors header.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Map, Value};

use crate::files::{Beside, FileError, Source};

/// What a configuration says of one network's alphas and ranks.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct AdapterConfig {
    r: Option<f32>,
    #[serde(alias = "alpha")]
    lora_alpha: Option<f32>,
    /// By the end of the module's name.
    alpha_pattern: BTreeMap<String, f32>,
    rank_pattern: BTreeMap<String, f32>,
    /// alpha / √rank.
    use_rslora: bool,
}

impl AdapterConfig {
    /// peft's, beside the file; none if there is none.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn beside(source: &Source) -> Result<Option<Self>, FileError> {
        let Some(Beside { name, content }) = source.beside("adapter_config.json")? else { return Ok(None) };
        let damaged =
            |e| FileError::Damaged { name, reason: format!("no adapter_config.json of peft's ({e})") };
        serde_json::from_slice(&content).map(Some).map_err(damaged)
    }

    /// diffusers', of the network `part` (`unet`, `text_encoder`), from the `lora_adapter_metadata` of
    /// the file's header: `{"unet.r": 4, "unet.lora_alpha": 8, …}`.
    pub fn of_part(metadata: &str, part: &str) -> Option<Self> {
        let all: Map<String, Value> = serde_json::from_str(metadata).ok()?;
        let prefix = format!("{part}.");
        let of_part: Map<_, _> =
            all.into_iter().filter_map(|(k, v)| Some((k.strip_prefix(&prefix)?.to_owned(), v))).collect();
        if of_part.is_empty() { None } else { serde_json::from_value(Value::Object(of_part)).ok() }
    }

    /// What the change of `module` is multiplied by; none if the configuration has no alpha, or is of a
    /// file with other ranks. LoKr without factors has no `rank` of its own, and peft scales it alike.
    pub fn scale(&self, module: &str, rank: Option<usize>) -> Option<f32> {
        let of = |patterns: &BTreeMap<String, f32>| {
            let fits = |end: &String| module == end || module.ends_with(&format!(".{end}"));
            patterns.iter().find(|(end, _)| fits(end)).map(|(_, value)| *value)
        };
        let expected = of(&self.rank_pattern).or(self.r)?;
        let rank = rank.map_or(expected, |rank| rank as f32);
        let alpha = of(&self.alpha_pattern).or(self.lora_alpha)?;
        if expected != rank {
            return None;
        }
        Some(alpha / if self.use_rslora { rank.sqrt() } else { rank })
    }
}

#[cfg(test)]
mod tests {
    use super::AdapterConfig;

    #[test]
    fn patterns_come_before_the_whole() {
        let json = r#"{"peft_type":"LORA","r":4,"lora_alpha":8,"alpha_pattern":{"mid.to_q":2},"rank_pattern":{"to_v":16}}"#;
        let config: AdapterConfig = serde_json::from_str(json).unwrap();
        assert_eq!(config.scale("down.to_k", Some(4)), Some(2.0));
        assert_eq!(config.scale("down.mid.to_q", Some(4)), Some(0.5));
        assert_eq!(config.scale("down.to_v", Some(16)), Some(0.5));
        // Of another file.
        assert_eq!(config.scale("down.to_k", Some(5)), None);
        let metadata = r#"{"unet.r":4,"unet.lora_alpha":8,"unet.use_rslora":true,"text_encoder.r":2}"#;
        assert_eq!(AdapterConfig::of_part(metadata, "unet").unwrap().scale("x", Some(4)), Some(4.0));
        assert_eq!(AdapterConfig::of_part(metadata, "text_encoder").unwrap().scale("x", Some(2)), None);
    }
}
