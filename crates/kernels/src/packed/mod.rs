//! Tensors whose f32 values are kept in 16 bits each, two in a word, and unpacked where they are used.
//!
//! Devices need no 16-bit type for it, neither to store nor to compute: the words are u32, and unpacking
//! is shifts and masks, whose result is the same to the bit everywhere.

mod cpu;
mod half;

use burn::backend::{Cube, Flex};
use burn::tensor::{DType, Device, Int, Tensor, TensorData};
use rayon::prelude::*;

pub use self::half::{Half, widen};

/// Values that one thread takes at a time.
const CHUNK: usize = 1 << 15;

/// Values on the host, packed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PackedValues {
    words: Vec<u32>,
    half: Half,
    length: usize,
}

impl PackedValues {
    /// Packs what 16 bits hold exactly; none if no format of [`Half`] holds all of `values`.
    pub fn exact(values: &[f32]) -> Option<Self> {
        let holds = |half: &Half| {
            values.par_chunks(CHUNK).all(|chunk| chunk.iter().all(|v| half.exact(*v).is_some()))
        };
        let half = [Half::F16, Half::Bf16].into_iter().find(holds)?;
        Some(Self::pack(values, half, |v| half.exact(v).expect("just seen")))
    }

    /// Packs the nearest f16 of each; none if one of `values` is beyond f16's range, which ends at 65 504.
    pub fn rounded(values: &[f32]) -> Option<Self> {
        let fits = |v: &f32| widen(Half::F16, Half::F16.round(*v)).is_finite();
        let all = values.par_chunks(CHUNK).all(|chunk| chunk.iter().all(fits));
        all.then(|| Self::pack(values, Half::F16, |v| Half::F16.round(v)))
    }

    /// The values that `bits` are.
    pub fn from_bits(bits: &[u16], half: Half) -> Self {
        Self::pack(bits, half, |bits| bits)
    }

    fn pack<T: Copy + Sync>(values: &[T], half: Half, bits: impl Fn(T) -> u16 + Sync) -> Self {
        let word = |pair: &[T]| {
            let bits = |at: usize| pair.get(at).map_or(0, |v| u32::from(bits(*v)));
            bits(0) | bits(1) << 16
        };
        let words = values.par_chunks(2).with_min_len(CHUNK / 2).map(word).collect();
        Self { words, half, length: values.len() }
    }

    /// Put them onto a device as a tensor of `dims`.
    ///
    /// # Panics
    /// If `dims` is of another number of values.
    pub fn place<const D: usize>(self, dims: [usize; D], device: &Device) -> Packed<D> {
        assert_eq!(dims.iter().product::<usize>(), self.length, "a shape of as many values");
        let words = TensorData::new(self.words, [self.length.div_ceil(2)]);
        Packed { words: Tensor::from_data(words, (device, DType::U32)), half: self.half, dims }
    }
}

/// A tensor of f32 that takes 16 bits a value on its device.
#[derive(Debug, Clone)]
pub struct Packed<const D: usize> {
    words: Tensor<1, Int>,
    half: Half,
    dims: [usize; D],
}

impl<const D: usize> Packed<D> {
    /// Bytes on the device.
    pub fn bytes(&self) -> u64 {
        4 * self.words.dims()[0] as u64
    }

    /// The format of its values.
    pub fn half(&self) -> Half {
        self.half
    }

    /// The same values under another shape.
    ///
    /// # Panics
    /// If `dims` is of another number of values.
    pub fn reshape<const E: usize>(self, dims: [usize; E]) -> Packed<E> {
        let count = |dims: &[usize]| dims.iter().product::<usize>();
        assert_eq!(count(&dims), count(&self.dims), "a shape of as many values");
        Packed { words: self.words, half: self.half, dims }
    }

    /// The values in f32, on the same device: a tensor of its own, which should not outlive its use.
    pub fn unpack(&self) -> Tensor<D> {
        let length = self.dims.iter().product();
        let words = self.words.clone();
        let flat: Tensor<1> = match words.clone().try_into_primitive::<Flex>() {
            Ok(words) => cpu::unpack(words.storage::<u32>(), self.half, length),
            Err(_) => {
                let words = words.try_into_primitive::<Cube>().expect("a device of flex or of CubeCL");
                Tensor::from_primitive::<Cube>(clarifier_gpu_kernels::unpack::unpack(
                    words,
                    self.half == Half::Bf16,
                    length,
                ))
            }
        };
        flat.reshape(self.dims)
    }
}
