//! The networks of a run, loaded.

use std::future::poll_fn;
use std::path::PathBuf;
use std::task::Poll;

use burn::tensor::{DType, Tensor, TensorData};
use clarifier_kernels::AttentionBudget;
use clarifier_model::clip::ClipTextEncoder;
use clarifier_model::controlnet::ControlNet;
use clarifier_model::embedding::Embedding;
use clarifier_model::esrgan::Esrgan;
use clarifier_model::files::{
    Component, ComponentFile, FileError, FileKind, Source, TensorFile, component, identify, open,
};
use clarifier_model::loader::{self, LoadError, Placement, Weights};
use clarifier_model::lora::merge;
use clarifier_model::tokenizer::ClipTokenizer;
use clarifier_model::unet::UNet;
use clarifier_model::vae::Vae;

use crate::adapters::{LoraChoice, open_embeddings, open_loras};
use crate::device::Backend;
use crate::enlarge::Enlarger;
use crate::{Error, Event, Observer};

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

impl std::str::FromStr for UpscalerChoice {
    type Err = std::convert::Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(match text {
            "lite" => Self::Lite,
            "lanczos" => Self::Lanczos,
            path => Self::File(PathBuf::from(path).into()),
        })
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

/// The diffusion networks.
pub struct Diffusion {
    /// Text to tokens.
    pub tokenizer: ClipTokenizer,
    /// Tokens to embeddings, in f32.
    pub text_encoder: ClipTextEncoder,
    /// Words that files give a meaning.
    pub embeddings: Vec<Embedding>,
    /// The noise predictor.
    pub unet: UNet,
    /// What holds it to the picture.
    pub controlnet: ControlNet,
    /// Pictures to latents and back, in f32: in f16 it overflows on some pictures.
    pub vae: Vae,
    /// The type that UNet and ControlNet compute in.
    pub dtype: DType,
    pub(crate) paths: DiffusionPaths,
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
            Some(paths) => Some(Diffusion::load(backend, backend.dtype, paths, observe).await?),
            None => None,
        };
        Ok(Self { backend: backend.clone(), enlarger, diffusion })
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
        let placement = placement(backend, DType::F32);
        match upscaler {
            UpscalerChoice::Lanczos => Ok(Self::Lanczos),
            UpscalerChoice::Lite => Ok(Self::lite(&placement)),
            UpscalerChoice::File(source) => {
                let file = open(source)?;
                let name = source.display().to_string();
                let kind = identify(&*file);
                if !matches!(kind, FileKind::Esrgan | FileKind::Unknown) {
                    let wanted = "--upscaler takes an ESRGAN file, or lite, or lanczos".into();
                    return Err(FileError::WrongKind { name, is: kind, wanted }.into());
                }
                let part = ComponentFile { file, config: None, name };
                let network = network("upscaler", &part, &placement, observe, |w, _| Esrgan::load(w));
                Ok(Self::Network(network.await?))
            }
        }
    }
}

fn placement(backend: &Backend, dtype: DType) -> Placement {
    Placement { device: backend.device.clone(), dtype, attention: backend.attention }
}

impl Diffusion {
    /// Whether the networks are of one kind of model, so that what one gives the next can take.
    fn check(&self) -> Result<(), Error> {
        let (unet, control) = (&self.unet.config, &self.controlnet.config);
        let (text, width) = (self.text_encoder.width(), unet.cross_attention_dim);
        if text != width {
            return Err(Error::TextWidth { text, unet: width });
        }
        let misfit = |what: &str| Err(Error::Misfit { what: what.to_owned() });
        if self.text_encoder.positions() < clarifier_model::tokenizer::CHUNK {
            return misfit("the text encoder takes fewer than 77 tokens");
        }
        let shape = |c: &clarifier_model::config::UNetConfig| {
            (c.block_out_channels.clone(), c.layers_per_block, c.cross_attention_dim, c.in_channels)
        };
        if shape(unet) != shape(control) {
            return misfit("the ControlNet is made for another UNet than the checkpoint's");
        }
        if self.vae.config.latent_channels != unet.in_channels || self.vae.factor() != 8 {
            return misfit("the VAE's latents are not those that the checkpoint's UNet redraws");
        }
        Ok(())
    }

    /// What UNet and ControlNet compute in: `f32` or `f16`.
    pub fn precision(&self) -> &'static str {
        if self.dtype == DType::F16 { "f16" } else { "f32" }
    }

    /// Load them again, all to compute in f32.
    ///
    /// # Errors
    /// As [`Models::load`].
    pub(crate) async fn reload(&mut self, backend: &Backend, observe: Observer<'_>) -> Result<(), Error> {
        let paths = self.paths.clone();
        *self = Self::load(backend, DType::F32, &paths, observe).await?;
        Ok(())
    }

    /// Load the networks, UNet and ControlNet to compute in `dtype`.
    ///
    /// # Errors
    /// As [`Models::load`].
    pub async fn load(
        backend: &Backend,
        dtype: DType,
        paths: &DiffusionPaths,
        observe: Observer<'_>,
    ) -> Result<Self, Error> {
        let (half, full) = (placement(backend, dtype), placement(backend, DType::F32));
        // All files are opened before the first byte of weights is read: a wrong one is found at once.
        let mut text = component(&paths.checkpoint, Component::TextEncoder)?;
        let mut unet = component(&paths.checkpoint, Component::UNet)?;
        let vae = component(paths.vae.as_ref().unwrap_or(&paths.checkpoint), Component::Vae)?;
        let controlnet = component(&paths.controlnet, Component::ControlNet)?;
        let embeddings = open_embeddings(&paths.embeddings, token_width(&*text.file))?;
        let merged = merge(text.file, unet.file, &open_loras(&paths.loras)?)?;
        (text.file, unet.file) = (merged.text_encoder, merged.unet);
        for message in merged.warnings {
            if observe(Event::Warning { message }).is_break() {
                return Err(Error::Cancelled);
            }
        }
        let text_encoder = network("text encoder", &text, &full, observe, |w, c| {
            ClipTextEncoder::load(w, c.config.as_ref())
        });
        let text_encoder = text_encoder.await?;
        let vae = network("vae", &vae, &full, observe, |w, c| Vae::load(w, c.config.as_ref())).await?;
        let controlnet =
            network("controlnet", &controlnet, &half, observe, |w, c| ControlNet::load(w, c.config.as_ref()));
        let controlnet = controlnet.await?;
        let unet = network("unet", &unet, &half, observe, |w, c| UNet::load(w, c.config.as_ref())).await?;
        let diffusion = Self {
            tokenizer: ClipTokenizer::new(),
            text_encoder,
            embeddings,
            vae,
            controlnet,
            unet,
            dtype,
            paths: paths.clone(),
        };
        diffusion.check()?;
        Ok(diffusion)
    }
}

/// How many values the text encoder in `file` has for each token.
fn token_width(file: &dyn TensorFile) -> usize {
    let table = file.tensors().get("text_model.embeddings.token_embedding.weight");
    table.and_then(|info| info.shape.get(1)).copied().unwrap_or_default()
}

/// Build a network of `part`, telling of its progress.
async fn network<N>(
    network: &'static str,
    part: &ComponentFile,
    placement: &Placement,
    observe: Observer<'_>,
    build: impl Fn(Weights, &ComponentFile) -> Result<N, LoadError>,
) -> Result<N, Error> {
    let tell = &mut |bytes, total| observe(Event::Load { network: network.into(), bytes, total });
    let loaded = loader::load(&*part.file, &part.name, placement, |weights| build(weights, part), tell);
    loaded.await.map_err(|error| match error {
        LoadError::Cancelled => Error::Cancelled,
        other => other.into(),
    })
}

impl Backend {
    /// A tensor on the device.
    pub(crate) fn tensor<const D: usize>(
        &self,
        values: Vec<f32>,
        dims: [usize; D],
        dtype: DType,
    ) -> Tensor<D> {
        Tensor::from_data(TensorData::new(values, dims), (&self.device, dtype))
    }

    /// For tests: burn's CPU backend.
    pub fn flex() -> Self {
        Self {
            device: burn::tensor::Device::flex(),
            dtype: DType::F32,
            attention: AttentionBudget::default(),
            adapter: None,
            reason: "CPU".into(),
        }
    }
}

/// Lets whoever polls do something else first. A GPU is waited for anyway, a CPU is not: without this a
/// page would not hear of anything before all is done.
async fn breathe() {
    let mut breathed = false;
    poll_fn(|context| {
        if std::mem::replace(&mut breathed, true) {
            return Poll::Ready(());
        }
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// The values of a tensor, on the host, in f32.
pub(crate) async fn read<const D: usize>(tensor: Tensor<D>) -> Result<Vec<f32>, Error> {
    breathe().await;
    let data = tensor.into_data_async().await.map_err(|e| Error::Device(e.to_string()))?;
    data.convert::<f32>().try_into_vec::<f32>().map_err(|e| Error::Device(format!("{e:?}")))
}
