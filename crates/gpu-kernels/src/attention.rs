//! Attention whose scores are never in memory: blocks of keys one after the other, with a running maximum (Dao et al. 2022,
//! "FlashAttention"), in f32.

use burn::tensor::{DType, FloatDType, Tensor};
use burn_cubecl::cubecl;
use burn_cubecl::cubecl::ir::ElemType;
use burn_cubecl::cubecl::prelude::*;

use crate::Gpu;
use crate::attention_tiled::{SIDE, WIDEST, tiled};
use crate::grid::workgroups;
use crate::product::LANES;
use crate::subgroups;
use crate::tiles::Tiles;

/// Queries of an invocation whose scores are in registers. These do not hold so many, but software adapters read memory value by value,
/// lane by lane, so that reading seldom counts for more.
const QUERIES: usize = 16;
/// Queries of a head that are few: of an invocation's and of a workgroup's invocations one is halved then, since a whole tile would be half empty.
const FEW: usize = 64;
/// Keys that it sees at a time.
const KEYS: usize = 32;

/// Scores that one launch computes at most: systems take a GPU away from whoever keeps it for seconds, Windows after two.
const SCORES: usize = 1 << 28;

/// What each of several launches skips of `tiles`, and how many it does, if a tile has so many scores.
fn launches(tiles: usize, scores: usize) -> impl Iterator<Item = (usize, usize)> {
    let most = (SCORES / scores).max(1);
    (0..tiles).step_by(most).map(move |skip| (skip, most.min(tiles - skip)))
}

/// Sizes and places of the operands, in values.
#[derive(Debug, Clone, Copy, CubeType, CubeLaunch)]
pub struct Heads {
    pub batch: usize,
    pub heads: usize,
    pub queries: usize,
    pub keys: usize,
    pub d: usize,
    /// From one picture to the next, from one head to the next and from one token to the next, of the queries.
    pub query_picture: usize,
    pub query_head: usize,
    pub query_token: usize,
    /// Of the keys.
    pub key_picture: usize,
    pub key_head: usize,
    pub key_token: usize,
    /// Of the values.
    pub value_picture: usize,
    pub value_head: usize,
    pub value_token: usize,
    /// What scores are multiplied with.
    pub scale: f32,
}

/// A tensor whose heads' vectors lie in one piece, and where; copied if they do not.
fn placed(tensor: &Tensor<4>) -> Option<(Gpu, [usize; 3])> {
    let found = Gpu::of(tensor)?;
    let found = if found.strides::<4>()[3] == 1 { found } else { found.contiguous() };
    let [picture, head, token, _] = found.strides();
    Some((found, [picture, head, token]))
}

/// Scaled dot-product attention of `[batch, heads, n, d]`; the output is a view of `[batch, queries, heads · d]`, where the next layer wants it.
pub fn attention(query: &Tensor<4>, key: &Tensor<4>, value: &Tensor<4>) -> Option<Tensor<4>> {
    let [batch, heads, queries, d] = query.dims();
    let keys = key.dims()[2];
    if query.dtype() != key.dtype() || query.dtype() != value.dtype() {
        return None;
    }
    let (q, of_query) = placed(query)?;
    let (k, of_key) = placed(key)?;
    let (v, of_value) = placed(value)?;
    let launch = || {
        let ([qp, qh, qt], [kp, kh, kt], [vp, vh, vt]) = (of_query, of_key, of_value);
        let scale = 1.0 / (d as f32).sqrt();
        HeadsLaunch::new(batch, heads, queries, keys, d, qp, qh, qt, kp, kh, kt, vp, vh, vt, scale)
    };
    let client = &q.0.client;
    let fours = [of_query, of_key, of_value].iter().flatten().all(|stride| stride.is_multiple_of(4));
    let out = if Tiles::of(client) == Tiles::Shared && fours && d.is_multiple_of(4) && d <= WIDEST {
        let out = q.empty([batch, queries, heads, d]);
        let tiles = batch * heads * queries.div_ceil(SIDE);
        for (skip, count) in launches(tiles, SIDE * keys) {
            tiled([&q, &k, &v], &out, launch(), skip, count, d);
        }
        out.tensor::<4>()
    } else {
        // What is summed up so far is in the output.
        let out = q.empty_of([batch, queries, heads, d], DType::F32);
        let shared = subgroups::span_workgroups(client);
        let (each, lanes) = match (queries <= FEW, shared) {
            (false, _) => (QUERIES, LANES),
            (true, true) => (QUERIES / 2, LANES),
            // SwiftShader's vectors are of four.
            (true, false) => (QUERIES, LANES / 2),
        };
        let tiles = batch * heads * queries.div_ceil(each * lanes);
        for (skip, count) in launches(tiles, each * lanes * keys) {
            // SAFETY: all indices are clamped to the operands' sizes, and go by their strides.
            #[allow(unsafe_code)]
            unsafe {
                registers::launch_unchecked(
                    client,
                    workgroups(count),
                    CubeDim::new_1d(lanes as u32),
                    q.arg(),
                    k.arg(),
                    v.arg(),
                    out.arg(),
                    launch(),
                    skip,
                    each,
                    lanes,
                    shared,
                    q.element(),
                );
            }
        }
        let out = out.tensor::<4>();
        if query.dtype() == DType::F16 { out.cast(FloatDType::F16) } else { out }
    };
    Some(out.swap_dims(1, 2))
}

/// An invocation has some queries and goes through all keys; neighbours have neighbouring queries of the same head.
#[cube(launch_unchecked)]
fn registers<F: Float>(
    query: &[F],
    key: &[F],
    value: &[F],
    out: &mut [f32],
    at: Heads,
    skip: usize,
    #[comptime] queries: usize,
    #[comptime] lanes: usize,
    #[comptime] shared: bool,
    #[define(F)] _type: ElemType,
) {
    let tiles = at.queries.div_ceil(queries * lanes);
    let all = at.batch * at.heads * tiles;
    let tile = min(CUBE_POS + skip, all - 1);
    let (picture, head) = (tile / tiles / at.heads, tile / tiles % at.heads);
    let first = tile % tiles * (queries * lanes) + UNIT_POS as usize;
    let key_at = picture * at.key_picture + head * at.key_head;
    let value_at = picture * at.value_picture + head * at.value_head;

    let mut from = Array::<usize>::new(queries);
    let mut to = Array::<usize>::new(queries);
    let mut highest = Array::<f32>::new(queries);
    let mut total = Array::<f32>::new(queries);
    #[unroll]
    for i in 0..queries {
        // Those beyond the last are the last once more.
        let query = min(first + i * lanes, at.queries - 1);
        from[i] = picture * at.query_picture + head * at.query_head + query * at.query_token;
        to[i] = ((picture * at.queries + query) * at.heads + head) * at.d;
        highest[i] = f32::min_value();
        total[i] = 0.0;
    }
    // Who does another's work again must not write: sums that are not yet whole are there meanwhile.
    let mut own = Array::<bool>::new(queries);
    #[unroll]
    for i in 0..queries {
        own[i] = CUBE_POS + skip < all && first + i * lanes < at.queries;
    }
    // All keys, or every eighth of them, for the others.
    let step = comptime!(if shared { lanes } else { 1 });
    let own_key = if comptime!(shared) { UNIT_POS as usize } else { 0usize.runtime() };
    let mut scores = Array::<f32>::new(comptime!(queries * KEYS));
    let mut keep = Array::<f32>::new(queries);
    for start in range_stepped(0, at.keys, KEYS) {
        #[unroll]
        for s in 0..queries * KEYS {
            scores[s] = 0.0;
        }
        for c in 0..at.d {
            let mut q = Array::<f32>::new(queries);
            #[unroll]
            for i in 0..queries {
                q[i] = f32::cast_from(query[from[i] + c]) * at.scale;
            }
            #[unroll]
            for group in 0..comptime!(KEYS / step) {
                let j = group * step;
                let token = min(start + j + own_key, at.keys - 1) * at.key_token;
                let mine = f32::cast_from(key[key_at + token + c]);
                #[unroll]
                for lane in 0..step {
                    let k = subgroups::of_lane(mine, lane, shared);
                    #[unroll]
                    for i in 0..queries {
                        scores[(j + lane) * queries + i] += k * q[i];
                    }
                }
            }
        }
        #[unroll]
        for i in 0..queries {
            let mut top = highest[i];
            #[unroll]
            for j in 0..KEYS {
                // The last key, read again for those beyond it, changes no maximum.
                top = max(top, scores[j * queries + i]);
            }
            keep[i] = (highest[i] - top).exp();
            highest[i] = top;
            let mut sum = total[i] * keep[i];
            #[unroll]
            for j in 0..KEYS {
                let weight = (scores[j * queries + i] - top).exp();
                let weight = select(start + j < at.keys, weight, 0.0);
                scores[j * queries + i] = weight;
                sum += weight;
            }
            total[i] = sum;
        }
        for c in 0..at.d {
            let mut sums = Array::<f32>::new(queries);
            #[unroll]
            for i in 0..queries {
                sums[i] = select(start == 0, 0.0, out[to[i] + c] * keep[i]);
            }
            #[unroll]
            for group in 0..comptime!(KEYS / step) {
                let j = group * step;
                let token = min(start + j + own_key, at.keys - 1) * at.value_token;
                let mine = f32::cast_from(value[value_at + token + c]);
                #[unroll]
                for lane in 0..step {
                    let v = subgroups::of_lane(mine, lane, shared);
                    #[unroll]
                    for i in 0..queries {
                        sums[i] += scores[(j + lane) * queries + i] * v;
                    }
                }
            }
            let last = start + KEYS >= at.keys;
            #[unroll]
            for i in 0..queries {
                if own[i] {
                    out[to[i] + c] = select(last, sums[i] / total[i], sums[i]);
                }
            }
        }
    }
}
