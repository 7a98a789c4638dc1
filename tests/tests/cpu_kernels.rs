//! The CPU's kernels against their definitions in f64, at true and at awkward sizes.

use burn::tensor::activation::leaky_relu;
use burn::tensor::ops::ConvOptions;
use burn::tensor::{Device, Tensor, TensorData, module};
use clarifier_kernels::{
    AttentionBudget, attention, conv2d, conv2d_onto, dense_block, geglu, group_norm, group_norm_silu,
    group_stats, linear, linear_geglu, linear_onto,
};
use clarifier_tests::weights::data;

/// f32 against f64, as a share of what the terms amount to; sums of at most some thousand terms.
const SUMS: f64 = 2e-6;
/// What minimal filtering loses more (a digit), against the largest output.
const WINOGRAD: f64 = 5e-5;

fn made<const D: usize>(name: &str, dims: [usize; D]) -> Tensor<D> {
    Tensor::from_data(TensorData::new(data(name, &dims), dims), &Device::flex())
}

fn values<const D: usize>(tensor: Tensor<D>) -> Vec<f64> {
    tensor.into_data().iter::<f64>().collect()
}

/// Every value within `tolerance` of the largest of `want`.
fn assert_near(name: &str, got: &[f64], want: &[f64], tolerance: f64) {
    assert_eq!(got.len(), want.len(), "{name}");
    let largest = want.iter().fold(0.0_f64, |a, b| a.max(b.abs())).max(1e-3);
    let worst = got.iter().zip(want).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
    assert!(got.iter().all(|v| v.is_finite()), "{name}: no number");
    assert!(worst <= tolerance * largest, "{name}: {worst} of {largest}");
}

/// A convolution of stride 1 by its definition, at some places.
fn conv_in_f64(x: &Tensor<4>, weight: &Tensor<4>, bias: &[f64], at: [usize; 4], padding: usize) -> f64 {
    let ([_, inputs, h, w], [_, _, k, _]) = (x.dims(), weight.dims());
    let [picture, output, row, column] = at;
    let [x, weight] = [x, weight].map(|t| t.to_data());
    let (x, weight) = (x.as_slice::<f32>().unwrap(), weight.as_slice::<f32>().unwrap());
    let mut sum = bias[output];
    for input in 0..inputs {
        for i in 0..k {
            for j in 0..k {
                let (y, z) = ((row + i).wrapping_sub(padding), (column + j).wrapping_sub(padding));
                if y < h && z < w {
                    let pixel = x[((picture * inputs + input) * h + y) * w + z];
                    sum += f64::from(pixel) * f64::from(weight[((output * inputs + input) * k + i) * k + j]);
                }
            }
        }
    }
    sum
}

fn check_conv([batch, inputs, outputs, h, w]: [usize; 5], k: usize, x: Tensor<4>, tolerance: f64) {
    let weight = made("weight", [outputs, inputs, k, k]);
    let bias = made("bias", [outputs]);
    let padding = k / 2;
    let options = ConvOptions::new([1; 2], [padding; 2], [1; 2], 1);
    let out = conv2d(x.clone(), weight.clone(), Some(bias.clone()), options.clone());
    assert_eq!(out.dims(), [batch, outputs, h, w]);
    // As a view whose rows do not follow each other.
    let to = made("to", [batch, outputs, w, h]).swap_dims(2, 3);
    let onto = conv2d_onto(to.clone(), x.clone(), weight.clone(), Some(bias.clone()), options.clone());
    let alone = values(conv2d_onto(to.clone(), x.clone(), weight.clone(), None, options));
    let (out, onto, bias, to) = (values(out), values(onto), values(bias), values(to));
    // All places of small ones; of large ones those whose number has nothing to do with any tile.
    let step = (out.len() / 2000).max(1) | 1;
    let places: Vec<usize> = (0..out.len()).step_by(step).chain([out.len() - 1]).collect();
    let want: Vec<f64> = places
        .iter()
        .map(|at| {
            let (plane, pixel) = (at / (h * w), at % (h * w));
            conv_in_f64(&x, &weight, &bias, [plane / outputs, plane % outputs, pixel / w, pixel % w], padding)
        })
        .collect();
    let got: Vec<f64> = places.iter().map(|at| out[*at]).collect();
    let name = format!("{k} × {k}, {batch} × {inputs} → {outputs} at {h} × {w}");
    assert_near(&name, &got, &want, tolerance);
    let at = |values: &[f64]| -> Vec<f64> { places.iter().map(|at| values[*at]).collect() };
    let shortcut: Vec<f64> = at(&to).iter().zip(&want).map(|(to, want)| to + want).collect();
    assert_near(&format!("{name}, onto"), &at(&onto), &shortcut, tolerance);
    let channels = places.iter().map(|at| at / (h * w) % outputs);
    let unbiased: Vec<f64> =
        shortcut.iter().zip(channels).map(|(sum, channel)| sum - bias[channel]).collect();
    assert_near(&format!("{name}, onto alone"), &at(&alone), &unbiased, tolerance);
}

#[test]
fn convolutions_are_convolutions() {
    for sizes in [
        [1, 1, 1, 1, 1],
        [2, 3, 7, 1, 9],
        [1, 4, 320, 16, 16],
        [2, 5, 4, 6, 5],
        [1, 330, 13, 9, 18],
        [2, 64, 32, 33, 70],
        [2, 640, 6, 4, 4],
    ] {
        let [batch, inputs, _, h, w] = sizes;
        let x = made("x", [batch, inputs, h, w]);
        check_conv(sizes, 3, x.clone(), WINOGRAD);
        check_conv(sizes, 1, x, SUMS);
    }
    // As a view whose rows do not follow each other.
    let turned = made("x", [1, 20, 17, 6]).swap_dims(2, 3);
    check_conv([1, 20, 9, 6, 17], 3, turned.clone(), WINOGRAD);
    check_conv([1, 20, 9, 6, 17], 1, turned, SUMS);
    let cut = made("x", [2, 20, 12, 19]).narrow(3, 2, 11).narrow(1, 3, 16);
    check_conv([2, 16, 9, 12, 11], 3, cut.clone(), WINOGRAD);
    check_conv([2, 16, 9, 12, 11], 1, cut, SUMS);
}

/// Against burn's own operations, one after the other: small blocks, a batch, edges that no tile fills, and pictures so
/// large that the block does not keep what its convolutions share.
#[test]
fn a_dense_block_is_its_convolutions() {
    for ([batch, features, growth, h, w], convs) in [
        ([1, 64, 32, 33, 70], 5),
        ([2, 8, 4, 9, 5], 5),
        ([1, 3, 7, 1, 2], 3),
        ([1, 16, 8, 40, 40], 1),
        ([1, 200, 150, 16, 16], 3),
        ([1, 64, 32, 256, 320], 5),
    ] {
        let x = made("x", [batch, features, h, w]);
        let parts: Vec<_> = (0..convs)
            .map(|k| {
                let outputs = if k + 1 == convs { features } else { growth };
                let weight =
                    made(&format!("weight {k}"), [outputs, features + k * growth, 3, 3]).mul_scalar(0.2);
                (weight, made(&format!("bias {k}"), [outputs]))
            })
            .collect();
        let got = dense_block(x.clone(), &parts, 0.2, 0.3);
        let ((weight, bias), inner) = parts.split_last().unwrap();
        let plain = |x: Tensor<4>, weight: &Tensor<4>, bias: &Tensor<1>| {
            let options = ConvOptions::new([1; 2], [1; 2], [1; 2], 1);
            module::conv2d(x, weight.clone(), Some(bias.clone()), options)
        };
        let seen = inner.iter().fold(x.clone(), |seen, (weight, bias)| {
            let y = leaky_relu(plain(seen.clone(), weight, bias), 0.2);
            Tensor::cat(vec![seen, y], 1)
        });
        let want = plain(seen, weight, bias).mul_scalar(0.3) + x;
        let name = format!("{batch} × {features} + {growth} at {h} × {w}");
        assert_near(&name, &values(got), &values(want), 2.0 * WINOGRAD);
    }
}

#[test]
fn a_linear_layer_reads_any_order_of_axes() {
    for (rows, inputs, outputs) in [(16, 1, 1), (17, 5, 3), (77, 768, 33), (100, 1000, 20), (1, 8, 8)] {
        let x = made("x", [2, rows, inputs]);
        let turned = made("x", [2, inputs, rows]).swap_dims(1, 2);
        let weight = made("weight", [outputs, inputs]).transpose();
        let bias = made("bias", [outputs]);
        for x in [x, turned] {
            let got = values(linear(x.clone(), weight.clone(), Some(bias.clone())));
            let to = made("to", [2, outputs, rows]).swap_dims(1, 2);
            let onto = values(linear_onto(to.clone(), x.clone(), weight.clone(), Some(bias.clone())));
            let alone = values(linear_onto(to.clone(), x.clone(), weight.clone(), None));
            let (x, weight, bias) = (values(x), values(weight.clone()), values(bias.clone()));
            let want: Vec<f64> = (0..2 * rows * outputs)
                .map(|at| {
                    let (row, column) = (at / outputs, at % outputs);
                    let terms = (0..inputs).map(|k| x[row * inputs + k] * weight[k * outputs + column]);
                    terms.sum::<f64>() + bias[column]
                })
                .collect();
            assert_near(&format!("{rows} × {inputs} × {outputs}"), &got, &want, SUMS);
            let shortcut: Vec<f64> = values(to).iter().zip(&want).map(|(to, want)| to + want).collect();
            assert_near(&format!("{rows} × {inputs} × {outputs}, onto"), &onto, &shortcut, SUMS);
            let unbiased: Vec<f64> =
                shortcut.iter().enumerate().map(|(at, sum)| sum - bias[at % outputs]).collect();
            assert_near(&format!("{rows} × {inputs} × {outputs}, onto alone"), &alone, &unbiased, SUMS);
        }
    }
}

#[test]
fn attention_of_any_size_is_attention() {
    for (batch, heads, queries, keys, d, size) in [
        (1, 1, 1, 1, 3, 1.0),
        (2, 3, 37, 77, 40, 1.0),
        (1, 2, 130, 400, 80, 1.0),
        (1, 2, 20, 6, 160, 1.0),
        (2, 1, 70, 193, 8, 100.0),
    ] {
        // As the networks give them: views of [batch, n, heads · d].
        let of = |name: &str, n: usize, size: f64| {
            made(name, [batch, n, heads, d]).swap_dims(1, 2).mul_scalar(size)
        };
        let [q, k, v] = [of("q", queries, size), of("k", keys, size), of("v", keys, 1.0)];
        let got = values(attention(q.clone(), k.clone(), v.clone(), AttentionBudget::default()));
        let [q, k, v] = [values(q), values(k), values(v)];
        let mut want = Vec::new();
        for head in 0..batch * heads {
            for i in 0..queries {
                let query = &q[(head * queries + i) * d..][..d];
                let row = |t: &'_ [f64], j: usize| t[(head * keys + j) * d..][..d].to_vec();
                let dot = |j| query.iter().zip(row(&k, j)).map(|(a, b)| a * b).sum::<f64>();
                let scores: Vec<f64> = (0..keys).map(|j| dot(j) / (d as f64).sqrt()).collect();
                let top = scores.iter().copied().fold(f64::MIN, f64::max);
                let total: f64 = scores.iter().map(|s| (s - top).exp()).sum();
                let rows: Vec<Vec<f64>> = (0..keys).map(|j| row(&v, j)).collect();
                want.extend((0..d).map(|c| {
                    scores.iter().zip(&rows).map(|(s, r)| (s - top).exp() / total * r[c]).sum::<f64>()
                }));
            }
        }
        // Scores of some thousands are off by their own rounding, which the exponential makes a share.
        let tolerance = if size > 1.0 { 3e-3 } else { SUMS };
        assert_near(&format!("{queries} queries, {keys} keys of {d}"), &got, &want, tolerance);
    }
}

#[test]
fn a_number_that_is_none_stays_none() {
    let mut query = data("q", &[1, 1, 20, 8]);
    query[3] = f32::NAN;
    let query = Tensor::<4>::from_data(TensorData::new(query, [1, 1, 20, 8]), &Device::flex());
    let key = made("k", [1, 1, 30, 8]);
    let out = values(attention(query, key.clone(), key, AttentionBudget::default()));
    assert!(out[..8].iter().all(|v| v.is_nan()) && out[8..].iter().all(|v| v.is_finite()));
    let x = Tensor::<3>::from_data([[[f32::NAN, 1.0, 1.0, f32::NAN]]], &Device::flex());
    assert!(values(geglu(x)).iter().all(|v| v.is_nan()));
}

#[test]
fn norms_and_gates_are_what_they_say() {
    for (batch, channels, h, w, offset) in [(1, 32, 1, 1, 0.0), (2, 64, 5, 7, 3.0), (2, 320, 31, 33, 300.0)] {
        let x = made("x", [batch, channels, h, w]).add_scalar(offset);
        let (gamma, beta) = (made("gamma", [channels]), made("beta", [channels]));
        for pooled in [false, true] {
            let stats = group_stats(&x, 32, pooled);
            let group = channels / 32 * h * w;
            let all = values(x.clone());
            let members = |at: usize| -> Vec<f64> {
                let own = |at: usize| all[at * group..][..group].to_vec();
                if pooled { (0..batch).flat_map(|b| own(b * 32 + at % 32)).collect() } else { own(at) }
            };
            let moments: Vec<[f64; 2]> = (0..batch * 32)
                .map(members)
                .map(|x| {
                    let mean = x.iter().sum::<f64>() / x.len() as f64;
                    [mean, x.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / x.len() as f64]
                })
                .collect();
            let (g, b) = (values(gamma.clone()), values(beta.clone()));
            let want: Vec<f64> = (0..all.len())
                .map(|i| {
                    let ([mean, variance], channel) = (moments[i / group], i / (h * w) % channels);
                    (all[i] - mean) / (variance + 1e-5).sqrt() * g[channel] + b[channel]
                })
                .collect();
            let norm = group_norm(x.clone(), &stats, gamma.clone(), beta.clone(), 1e-5);
            let silu = group_norm_silu(x.clone(), &stats, gamma.clone(), beta.clone(), 1e-5);
            // Values of 300 ± 1 have two digits fewer, and those of one member no variance: then eps divides.
            let tolerance = if offset > 100.0 { 2e-4 } else { 1e-5 };
            let name = format!("{channels} channels of {h} × {w}, pooled {pooled}");
            assert_near(&name, &values(norm), &want, tolerance);
            let want: Vec<f64> = want.iter().map(|y| y / (1.0 + (-y).exp())).collect();
            assert_near(&name, &values(silu), &want, tolerance);
        }
    }
    for half in [1, 3, 40, 1280] {
        let x = made("x", [2, 9, 2 * half]).mul_scalar(6.0);
        let all = values(x.clone());
        let want: Vec<f64> = (0..18 * half)
            .map(|at| {
                let row = &all[at / half * 2 * half..];
                row[at % half] * gelu(row[half + at % half])
            })
            .collect();
        assert_near(&format!("{half} gates"), &values(geglu(x)), &want, SUMS);
    }
}

#[test]
fn gates_in_the_cache_are_those_in_memory_to_the_bit() {
    for (batch, rows, inputs, outputs) in
        [(1, 1, 3, 1), (2, 7, 40, 3), (2, 16, 5, 33), (3, 100, 320, 40), (1, 33, 800, 130)]
    {
        let (weight, bias) = (made("weight", [2 * outputs, inputs]), made("bias", [2 * outputs]));
        let straight = made("x", [batch, rows, inputs]).mul_scalar(3.0);
        let turned = made("x", [batch, inputs, rows]).mul_scalar(3.0).swap_dims(1, 2);
        for x in [straight, turned] {
            for bias in [Some(bias.clone()), None] {
                let want = geglu(linear(x.clone(), weight.clone().transpose(), bias.clone()));
                let got = linear_geglu(x.clone(), weight.clone().transpose(), bias);
                assert_eq!(got.dims(), [batch, rows, outputs]);
                assert_eq!(values(got), values(want), "{batch} × {rows} × {inputs} → {outputs}");
            }
        }
    }
}

/// x · Φ(x), Φ by its series around 0 (Marsaglia 2004).
fn gelu(x: f64) -> f64 {
    let (mut term, mut sum, mut n) = (x, x, 1.0);
    while sum + term != sum {
        n += 2.0;
        term *= x * x / n;
        sum += term;
    }
    let density = (-x * x / 2.0).exp() / (2.0 * std::f64::consts::PI).sqrt();
    x * (0.5 + sum * density)
}

#[test]
fn the_number_of_threads_changes_no_bit() {
    let run = || {
        let x = made("x", [2, 40, 37, 50]);
        let weight = made("weight", [44, 40, 3, 3]);
        let y = conv2d(x.clone(), weight, None, ConvOptions::new([1; 2], [1; 2], [1; 2], 1));
        let stats = group_stats(&x, 8, true);
        let z = group_norm_silu(x.clone(), &stats, made("g", [40]), made("b", [40]), 1e-5);
        let tokens = x.reshape([2, 40, 37 * 50]).swap_dims(1, 2);
        let t = linear(tokens.clone(), made("w", [40, 60]), None);
        let heads = |t: Tensor<3>| t.reshape([2, 37 * 50, 5, 8]).swap_dims(1, 2);
        let a = attention(heads(tokens.clone()), heads(tokens.clone()), heads(tokens), Default::default());
        (values(y), values(z), values(t), values(a))
    };
    let with =
        |threads: usize| rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap().install(run);
    let one = with(1);
    assert!(one == with(2) && one == with(5));
}
