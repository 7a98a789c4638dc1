//! Convolutions, as the networks call them.

use burn::tensor::DType;
use burn::tensor::ops::ConvOptions;

use super::case::{Case, Host, Output, times};
use super::compare::{Worst, sum_tolerance};
use super::project::{Layout, judge};

#[derive(Debug, Clone, Copy)]
struct Conv {
    kernel: &'static str,
    /// `[batch, inputs, height, width]`.
    x: [usize; 4],
    outputs: usize,
    size: usize,
    stride: usize,
    /// Before and after, rows and columns alike.
    padding: (usize, usize),
    /// Whether it is added to a tensor of the result's shape.
    onto: bool,
}

/// What minimal filtering, which the processor computes 3 × 3 that keeps the size by, may lose: its transforms add and subtract numbers up to 8 times as large as those that go in. The worst that was
/// seen is 4·10⁻⁵ at 640 channels.
const FILTERING: f64 = 2e-4;

const fn same(x: [usize; 4], outputs: usize) -> Conv {
    Conv { kernel: "conv 3×3", x, outputs, size: 3, stride: 1, padding: (1, 1), onto: false }
}

const fn point(x: [usize; 4], outputs: usize) -> Conv {
    Conv { kernel: "conv 1×1", x, outputs, size: 1, stride: 1, padding: (0, 0), onto: false }
}

const fn halve(x: [usize; 4], outputs: usize, padding: (usize, usize)) -> Conv {
    Conv { kernel: "conv 3×3, stride 2", x, outputs, size: 3, stride: 2, padding, onto: false }
}

impl Conv {
    /// The shortcut around a block ends with it.
    const fn onto(self) -> Self {
        let kernel = if self.size == 3 { "conv 3×3 + shortcut" } else { "conv 1×1 + shortcut" };
        Self { kernel, onto: true, ..self }
    }

    fn sides(self) -> [usize; 2] {
        let out = |length: usize| (length + self.padding.0 + self.padding.1 - self.size) / self.stride + 1;
        [out(self.x[2]), out(self.x[3])]
    }

    fn case(self, dtype: DType) -> Case {
        let Self { kernel, x, outputs, size, stride, padding, onto } = self;
        let [oh, ow] = self.sides();
        let terms = x[1] * size * size;
        let operations = 2.0 * (x[0] * outputs * oh * ow) as f64 * terms as f64;
        let shape = format!("{} → {outputs}", times(&x));
        let inputs = move || {
            let mut made = vec![
                Host::data("x", x, 1.0, 0.0),
                Host::weight("conv.weight", &[outputs, x[1], size, size]),
                Host::weight("conv.bias", &[outputs]),
            ];
            made.extend(onto.then(|| Host::data("to", [x[0], outputs, oh, ow], 1.0, 0.0)));
            made
        };
        let tolerance = sum_tolerance(dtype, terms);
        let filtered = size == 3 && stride == 1;
        let tolerance = if filtered { tolerance.max(FILTERING) } else { tolerance };
        let options = ConvOptions::new_with_padding([stride; 2], [padding; 2], [1; 2], 1);
        let case = Case::new(
            kernel,
            shape,
            dtype,
            inputs,
            move |_, t| {
                let (x, weight, bias) = (t[0].clone(), t[1].clone(), Some(t[2].clone().reshape([outputs])));
                match t.get(3) {
                    Some(to) => clarifier_kernels::conv2d_onto(to.clone(), x, weight, bias, options.clone()),
                    None => clarifier_kernels::conv2d(x, weight, bias, options.clone()),
                }
            },
            move |inputs, output| self.judge(inputs, output, tolerance),
        );
        if operations > 1e8 { case.timed(operations) } else { case }
    }

    fn judge(self, inputs: &[Host], output: &Output, tolerance: f64) -> Worst {
        let [oh, ow] = self.sides();
        let layout = Layout { outer: self.x[0], channels: self.outputs, inner: oh * ow };
        let (x, weight, bias, to) = (&inputs[0], &inputs[1], &inputs[2], inputs.get(3));
        let begun = |b: usize, o: usize, at: usize| {
            bias.at([0, 0, 0, o]) + to.map_or(0.0, |to| to.at([b, o, at / ow, at % ow]))
        };
        let exact = |b: usize, o: usize, at: usize| {
            let mut sum = begun(b, o, at);
            self.taps(|c, ky, kx| {
                if let (Some(y), Some(xx)) = (self.source(at / ow, ky, 2), self.source(at % ow, kx, 3)) {
                    sum += x.at([b, c, y, xx]) * weight.at([o, c, ky, kx]);
                }
            });
            sum
        };
        let summed = |b: usize, group: &[(usize, f64)]| {
            let total = |value: &dyn Fn(usize) -> f64| group.iter().map(|(o, s)| s * value(*o)).sum::<f64>();
            let mut sums: Vec<f64> = (0..oh * ow).map(|at| total(&|o| begun(b, o, at))).collect();
            self.taps(|c, ky, kx| {
                let weight = total(&|o| weight.at([o, c, ky, kx]));
                for (y, row) in sums.chunks_exact_mut(ow).enumerate() {
                    let Some(y) = self.source(y, ky, 2) else { continue };
                    for (at, sum) in row.iter_mut().enumerate() {
                        if let Some(at) = self.source(at, kx, 3) {
                            *sum += weight * x.at([b, c, y, at]);
                        }
                    }
                }
            });
            sums
        };
        judge(output, &layout, tolerance, exact, summed)
    }

    fn taps(self, mut each: impl FnMut(usize, usize, usize)) {
        for c in 0..self.x[1] {
            for ky in 0..self.size {
                for kx in 0..self.size {
                    each(c, ky, kx);
                }
            }
        }
    }

    /// The input's row or column that an output's sees through a tap, if it is not padding.
    fn source(self, out: usize, tap: usize, axis: usize) -> Option<usize> {
        (out * self.stride + tap).checked_sub(self.padding.0).filter(|at| *at < self.x[axis])
    }
}

/// In `dtype`.
pub(super) fn cases(dtype: DType) -> Vec<Case> {
    let quick = [
        // Odd sizes, one row, one column, one pixel, one channel.
        same([2, 7, 13, 5], 3),
        same([1, 17, 1, 301], 9),
        same([1, 17, 95, 1], 9),
        same([1, 33, 1, 1], 65),
        same([1, 1, 31, 33], 1),
        point([2, 7, 13, 5], 3),
        point([1, 1, 1, 1], 1),
        point([1, 320, 1, 77], 33),
        halve([2, 8, 13, 9], 5, (1, 1)),
        halve([1, 5, 1, 129], 7, (1, 1)),
        halve([1, 8, 16, 14], 8, (0, 1)),
        halve([1, 3, 2, 2], 4, (0, 1)),
        // Many channels at few places, the UNet's first and last layer.
        same([2, 1280, 3, 3], 320),
        same([2, 4, 64, 64], 320),
        same([2, 320, 64, 64], 4),
        point([2, 1280, 5, 5], 320),
        // Around a residual block and a transformer.
        same([2, 7, 13, 5], 3).onto(),
        same([2, 64, 16, 16], 64).onto(),
        point([2, 65, 9, 11], 33).onto(),
        point([2, 64, 16, 16], 64).onto(),
    ];
    let thorough = [
        // At 512 × 512 pixels, under guidance.
        same([2, 1280, 8, 8], 1280),
        point([2, 1280, 8, 8], 1280),
        same([2, 320, 64, 64], 320),
        same([2, 960, 31, 33], 320),
        same([2, 2560, 8, 8], 1280),
        point([2, 320, 64, 64], 320),
        point([2, 640, 32, 32], 320),
        same([2, 320, 64, 64], 320).onto(),
        point([2, 640, 32, 32], 640).onto(),
        halve([2, 320, 64, 64], 320, (1, 1)),
        // The autoencoder, in f32 always, and a dense block of an ESRGAN.
        same([1, 128, 128, 128], 128),
        halve([1, 128, 128, 128], 128, (0, 1)),
        same([1, 192, 96, 96], 32),
    ];
    let half = dtype == DType::F16;
    let full_precision_only = |conv: &Conv| half && conv.x[0] == 1 && conv.x[2] >= 96;
    let thorough = thorough.into_iter().filter(|conv| !full_precision_only(conv));
    quick.map(|conv| conv.case(dtype)).into_iter().chain(thorough.map(|c| c.case(dtype).thorough())).collect()
}
