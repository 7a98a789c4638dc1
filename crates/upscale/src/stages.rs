//! A large factor in stages of at most 2, each gentler than the one before.

use clarifier_tile::Size;

/// Each later stage redraws this much of what the one before did.
const STRENGTH_PER_STAGE: f64 = 0.8;
/// What is less than this above a whole factor is rounding.
const TOLERANCE: f64 = 1e-9;

/// One enlargement and redrawing.
#[derive(Debug, Clone, PartialEq)]
pub struct Stage {
    /// Size of its input.
    pub from: Size,
    /// Size of its result.
    pub to: Size,
    /// Denoising strength.
    pub strength: f64,
    /// Seed of its noise.
    pub seed: u64,
}

/// The stages of an upscale: 2 while the rest is at least 2, then the rest if it is more than 1. A
/// factor of 1 is one stage that redraws at the same size.
pub fn stages(input: Size, factor: f64, strength: f64, seed: u64) -> Vec<Stage> {
    let mut rest = factor;
    let mut done = 1.0;
    let mut from = input;
    let mut stages = Vec::new();
    while rest > 1.0 + TOLERANCE || stages.is_empty() {
        let here = if rest >= 2.0 - TOLERANCE { 2.0 } else { rest };
        rest /= here;
        done *= here;
        // From the input's size each time, so that rounding does not add up.
        let side = |length: u32| (f64::from(length) * done).round().max(1.0) as u32;
        let to = Size::new(side(input.width), side(input.height));
        let index = stages.len() as u32;
        stages.push(Stage {
            from,
            to,
            strength: strength * STRENGTH_PER_STAGE.powi(index as i32),
            seed: seed.wrapping_add(u64::from(index)),
        });
        from = to;
    }
    stages
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sizes(width: u32, height: u32, factor: f64) -> Vec<(u32, u32)> {
        let stages = stages(Size::new(width, height), factor, 0.35, 7);
        stages.iter().map(|s| (s.to.width, s.to.height)).collect()
    }

    #[test]
    fn factors_are_cut_into_twos_and_a_rest() {
        assert_eq!(sizes(100, 50, 1.0), [(100, 50)]);
        assert_eq!(sizes(100, 50, 1.5), [(150, 75)]);
        assert_eq!(sizes(100, 50, 2.0), [(200, 100)]);
        assert_eq!(sizes(100, 50, 3.0), [(200, 100), (300, 150)]);
        assert_eq!(sizes(101, 51, 4.0), [(202, 102), (404, 204)]);
        assert_eq!(sizes(1, 5000, 16.0).last(), Some(&(16, 80_000)));
        assert_eq!(sizes(3, 3, 1.1), [(3, 3)]);
    }

    #[test]
    fn later_stages_are_gentler_and_have_other_noise() {
        let stages = stages(Size::new(64, 64), 8.0, 0.5, u64::MAX);
        let strengths: Vec<_> = stages.iter().map(|s| (s.strength * 1e6).round() / 1e6).collect();
        assert_eq!(strengths, [0.5, 0.4, 0.32]);
        assert_eq!((stages[0].seed, stages[1].seed), (u64::MAX, 0));
    }
}
