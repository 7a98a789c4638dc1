//! Linear layers and products of matrices, as the networks call burn's.

use burn::tensor::{DType, Tensor};

use super::case::{Case, Host, Output, times};
use super::compare::{Worst, sum_tolerance};
use super::project::{Layout, judge};

/// `x · weightᵀ + bias`, the weight a transposed view as the networks have it.
fn linear(dims: [usize; 3], outputs: usize, dtype: DType) -> Case {
    layer(dims, outputs, false, dtype)
}

/// The same, added to a tensor of the result's shape.
fn linear_onto(dims: [usize; 3], outputs: usize, dtype: DType) -> Case {
    layer(dims, outputs, true, dtype)
}

fn layer(dims: [usize; 3], outputs: usize, onto: bool, dtype: DType) -> Case {
    let [batch, rows, inputs] = dims;
    let name = if onto { "linear + shortcut" } else { "linear" };
    let operations = 2.0 * (batch * rows * outputs) as f64 * inputs as f64;
    let made = move || {
        let mut made = vec![
            Host::data("x", [1, batch, rows, inputs], 1.0, 0.0),
            Host::weight("linear.weight", &[outputs, inputs]),
            Host::weight("linear.bias", &[outputs]),
        ];
        made.extend(onto.then(|| Host::data("to", [1, batch, rows, outputs], 1.0, 0.0)));
        made
    };
    let compute = move |_: &_, t: &[Tensor<4>]| {
        let x: Tensor<3> = t[0].clone().reshape([batch, rows, inputs]);
        let weight: Tensor<2> = t[1].clone().reshape([outputs, inputs]);
        let (weight, bias) = (weight.transpose(), Some(t[2].clone().reshape([outputs])));
        let y = match t.get(3) {
            Some(to) => {
                clarifier_kernels::linear_onto(to.clone().reshape([batch, rows, outputs]), x, weight, bias)
            }
            None => clarifier_kernels::linear(x, weight, bias),
        };
        y.reshape([1, batch, rows, outputs])
    };
    let judge = move |inputs: &[Host], output: &Output| {
        let (bias, to) = (&inputs[2], inputs.get(3));
        product(inputs, output, [batch * rows, outputs], sum_tolerance(dtype, dims[2]), |r, o| {
            let shortcut = to.map_or(0.0, |to| f64::from(to.values[r * outputs + o]));
            bias.at([0, 0, 0, o]) + shortcut
        })
    };
    let case = Case::new(name, format!("{} → {outputs}", times(&dims)), dtype, made, compute, judge);
    if operations > 1e8 { case.timed(operations) } else { case }
}

/// `a · bᵀ` of two plain matrices, the second a transposed view.
fn matmul([rows, inner, columns]: [usize; 3], dtype: DType) -> Case {
    let made = move || {
        vec![Host::data("a", [1, 1, rows, inner], 1.0, 0.0), Host::weight("b.weight", &[columns, inner])]
    };
    let compute = |_: &_, t: &[Tensor<4>]| t[0].clone().matmul(t[1].clone().swap_dims(2, 3));
    let judge = move |inputs: &[Host], output: &Output| {
        product(inputs, output, [rows, columns], sum_tolerance(dtype, inner), |_, _| 0.0)
    };
    Case::new("matmul", times(&[rows, inner, columns]), dtype, made, compute, judge)
}

/// Of `[rows, inner]` and `[columns, inner]`, plus an offset for each value.
fn product(
    inputs: &[Host],
    output: &Output,
    [rows, columns]: [usize; 2],
    tolerance: f64,
    offset: impl Fn(usize, usize) -> f64,
) -> Worst {
    let inner = inputs[0].dims[3];
    let row = |host: usize, at: usize| &inputs[host].values[at * inner..][..inner];
    let dot = |a: &[f32], b: &dyn Fn(usize) -> f64| {
        a.iter().enumerate().map(|(k, a)| f64::from(*a) * b(k)).sum::<f64>()
    };
    let exact = |r: usize, c: usize, _: usize| offset(r, c) + dot(row(0, r), &|k| f64::from(row(1, c)[k]));
    // The sums of columns are the same for all rows.
    let known = std::cell::RefCell::new(std::collections::BTreeMap::new());
    let summed = |r: usize, group: &[(usize, f64)]| {
        let mut known = known.borrow_mut();
        let sums: &Vec<f64> = known.entry(group[0].0).or_insert_with(|| {
            let sum = |k: usize| group.iter().map(|(c, sign)| sign * f64::from(row(1, *c)[k])).sum();
            (0..inner).map(sum).collect()
        });
        let offset = group.iter().map(|(c, sign)| sign * offset(r, *c)).sum::<f64>();
        vec![offset + dot(row(0, r), &|k| sums[k])]
    };
    judge(output, &Layout { outer: rows, channels: columns, inner: 1 }, tolerance, exact, summed)
}

/// In `dtype`.
pub(super) fn cases(dtype: DType) -> Vec<Case> {
    let mut cases = vec![
        linear([1, 1, 7], 13, dtype),
        linear([2, 3, 1], 5, dtype),
        linear([1, 77, 768], 1, dtype),
        linear([2, 77, 768], 320, dtype),
        linear([2, 1, 1280], 320, dtype),
        linear([2, 16, 1280], 640, dtype),
        linear_onto([2, 17, 30], 13, dtype),
        linear_onto([2, 16, 320], 320, dtype),
        matmul([127, 129, 131], dtype),
        matmul([1, 1, 1], dtype),
        matmul([1, 4096, 3], dtype),
        matmul([300, 1, 300], dtype),
    ];
    cases.extend([
        linear([2, 64, 1280], 1280, dtype).thorough(),
        linear([2, 4096, 320], 320, dtype).thorough(),
        linear_onto([2, 4096, 1280], 320, dtype).thorough(),
        linear([1, 4096, 320], 2560, dtype).thorough(),
        linear([2, 255, 1280], 1280, dtype).thorough(),
        matmul([1023, 641, 1025], dtype).thorough(),
    ]);
    cases
}
