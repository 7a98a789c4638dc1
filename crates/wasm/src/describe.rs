//! What the page makes its form of.

use clarifier_upscale::{Field, Kind, Preset, Settings};
use serde_json::{Value, json};

pub fn describe() -> Value {
    let presets: Vec<Value> = Preset::names()
        .filter_map(|name| Preset::built_in(name).map(|preset| (name, preset)))
        .map(|(name, preset)| json!({ "name": name, "about": preset.about, "settings": preset.settings }))
        .collect();
    let fields: Vec<Value> = Settings::describe().into_iter().map(field).collect();
    json!({ "version": env!("CARGO_PKG_VERSION"), "fields": fields, "presets": presets })
}

fn field(field: Field) -> Value {
    let Field { name, option, kind, default, range, choices, help } = field;
    let kind = match kind {
        Kind::Text => "text",
        Kind::Integer => "integer",
        Kind::Number => "number",
        Kind::Choice => "choice",
        Kind::Switch => "switch",
    };
    let range = range.map(|(min, max)| [min, max]);
    json!({ "name": name, "option": option, "kind": kind, "default": default, "range": range, "choices": choices, "help": help })
}
