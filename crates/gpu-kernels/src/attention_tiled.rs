//! Attention by tiles of queries and keys that a workgroup shares.

use burn_cubecl::cubecl;
use burn_cubecl::cubecl::ir::ElemType;
use burn_cubecl::cubecl::prelude::*;

use crate::Gpu;
use crate::attention::{Heads, HeadsLaunch};
use crate::grid::workgroups;
use crate::tiled::turned;

/// The widest head: its sums are in registers, 20 vectors of 4 in each unit.
pub const WIDEST: usize = 160;
/// Queries and keys of a tile.
pub const SIDE: usize = 32;
/// Units along a side of the tile, each with 4 × 4 scores.
const UNITS: usize = 8;
/// Values of each vector that are in shared memory at once.
const DEPTH: usize = 16;

/// Into `out`, `[batch, queries, heads, d]`: `count` tiles after the first `skip`.
pub fn tiled(
    [query, key, value]: [&Gpu; 3],
    out: &Gpu,
    at: HeadsLaunch,
    skip: usize,
    count: usize,
    d: usize,
) {
    // SAFETY: all indices are clamped to the operands' sizes, and go by their strides.
    #[allow(unsafe_code)]
    unsafe {
        in_tiles::launch_unchecked(
            &query.0.client,
            workgroups(count),
            CubeDim::new_1d((UNITS * UNITS) as u32),
            4,
            query.arg(),
            key.arg(),
            value.arg(),
            out.arg(),
            at,
            skip,
            d.div_ceil(4 * UNITS),
            query.element(),
        );
    }
}

/// A unit's part of the output is 4 queries times `fours` vectors of 4 values.
#[cube(launch_unchecked)]
fn in_tiles<F: Float, N: Size>(
    query: &[Vector<F, N>],
    key: &[Vector<F, N>],
    value: &[Vector<F, N>],
    out: &mut [Vector<F, N>],
    at: Heads,
    skip: usize,
    #[comptime] fours: usize,
    #[define(F)] _type: ElemType,
) {
    let tiles = at.queries.div_ceil(SIDE);
    let tile = min(CUBE_POS + skip, at.batch * at.heads * tiles - 1);
    let (picture, head) = (tile / tiles / at.heads, tile / tiles % at.heads);
    let first = tile % tiles * SIDE;
    let query_at = picture * at.query_picture + head * at.query_head;
    let key_at = picture * at.key_picture + head * at.key_head;
    let value_at = picture * at.value_picture + head * at.value_head;
    let unit = UNIT_POS as usize;
    let (unit_query, unit_key) = (unit / UNITS, unit % UNITS);

    let mut queries = Shared::<[Vector<f32, Const<4>>]>::new_slice(comptime!(DEPTH * UNITS));
    let mut keys = Shared::<[Vector<f32, Const<4>>]>::new_slice(comptime!(DEPTH * UNITS));
    let mut weights = Shared::<[Vector<f32, Const<4>>]>::new_slice(comptime!(SIDE * UNITS));
    // Of each unit the maxima of its four queries; at the end their sums.
    let mut parts = Shared::<[Vector<f32, Const<4>>]>::new_slice(comptime!(UNITS * UNITS));

    let mut highest = Vector::<f32, Const<4>>::new(f32::min_value());
    let mut total = Vector::<f32, Const<4>>::new(0.0);
    let mut sums = Array::<Vector<f32, Const<4>>>::new(comptime!(4 * fours));
    #[unroll]
    for i in 0..4 * fours {
        sums[i] = Vector::new(0.0);
    }
    // Half of the units fetch blocks of the queries, the others of the keys.
    let (depth, line) = (unit % 4, unit / 4 % UNITS);
    let for_queries = unit < 4 * UNITS;
    let mut lines = Array::<usize>::new(4usize);
    let mut block = Array::<Vector<f32, Const<4>>>::new(4usize);
    for start in range_stepped(0, at.keys, SIDE) {
        #[unroll]
        for i in 0..4usize {
            let query = query_at + min(first + 4 * line + i, at.queries - 1) * at.query_token;
            let key = key_at + min(start + 4 * line + i, at.keys - 1) * at.key_token;
            lines[i] = select(for_queries, query, key);
        }
        let mut scores = Array::<Vector<f32, Const<4>>>::new(4usize);
        #[unroll]
        for j in 0..4usize {
            scores[j] = Vector::new(0.0);
        }
        for c in range_stepped(0, at.d, DEPTH) {
            sync_cube();
            if for_queries {
                turned::<F, N>(query, &lines, c + 4 * depth, at.d, &mut block, 4usize);
                #[unroll]
                for q in 0..4usize {
                    queries[(4 * depth + q) * UNITS + line] = block[q] * Vector::new(at.scale);
                }
            } else {
                turned::<F, N>(key, &lines, c + 4 * depth, at.d, &mut block, 4usize);
                #[unroll]
                for q in 0..4usize {
                    keys[(4 * depth + q) * UNITS + line] = block[q];
                }
            }
            sync_cube();
            for k in 0..DEPTH {
                let q = queries[k * UNITS + unit_query];
                let of_keys = keys[k * UNITS + unit_key];
                #[unroll]
                for j in 0..4usize {
                    scores[j] = fma(q, Vector::new(of_keys.extract(j)), scores[j]);
                }
            }
        }
        let mut top = highest;
        #[unroll]
        for j in 0..4usize {
            // The last key, read again for those beyond it, changes no maximum.
            top = max(top, scores[j]);
        }
        parts[unit] = top;
        sync_cube();
        #[unroll]
        for j in 0..UNITS {
            top = max(top, parts[unit_query * UNITS + j]);
        }
        let keep = (highest - top).exp();
        highest = top;
        total *= keep;
        #[unroll]
        for j in 0..4usize {
            let key = unit_key * 4 + j;
            let there = select(start + key < at.keys, 1.0f32, 0.0f32);
            let weight = (scores[j] - top).exp() * Vector::new(there);
            total += weight;
            weights[key * UNITS + unit_query] = weight;
        }
        #[unroll]
        for i in 0..4usize {
            #[unroll]
            for f in 0..fours {
                sums[i * fours + f] *= Vector::new(keep.extract(i));
            }
        }
        sync_cube();
        for j in 0..min(SIDE, at.keys - start) {
            let weight = weights[j * UNITS + unit_query];
            #[unroll]
            for f in 0..fours {
                let c = min((f * UNITS + unit_key) * 4, at.d - 4);
                let v: Vector<f32, Const<4>> =
                    Vector::cast_from(value[(value_at + (start + j) * at.value_token + c) / 4]);
                #[unroll]
                for i in 0..4usize {
                    sums[i * fours + f] = fma(v, Vector::new(weight.extract(i)), sums[i * fours + f]);
                }
            }
        }
    }
    sync_cube();
    parts[unit] = total;
    sync_cube();
    let mut all = Vector::<f32, Const<4>>::new(0.0);
    #[unroll]
    for j in 0..UNITS {
        all += parts[unit_query * UNITS + j];
    }
    #[unroll]
    for i in 0..4usize {
        let query = first + unit_query * 4 + i;
        #[unroll]
        for f in 0..fours {
            let c = (f * UNITS + unit_key) * 4;
            if query < at.queries && c < at.d {
                let value = sums[i * fours + f] / Vector::new(all.extract(i));
                out[(((picture * at.queries + query) * at.heads + head) * at.d + c) / 4] =
                    Vector::cast_from(value);
            }
        }
    }
}
