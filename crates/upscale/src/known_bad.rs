//! Drivers that compute something wrong, and what to take instead: `known_bad.toml`.

use clarifier_kernels::AttentionBudget;
use serde::{Deserialize, Serialize};

use crate::device::{AdapterInfo, Backend};

/// What is taken in place of what a driver gets wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Instead {
    /// f32 where f16 would be taken.
    F32,
    /// The processor.
    Cpu,
    /// Attention in parts of at most so many bytes of scores.
    AttentionBytes(u64),
}

/// A driver that gets a kernel wrong.
///
/// Names are patterns: `*` is any text, case does not matter.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// The adapter's name.
    #[serde(default = "any")]
    pub adapter: String,
    /// Its driver, with the version.
    #[serde(default = "any")]
    pub driver: String,
    /// vulkan, metal, dx12, gl or webgpu.
    #[serde(default = "any")]
    pub api: String,
    /// Only in builds that speak `SPIR-V`, or `WGSL`, to Vulkan.
    #[serde(default = "any")]
    pub shaders: String,
    /// The kernel, as the self-test names it.
    pub kernel: String,
    /// Only in `f32`, or `f16`.
    #[serde(default = "any")]
    pub precision: String,
    /// What to take.
    pub instead: Instead,
    /// What happens.
    pub what: String,
    /// Where that is known from.
    pub source: String,
}

fn any() -> String {
    "*".into()
}

/// A file of entries.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    #[serde(default)]
    entry: Vec<Entry>,
}

/// Entries in TOML.
///
/// # Errors
/// If it is none, or a field is missing or unknown.
pub fn parse(text: &str) -> Result<Vec<Entry>, toml::de::Error> {
    Ok(toml::from_str::<Table>(text)?.entry)
}

/// The entries of this program that are about an adapter.
pub fn of(adapter: &AdapterInfo) -> Vec<Entry> {
    let table = include_str!(concat!(env!("OUT_DIR"), "/known_bad.json"));
    let all: Table = serde_json::from_str(table).expect("a test reads it");
    all.entry.into_iter().filter(|entry| entry.is_about(adapter)).collect()
}

impl Entry {
    /// Whether this build has the trouble on that adapter.
    pub fn is_about(&self, adapter: &AdapterInfo) -> bool {
        let shaders = if cfg!(feature = "spirv") && adapter.api == "vulkan" { "SPIR-V" } else { "WGSL" };
        matches(&self.adapter, &adapter.name)
            && matches(&self.driver, &adapter.driver)
            && matches(&self.api, &adapter.api)
            && matches(&self.shaders, shaders)
    }

    /// The entry in a sentence.
    pub fn claim(&self) -> String {
        let Self { kernel, precision, what, source, .. } = self;
        let precision = if precision == "*" { String::new() } else { format!(" in {precision}") };
        format!("{kernel}{precision}: {what} ({source}); {} instead", self.instead.words())
    }
}

impl Instead {
    /// For sentences.
    pub fn words(self) -> String {
        match self {
            Self::F32 => "f32".into(),
            Self::Cpu => "the CPU".into(),
            Self::AttentionBytes(bytes) => format!("attention in parts of {} MiB", bytes >> 20),
        }
    }

    /// Change what a device computes in, if that is what this is about.
    pub fn apply(self, backend: &mut Backend) {
        match self {
            Self::F32 => backend.dtype = burn::tensor::DType::F32,
            Self::AttentionBytes(bytes) => {
                let score_bytes = backend.attention.score_bytes.min(bytes);
                backend.attention = AttentionBudget::in_chunks(score_bytes);
            }
            Self::Cpu => {}
        }
    }
}

/// Whether a text is of a pattern, in which `*` stands for any text; case does not matter.
pub fn matches(pattern: &str, text: &str) -> bool {
    let (pattern, text) = (pattern.to_lowercase(), text.to_lowercase());
    let mut parts = pattern.split('*');
    let Some(mut rest) = parts.next().and_then(|first| text.strip_prefix(first)) else { return false };
    let mut last = None;
    for part in parts {
        // The one before ended with a star: it takes the first place that fits.
        if let Some(before) = last.replace(part) {
            let Some(at) = rest.find(before) else { return false };
            rest = &rest[at + before.len()..];
        }
    }
    last.map_or(rest.is_empty(), |last| rest.ends_with(last))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_valid_and_every_entry_has_its_source() {
        let entries = parse(include_str!("../known_bad.toml")).unwrap();
        assert!(!entries.is_empty());
        for entry in entries {
            assert!(entry.source.starts_with("https://") || entry.source.contains(".md"), "{entry:?}");
            assert!(entry.adapter != "*" || entry.driver != "*", "about every GPU there is: {entry:?}");
        }
    }

    #[test]
    fn patterns() {
        for (pattern, text) in [
            ("*", ""),
            ("*", "x"),
            ("llvmpipe*", "llvmpipe (LLVM 15)"),
            ("*a*b", "xaxbb"),
            ("ABC", "abc"),
            ("a*a", "aa"),
        ] {
            assert!(matches(pattern, text), "{pattern} {text}");
        }
        for (pattern, text) in [("", "x"), ("a*a", "a"), ("*b", "ba"), ("a*", "ba"), ("a*b*c", "acb")] {
            assert!(!matches(pattern, text), "{pattern} {text}");
        }
    }
}
