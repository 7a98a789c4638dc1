//! Unpacking on a GPU, in CubeCL: WGSL, SPIR-V and MSL are made of it.

use burn::tensor::{DType, Shape};
use burn_cubecl::cubecl;
use burn_cubecl::cubecl::calculate_cube_count_elemwise;
use burn_cubecl::cubecl::prelude::*;
use burn_cubecl::ops::numeric::empty_device_contiguous_dtype;
use burn_cubecl::tensor::CubeTensor;

/// The least f16 above zero, 2⁻²⁴.
const ULP: f32 = 1.0 / 16_777_216.0;

/// The bits of the f32 that the 16 bits in `bits` are, as clarifier-kernels' `widen` gives them.
#[cube]
fn widened(bits: u32, #[comptime] bf16: bool) -> u32 {
    if comptime!(bf16) {
        bits << 16
    } else {
        let sign = (bits & 0x8000) << 16;
        let magnitude = bits & 0x7fff;
        let subnormal = u32::reinterpret(f32::cast_from(magnitude) * f32::new(ULP));
        let bias = select(magnitude >= 0x7c00, 224u32 << 23, 112u32 << 23);
        let normal = (magnitude << 13) + bias;
        sign | select(magnitude < 0x400, subnormal, normal)
    }
}

/// A word to two values, which are written as bits: a driver may not touch a NaN or a subnormal on the way.
#[cube(launch)]
fn unpack_words(words: &[u32], values: &mut [u32], #[comptime] bf16: bool) {
    if ABSOLUTE_POS < words.len() {
        let word = words[ABSOLUTE_POS];
        let first = 2 * ABSOLUTE_POS;
        values[first] = widened(word & 0xffff, bf16);
        if first + 1 < values.len() {
            values[first + 1] = widened(word >> 16, bf16);
        }
    }
}

/// The first `length` values of `words`, each of which is two of f16 or, if `bf16`, of bfloat16.
pub fn unpack(words: CubeTensor, bf16: bool, length: usize) -> CubeTensor {
    let client = words.client.clone();
    let values =
        empty_device_contiguous_dtype(client.clone(), words.device.clone(), Shape::new([length]), DType::F32);
    let count = words.meta.num_elements();
    let dim = CubeDim::new(&client, count);
    let cubes = calculate_cube_count_elemwise(&client, count, dim);
    let (from, to) = (words.into_buffer_arg(), values.clone().into_buffer_arg());
    unpack_words::launch(&client, cubes, dim, from, to, bf16);
    values
}
