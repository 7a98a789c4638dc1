//! The model store: the Hugging Face cache, shared with the ecosystem's other tools.

mod cache;
mod download;
mod http;
mod manifest;
mod verify;

use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use clap::ArgMatches;
use indicatif::DecimalBytes;

use cache::Cache;
pub use manifest::Kind;
use manifest::Model;

use crate::starter;

/// A model's file, if it is here.
pub fn find(name: &str) -> Option<PathBuf> {
    let model = manifest::models().into_iter().find(|m| m.name == name)?;
    Cache::from_environment().ok()?.find(&model)
}

/// The file of this name, if it is a model's that is here.
pub fn by_file_name(name: &str) -> Option<PathBuf> {
    let cache = Cache::from_environment().ok()?;
    let named = |model: &Model| model.file.rsplit('/').next() == Some(name);
    manifest::models().iter().filter(|model| named(model)).find_map(|model| cache.find(model))
}

/// The LoRAs or embeddings that the store knows: what prompts call them, and their files if they are
/// here.
pub fn of_kind(kind: Kind) -> Vec<(String, Option<PathBuf>)> {
    let cache = Cache::from_environment().ok();
    let models = manifest::models().into_iter().filter(|model| model.kind == kind);
    models.map(|model| (model.name.clone(), cache.as_ref().and_then(|cache| cache.find(&model)))).collect()
}

/// `clarifier models …`.
pub fn command(matches: &ArgMatches) -> Result<()> {
    let (verb, matches) = matches.subcommand().expect("clap asks for one");
    let names: Vec<&String> = matches.try_get_many("name").ok().flatten().into_iter().flatten().collect();
    let cache = Cache::from_environment()?;
    match verb {
        "list" => list(&cache),
        "pull" => return pull(&cache, &chosen(&names, |m| m.recommended && !m.non_commercial)?),
        "path" if names.is_empty() => outln!("{}", cache.folder().display()),
        "path" => {
            for model in chosen(&names, |_| false)? {
                match cache.find(&model) {
                    Some(path) => outln!("{}", path.display()),
                    None => bail!(
                        "{} is not here; `clarifier models pull {}` downloads it",
                        model.name,
                        model.name
                    ),
                }
            }
        }
        _ => return verify::verify(&cache, &chosen(&names, |m| cache.find(m).is_some())?),
    }
    Ok(())
}

/// The models of these names, or those that `default` picks where no name is given.
fn chosen(names: &[&String], default: impl Fn(&Model) -> bool) -> Result<Vec<Model>> {
    let all = manifest::models();
    if names.is_empty() {
        return Ok(all.into_iter().filter(default).collect());
    }
    names
        .iter()
        .map(|name| {
            let known: Vec<_> = all.iter().map(|m| m.name.as_str()).collect();
            let found = all.iter().find(|m| m.name == **name).cloned();
            found.ok_or_else(|| anyhow::anyhow!("there is no model {name:?}; there are {}", known.join(", ")))
        })
        .collect()
}

fn list(cache: &Cache) {
    let size = DecimalBytes(starter::BYTES.len() as u64).to_string();
    let role = "the small diffusion set: UNet, ControlNet, VAE, text encoder (MIT or Apache-2.0)";
    outln!("{:<22} {:<5} {:<12} {size:>9}  {role}", starter::NAME, "here", "built in");
    for model in manifest::models() {
        let state = if cache.find(&model).is_some() { "here" } else { "-" };
        let set = if model.recommended { "recommended" } else { "" };
        let size = model.megabytes.map_or(String::new(), |mb| DecimalBytes(mb * 1_000_000).to_string());
        outln!("{:<22} {state:<5} {set:<12} {size:>9}  {} ({})", model.name, model.role, model.licence);
    }
}

/// Download each, its licence first.
fn pull(cache: &Cache, models: &[Model]) -> Result<()> {
    for model in models {
        outln!("{}: {}, from {}", model.name, model.role, model.repo);
        let note = if model.non_commercial { " (NOT for commercial use)" } else { "" };
        outln!("  licence: {}{note}", model.licence);
        let path = download::pull(cache, model).with_context(|| model.name.clone())?;
        outln!("  {}", path.display());
    }
    Ok(())
}
