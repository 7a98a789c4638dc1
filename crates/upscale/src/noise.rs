//! Noise that is a function of (seed, position, channel).
//!
//! The order of tiles, the platform, the number of threads and an interruption cannot change it, and
//! any part of a canvas has the noise that it has in the whole.

use clarifier_model::family::ModelFamily;
use clarifier_model::files::{Source, TensorFile};
use clarifier_tile::{Rect, Size};

use crate::autoencode::latent_size;
use crate::brownian;

/// The multipliers and Weyl constants of Philox 4×32 (Salmon et al. 2011, "Parallel random numbers: as
/// easy as 1, 2, 3").
const MULTIPLIERS: [u32; 2] = [0xD251_1F53, 0xCD9E_8D57];
const WEYL: [u32; 2] = [0x9E37_79B9, 0xBB67_AE85];
const ROUNDS: usize = 10;

/// Philox 4×32-10: four random words for a counter and a key.
fn philox(mut counter: [u32; 4], mut key: [u32; 2]) -> [u32; 4] {
    for round in 0..ROUNDS {
        if round > 0 {
            key = [key[0].wrapping_add(WEYL[0]), key[1].wrapping_add(WEYL[1])];
        }
        let wide = |i: usize| u64::from(MULTIPLIERS[i]) * u64::from(counter[2 * i]);
        let (a, b) = (wide(0), wide(1));
        counter = [
            (b >> 32) as u32 ^ counter[1] ^ key[0],
            b as u32,
            (a >> 32) as u32 ^ counter[3] ^ key[1],
            a as u32,
        ];
    }
    counter
}

/// Standard normal noise for `channels` planes of `rect` of a canvas, in the layout
/// `[channels, height, width]`.
pub fn noise(seed: u64, rect: Rect, channels: usize) -> Vec<f32> {
    let key = [seed as u32, (seed >> 32) as u32];
    let mut values = Vec::with_capacity(channels * rect.size.area() as usize);
    for channel in 0..channels {
        for y in rect.y..rect.bottom() {
            for x in rect.x..rect.right() {
                let [a, b, ..] = philox([x, y, channel as u32, 0], key);
                values.push(normal(a, b));
            }
        }
    }
    values
}

/// Two numbers in 0 .. 1 for the `step`th step of a seed; independent of [`noise`].
pub(crate) fn uniform_pair(seed: u64, step: u32) -> (f64, f64) {
    let key = [seed as u32, (seed >> 32) as u32];
    // The last word of the counter is 0 for noise.
    let [a, b, ..] = philox([step, 0, 0, u32::MAX], key);
    (f64::from(a) / 4_294_967_296.0, f64::from(b) / 4_294_967_296.0)
}

/// Box–Muller: two random words to one normal number. `libm` computes the logarithm and the cosine,
/// since the platforms' own differ in the last digits.
fn normal(a: u32, b: u32) -> f32 {
    let (radius, angle) = polar(a, b);
    (radius * libm::cos(angle)) as f32
}

/// Two random words to two normal numbers, of which the first is that of [`normal`].
fn normals(a: u32, b: u32) -> [f64; 2] {
    let (radius, angle) = polar(a, b);
    let (sin, cos) = libm::sincos(angle);
    [radius * cos, radius * sin]
}

fn polar(a: u32, b: u32) -> (f64, f64) {
    // In (0, 1), never 0.
    let uniform = |word: u32| (f64::from(word) + 0.5) / 4_294_967_296.0;
    ((-2.0 * libm::log(uniform(a))).sqrt(), std::f64::consts::TAU * uniform(b))
}

/// The noise that one evaluation of a sampler draws.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Draw {
    /// Of its own, different for each number.
    Step(usize),
    /// Of a Brownian path between two σs, the same path in any number of steps.
    Path {
        /// The larger σ.
        from: f64,
        /// The smaller σ, above 0.
        to: f64,
    },
}

/// Where a sampler's noise comes from: from the seed and the place of each latent alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StepNoise {
    /// The seed of the stage.
    pub seed: u64,
    /// Which latents of the stage's picture the canvas holds.
    pub area: Rect,
}

/// Channels that one call of Philox gives noise for.
const GROUP: usize = 4;
/// The fourth word of the counter says what the noise is for: 0 for that of [`noise`], then the steps', and from
/// here on the nodes of the Brownian path.
const PATH: u32 = 1 << 31;

impl StepNoise {
    /// Standard normal noise of `channels` planes, `[channels, height, width]`.
    pub fn draw(&self, draw: Draw, channels: usize) -> Vec<f32> {
        match draw {
            Draw::Step(step) => self.sum(&[(step as u32 + 1, 1.0)], channels),
            Draw::Path { from, to } => {
                let nodes = brownian::increment(from, to);
                let nodes: Vec<_> = nodes.into_iter().map(|(node, weight)| (PATH | node, weight)).collect();
                self.sum(&nodes, channels)
            }
        }
    }

    /// The weighted sum of the independent noises of these counter words.
    fn sum(&self, words: &[(u32, f64)], channels: usize) -> Vec<f32> {
        let key = [self.seed as u32, (self.seed >> 32) as u32];
        let Rect { x: left, y: top, size } = self.area;
        let (plane, width) = (size.area() as usize, size.width as usize);
        let mut values = vec![0.0; channels * plane];
        for group in 0..channels.div_ceil(GROUP) {
            for at in 0..plane {
                let (x, y) = (left + (at % width) as u32, top + (at / width) as u32);
                let mut sums = [0.0; GROUP];
                for &(word, weight) in words {
                    let [a, b, c, d] = philox([x, y, group as u32, word], key);
                    let four = [normals(a, b), normals(c, d)];
                    for (sum, normal) in sums.iter_mut().zip(four.as_flattened()) {
                        *sum += weight * normal;
                    }
                }
                for (channel, sum) in (group * GROUP..channels).zip(sums) {
                    values[channel * plane + at] = sum as f32;
                }
            }
        }
        values
    }
}

/// Why a noise file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum NoiseError {
    /// The file cannot be read.
    #[error(transparent)]
    File(#[from] clarifier_model::files::FileError),
    /// There is no such tensor, or its shape is another.
    #[error("`noise` {file}: it must hold a tensor \"noise\" of shape {expected:?}, and {found}")]
    Shape {
        /// The file.
        file: String,
        /// The canvas: channels, rows, columns.
        expected: [usize; 3],
        /// What was found instead.
        found: String,
    },
}

/// Whether `file` has a `noise` for the latents of `family` of a stage whose result is of this size, in pixels; only its
/// header is read.
///
/// # Errors
/// [`NoiseError`].
pub fn check_noise_file(
    file: impl Into<Source>,
    family: &ModelFamily,
    result: Size,
) -> Result<(), NoiseError> {
    let area = latent_size(result, family.factor);
    let expected = [family.latent_channels, area.height as usize, area.width as usize];
    open(file.into(), expected).map(drop)
}

/// The tensor `noise` of `file`, which must be `[channels, height, width]` (a leading 1 is
/// allowed).
///
/// # Errors
/// [`NoiseError`].
pub fn noise_from_file(file: impl Into<Source>, expected: [usize; 3]) -> Result<Vec<f32>, NoiseError> {
    Ok(open(file.into(), expected)?.read("noise")?)
}

fn open(source: Source, expected: [usize; 3]) -> Result<Box<dyn TensorFile>, NoiseError> {
    let file = clarifier_model::files::open(&source)?;
    let shape = |found: String| NoiseError::Shape { file: source.display().to_string(), expected, found };
    let info = file.tensors().get("noise").ok_or_else(|| shape("there is none".into()))?;
    if info.shape != expected && info.shape.strip_prefix(&[1]) != Some(&expected[..]) {
        return Err(shape(format!("its shape is {:?}", info.shape)));
    }
    Ok(file)
}

#[cfg(test)]
mod tests {
    use clarifier_tile::Size;

    use super::*;

    #[test]
    fn philox_gives_the_published_numbers() {
        // The known answers of the Random123 distribution.
        assert_eq!(philox([0; 4], [0; 2]), [0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8]);
        assert_eq!(
            philox([u32::MAX; 4], [u32::MAX; 2]),
            [0x408f_276d, 0x41c8_3b0e, 0xa20b_c7c6, 0x6d54_51fd]
        );
        let counter = [0x243f_6a88, 0x85a3_08d3, 0x1319_8a2e, 0x0370_7344];
        let key = [0xa409_3822, 0x299f_31d0];
        assert_eq!(philox(counter, key), [0xd16c_fe09, 0x94fd_cceb, 0x5001_e420, 0x2412_6ea1]);
    }

    #[test]
    fn a_part_has_the_noise_of_the_whole() {
        let whole = noise(7, Rect::new(0, 0, Size::new(20, 10)), 4);
        let part = noise(7, Rect::new(3, 2, Size::new(5, 4)), 4);
        for c in 0..4 {
            for y in 0..4 {
                for x in 0..5 {
                    assert_eq!(part[(c * 4 + y) * 5 + x], whole[(c * 10 + y + 2) * 20 + x + 3]);
                }
            }
        }
    }

    #[test]
    fn it_is_standard_normal_and_uncorrelated() {
        let (n, side) = (256 * 256 * 4, 256);
        let values = noise(42, Rect::new(0, 0, Size::new(side, side)), 4);
        let mean = values.iter().map(|v| f64::from(*v)).sum::<f64>() / n as f64;
        let moment = |k: i32| values.iter().map(|v| f64::from(*v).powi(k)).sum::<f64>() / n as f64;
        let neighbours = values.windows(2).map(|p| f64::from(p[0]) * f64::from(p[1])).sum::<f64>() / n as f64;
        // Five standard errors of each statistic for n numbers.
        let error = 5.0 / (n as f64).sqrt();
        assert!(mean.abs() < error && (moment(2) - 1.0).abs() < error * 2f64.sqrt());
        assert!((moment(4) - 3.0).abs() < error * 96f64.sqrt() && neighbours.abs() < error);
        assert_ne!(values, noise(43, Rect::new(0, 0, Size::new(side, side)), 4));
    }
}
