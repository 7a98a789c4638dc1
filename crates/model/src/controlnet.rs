//! The ControlNet: holds the UNet to a picture, the hint (Zhang et al. 2023).

use burn::tensor::Tensor;
use burn::tensor::activation::silu;
use serde_json::Value;

use crate::config::UNetConfig;
use crate::down_path::{DownOutput, DownPath};
use crate::layers::{Conv2d, Kernel};
use crate::loader::{LoadError, Scope, Weights};
use crate::shared::{Given, PromptKeys, TimeShifts};

/// What the ControlNet adds to the UNet.
#[derive(Debug, Clone)]
pub struct Residuals {
    /// One for each skip, that of `conv_in` first: 12 for SD 1.5.
    pub down: Vec<Tensor<4>>,
    /// For the middle block's output.
    pub mid: Tensor<4>,
}

impl Residuals {
    /// Each times `scale · decay^(n − i)`, where `i` counts the `n` skips from `conv_in` and the
    /// middle block is `i = n`: the outermost, which carry the finest detail, are weakened most.
    pub fn scaled(self, scale: f32, decay: f32) -> Self {
        let n = self.down.len();
        let weight = |i: usize| f64::from(scale) * f64::from(decay).powi((n - i) as i32);
        Self {
            mid: self.mid.mul_scalar(weight(n)),
            down: self.down.into_iter().enumerate().map(|(i, r)| r.mul_scalar(weight(i))).collect(),
        }
    }

    /// For a batch twice as large, whose first half gets none: that under the negative prompt.
    pub fn after_nothing(self) -> Self {
        let double = |r: Tensor<4>| Tensor::cat(vec![r.zeros_like(), r], 0);
        Self { down: self.down.into_iter().map(double).collect(), mid: double(self.mid) }
    }
}

/// The hint, reduced from pixels to latents.
#[derive(Debug, Clone)]
struct CondEmbedding {
    conv_in: Conv2d,
    blocks: Vec<Conv2d>,
    conv_out: Conv2d,
}

impl CondEmbedding {
    fn load(scope: &Scope, outputs: usize) -> Option<Self> {
        let width = |key: &str| scope.dims(key).and_then(|dims| dims.first().copied());
        let first = width("conv_in.weight")?;
        let mut inputs = first;
        let blocks = (0..scope.count("blocks"))
            .map(|i| {
                let outputs = width(&format!("blocks.{i}.weight"))?;
                // Every second one halves.
                let kernel = if i % 2 == 1 { Kernel::HALVE } else { Kernel::SAME };
                let conv = Conv2d::load(&scope.sub("blocks").sub(i), inputs, outputs, kernel);
                inputs = outputs;
                Some(conv)
            })
            .collect::<Option<Vec<_>>>()?;
        Some(Self {
            conv_in: Conv2d::load(&scope.sub("conv_in"), 3, first, Kernel::SAME),
            blocks,
            conv_out: Conv2d::load(&scope.sub("conv_out"), inputs, outputs, Kernel::SAME),
        })
    }

    fn forward(&self, hint: Tensor<4>) -> Tensor<4> {
        let mut x = silu(self.conv_in.forward(hint));
        for block in &self.blocks {
            x = silu(block.forward(x));
        }
        self.conv_out.forward(x)
    }
}

/// The network; for this recipe, the Tile ControlNet of SD 1.5.
#[derive(Debug, Clone)]
pub struct ControlNet {
    down: DownPath,
    cond_embedding: CondEmbedding,
    down_blocks: Vec<Conv2d>,
    mid_block: Conv2d,
    /// The sizes.
    pub config: UNetConfig,
}

impl ControlNet {
    /// Build the network from `weights`; `json` is the content of its `config.json`, if any.
    ///
    /// # Errors
    /// As [`UNetConfig::read`] and [`Weights::finish`].
    pub fn load(weights: Weights, json: Option<&Value>) -> Result<Self, LoadError> {
        let config = UNetConfig::read(&weights, json)?;
        let scope = weights.root();
        let channels = &config.block_out_channels;
        let zero_conv =
            |name: String, channels: usize| Conv2d::load(&scope.sub(name), channels, channels, Kernel::POINT);
        let cond_embedding = CondEmbedding::load(&scope.sub("controlnet_cond_embedding"), channels[0])
            .ok_or_else(|| weights.config_error("it holds no ControlNet"))?;
        let network = Self {
            down: DownPath::load(&scope, &config),
            cond_embedding,
            down_blocks: skip_channels(&config)
                .into_iter()
                .enumerate()
                .map(|(i, channels)| zero_conv(format!("controlnet_down_blocks.{i}"), channels))
                .collect(),
            mid_block: zero_conv("controlnet_mid_block".into(), channels[channels.len() - 1]),
            config: config.clone(),
        };
        weights.finish()?;
        Ok(network)
    }

    /// The residuals for the UNet, not yet scaled.
    ///
    /// # Shapes
    /// - `x`: `[b, 4, h, w]`, the noisy latent
    /// - `hint`: `[b or 1, 3, 8h, 8w]`, RGB in \[0, 1\]
    /// - `t`: 0 ..= 999
    /// - `text`: `[b, tokens, 768]`
    pub fn forward(&self, x: Tensor<4>, hint: Tensor<4>, t: f32, text: &Tensor<3>) -> Residuals {
        let (time, prompt) = (self.time(t, &x), self.prompt(text));
        self.forward_with(x, self.hint(hint), &time, &prompt)
    }

    /// What timestep `t`, 0 ..= 999, is for tiles of the type of `like`.
    pub fn time(&self, t: f32, like: &Tensor<4>) -> TimeShifts {
        let time = self.down.embed_time(t, like);
        TimeShifts(self.down.shifts(&time).collect())
    }

    /// What `text: [b, tokens, 768]` is for tiles in batches of `b`.
    pub fn prompt(&self, text: &Tensor<3>) -> PromptKeys {
        PromptKeys(self.down.prompt(text).collect())
    }

    /// What `hint: [1, 3, 8h, 8w]`, RGB in \[0, 1\], is for its tile: `[1, c, h, w]`.
    pub fn hint(&self, hint: Tensor<4>) -> Tensor<4> {
        self.cond_embedding.forward(hint)
    }

    /// [`Self::forward`] with what [`Self::hint`], [`Self::time`] and [`Self::prompt`] gave.
    pub fn forward_with(
        &self,
        x: Tensor<4>,
        hint: Tensor<4>,
        time: &TimeShifts,
        prompt: &PromptKeys,
    ) -> Residuals {
        let DownOutput { skips, mid } = self.down.forward(x, Some(hint), &mut Given::new(time, prompt));
        Residuals {
            down: self.down_blocks.iter().zip(skips).map(|(conv, skip)| conv.forward(skip)).collect(),
            mid: self.mid_block.forward(mid),
        }
    }
}

/// Channels of each skip, in order.
fn skip_channels(config: &UNetConfig) -> Vec<usize> {
    let channels = &config.block_out_channels;
    let mut skips = vec![channels[0]];
    for (level, &c) in channels.iter().enumerate() {
        let halving = usize::from(level + 1 < channels.len());
        skips.extend(std::iter::repeat_n(c, config.layers_per_block + halving));
    }
    skips
}
