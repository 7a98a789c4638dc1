//! What the networks do to each value by itself.

use burn::tensor::activation::{leaky_relu, prelu, sigmoid, silu};
use burn::tensor::{DType, FloatDType, Tensor};

use super::case::{Case, Host, times};
use super::compare::{rounding, sum_tolerance};
use super::norms::silu_of;

type Compute = fn(Tensor<4>) -> Tensor<4>;
/// The value, and what it may be off by.
type Reference = fn(f64, DType) -> (f64, f64);

fn case(
    kernel: &'static str,
    dims: [usize; 4],
    dtype: DType,
    compute: Compute,
    reference: Reference,
) -> Case {
    Case::exact(
        kernel,
        times(&dims),
        dtype,
        move || vec![Host::data("x", dims, 8.0, 0.0)],
        move |_, t| compute(t[0].clone()),
        move |inputs| inputs[0].values.iter().map(|x| reference(f64::from(*x), dtype)).collect(),
    )
}

/// The first half of the last axis times GELU of the second (the UNet's feed-forward).
fn geglu(rows: [usize; 2], width: usize, dtype: DType) -> Case {
    let dims = [1, rows[0], rows[1], 2 * width];
    let compute = move |_: &_, t: &[Tensor<4>]| {
        clarifier_kernels::geglu(t[0].clone().squeeze_dim::<3>(0)).unsqueeze::<4>()
    };
    let expected = move |inputs: &[Host]| {
        let one = |row: &[f32], i: usize| {
            let (x, gate) = (f64::from(row[i]), f64::from(row[width + i]));
            let half = 0.5 * gate * (1.0 + libm::erf(gate / std::f64::consts::SQRT_2));
            // Without an erf of their own, backends take Abramowitz and Stegun's 7.1.26, within 1.5e-7.
            let gelu = 3e-7 * gate.abs() + rounding(dtype) * (8.0 * gate.abs() + 4.0);
            // What is below the least normal number may be flushed to nothing.
            let least = if dtype == DType::F16 { 6.2e-5 } else { 1e-9 };
            (x * half, x.abs() * gelu + rounding(dtype) * 4.0 * (x * half).abs() + least)
        };
        let row = |row: &[f32]| (0..width).map(|i| one(row, i)).collect::<Vec<_>>();
        inputs[0].values.chunks_exact(2 * width).flat_map(row).collect()
    };
    let made = move || vec![Host::data("x", dims, 4.0, 0.0)];
    Case::exact("GEGLU", times(&[rows[0], rows[1], 2 * width]), dtype, made, compute, expected)
}

/// A linear layer whose outputs' first half is gated by the second, as the UNet's feed-forward has it in one kernel.
fn linear_geglu(rows: usize, inner: usize, width: usize, dtype: DType) -> Case {
    let made = move || {
        vec![
            Host::data("x", [1, 1, rows, inner], 4.0, 0.0),
            Host::weight("linear.weight", &[2 * width, inner]),
            Host::weight("linear.bias", &[2 * width]),
        ]
    };
    let compute = move |_: &_, t: &[Tensor<4>]| {
        let weight: Tensor<2> = t[1].clone().reshape([2 * width, inner]);
        let bias = t[2].clone().reshape([2 * width]);
        clarifier_kernels::linear_geglu(t[0].clone(), weight.transpose(), Some(bias))
    };
    let expected = move |inputs: &[Host]| {
        let (weight, bias) = (&inputs[1].values, &inputs[2].values);
        // A sum, and how large its terms are together.
        let sum = |row: &[f32], o: usize| {
            let terms = row.iter().zip(&weight[o * inner..]).map(|(x, w)| f64::from(*x) * f64::from(*w));
            terms.fold((f64::from(bias[o]), f64::from(bias[o]).abs()), |(sum, all), t| {
                (sum + t, all + t.abs())
            })
        };
        let one = |row: &[f32], i: usize| {
            let ((x, of_x), (gate, of_gate)) = (sum(row, i), sum(row, width + i));
            let half = 0.5 * gate * (1.0 + libm::erf(gate / std::f64::consts::SQRT_2));
            // GELU is nowhere steeper than 1.13.
            let off = sum_tolerance(dtype, inner) / (inner as f64).sqrt();
            let (x_off, gate_off) = (off * of_x, 1.13 * off * of_gate + 3e-7 * gate.abs());
            (
                x * half,
                x_off * half.abs()
                    + gate_off * (x.abs() + x_off)
                    + rounding(dtype) * 8.0 * (x * half).abs()
                    + 1e-6,
            )
        };
        let row = |row: &[f32]| (0..width).map(|i| one(row, i)).collect::<Vec<_>>();
        inputs[0].values.chunks_exact(inner).flat_map(row).collect()
    };
    Case::exact("linear + GEGLU", times(&[rows, inner, 2 * width]), dtype, made, compute, expected)
}

/// A slope for each channel.
fn prelu_case(dims: [usize; 4]) -> Case {
    let channels = dims[1];
    Case::exact(
        "PReLU",
        times(&dims),
        DType::F32,
        move || vec![Host::data("x", dims, 2.0, 0.0), Host::data("slope", [1, 1, 1, channels], 0.5, 0.0)],
        move |_, t| prelu(t[0].clone(), t[1].clone().reshape([channels])),
        move |inputs| {
            let reference = |(i, x): (usize, &f32)| {
                let slope = inputs[1].at([0, 0, 0, i / (dims[2] * dims[3]) % channels]);
                linear_reference(f64::from(*x), slope)
            };
            inputs[0].values.iter().enumerate().map(reference).collect()
        },
    )
}

fn linear_reference(x: f64, slope: f64) -> (f64, f64) {
    let want = if x < 0.0 { slope * x } else { x };
    (want, rounding(DType::F32) * 2.0 * want.abs() + 1e-37)
}

/// Each channel of each picture gets a number of its own: the time's embedding.
fn add_per_channel(dims: [usize; 4], dtype: DType) -> Case {
    let [batch, channels, h, w] = dims;
    Case::exact(
        "add per channel",
        times(&dims),
        dtype,
        move || vec![Host::data("x", dims, 1.0, 0.0), Host::data("y", [batch, channels, 1, 1], 1.0, 0.0)],
        |_, t| t[0].clone() + t[1].clone(),
        move |inputs| {
            let sum = |(i, x): (usize, &f32)| {
                let want = f64::from(*x) + f64::from(inputs[1].values[i / (h * w)]);
                (want, rounding(dtype) * 2.0 * want.abs() + 1e-7)
            };
            inputs[0].values.iter().enumerate().map(sum).collect()
        },
    )
}

/// To f16 and back, where the device has it.
fn cast_case(dims: [usize; 4]) -> Case {
    case(
        "cast to f16 and back",
        dims,
        DType::F32,
        |x| x.cast(FloatDType::F16).cast(FloatDType::F32),
        // WGSL lets the conversion round either way; below the least normal number it may flush.
        |x, _| (x, 2.0 * rounding(DType::F16) * x.abs() + 6.2e-5),
    )
}

/// In `dtype`.
pub(super) fn cases(dtype: DType) -> Vec<Case> {
    let (odd, level) = ([2, 7, 13, 5], [2, 320, 64, 64]);
    let silu_like: Reference = |x, dtype| silu_of(x, 0.0, dtype);
    let mut cases = vec![
        case("SiLU", odd, dtype, silu, silu_like),
        case("SiLU", level, dtype, silu, silu_like),
        geglu([1, 1], 1, dtype),
        geglu([2, 77], 33, dtype),
        geglu([2, 256], 1280, dtype),
        geglu([1, 4096], 1280, dtype).thorough(),
        linear_geglu(77, 33, 34, dtype),
        linear_geglu(130, 320, 40, dtype),
        add_per_channel(odd, dtype),
        add_per_channel([2, 1280, 8, 8], dtype),
    ];
    if dtype == DType::F16 {
        cases.push(cast_case([2, 7, 13, 5]));
        cases.push(cast_case([1, 4, 64, 64]));
        return cases;
    }
    let sigmoid_like: Reference = |x, dtype| {
        let want = 1.0 / (1.0 + (-x).exp());
        (want, rounding(dtype) * (16.0 + 4.0 * x.abs()) * want + 1e-37)
    };
    cases.extend([
        case("sigmoid", [1, 77, 1, 768], dtype, sigmoid, sigmoid_like),
        case("leaky ReLU", odd, dtype, |x| leaky_relu(x, 0.2), |x, _| linear_reference(x, 0.2f32.into())),
        case(
            "leaky ReLU",
            [1, 64, 96, 96],
            dtype,
            |x| leaky_relu(x, 0.2),
            |x, _| linear_reference(x, 0.2f32.into()),
        ),
        prelu_case([1, 5, 3, 7]),
        prelu_case([1, 64, 96, 96]),
    ]);
    cases
}
