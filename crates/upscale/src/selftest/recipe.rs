//! The whole recipe with tiny networks by formula, against the result of the Python reference.

use std::collections::BTreeMap;
use std::io::Cursor;
use std::ops::ControlFlow;
use std::sync::Arc;

use burn::tensor::DType;
use clarifier_model::clip::ClipTextEncoder;
use clarifier_model::controlnet::ControlNet;
use clarifier_model::cost::ModelCost;
use clarifier_model::family::ModelFamily;
use clarifier_model::files::{FileError, ReadAt, Source, TensorFile, TensorInfo};
use clarifier_model::loader::Weights;
use clarifier_model::tokenizer::ClipTokenizer;
use clarifier_model::unet::UNet;
use clarifier_model::vae::Vae;
use clarifier_raster::{Depth, Raster, StoreKind, decode};
use serde_json::Value;

use super::formula;
use crate::device::Backend;
use crate::diffusion::Denoiser;
use crate::shared::KEPT_HINTS;
use crate::{Diffusion, DiffusionPaths, Enlarger, Error, Job, Models, Settings, output_size, upscale};

pub(super) const NAME: &str = "the whole recipe";
/// In dB: what the issue of this test asks for. Half a level of 8 bits everywhere would be 54.
pub(super) const LEAST: f64 = 45.0;

/// What `tests/fixtures/recipe.py` and `generate.py` make, with diffusers and transformers.
macro_rules! fixture {
    ($name:literal) => {
        include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/fixtures/", $name))
    };
}

const NETWORKS: &[u8] = fixture!("manifest_tiny.json");
const SETTINGS: &[u8] = fixture!("recipe/settings.json");
const INPUT: &[u8] = fixture!("recipe/input.png");
const NOISE: &[u8] = fixture!("recipe/noise.safetensors");
const EXPECTED: &[u8] = fixture!("recipe/dpmsolver.png");

/// How much of it is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Extent {
    /// All of the stored result.
    Whole,
    /// As little as every kernel still has a part in: a software GPU is minutes at the whole.
    Small,
}

impl Extent {
    pub fn shape(self) -> &'static str {
        match self {
            Self::Whole => "tiny networks, 6 steps, 9 tiles",
            Self::Small => "tiny networks, 1 step, 2 tiles",
        }
    }

    fn settings(self) -> Settings {
        // The reference has no colour lock.
        let stored: Settings = serde_json::from_slice(SETTINGS).expect("the fixture is valid");
        let stored = Settings { colour_lock: 0.0, ..stored };
        match self {
            Self::Whole => stored,
            Self::Small => Settings {
                upscale_factor: 1.0,
                tile_width: 8,
                tile_height: 10,
                tile_overlap: 4,
                num_inference_steps: 2,
                denoise_strength: 0.5,
                ..stored
            },
        }
    }
}

/// How near a result is to others, in dB.
pub(super) struct Nearness {
    /// To the one that is stored, if it is of that extent.
    pub stored: Option<f64>,
    /// To that of this machine's processor; none if it is that.
    pub processor: Option<f64>,
}

/// Make the picture on this device, and compare it; `alive` is called after each tile.
pub(super) async fn measure(
    backend: &Backend,
    dtype: DType,
    extent: Extent,
    alive: &mut dyn FnMut(),
) -> Result<Nearness, Error> {
    let made = make(backend, dtype, extent, alive).await?;
    let stored = match extent {
        Extent::Whole => Some(psnr(&made, &picture(EXPECTED))?),
        Extent::Small => None,
    };
    let processor = match &backend.adapter {
        Some(_) => Some(psnr(&made, &make(&Backend::flex(), DType::F32, extent, alive).await?)?),
        None => None,
    };
    Ok(Nearness { stored, processor })
}

fn psnr(a: &Raster, b: &Raster) -> Result<f64, Error> {
    let (a, b) = (a.read(a.area())?.data, b.read(b.area())?.data);
    let power: f64 = a.iter().zip(&b).map(|(a, b)| f64::from(a - b).powi(2)).sum();
    Ok(-10.0 * (power / a.len() as f64).log10())
}

async fn make(
    backend: &Backend,
    dtype: DType,
    extent: Extent,
    alive: &mut dyn FnMut(),
) -> Result<Raster, Error> {
    let settings = extent.settings();
    let input = picture(INPUT);
    let size = output_size(input.size(), &settings);
    let mut output = Raster::new(&StoreKind::Memory, size, input.channels(), Depth::Eight)?;
    let diffusion = Some(networks(backend, dtype)?);
    let mut models = Models { backend: backend.clone(), enlarger: Enlarger::Lanczos, diffusion };
    let noise = || Source::opened("noise.safetensors", Arc::new(Embedded(NOISE)));
    let job = Job { noise: (extent == Extent::Whole).then(noise), ..Job::new(7) };
    let mut observe = |_| {
        alive();
        ControlFlow::Continue(())
    };
    upscale(&mut models, &input, &mut output, &settings, &job, &mut observe).await?;
    Ok(output)
}

fn picture(png: &'static [u8]) -> Raster {
    decode(Cursor::new(png), "fixture.png", &StoreKind::Memory).expect("the fixture is valid").raster
}

fn networks(backend: &Backend, dtype: DType) -> Result<Diffusion, Error> {
    let manifest: Value = serde_json::from_slice(NETWORKS).expect("the fixture is valid");
    let (full, half) = (backend.placement(DType::F32), backend.placement(dtype));
    let file = |part: &str| Formula::new(&manifest[part]["tensors"]);
    let config = |part: &str| Some(manifest[part]["config"].clone());
    let (text, vae, controlnet, unet) = (file("text_encoder"), file("vae"), file("controlnet"), file("unet"));
    Ok(Diffusion {
        tokenizer: ClipTokenizer::new(),
        text_encoder: ClipTextEncoder::load(
            Weights::new(&text, "text encoder", &full),
            config("text_encoder").as_ref(),
        )?,
        embeddings: Vec::new(),
        vae: Vae::load(Weights::new(&vae, "vae", &full), config("vae").as_ref())?,
        denoiser: Some(Box::new(Denoiser {
            controlnet: ControlNet::load(
                Weights::new(&controlnet, "controlnet", &half),
                config("controlnet").as_ref(),
            )?,
            unet: UNet::load(Weights::new(&unet, "unet", &half), config("unet").as_ref())?,
            dtype,
            weights: 0,
        })),
        shared: Default::default(),
        family: ModelFamily { cost: ModelCost::of(&unet, &controlnet, &vae), ..ModelFamily::sd15() },
        hint_budget: KEPT_HINTS,
        tile_batch: 1,
        other_weights: 0,
        dtype,
        packing: backend.packing,
        weights: 0,
        paths: DiffusionPaths::default(),
    })
}

/// A file of weights that holds none.
struct Formula(BTreeMap<String, TensorInfo>);

impl Formula {
    fn new(tensors: &Value) -> Self {
        let info = |shape: &Value| TensorInfo {
            dtype: "F32".into(),
            shape: serde_json::from_value(shape.clone()).expect("the fixture is valid"),
        };
        let list = tensors.as_object().expect("the fixture is valid").iter();
        Self(list.map(|(name, shape)| (name.clone(), info(shape))).collect())
    }
}

impl TensorFile for Formula {
    fn tensors(&self) -> &BTreeMap<String, TensorInfo> {
        &self.0
    }

    fn read(&self, name: &str) -> Result<Vec<f32>, FileError> {
        let shape = &self.0[name].shape;
        // Doubled as in tests/src/models.rs: a tiny ControlNet hardly sees its hint otherwise.
        let doubled = name.starts_with("controlnet_cond_embedding.") && name.ends_with(".weight");
        let (value, scale) = (formula::weight(name, shape), if doubled { 2.0 } else { 1.0 });
        Ok((0..shape.iter().product::<usize>() as u64).map(|i| scale * value(i)).collect())
    }
}

/// A file that is part of the program.
struct Embedded(&'static [u8]);

impl ReadAt for Embedded {
    fn length(&self) -> std::io::Result<u64> {
        Ok(self.0.len() as u64)
    }

    fn read_at(&self, offset: u64, into: &mut [u8]) -> std::io::Result<()> {
        let from = usize::try_from(offset).ok().and_then(|offset| self.0.get(offset..)?.get(..into.len()));
        into.copy_from_slice(from.ok_or(std::io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }
}
