//! What only moves values, so that every one must be the same to the bit.

use burn::tensor::ops::PadMode;
use burn::tensor::{DType, Tensor};
use clarifier_kernels::{Half, PackedValues, widen};
use clarifier_model::layers::upsample_nearest;

use super::case::{Case, Host, Output, times};
use super::compare::{Worst, position};
use crate::device::Backend;

/// `source` says where in the input the value at a place of the output comes from.
fn case(
    kernel: &'static str,
    x: [usize; 4],
    out: [usize; 4],
    dtype: DType,
    compute: impl Fn(Tensor<4>) -> Tensor<4> + 'static,
    source: impl Fn([usize; 4]) -> [usize; 4] + 'static,
) -> Case {
    let judge = move |inputs: &[Host], output: &Output| {
        if output.dims != out {
            return output.misshapen(&times(&out));
        }
        let mut worst = Worst::default();
        for (index, got) in output.values.iter().enumerate() {
            let at = position(index, out);
            // Equality is meant; the tolerance only makes a share of it.
            worst.see(f64::from(*got), inputs[0].at(source(at)), 1e-30, || format!("{at:?}"));
        }
        worst
    };
    let made = move || vec![Host::data("x", x, 1.0, 0.0)];
    Case::new(kernel, times(&x), dtype, made, move |_, t| compute(t[0].clone()), judge)
}

fn upsample(x: [usize; 4], dtype: DType) -> Case {
    let out = [x[0], x[1], 2 * x[2], 2 * x[3]];
    case("nearest upsampling", x, out, dtype, upsample_nearest, |[b, c, y, x]| [b, c, y / 2, x / 2])
}

/// As SRVGG ends.
fn pixel_shuffle([b, c, h, w]: [usize; 4], s: usize, dtype: DType) -> Case {
    let compute = move |x: Tensor<4>| {
        x.reshape([b, c / s / s, s, s, h, w]).permute([0, 1, 4, 2, 5, 3]).reshape([
            b,
            c / s / s,
            h * s,
            w * s,
        ])
    };
    case("pixel shuffle", [b, c, h, w], [b, c / s / s, h * s, w * s], dtype, compute, move |[b, c, y, x]| {
        [b, (c * s + y % s) * s + x % s, y / s, x / s]
    })
}

/// As an ESRGAN for 2× begins.
fn pixel_unshuffle([b, c, h, w]: [usize; 4], s: usize, dtype: DType) -> Case {
    let compute = move |x: Tensor<4>| {
        x.reshape([b, c, h / s, s, w / s, s]).permute([0, 1, 3, 5, 2, 4]).reshape([
            b,
            c * s * s,
            h / s,
            w / s,
        ])
    };
    case(
        "pixel unshuffle",
        [b, c, h, w],
        [b, c * s * s, h / s, w / s],
        dtype,
        compute,
        move |[b, c, y, x]| [b, c / s / s, y * s + c / s % s, x * s + c % s],
    )
}

/// Tokens to heads, as attention begins.
fn heads([b, n, h, d]: [usize; 4], dtype: DType) -> Case {
    let compute = move |x: Tensor<4>| x.reshape([b, n, h, d]).swap_dims(1, 2) * 1.0;
    case("split into heads", [b, n, h, d], [b, h, n, d], dtype, compute, |[b, h, n, d]| [b, n, h, d])
}

/// Cut along an axis and put together the other way round: skips, chunks, bands.
fn cut_and_join(x: [usize; 4], axis: usize, at: usize, dtype: DType) -> Case {
    let length = x[axis];
    let compute = move |x: Tensor<4>| {
        Tensor::cat(vec![x.clone().narrow(axis, at, length - at), x.narrow(axis, 0, at)], axis)
    };
    case("narrow and concatenate", x, x, dtype, compute, move |mut place| {
        place[axis] = (place[axis] + at) % length;
        place
    })
}

/// Right and bottom, as an ESRGAN pads to a multiple.
fn reflect(x: [usize; 4], more: usize, dtype: DType) -> Case {
    let [b, c, h, w] = x;
    let inside = |at: usize, length: usize| if at < length { at } else { 2 * (length - 1) - at };
    case(
        "reflection padding",
        x,
        [b, c, h + more, w + more],
        dtype,
        move |x| x.pad((0, more, 0, more), PadMode::Reflect),
        move |[b, c, y, x]| [b, c, inside(y, h), inside(x, w)],
    )
}

fn repeat(x: [usize; 4], dtype: DType) -> Case {
    let [_, c, h, w] = x;
    case("repeat the batch", x, [2, c, h, w], dtype, |x| x.repeat_dim(0, 2), |[_, c, y, x]| [0, c, y, x])
}

/// In `dtype`.
pub(super) fn cases(dtype: DType) -> Vec<Case> {
    let odd = [2, 7, 13, 5];
    vec![
        upsample(odd, dtype),
        upsample([1, 3, 1, 77], dtype),
        upsample([2, 640, 16, 16], dtype),
        heads([2, 77, 8, 40], dtype),
        heads([2, 1024, 8, 40], dtype),
        cut_and_join(odd, 1, 3, dtype),
        cut_and_join(odd, 2, 5, dtype),
        cut_and_join([2, 640, 16, 16], 1, 320, dtype),
        repeat([1, 4, 64, 63], dtype),
        pixel_shuffle([1, 12, 5, 7], 2, dtype),
        pixel_shuffle([1, 48, 64, 63], 4, dtype),
        pixel_unshuffle([1, 3, 6, 10], 2, dtype),
        pixel_unshuffle([1, 3, 96, 128], 4, dtype),
        reflect([1, 3, 13, 9], 3, dtype),
    ]
}

/// Every finite f16, or so many bf16, as weights are kept in 16 bits.
pub(super) fn unpack(half: Half) -> Case {
    // An odd number, so that the last word has one value.
    let bits: Vec<u16> = (0..=u16::MAX).filter(|bits| widen(half, *bits).is_finite()).skip(1).collect();
    let dims = [1, 1, 1, bits.len()];
    let values: Vec<f32> = bits.iter().map(|bits| widen(half, *bits)).collect();
    let compute = move |backend: &Backend, _: &[Tensor<4>]| {
        PackedValues::from_bits(&bits, half).place(dims, &backend.device).unpack()
    };
    let expected = move |inputs: &[Host]| {
        let sure = |v: &f32| (f64::from(*v), f64::MIN_POSITIVE);
        inputs[0].values.iter().map(sure).collect()
    };
    let made = move || vec![Host { values: values.clone(), dims }];
    Case::exact("unpack 16 bits", format!("{half:?}, {}", times(&dims)), DType::F32, made, compute, expected)
}

/// Upsampled to a tensor of `bytes`, or a little less: the largest binding, more places than one dispatch
/// has in a dimension, offsets past 2³⁰.
pub(super) fn largest(bytes: u64) -> Case {
    // Rows of 2 × 1021 values: no power of two.
    const WIDTH: usize = 1021;
    let rows = (bytes / 4 / (2 * WIDTH as u64) / 2).max(1) as usize;
    let mut case = upsample([1, 1, rows, WIDTH], DType::F32);
    case.kernel = "the largest binding";
    case.shape = format!("{} MiB, {}", bytes >> 20, case.shape);
    case
}
