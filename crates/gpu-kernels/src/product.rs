//! Products of matrices with a bias: linear layers and 1 × 1 convolutions.

use burn_cubecl::cubecl;
use burn_cubecl::cubecl::ir::ElemType;
use burn_cubecl::cubecl::prelude::*;

use crate::Gpu;
use crate::grid::workgroups;
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

/// `left · right + bias`: left is `[batch, m, k]`, or `[m, k]` for all; the result is `[batch, m, n]`.
pub fn product(left: &Gpu, right: &Gpu, lies: Right, bias: Option<&Gpu>, along: Bias, sizes: Sizes) -> Gpu {
    let Sizes { batch, m, n, .. } = sizes;
    let out = left.empty([batch, m, n]);
    let client = &left.0.client;
    let (along, bias) = bias.map_or((Bias::None, left), |bias| (along, bias));
    match Tiles::of(client) {
        Tiles::Registers => {
            let rows = if m <= FEW_ROWS * 2 { FEW_ROWS } else { ROWS };
            let tiles = batch * m.div_ceil(rows) * n.div_ceil(LANES * COLUMNS);
            // SAFETY: all indices are clamped to `sizes`, which are the operands' own.
            #[allow(unsafe_code)]
            unsafe {
                registers::launch_unchecked(
                    client,
                    workgroups(tiles),
                    CubeDim::new_1d(LANES as u32),
                    left.arg(),
                    right.arg(),
                    bias.arg(),
                    out.arg(),
                    sizes.launch(),
                    rows,
                    lies,
                    along,
                    left.element(),
                );
            }
        }
        Tiles::Shared => {
            let source = match lies {
                Right::Columns => Source::Columns,
                Right::Rows => Source::Rows,
            };
            tiled(left, right, bias, &out, along, source, sizes, Window::NONE);
        }
    }
    out
}

/// An invocation's tile in registers; neighbours have neighbouring columns.
#[cube(launch_unchecked)]
fn registers<F: Float>(
    left: &[F],
    right: &[F],
    bias: &[F],
    out: &mut [F],
    sizes: Sizes,
    #[comptime] rows: usize,
    #[comptime] lies: Right,
    #[comptime] along: Bias,
    #[define(F)] _type: ElemType,
) {
    let (tiles_m, tiles_n) = (sizes.m.div_ceil(rows), sizes.n.div_ceil(LANES * COLUMNS));
    let tile = min(CUBE_POS, sizes.batch * tiles_m * tiles_n - 1);
    let batch = tile / (tiles_m * tiles_n);
    // Neighbours share rows, whose values then stay in the cache.
    let row = tile / tiles_n % tiles_m * rows;
    let column = tile % tiles_n * (LANES * COLUMNS) + UNIT_POS as usize;
    let left_at = batch * sizes.left;
    let right_at = batch * sizes.right;

    let mut sums = Array::<f32>::new(comptime!(rows * COLUMNS));
    let mut from = Array::<usize>::new(rows);
    #[unroll]
    for i in 0..rows {
        from[i] = left_at + min(row + i, sizes.m - 1) * sizes.k;
        #[unroll]
        for j in 0..COLUMNS {
            sums[i * COLUMNS + j] = 0.0;
        }
    }
    let mut with = Array::<usize>::new(COLUMNS);
    #[unroll]
    for j in 0..COLUMNS {
        let column = min(column + j * LANES, sizes.n - 1);
        with[j] =
            if comptime!(lies == Right::Columns) { right_at + column * sizes.k } else { right_at + column };
    }
    let step = if comptime!(lies == Right::Columns) { 1usize.runtime() } else { sizes.n };
    for s in 0..sizes.k {
        let mut b = Array::<f32>::new(COLUMNS);
        #[unroll]
        for j in 0..COLUMNS {
            b[j] = f32::cast_from(right[with[j] + s * step]);
        }
        #[unroll]
        for i in 0..rows {
            let a = f32::cast_from(left[from[i] + s]);
            #[unroll]
            for j in 0..COLUMNS {
                sums[i * COLUMNS + j] += a * b[j];
            }
        }
    }
    #[unroll]
    for i in 0..rows {
        #[unroll]
        for j in 0..COLUMNS {
            let (row, column) = (row + i, column + j * LANES);
            if row < sizes.m && column < sizes.n {
                let mut sum = sums[i * COLUMNS + j];
                match comptime!(along) {
                    Bias::None => {}
                    Bias::Rows => sum += f32::cast_from(bias[row]),
                    Bias::Columns => sum += f32::cast_from(bias[column]),
                }
                out[(batch * sizes.m + row) * sizes.n + column] = F::cast_from(sum);
            }
        }
    }
}
