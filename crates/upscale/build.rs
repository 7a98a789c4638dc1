//! The built-in tables, which people write in TOML, as JSON: the engine reads that anyway, and the page's has no parser of TOML.

use std::path::PathBuf;
use std::{env, fs};

const TABLES: [&str; 5] = [
    "presets/refiners.toml",
    "presets/space.toml",
    "presets/clarity.toml",
    "presets/clarifier.toml",
    "known_bad.toml",
];

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let folder = PathBuf::from(env::var_os("OUT_DIR").expect("cargo says where"));
    for table in TABLES {
        println!("cargo::rerun-if-changed={table}");
        let text = fs::read_to_string(table).unwrap_or_else(|error| panic!("{table}: {error}"));
        let value: serde_json::Value =
            toml::from_str(&text).unwrap_or_else(|error| panic!("{table}: {error}"));
        let name = PathBuf::from(table).with_extension("json");
        let name = name.file_name().expect("a file's");
        fs::write(folder.join(name), value.to_string()).unwrap_or_else(|error| panic!("{table}: {error}"));
    }
}
