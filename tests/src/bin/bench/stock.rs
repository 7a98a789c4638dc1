//! The same kernels as burn has them, to be measured beside ours on a GPU.

use burn::tensor::activation::{gelu, silu, softmax};
use burn::tensor::ops::ConvOptions;
use burn::tensor::{Tensor, module};

use crate::cases::{Case, Setting, noise};

/// The work by burn's own operations, with no buffer of more than `most_bytes`; none for whole networks, which are made of ours.
pub fn prepare(case: Case, setting: &Setting, most_bytes: u64) -> Option<Box<dyn FnMut()>> {
    Some(match case {
        Case::Conv { batch, inputs, outputs, h, w, kernel } => {
            let x: Tensor<4> = noise([batch, inputs, h, w], setting);
            let (weight, bias) =
                (noise([outputs, inputs, kernel, kernel], setting), noise([outputs], setting));
            let options = ConvOptions::new([1; 2], [kernel / 2; 2], [1; 2], 1);
            Box::new(move || {
                drop(module::conv2d(x.clone(), weight.clone(), Some(bias.clone()), options.clone()));
            })
        }
        Case::Linear { rows, inputs, outputs } => {
            let x: Tensor<2> = noise([rows, inputs], setting);
            let (weight, bias) = (noise([outputs, inputs], setting).transpose(), noise([outputs], setting));
            Box::new(move || drop(module::linear(x.clone(), weight.clone(), Some(bias.clone()))))
        }
        Case::Attention { batch, heads, queries, keys, d } => {
            let of = |n| -> Tensor<4> { noise([batch, n, heads, d], setting).swap_dims(1, 2) };
            let (q, k, v) = (of(queries), of(keys), of(keys));
            // Without autotune burn writes all scores out, so queries are taken as buffers allow.
            let fitting =
                (most_bytes / 4 / (setting.dtype.size() * batch * heads * keys) as u64).max(1) as usize;
            Box::new(move || {
                let scaled = q.clone().mul_scalar(1.0 / (d as f64).sqrt());
                let parts = (0..queries).step_by(fitting).map(|start| {
                    let part = scaled.clone().narrow(2, start, fitting.min(queries - start));
                    softmax(part.matmul(k.clone().swap_dims(2, 3)), 3).matmul(v.clone())
                });
                drop(Tensor::cat(parts.collect(), 2));
            })
        }
        Case::GroupNormSilu { batch, channels, h, w } => {
            let x: Tensor<4> = noise([batch, channels, h, w], setting);
            let (gamma, beta) = (noise([channels], setting), noise([channels], setting));
            Box::new(move || {
                let grouped = x.clone().reshape([batch, 32, channels / 32 * h * w]);
                let centred = grouped.clone() - grouped.mean_dim(2);
                let variance = centred.clone().powi_scalar(2).mean_dim(2);
                let normal = (centred / (variance + 1e-5).sqrt()).reshape([batch, channels, h, w]);
                let along = |t: &Tensor<1>| t.clone().reshape([1, channels, 1, 1]);
                drop(silu(normal * along(&gamma) + along(&beta)));
            })
        }
        Case::LinearGeglu { rows, inputs, outputs } => {
            let x: Tensor<2> = noise([rows, inputs], setting);
            let (weight, bias) =
                (noise([2 * outputs, inputs], setting).transpose(), noise([2 * outputs], setting));
            Box::new(move || {
                let both = module::linear(x.clone(), weight.clone(), Some(bias.clone()));
                let gate = gelu(both.clone().narrow(1, outputs, outputs));
                drop(both.narrow(1, 0, outputs) * gate);
            })
        }
        Case::LayerNorm { rows, size } => {
            let x: Tensor<2> = noise([rows, size], setting);
            let (gamma, beta) = (noise([size], setting), noise([size], setting));
            Box::new(move || {
                drop(module::layer_norm(x.clone(), gamma.clone(), Some(beta.clone()), 1e-5));
            })
        }
        Case::UnetLevel { .. } | Case::CfgStep { .. } | Case::VaeDecode { .. } | Case::Rrdb { .. } => {
            return None;
        }
    })
}
