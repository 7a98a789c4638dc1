//! The networks of a run, loaded.

use std::path::PathBuf;

use burn::tensor::DType;
use clarifier_model::family::ModelFamily;
use clarifier_model::files::{
    Component, ComponentFile, FileError, FileKind, Source, component, identify, open,
};
use clarifier_model::loader::{self, LoadError, Placement, Weights};
use clarifier_model::upscalers;
use clarifier_model::weight::Packing;

use crate::adapters::LoraChoice;
use crate::device::Backend;
use crate::enlarge::Enlarger;
use crate::settings::ModelDefaults;
use crate::{Diffusion, Error, Event, Machine, Observer, Settings};

/// What enlarges the picture before it is redrawn.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UpscalerChoice {
    /// The built-in network.
    Lite,
    /// No network, only resampling.
    Lanczos,
    /// A file of the ESRGAN family.
    File(Source),
}

impl UpscalerChoice {
    /// What needs no file, by its name in options, forms and recipes.
    pub const BUILT_IN: [(&'static str, Self); 2] = [("lite", Self::Lite), ("lanczos", Self::Lanczos)];

    /// The built-in upscaler of this name.
    pub fn built_in(name: &str) -> Option<Self> {
        Self::BUILT_IN.into_iter().find(|(known, _)| *known == name).map(|(_, choice)| choice)
    }

    /// Its name, or its file's.
    pub fn name(&self) -> String {
        match self {
            Self::File(source) => source.display().to_string(),
            built_in => {
                let found = Self::BUILT_IN.into_iter().find(|(_, choice)| choice == built_in);
                found.map(|(name, _)| name.to_owned()).unwrap_or_default()
            }
        }
    }
}

impl std::str::FromStr for UpscalerChoice {
    type Err = std::convert::Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(Self::built_in(text).unwrap_or_else(|| Self::File(PathBuf::from(text).into())))
    }
}

/// Where the diffusion networks are.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct DiffusionPaths {
    /// SD 1.5: a diffusers folder or a single file.
    pub checkpoint: Source,
    /// The Tile ControlNet, likewise.
    pub controlnet: Source,
    /// A VAE to take in place of the checkpoint's.
    pub vae: Option<Source>,
    /// LoRAs to merge into UNet and text encoder, in this order.
    pub loras: Vec<LoraChoice>,
    /// Textual inversions, which prompts use by their files' names.
    pub embeddings: Vec<Source>,
}

impl DiffusionPaths {
    /// The family of the networks, of which only the headers are read.
    ///
    /// # Errors
    /// If a file is missing or of another kind, or the checkpoint was trained in a way that the recipe does not know.
    pub fn family(&self) -> Result<ModelFamily, FileError> {
        ModelFamily::read(&self.checkpoint, &self.controlnet, self.vae.as_ref())
    }

    /// Whether a checkpoint has a ControlNet in it: a folder, or a set in one file.
    pub fn has_controlnet(checkpoint: &Source) -> bool {
        component(checkpoint, Component::ControlNet).is_ok()
    }
}

/// The networks of a run.
pub struct Models {
    /// The device they are on.
    pub backend: Backend,
    /// Before diffusion.
    pub enlarger: Enlarger,
    /// The diffusion networks, or none for the enlarger alone.
    pub diffusion: Option<Diffusion>,
}

impl Models {
    /// `settings` with these networks' defaults for what they leave open.
    pub fn resolve(&self, settings: &Settings) -> Settings {
        let family = self.diffusion.as_ref().map(|diffusion| &diffusion.family);
        settings.resolve(family.map(ModelDefaults::of).unwrap_or_default())
    }

    /// Load the networks, one tensor at a time.
    ///
    /// # Errors
    /// If a file is missing, damaged or of another kind; [`Error::Cancelled`].
    pub async fn load(
        backend: &Backend,
        upscaler: &UpscalerChoice,
        paths: Option<&DiffusionPaths>,
        observe: Observer<'_>,
    ) -> Result<Self, Error> {
        let enlarger = Enlarger::load(backend, upscaler, observe).await?;
        let diffusion = match paths {
            Some(paths) => Some(Box::pin(Diffusion::load(backend, backend.dtype, paths, observe)).await?),
            None => None,
        };
        Ok(Self { backend: backend.clone(), enlarger, diffusion })
    }
}

impl Models {
    /// What a plan must know of the device that they are on, and of them.
    pub fn machine(&self) -> Machine {
        let machine = Machine::from(&self.backend);
        match &self.diffusion {
            Some(diffusion) => {
                let family = diffusion.family.clone();
                let Diffusion { weights, hint_budget, .. } = *diffusion;
                Machine { weights, hint_budget, family, ..machine }
            }
            _ => machine,
        }
    }
}

impl Enlarger {
    /// Load the one chosen.
    ///
    /// # Errors
    /// As [`Models::load`].
    pub async fn load(
        backend: &Backend,
        upscaler: &UpscalerChoice,
        observe: Observer<'_>,
    ) -> Result<Self, Error> {
        let placement = Placement { packing: Packing::Never, ..backend.placement(DType::F32) };
        match upscaler {
            UpscalerChoice::Lanczos => Ok(Self::Lanczos),
            UpscalerChoice::Lite => Ok(Self::lite(&placement)),
            UpscalerChoice::File(source) => {
                let file = open(source)?;
                let name = source.display().to_string();
                let kind = identify(&*file);
                if !matches!(kind, FileKind::Upscaler | FileKind::Unknown) {
                    let wanted = "`upscaler` takes an ESRGAN file, or lite, or lanczos".into();
                    return Err(FileError::WrongKind { name, is: kind, wanted }.into());
                }
                let part = ComponentFile { file, config: None, scheduler: None, is_set: false, name };
                let network = network("upscaler", &part, &placement, observe, |w, _| upscalers::load(w));
                Ok(Self::Network(network.await?.0))
            }
        }
    }
}

/// Build a network of `part`, telling of its progress; with the bytes that its weights take.
pub(crate) async fn network<N>(
    network: &'static str,
    part: &ComponentFile,
    placement: &Placement,
    observe: Observer<'_>,
    build: impl Fn(Weights, &ComponentFile) -> Result<N, LoadError>,
) -> Result<(N, u64), Error> {
    let tell = &mut |bytes, total| observe(Event::Load { network: network.into(), bytes, total });
    let loaded = loader::load(&*part.file, &part.name, placement, |weights| build(weights, part), tell);
    loaded.await.map_err(|error| match error {
        LoadError::Cancelled => Error::Cancelled,
        other => other.into(),
    })
}
