//! What the tests share: models made by formula, fixtures, and comparison.

pub mod models;
pub mod runs;
pub mod team;
pub mod weights;

use std::path::{Path, PathBuf};

use clarifier_model::files::{TensorFile, open};

/// A file of the fixtures.
pub fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures").join(name)
}

/// A fixture of tensors.
pub fn tensors(name: &str) -> Box<dyn TensorFile> {
    open(fixture(name)).unwrap()
}

/// A fixture in JSON.
pub fn json(name: &str) -> serde_json::Value {
    serde_json::from_str(&std::fs::read_to_string(fixture(name)).unwrap()).unwrap()
}

/// The largest difference, as a share of the reference's standard deviation.
pub fn error_in_sigmas(values: &[f32], reference: &[f32], sigma: f32) -> f32 {
    assert_eq!(values.len(), reference.len(), "as many values as the reference has");
    assert!(values.iter().all(|v| v.is_finite()), "numbers, all of them");
    values.iter().zip(reference).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max) / sigma
}

/// Peak signal-to-noise ratio of two pictures with values in \[0, 1\], in dB.
pub fn psnr(a: &[f32], b: &[f32]) -> f64 {
    assert_eq!(a.len(), b.len());
    let square = |(a, b): (&f32, &f32)| f64::from(a - b).powi(2);
    let mean = a.iter().zip(b).map(square).sum::<f64>() / a.len() as f64;
    -10.0 * mean.log10()
}
