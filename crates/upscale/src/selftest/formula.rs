//! Weights and inputs as a pure function of (name, index): the twin of `tests/fixtures/weights.py`.

fn fnv1a(text: &str) -> u64 {
    text.bytes()
        .fold(0xCBF2_9CE4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01B3))
}

/// The `index`th number in \[−1, 1) of a name: splitmix64, 24 bits.
fn uniform(seed: u64, index: u64) -> f64 {
    let mut z = seed.wrapping_add((index + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15));
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    ((z ^ (z >> 31)) >> 40) as f64 / 8_388_608.0 - 1.0
}

/// The values of a network's tensor by their index in row-major order: of variance 1 / inputs, or near 1 for a
/// normalisation's weight and near 0 for a bias.
pub fn weight(name: &str, shape: &[usize]) -> impl Fn(u64) -> f32 + Sync {
    let seed = fnv1a(name);
    let fan_in: usize = shape.iter().skip(1).product();
    let (offset, scale) = match shape.len() {
        2.. => (0.0, (3.0 / fan_in as f64).sqrt()),
        _ if name.ends_with(".weight") => (1.0, 0.1),
        _ => (0.0, 0.05),
    };
    move |index| (offset + scale * uniform(seed, index)) as f32
}

/// The values of an input, in \[−1, 1), by their index.
pub fn data(name: &str) -> impl Fn(u64) -> f32 + Sync {
    let seed = fnv1a(name);
    move |index| uniform(seed, index) as f32
}
