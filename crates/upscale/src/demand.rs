//! What the diffusion networks ask of a device, by their tensors' shapes: a plan is made before anything is loaded.

use clarifier_model::files::{Component, FileError, TensorFile, component};

use crate::DiffusionPaths;

/// Work and memory that networks take, as a [`Plan`](crate::Plan) counts them. SD 1.5's by default.
#[derive(Debug, Clone, PartialEq)]
pub struct Demand {
    /// Operations of UNet and ControlNet for a latent of a tile under guidance, without what grows with the tile. A
    /// multiplication and an addition are two.
    pub(crate) per_latent: f64,
    /// Operations of self-attention for each pair of a tile's latents under guidance, scores and values.
    pub(crate) per_pair: f64,
    /// The shares of both that are the UNet's outermost level's, which is all that an evaluation with reused features does.
    pub(crate) outermost: (f64, f64),
    /// Values that are kept of a latent under guidance for such evaluations.
    pub(crate) reused: u64,
    /// Operations of the VAE for a pixel, there.
    pub(crate) encoder: f64,
    /// The same, back.
    pub(crate) decoder: f64,
    /// Channels of a latent.
    pub(crate) latent_channels: u64,
    /// Channels of the UNet's first level, which are also those of a hint.
    pub(crate) channels: u64,
    /// Values of the largest tensor of a tile under guidance, for each of its latents.
    pub(crate) widest: u64,
    /// Channels of the VAE's first level.
    pub(crate) vae_channels: u64,
    /// Channels of the VAE's second level: the decoder brings as many to the full size.
    pub(crate) vae_widest: u64,
    /// Values of the largest weight.
    pub(crate) largest_weight: u64,
}

impl Default for Demand {
    fn default() -> Self {
        Self {
            // Of SD 1.5's files, as a test has it.
            per_latent: 4.26e8,
            per_pair: 20_440.0,
            outermost: (0.224, 0.626),
            reused: 2 * (640 + 3 * 320),
            encoder: 4.13e6,
            decoder: 9.46e6,
            latent_channels: 4,
            channels: 320,
            // The feed-forward's inner layer before its gate.
            widest: 2 * 2 * 4 * 320,
            vae_channels: 128,
            vae_widest: 256,
            // 3 × 3 from 2560 to 1280 channels.
            largest_weight: 9 * 2560 * 1280,
        }
    }
}

impl Demand {
    /// The starter set's, for a plan before it has been fetched (tests/web/starter.test.mjs holds it against the file's).
    pub(crate) fn starter() -> Self {
        Self {
            per_latent: 5.40e6,
            per_pair: 210.3,
            outermost: (0.300, 0.0),
            reused: 2 * (96 + 2 * 64),
            encoder: 97_184.0,
            decoder: 273_680.0,
            latent_channels: 64,
            channels: 64,
            widest: 2 * 2 * 96,
            vae_channels: 24,
            vae_widest: 40,
            // 3 × 3 from 288 to 144 channels.
            largest_weight: 9 * 288 * 144,
        }
    }

    /// That of the networks in files, of which only the headers are read.
    ///
    /// # Errors
    /// If a file is missing or of another kind.
    pub fn of(paths: &DiffusionPaths) -> Result<Self, FileError> {
        let vae = component(paths.vae.as_ref().unwrap_or(&paths.checkpoint), Component::Vae)?;
        let unet = component(&paths.checkpoint, Component::UNet)?;
        let control = component(&paths.controlnet, Component::ControlNet)?;
        Ok(Self::of_files(&*unet.file, &*control.file, &*vae.file))
    }

    /// That of open files, whose names are those of diffusers.
    pub(crate) fn of_files(unet: &dyn TensorFile, control: &dyn TensorFile, vae: &dyn TensorFile) -> Self {
        let both = [unet, control];
        let width = |file: &dyn TensorFile, name: &str, at: usize| {
            file.tensors().get(name).and_then(|info| info.shape.get(at)).map_or(0, |length| *length as u64)
        };
        let level = |i: usize| width(unet, &format!("down_blocks.{i}.resnets.0.conv1.weight"), 0);
        let attends = |i: usize| {
            let name = format!("down_blocks.{i}.attentions.0.norm.weight");
            unet.tensors().contains_key(&name)
        };
        // Before its gate, the feed-forward is eight times as wide; a resnet on the way up has its skip beside it.
        let gated = (0..2).filter(|i| attends(*i)).map(|i| (8 * level(i)) >> (2 * i)).max().unwrap_or(0);
        let largest = |file: &&dyn TensorFile| {
            let values = file.tensors().values().map(|info| info.shape.iter().product::<usize>());
            values.max().unwrap_or(0) as u64
        };
        let total = |work: fn(&Part) -> f64| {
            both.iter().flat_map(|file| each(*file)).map(|part| work(&part)).sum::<f64>()
        };
        let outer = |work: fn(&Part) -> f64| -> f64 {
            each(unet).filter(|part| part.is_outermost()).map(|part| work(&part)).sum()
        };
        let share = |work: fn(&Part) -> f64| outer(work) / total(work).max(1.0);
        let last = count(unet, "up_blocks.").saturating_sub(1);
        let layers = count(unet, &format!("up_blocks.{last}.resnets.")) as u64;
        let half_of_vae = |half: &str| -> f64 {
            each(vae).filter(|part| part.name.starts_with(half)).map(|part| part.work()).sum()
        };
        let taesd = width(vae, TAESD_FIRST, 0);
        Self {
            // Under guidance there are two prompts.
            per_latent: 2.0 * total(|part| part.work()),
            per_pair: 2.0 * total(|part| part.pairs()),
            outermost: (share(|part| part.work()), share(|part| part.pairs())),
            reused: 2 * (level(1) + layers * level(0)),
            encoder: half_of_vae("encoder."),
            decoder: half_of_vae("decoder."),
            latent_channels: width(unet, "conv_in.weight", 1),
            channels: level(0),
            widest: 2 * gated.max(level(0) + level(1)),
            vae_channels: width(vae, "encoder.conv_in.weight", 0).max(taesd),
            vae_widest: width(vae, "encoder.down_blocks.1.resnets.0.conv1.weight", 0).max(taesd),
            largest_weight: both.iter().map(largest).max().unwrap_or(0),
        }
    }

    /// Operations of a tile of so many latents under guidance; of the outermost level alone if it `reuses` the others' work.
    pub(crate) fn of_tile(&self, latents: f64, reuses: bool) -> f64 {
        let (linear, pairs) = if reuses { self.outermost } else { (1.0, 1.0) };
        latents * (linear * self.per_latent + pairs * latents * self.per_pair)
    }
}

/// A weight that is multiplied with everywhere in a picture.
struct Part<'a> {
    name: &'a str,
    /// Values.
    size: f64,
    /// Of the first axis.
    outputs: f64,
    /// How often sides are halved where it is applied.
    level: i32,
    /// Levels of the network, but for the first.
    last: i32,
}

impl Part<'_> {
    /// Operations for a latent, or a pixel, at the full size.
    fn work(&self) -> f64 {
        2.0 * self.size * 0.25f64.powi(self.level)
    }

    /// Whether it belongs to the first level of a UNet, the way back to it left out.
    fn is_outermost(&self) -> bool {
        self.level == 0 && !self.name.starts_with(&format!("up_blocks.{}.", self.last - 1))
    }

    /// Operations of the self-attention that it makes the queries of, for a pair of latents at the full size.
    fn pairs(&self) -> f64 {
        if !self.name.ends_with("attn1.to_q.weight") {
            return 0.0;
        }
        4.0 * self.outputs * 0.0625f64.powi(self.level)
    }
}

/// The weights of a network in diffusers' names that count: not those that are applied once for a tile or a prompt.
fn each(file: &dyn TensorFile) -> impl Iterator<Item = Part<'_>> {
    const ONCE: [&str; 6] =
        ["time_emb", "attn2.to_k", "attn2.to_v", "controlnet_cond", "controlnet_down", "controlnet_mid"];
    let last = count(file, "down_blocks.") as i32 - 1;
    let counts = |name: &str, axes: usize| axes > 1 && !ONCE.iter().any(|once| name.contains(once));
    file.tensors().iter().filter(move |(name, info)| counts(name, info.shape.len())).map(
        move |(name, info)| Part {
            name,
            size: info.shape.iter().product::<usize>() as f64,
            outputs: info.shape[0] as f64,
            level: level(name, last),
            last,
        },
    )
}

/// How many entries a list of the network has, of which names say `list` and the number.
fn count(file: &dyn TensorFile, list: &str) -> usize {
    let has = |i: &usize| file.tensors().keys().any(|name| name.contains(&format!("{list}{i}.")));
    (0..).take_while(has).count()
}

/// The first weight of TAESD's.
const TAESD_FIRST: &str = "encoder.layers.0.weight";
/// The numbers of TAESD's layers that halve or double the picture.
const TAESD_HALVES: [i32; 3] = [2, 6, 10];
const TAESD_DOUBLES: [i32; 3] = [6, 11, 16];

/// How often sides are halved where the weight `name` is applied, in a network of `last + 1` levels.
fn level(name: &str, last: i32) -> i32 {
    let number = |list: &str| {
        let rest = &name[name.find(list)? + list.len()..];
        rest.split('.').next()?.parse::<i32>().ok()
    };
    let passed = |ends: [i32; 3], layer: i32| ends.iter().filter(|end| layer >= **end).count() as i32;
    match (name.starts_with("encoder."), number(".layers.")) {
        (true, Some(layer)) => return passed(TAESD_HALVES, layer),
        (false, Some(layer)) => return 3 - passed(TAESD_DOUBLES, layer),
        _ => {}
    }
    let inner = name.contains("mid_block") || name.contains("quant_conv");
    let ends = [("encoder.conv_out", last), ("decoder.conv_in", last)];
    match (number("down_blocks."), number("up_blocks.")) {
        (Some(block), _) => block + i32::from(name.contains("downsamplers")),
        (_, Some(block)) => last - block - i32::from(name.contains("upsamplers")),
        _ if inner => last,
        _ => ends.iter().find(|(end, _)| name.starts_with(end)).map_or(0, |(_, level)| *level),
    }
}
