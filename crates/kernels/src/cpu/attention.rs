//! Attention on the CPU in blocks that stay in the cache (Dao et al. 2022, "FlashAttention"; the running maximum is
//! Milakov & Gimelshein's 2018): no scores are kept.

use pulp::{Simd, WithSimd};
use rayon::prelude::*;

use super::matmul::Matrix;
use super::simd::{LANES, ROWS, exp, multiply, scratch, vectorized};

/// Keys whose scores exist at once, for 16 queries: 12 KiB.
const KEYS: usize = 32 * ROWS;
/// Most queries of one task; they share what is read of keys and values.
const QUERIES: usize = 8 * LANES;

/// Rows of `d` values by batch, head and position: element (b, h, i, j) lies at the sum of index · stride.
#[derive(Clone, Copy)]
pub(crate) struct Heads<'a> {
    pub values: &'a [f32],
    pub strides: [usize; 4],
}

impl<'a> Heads<'a> {
    fn of(self, batch: usize, head: usize) -> Matrix<'a> {
        let [b, h, i, j] = self.strides;
        Matrix { values: &self.values[batch * b + head * h..], strides: [i, j] }
    }
}

/// Sizes of an attention.
#[derive(Clone, Copy)]
pub(crate) struct Sizes {
    pub heads: usize,
    pub queries: usize,
    pub keys: usize,
    pub d: usize,
}

/// `softmax(q·kᵀ / √d) · v` into `out: [batch, queries, heads · d]`. No size is 0.
pub(crate) fn attention(query: Heads, key: Heads, value: Heads, sizes: Sizes, out: &mut [f32]) {
    let Sizes { heads, queries, keys, d, .. } = sizes;
    let strips = [keys.div_ceil(ROWS), d.div_ceil(ROWS)];
    let [of_keys, of_values] = [strips[0] * d, strips[1] * keys];
    // Shared by all tasks of a picture: as many values as the keys and values have.
    scratch::<ROWS, _>(heads * (of_keys + of_values), |packed| {
        for (batch, out) in out.chunks_exact_mut(queries * heads * d).enumerate() {
            packed.par_chunks_mut(of_keys + of_values).enumerate().for_each(|(head, packed)| {
                let (to_keys, to_values) = packed.split_at_mut(of_keys);
                let (key, value) = (key.of(batch, head), value.of(batch, head));
                for (strip, to) in to_keys.chunks_exact_mut(d).enumerate() {
                    key.pack(strip * ROWS, keys, 0, to);
                }
                let turned = Matrix { strides: [value.strides[1], value.strides[0]], ..value };
                for (strip, to) in to_values.chunks_exact_mut(keys).enumerate() {
                    turned.pack(strip * ROWS, d, 0, to);
                }
            });
            let share = queries.div_ceil(rayon::current_num_threads()).next_multiple_of(LANES);
            let rows = share.min(QUERIES);
            let packed = &*packed;
            out.par_chunks_mut(rows * heads * d).enumerate().for_each(|(task, out)| {
                let room = KEYS + rows.div_ceil(LANES) * (d + strips[1] * ROWS);
                scratch(room, |room| {
                    for (head, packed) in packed.chunks_exact(of_keys + of_values).enumerate() {
                        let (keys, values) = packed.split_at(of_keys);
                        let (query, start) = (query.of(batch, head), task * rows);
                        vectorized(Block { query, start, head, keys, values, sizes, room, out });
                    }
                });
            });
        }
    });
}

/// Some queries of one head.
struct Block<'a, 'o> {
    query: Matrix<'a>,
    start: usize,
    head: usize,
    keys: &'a [[f32; ROWS]],
    values: &'a [[f32; ROWS]],
    sizes: Sizes,
    /// Room for a block of scores, the queries and what is summed for them.
    room: &'o mut [[f32; LANES]],
    out: &'o mut [f32],
}

/// The softmax so far of 16 queries.
#[derive(Clone, Copy)]
struct Running {
    largest: [f32; LANES],
    total: [f32; LANES],
}

impl Running {
    /// Turn scores into shares of the softmax; what was summed with the earlier largest score is to be scaled by
    /// the result.
    #[inline(always)]
    fn take(&mut self, scores: &mut [[f32; LANES]]) -> [f32; LANES] {
        let mut largest = self.largest;
        for row in scores.iter() {
            for i in 0..LANES {
                largest[i] = if row[i] > largest[i] { row[i] } else { largest[i] };
            }
        }
        let mut scale = [0.0; LANES];
        for i in 0..LANES {
            scale[i] = exp(self.largest[i] - largest[i]);
        }
        let mut total = [0.0; LANES];
        for row in scores.iter_mut() {
            for i in 0..LANES {
                row[i] = exp(row[i] - largest[i]);
            }
            for i in 0..LANES {
                total[i] += row[i];
            }
        }
        for i in 0..LANES {
            self.total[i] = self.total[i] * scale[i] + total[i];
        }
        self.largest = largest;
        scale
    }
}

impl WithSimd for Block<'_, '_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { query, start, head, keys, values, sizes, room, out } = self;
        let Sizes { heads, queries, keys: count, d, .. } = sizes;
        let width = heads * d;
        let panels = (out.len() / width).div_ceil(LANES);
        let strips = d.div_ceil(ROWS);
        let root = 1.0 / (d as f32).sqrt();
        let mut running = [Running { largest: [f32::MIN; LANES], total: [0.0; LANES] }; QUERIES / LANES];
        let (scores, all) = room.split_at_mut(KEYS);
        let (packed, sums) = all.split_at_mut(panels * d);
        for (panel, to) in packed.chunks_exact_mut(d).enumerate() {
            query.pack(start + panel * LANES, queries, 0, to);
            to.as_flattened_mut().iter_mut().for_each(|q| *q *= root);
        }
        sums.fill([0.0; LANES]);
        for first in (0..count).step_by(KEYS) {
            let length = KEYS.min(count - first);
            for panel in 0..panels {
                let query = &packed[panel * d..][..d];
                let (tiles, _) = scores.as_chunks_mut::<ROWS>();
                let keys = keys[first / ROWS * d..].chunks_exact(d);
                for (tile, keys) in tiles[..length.div_ceil(ROWS)].iter_mut().zip(keys) {
                    *tile = [[0.0; LANES]; ROWS];
                    multiply(simd, keys, query, tile);
                }
                let scores = &mut scores[..length];
                let scale = running[panel].take(scores);
                let (tiles, _) = sums[panel * strips * ROWS..][..strips * ROWS].as_chunks_mut::<ROWS>();
                for (tile, values) in tiles.iter_mut().zip(values.chunks_exact(count)) {
                    for row in tile.iter_mut() {
                        for i in 0..LANES {
                            row[i] *= scale[i];
                        }
                    }
                    multiply(simd, &values[first..first + length], scores, tile);
                }
            }
        }
        for (row, out) in out.chunks_exact_mut(width).enumerate() {
            let (panel, lane) = (row / LANES, row % LANES);
            let share = 1.0 / running[panel].total[lane];
            let sums = &sums[panel * strips * ROWS..];
            for (out, sums) in out[head * d..][..d].iter_mut().zip(sums) {
                *out = sums[lane] * share;
            }
        }
    }
}
