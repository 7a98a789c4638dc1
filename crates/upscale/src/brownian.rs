//! A Brownian path for each latent, for the samplers that solve a stochastic equation.
//!
//! Lévy's construction: W(t) = t·Z₀ + Σ S(t)·Z over the nodes of a binary tree of intervals, where S is the
//! node's tent and each Z is an independent normal number, a function of (seed, position, node). Nothing of it is stored:
//! an increment of the path is a sum of few nodes with weights that are the same for all latents. So
//! the path does not depend on the steps that are taken along it, on the order of tiles, the platform or an interruption.
//!
//! For the canvas of 2048 × 2048 pixels an increment takes 0.1 s on one core, where its tiles take the networks minutes.
//!
//! Its time is log σ, in which the equation of these samplers has an even pace; k-diffusion's is σ, with another path.

/// Levels of the tree: 2¹⁶ + 1 times.
const LEVELS: u32 = 16;
/// Times a unit of log σ, and the log σ of time 0: from σ 0.018 to 55, which holds all of SD's. Two σs nearer than
/// 1.0001 : 1 would be the same time; 1000 steps are 1.002 : 1 at the nearest.
const PACE: f64 = 8192.0;
const FIRST: f64 = -4.0;

/// The time of a σ.
fn time(sigma: f64) -> u32 {
    ((libm::log(sigma) - FIRST) * PACE).round().clamp(0.0, f64::from(1u32 << LEVELS)) as u32
}

/// The path's increment between two different σs, divided by its standard deviation, as nodes (below 2¹⁶) and the weights
/// of their normal numbers. The squares of the weights sum to 1.
pub(crate) fn increment(from: f64, to: f64) -> Vec<(u32, f64)> {
    let (mut late, mut early) = (time(from), time(to));
    if late == early {
        // Rounding must not take the noise away.
        (late, early) = (early.max(1), early.max(1) - 1);
    }
    let length = (f64::from(late) - f64::from(early)) / f64::from(1u32 << LEVELS);
    let scale = 1.0 / length.abs().sqrt();
    let mut nodes = vec![(0, length * scale)];
    for level in 0..LEVELS {
        let [a, b] = [late, early].map(|time| tent(level, time));
        if a.0 == b.0 {
            nodes.push((a.0, (a.1 - b.1) * scale));
        } else {
            nodes.extend([(a.0, a.1 * scale), (b.0, -b.1 * scale)]);
        }
    }
    nodes.retain(|(_, weight)| *weight != 0.0);
    nodes
}

/// The node of `level` whose interval holds `time`, as in a binary heap, and its tent's height there.
fn tent(level: u32, time: u32) -> (u32, f64) {
    let width = 1 << (LEVELS - level);
    let (index, within) = (time / width, time % width);
    // At the end of all time there is no interval; the tent is 0 there, as at every border.
    let node = (1 << level) + index.min((1 << level) - 1);
    let share = f64::from(within.min(width - within)) / f64::from(width / 2);
    (node, share * 0.5 * (-0.5 * f64::from(level)).exp2())
}

#[cfg(test)]
mod tests {
    use clarifier_tile::{Rect, Size};

    use super::*;
    use crate::noise::{Draw, StepNoise};

    const AREA: Rect = Rect::new(0, 0, Size::new(64, 64));

    fn sigma(time: u32) -> f64 {
        (FIRST + f64::from(time) / PACE).exp()
    }

    fn draw(seed: u64, area: Rect, from: u32, to: u32) -> Vec<f32> {
        StepNoise { seed, area }.draw(Draw::Path { from: sigma(from), to: sigma(to) }, 4)
    }

    #[test]
    fn increments_are_standard_normal_and_independent() {
        let mean = |values: &mut dyn Iterator<Item = f64>| values.sum::<f64>() / (4.0 * 64.0 * 64.0);
        // Five standard errors for 16 384 numbers.
        let error = 5.0 / 128.0;
        let pairs = [(54_673, 54_000), (54_000, 40_001), (40_001, 40_000), (40_000, 3_803), (3_803, 1)];
        let all = pairs.map(|(from, to)| draw(7, AREA, from, to));
        for (i, a) in all.iter().enumerate() {
            let moment = |k: i32| mean(&mut a.iter().map(|v| f64::from(*v).powi(k)));
            assert!(moment(1).abs() < error && (moment(2) - 1.0).abs() < error * 2f64.sqrt(), "{i}");
            assert!((moment(4) - 3.0).abs() < error * 96f64.sqrt(), "{i}");
            for b in &all[..i] {
                let product = mean(&mut a.iter().zip(b).map(|(a, b)| f64::from(a * b)));
                assert!(product.abs() < error, "{product}");
            }
            let neighbours = mean(&mut a.windows(2).map(|pair| f64::from(pair[0] * pair[1])));
            assert!(neighbours.abs() < error);
        }
        assert_ne!(draw(8, AREA, 40_000, 3_803), all[3]);
    }

    #[test]
    fn weights_have_length_one() {
        for (from, to) in [(65_536, 0), (65_536, 65_535), (1, 0), (54_673, 3_803), (32_768, 16_384)] {
            let square: f64 = increment(sigma(from), sigma(to)).iter().map(|(_, w)| w * w).sum();
            assert!((square - 1.0).abs() < 1e-12, "{from} {to}: {square}");
        }
        // No difference that time could see is still noise.
        let square: f64 = increment(1.0, 1.0 - 1e-9).iter().map(|(_, w)| w * w).sum();
        assert!((square - 1.0).abs() < 1e-12);
    }

    #[test]
    fn the_path_does_not_depend_on_the_steps_along_it() {
        let (first, last) = (54_673, 3_803);
        let whole = draw(3, AREA, first, last);
        for steps in [2, 7, 50] {
            let time = |i: u32| first - (first - last) * i / steps;
            let mut sum = vec![0.0; whole.len()];
            for i in 0..steps {
                let length = f64::from(time(i) - time(i + 1)) / f64::from(first - last);
                for (sum, v) in sum.iter_mut().zip(draw(3, AREA, time(i), time(i + 1))) {
                    *sum += length.sqrt() * f64::from(v);
                }
            }
            let worst = sum.iter().zip(&whole).map(|(a, b)| (a - f64::from(*b)).abs()).fold(0.0, f64::max);
            // Each part is rounded to f32, of values up to about 4.
            assert!(worst < 2e-6, "{steps} steps: {worst:e}");
        }
    }

    #[test]
    fn a_part_has_the_noise_of_the_whole() {
        let part = Rect::new(10, 20, Size::new(8, 6));
        for noise in [Draw::Path { from: 3.0, to: 1.0 }, Draw::Step(5)] {
            let whole = StepNoise { seed: 9, area: AREA }.draw(noise, 6);
            let part_noise = StepNoise { seed: 9, area: part }.draw(noise, 6);
            for (i, value) in part_noise.iter().enumerate() {
                let (channel, y, x) = (i / 48, i / 8 % 6, i % 8);
                assert_eq!(*value, whole[(channel * 64 + 20 + y) * 64 + 10 + x]);
            }
        }
    }
}
