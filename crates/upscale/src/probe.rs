//! How fast this device is, measured on the layer that diffusion spends most of its time in.

use std::time::{Duration, Instant};

use burn::tensor::ops::ConvOptions;

use crate::Error;
use crate::device::Backend;
use crate::transfer::read;

/// Channels and side of the convolution: those of SD 1.5's first level at 512 × 512 pixels.
const CHANNELS: usize = 320;
const SIDE: usize = 64;
/// Guidance runs two at once.
const BATCH: usize = 2;
/// Enough to be measured well.
const LONG_ENOUGH: Duration = Duration::from_millis(300);

/// Operations a second, of which a multiplication and an addition are two.
///
/// # Errors
/// If the device fails.
pub async fn speed(backend: &Backend) -> Result<f64, Error> {
    let values = |count: usize| (0..count).map(|i| (i % 17) as f32 * 0.01).collect::<Vec<f32>>();
    let x = values(BATCH * CHANNELS * SIDE * SIDE);
    let x = backend.tensor(x, [BATCH, CHANNELS, SIDE, SIDE], backend.dtype);
    let weight = backend.tensor(values(CHANNELS * CHANNELS * 9), [CHANNELS, CHANNELS, 3, 3], backend.dtype);
    let bias = backend.tensor(vec![0.0; CHANNELS], [CHANNELS], backend.dtype);
    let options = ConvOptions::new([1, 1], [1, 1], [1, 1], 1);
    let run = async || {
        let y = clarifier_kernels::conv2d(x.clone(), weight.clone(), Some(bias.clone()), options.clone());
        // One value is enough to wait for all.
        read(y.narrow(3, 0, 1).narrow(2, 0, 1)).await
    };
    // The first run compiles and allocates.
    run().await?;
    let (begun, mut runs) = (Instant::now(), 0);
    while begun.elapsed() < LONG_ENOUGH {
        run().await?;
        runs += 1;
    }
    let operations = 2 * 9 * BATCH * CHANNELS * CHANNELS * SIDE * SIDE;
    Ok(f64::from(runs) * operations as f64 / begun.elapsed().as_secs_f64())
}
