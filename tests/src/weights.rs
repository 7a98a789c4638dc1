//! Files of weights that are a pure function of (tensor name, index).

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

use clarifier_upscale::selftest::formula;
use rayon::prelude::*;
use serde_json::{Map, Value, json};

/// A tensor of a network.
pub fn weight(name: &str, shape: &[usize]) -> Vec<f32> {
    let value = formula::weight(name, shape);
    (0..shape.iter().product::<usize>() as u64).into_par_iter().map(value).collect()
}

/// An input of a network, in \[−1, 1).
pub fn data(name: &str, shape: &[usize]) -> Vec<f32> {
    (0..shape.iter().product::<usize>() as u64).map(formula::data(name)).collect()
}

/// The type that a file stores.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stored {
    /// 32 bits.
    F32,
    /// 16 bits.
    F16,
    /// The same, zeros in place of the formula: a large file that takes no room on the disk.
    Zeros,
}

/// One tensor of a file to be written: its name there, the name that gives its values, its shape.
pub struct Entry {
    /// Name in the file.
    pub name: String,
    /// Name in the formula; `=2.5` is that number everywhere, `~name` that name's values in one
    /// dimension, `2*name` twice its values, of any number.
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
    if stored == Stored::Zeros {
        file.into_inner().unwrap().set_len((8 + header.len() + at) as u64).unwrap();
        return;
    }
    for Entry { formula, shape, .. } in entries {
        let count = shape.iter().product();
        let values = match (formula.strip_prefix('='), formula.strip_prefix('~')) {
            (Some(number), _) => vec![number.parse().unwrap(); count],
            (_, Some(name)) => weight(name, &[count]),
            _ => match formula.split_once('*') {
                Some((times, name)) => {
                    let times: f32 = times.parse().unwrap();
                    weight(name, shape).into_iter().map(|v| times * v).collect()
                }
                None => weight(formula, shape),
            },
        };
        let bytes: Vec<u8> = match stored {
            Stored::F32 => values.iter().flat_map(|v| v.to_le_bytes()).collect(),
            Stored::F16 | Stored::Zeros => {
                values.iter().flat_map(|v| burn::tensor::f16::from_f32(*v).to_le_bytes()).collect()
            }
        };
        file.write_all(&bytes).unwrap();
    }
    file.flush().unwrap();
}

/// Write a safetensors file of one tensor.
pub fn write_tensor(path: &Path, name: &str, shape: &[usize], values: &[f32]) {
    let header = json!({ name: { "dtype": "F32", "shape": shape, "data_offsets": [0, 4 * values.len()] } })
        .to_string();
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.extend(header.as_bytes());
    bytes.extend(values.iter().flat_map(|value| value.to_le_bytes()));
    std::fs::write(path, bytes).unwrap();
}
