//! Attention of `clarifier-kernels`, whole and in chunks, and softmax.

use burn::tensor::activation::softmax;
use burn::tensor::{DType, Tensor};
use clarifier_kernels::{AttentionBudget, attention};
use rayon::prelude::*;

use super::case::{Case, Host, times};
use super::compare::{rms, rounding, sum_tolerance};

/// `[batch, heads, queries, d]`.
type Dims = [usize; 4];

/// Attention to `keys` keys; in chunks of at most `chunk` queries if any.
fn case(kernel: &'static str, dims: Dims, keys: usize, chunk: Option<usize>, dtype: DType) -> Case {
    let [batch, heads, queries, d] = dims;
    let operations = 4.0 * (batch * heads * queries) as f64 * (keys * d) as f64;
    let made = move || {
        vec![
            Host::data("q", dims, 2.0, 0.0),
            Host::data("k", [batch, heads, keys, d], 2.0, 0.0),
            Host::data("v", [batch, heads, keys, d], 1.0, 0.0),
        ]
    };
    let compute = move |backend: &crate::device::Backend, t: &[Tensor<4>]| {
        let row = (4 * batch * heads * keys) as u64;
        let budget = chunk.map_or(backend.attention, |c| AttentionBudget::in_chunks(row * c as u64));
        attention(t[0].clone(), t[1].clone(), t[2].clone(), budget)
    };
    let case = Case::exact(
        kernel,
        format!("{}, {keys} keys{}", times(&dims), chunk.map_or_else(String::new, |c| format!(", by {c}"))),
        dtype,
        made,
        compute,
        move |inputs| reference(inputs, dims, keys, dtype),
    );
    if operations > 1e8 { case.timed(operations) } else { case }
}

/// Written out in f64, with what rounding allows: scores are sums of d products, outputs sums of keys
/// products, and the errors of a row's weights are independent, so they average out as the values do.
fn reference(inputs: &[Host], [_, _, queries, d]: Dims, keys: usize, dtype: DType) -> Vec<(f64, f64)> {
    let [q, k, v] = [&inputs[0].values, &inputs[1].values, &inputs[2].values];
    let spread = rms(v.iter().map(|v| f64::from(*v)));
    let row = |index: usize| -> Vec<(f64, f64)> {
        let head = index / queries;
        let query: Vec<f64> = q[index * d..][..d].iter().map(|v| f64::from(*v)).collect();
        let score = |key: &[f32]| {
            key.iter().zip(&query).map(|(k, q)| f64::from(*k) * q).sum::<f64>() / (d as f64).sqrt()
        };
        let scores: Vec<f64> = k[head * keys * d..][..keys * d].chunks_exact(d).map(score).collect();
        let top = scores.iter().copied().fold(f64::MIN, f64::max);
        let weights: Vec<f64> = scores.iter().map(|s| (s - top).exp()).collect();
        let total: f64 = weights.iter().sum();
        let mut out = vec![0.0; d];
        for (weight, value) in weights.iter().zip(v[head * keys * d..][..keys * d].chunks_exact(d)) {
            out.iter_mut().zip(value).for_each(|(out, v)| *out += weight / total * f64::from(*v));
        }
        let one = weights.iter().map(|w| (w / total).powi(2)).sum::<f64>().sqrt() * spread;
        let largest = scores.iter().fold(1.0, |most: f64, s| most.max(s.abs()));
        let tolerance = sum_tolerance(dtype, d) * (1.0 + largest) + sum_tolerance(dtype, keys);
        out.into_iter().map(|out| (out, one * tolerance + 8.0 * rounding(dtype) * out.abs())).collect()
    };
    (0..inputs[0].values.len() / d).into_par_iter().flat_map_iter(row).collect()
}

/// In `dtype`; the autoencoder's only in f32.
pub(super) fn cases(dtype: DType) -> Vec<Case> {
    let (own, text, chunked) = ("self-attention", "cross-attention", "attention in chunks");
    let mut cases = vec![
        case(own, [1, 1, 1, 1], 1, None, dtype),
        case(own, [2, 3, 37, 7], 53, None, dtype),
        case(own, [2, 8, 64, 160], 64, None, dtype),
        case(text, [2, 8, 256, 80], 77, None, dtype),
        case(text, [2, 8, 1, 40], 77, None, dtype),
        case(text, [1, 2, 63, 40], 1, None, dtype),
        case(chunked, [2, 3, 50, 8], 50, Some(7), dtype),
        case(chunked, [1, 2, 33, 40], 154, Some(1), dtype),
        case(own, [2, 8, 1024, 40], 1024, None, dtype).thorough(),
        case(own, [1, 2, 4096, 40], 4096, None, dtype).thorough(),
        case(chunked, [1, 8, 1024, 80], 1024, Some(100), dtype).thorough(),
        case(text, [2, 8, 4096, 40], 77, None, dtype).thorough(),
    ];
    if dtype == DType::F32 {
        cases.push(case(own, [1, 1, 1024, 512], 1024, None, dtype).thorough());
    }
    cases
}

/// Always in f32.
pub(super) fn softmax_cases() -> Vec<Case> {
    let one = |dims: Dims, scale: f32| {
        Case::exact(
            "softmax",
            format!("{}, ±{scale}", times(&dims)),
            DType::F32,
            move || vec![Host::data("x", dims, scale, 0.0)],
            |_, t| softmax(t[0].clone(), 3),
            move |inputs| inputs[0].values.par_chunks_exact(dims[3]).flat_map_iter(softmax_row).collect(),
        )
    };
    vec![
        one([1, 1, 7, 1], 8.0),
        one([2, 3, 5, 77], 8.0),
        one([1, 1, 1, 65_537], 8.0),
        // Scores that overflow an exponential that is not taken from the row's largest.
        one([1, 2, 33, 129], 1e4),
        one([1, 8, 256, 1024], 8.0),
        one([1, 8, 256, 4096], 8.0).thorough(),
    ]
}

/// WGSL allows an exponential 3 + 2·|x| units in the last place. A plain sum of positive terms rounds each at the size of the
/// whole, and not always independently: an eighth of a rounding for each is allowed.
fn softmax_row(row: &[f32]) -> Vec<(f64, f64)> {
    let top = f64::from(row.iter().copied().fold(f32::MIN, f32::max));
    let weights: Vec<f64> = row.iter().map(|x| (f64::from(*x) - top).exp()).collect();
    let total: f64 = weights.iter().sum();
    let rounding = rounding(DType::F32);
    let allowed = |x: f32, p: f64| {
        let depth = (top - f64::from(x)).min(100.0);
        // What is below the least normal number may be flushed to nothing.
        rounding * (32.0 + 4.0 * depth + row.len() as f64 / 8.0) * p + 1e-37
    };
    row.iter().zip(weights).map(|(x, w)| (w / total, allowed(*x, w / total))).collect()
}
