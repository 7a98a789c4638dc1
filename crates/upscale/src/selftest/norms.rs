//! Group and layer normalisation.

use burn::tensor::{DType, Tensor};
use clarifier_kernels::{GroupStats, group_norm_silu, group_stats, layer_norm};

use super::case::{Case, Host, times};
use super::compare::rounding;

/// Where a group norm's statistics come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stats {
    Own,
    /// Of the whole batch.
    Pooled,
    /// Given: of the picture that this is a tile of.
    Elsewhere,
}

const EPS: f64 = 1e-5;

/// Group normalisation, then SiLU, as residual blocks have it.
fn group(dims: [usize; 4], groups: usize, stats: Stats, mean: f32, dtype: DType) -> Case {
    let [batch, channels, ..] = dims;
    let kernel = match stats {
        Stats::Own => "group norm + SiLU",
        Stats::Pooled => "group norm + SiLU, batch's statistics",
        Stats::Elsewhere => "group norm + SiLU, statistics given",
    };
    let made = move || {
        vec![
            Host::data("x", dims, 1.5, mean),
            Host::weight("norm.weight", &[channels]),
            Host::weight("norm.bias", &[channels]),
            // Near those of x, and not them.
            Host::data("norm.mean", [1, 1, batch, groups], 0.5, mean),
            Host::data("norm.variance", [1, 1, batch, groups], 0.25, 0.75),
        ]
    };
    let compute = move |_: &_, t: &[Tensor<4>]| {
        let vector = |i: usize| -> Tensor<1> { t[i].clone().reshape([channels]) };
        let given = |i: usize| -> Tensor<2> {
            t[i].clone().cast(burn::tensor::FloatDType::F32).reshape([batch, groups])
        };
        let stats = match stats {
            Stats::Elsewhere => GroupStats { mean: given(3), variance: given(4) },
            _ => group_stats(&t[0], groups, stats == Stats::Pooled),
        };
        group_norm_silu(t[0].clone(), &stats, vector(1), vector(2), EPS)
    };
    let shape = format!("{} in {groups}, mean {mean}", times(&dims));
    Case::exact(kernel, shape, dtype, made, compute, move |inputs| {
        group_reference(inputs, dims, groups, stats, dtype)
    })
}

fn group_reference(
    inputs: &[Host],
    [batch, channels, h, w]: [usize; 4],
    groups: usize,
    stats: Stats,
    dtype: DType,
) -> Vec<(f64, f64)> {
    let values = &inputs[0].values;
    let length = channels / groups * h * w;
    let of = |parts: &[usize]| {
        let all = || parts.iter().flat_map(|p| &values[p * length..][..length]).map(|v| f64::from(*v));
        let count = (parts.len() * length) as f64;
        let mean = all().sum::<f64>() / count;
        (mean, all().map(|v| (v - mean).powi(2)).sum::<f64>() / count)
    };
    let known: Vec<(f64, f64)> = (0..batch * groups)
        .map(|i| match stats {
            Stats::Own => of(&[i]),
            Stats::Pooled => of(&(0..batch).map(|b| b * groups + i % groups).collect::<Vec<_>>()),
            Stats::Elsewhere => (f64::from(inputs[3].values[i]), f64::from(inputs[4].values[i])),
        })
        .collect();
    let reference = |(index, x): (usize, &f32)| {
        let (mean, variance) = known[index / length];
        let deviation = (variance + EPS).sqrt();
        let channel = index / (h * w) % channels;
        let gamma = inputs[1].at([0, 0, 0, channel]);
        let y = (f64::from(*x) - mean) / deviation * gamma + inputs[2].at([0, 0, 0, channel]);
        // The mean's own error is relative to the mean, which may be far larger than the deviation.
        let sums = rounding(DType::F32)
            * (32.0 + 2.0 * (w.max(channels / groups * h) as f64).sqrt())
            * (1.0 + mean.abs() / deviation)
            * (1.0 + y.abs());
        silu_of(y, sums, dtype)
    };
    values.iter().enumerate().map(reference).collect()
}

/// SiLU of a value that is off by `before`, and what its result may be off by: WGSL allows an exponential
/// 3 + 2·|x| units in the last place, which are two roundings each.
pub(super) fn silu_of(y: f64, before: f64, dtype: DType) -> (f64, f64) {
    let want = y / (1.0 + (-y).exp());
    (want, 1.1 * before + rounding(dtype) * (16.0 + 4.0 * y.abs()) * want.abs().max(0.1))
}

/// Over the last axis.
fn layer(dims: [usize; 3], mean: f32, dtype: DType) -> Case {
    let width = dims[2];
    let x = [1, dims[0], dims[1], width];
    let made = move || {
        vec![
            Host::data("x", x, 1.5, mean),
            Host::weight("norm.weight", &[width]),
            Host::weight("norm.bias", &[width]),
        ]
    };
    let compute = move |_: &_, t: &[Tensor<4>]| {
        let vector = |i: usize| -> Tensor<1> { t[i].clone().reshape([width]) };
        layer_norm(t[0].clone(), vector(1), vector(2), EPS)
    };
    let row = move |row: &[f32], inputs: &[Host]| -> Vec<(f64, f64)> {
        let count = width as f64;
        let mean = row.iter().map(|v| f64::from(*v)).sum::<f64>() / count;
        let variance = row.iter().map(|v| (f64::from(*v) - mean).powi(2)).sum::<f64>() / count;
        let deviation = (variance + EPS).sqrt();
        let one = |(i, x): (usize, &f32)| {
            let want =
                (f64::from(*x) - mean) / deviation * inputs[1].at([0, 0, 0, i]) + inputs[2].at([0, 0, 0, i]);
            let spread = (1.0 + mean.abs() / deviation) * (1.0 + want.abs());
            (want, rounding(dtype) * (16.0 + 2.0 * count.sqrt()) * spread)
        };
        row.iter().enumerate().map(one).collect()
    };
    let shape = format!("{}, mean {mean}", times(&dims));
    Case::exact("layer norm", shape, dtype, made, compute, move |inputs| {
        inputs[0].values.chunks_exact(width).flat_map(|values| row(values, inputs)).collect()
    })
}

/// In `dtype`.
pub(super) fn cases(dtype: DType) -> Vec<Case> {
    let mut cases = vec![
        group([1, 32, 1, 1], 32, Stats::Elsewhere, 0.0, dtype),
        group([2, 64, 7, 3], 32, Stats::Own, 0.0, dtype),
        group([2, 64, 1, 301], 32, Stats::Own, 0.0, dtype),
        group([3, 64, 13, 5], 32, Stats::Pooled, 0.0, dtype),
        group([2, 320, 32, 32], 32, Stats::Own, 0.0, dtype),
        group([2, 320, 32, 32], 32, Stats::Elsewhere, 3.0, dtype),
        layer([1, 1, 1280], 0.0, dtype),
        layer([2, 77, 768], 0.0, dtype),
        layer([2, 31, 65], 2.0, dtype),
        group([2, 960, 31, 33], 32, Stats::Own, 0.0, dtype).thorough(),
        layer([2, 4096, 320], 0.0, dtype).thorough(),
    ];
    // The autoencoder's are f32, over long sums and with means far from 0.
    if dtype == DType::F32 {
        cases.extend([
            group([1, 64, 64, 64], 32, Stats::Own, 30.0, dtype),
            group([1, 128, 256, 256], 32, Stats::Own, 0.0, dtype).thorough(),
            group([1, 128, 256, 255], 32, Stats::Elsewhere, 0.0, dtype).thorough(),
        ]);
    }
    cases
}
