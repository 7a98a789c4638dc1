//! The layers that all networks share: convolution, linear, normalisations.

use burn::tensor::Tensor;
use burn::tensor::ops::ConvOptions;
use clarifier_kernels::{GroupStats, group_norm, group_norm_silu, group_stats, layer_norm};

use crate::loader::Scope;
use crate::weight::Weight;

/// A 2-D convolution with square kernel and bias.
#[derive(Debug, Clone)]
pub struct Conv2d {
    weight: Weight<4>,
    bias: Tensor<1>,
    options: ConvOptions<2>,
}

/// Size of a convolution's kernel, its stride and its padding (rows and columns alike).
#[derive(Debug, Clone, Copy)]
pub struct Kernel {
    /// Rows and columns.
    pub size: usize,
    /// Step between outputs.
    pub stride: usize,
    /// Zeros before the first row and column, and after the last.
    pub padding: (usize, usize),
}

impl Kernel {
    /// One by one.
    pub const POINT: Self = Self { size: 1, stride: 1, padding: (0, 0) };
    /// 3 × 3 that keeps the size.
    pub const SAME: Self = Self { size: 3, stride: 1, padding: (1, 1) };
    /// 3 × 3 that halves the size.
    pub const HALVE: Self = Self { size: 3, stride: 2, padding: (1, 1) };
    /// 3 × 3 that halves the size, padded right and bottom only, as the VAE's encoder does.
    pub const HALVE_RIGHT: Self = Self { size: 3, stride: 2, padding: (0, 1) };
}

impl Conv2d {
    /// `weight: [outputs, inputs, k, k]`, `bias: [outputs]`.
    pub fn load(scope: &Scope, inputs: usize, outputs: usize, kernel: Kernel) -> Self {
        Self::with_bias(scope, inputs, kernel, scope.tensor("bias", [outputs]), outputs)
    }

    /// `weight` alone.
    pub fn load_unbiased(scope: &Scope, inputs: usize, outputs: usize, kernel: Kernel) -> Self {
        let zeros = scope.placement().tensor(vec![0.0; outputs], [outputs]);
        Self::with_bias(scope, inputs, kernel, zeros, outputs)
    }

    fn with_bias(scope: &Scope, inputs: usize, kernel: Kernel, bias: Tensor<1>, outputs: usize) -> Self {
        let Kernel { size, stride, padding } = kernel;
        let weight = scope.weight("weight", [outputs, inputs, size, size]);
        let options = ConvOptions::new_with_padding([stride; 2], [padding; 2], [1; 2], 1);
        Self { weight, bias, options }
    }

    /// Weight and bias, for kernels that take several convolutions at once.
    pub fn parts(&self) -> (Tensor<4>, Tensor<1>) {
        (self.weight.tensor(), self.bias())
    }

    /// `[outputs]`.
    pub fn bias(&self) -> Tensor<1> {
        self.bias.clone()
    }

    /// `[batch, inputs, h, w]` → `[batch, outputs, h', w']`.
    pub fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        self.forward_biased(x, self.bias())
    }

    /// [`Self::forward`] with `bias: [outputs]` in the place of its own.
    pub fn forward_biased(&self, x: Tensor<4>, bias: Tensor<1>) -> Tensor<4> {
        clarifier_kernels::conv2d(x, self.weight.tensor(), Some(bias), self.options.clone())
    }

    /// `to` plus [`Self::forward`] of `x`.
    pub fn forward_onto(&self, to: Tensor<4>, x: Tensor<4>) -> Tensor<4> {
        let bias = Some(self.bias());
        clarifier_kernels::conv2d_onto(to, x, self.weight.tensor(), bias, self.options.clone())
    }
}

/// `x · weightᵀ + bias`.
#[derive(Debug, Clone)]
pub struct Linear {
    /// `[outputs, inputs]`.
    weight: Weight<2>,
    bias: Option<Tensor<1>>,
}

impl Linear {
    /// `weight: [outputs, inputs]`, `bias: [outputs]`.
    pub fn load(scope: &Scope, inputs: usize, outputs: usize) -> Self {
        Self { bias: Some(scope.tensor("bias", [outputs])), ..Self::load_unbiased(scope, inputs, outputs) }
    }

    /// `weight: [outputs, inputs]`.
    pub fn load_unbiased(scope: &Scope, inputs: usize, outputs: usize) -> Self {
        Self { weight: scope.weight("weight", [outputs, inputs]), bias: None }
    }

    /// `[…, inputs]` → `[…, outputs]`.
    pub fn forward<const D: usize>(&self, x: Tensor<D>) -> Tensor<D> {
        // A view: all backends read a transposed right-hand side in place.
        clarifier_kernels::linear(x, self.weight.tensor().transpose(), self.bias.clone())
    }

    /// `to` plus [`Self::forward`] of `x`.
    pub fn forward_onto<const D: usize>(&self, to: Tensor<D>, x: Tensor<D>) -> Tensor<D> {
        clarifier_kernels::linear_onto(to, x, self.weight.tensor().transpose(), self.bias.clone())
    }

    /// `[…, inputs]` → `[…, outputs / 2]`: the first half of the outputs times GELU of the second.
    pub fn forward_geglu<const D: usize>(&self, x: Tensor<D>) -> Tensor<D> {
        clarifier_kernels::linear_geglu(x, self.weight.tensor().transpose(), self.bias.clone())
    }
}

/// Layer normalisation over the last axis, eps 1e-5.
#[derive(Debug, Clone)]
pub struct LayerNorm {
    gamma: Tensor<1>,
    beta: Tensor<1>,
}

impl LayerNorm {
    /// `weight`, `bias`: `[size]`.
    pub fn load(scope: &Scope, size: usize) -> Self {
        Self { gamma: scope.tensor("weight", [size]), beta: scope.tensor("bias", [size]) }
    }

    /// Normalises each row of `[…, size]`.
    pub fn forward<const D: usize>(&self, x: Tensor<D>) -> Tensor<D> {
        layer_norm(x, self.gamma.clone(), self.beta.clone(), 1e-5)
    }
}

/// Where a network's group normalisations take their statistics from.
///
/// A network that runs on a tile must not use the tile's own: each tile would get its own contrast
/// and colour. The list is in the order in which the network applies its normalisations.
#[derive(Debug)]
pub enum Norms {
    /// From the tensor itself.
    Own,
    /// From the whole batch together, and remembered.
    Pooled(Vec<GroupStats>),
    /// From an earlier [`Norms::Pooled`] run; the number is that of the next to be used.
    Frozen(std::sync::Arc<[GroupStats]>, usize),
}

impl Norms {
    fn stats(&mut self, x: &Tensor<4>, groups: usize) -> GroupStats {
        match self {
            Self::Own => group_stats(x, groups, false),
            Self::Pooled(seen) => {
                let stats = group_stats(x, groups, true);
                seen.push(stats.clone());
                stats
            }
            Self::Frozen(known, next) => {
                *next += 1;
                known[*next - 1].clone()
            }
        }
    }
}

/// Group normalisation.
#[derive(Debug, Clone)]
pub struct GroupNorm {
    gamma: Tensor<1>,
    beta: Tensor<1>,
    groups: usize,
    eps: f64,
}

impl GroupNorm {
    /// `weight`, `bias`: `[channels]`.
    pub fn load(scope: &Scope, groups: usize, channels: usize, eps: f64) -> Self {
        Self {
            gamma: scope.tensor("weight", [channels]),
            beta: scope.tensor("bias", [channels]),
            groups,
            eps,
        }
    }

    /// `[batch, channels, h, w]`, statistics as `norms` says.
    pub fn forward(&self, x: Tensor<4>, norms: &mut Norms) -> Tensor<4> {
        let stats = norms.stats(&x, self.groups);
        group_norm(x, &stats, self.gamma.clone(), self.beta.clone(), self.eps)
    }

    /// [`GroupNorm::forward`], then SiLU.
    pub fn forward_silu(&self, x: Tensor<4>, norms: &mut Norms) -> Tensor<4> {
        let stats = norms.stats(&x, self.groups);
        group_norm_silu(x, &stats, self.gamma.clone(), self.beta.clone(), self.eps)
    }
}

/// Each pixel twice in both directions: `[b, c, h, w]` → `[b, c, 2h, 2w]`.
pub fn upsample_nearest(x: Tensor<4>) -> Tensor<4> {
    let [b, c, h, w] = x.dims();
    x.reshape([b, c, h, 1, w, 1]).expand([b, c, h, 2, w, 2]).reshape([b, c, 2 * h, 2 * w])
}
