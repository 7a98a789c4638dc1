//! The UNet of SD 1.x: predicts the noise in a latent (diffusers `UNet2DConditionModel`).

use burn::tensor::Tensor;
use serde_json::Value;

use crate::blocks::{ResnetBlock, Upsample};
use crate::config::UNetConfig;
use crate::controlnet::Residuals;
use crate::down_path::{DownOutput, DownPath, resnet_config};
use crate::layers::{Conv2d, GroupNorm, Kernel, Norms};
use crate::loader::{LoadError, Scope, Weights};
use crate::shared::{Given, PromptKeys, TimeShifts, apart, together};
use crate::transformer::Transformer2d;

/// Residual blocks over the input and a skip each, with transformers, then a doubling.
#[derive(Debug, Clone)]
struct UpBlock {
    resnets: Vec<ResnetBlock>,
    attentions: Vec<Transformer2d>,
    upsampler: Option<Upsample>,
}

/// What the inner levels made of a latent, and what the ControlNet adds to the outermost: a later evaluation takes it in
/// place of both ([`UNet::forward_reusing`]).
#[derive(Debug, Clone)]
pub struct InnerFeatures {
    /// What enters the last up block.
    x: Tensor<4>,
    /// For its skips, that of `conv_in` first.
    control: Vec<Tensor<4>>,
}

impl InnerFeatures {
    /// Those of a batch of tiles, of those of each.
    pub fn together(tiles: &[&Self]) -> Self {
        let of = |part: &dyn Fn(&Self) -> &Tensor<4>| {
            together(&tiles.iter().map(|tile| part(tile)).collect::<Vec<_>>())
        };
        let controls = tiles.first().map_or(0, |tile| tile.control.len());
        Self {
            x: of(&|tile| &tile.x),
            control: (0..controls).map(|i| of(&|tile| &tile.control[i])).collect(),
        }
    }

    /// Those of each tile of a batch of so many.
    pub fn apart(self, tiles: usize) -> Vec<Self> {
        if tiles == 1 {
            return vec![self];
        }
        let mut controls: Vec<_> = self.control.iter().map(|batch| apart(batch, tiles).into_iter()).collect();
        let of = |x| Self { x, control: controls.iter_mut().filter_map(Iterator::next).collect() };
        apart(&self.x, tiles).into_iter().map(of).collect()
    }
}

/// The noise predictor.
#[derive(Debug, Clone)]
pub struct UNet {
    down: DownPath,
    up_blocks: Vec<UpBlock>,
    conv_norm_out: GroupNorm,
    conv_out: Conv2d,
    /// The sizes.
    pub config: UNetConfig,
}

impl UNet {
    /// Build the network from `weights`; `json` is the content of its `config.json`, if any.
    ///
    /// # Errors
    /// As [`UNetConfig::read`] and [`Weights::finish`].
    pub fn load(weights: Weights, json: Option<&Value>) -> Result<Self, LoadError> {
        let config = UNetConfig::read(&weights, json)?;
        let scope = weights.root();
        let first = config.block_out_channels[0];
        let unet = Self {
            down: DownPath::load(&scope, &config),
            up_blocks: (0..config.block_out_channels.len())
                .map(|i| UpBlock::load(&scope.sub("up_blocks").sub(i), &config, i))
                .collect(),
            conv_norm_out: GroupNorm::load(&scope.sub("conv_norm_out"), config.groups, first, 1e-5),
            conv_out: Conv2d::load(&scope.sub("conv_out"), first, config.in_channels, Kernel::SAME),
            config,
        };
        weights.finish()?;
        Ok(unet)
    }

    /// The noise ε in `x` at timestep `t`.
    ///
    /// # Shapes
    /// - `x`: `[b, 4, h, w]`, any `h` and `w`
    /// - `t`: 0 ..= 999
    /// - `text`: `[b, tokens, 768]`
    /// - `control`: what a ControlNet adds to the skips and to the middle block
    /// - output: `[b, 4, h, w]`
    pub fn forward(&self, x: Tensor<4>, t: f32, text: &Tensor<3>, control: Option<Residuals>) -> Tensor<4> {
        let (time, prompt) = (self.time(t, &x), self.prompt(text));
        self.forward_with(x, &time, &prompt, control)
    }

    /// What timestep `t`, 0 ..= 999, is for tiles of the type of `like`.
    pub fn time(&self, t: f32, like: &Tensor<4>) -> TimeShifts {
        let time = self.down.embed_time(t, like);
        let up = self.up_blocks.iter().flat_map(|block| &block.resnets).map(|resnet| resnet.shift(&time));
        TimeShifts(self.down.shifts(&time).chain(up).collect())
    }

    /// What `text: [b, tokens, 768]` is for tiles in batches of `b`.
    pub fn prompt(&self, text: &Tensor<3>) -> PromptKeys {
        let up = self.up_blocks.iter().flat_map(|block| &block.attentions);
        PromptKeys(self.down.prompt(text).chain(up.flat_map(|attention| attention.prompt(text))).collect())
    }

    /// [`Self::forward`] with what [`Self::time`] and [`Self::prompt`] gave.
    pub fn forward_with(
        &self,
        x: Tensor<4>,
        time: &TimeShifts,
        prompt: &PromptKeys,
        control: Option<Residuals>,
    ) -> Tensor<4> {
        self.evaluate(x, time, prompt, control, false).0
    }

    /// The same, and what [`Self::forward_reusing`] takes.
    pub fn forward_keeping(
        &self,
        x: Tensor<4>,
        time: &TimeShifts,
        prompt: &PromptKeys,
        control: Option<Residuals>,
    ) -> (Tensor<4>, InnerFeatures) {
        let (noise, kept) = self.evaluate(x, time, prompt, control, true);
        (noise, kept.expect("they were asked for"))
    }

    /// The noise in `x` by the outermost level alone, on what the inner ones made of another latent: of the same picture, say, a
    /// step before (Ma et al. 2023, "DeepCache"). For the latent that `inner` was made of it is [`Self::forward_with`].
    pub fn forward_reusing(
        &self,
        x: Tensor<4>,
        time: &TimeShifts,
        prompt: &PromptKeys,
        inner: &InnerFeatures,
    ) -> Tensor<4> {
        let given = &mut Given::new(time, prompt);
        let mut skips = self.down.outermost(x, given);
        for (skip, residual) in skips.iter_mut().zip(&inner.control) {
            *skip = skip.clone() + residual.clone();
        }
        let (last, _) = self.split();
        given.skip_to_last(last.resnets.len(), last.attentions.iter().map(Transformer2d::layers).sum());
        let x = last.forward(inner.x.clone(), &mut skips, given);
        self.head(x)
    }

    /// The last up block, and those before it.
    fn split(&self) -> (&UpBlock, &[UpBlock]) {
        self.up_blocks.split_last().expect("a UNet has levels")
    }

    fn evaluate(
        &self,
        x: Tensor<4>,
        time: &TimeShifts,
        prompt: &PromptKeys,
        control: Option<Residuals>,
        keep: bool,
    ) -> (Tensor<4>, Option<InnerFeatures>) {
        let given = &mut Given::new(time, prompt);
        let DownOutput { mut skips, mid: mut x } = self.down.forward(x, None, given);
        let (last, inner) = self.split();
        // What is held is copied where a layer would have worked in place, so nothing is unless it is asked for.
        let outer = if keep { last.resnets.len() } else { 0 };
        let mut added = Vec::new();
        if let Some(Residuals { down, mid }) = control {
            added.extend(down.iter().take(outer).cloned());
            skips = skips.into_iter().zip(down).map(|(skip, residual)| skip + residual).collect();
            x = x + mid;
        }
        for block in inner {
            x = block.forward(x, &mut skips, given);
        }
        let kept = keep.then(|| InnerFeatures { x: x.clone(), control: added });
        let x = last.forward(x, &mut skips, given);
        (self.head(x), kept)
    }

    fn head(&self, x: Tensor<4>) -> Tensor<4> {
        self.conv_out.forward(self.conv_norm_out.forward_silu(x, &mut Norms::Own))
    }
}

impl UpBlock {
    fn forward(&self, mut x: Tensor<4>, skips: &mut Vec<Tensor<4>>, given: &mut Given) -> Tensor<4> {
        for (i, resnet) in self.resnets.iter().enumerate() {
            let skip = skips.pop().expect("as many skips as residual blocks on the way up");
            x = resnet.forward(Tensor::cat(vec![x, skip], 1), Some(given.shift()), &mut Norms::Own);
            if let Some(attention) = self.attentions.get(i) {
                x = attention.forward(x, given);
            }
        }
        if let (Some(upsampler), Some(next)) = (&self.upsampler, skips.last()) {
            let [_, _, h, w] = next.dims();
            x = upsampler.forward(x, [h, w]);
        }
        x
    }

    /// The `index`th block from the bottom.
    fn load(scope: &Scope, config: &UNetConfig, index: usize) -> Self {
        let levels = config.block_out_channels.len();
        let channels = |level: usize| config.block_out_channels[level];
        let level = levels - 1 - index;
        let outputs = channels(level);
        let layers = config.layers_per_block + 1;
        let resnets = (0..layers).map(|i| {
            let inputs = if i > 0 { outputs } else { channels((level + 1).min(levels - 1)) };
            // The last skip of a level was made by the level above it (or by conv_in).
            let skip = if i + 1 < layers { outputs } else { channels(level.saturating_sub(1)) };
            ResnetBlock::load(&scope.sub("resnets").sub(i), inputs + skip, outputs, resnet_config(config))
        });
        let attentions = (0..if config.attention[level] { layers } else { 0 }).map(|i| {
            let scope = scope.sub("attentions").sub(i);
            Transformer2d::load(
                &scope,
                config.groups,
                outputs,
                config.cross_attention_dim,
                config.heads[level],
            )
        });
        Self {
            resnets: resnets.collect(),
            attentions: attentions.collect(),
            upsampler: (level > 0).then(|| Upsample::load(&scope.sub("upsamplers.0"), outputs)),
        }
    }
}
