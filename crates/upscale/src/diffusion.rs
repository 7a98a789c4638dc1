//! The diffusion networks, loaded.

use std::cell::RefCell;
use std::ops::ControlFlow;

use burn::tensor::DType;
use clarifier_model::clip::ClipTextEncoder;
use clarifier_model::controlnet::ControlNet;
use clarifier_model::embedding::Embedding;
use clarifier_model::family::ModelFamily;
use clarifier_model::files::{
    Component, ComponentFile, FileError, Source, TensorFile, TensorInfo, component,
};
use clarifier_model::loader::Placement;
use clarifier_model::lora::merge;
use clarifier_model::tokenizer::ClipTokenizer;
use clarifier_model::unet::UNet;
use clarifier_model::vae::Vae;
use clarifier_model::weight::{Packing, expected_bytes};

use crate::adapters::{open_embeddings, open_loras};
use crate::device::Backend;
use crate::event::say;
use crate::models::network;
use crate::preview::Latents;
use crate::shared::{Computed, KEPT_HINTS, Shared};
use crate::{DiffusionPaths, Error, Event, Observer};

/// The diffusion networks.
pub struct Diffusion {
    /// Text to tokens.
    pub tokenizer: ClipTokenizer,
    /// Tokens to embeddings, in f32.
    pub text_encoder: ClipTextEncoder,
    /// Words that files give a meaning.
    pub embeddings: Vec<Embedding>,
    /// Pictures to latents and back, in f32: in f16 it overflows on some pictures.
    pub vae: Vae,
    /// The type that UNet and ControlNet compute in.
    pub dtype: DType,
    /// How weights that are computed with in f32 are kept.
    pub packing: Packing,
    /// Bytes that all weights take.
    pub weights: u64,
    /// What the checkpoint's files say of themselves.
    pub family: ModelFamily,
    /// Bytes of tiles' hints that a redraw may keep for later steps: [`KEPT_HINTS`] at first.
    pub hint_budget: u64,
    /// Tiles of a redraw that are computed at once: 1 at first. A plan says how many there is room for ([`Plan::tile_batch`](crate::Plan::tile_batch)).
    pub tile_batch: usize,
    /// UNet and ControlNet; none after a load of them that failed.
    pub(crate) denoiser: Option<Box<Denoiser>>,
    pub(crate) other_weights: u64,
    pub(crate) shared: RefCell<Shared>,
    pub(crate) paths: DiffusionPaths,
}

/// The networks that predict noise.
pub(crate) struct Denoiser {
    pub unet: UNet,
    /// What holds it to the picture.
    pub controlnet: ControlNet,
    /// The type that both compute in.
    pub dtype: DType,
    /// Bytes that their weights take.
    pub weights: u64,
}

impl Diffusion {
    /// Whether the networks are of one kind of model, so that what one gives the next can take.
    fn check(&self) -> Result<(), Error> {
        let networks = self.denoiser();
        let (unet, control) = (&networks.unet.config, &networks.controlnet.config);
        let (text, width) = (self.text_encoder.width(), unet.cross_attention_dim);
        if text != width {
            return Err(Error::TextWidth { text, unet: width });
        }
        let misfit = |what: &str| Err(Error::Misfit { what: what.to_owned() });
        if self.text_encoder.positions() < self.family.context {
            return misfit(&format!("the text encoder takes fewer than {} tokens", self.family.context));
        }
        let shape = |c: &clarifier_model::config::UNetConfig| {
            (c.block_out_channels.clone(), c.layers_per_block, c.cross_attention_dim, c.in_channels)
        };
        if shape(unet) != shape(control) {
            return misfit("the ControlNet is made for another UNet than the checkpoint's");
        }
        if self.vae.config.latent_channels != unet.in_channels
            || self.vae.factor() != self.family.factor as usize
        {
            return misfit("the VAE's latents are not those that the checkpoint's UNet redraws");
        }
        Ok(())
    }

    /// What its latents look like.
    pub(crate) fn latents(&self) -> Latents<'_> {
        let rgb = self.vae.config.rgb_of_latents.as_deref().or(self.family.latent_rgb.as_deref());
        Latents { rgb, factor: self.family.factor }
    }

    /// What UNet and ControlNet compute in: `f32`, `f16`, or `packed` for f32 with rounded weights.
    pub fn precision(&self) -> &'static str {
        precision(self.dtype, self.packing)
    }

    pub(crate) fn denoiser(&self) -> &Denoiser {
        self.denoiser.as_ref().expect("a run loads it first")
    }

    /// How often the last redraw computed what its tiles share.
    pub fn computed(&self) -> Computed {
        self.shared.borrow().computed
    }

    /// Load UNet and ControlNet again, to compute in f32. What was loaded goes first: there may be no room for
    /// both.
    ///
    /// # Errors
    /// As [`Models::load`]; they are then loaded by the next run.
    pub(crate) async fn reload(&mut self, backend: &Backend, observe: Observer<'_>) -> Result<(), Error> {
        self.denoiser = None;
        self.shared.take();
        backend.device.memory_cleanup();
        self.dtype = DType::F32;
        self.packing = backend.in_full_precision().packing;
        self.complete(backend, observe).await
    }

    /// Load UNet and ControlNet if they are not there.
    ///
    /// # Errors
    /// As [`Models::load`].
    pub(crate) async fn complete(&mut self, backend: &Backend, observe: Observer<'_>) -> Result<(), Error> {
        if self.denoiser.is_some() {
            return Ok(());
        }
        let placement = Placement { packing: self.packing, ..backend.placement(self.dtype) };
        let (_, unet, controlnet) = files(&self.paths, &mut |_| ControlFlow::Continue(()))?;
        let denoiser = Box::pin(Denoiser::load(&unet, &controlnet, &placement, observe)).await?;
        self.weights = self.other_weights + denoiser.weights;
        self.denoiser = Some(denoiser);
        Ok(())
    }

    /// Bytes that the weights of these files would take, by their headers alone. LoRAs are left out: a tensor
    /// that they change is no longer exact in 16 bits.
    ///
    /// # Errors
    /// If a file is missing or of another kind.
    pub fn weigh(backend: &Backend, paths: &DiffusionPaths) -> Result<u64, FileError> {
        let Backend { dtype, packing, .. } = backend;
        let exact = if *packing == Packing::Never { Packing::Never } else { Packing::Exact };
        let vae = paths.vae.as_ref().unwrap_or(&paths.checkpoint);
        let parts = [
            (&paths.checkpoint, Component::TextEncoder, DType::F32, exact),
            (vae, Component::Vae, DType::F32, exact),
            (&paths.checkpoint, Component::UNet, *dtype, *packing),
            (&paths.controlnet, Component::ControlNet, *dtype, *packing),
        ];
        let bytes = |(source, kind, dtype, packing): (&Source, Component, DType, Packing)| {
            let part = component(source, kind)?;
            let bytes = |(name, info): (&String, &TensorInfo)| {
                // Looked up on the host, in f32.
                let packing = if name.contains(".embeddings.") { Packing::Never } else { packing };
                expected_bytes(info, dtype, packing)
            };
            Ok(part.file.tensors().iter().map(bytes).sum::<u64>())
        };
        parts.into_iter().map(bytes).sum()
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
        let half = backend.placement(dtype);
        // These are always exact.
        let packing = if backend.packing == Packing::Rounded { Packing::Exact } else { backend.packing };
        let full = Placement { packing, ..backend.placement(DType::F32) };
        // All files are opened before the first byte of weights is read: a wrong one is found at once.
        let vae = component(paths.vae.as_ref().unwrap_or(&paths.checkpoint), Component::Vae)?;
        let (text, unet, controlnet) = files(paths, observe)?;
        let family = ModelFamily::of_files(&unet, &*controlnet.file, &*vae.file)?;
        let embeddings = open_embeddings(&paths.embeddings, token_width(&*text.file))?;
        let text_encoder = network("text encoder", &text, &full, observe, |w, c| {
            ClipTextEncoder::load(w, c.config.as_ref())
        });
        let (text_encoder, text_bytes) = Box::pin(text_encoder).await?;
        let vae = network("vae", &vae, &full, observe, |w, c| Vae::load(w, c.config.as_ref()));
        let (vae, vae_bytes) = Box::pin(vae).await?;
        let denoiser = Box::pin(Denoiser::load(&unet, &controlnet, &half, observe)).await?;
        let other_weights = text_bytes + vae_bytes;
        let diffusion = Self {
            tokenizer: ClipTokenizer::new(),
            text_encoder,
            embeddings,
            vae,
            dtype,
            packing: backend.packing,
            weights: other_weights + denoiser.weights,
            other_weights,
            hint_budget: KEPT_HINTS,
            tile_batch: 1,
            denoiser: Some(denoiser),
            shared: RefCell::default(),
            paths: paths.clone(),
            family,
        };
        diffusion.check()?;
        Ok(diffusion)
    }
}

impl Denoiser {
    async fn load(
        unet: &ComponentFile,
        controlnet: &ComponentFile,
        placement: &Placement,
        observe: Observer<'_>,
    ) -> Result<Box<Self>, Error> {
        let controlnet = network("controlnet", controlnet, placement, observe, |w, c| {
            ControlNet::load(w, c.config.as_ref())
        });
        // On the heap: a browser's stack is small, and these are structs of hundreds of tensors.
        let (controlnet, controlnet_bytes) = Box::pin(controlnet).await?;
        let unet = network("unet", unet, placement, observe, |w, c| UNet::load(w, c.config.as_ref()));
        let (unet, unet_bytes) = Box::pin(unet).await?;
        Ok(Box::new(Self {
            unet,
            controlnet,
            dtype: placement.dtype,
            weights: controlnet_bytes + unet_bytes,
        }))
    }
}

/// Text encoder, UNet and ControlNet, LoRAs merged.
fn files(
    paths: &DiffusionPaths,
    observe: Observer<'_>,
) -> Result<(ComponentFile, ComponentFile, ComponentFile), Error> {
    let mut text = component(&paths.checkpoint, Component::TextEncoder)?;
    let mut unet = component(&paths.checkpoint, Component::UNet)?;
    let controlnet = component(&paths.controlnet, Component::ControlNet)?;
    let merged = merge(text.file, unet.file, &open_loras(&paths.loras)?)?;
    (text.file, unet.file) = (merged.text_encoder, merged.unet);
    for message in merged.warnings {
        say(observe, Event::Warning { message })?;
    }
    Ok((text, unet, controlnet))
}

/// How many values the text encoder in `file` has for each token.
fn token_width(file: &dyn TensorFile) -> usize {
    let table = file.tensors().get("text_model.embeddings.token_embedding.weight");
    table.and_then(|info| info.shape.get(1)).copied().unwrap_or_default()
}

/// What is computed in, in a word: as `--precision` takes it.
pub(crate) fn precision(dtype: DType, packing: Packing) -> &'static str {
    match (dtype, packing) {
        (DType::F16, _) => "f16",
        (_, Packing::Rounded) => "packed",
        _ => "f32",
    }
}
