//! Matrix products on the CPU, of operands in any order of axes, with the bias added on the way.

use pulp::{Simd, WithSimd};
use rayon::prelude::*;

use super::activation;
use super::simd::{LANES, ROWS, Tile, multiply, scratch, vectorized};

/// How many terms are summed before a tile is put back: three tiles' operands then fit the nearest cache.
pub(crate) const DEPTH: usize = 384;
/// Rows of the result that one task computes.
const TASK_ROWS: usize = 16 * ROWS;

/// A matrix: element (i, j) lies at `i · strides[0] + j · strides[1]`.
#[derive(Clone, Copy)]
pub(crate) struct Matrix<'a> {
    pub values: &'a [f32],
    pub strides: [usize; 2],
}

impl Matrix<'_> {
    /// Rows `start..` of this matrix, `N` of them side by side for each column in `columns`; rows past `rows` are 0.
    pub fn pack<const N: usize>(self, start: usize, rows: usize, first: usize, to: &mut [[f32; N]]) {
        let [row, column] = self.strides;
        let count = N.min(rows - start);
        let from = &self.values[start * row + first * column..];
        if count < N {
            to.fill([0.0; N]);
        }
        if row == 1 {
            for (k, to) in to.iter_mut().enumerate() {
                match from[k * column..].first_chunk() {
                    Some(from) if count == N => *to = *from,
                    _ => to[..count].copy_from_slice(&from[k * column..][..count]),
                }
            }
        } else if column == 1 && count == N {
            let length = to.len();
            let lines: [&[f32]; N] = std::array::from_fn(|i| &from[i * row..][..length]);
            for (k, to) in to.iter_mut().enumerate() {
                for (to, line) in to.iter_mut().zip(&lines) {
                    *to = line[k];
                }
            }
        } else {
            for (k, to) in to.iter_mut().enumerate() {
                for (i, to) in to[..count].iter_mut().enumerate() {
                    *to = from[i * row + k * column];
                }
            }
        }
    }
}

/// What a product starts from.
#[derive(Clone, Copy)]
pub(crate) enum Bias<'a> {
    /// Zero.
    None,
    /// One value for each column of the result.
    Columns(&'a [f32]),
    /// One value for each row of the result.
    Rows(&'a [f32]),
    /// What is in the result already, and one value for each of its columns, or none.
    Onto(&'a [f32]),
    /// The same with one value for each of its rows, or none.
    OntoRows(&'a [f32]),
}

/// What is done to a product's rows while they are in the cache.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum After {
    /// Nothing.
    Nothing,
    /// The first half of a row times GELU of the second: rows are half as long then.
    Geglu,
}

impl After {
    /// How long rows of `n` are after it.
    pub fn width(self, n: usize) -> usize {
        match self {
            Self::Nothing => n,
            Self::Geglu => n / 2,
        }
    }
}

/// `a · b + bias`, where `b` is given transposed.
///
/// # Shapes
/// `a: [m, k]`, `b: [n, k]`, `out: [m, n]`, row-major. No size is 0.
pub(crate) fn matmul(a: Matrix, b: Matrix, k: usize, bias: Bias, n: usize, out: &mut [f32]) {
    matmul_then(After::Nothing, a, b, k, bias, n, out);
}

/// [`matmul`], and `after` that.
///
/// # Shapes
/// `out: [m, after.width(n)]`, others as [`matmul`]'s.
pub(crate) fn matmul_then(
    after: After,
    a: Matrix,
    b: Matrix,
    k: usize,
    bias: Bias,
    n: usize,
    out: &mut [f32],
) {
    let width = after.width(n);
    let m = out.len() / width;
    let panels = n.div_ceil(LANES);
    scratch::<LANES, _>(panels * k, |packed| {
        packed.par_chunks_mut(k).enumerate().for_each(|(panel, to)| b.pack(panel * LANES, n, 0, to));
        let packed = &*packed;
        // As many rows to a task as keep all threads busy. Which task computes a value does not change it.
        let share = m.div_ceil(rayon::current_num_threads()).next_multiple_of(ROWS);
        let rows = share.min(TASK_ROWS);
        out.par_chunks_mut(rows * width).enumerate().for_each(|(task, out)| {
            let depth = k.div_ceil(k.div_ceil(DEPTH));
            let count = out.len() / width;
            scratch(count.div_ceil(ROWS) * depth, |left| {
                let start = task * rows;
                let mut into = |out: &mut [f32]| {
                    vectorized(Rows { a, start, m, packed, k, depth, left: &mut *left, bias, n, out });
                };
                match after {
                    After::Nothing => into(out),
                    After::Geglu => scratch::<1, _>(count * n, |whole| {
                        let whole = whole.as_flattened_mut();
                        into(whole);
                        activation::geglu_rows(whole, width, out);
                    }),
                }
            });
        });
    });
}

/// Some rows of a product.
struct Rows<'a> {
    a: Matrix<'a>,
    start: usize,
    m: usize,
    packed: &'a [[f32; LANES]],
    k: usize,
    /// How many terms are summed before a tile is put back.
    depth: usize,
    /// Room for `depth` columns of these rows of `a`.
    left: &'a mut [[f32; ROWS]],
    bias: Bias<'a>,
    n: usize,
    out: &'a mut [f32],
}

impl WithSimd for Rows<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { a, start, m, packed, k, depth, left, bias, n, out } = self;
        for first in (0..k).step_by(depth) {
            let depth = depth.min(k - first);
            for (strip, to) in left.chunks_exact_mut(depth).enumerate() {
                if strip * ROWS * n < out.len() {
                    a.pack(start + strip * ROWS, m, first, to);
                }
            }
            for (panel, right) in packed.chunks_exact(k).enumerate() {
                let right = &right[first..first + depth];
                for (strip, left) in left.chunks_exact(depth).enumerate() {
                    if strip * ROWS * n >= out.len() {
                        break;
                    }
                    let at = Place { row: strip * ROWS, column: panel * LANES, n };
                    let mut tile = [[0.0; LANES]; ROWS];
                    if first == 0 {
                        at.start(&mut tile, bias, start, out);
                    } else {
                        at.load(&mut tile, out);
                    }
                    multiply(simd, left, right, &mut tile);
                    at.store(&tile, out);
                }
            }
        }
    }
}

/// Where a tile lies in a block of rows, `n` wide.
struct Place {
    row: usize,
    column: usize,
    n: usize,
}

impl Place {
    #[inline(always)]
    fn start(&self, tile: &mut Tile, bias: Bias, first: usize, out: &[f32]) {
        match bias {
            Bias::None => {}
            Bias::Columns(bias) => {
                let bias = &bias[self.column..self.n.min(self.column + LANES)];
                tile.iter_mut().for_each(|tile| tile[..bias.len()].copy_from_slice(bias));
            }
            Bias::Rows(bias) => {
                let bias = &bias[(first + self.row).min(bias.len())..];
                tile.iter_mut().zip(bias).for_each(|(tile, bias)| *tile = [*bias; LANES]);
            }
            Bias::Onto(bias) => {
                self.load(tile, out);
                let bias = &bias[self.column.min(bias.len())..bias.len().min(self.column + LANES)];
                for row in tile {
                    row.iter_mut().zip(bias).for_each(|(value, bias)| *value += bias);
                }
            }
            Bias::OntoRows(bias) => {
                self.load(tile, out);
                let bias = &bias[(first + self.row).min(bias.len())..];
                for (row, bias) in tile.iter_mut().zip(bias) {
                    row.iter_mut().for_each(|value| *value += bias);
                }
            }
        }
    }

    #[inline(always)]
    fn load(&self, tile: &mut Tile, out: &[f32]) {
        let width = LANES.min(self.n - self.column);
        for (tile, out) in tile.iter_mut().zip(out.chunks_exact(self.n).skip(self.row)) {
            if width == LANES {
                *tile = *out[self.column..].first_chunk().expect("a whole tile");
            } else {
                tile[..width].copy_from_slice(&out[self.column..]);
            }
        }
    }

    #[inline(always)]
    fn store(&self, tile: &Tile, out: &mut [f32]) {
        let width = LANES.min(self.n - self.column);
        for (tile, out) in tile.iter().zip(out.chunks_exact_mut(self.n).skip(self.row)) {
            if width == LANES {
                *out[self.column..].first_chunk_mut().expect("a whole tile") = *tile;
            } else {
                out[self.column..].copy_from_slice(&tile[..width]);
            }
        }
    }
}
