//! Prompts to what the UNet attends to.

use burn::tensor::{Tensor, TensorData};
use clarifier_model::clip::ClipTextEncoder;
use clarifier_model::tokenizer::Chunk;

use crate::Error;
use crate::transfer::read;

/// The embedding of `chunks` (at least one), one after the other.
///
/// Weights as A1111 does them: each token's embedding times its weight, then the chunk rescaled to the
/// mean that it had.
///
/// # Shapes
/// `[1, 77 · chunks, 768]`.
///
/// # Errors
/// If the encoder does not know a token, or the device fails.
pub async fn embed(encoder: &ClipTextEncoder, chunks: &[Chunk]) -> Result<Tensor<3>, Error> {
    let mut parts = Vec::with_capacity(chunks.len());
    for chunk in chunks {
        let mut part = encoder.forward(&chunk.ids, &chunk.vectors)?;
        if chunk.weights.iter().any(|w| *w != 1.0) {
            let (dims, device, dtype) = (part.dims(), part.device(), part.dtype());
            let mut values = read(part).await?;
            weigh(&mut values, &chunk.weights);
            part = Tensor::from_data(TensorData::new(values, dims), (&device, dtype));
        }
        parts.push(part);
    }
    Ok(Tensor::cat(parts, 1))
}

fn weigh(values: &mut [f32], weights: &[f32]) {
    let mean = |values: &[f32]| values.iter().map(|v| f64::from(*v)).sum::<f64>() / values.len() as f64;
    let before = mean(values);
    let width = values.len() / weights.len();
    for (token, weight) in values.chunks_exact_mut(width).zip(weights) {
        token.iter_mut().for_each(|v| *v *= weight);
    }
    let scale = (before / mean(values)) as f32;
    if scale.is_finite() {
        values.iter_mut().for_each(|v| *v *= scale);
    }
}

#[cfg(test)]
mod tests {
    use super::weigh;

    #[test]
    fn weights_keep_the_mean() {
        let mut values = vec![1.0, 3.0, 2.0, 2.0];
        weigh(&mut values, &[1.0, 2.0]);
        // Tokens (1, 3) and (4, 4) have the mean 3; back to 2 is times ⅔.
        let expected = [2.0 / 3.0, 2.0, 8.0 / 3.0, 8.0 / 3.0];
        assert!(values.iter().zip(expected).all(|(a, b): (&f32, f32)| (a - b).abs() < 1e-6));
    }
}
