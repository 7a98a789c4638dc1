//! The GPU's kernels against the CPU's, which `cpu_kernels` holds against their definitions: with tiles in registers and shared ones, and with
//! burn's where it would have matrix units, in f32 and in f16 where the adapter has it, at the networks' shapes and at awkward ones.

use burn::tensor::ops::ConvOptions;
use burn::tensor::{DType, Device, FloatDType, Tensor, TensorData};
use clarifier_kernels::{
    AttentionBudget, GroupStats, Tiles, attention, conv2d, conv2d_onto, force_matrix_units, geglu,
    group_norm, group_norm_silu, group_stats, layer_norm, linear, linear_geglu, linear_onto,
    refuse_subgroups,
};
use clarifier_tests::weights::data;

use crate::gpu::gpu;

/// f32, summed in another order; and the CPU's minimal filtering loses a digit.
const F32: f32 = 5e-5;
/// f16 rounds the result to 2⁻¹¹ of itself, of which the largest is the measure; the operands are the same.
const F16: f32 = 6e-4;
/// Burn's convolution that stands for the one on units, which software adapters lack, sums hundreds of products in f16.
const F16_SUMS: f32 = 1.5e-2;

/// A tensor on the CPU, of values that f16 holds.
fn made<const D: usize>(name: &str, dims: [usize; D]) -> Tensor<D> {
    let values = data(name, &dims).iter().map(|v| burn::tensor::f16::from_f32(*v).to_f32()).collect();
    Tensor::from_data(TensorData::new::<f32, _>(values, dims), &Device::flex())
}

/// What runs the kernels: the types that the adapter has, with both kinds of tiles, those in registers without subgroups too, and burn's as if
/// the adapter had matrix units.
fn each(mut check: impl FnMut(&str, FloatDType, f32)) {
    let backend = gpu();
    let f16 =
        backend.adapter.as_ref().is_some_and(|a| a.shader_f16) && backend.device.supports_dtype(DType::F16);
    if !f16 {
        println!("{} has no f16: that half is not tested here", backend.reason);
    }
    for (name, tiles, subgroups, units) in [
        ("registers", Tiles::Registers, true, false),
        ("registers without subgroups", Tiles::Registers, false, false),
        ("shared", Tiles::Shared, true, false),
        ("matrix units", Tiles::Shared, true, true),
    ] {
        Tiles::force(Some(tiles));
        refuse_subgroups(!subgroups);
        force_matrix_units(units);
        check(&format!("{name}, f32"), FloatDType::F32, F32);
        if f16 {
            let tolerance = if units { F16_SUMS } else { F16 };
            check(&format!("{name}, f16"), FloatDType::F16, tolerance);
        }
    }
    refuse_subgroups(false);
    force_matrix_units(false);
    Tiles::force(None);
}

/// The same on the GPU.
fn there<const D: usize>(tensor: &Tensor<D>, dtype: FloatDType) -> Tensor<D> {
    tensor.clone().to_device(&gpu().device).cast(dtype)
}

fn assert_near<const D: usize>(name: &str, got: Tensor<D>, want: &Tensor<D>, tolerance: f32) {
    assert_eq!(got.dims(), want.dims(), "{name}");
    let got: Vec<f32> = got.into_data().iter::<f32>().collect();
    let want: Vec<f32> = want.to_data().iter::<f32>().collect();
    let largest = want.iter().fold(0.0_f32, |a, b| a.max(b.abs())).max(1e-3);
    let worst = got.iter().zip(&want).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    assert!(got.iter().all(|v| v.is_finite()), "{name}: no number");
    assert!(worst <= tolerance * largest, "{name}: off by {worst} of {largest}");
}

#[test]
fn convolutions_on_the_gpu_are_those_of_the_cpu() {
    // Batch, inputs, outputs, height, width; kernel, stride, padding before and after.
    for ([batch, inputs, outputs, h, w], [k, stride, before, after]) in [
        ([1, 1, 1, 1, 1], [3, 1, 1, 1]),
        ([2, 3, 7, 1, 9], [3, 1, 1, 1]),
        ([1, 4, 320, 16, 16], [3, 1, 1, 1]),
        ([2, 5, 4, 6, 5], [3, 1, 1, 1]),
        ([1, 66, 13, 9, 18], [3, 1, 1, 1]),
        ([2, 64, 32, 33, 70], [3, 1, 1, 1]),
        ([1, 5, 9, 7, 10], [3, 1, 0, 0]),
        ([2, 12, 65, 16, 16], [3, 2, 1, 1]),
        ([1, 9, 10, 17, 13], [3, 2, 0, 1]),
        ([1, 3, 2, 2, 2], [3, 2, 0, 1]),
        ([2, 20, 64, 8, 8], [1, 1, 0, 0]),
        ([1, 7, 5, 3, 5], [1, 1, 0, 0]),
        ([2, 130, 70, 9, 11], [1, 1, 0, 0]),
    ] {
        let x = made("x", [batch, inputs, h, w]);
        let (weight, bias) = (made("weight", [outputs, inputs, k, k]), made("bias", [outputs]));
        let options = ConvOptions::new_with_padding([stride; 2], [(before, after); 2], [1; 2], 1);
        let want = conv2d(x.clone(), weight.clone(), Some(bias.clone()), options.clone());
        let unbiased = conv2d(x.clone(), weight.clone(), None, options.clone());
        let to = made("to", want.dims());
        let onto = to.clone() + want.clone();
        // As views whose rows do not follow each other.
        let turned = x.clone().swap_dims(2, 3).mul_scalar(1.0).swap_dims(2, 3);
        each(|which, dtype, tolerance| {
            let name = format!("{which}: {k} × {k} by {stride}, {batch} × {inputs} → {outputs} at {h} × {w}");
            let (weight, bias) = (there(&weight, dtype), there(&bias, dtype));
            for x in [there(&x, dtype), there(&turned.clone().swap_dims(2, 3), dtype).swap_dims(2, 3)] {
                let got = conv2d(x.clone(), weight.clone(), Some(bias.clone()), options.clone());
                assert_near(&name, got.cast(FloatDType::F32), &want, tolerance);
                let got = conv2d(x, weight.clone(), None, options.clone());
                assert_near(&format!("{name}, unbiased"), got.cast(FloatDType::F32), &unbiased, tolerance);
            }
            // In registers what is added to is rounded to f16 before.
            let (to, x) = (there(&to, dtype), there(&x, dtype));
            let got = conv2d_onto(to, x, weight, Some(bias), options.clone());
            assert_near(&format!("{name}, onto"), got.cast(FloatDType::F32), &onto, 2.0 * tolerance);
        });
    }
}

#[test]
fn unusual_convolutions_on_the_gpu_are_those_of_the_cpu() {
    for (weight, stride, padding, dilation, groups) in [
        ([6, 4, 5, 2], [1, 1], [(2, 1), (0, 3)], [1, 1], 1),
        ([6, 2, 3, 3], [2, 1], [(1, 1), (1, 1)], [1, 2], 2),
        ([8, 1, 3, 3], [1, 1], [(1, 1), (1, 1)], [1, 1], 4),
        ([3, 4, 1, 1], [2, 2], [(0, 0), (0, 0)], [1, 1], 1),
    ] {
        let (x, bias) = (made("x", [2, 4, 9, 11]), made("bias", [weight[0]]));
        let options = ConvOptions::new_with_padding(stride, padding, dilation, groups);
        let weight = made("weight", weight);
        let want = conv2d(x.clone(), weight.clone(), Some(bias.clone()), options.clone());
        each(|which, dtype, tolerance| {
            let [x, weight] = [&x, &weight].map(|t| there(t, dtype));
            let got = conv2d(x, weight, Some(there(&bias, dtype)), options.clone());
            assert_near(&format!("{which}: {options:?}"), got.cast(FloatDType::F32), &want, tolerance);
        });
    }
}

#[test]
fn linear_layers_on_the_gpu_are_those_of_the_cpu() {
    for (rows, inputs, outputs) in [
        (1, 1, 1),
        (1, 1280, 320),
        (2, 64, 130),
        (16, 5, 3),
        (77, 768, 33),
        (33, 130, 66),
        (100, 1000, 20),
        (129, 64, 257),
    ] {
        let x = made("x", [2, rows, inputs]);
        let (weight, bias) = (made("weight", [outputs, inputs]), made("bias", [outputs]));
        let want = linear(x.clone(), weight.clone().transpose(), Some(bias.clone()));
        let unbiased = linear(x.clone(), weight.clone().transpose(), None);
        let to = made("to", [2, rows, outputs]);
        let onto = linear_onto(to.clone(), x.clone(), weight.clone().transpose(), Some(bias.clone()));
        // Of which the second half gate the first.
        let (gates, gate_bias) = (made("gates", [2 * outputs, inputs]), made("gates", [2 * outputs]));
        let gated = linear_geglu(x.clone(), gates.clone().transpose(), Some(gate_bias.clone()));
        let gated_alone = linear_geglu(x.clone(), gates.clone().transpose(), None);
        each(|which, dtype, tolerance| {
            let name = format!("{which}: {rows} × {inputs} × {outputs}");
            let (weight, bias) = (there(&weight, dtype), there(&bias, dtype));
            let turned = there(&x.clone().swap_dims(1, 2).mul_scalar(1.0), dtype).swap_dims(1, 2);
            // Weights as files have them, and the other way round.
            let straight = there(&made("weight", [outputs, inputs]).transpose().mul_scalar(1.0), dtype);
            for (x, weight) in [(there(&x, dtype), weight.clone().transpose()), (turned, straight)] {
                let got = linear(x.clone(), weight.clone(), Some(bias.clone()));
                assert_near(&name, got.cast(FloatDType::F32), &want, tolerance);
                let got = linear(x, weight, None);
                assert_near(&format!("{name}, unbiased"), got.cast(FloatDType::F32), &unbiased, tolerance);
            }
            // In registers what is added or gated is rounded to f16 before.
            let got = linear_onto(
                there(&to, dtype),
                there(&x, dtype),
                weight.clone().transpose(),
                Some(bias.clone()),
            );
            assert_near(&format!("{name}, onto"), got.cast(FloatDType::F32), &onto, 2.0 * tolerance);
            let tolerance = 2.0 * tolerance;
            let (x, gates) = (there(&x, dtype), there(&gates, dtype).transpose());
            let got = linear_geglu(x.clone(), gates.clone(), Some(there(&gate_bias, dtype)));
            assert_near(&format!("{name}, gated"), got.cast(FloatDType::F32), &gated, tolerance);
            let got = linear_geglu(x, gates, None);
            assert_near(&format!("{name}, gated alone"), got.cast(FloatDType::F32), &gated_alone, tolerance);
        });
    }
}

#[test]
fn attention_on_the_gpu_is_that_of_the_cpu() {
    for (batch, heads, queries, keys, d, size) in [
        (1, 1, 1, 1, 3, 1.0),
        (2, 3, 37, 77, 40, 1.0),
        (1, 2, 130, 150, 64, 1.0),
        (1, 2, 100, 97, 80, 1.0),
        (2, 1, 20, 6, 160, 1.0),
        (1, 1, 33, 65, 512, 1.0),
        (1, 3, 40, 32, 36, 1.0),
        (2, 1, 70, 193, 8, 32.0),
    ] {
        // As the networks give them: views of [batch, n, heads · d].
        let of = |name: &str, n: usize, size: f64| made(name, [batch, n, heads, d]).mul_scalar(size);
        let all = [of("q", queries, size), of("k", keys, size), of("v", keys, 1.0)];
        let heads = |t: Tensor<4>| t.swap_dims(1, 2);
        let run = |all: [Tensor<4>; 3]| {
            let [q, k, v] = all.map(heads);
            attention(q, k, v, AttentionBudget::default())
        };
        let want = run(all.clone());
        each(|which, dtype, tolerance| {
            // Large scores are off by their own rounding, which the exponential makes a share.
            let tolerance = if size > 1.0 { 3e-3 } else { tolerance };
            let name = format!("{which}: {queries} queries, {keys} keys of {d}");
            let got = run(all.clone().map(|t| there(&t, dtype)));
            assert_near(&name, got.cast(FloatDType::F32), &want, tolerance);
            // Heads one after the other, and vectors across.
            let [q, k, v] = all.clone().map(|t| there(&heads(t).mul_scalar(1.0), dtype));
            let across = k.swap_dims(2, 3).mul_scalar(1.0).swap_dims(2, 3);
            let got = attention(q, across, v, AttentionBudget::default());
            assert_near(&format!("{name}, placed otherwise"), got.cast(FloatDType::F32), &want, tolerance);
        });
    }
}

#[test]
fn norms_and_gates_on_the_gpu_are_those_of_the_cpu() {
    for (batch, channels, h, w, offset) in [
        (1, 32, 1, 1, 0.0),
        (2, 64, 5, 7, 3.0),
        (2, 320, 31, 33, 300.0),
        (2, 64, 40, 72, 3.0),
        (1, 96, 2, 2, 0.0),
    ] {
        let x = made("x", [batch, channels, h, w]).add_scalar(offset);
        let (gamma, beta) = (made("gamma", [channels]), made("beta", [channels]));
        for pooled in [false, true] {
            let stats = group_stats(&x, 32, pooled);
            let norm = group_norm(x.clone(), &stats, gamma.clone(), beta.clone(), 1e-5);
            let silu = group_norm_silu(x.clone(), &stats, gamma.clone(), beta.clone(), 1e-5);
            each(|which, dtype, tolerance| {
                // Values of 300 ± 1 have two digits fewer, and in f16 none that matters.
                let tolerance = if offset > 100.0 { 4.0 * tolerance } else { tolerance };
                if offset > 100.0 && dtype == FloatDType::F16 {
                    return;
                }
                let name = format!("{which}: {channels} channels of {h} × {w}, pooled {pooled}");
                let (gamma, beta) = (there(&gamma, dtype), there(&beta, dtype));
                let there = there(&x, dtype);
                let own = group_stats(&there, 32, pooled);
                // In f16 the values themselves are rounded, and their moments with them.
                assert_near(&format!("{name}, mean"), own.mean.clone(), &stats.mean, tolerance);
                assert_near(
                    &format!("{name}, variance"),
                    own.variance.clone(),
                    &stats.variance,
                    4.0 * tolerance,
                );
                let given = GroupStats {
                    mean: stats.mean.clone().to_device(&gpu().device),
                    variance: stats.variance.clone().to_device(&gpu().device),
                };
                for (kind, stats) in [("own", &own), ("given", &given)] {
                    let got = group_norm(there.clone(), stats, gamma.clone(), beta.clone(), 1e-5);
                    assert_near(
                        &format!("{name}, {kind}"),
                        got.cast(FloatDType::F32),
                        &norm,
                        4.0 * tolerance,
                    );
                    let got = group_norm_silu(there.clone(), stats, gamma.clone(), beta.clone(), 1e-5);
                    let name = format!("{name}, {kind}, SiLU");
                    assert_near(&name, got.cast(FloatDType::F32), &silu, 4.0 * tolerance);
                }
            });
        }
    }
    for (size, offset) in [(1, 0.0), (3, 5.0), (130, 0.0), (320, 100.0), (768, 0.0), (1280, 3.0)] {
        let x = made("x", [2, 41, size]).mul_scalar(3.0).add_scalar(offset);
        let (gamma, beta) = (made("gamma", [size]), made("beta", [size]));
        let want = layer_norm(x.clone(), gamma.clone(), beta.clone(), 1e-5);
        each(|which, dtype, tolerance| {
            // Values of 100 ± 3 have a digit and a half fewer, and in f16 none that matters.
            if offset > 10.0 && dtype == FloatDType::F16 {
                return;
            }
            let (gamma, beta) = (there(&gamma, dtype), there(&beta, dtype));
            let got = layer_norm(there(&x, dtype), gamma, beta, 1e-5);
            let tolerance = 4.0 * tolerance * (1.0 + offset / 3.0);
            assert_near(
                &format!("{which}: {size} together, {offset}"),
                got.cast(FloatDType::F32),
                &want,
                tolerance,
            );
        });
    }
    for half in [1, 3, 40, 1280] {
        let x = made("x", [2, 9, 2 * half]).mul_scalar(8.0);
        let want = geglu(x.clone());
        each(|which, dtype, tolerance| {
            let got = geglu(there(&x, dtype));
            assert_near(&format!("{which}: {half} gates"), got.cast(FloatDType::F32), &want, tolerance);
        });
    }
}
