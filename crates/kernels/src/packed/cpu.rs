//! Unpacking on the processor.

use burn::tensor::{Device, Tensor, TensorData};
use rayon::prelude::*;

use super::half::{Half, widen};

/// Words that one thread takes at a time: their values fit its cache.
const CHUNK: usize = 1 << 14;

/// The first `length` values of `words`.
pub fn unpack(words: &[u32], half: Half, length: usize) -> Tensor<1> {
    let mut values = vec![0f32; length];
    match half {
        // Each in a loop of its own, which the compiler makes vectors of.
        Half::F16 => spread(words, &mut values, |bits| widen(Half::F16, bits)),
        Half::Bf16 => spread(words, &mut values, |bits| widen(Half::Bf16, bits)),
    }
    Tensor::from_data(TensorData::new(values, [length]), &Device::flex())
}

fn spread(words: &[u32], values: &mut [f32], widen: impl Fn(u16) -> f32 + Sync) {
    values.par_chunks_mut(2 * CHUNK).zip(words.par_chunks(CHUNK)).for_each(|(values, words)| {
        let mut pairs = values.chunks_exact_mut(2);
        for (pair, word) in (&mut pairs).zip(words) {
            pair[0] = widen(*word as u16);
            pair[1] = widen((*word >> 16) as u16);
        }
        if let ([last], Some(word)) = (pairs.into_remainder(), words.last()) {
            *last = widen(*word as u16);
        }
    });
}
