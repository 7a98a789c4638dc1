//! Mistakes made on purpose, on the device, to show that they are found. For tests.

use burn::tensor::Tensor;

/// What is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FaultKind {
    /// One value of the result.
    WrongElement,
    /// One value of the result is NaN.
    NotANumber,
    /// The kernel "workgroup barriers" has none.
    MissingBarrier,
}

/// A mistake in a kernel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// What is wrong.
    pub kind: FaultKind,
    /// The kernel's name, or a pattern.
    pub kernel: String,
}

impl std::str::FromStr for Fault {
    type Err = String;

    /// `wrong-element:conv 3×3`, `nan:softmax` or `missing-barrier`.
    fn from_str(text: &str) -> Result<Self, String> {
        let (kind, kernel) = text.split_once(':').unwrap_or((text, super::barrier::NAME));
        let kind = match kind {
            "wrong-element" => FaultKind::WrongElement,
            "nan" => FaultKind::NotANumber,
            "missing-barrier" => FaultKind::MissingBarrier,
            _ => return Err(format!("{kind:?} is no fault; wrong-element, nan and missing-barrier are")),
        };
        Ok(Self { kind, kernel: kernel.to_owned() })
    }
}

impl Fault {
    /// The result with a value in the middle spoilt, which no corner or round number is.
    pub(super) fn put_into(&self, y: Tensor<4>) -> Tensor<4> {
        let at = y.dims().map(|length| (length * 5 / 8).min(length - 1));
        let ranges = at.map(|at| at..at + 1);
        let value = y.clone().slice(ranges.clone());
        let value = match self.kind {
            FaultKind::WrongElement => value + 1.0,
            FaultKind::NotANumber => value * f32::NAN,
            FaultKind::MissingBarrier => return y,
        };
        y.slice_assign(ranges, value)
    }
}
