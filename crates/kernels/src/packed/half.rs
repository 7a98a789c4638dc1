//! The two 16-bit formats that files of weights have, and what their bits mean.

use burn::tensor::{bf16, f16};

/// A 16-bit floating-point format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Half {
    /// IEEE 754 binary16: 5 bits of exponent, 10 of fraction.
    F16,
    /// The upper half of an f32: 8 bits of exponent, 7 of fraction.
    Bf16,
}

impl Half {
    /// The bits of the value nearest to `value`, ties to even.
    pub fn round(self, value: f32) -> u16 {
        match self {
            Self::F16 => f16::from_f32(value).to_bits(),
            Self::Bf16 => bf16::from_f32(value).to_bits(),
        }
    }

    /// The bits of exactly `value`, if there are such; −0 is not 0, and NaNs differ.
    pub fn exact(self, value: f32) -> Option<u16> {
        let bits = value.to_bits();
        let (sign, magnitude) = ((bits >> 16) as u16 & 0x8000, bits & 0x7fff_ffff);
        match self {
            Self::Bf16 => (bits & 0xffff == 0).then_some((bits >> 16) as u16),
            // Nearly all weights are of f16's normal numbers: these without a conversion.
            Self::F16 if (113 << 23..143 << 23).contains(&magnitude) => {
                let shifted = ((magnitude - (112 << 23)) >> 13) as u16;
                (magnitude & 0x1fff == 0).then_some(sign | shifted)
            }
            Self::F16 => {
                let rounded = self.round(value);
                (widen(self, rounded).to_bits() == bits).then_some(rounded)
            }
        }
    }
}

/// The value of `bits`, whose payload a NaN keeps: what the kernels compute, for one value.
#[inline(always)]
pub fn widen(half: Half, bits: u16) -> f32 {
    let bits = u32::from(bits);
    if half == Half::Bf16 {
        return f32::from_bits(bits << 16);
    }
    let (sign, magnitude) = ((bits & 0x8000) << 16, bits & 0x7fff);
    // A fraction without a leading one is a count of 2⁻²⁴, and exact as one.
    let subnormal = (magnitude as f32 * 2f32.powi(-24)).to_bits();
    // The exponent's bias is 127 in place of 15; all ones stay all ones.
    let bias = if magnitude >= 0x7c00 { 224 << 23 } else { 112 << 23 };
    let normal = (magnitude << 13) + bias;
    f32::from_bits(sign | if magnitude < 0x400 { subnormal } else { normal })
}
