//! From what the user names, a folder or a file, to the tensors of one network under diffusers' names.

use std::path::{Path, PathBuf};

use serde_json::Value;

use super::{Beside, FileError, FileKind, Renamed, Source, TensorFile, identify, ldm, open, scheduler, set};

/// One of the networks of a checkpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Component {
    /// The noise predictor.
    UNet,
    /// The autoencoder.
    Vae,
    /// CLIP's.
    TextEncoder,
    /// The Tile ControlNet.
    ControlNet,
}

impl Component {
    /// Its folder in a diffusers checkpoint.
    pub(super) fn folder(self) -> &'static str {
        match self {
            Self::UNet => "unet",
            Self::Vae => "vae",
            Self::TextEncoder => "text_encoder",
            Self::ControlNet => "controlnet",
        }
    }

    /// The names of its file there, the best first.
    fn files(self) -> &'static [&'static str] {
        match self {
            Self::TextEncoder => &[
                "model.safetensors",
                "model.safetensors.index.json",
                "model.fp16.safetensors",
                "model.safetensors.index.fp16.json",
                "pytorch_model.bin",
                "pytorch_model.bin.index.json",
                "pytorch_model.fp16.bin",
            ],
            _ => &[
                "diffusion_pytorch_model.safetensors",
                "diffusion_pytorch_model.safetensors.index.json",
                "diffusion_pytorch_model.fp16.safetensors",
                "diffusion_pytorch_model.safetensors.index.fp16.json",
                "diffusion_pytorch_model.bin",
                "diffusion_pytorch_model.bin.index.json",
                "diffusion_pytorch_model.fp16.bin",
            ],
        }
    }

    /// Whether a `config.json` is this network's, as far as it says: a folder may hold several files.
    fn owns(self, config: &Value) -> bool {
        let classes: &[&str] = match self {
            Self::UNet => &["UNet2DConditionModel"],
            Self::Vae => &["AutoencoderKL", "AutoencoderTiny"],
            Self::ControlNet => &["ControlNetModel"],
            // transformers' configurations name no class, or several.
            Self::TextEncoder => return config.get("_class_name").is_none(),
        };
        config.get("_class_name").and_then(Value::as_str).is_none_or(|name| classes.contains(&name))
    }

    /// What is said to a user who gave something else.
    fn wanted(self) -> &'static str {
        match self {
            Self::UNet | Self::TextEncoder => {
                "`checkpoint` takes a Stable Diffusion 1.5 model, a diffusers folder or a single file"
            }
            Self::Vae => "`vae` takes a Stable Diffusion 1.x VAE",
            Self::ControlNet => "`controlnet` takes an SD 1.5 ControlNet, best the tile one",
        }
    }
}

/// The tensors of one network.
pub struct ComponentFile {
    /// Under diffusers' names.
    pub file: Box<dyn TensorFile>,
    /// What `config.json` says, if there is one.
    pub config: Option<Value>,
    /// Training of a UNet in the form of diffusers' `scheduler_config.json`; none if no file describes it.
    pub scheduler: Option<Value>,
    /// Whether it is one of a set of all networks in one file.
    pub is_set: bool,
    /// The file, for messages.
    pub name: String,
}

/// The tensors of `component` in what is at `path`: a diffusers folder, the component's own folder,
/// a single file of either layout, or a set of all networks in one file.
///
/// # Errors
/// [`FileError`]; a file of another kind is named as what it is.
pub fn component(source: impl Into<Source>, component: Component) -> Result<ComponentFile, FileError> {
    let source = source.into();
    let source = if source.bytes().is_none() && source.is_dir() {
        in_folder(&source, component)?.into()
    } else {
        source
    };
    let name = source.display().to_string();
    let file = open(&source)?;
    let kind = identify(&*file);
    let scheduler = match component {
        Component::UNet => scheduler::config(&source, &*file, kind)?,
        _ => None,
    };
    let wrong = |is| FileError::WrongKind { name: name.clone(), is, wanted: component.wanted().into() };
    use {Component as C, FileKind as K};
    // A file of LDM's layout has none of its own: one beside it belongs to something else.
    let config = match kind {
        K::Checkpoint | K::LdmControlNet | K::LdmVae => None,
        K::Set => set::config(&*file, component, &name)?,
        _ => read_config(&source)?.filter(|json| component.owns(json)),
    };
    let (file, config): (Box<dyn TensorFile>, _) = match (component, kind) {
        (C::TextEncoder, K::Set) => {
            (Box::new(Renamed::new(file, |key| text_key(key, "text_encoder."))), config)
        }
        (_, K::Set) => (Box::new(Renamed::new(file, move |key| set::key(key, component))), config),
        (C::UNet, K::UNet) | (C::ControlNet, K::ControlNet) => (file, config),
        (C::TextEncoder, K::TextEncoder) => (Box::new(Renamed::new(file, |key| text_key(key, ""))), config),
        (C::Vae, K::Vae) => (Box::new(Renamed::new(file, |key| Some(ldm::modern_vae(key)))), config),
        (C::UNet, K::Checkpoint) => {
            let layers = layers(&*file, "model.diffusion_model.");
            (prefixed(file, "model.diffusion_model.", move |key| ldm::unet(key, layers)), None)
        }
        (C::ControlNet, K::LdmControlNet) => {
            let prefix = if file.tensors().keys().any(|k| k.starts_with("control_model.")) {
                "control_model."
            } else {
                ""
            };
            let layers = layers(&*file, prefix);
            (prefixed(file, prefix, move |key| ldm::controlnet(key, layers)), None)
        }
        (C::Vae, K::Checkpoint | K::LdmVae) => {
            let prefix = if file.tensors().keys().any(|k| k.starts_with("first_stage_model.")) {
                "first_stage_model."
            } else {
                ""
            };
            let levels = (0..).take_while(|i| has(&*file, &format!("{prefix}decoder.up.{i}."))).count();
            (prefixed(file, prefix, move |key| ldm::vae(key, levels)), None)
        }
        (C::TextEncoder, K::Checkpoint) => {
            (Box::new(Renamed::new(file, |key| text_key(key, "cond_stage_model.transformer."))), None)
        }
        (_, kind) => return Err(wrong(kind)),
    };
    if file.tensors().is_empty() {
        return Err(FileError::NotFound {
            name,
            wanted: format!("{} (tensors of that network)", component.folder()),
        });
    }
    Ok(ComponentFile { file, config, scheduler, is_set: kind == K::Set, name })
}

fn in_folder(path: &Path, component: Component) -> Result<PathBuf, FileError> {
    [path.join(component.folder()), path.to_owned()]
        .iter()
        .flat_map(|folder| component.files().iter().map(move |file| folder.join(file)))
        .find(|file| file.is_file())
        .ok_or_else(|| FileError::NotFound {
            name: path.display().to_string(),
            wanted: format!("{}/{}", component.folder(), component.files()[0]),
        })
}

fn read_config(source: &Source) -> Result<Option<Value>, FileError> {
    let Some(Beside { name, content }) = source.beside("config.json")? else { return Ok(None) };
    let damaged = |e: serde_json::Error| FileError::Damaged { name, reason: format!("not JSON ({e})") };
    serde_json::from_slice(&content).map(Some).map_err(damaged)
}

fn has(file: &dyn TensorFile, start: &str) -> bool {
    file.tensors().range(start.to_owned()..).next().is_some_and(|(key, _)| key.starts_with(start))
}

/// Residual blocks of each level: the first halving comes after them.
fn layers(file: &dyn TensorFile, prefix: &str) -> usize {
    (1..16).find(|n| has(file, &format!("{prefix}input_blocks.{n}.0.op."))).map_or(2, |n| n - 1)
}

fn prefixed(
    file: Box<dyn TensorFile>,
    prefix: &'static str,
    rename: impl Fn(&str) -> Option<String>,
) -> Box<dyn TensorFile> {
    // A key that the table does not know keeps its name, and is then reported as unknown.
    Box::new(Renamed::new(file, |key| {
        let key = key.strip_prefix(prefix)?;
        let elsewhere = prefix.is_empty() && key.starts_with("model_ema.");
        let loss = key.starts_with("loss.") || key.starts_with("model_ema");
        (!elsewhere && !loss).then(|| rename(key).unwrap_or_else(|| key.to_owned()))
    }))
}

/// A text encoder's key, with its `text_model.`; what is not a weight is left out.
fn text_key(key: &str, prefix: &str) -> Option<String> {
    let key = key.strip_prefix(prefix)?;
    let key = key.strip_prefix("text_model.").unwrap_or(key);
    let part = ["embeddings.", "encoder.", "final_layer_norm."].iter().any(|start| key.starts_with(start));
    (part && !key.ends_with("position_ids")).then(|| format!("text_model.{key}"))
}
