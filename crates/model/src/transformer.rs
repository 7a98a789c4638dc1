//! The spatial transformer of UNet and ControlNet (diffusers `Transformer2DModel`).

use burn::tensor::Tensor;
use clarifier_kernels::{AttentionBudget, attention};

use crate::layers::{Conv2d, GroupNorm, Kernel, LayerNorm, Linear, Norms};
use crate::loader::Scope;
use crate::shared::{Given, KeyValue};

/// Multi-head attention; queries from one sequence, keys and values from the same or another.
#[derive(Debug, Clone)]
struct Attention {
    to_q: Linear,
    to_k: Linear,
    to_v: Linear,
    to_out: Linear,
    heads: usize,
    budget: AttentionBudget,
}

impl Attention {
    fn load(scope: &Scope, channels: usize, context: usize, heads: usize) -> Self {
        Self {
            to_q: Linear::load_unbiased(&scope.sub("to_q"), channels, channels),
            to_k: Linear::load_unbiased(&scope.sub("to_k"), context, channels),
            to_v: Linear::load_unbiased(&scope.sub("to_v"), context, channels),
            to_out: Linear::load(&scope.sub("to_out.0"), channels, channels),
            heads,
            budget: scope.placement().attention,
        }
    }

    /// `[b, n, channels]` → `[b, heads, n, channels / heads]`.
    fn split(&self, t: Tensor<3>) -> Tensor<4> {
        let [b, n, c] = t.dims();
        t.reshape([b, n, self.heads, c / self.heads]).swap_dims(1, 2)
    }

    /// What `context: [b, m, context]` is attended to by.
    fn keys(&self, context: Tensor<3>) -> KeyValue {
        KeyValue {
            key: self.split(self.to_k.forward(context.clone())),
            value: self.split(self.to_v.forward(context)),
        }
    }

    /// `to` plus what `x` finds in the context, all `[b, n, channels]`.
    fn forward_onto(&self, to: Tensor<3>, x: Tensor<3>, context: KeyValue) -> Tensor<3> {
        let [batch, n, channels] = x.dims();
        let query = self.split(self.to_q.forward(x));
        let out = attention(query, context.key, context.value, self.budget);
        self.to_out.forward_onto(to, out.swap_dims(1, 2).reshape([batch, n, channels]))
    }
}

/// Self-attention, cross-attention to the text, GEGLU feed-forward, each with its own shortcut.
#[derive(Debug, Clone)]
struct BasicTransformerBlock {
    norm1: LayerNorm,
    attn1: Attention,
    norm2: LayerNorm,
    attn2: Attention,
    norm3: LayerNorm,
    ff_in: Linear,
    ff_out: Linear,
}

impl BasicTransformerBlock {
    fn load(scope: &Scope, channels: usize, context: usize, heads: usize) -> Self {
        Self {
            norm1: LayerNorm::load(&scope.sub("norm1"), channels),
            attn1: Attention::load(&scope.sub("attn1"), channels, channels, heads),
            norm2: LayerNorm::load(&scope.sub("norm2"), channels),
            attn2: Attention::load(&scope.sub("attn2"), channels, context, heads),
            norm3: LayerNorm::load(&scope.sub("norm3"), channels),
            ff_in: Linear::load(&scope.sub("ff.net.0.proj"), channels, 8 * channels),
            ff_out: Linear::load(&scope.sub("ff.net.2"), 4 * channels, channels),
        }
    }

    fn forward(&self, x: Tensor<3>, prompt: &KeyValue) -> Tensor<3> {
        let h = self.norm1.forward(x.clone());
        let own = self.attn1.keys(h.clone());
        let x = self.attn1.forward_onto(x, h, own);
        let h = self.norm2.forward(x.clone());
        let x = self.attn2.forward_onto(x, h, prompt.clone());
        let h = self.norm3.forward(x.clone());
        self.ff_out.forward_onto(x, self.ff_in.forward_geglu(h))
    }
}

/// Pixels as a sequence of tokens that attend to each other and to the text.
#[derive(Debug, Clone)]
pub(crate) struct Transformer2d {
    norm: GroupNorm,
    proj_in: Conv2d,
    transformer_blocks: Vec<BasicTransformerBlock>,
    proj_out: Conv2d,
}

impl Transformer2d {
    pub fn load(scope: &Scope, groups: usize, channels: usize, context: usize, heads: usize) -> Self {
        Self {
            norm: GroupNorm::load(&scope.sub("norm"), groups, channels, 1e-6),
            proj_in: Conv2d::load(&scope.sub("proj_in"), channels, channels, Kernel::POINT),
            transformer_blocks: (0..scope.count("transformer_blocks").max(1))
                .map(|i| scope.sub("transformer_blocks").sub(i))
                .map(|block| BasicTransformerBlock::load(&block, channels, context, heads))
                .collect(),
            proj_out: Conv2d::load(&scope.sub("proj_out"), channels, channels, Kernel::POINT),
        }
    }

    /// How many cross-attentions it has.
    pub fn layers(&self) -> usize {
        self.transformer_blocks.len()
    }

    /// What each block attends to in `text: [b, tokens, context]`.
    pub fn prompt<'a>(&'a self, text: &'a Tensor<3>) -> impl Iterator<Item = KeyValue> + 'a {
        self.transformer_blocks.iter().map(|block| block.attn2.keys(text.clone()))
    }

    /// `x: [b, c, h, w]` → `[b, c, h, w]`.
    pub fn forward(&self, x: Tensor<4>, given: &mut Given) -> Tensor<4> {
        let [b, c, h, w] = x.dims();
        let tokens = self.proj_in.forward(self.norm.forward(x.clone(), &mut Norms::Own));
        let mut tokens = tokens.reshape([b, c, h * w]).swap_dims(1, 2);
        for block in &self.transformer_blocks {
            tokens = block.forward(tokens, given.prompt());
        }
        self.proj_out.forward_onto(x, tokens.swap_dims(1, 2).reshape([b, c, h, w]))
    }
}
