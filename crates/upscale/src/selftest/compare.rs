//! Results against references, as shares of what rounding allows.

use burn::tensor::DType;

/// Half a unit in the last place of a number near 1: the error of one rounding.
pub(super) fn rounding(dtype: DType) -> f64 {
    if dtype == DType::F16 { 2f64.powi(-11) } else { 2f64.powi(-24) }
}

/// What a sum of `terms` products may be off by, as a share of the sums' standard deviation.
///
/// The partial sums of independent terms grow as √k, each addition rounds once, and the roundings are
/// independent: 0.2·√terms roundings RMS, about five times that at the worst of a few million; half as much again
/// for the products', which nothing has to fuse, and as much as all that to spare. The rest is the rounding of a
/// result of up to five deviations, twice (accumulator, output). An order of sums that a compiler prefers (trees,
/// fused multiply-add) is only better.
pub(super) fn sum_tolerance(dtype: DType, terms: usize) -> f64 {
    rounding(dtype) * (12.0 + 3.0 * (terms as f64).sqrt())
}

/// Root mean square of values that are around 0.
pub(super) fn rms(values: impl Iterator<Item = f64>) -> f64 {
    let (sum, count) = values.fold((0.0, 0), |(sum, count), v| (sum + v * v, count + 1));
    (sum / f64::from(count.max(1))).sqrt()
}

/// The worst of all comparisons.
#[derive(Debug, Default)]
pub(super) struct Worst {
    /// The error as a share of its tolerance; infinite if the value was none.
    pub share: f64,
    /// Where, and what stood there.
    pub place: String,
}

impl Worst {
    /// Compare one value.
    pub fn see(&mut self, got: f64, want: f64, allowed: f64, place: impl FnOnce() -> String) {
        let error = (got - want).abs();
        let share = if error.is_finite() { error / allowed } else { f64::INFINITY };
        if share > self.share {
            self.share = share;
            self.place = format!("{}: {got:.6e}, not {want:.6e}", place());
        }
    }
}

/// `[a, b, c, d]` of a flat index.
pub(super) fn position(index: usize, dims: [usize; 4]) -> [usize; 4] {
    let [_, b, c, d] = dims;
    [index / (b * c * d), index / (c * d) % b, index / d % c, index % d]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_is_kept_and_no_number_is_the_worst_of_all() {
        let mut worst = Worst::default();
        worst.see(1.0, 1.5, 1.0, || "first".into());
        worst.see(1.0, 1.1, 1.0, || "second".into());
        assert_eq!(worst.share, 0.5);
        assert!(worst.place.starts_with("first"));
        worst.see(f64::NAN, 1.0, 1.0, || "third".into());
        worst.see(9.0, 1.0, 1.0, || "fourth".into());
        assert!(worst.share.is_infinite() && worst.place.starts_with("third"), "{worst:?}");
    }

    #[test]
    fn positions_are_row_major() {
        assert_eq!(position(2 * 60 + 3 * 20 - 1, [9, 3, 4, 5]), [2, 2, 3, 4]);
    }
}
