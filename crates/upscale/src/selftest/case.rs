//! One kernel at one shape: inputs, what computes it, and what judges the result.

use burn::tensor::{DType, Tensor, f16};

use super::compare::{Worst, position};
use super::formula;
use crate::device::Backend;

/// A tensor on the host. All have four axes here; what a kernel wants is a view of them.
#[derive(Debug, Clone)]
pub(super) struct Host {
    pub values: Vec<f32>,
    pub dims: [usize; 4],
}

impl Host {
    /// Values by formula in \[−scale + offset, scale + offset).
    pub fn data(name: &str, dims: [usize; 4], scale: f32, offset: f32) -> Self {
        let value = formula::data(name);
        let values = (0..dims.iter().product::<usize>() as u64).map(|i| value(i) * scale + offset).collect();
        Self { values, dims }
    }

    /// Weights by formula, `shape` as in a network.
    pub fn weight(name: &str, shape: &[usize]) -> Self {
        let mut dims = [1; 4];
        dims[4 - shape.len()..].copy_from_slice(shape);
        let values = (0..dims.iter().product::<usize>() as u64).map(formula::weight(name, shape)).collect();
        Self { values, dims }
    }

    /// As the device will have it.
    fn rounded(mut self, dtype: DType) -> Self {
        if dtype == DType::F16 {
            self.values.iter_mut().for_each(|v| *v = f16::from_f32(*v).to_f32());
        }
        self
    }

    pub fn at(&self, [a, b, c, d]: [usize; 4]) -> f64 {
        let [_, db, dc, dd] = self.dims;
        f64::from(self.values[((a * db + b) * dc + c) * dd + d])
    }
}

type Compute = dyn Fn(&Backend, &[Tensor<4>]) -> Tensor<4>;
type Judge = dyn Fn(&[Host], &Output) -> Worst;

/// What the device gave.
pub(super) struct Output {
    pub values: Vec<f32>,
    pub dims: [usize; 4],
}

/// One kernel at one shape.
pub(super) struct Case {
    pub kernel: &'static str,
    pub shape: String,
    pub dtype: DType,
    /// Of which a multiplication and an addition are two; 0 where speed says nothing.
    pub operations: f64,
    /// Whether it belongs to the quick level too.
    pub quick: bool,
    inputs: Box<dyn Fn() -> Vec<Host>>,
    compute: Box<Compute>,
    judge: Box<Judge>,
}

impl Case {
    /// `compute` gets the inputs on the device in `dtype`; `judge` gets them as the device has them.
    pub fn new(
        kernel: &'static str,
        shape: String,
        dtype: DType,
        inputs: impl Fn() -> Vec<Host> + 'static,
        compute: impl Fn(&Backend, &[Tensor<4>]) -> Tensor<4> + 'static,
        judge: impl Fn(&[Host], &Output) -> Worst + 'static,
    ) -> Self {
        Self {
            kernel,
            shape,
            dtype,
            operations: 0.0,
            quick: true,
            inputs: Box::new(inputs),
            compute: Box::new(compute),
            judge: Box::new(judge),
        }
    }

    /// A kernel whose every value is known: `expected` gives it in f64 and what it may be off by, row-major.
    pub fn exact(
        kernel: &'static str,
        shape: String,
        dtype: DType,
        inputs: impl Fn() -> Vec<Host> + 'static,
        compute: impl Fn(&Backend, &[Tensor<4>]) -> Tensor<4> + 'static,
        expected: impl Fn(&[Host]) -> Vec<(f64, f64)> + 'static,
    ) -> Self {
        let judge = move |inputs: &[Host], output: &Output| output.against(&expected(inputs));
        Self::new(kernel, shape, dtype, inputs, compute, judge)
    }

    /// With this many operations, so that its speed is measured.
    pub fn timed(self, operations: f64) -> Self {
        Self { operations, ..self }
    }

    /// Not at the quick level.
    pub fn thorough(self) -> Self {
        Self { quick: false, ..self }
    }

    pub fn inputs(&self) -> Vec<Host> {
        (self.inputs)().into_iter().map(|input| input.rounded(self.dtype)).collect()
    }

    pub fn compute(&self, backend: &Backend, inputs: &[Tensor<4>]) -> Tensor<4> {
        (self.compute)(backend, inputs)
    }

    pub fn judge(&self, inputs: &[Host], output: &Output) -> Worst {
        (self.judge)(inputs, output)
    }
}

impl Output {
    /// Every value against what it should be and what it may be off by.
    pub fn against(&self, expected: &[(f64, f64)]) -> Worst {
        if expected.len() != self.values.len() {
            return self.misshapen(&format!("{} values", expected.len()));
        }
        let mut worst = Worst::default();
        for (index, (got, (want, allowed))) in self.values.iter().zip(expected).enumerate() {
            let place = || format!("{:?}", position(index, self.dims));
            worst.see(f64::from(*got), *want, *allowed, place);
        }
        worst
    }

    /// What a result of the wrong shape is worth.
    pub fn misshapen(&self, wanted: &str) -> Worst {
        Worst { share: f64::INFINITY, place: format!("its shape is {:?}, not {wanted}", self.dims) }
    }
}

/// `2 × 320 × 64 × 64`.
pub(super) fn times(dims: &[usize]) -> String {
    dims.iter().map(ToString::to_string).collect::<Vec<_>>().join(" × ")
}
