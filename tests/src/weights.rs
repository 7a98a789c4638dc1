//! Weights as a pure function of (tensor name, index): the twin of `fixtures/weights.py`.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

use rayon::prelude::*;
use serde_json::{Map, Value, json};

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

/// A tensor of a network.
pub fn weight(name: &str, shape: &[usize]) -> Vec<f32> {
    let (seed, count) = (fnv1a(name), shape.iter().product::<usize>());
    let fan_in: usize = shape.iter().skip(1).product();
    let (offset, scale) = match shape.len() {
        2.. => (0.0, (3.0 / fan_in as f64).sqrt()),
        _ if name.ends_with(".weight") => (1.0, 0.1),
        _ => (0.0, 0.05),
    };
    (0..count as u64).into_par_iter().map(|i| (offset + scale * uniform(seed, i)) as f32).collect()
}

/// An input of a network, in \[−1, 1).
pub fn data(name: &str, shape: &[usize]) -> Vec<f32> {
    let seed = fnv1a(name);
    (0..shape.iter().product::<usize>() as u64).map(|i| uniform(seed, i) as f32).collect()
}

/// The type that a file stores.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stored {
    /// 32 bits.
    F32,
    /// 16 bits.
    F16,
}

/// One tensor of a file to be written: its name there, the name that gives its values, its shape.
pub struct Entry {
    /// Name in the file.
    pub name: String,
    /// Name in the formula; `=2.5` is that number everywhere, `~name` that name's values in one
    /// dimension, `2*name` twice its values.
    pub formula: String,
    /// Shape in the file.
    pub shape: Vec<usize>,
}

/// Write a safetensors file, one tensor in memory at a time.
pub fn write_safetensors(path: &Path, entries: &[Entry], stored: Stored) {
    write_safetensors_with(path, entries, stored, json!({}));
}

/// Write a safetensors file with texts in its header.
pub fn write_safetensors_with(path: &Path, entries: &[Entry], stored: Stored, metadata: Value) {
    let width = if stored == Stored::F32 { 4 } else { 2 };
    let mut header = Map::new();
    header.insert("__metadata__".into(), metadata);
    let mut at = 0;
    for Entry { name, shape, .. } in entries {
        let end = at + shape.iter().product::<usize>() * width;
        let dtype = if stored == Stored::F32 { "F32" } else { "F16" };
        header.insert(name.clone(), json!({ "dtype": dtype, "shape": shape, "data_offsets": [at, end] }));
        at = end;
    }
    let mut header = Value::Object(header).to_string();
    header.push_str(&" ".repeat(header.len().next_multiple_of(8) - header.len()));
    let mut file = BufWriter::with_capacity(1 << 20, File::create(path).unwrap());
    file.write_all(&(header.len() as u64).to_le_bytes()).unwrap();
    file.write_all(header.as_bytes()).unwrap();
    for Entry { formula, shape, .. } in entries {
        let count = shape.iter().product();
        let values = match (formula.strip_prefix('='), formula.strip_prefix('~')) {
            (Some(number), _) => vec![number.parse().unwrap(); count],
            (_, Some(name)) => weight(name, &[count]),
            _ => match formula.strip_prefix("2*") {
                Some(name) => weight(name, shape).into_iter().map(|v| 2.0 * v).collect(),
                None => weight(formula, shape),
            },
        };
        let bytes: Vec<u8> = match stored {
            Stored::F32 => values.iter().flat_map(|v| v.to_le_bytes()).collect(),
            Stored::F16 => {
                values.iter().flat_map(|v| burn::tensor::f16::from_f32(*v).to_le_bytes()).collect()
            }
        };
        file.write_all(&bytes).unwrap();
    }
    file.flush().unwrap();
}
