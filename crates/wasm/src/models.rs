//! The command `models`: devices and networks.

use std::sync::Arc;

use clarifier_model::files::Source;
use clarifier_upscale::device::{Backend, DeviceChoice, Precision, choose as start_device};
use clarifier_upscale::{Diffusion, DiffusionPaths, Enlarger, Error, LoraChoice, Models, UpscalerChoice};
use js_sys::{Array, Function};
use serde::Deserialize;
use serde_json::json;
use wasm_bindgen::JsCast;

use crate::browser::{Blob, UsersFile};
use crate::engine::{ENGINE, Loaded, cancellable, teller};
use crate::{Answer, failed};

/// What the page chose; files are numbers.
#[derive(Deserialize)]
struct Choice {
    upscaler: Upscaler,
    checkpoint: Option<usize>,
    controlnet: Option<usize>,
    vae: Option<usize>,
    #[serde(default)]
    loras: Vec<Lora>,
    #[serde(default)]
    embeddings: Vec<usize>,
    device: String,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Upscaler {
    File(usize),
    BuiltIn(String),
}

#[derive(Deserialize)]
struct Lora {
    file: usize,
    scale: f32,
}

impl Choice {
    fn upscaler(&self, files: &[Source]) -> Answer<UpscalerChoice> {
        match &self.upscaler {
            Upscaler::File(index) => Ok(UpscalerChoice::File(files[*index].clone())),
            Upscaler::BuiltIn(name) => UpscalerChoice::built_in(name).ok_or_else(|| {
                let known = UpscalerChoice::BUILT_IN.map(|(known, _)| known).join(", ");
                failed(format!("unknown upscaler {name:?}; expected {known} or a file"))
            }),
        }
    }

    fn paths(&self, files: &[Source]) -> Answer<Option<DiffusionPaths>> {
        let file = |index: usize| files[index].clone();
        // A set in one file has its own.
        let within = || self.checkpoint.filter(|index| DiffusionPaths::has_controlnet(&files[*index]));
        match (self.checkpoint, self.controlnet.or_else(within)) {
            (Some(checkpoint), Some(controlnet)) => Ok(Some(DiffusionPaths {
                checkpoint: file(checkpoint),
                controlnet: file(controlnet),
                vae: self.vae.map(file),
                loras: self.loras.iter().map(|lora| LoraChoice::new(file(lora.file), lora.scale)).collect(),
                embeddings: self.embeddings.iter().copied().map(file).collect(),
            })),
            (Some(_), None) => Err(failed("a checkpoint needs a Tile ControlNet beside it; choose one too")),
            (None, Some(_)) => Err(failed("a ControlNet needs a checkpoint beside it; choose one too")),
            (None, None) => Ok(None),
        }
    }
}

/// The user's files. One that was there before is the same file: what was loaded from it stays.
fn sources(files: &Array, ids: &[String]) -> Vec<Source> {
    let before = ENGINE.with_borrow_mut(|engine| std::mem::take(&mut engine.files));
    let sources: Vec<Source> = files
        .iter()
        .zip(ids)
        .map(|(file, id)| {
            let known = before.iter().find(|(known, _)| known == id).map(|(_, source)| source.clone());
            known.unwrap_or_else(|| {
                let (file, name) = UsersFile::new(file.unchecked_into::<Blob>());
                Source::opened(name, Arc::new(file))
            })
        })
        .collect();
    let known = ids.iter().cloned().zip(sources.iter().cloned()).collect();
    ENGINE.with_borrow_mut(|engine| engine.files = known);
    sources
}

pub async fn backend(device: DeviceChoice) -> Answer<Backend> {
    let started = ENGINE.with_borrow(|engine| {
        engine.backends.iter().find(|(choice, _)| *choice == device).map(|(_, backend)| backend.clone())
    });
    if let Some(backend) = started {
        return Ok(backend);
    }
    let backend = start_device(device, Precision::Auto).await.map_err(failed)?;
    ENGINE.with_borrow_mut(|engine| engine.backends.push((device, backend.clone())));
    Ok(backend)
}

pub async fn choose(choice: &str, files: &Array, ids: &[String], tell: &Function) -> Answer<String> {
    let choice: Choice = serde_json::from_str(choice).map_err(failed)?;
    let files = sources(files, ids);
    let (upscaler, paths) = (choice.upscaler(&files)?, choice.paths(&files)?);
    let device: DeviceChoice = choice.device.parse().map_err(failed)?;
    let backend = backend(device).await?;
    let before = ENGINE.with_borrow_mut(|engine| engine.loaded.take()).filter(|l| l.device == device);
    let (enlarger, diffusion) = match before {
        None => (None, None),
        Some(Loaded { models, upscaler: loaded, paths: loaded_paths, .. }) => (
            (loaded == upscaler).then_some(models.enlarger),
            models.diffusion.filter(|_| loaded_paths == paths),
        ),
    };
    let observe = &mut teller(tell);
    let loading = async {
        let enlarger = match enlarger {
            Some(enlarger) => enlarger,
            None => Enlarger::load(&backend, &upscaler, observe).await?,
        };
        let diffusion = match (diffusion, &paths) {
            (Some(diffusion), _) => Some(diffusion),
            (None, Some(paths)) => Some(Diffusion::load(&backend, backend.dtype, paths, observe).await?),
            (None, None) => None,
        };
        Ok::<_, Error>(Models { backend: backend.clone(), enlarger, diffusion })
    };
    let models = cancellable(loading).await.map_err(failed)?;
    let answer = json!({ "upscaler": upscaler.name(), "diffusion": models.diffusion.is_some(), "gpu": backend.adapter.is_some() });
    ENGINE.with_borrow_mut(|engine| engine.loaded = Some(Loaded { models, device, upscaler, paths }));
    Ok(answer.to_string())
}
