//! CLIP's text encoder, ViT-L/14 in SD 1.x (transformers `CLIPTextModel`).

use std::sync::Arc;

use burn::tensor::activation::sigmoid;
use burn::tensor::ops::AttentionModuleOptions;
use burn::tensor::{Tensor, module};
use serde_json::Value;

use crate::config::ClipConfig;
use crate::layers::{LayerNorm, Linear};
use crate::loader::{LoadError, Placement, Scope, Weights};

#[derive(Debug, Clone)]
struct Layer {
    layer_norm1: LayerNorm,
    q_proj: Linear,
    k_proj: Linear,
    v_proj: Linear,
    out_proj: Linear,
    layer_norm2: LayerNorm,
    fc1: Linear,
    fc2: Linear,
    heads: usize,
}

impl Layer {
    fn load(scope: &Scope, config: &ClipConfig) -> Self {
        let (size, inner) = (config.hidden_size, config.intermediate_size);
        let attention = scope.sub("self_attn");
        let projection = |name: &str| Linear::load(&attention.sub(name), size, size);
        Self {
            layer_norm1: LayerNorm::load(&scope.sub("layer_norm1"), size),
            q_proj: projection("q_proj"),
            k_proj: projection("k_proj"),
            v_proj: projection("v_proj"),
            out_proj: projection("out_proj"),
            layer_norm2: LayerNorm::load(&scope.sub("layer_norm2"), size),
            fc1: Linear::load(&scope.sub("mlp.fc1"), size, inner),
            fc2: Linear::load(&scope.sub("mlp.fc2"), inner, size),
            heads: config.heads,
        }
    }

    fn forward(&self, x: Tensor<3>) -> Tensor<3> {
        let [b, n, c] = x.dims();
        let h = self.layer_norm1.forward(x.clone());
        let split = |linear: &Linear| -> Tensor<4> {
            linear.forward(h.clone()).reshape([b, n, self.heads, c / self.heads]).swap_dims(1, 2)
        };
        // A sentence is 77 tokens: writing out its scores is no burden.
        let causal = AttentionModuleOptions { is_causal: true, ..Default::default() };
        let out = module::attention(
            split(&self.q_proj),
            split(&self.k_proj),
            split(&self.v_proj),
            None,
            None,
            causal,
        );
        let x = x + self.out_proj.forward(out.swap_dims(1, 2).reshape([b, n, c]));
        let h = self.fc1.forward(self.layer_norm2.forward(x.clone()));
        x + self.fc2.forward(quick_gelu(h))
    }
}

/// `x · σ(1.702 x)`.
fn quick_gelu(x: Tensor<3>) -> Tensor<3> {
    x.clone() * sigmoid(x.mul_scalar(1.702))
}

/// The encoder. Its token table stays in host memory: it is larger than a default GPU binding, and
/// only 77 rows of it are looked up.
#[derive(Debug, Clone)]
pub struct ClipTextEncoder {
    token_embedding: Vec<f32>,
    position_embedding: Vec<f32>,
    layers: Vec<Layer>,
    final_layer_norm: LayerNorm,
    config: ClipConfig,
    placement: Placement,
}

/// A token that the encoder's table does not have.
#[derive(Debug, thiserror::Error)]
#[error(
    "the text encoder knows {known} tokens, the prompt has number {token}: this is not SD 1.x's text encoder"
)]
pub struct UnknownToken {
    /// Size of the table.
    pub known: usize,
    /// The token.
    pub token: u32,
}

impl ClipTextEncoder {
    /// Build the network from `weights`; `json` is the content of its `config.json`, if any.
    ///
    /// # Errors
    /// As [`ClipConfig::read`] and [`Weights::finish`].
    pub fn load(weights: Weights, json: Option<&Value>) -> Result<Self, LoadError> {
        let config = ClipConfig::read(&weights, json)?;
        let scope = weights.root().sub("text_model");
        let embeddings = scope.sub("embeddings");
        let size = config.hidden_size;
        let encoder = Self {
            token_embedding: embeddings.host("token_embedding.weight", &[config.vocab_size, size]),
            position_embedding: embeddings.host("position_embedding.weight", &[config.positions, size]),
            layers: (0..config.layers)
                .map(|i| Layer::load(&scope.sub("encoder.layers").sub(i), &config))
                .collect(),
            final_layer_norm: LayerNorm::load(&scope.sub("final_layer_norm"), size),
            placement: scope.placement().clone(),
            config,
        };
        weights.finish()?;
        Ok(encoder)
    }

    /// The longest sequence: 77.
    pub fn positions(&self) -> usize {
        self.config.positions
    }

    /// Width of the embeddings: 768.
    pub fn width(&self) -> usize {
        self.config.hidden_size
    }

    /// The last layer's states, after the final normalisation. `vectors` stand at their places instead of
    /// the tokens there (textual inversion).
    ///
    /// # Shapes
    /// At most 77 `tokens`, `vectors` of 768 each → `[1, tokens, 768]`.
    ///
    /// # Errors
    /// [`UnknownToken`] if a token is not in the table.
    ///
    /// # Panics
    /// If there are more tokens than positions, or a vector is of another width.
    pub fn forward(
        &self,
        tokens: &[u32],
        vectors: &[(usize, Arc<[f32]>)],
    ) -> Result<Tensor<3>, UnknownToken> {
        let size = self.config.hidden_size;
        let mut values = Vec::with_capacity(tokens.len() * size);
        for (position, &token) in tokens.iter().enumerate() {
            let row = (token as usize) * size;
            let known = self.config.vocab_size;
            let own = self.token_embedding.get(row..row + size).ok_or(UnknownToken { known, token })?;
            let embedding = vectors.iter().find(|(at, _)| *at == position).map_or(own, |(_, vector)| vector);
            assert_eq!(embedding.len(), size, "a vector as wide as the encoder's");
            let place = &self.position_embedding[position * size..][..size];
            values.extend(embedding.iter().zip(place).map(|(e, p)| e + p));
        }
        let mut x = self.placement.tensor(values, [1, tokens.len(), size]);
        for layer in &self.layers {
            x = layer.forward(x);
        }
        Ok(self.final_layer_norm.forward(x))
    }
}
