//! What is measured: SD 1.5's and ESRGAN's layers at the sizes they have, and the networks.

use std::fmt::{self, Display};

use burn::tensor::ops::ConvOptions;
use burn::tensor::{DType, Device, Distribution, Tensor};
use clarifier_kernels::{
    AttentionBudget, attention, conv2d, group_norm_silu, group_stats, layer_norm, linear, linear_geglu,
};
use clarifier_model::loader::Placement;
use serde::{Deserialize, Serialize};

use crate::block;

/// Operations of UNet and ControlNet for a batch of two, a latent pixel at 64 × 64 (by torch's FlopCounterMode).
const CFG_OPERATIONS: f64 = 2.1731e12 / 4096.0;
/// Operations of their self-attention for a batch of two, each pair of latent pixels: 4 for each channel of a level's blocks, at its size.
const CFG_PAIR_OPERATIONS: f64 = 20_440.0;
/// Operations of the VAE's decoder, a latent pixel at 128 × 128 (by torch's FlopCounterMode).
const VAE_OPERATIONS: f64 = 10.470e12 / 16384.0;
/// Operations of RRDB-23, an input pixel (by torch's FlopCounterMode).
const RRDB_OPERATIONS: f64 = 2.3497e12 / 65536.0;

/// One piece of work, as the peers are told it too.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(tag = "op", rename_all = "snake_case")]
pub enum Case {
    Conv {
        batch: usize,
        inputs: usize,
        outputs: usize,
        h: usize,
        w: usize,
        kernel: usize,
    },
    Linear {
        rows: usize,
        inputs: usize,
        outputs: usize,
    },
    Attention {
        batch: usize,
        heads: usize,
        queries: usize,
        keys: usize,
        d: usize,
    },
    GroupNormSilu {
        batch: usize,
        channels: usize,
        h: usize,
        w: usize,
    },
    /// A linear layer to twice `outputs`, the first half of which is gated by the second.
    LinearGeglu {
        rows: usize,
        inputs: usize,
        outputs: usize,
    },
    LayerNorm {
        rows: usize,
        size: usize,
    },
    /// A UNet of the first level alone, on a batch of two; sides in latents.
    UnetLevel {
        channels: usize,
        h: usize,
        w: usize,
    },
    /// UNet and ControlNet on a batch of two for each of several tiles; sides in latents.
    CfgStep {
        h: usize,
        w: usize,
        tiles: usize,
    },
    /// Sides in latents.
    VaeDecode {
        h: usize,
        w: usize,
    },
    /// Sides in input pixels.
    Rrdb {
        h: usize,
        w: usize,
    },
}

/// Where a case runs.
#[derive(Debug, Clone, Copy)]
pub struct Setting<'a> {
    pub device: &'a Device,
    /// `F32` or `F16`.
    pub dtype: DType,
    pub attention: AttentionBudget,
}

impl Setting<'_> {
    /// How networks are put there.
    pub fn placement(&self) -> Placement {
        Placement { dtype: self.dtype, attention: self.attention, ..Placement::f32(self.device) }
    }
}

/// All cases; the kernels only if `quick`, and steps of several tiles too on a real GPU.
pub fn all(quick: bool, real_gpu: bool) -> Vec<Case> {
    let conv = |batch, inputs, outputs, h, w, kernel| Case::Conv { batch, inputs, outputs, h, w, kernel };
    let linear = |rows, inputs, outputs| Case::Linear { rows, inputs, outputs };
    let attention = |queries, keys, d| Case::Attention { batch: 2, heads: 8, queries, keys, d };
    let mut cases = vec![
        conv(2, 320, 320, 64, 64, 3),
        conv(2, 640, 640, 32, 32, 3),
        conv(2, 1280, 1280, 16, 16, 3),
        conv(2, 2560, 1280, 16, 16, 3),
        conv(2, 1280, 1280, 8, 8, 3),
        conv(2, 320, 320, 144, 112, 3),
        conv(2, 320, 320, 64, 64, 1),
        conv(2, 960, 320, 64, 64, 1),
        conv(1, 64, 64, 256, 256, 3),
        conv(1, 160, 32, 256, 256, 3),
        linear(8192, 320, 320),
        Case::LinearGeglu { rows: 8192, inputs: 320, outputs: 1280 },
        linear(8192, 1280, 320),
        Case::LinearGeglu { rows: 2048, inputs: 640, outputs: 2560 },
        Case::LinearGeglu { rows: 512, inputs: 1280, outputs: 5120 },
        Case::LinearGeglu { rows: 128, inputs: 1280, outputs: 5120 },
        linear(128, 5120, 1280),
        linear(154, 768, 320),
        attention(4096, 4096, 40),
        attention(1024, 1024, 80),
        attention(256, 256, 160),
        attention(64, 64, 160),
        attention(4096, 77, 40),
        attention(1024, 77, 80),
        Case::GroupNormSilu { batch: 2, channels: 320, h: 64, w: 64 },
        Case::GroupNormSilu { batch: 2, channels: 1280, h: 16, w: 16 },
        Case::LayerNorm { rows: 8192, size: 320 },
        Case::LayerNorm { rows: 512, size: 1280 },
        Case::UnetLevel { channels: 320, h: 32, w: 32 },
    ];
    if !quick {
        cases.extend([
            attention(16128, 16128, 40),
            Case::CfgStep { h: 64, w: 64, tiles: 1 },
            Case::Rrdb { h: 256, w: 256 },
            Case::VaeDecode { h: 128, w: 128 },
        ]);
        if real_gpu {
            let step = |h, w, tiles| Case::CfgStep { h, w, tiles };
            cases.extend([step(64, 64, 4), step(144, 112, 1), step(144, 112, 4)]);
        }
    }
    cases
}

impl Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Conv { batch, inputs, outputs, h, w, kernel } => {
                write!(f, "conv {kernel}×{kernel} {inputs}→{outputs} at {batch}×{h}×{w}")
            }
            Self::Linear { rows, inputs, outputs } => write!(f, "linear {inputs}→{outputs}, {rows} rows"),
            Self::Attention { batch, heads, queries, keys, d } => {
                write!(f, "attention {queries}×{keys}, {batch}×{heads} heads of {d}")
            }
            Self::GroupNormSilu { batch, channels, h, w } => {
                write!(f, "group norm + SiLU {batch}×{channels}×{h}×{w}")
            }
            Self::LinearGeglu { rows, inputs, outputs } => {
                write!(f, "linear + GEGLU {inputs}→{outputs}, {rows} rows")
            }
            Self::LayerNorm { rows, size } => write!(f, "layer norm {rows}×{size}"),
            Self::UnetLevel { channels, h, w } => {
                write!(f, "UNet of one level, CFG, {channels} channels, {h}×{w} latents")
            }
            Self::CfgStep { h, w, tiles: 1 } => write!(f, "UNet + ControlNet, CFG, {h}×{w} latents"),
            Self::CfgStep { h, w, tiles } => {
                write!(f, "UNet + ControlNet, CFG, {tiles} tiles of {h}×{w} latents")
            }
            Self::VaeDecode { h, w } => write!(f, "VAE decode to {}×{}", 8 * h, 8 * w),
            Self::Rrdb { h, w } => write!(f, "RRDB-23 on {h}×{w}"),
        }
    }
}

impl Case {
    /// Floating-point operations by the definition, a multiply-add as two; 0 where memory decides.
    pub fn operations(self) -> f64 {
        let product = |factors: &[usize]| 2.0 * factors.iter().map(|n| *n as f64).product::<f64>();
        match self {
            Self::Conv { batch, inputs, outputs, h, w, kernel } => {
                product(&[batch, inputs, outputs, h, w, kernel, kernel])
            }
            Self::Linear { rows, inputs, outputs } => product(&[rows, inputs, outputs]),
            Self::LinearGeglu { rows, inputs, outputs } => product(&[rows, inputs, 2 * outputs]),
            Self::Attention { batch, heads, queries, keys, d } => {
                2.0 * product(&[batch, heads, queries, keys, d])
            }
            Self::GroupNormSilu { .. } | Self::LayerNorm { .. } => 0.0,
            Self::UnetLevel { channels, h, w } => block::operations(channels, h, w),
            Self::CfgStep { h, w, tiles } => {
                // What is counted at 64 × 64, and what grows with the square of the tile.
                let latents = (h * w) as f64;
                tiles as f64 * latents * (CFG_OPERATIONS + CFG_PAIR_OPERATIONS * (latents - 4096.0))
            }
            Self::VaeDecode { h, w } => VAE_OPERATIONS * (h * w) as f64,
            Self::Rrdb { h, w } => RRDB_OPERATIONS * (h * w) as f64,
        }
    }

    /// Bytes that must at least be read and written, if a value has so many.
    pub fn bytes(self, of_value: usize) -> f64 {
        let values = match self {
            Self::Conv { batch, inputs, outputs, h, w, kernel } => {
                batch * (inputs + outputs) * h * w + inputs * outputs * kernel * kernel
            }
            Self::Linear { rows, inputs, outputs } => rows * (inputs + outputs) + inputs * outputs,
            Self::Attention { batch, heads, queries, keys, d } => batch * heads * 2 * (queries + keys) * d,
            Self::GroupNormSilu { batch, channels, h, w } => 2 * batch * channels * h * w,
            Self::LinearGeglu { rows, inputs, outputs } => rows * (inputs + outputs) + 2 * inputs * outputs,
            Self::LayerNorm { rows, size } => 2 * rows * size,
            Self::UnetLevel { .. } | Self::CfgStep { .. } | Self::VaeDecode { .. } | Self::Rrdb { .. } => 0,
        };
        (of_value * values) as f64
    }

    /// The work on a device, ready to be run as often as wanted; none of networks at their true sizes.
    pub fn prepare(self, setting: &Setting) -> Option<Box<dyn FnMut()>> {
        let budget = setting.attention;
        Some(match self {
            Self::Conv { batch, inputs, outputs, h, w, kernel } => {
                let x = noise([batch, inputs, h, w], setting);
                let (weight, bias) =
                    (noise([outputs, inputs, kernel, kernel], setting), noise([outputs], setting));
                let options = ConvOptions::new([1; 2], [kernel / 2; 2], [1; 2], 1);
                Box::new(move || {
                    drop(conv2d(x.clone(), weight.clone(), Some(bias.clone()), options.clone()));
                })
            }
            Self::Linear { rows, inputs, outputs } => {
                let x: Tensor<2> = noise([rows, inputs], setting);
                let (weight, bias) =
                    (noise([outputs, inputs], setting).transpose(), noise([outputs], setting));
                Box::new(move || drop(linear(x.clone(), weight.clone(), Some(bias.clone()))))
            }
            Self::Attention { batch, heads, queries, keys, d } => {
                // As the networks give them: views of [batch, n, heads · d].
                let of = |n| noise([batch, n, heads, d], setting).swap_dims(1, 2);
                let (q, k, v) = (of(queries), of(keys), of(keys));
                Box::new(move || drop(attention(q.clone(), k.clone(), v.clone(), budget)))
            }
            Self::GroupNormSilu { batch, channels, h, w } => {
                let x: Tensor<4> = noise([batch, channels, h, w], setting);
                let (gamma, beta) = (noise([channels], setting), noise([channels], setting));
                Box::new(move || {
                    let stats = group_stats(&x, 32, false);
                    drop(group_norm_silu(x.clone(), &stats, gamma.clone(), beta.clone(), 1e-5));
                })
            }
            Self::LinearGeglu { rows, inputs, outputs } => {
                let x: Tensor<2> = noise([rows, inputs], setting);
                let (weight, bias) =
                    (noise([2 * outputs, inputs], setting).transpose(), noise([2 * outputs], setting));
                Box::new(move || drop(linear_geglu(x.clone(), weight.clone(), Some(bias.clone()))))
            }
            Self::LayerNorm { rows, size } => {
                let x: Tensor<2> = noise([rows, size], setting);
                let (gamma, beta) = (noise([size], setting), noise([size], setting));
                Box::new(move || drop(layer_norm(x.clone(), gamma.clone(), beta.clone(), 1e-5)))
            }
            Self::UnetLevel { channels, h, w } => block::prepare(channels, (h, w), setting),
            Self::CfgStep { .. } | Self::VaeDecode { .. } | Self::Rrdb { .. } => return None,
        })
    }
}

/// Normal values.
pub fn noise<const D: usize>(dims: [usize; D], setting: &Setting) -> Tensor<D> {
    Tensor::random(dims, Distribution::Normal(0.0, 1.0), (setting.device, setting.dtype))
}
