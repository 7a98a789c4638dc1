//! The autoencoders of SD 1.x: pictures to latents and back. The variational one (diffusers `AutoencoderKL`), or TAESD.

use burn::tensor::Tensor;
use clarifier_kernels::{AttentionBudget, attention};
use serde_json::Value;

use crate::blocks::{ResnetBlock, ResnetConfig, Upsample};
use crate::config::VaeConfig;
use crate::layers::{Conv2d, GroupNorm, Kernel, Linear, Norms};
use crate::loader::{LoadError, Scope, Weights};
use crate::taesd::Tiny;

/// Self-attention over all positions, one head.
#[derive(Debug, Clone)]
struct MidAttention {
    group_norm: GroupNorm,
    to_q: Linear,
    to_k: Linear,
    to_v: Linear,
    to_out: Linear,
    budget: AttentionBudget,
}

impl MidAttention {
    fn load(scope: &Scope, groups: usize, channels: usize) -> Self {
        let linear = |name: &str| Linear::load(&scope.sub(name), channels, channels);
        Self {
            group_norm: GroupNorm::load(&scope.sub("group_norm"), groups, channels, EPS),
            to_q: linear("to_q"),
            to_k: linear("to_k"),
            to_v: linear("to_v"),
            to_out: linear("to_out.0"),
            budget: scope.placement().attention,
        }
    }

    fn forward(&self, x: Tensor<4>, norms: &mut Norms) -> Tensor<4> {
        let [b, c, h, w] = x.dims();
        let tokens = self.group_norm.forward(x.clone(), norms).reshape([b, c, h * w]).swap_dims(1, 2);
        let head = |linear: &Linear| linear.forward(tokens.clone()).unsqueeze_dim::<4>(1);
        let out = attention(head(&self.to_q), head(&self.to_k), head(&self.to_v), self.budget);
        let out = self.to_out.forward(out.squeeze_dim::<3>(1));
        x + out.swap_dims(1, 2).reshape([b, c, h, w])
    }
}

const EPS: f64 = 1e-6;

#[derive(Debug, Clone)]
struct MidBlock {
    resnets: [ResnetBlock; 2],
    /// SD 1.x's has one.
    attention: Option<MidAttention>,
}

impl MidBlock {
    fn load(scope: &Scope, config: &VaeConfig, channels: usize) -> Self {
        let resnet = |i: usize| {
            ResnetBlock::load(&scope.sub("resnets").sub(i), channels, channels, resnet_config(config))
        };
        Self {
            resnets: [resnet(0), resnet(1)],
            attention: config
                .mid_attention
                .then(|| MidAttention::load(&scope.sub("attentions.0"), config.groups, channels)),
        }
    }

    fn forward(&self, x: Tensor<4>, norms: &mut Norms) -> Tensor<4> {
        let mut x = self.resnets[0].forward(x, None, norms);
        if let Some(attention) = &self.attention {
            x = attention.forward(x, norms);
        }
        self.resnets[1].forward(x, None, norms)
    }
}

fn resnet_config(config: &VaeConfig) -> ResnetConfig {
    ResnetConfig { groups: config.groups, eps: EPS, time_embed_dim: None }
}

/// Residual blocks, then a change of size if this is not the last level.
#[derive(Debug, Clone)]
struct Level<Resize> {
    resnets: Vec<ResnetBlock>,
    resize: Option<Resize>,
}

impl<Resize> Level<Resize> {
    fn load(scope: &Scope, config: &VaeConfig, inputs: usize, outputs: usize, layers: usize) -> Self {
        let resnets = (0..layers).map(|i| {
            let inputs = if i == 0 { inputs } else { outputs };
            ResnetBlock::load(&scope.sub("resnets").sub(i), inputs, outputs, resnet_config(config))
        });
        Self { resnets: resnets.collect(), resize: None }
    }

    fn resnets(&self, mut x: Tensor<4>, norms: &mut Norms) -> Tensor<4> {
        for resnet in &self.resnets {
            x = resnet.forward(x, None, norms);
        }
        x
    }
}

#[derive(Debug, Clone)]
struct Encoder {
    conv_in: Conv2d,
    down_blocks: Vec<Level<Conv2d>>,
    mid_block: MidBlock,
    conv_norm_out: GroupNorm,
    conv_out: Conv2d,
}

impl Encoder {
    fn load(scope: &Scope, config: &VaeConfig) -> Self {
        let channels = &config.block_out_channels;
        let last = channels[channels.len() - 1];
        let level = |i: usize| {
            let scope = scope.sub("down_blocks").sub(i);
            let mut level = Level::load(
                &scope,
                config,
                channels[i.saturating_sub(1)],
                channels[i],
                config.layers_per_block,
            );
            level.resize = (i + 1 < channels.len()).then(|| {
                Conv2d::load(&scope.sub("downsamplers.0.conv"), channels[i], channels[i], Kernel::HALVE_RIGHT)
            });
            level
        };
        Self {
            conv_in: Conv2d::load(&scope.sub("conv_in"), 3, channels[0], Kernel::SAME),
            down_blocks: (0..channels.len()).map(level).collect(),
            mid_block: MidBlock::load(&scope.sub("mid_block"), config, last),
            conv_norm_out: GroupNorm::load(&scope.sub("conv_norm_out"), config.groups, last, EPS),
            conv_out: Conv2d::load(&scope.sub("conv_out"), last, 2 * config.latent_channels, Kernel::SAME),
        }
    }

    fn forward(&self, x: Tensor<4>, norms: &mut Norms) -> Tensor<4> {
        let mut x = self.conv_in.forward(x);
        for level in &self.down_blocks {
            x = level.resnets(x, norms);
            if let Some(downsampler) = &level.resize {
                x = downsampler.forward(x);
            }
        }
        x = self.mid_block.forward(x, norms);
        self.conv_out.forward(self.conv_norm_out.forward_silu(x, norms))
    }
}

#[derive(Debug, Clone)]
struct Decoder {
    conv_in: Conv2d,
    mid_block: MidBlock,
    up_blocks: Vec<Level<Upsample>>,
    conv_norm_out: GroupNorm,
    conv_out: Conv2d,
}

impl Decoder {
    fn load(scope: &Scope, config: &VaeConfig) -> Self {
        let channels: Vec<_> = config.block_out_channels.iter().rev().copied().collect();
        let last = channels.len() - 1;
        let level = |i: usize| {
            let scope = scope.sub("up_blocks").sub(i);
            let mut level = Level::load(
                &scope,
                config,
                channels[i.saturating_sub(1)],
                channels[i],
                config.layers_per_block + 1,
            );
            level.resize = (i < last).then(|| Upsample::load(&scope.sub("upsamplers.0"), channels[i]));
            level
        };
        Self {
            conv_in: Conv2d::load(&scope.sub("conv_in"), config.latent_channels, channels[0], Kernel::SAME),
            mid_block: MidBlock::load(&scope.sub("mid_block"), config, channels[0]),
            up_blocks: (0..channels.len()).map(level).collect(),
            conv_norm_out: GroupNorm::load(&scope.sub("conv_norm_out"), config.groups, channels[last], EPS),
            conv_out: Conv2d::load(&scope.sub("conv_out"), channels[last], 3, Kernel::SAME),
        }
    }

    fn forward(&self, z: Tensor<4>, norms: &mut Norms) -> Tensor<4> {
        let mut x = self.mid_block.forward(self.conv_in.forward(z), norms);
        for level in &self.up_blocks {
            x = level.resnets(x, norms);
            if let Some(upsampler) = &level.resize {
                let [_, _, h, w] = x.dims();
                x = upsampler.forward(x, [2 * h, 2 * w]);
            }
        }
        self.conv_out.forward(self.conv_norm_out.forward_silu(x, norms))
    }
}

/// The variational autoencoder's halves.
#[derive(Debug, Clone)]
struct Kl {
    encoder: Encoder,
    quant_conv: Conv2d,
    post_quant_conv: Conv2d,
    decoder: Decoder,
}

#[derive(Debug, Clone)]
enum Network {
    // On the heap: a browser's stack is small.
    Kl(Box<Kl>),
    Tiny(Box<Tiny>),
}

/// Encoder and decoder.
#[derive(Debug, Clone)]
pub struct Vae {
    network: Network,
    /// The sizes.
    pub config: VaeConfig,
}

impl Vae {
    /// Build the network from `weights`; `json` is the content of its `config.json`, if any.
    ///
    /// # Errors
    /// As [`VaeConfig::read`] and [`Weights::finish`].
    pub fn load(weights: Weights, json: Option<&Value>) -> Result<Self, LoadError> {
        let config = VaeConfig::read(&weights, json)?;
        let scope = weights.root();
        let latent = config.latent_channels;
        let network = match Tiny::sizes(&scope) {
            Some((channels, _)) => Network::Tiny(Box::new(Tiny::load(&scope, channels, latent))),
            None => Network::Kl(Box::new(Kl {
                encoder: Encoder::load(&scope.sub("encoder"), &config),
                quant_conv: Conv2d::load(&scope.sub("quant_conv"), 2 * latent, 2 * latent, Kernel::POINT),
                post_quant_conv: Conv2d::load(&scope.sub("post_quant_conv"), latent, latent, Kernel::POINT),
                decoder: Decoder::load(&scope.sub("decoder"), &config),
            })),
        };
        weights.finish()?;
        Ok(Self { network, config })
    }

    /// Whether what it makes of a part depends on the whole picture, by its normalisations.
    pub fn has_statistics(&self) -> bool {
        matches!(self.network, Network::Kl(_))
    }

    /// Pixels of a side for one latent: 8.
    pub fn factor(&self) -> usize {
        1 << (self.config.block_out_channels.len() - 1)
    }

    /// The mean of the latent distribution, times the scaling factor.
    ///
    /// # Shapes
    /// `[b, 3, 8h, 8w]`, RGB in \[−1, 1\] → `[b, 4, h, w]`.
    pub fn encode(&self, x: Tensor<4>, norms: &mut Norms) -> Tensor<4> {
        let mean = match &self.network {
            Network::Kl(kl) => {
                let moments = kl.quant_conv.forward(kl.encoder.forward(x, norms));
                moments.narrow(1, 0, self.config.latent_channels)
            }
            Network::Tiny(tiny) => tiny.encode(x),
        };
        mean.mul_scalar(self.config.scaling_factor)
    }

    /// The picture of a latent.
    ///
    /// # Shapes
    /// `[b, 4, h, w]` → `[b, 3, 8h, 8w]`, RGB, about \[−1, 1\].
    pub fn decode(&self, z: Tensor<4>, norms: &mut Norms) -> Tensor<4> {
        let z = z.mul_scalar(1.0 / f64::from(self.config.scaling_factor));
        match &self.network {
            Network::Kl(kl) => kl.decoder.forward(kl.post_quant_conv.forward(z), norms),
            Network::Tiny(tiny) => tiny.decode(z),
        }
    }
}
