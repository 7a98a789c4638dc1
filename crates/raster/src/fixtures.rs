//! What `tests/fixtures/raster/make.py` and `pyramids.py` made, for this crate's tests.

use std::collections::HashMap;
use std::path::PathBuf;

use clarifier_tile::Size;
use serde::Deserialize;

use crate::{Planes, Raster};

pub(crate) fn path(name: &str) -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/fixtures/raster")).join(name)
}

pub(crate) fn bytes(name: &str) -> Vec<u8> {
    std::fs::read(path(name)).unwrap()
}

/// Values as Pillow reads them, interleaved, 0 to 255 or 65535.
#[derive(Deserialize, Clone, Default)]
#[serde(default)]
pub(crate) struct Expected {
    pub size: (u32, u32),
    pub channels: usize,
    pub depth: u32,
    pub data: Vec<u16>,
    same: Option<String>,
}

/// What every fixture contains, sorted by name.
pub(crate) fn expected() -> Vec<(String, Expected)> {
    let table: HashMap<String, Expected> = serde_json::from_slice(&bytes("expected.json")).unwrap();
    let resolve = |entry: &Expected| entry.same.as_ref().map_or(entry, |name| &table[name]).clone();
    let mut list: Vec<_> = table.iter().map(|(name, entry)| (name.clone(), resolve(entry))).collect();
    list.sort_by(|a, b| a.0.cmp(&b.0));
    list
}

/// A picture's values as [`Expected`] has them.
pub(crate) fn levels(raster: &Raster) -> Vec<u16> {
    let planes = raster.read(raster.area()).unwrap();
    let top = if raster.depth() == crate::Depth::Eight { 255.0 } else { 65535.0 };
    let pixels = planes.size.area() as usize;
    (0..pixels * planes.channels)
        .map(|i| (planes.data[i % planes.channels * pixels + i / planes.channels] * top).round() as u16)
        .collect()
}

/// What Pillow makes of one picture at several sizes.
#[derive(Deserialize)]
pub(crate) struct ResizeTable {
    pub size: (u32, u32),
    pub data: Vec<f32>,
    pub cases: Vec<ResizeCase>,
}

#[derive(Deserialize)]
pub(crate) struct ResizeCase {
    pub filter: String,
    pub size: (u32, u32),
    pub data: Vec<f32>,
}

impl ResizeTable {
    pub fn load() -> Self {
        serde_json::from_slice(&bytes("resize.json")).unwrap()
    }
}

/// Values without a pattern, the same every time (an LCG; Knuth's constants).
pub(crate) fn noise(size: Size, channels: usize) -> Planes {
    let mut state = 1u64;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / (1 << 24) as f32
    };
    Planes::new(size, channels, (0..size.area() as usize * channels).map(|_| next()).collect())
}

/// How libvips cuts pyramids: by the picture's size the tiles, `level/column_row`, and their sizes.
pub(crate) fn pyramids() -> HashMap<String, HashMap<String, (u32, u32)>> {
    serde_json::from_slice(&bytes("pyramids.json")).unwrap()
}
