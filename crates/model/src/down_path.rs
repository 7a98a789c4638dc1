//! The first half of the UNet, which the ControlNet shares: down blocks and middle block.

use burn::tensor::Tensor;
use burn::tensor::activation::silu;

use crate::blocks::{ResnetBlock, ResnetConfig};
use crate::config::UNetConfig;
use crate::layers::{Conv2d, Kernel, Linear, Norms};
use crate::loader::Scope;
use crate::shared::{Given, KeyValue};
use crate::transformer::Transformer2d;

/// Sinusoids of the timestep through two linear layers (diffusers `TimestepEmbedding`).
#[derive(Debug, Clone)]
struct TimeEmbedding {
    linear_1: Linear,
    linear_2: Linear,
    width: usize,
}

impl TimeEmbedding {
    fn load(scope: &Scope, width: usize, dim: usize) -> Self {
        Self {
            linear_1: Linear::load(&scope.sub("linear_1"), width, dim),
            linear_2: Linear::load(&scope.sub("linear_2"), dim, dim),
            width,
        }
    }

    fn forward(&self, sinusoids: Tensor<2>) -> Tensor<2> {
        self.linear_2.forward(silu(self.linear_1.forward(sinusoids)))
    }
}

/// `[cos(t·f₀), …, sin(t·f₀), …]` with `fᵢ = 10⁴^(−i / half)`.
fn sinusoids(t: f32, width: usize) -> Vec<f32> {
    let half = width / 2;
    let angle = |i: usize| f64::from(t) * (-(1e4f64.ln()) * i as f64 / half as f64).exp();
    let cos = (0..half).map(|i| angle(i).cos() as f32);
    cos.chain((0..half).map(|i| angle(i).sin() as f32)).collect()
}

/// Residual blocks, each with a transformer if the level has them, then a halving.
#[derive(Debug, Clone)]
struct DownBlock {
    resnets: Vec<ResnetBlock>,
    attentions: Vec<Transformer2d>,
    downsampler: Option<Conv2d>,
}

impl DownBlock {
    /// Without the halving.
    fn layers(&self, mut x: Tensor<4>, given: &mut Given, skips: &mut Vec<Tensor<4>>) -> Tensor<4> {
        for (i, resnet) in self.resnets.iter().enumerate() {
            x = resnet.forward(x, Some(given.shift()), &mut Norms::Own);
            if let Some(attention) = self.attentions.get(i) {
                x = attention.forward(x, given);
            }
            skips.push(x.clone());
        }
        x
    }

    fn forward(&self, x: Tensor<4>, given: &mut Given, skips: &mut Vec<Tensor<4>>) -> Tensor<4> {
        let mut x = self.layers(x, given, skips);
        if let Some(downsampler) = &self.downsampler {
            x = downsampler.forward(x);
            skips.push(x.clone());
        }
        x
    }
}

/// Residual block, transformer, residual block at the lowest resolution.
#[derive(Debug, Clone)]
struct MidBlock {
    resnets: [ResnetBlock; 2],
    attention: Transformer2d,
}

/// `conv_in`, the time embedding, the down blocks and the middle block.
#[derive(Debug, Clone)]
pub(crate) struct DownPath {
    conv_in: Conv2d,
    time_embedding: TimeEmbedding,
    down_blocks: Vec<DownBlock>,
    mid_block: MidBlock,
}

/// What the down path hands on.
pub(crate) struct DownOutput {
    /// After `conv_in`, after each residual block, after each halving: 12 for SD 1.5.
    pub skips: Vec<Tensor<4>>,
    /// After the middle block.
    pub mid: Tensor<4>,
}

/// The residual blocks' configuration in UNet and ControlNet.
pub(crate) fn resnet_config(config: &UNetConfig) -> ResnetConfig {
    ResnetConfig { groups: config.groups, eps: 1e-5, time_embed_dim: Some(config.time_embed_dim()) }
}

impl DownPath {
    pub fn load(scope: &Scope, config: &UNetConfig) -> Self {
        let channels = &config.block_out_channels;
        let resnet = resnet_config(config);
        let transformer = |scope: &Scope, level: usize| {
            Transformer2d::load(
                scope,
                config.groups,
                channels[level],
                config.cross_attention_dim,
                config.heads[level],
            )
        };
        let down_block = |level: usize| {
            let scope = scope.sub("down_blocks").sub(level);
            let outputs = channels[level];
            let inputs = channels[level.saturating_sub(1)];
            DownBlock {
                resnets: (0..config.layers_per_block)
                    .map(|i| {
                        let inputs = if i == 0 { inputs } else { outputs };
                        ResnetBlock::load(&scope.sub("resnets").sub(i), inputs, outputs, resnet)
                    })
                    .collect(),
                attentions: (0..if config.attention[level] { config.layers_per_block } else { 0 })
                    .map(|i| transformer(&scope.sub("attentions").sub(i), level))
                    .collect(),
                downsampler: (level + 1 < channels.len()).then(|| {
                    Conv2d::load(&scope.sub("downsamplers.0.conv"), outputs, outputs, Kernel::HALVE)
                }),
            }
        };
        let last = channels.len() - 1;
        let mid = scope.sub("mid_block");
        let mid_resnet =
            |i: usize| ResnetBlock::load(&mid.sub("resnets").sub(i), channels[last], channels[last], resnet);
        Self {
            conv_in: Conv2d::load(&scope.sub("conv_in"), config.in_channels, channels[0], Kernel::SAME),
            time_embedding: TimeEmbedding::load(
                &scope.sub("time_embedding"),
                channels[0],
                config.time_embed_dim(),
            ),
            down_blocks: (0..channels.len()).map(down_block).collect(),
            mid_block: MidBlock {
                resnets: [mid_resnet(0), mid_resnet(1)],
                attention: transformer(&mid.sub("attentions.0"), last),
            },
        }
    }

    /// The embedding of timestep `t`, after its SiLU, `[1, time_embed_dim]`, in the type of `like`.
    pub fn embed_time(&self, t: f32, like: &Tensor<4>) -> Tensor<2> {
        let width = self.time_embedding.width;
        let data = burn::tensor::TensorData::new(sinusoids(t, width), [1, width]);
        let sinusoids = Tensor::from_data(data, (&like.device(), like.dtype()));
        silu(self.time_embedding.forward(sinusoids))
    }

    /// What [`Self::embed_time`] adds in each residual block, in order.
    pub fn shifts<'a>(&'a self, time: &'a Tensor<2>) -> impl Iterator<Item = Tensor<1>> + 'a {
        let down = self.down_blocks.iter().flat_map(|block| &block.resnets);
        down.chain(&self.mid_block.resnets).map(|resnet| resnet.shift(time))
    }

    /// What each cross-attention sees of `text: [b, tokens, context]`, in order.
    pub fn prompt<'a>(&'a self, text: &'a Tensor<3>) -> impl Iterator<Item = KeyValue> + 'a {
        let down = self.down_blocks.iter().flat_map(|block| &block.attentions);
        down.chain([&self.mid_block.attention]).flat_map(|attention| attention.prompt(text))
    }

    /// Only what is done before the first halving: the skips of `conv_in` and of the first level's residual blocks.
    pub fn outermost(&self, x: Tensor<4>, given: &mut Given) -> Vec<Tensor<4>> {
        let x = self.conv_in.forward(x);
        let mut skips = vec![x.clone()];
        if let Some(block) = self.down_blocks.first() {
            block.layers(x, given, &mut skips);
        }
        skips
    }

    /// `x: [b, 4, h, w]`, `hint`: what the ControlNet adds after `conv_in`.
    pub fn forward(&self, x: Tensor<4>, hint: Option<Tensor<4>>, given: &mut Given) -> DownOutput {
        let mut x = self.conv_in.forward(x);
        if let Some(hint) = hint {
            x = x + hint;
        }
        let mut skips = vec![x.clone()];
        for block in &self.down_blocks {
            x = block.forward(x, given, &mut skips);
        }
        let mid = &self.mid_block;
        x = mid.resnets[0].forward(x, Some(given.shift()), &mut Norms::Own);
        x = mid.attention.forward(x, given);
        x = mid.resnets[1].forward(x, Some(given.shift()), &mut Norms::Own);
        DownOutput { skips, mid: x }
    }
}
