//! Products of matrices by tiles that a workgroup shares; with the right operand cut out of a picture they are convolutions
//! (implicit GEMM: Chetlur et al. 2014, "cuDNN").

use burn_cubecl::cubecl;
use burn_cubecl::cubecl::ir::ElemType;
use burn_cubecl::cubecl::prelude::*;

use crate::Gpu;
use crate::activation::gelu;
use crate::grid::workgroups;
use crate::product::{Bias, Sizes, Then, width};

/// Where the right operand's values come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Source {
    /// A matrix column by column, `[n, k]`.
    Columns,
    /// A matrix row by row, `[k, n]`.
    Rows,
    /// A picture's 3 × 3 windows: `k` counts channels and places, `n` the output's pixels.
    Windows,
}

/// A convolution's geometry, in pixels.
#[derive(Debug, Clone, Copy, CubeType, CubeLaunch)]
pub struct Window {
    pub h: usize,
    pub w: usize,
    /// Columns of the output.
    pub wide: usize,
    pub stride: usize,
    /// Zeros above the first row.
    pub top: usize,
    /// Zeros before the first column.
    pub start: usize,
}

impl Window {
    /// For products that are none.
    pub const NONE: Self = Self { h: 1, w: 1, wide: 1, stride: 1, top: 0, start: 0 };

    /// As an argument of a kernel.
    pub fn launch(self) -> WindowLaunch {
        WindowLaunch::new(self.h, self.w, self.wide, self.stride, self.top, self.start)
    }
}

/// A workgroup's tile, rows and columns.
const SIDE: usize = 64;
/// Terms that are in shared memory at once: 8 KiB for both operands.
const DEPTH: usize = 16;
/// Units along a side of the tile; each has 2 × 2 blocks of 4 × 4 values.
const UNITS: usize = 8;
/// Blocks along a side of the tile.
const BLOCKS: usize = SIDE / 4;

/// Columns that a tile gives: of gated ones, half of it are gates.
const fn wide(gated: bool) -> usize {
    if gated { SIDE / 2 } else { SIDE }
}

/// `left · right + bias`, and `then` that, into `out`; operands as [`crate::product::product`] has them.
#[allow(clippy::too_many_arguments)]
pub fn tiled(
    left: &Gpu,
    right: &Gpu,
    bias: &Gpu,
    out: &Gpu,
    along: Bias,
    source: Source,
    then: Then,
    sizes: Sizes,
    window: Window,
) {
    let Sizes { batch, m, n, k, .. } = sizes;
    let client = &left.0.client;
    let of_right = match source {
        Source::Columns => width(k),
        Source::Rows => width(n),
        Source::Windows => 1,
    };
    let gated = matches!(then, Then::Geglu);
    // Where nothing is added any operand will do, which is not read.
    let (onto, adds) = if let Then::Onto(to) = then { (to, true) } else { (left, false) };
    let tiles = batch * m.div_ceil(SIDE) * n.div_ceil(wide(gated));
    // SAFETY: all indices are clamped to `sizes`, which are the operands' own.
    #[allow(unsafe_code)]
    unsafe {
        in_tiles::launch_unchecked(
            client,
            workgroups(tiles),
            CubeDim::new_1d((UNITS * UNITS) as u32),
            width(k),
            of_right,
            width(n),
            left.arg(),
            right.arg(),
            bias.arg(),
            onto.arg(),
            out.arg(),
            sizes.launch(),
            window.launch(),
            source,
            along,
            gated,
            adds,
            (width(k), of_right, width(n)),
            left.element(),
        );
    }
}

/// Four lines of four values, which begin at `first` and each `step` on, by their place in the line.
#[cube]
pub fn turned<F: Float, N: Size>(
    values: &[Vector<F, N>],
    firsts: &Array<usize>,
    k: usize,
    end: usize,
    block: &mut Array<Vector<f32, Const<4>>>,
    #[comptime] width: usize,
) {
    let mut found = Array::<f32>::new(16usize);
    #[unroll]
    for i in 0..4usize {
        if comptime!(width == 4) {
            // Rows end at multiples of four: a four is within or beyond.
            let line = values[(firsts[i] + min(k, end - 4)) / 4];
            #[unroll]
            for q in 0..4usize {
                found[4 * q + i] = select(k < end, f32::cast_from(line.extract(q)), 0.0);
            }
        } else {
            #[unroll]
            for q in 0..4usize {
                let value = f32::cast_from(values[firsts[i] + min(k + q, end - 1)].extract(0usize));
                found[4 * q + i] = select(k + q < end, value, 0.0);
            }
        }
    }
    #[unroll]
    for q in 0..4usize {
        let mut four = Vector::<f32, Const<4>>::new(0.0);
        #[unroll]
        for i in 0..4usize {
            four.insert(i, found[4 * q + i]);
        }
        block[q] = four;
    }
}

#[cube(launch_unchecked)]
fn in_tiles<F: Float, L: Size, R: Size, O: Size>(
    left: &[Vector<F, L>],
    right: &[Vector<F, R>],
    bias: &[F],
    onto: &[Vector<F, O>],
    out: &mut [Vector<F, O>],
    sizes: Sizes,
    window: Window,
    #[comptime] source: Source,
    #[comptime] along: Bias,
    #[comptime] gated: bool,
    #[comptime] adds: bool,
    #[comptime] widths: (usize, usize, usize),
    #[define(F)] _type: ElemType,
) {
    let columns = comptime!(wide(gated));
    let (tiles_m, tiles_n) = (sizes.m.div_ceil(SIDE), sizes.n.div_ceil(columns));
    let tile = min(CUBE_POS, sizes.batch * tiles_m * tiles_n - 1);
    let batch = tile / (tiles_m * tiles_n);
    let row = tile % tiles_m * SIDE;
    let column = tile / tiles_m % tiles_n * columns;
    let left_at = batch * sizes.left;
    let right_at = batch * sizes.right;
    let unit = UNIT_POS as usize;
    let (unit_row, unit_column) = (unit / UNITS, unit % UNITS);

    let mut left_tile = Shared::<[Vector<f32, Const<4>>]>::new_slice(comptime!(DEPTH * BLOCKS));
    let mut right_tile = Shared::<[Vector<f32, Const<4>>]>::new_slice(comptime!(DEPTH * BLOCKS));
    let mut sums = Array::<Vector<f32, Const<4>>>::new(16usize);
    #[unroll]
    for i in 0..16usize {
        sums[i] = Vector::new(0.0);
    }

    // Of each operand a unit fetches the block of 4 lines and 4 terms that is its own.
    let (depth, line) = (unit % 4, unit / 4);
    let mut lefts = Array::<usize>::new(4usize);
    #[unroll]
    for i in 0..4usize {
        lefts[i] = left_at + min(row + 4 * line + i, sizes.m - 1) * sizes.k;
    }
    // Values of a column follow each other for some sources, values of a row for others.
    let (right_depth, right_line) = if comptime!(source == Source::Columns) {
        (unit % 4, unit / 4)
    } else {
        (unit / BLOCKS, unit % BLOCKS)
    };
    let mut rights = Array::<usize>::new(4usize);
    let mut ys = Array::<i32>::new(4usize);
    let mut xs = Array::<i32>::new(4usize);
    #[unroll]
    for i in 0..4usize {
        let line = 4 * right_line + i;
        // Of gated ones the tile's second half are the gates.
        let column = min(column + line % columns, sizes.n - 1) + line / columns * sizes.n;
        match comptime!(source) {
            Source::Columns => rights[i] = right_at + column * sizes.k,
            Source::Rows => rights[i] = right_at + column,
            Source::Windows => {
                ys[i] = (column / window.wide * window.stride) as i32 - window.top as i32;
                xs[i] = (column % window.wide * window.stride) as i32 - window.start as i32;
            }
        }
    }
    let mut block = Array::<Vector<f32, Const<4>>>::new(4usize);
    for start in range_stepped(0, sizes.k, DEPTH) {
        sync_cube();
        turned::<F, L>(left, &lefts, start + 4 * depth, sizes.k, &mut block, comptime!(widths.0));
        #[unroll]
        for q in 0..4usize {
            left_tile[(4 * depth + q) * BLOCKS + line] = block[q];
        }
        let term = start + 4 * right_depth;
        match comptime!(source) {
            Source::Columns => turned::<F, R>(right, &rights, term, sizes.k, &mut block, comptime!(widths.1)),
            Source::Rows => {
                #[unroll]
                for q in 0..4usize {
                    let within = term + q < sizes.k;
                    let at = min(term + q, sizes.k - 1) * sizes.n;
                    let mut values = Vector::<f32, Const<4>>::new(0.0);
                    if comptime!(widths.1 == 4) {
                        // The last line is one of whole fours.
                        let four = right[(rights[0] / 4 * 4 + at) / 4];
                        #[unroll]
                        for i in 0..4usize {
                            values.insert(i, select(within, f32::cast_from(four.extract(i)), 0.0));
                        }
                    } else {
                        #[unroll]
                        for i in 0..4usize {
                            let value = f32::cast_from(right[rights[i] + at].extract(0usize));
                            values.insert(i, select(within, value, 0.0));
                        }
                    }
                    block[q] = values;
                }
            }
            Source::Windows =>
            {
                #[unroll]
                for q in 0..4usize {
                    let k = term + q;
                    let (channel, place) = (k / 9, k % 9);
                    let plane = right_at + channel * window.h * window.w;
                    let (dy, dx) = ((place / 3) as i32, (place % 3) as i32);
                    let mut values = Vector::<f32, Const<4>>::new(0.0);
                    #[unroll]
                    for i in 0..4usize {
                        let (y, x) = (ys[i] + dy, xs[i] + dx);
                        if k < sizes.k && y >= 0 && y < window.h as i32 && x >= 0 && x < window.w as i32 {
                            let at = plane + y as usize * window.w + x as usize;
                            values.insert(i, f32::cast_from(right[at].extract(0usize)));
                        }
                    }
                    block[q] = values;
                }
            }
        }
        #[unroll]
        for q in 0..4usize {
            right_tile[(4 * right_depth + q) * BLOCKS + right_line] = block[q];
        }
        sync_cube();
        for k in 0..DEPTH {
            #[unroll]
            for i in 0..2usize {
                let a = left_tile[k * BLOCKS + i * UNITS + unit_row];
                #[unroll]
                for j in 0..2usize {
                    let b = right_tile[k * BLOCKS + j * UNITS + unit_column];
                    #[unroll]
                    for q in 0..4usize {
                        let at = (i * 4 + q) * 2 + j;
                        sums[at] = fma(Vector::new(a.extract(q)), b, sums[at]);
                    }
                }
            }
        }
    }
    #[unroll]
    for i in 0..2usize {
        #[unroll]
        for q in 0..4usize {
            #[unroll]
            for j in 0..comptime!(if gated { 1usize } else { 2 }) {
                let row = row + (i * UNITS + unit_row) * 4 + q;
                let column = column + (j * UNITS + unit_column) * 4;
                if row < sizes.m {
                    let mut sum = sums[(i * 4 + q) * 2 + j];
                    if comptime!(along == Bias::Rows) {
                        sum += Vector::new(f32::cast_from(bias[row]));
                    }
                    if comptime!(gated) {
                        let mut gate = sums[(i * 4 + q) * 2 + 1];
                        if comptime!(along == Bias::Columns) {
                            sum += four_of::<F>(bias, column, sizes.n);
                            gate += four_of::<F>(bias, sizes.n + column, 2 * sizes.n);
                        }
                        sum *= gelu::<Const<4>>(gate);
                    }
                    let to = (batch * sizes.m + row) * sizes.n + column;
                    if comptime!(adds) {
                        let begins = to - column;
                        sum += line_of::<F, O>(onto, begins, column, sizes.n, comptime!(widths.2));
                    }
                    let added = comptime!(if gated { Bias::None } else { along });
                    store::<F, O>(out, bias, sum, to, column, sizes.n, added, comptime!(widths.2));
                }
            }
        }
    }
}

/// Four values from `at` on; beyond `end` any.
#[cube]
fn four_of<F: Float>(values: &[F], at: usize, end: usize) -> Vector<f32, Const<4>> {
    let mut four = Vector::<f32, Const<4>>::new(0.0);
    #[unroll]
    for i in 0..4usize {
        four.insert(i, f32::cast_from(values[min(at + i, end - 1)]));
    }
    four
}

/// Four values of a row that begins at `first`, from `column` on; beyond `end` any.
#[cube]
fn line_of<F: Float, O: Size>(
    values: &[Vector<F, O>],
    first: usize,
    column: usize,
    end: usize,
    #[comptime] width: usize,
) -> Vector<f32, Const<4>> {
    let mut four = Vector::<f32, Const<4>>::new(0.0);
    if comptime!(width == 4) {
        // Rows end at multiples of four: a four is within or beyond.
        let line = values[(first + min(column, end - 4)) / 4];
        #[unroll]
        for i in 0..4usize {
            four.insert(i, f32::cast_from(line.extract(i)));
        }
    } else {
        #[unroll]
        for i in 0..4usize {
            four.insert(i, f32::cast_from(values[first + min(column + i, end - 1)].extract(0usize)));
        }
    }
    four
}

/// Four values of a row, those of them that are before `end`.
#[cube]
fn store<F: Float, O: Size>(
    out: &mut [Vector<F, O>],
    bias: &[F],
    sum: Vector<f32, Const<4>>,
    to: usize,
    column: usize,
    end: usize,
    #[comptime] along: Bias,
    #[comptime] width: usize,
) {
    let mut four = Vector::<F, O>::new(F::new(0.0));
    #[unroll]
    for i in 0..4usize {
        if column + i < end {
            let mut value = sum.extract(i);
            if comptime!(along == Bias::Columns) {
                value += f32::cast_from(bias[column + i]);
            }
            if comptime!(width == 4) {
                four.insert(i, F::cast_from(value));
            } else {
                out[to + i] = Vector::new(F::cast_from(value));
            }
        }
    }
    if comptime!(width == 4) && column < end {
        out[to / 4] = four;
    }
}
