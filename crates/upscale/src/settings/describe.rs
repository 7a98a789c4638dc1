//! The settings as data, for the program's options and the page's form.

use serde::de::Visitor;
use serde::{Deserializer, Serialize};
use serde_json::{Value, json};

use super::Settings;
use crate::Preset;

/// Type of a setting's value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Any text.
    Text,
    /// A whole number.
    Integer,
    /// A number.
    Number,
    /// One of a few words.
    Choice,
    /// On or off.
    Switch,
}

/// One setting.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Field {
    /// Its name in JSON: `upscale_factor`.
    pub name: String,
    /// Type of its value.
    pub kind: Kind,
    /// Its default, as one would type it.
    pub default: String,
    /// The least and the greatest value of a number.
    pub range: Option<(f64, f64)>,
    /// The words of a choice.
    pub choices: Vec<String>,
    /// One sentence of help.
    pub help: String,
}

impl Settings {
    /// Every setting, in the order of the struct.
    pub fn describe() -> Vec<Field> {
        let schema = schemars::schema_for!(Settings).to_value();
        let defaults = serde_json::to_value(Settings::default()).expect("settings are plain data");
        let properties = schema["properties"].as_object().expect("a struct has properties");
        let mut fields: Vec<_> = properties
            .iter()
            .map(|(name, property)| field(name, property, &schema, &defaults[name]))
            .collect();
        // Schemas are sorted by name; people expect the order in which the settings are declared.
        fields.sort_by_key(|field| Self::names().position(|name| name == field.name));
        fields
    }

    /// Every setting's name, in the order of the struct.
    pub fn names() -> impl Iterator<Item = &'static str> {
        let mut names: &[&str] = &[];
        // It fails, having nothing to read; by then it has said what it looks for.
        let _ = Self::deserialize(Names(&mut names));
        names.iter().copied()
    }
}

/// Data for a form: `{ version, fields, presets }`, the settings as [`Settings::describe`] has them and the
/// built-in presets as `{ name, about, settings }`.
pub fn description() -> Value {
    let preset = |name| {
        Preset::built_in(name).map(|p| json!({ "name": name, "about": p.about, "settings": p.settings }))
    };
    let presets: Vec<Value> = Preset::names().filter_map(preset).collect();
    json!({ "version": env!("CARGO_PKG_VERSION"), "fields": Settings::describe(), "presets": presets })
}

/// Deserializer that has nothing to read, and notes the names of the fields that a struct asks for.
struct Names<'a>(&'a mut &'static [&'static str]);

impl<'de> Deserializer<'de> for Names<'_> {
    type Error = serde::de::value::Error;

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Self::Error> {
        Err(serde::de::Error::custom("there is nothing to read"))
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Self::Error> {
        *self.0 = fields;
        self.deserialize_any(visitor)
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit unit_struct
        newtype_struct seq tuple tuple_struct map enum identifier ignored_any
    }
}

fn field(name: &str, property: &Value, schema: &Value, default: &Value) -> Field {
    let choices = choices(property, schema);
    let kind = match property["type"].as_str() {
        Some("string") => Kind::Text,
        Some("integer") => Kind::Integer,
        Some("number") => Kind::Number,
        Some("boolean") => Kind::Switch,
        _ => Kind::Choice,
    };
    Field {
        name: name.to_owned(),
        kind,
        default: default.as_str().map_or_else(|| default.to_string(), str::to_owned),
        range: property["minimum"].as_f64().zip(property["maximum"].as_f64()),
        choices,
        help: property["description"].as_str().unwrap_or_default().replace('\n', " "),
    }
}

/// The words of the enum that `property` refers to.
fn choices(property: &Value, schema: &Value) -> Vec<String> {
    let Some(name) = property["$ref"].as_str().and_then(|r| r.rsplit('/').next()) else { return Vec::new() };
    let definition = &schema["$defs"][name];
    let listed = definition["enum"].as_array().into_iter().flatten();
    let documented = definition["oneOf"].as_array().into_iter().flatten();
    let mut words: Vec<String> = listed.filter_map(Value::as_str).map(str::to_owned).collect();
    words.extend(documented.filter_map(|one| one["const"].as_str()).map(str::to_owned));
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_setting_is_described() {
        let fields = Settings::describe();
        assert_eq!(fields[0].name, "upscale_factor");
        assert_eq!(fields[0].range, Some((1.0, 16.0)));
        for field in &fields {
            assert!(!field.help.is_empty(), "{}", field.name);
            match field.kind {
                Kind::Integer | Kind::Number => assert!(field.range.is_some(), "{}", field.name),
                Kind::Choice => assert!(field.choices.contains(&field.default), "{}", field.name),
                Kind::Text | Kind::Switch => {}
            }
        }
    }
}
