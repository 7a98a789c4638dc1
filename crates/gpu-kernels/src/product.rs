//! Products of matrices with a bias: linear layers and 1 × 1 convolutions.

use burn_cubecl::cubecl;
use burn_cubecl::cubecl::ir::ElemType;
use burn_cubecl::cubecl::prelude::*;

use crate::Gpu;
use crate::grid::workgroups;
use crate::subgroups;
use crate::tiled::{Source, Window, tiled};
use crate::tiles::Tiles;

/// What is added to the product.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Bias {
    /// Nothing.
    None,
    /// A value for each row.
    Rows,
    /// A value for each column.
    Columns,
}

/// How the right operand lies in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Right {
    /// Column by column, `[n, k]`: weights of a linear layer.
    Columns,
    /// Row by row, `[k, n]`: channels of a picture.
    Rows,
}

/// Sizes of a product, in values.
#[derive(Debug, Clone, Copy, CubeType, CubeLaunch)]
pub struct Sizes {
    /// How many products there are, one after the other.
    pub batch: usize,
    /// Rows of the result.
    pub m: usize,
    /// Columns of the result.
    pub n: usize,
    /// Terms of a sum.
    pub k: usize,
    /// From one left operand to the next; 0 if there is one for all.
    pub left: usize,
    /// From one right operand to the next; 0 if there is one for all.
    pub right: usize,
}

impl Sizes {
    /// As an argument of a kernel.
    pub fn launch(self) -> SizesLaunch {
        SizesLaunch::new(self.batch, self.m, self.n, self.k, self.left, self.right)
    }
}

/// Invocations of a workgroup whose tiles are in registers: the lanes of one or two vectors of a processor.
pub(super) const LANES: usize = 8;
/// Columns of such an invocation.
const COLUMNS: usize = 8;
/// Rows of such an invocation. Its sums do not fit the registers, but software adapters read memory value by value, lane by lane, so that
/// reading seldom counts for more (measured: 2 × the speed of 8 rows on lavapipe, the same on SwiftShader).
const ROWS: usize = 32;
/// Rows of such an invocation where there are few.
const FEW_ROWS: usize = 4;

/// Values that are read at once of rows that are so long: four, where each begins at a multiple of four.
pub(crate) fn width(length: usize) -> usize {
    if length.is_multiple_of(4) { 4 } else { 1 }
}

/// `left · right + bias`: left is `[batch, m, k]`, or `[m, k]` for all; the result is `[batch, m, n]`.
pub fn product(left: &Gpu, right: &Gpu, lies: Right, bias: Option<&Gpu>, along: Bias, sizes: Sizes) -> Gpu {
    let Sizes { batch, m, n, k, .. } = sizes;
    let client = &left.0.client;
    match Tiles::of(client) {
        Tiles::Registers => {
            let out = left.empty([batch, m, n]);
            let (along, bias) = bias.map_or((Bias::None, left), |bias| (along, bias));
            let rows = if m <= FEW_ROWS * 2 { FEW_ROWS } else { ROWS };
            let of_right = if lies == Right::Columns { width(k) } else { width(n) };
            let tiles = batch * m.div_ceil(rows) * n.div_ceil(LANES * COLUMNS);
            // SAFETY: all indices are clamped to `sizes`, which are the operands' own.
            #[allow(unsafe_code)]
            unsafe {
                registers::launch_unchecked(
                    client,
                    workgroups(tiles),
                    CubeDim::new_1d(LANES as u32),
                    width(k),
                    of_right,
                    width(n),
                    left.arg(),
                    right.arg(),
                    bias.arg(),
                    out.arg(),
                    sizes.launch(),
                    rows,
                    lies,
                    along,
                    rows.is_multiple_of(LANES) && subgroups::span_workgroups(client),
                    (width(k), of_right, width(n)),
                    left.element(),
                );
            }
            out
        }
        Tiles::Shared => product_then(Then::Nothing, left, right, lies, bias, along, sizes),
    }
}

/// What is done with a product before it is stored.
#[derive(Debug, Clone, Copy)]
pub enum Then<'a> {
    /// Nothing.
    Nothing,
    /// The first half of its columns times GELU of the second: right is `[2 · n, k]`, and so long is the bias, which is for columns.
    Geglu,
    /// It is added to this, of the result's shape, row by row.
    Onto(&'a Gpu),
}

/// [`product`], and `then` that, in shared tiles whatever the adapter is.
pub fn product_then(
    then: Then,
    left: &Gpu,
    right: &Gpu,
    lies: Right,
    bias: Option<&Gpu>,
    along: Bias,
    sizes: Sizes,
) -> Gpu {
    let out = left.empty([sizes.batch, sizes.m, sizes.n]);
    let (along, bias) = bias.map_or((Bias::None, left), |bias| (along, bias));
    let source = match lies {
        Right::Columns => Source::Columns,
        Right::Rows => Source::Rows,
    };
    tiled(left, right, bias, &out, along, source, then, sizes, Window::NONE);
    out
}

/// An invocation's tile in registers: `rows` of neighbouring columns.
#[cube(launch_unchecked)]
fn registers<F: Float, L: Size, R: Size, O: Size>(
    left: &[Vector<F, L>],
    right: &[Vector<F, R>],
    bias: &[F],
    out: &mut [Vector<F, O>],
    sizes: Sizes,
    #[comptime] rows: usize,
    #[comptime] lies: Right,
    #[comptime] along: Bias,
    #[comptime] shared: bool,
    #[comptime] widths: (usize, usize, usize),
    #[define(F)] _type: ElemType,
) {
    let (tiles_m, tiles_n) = (sizes.m.div_ceil(rows), sizes.n.div_ceil(LANES * COLUMNS));
    let tile = min(CUBE_POS, sizes.batch * tiles_m * tiles_n - 1);
    let batch = tile / (tiles_m * tiles_n);
    // Neighbours share rows, whose values then stay in the cache.
    let row = tile / tiles_n % tiles_m * rows;
    let column = (tile % tiles_n * LANES + UNIT_POS as usize) * COLUMNS;
    let left_at = batch * sizes.left;
    let right_at = batch * sizes.right;
    let terms = comptime!(widths.0);
    let wide = comptime!(widths.1);
    let wide_out = comptime!(widths.2);

    let mut sums = Array::<f32>::new(comptime!(rows * COLUMNS));
    #[unroll]
    for i in 0..comptime!(rows * COLUMNS) {
        sums[i] = 0.0;
    }
    // All rows, or every eighth of them, for the others.
    let step = comptime!(if shared { LANES } else { 1 });
    let own = comptime!(rows / step);
    let first = if comptime!(shared) { UNIT_POS as usize } else { 0usize.runtime() };
    let mut from = Array::<usize>::new(own);
    #[unroll]
    for i in 0..own {
        from[i] = (left_at + min(row + i * step + first, sizes.m - 1) * sizes.k) / terms;
    }
    let mut with = Array::<usize>::new(COLUMNS);
    #[unroll]
    for j in 0..COLUMNS {
        if comptime!(lies == Right::Columns) {
            with[j] = (right_at + min(column + j, sizes.n - 1) * sizes.k) / wide;
        } else {
            with[j] = (right_at + min(column + j, sizes.n - wide)) / wide;
        }
    }
    for s in 0..sizes.k / terms {
        let mut b = Array::<f32>::new(comptime!(COLUMNS * terms));
        if comptime!(lies == Right::Columns) {
            #[unroll]
            for j in 0..COLUMNS {
                let line = right[with[j] + s];
                #[unroll]
                for q in 0..terms {
                    b[q * COLUMNS + j] = f32::cast_from(line.extract(q));
                }
            }
        } else {
            #[unroll]
            for q in 0..terms {
                #[unroll]
                for j in 0..comptime!(COLUMNS / wide) {
                    let line = right[with[j * wide] + (s * terms + q) * (sizes.n / wide)];
                    #[unroll]
                    for e in 0..wide {
                        b[q * COLUMNS + j * wide + e] = f32::cast_from(line.extract(e));
                    }
                }
            }
        }
        #[unroll]
        for group in 0..own {
            let line = left[from[group] + s];
            #[unroll]
            for q in 0..terms {
                let value = f32::cast_from(line.extract(q));
                #[unroll]
                for i in 0..step {
                    let a = subgroups::of_lane(value, i, shared);
                    #[unroll]
                    for j in 0..COLUMNS {
                        sums[(group * step + i) * COLUMNS + j] += a * b[q * COLUMNS + j];
                    }
                }
            }
        }
    }
    #[unroll]
    for i in 0..rows {
        let row = row + i;
        #[unroll]
        for j in 0..comptime!(COLUMNS / wide_out) {
            let column = column + j * wide_out;
            if row < sizes.m && column < sizes.n {
                let mut line = Vector::<F, O>::new(F::new(0.0));
                #[unroll]
                for e in 0..wide_out {
                    let mut sum = sums[i * COLUMNS + j * wide_out + e];
                    match comptime!(along) {
                        Bias::None => {}
                        Bias::Rows => sum += f32::cast_from(bias[row]),
                        Bias::Columns => sum += f32::cast_from(bias[column + e]),
                    }
                    line.insert(e, F::cast_from(sum));
                }
                out[((batch * sizes.m + row) * sizes.n + column) / wide_out] = line;
            }
        }
    }
}
