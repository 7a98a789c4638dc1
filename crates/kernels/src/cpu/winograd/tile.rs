//! Tiles to points, products of points, and back to pixels.

use pulp::{Simd, WithSimd};

use super::super::simd::{LANES, ROWS, Tile, multiply};
use super::plan::{MADE, Plan, Run, Runs, SEEN};
use super::transform::{POINTS, filters as transformed, inputs, outputs};
use super::{After, Filters, Pictures};

/// Pixels that the tiles of a panel make in a row.
const ACROSS: usize = MADE * LANES;

/// Turns pixels of one row into the columns of the tiles beside each other, some lanes at a time. In which order the lanes
/// then are is the processor's business; [`joined`] takes it back.
#[inline(always)]
fn split<S: Simd>(simd: S, pixels: &[f32; ACROSS]) -> [[f32; LANES]; MADE] {
    let mut columns = [[0.0; LANES]; MADE];
    for (i, pixels) in S::as_simd_f32s(pixels).0.as_chunks::<MADE>().0.iter().enumerate() {
        for (column, values) in columns.iter_mut().zip(simd.deinterleave_shfl_f32s(*pixels)) {
            S::as_mut_simd_f32s(column).0[i] = values;
        }
    }
    columns
}

/// The reverse of [`split`].
#[inline(always)]
fn joined<S: Simd>(simd: S, columns: &[[f32; LANES]; MADE]) -> [f32; ACROSS] {
    let mut pixels = [0.0; ACROSS];
    for (i, pixels) in S::as_mut_simd_f32s(&mut pixels).0.as_chunks_mut::<MADE>().0.iter_mut().enumerate() {
        let values: [S::f32s; MADE] = std::array::from_fn(|j| S::as_simd_f32s(&columns[j]).0[i]);
        *pixels = simd.interleave_shfl_f32s(values);
    }
    pixels
}

/// A row of what the tiles of a panel see: for each lane four pixels, from the one before what it makes on, and the two
/// after them. Zero outside the picture and in lanes without a tile.
struct Line {
    four: [f32; ACROSS],
    /// Of each four the first two count.
    two: [f32; ACROSS],
}

impl Line {
    /// For the tiles of `run`, what is in `line` of the picture; none is above or below it.
    #[inline(always)]
    fn take(&mut self, run: Run, line: Option<&[f32]>) {
        let lanes = MADE * run.lane..MADE * (run.lane + run.count);
        let (four, two) = (&mut self.four[lanes.clone()], &mut self.two[lanes]);
        let Some(line) = line else {
            four.fill(0.0);
            two.fill(0.0);
            return;
        };
        let start = MADE * run.column;
        // Before the first column is a zero.
        let skipped = usize::from(start == 0);
        four[..skipped].fill(0.0);
        copy(&line[start + skipped - 1..], &mut four[skipped..]);
        copy(line.get(start + MADE - 1..).unwrap_or(&[]), two);
    }
}

/// As much of `from` as there is, then zeros.
#[inline(always)]
fn copy(from: &[f32], to: &mut [f32]) {
    let count = from.len().min(to.len());
    copy_same(&from[..count], &mut to[..count]);
    to[count..].fill(0.0);
}

/// At most [`ACROSS`] values, in parts of known lengths: a call for so few would take longer than the copy, and a loop would
/// become one.
#[inline(always)]
fn copy_same(mut from: &[f32], mut to: &mut [f32]) {
    #[inline(always)]
    fn part<const N: usize>(from: &mut &[f32], to: &mut &mut [f32]) {
        if let (Some((values, rest)), Some((places, room))) =
            (from.split_first_chunk::<N>(), std::mem::take(to).split_first_chunk_mut::<N>())
        {
            *places = *values;
            (*from, *to) = (rest, room);
        }
    }
    let count = from.len();
    if count & 64 != 0 {
        part::<64>(&mut from, &mut to);
    }
    if count & 32 != 0 {
        part::<32>(&mut from, &mut to);
    }
    if count & 16 != 0 {
        part::<16>(&mut from, &mut to);
    }
    if count & 8 != 0 {
        part::<8>(&mut from, &mut to);
    }
    if count & 4 != 0 {
        part::<4>(&mut from, &mut to);
    }
    if count & 2 != 0 {
        part::<2>(&mut from, &mut to);
    }
    if count & 1 != 0 {
        part::<1>(&mut from, &mut to);
    }
}

/// The transformed tiles of one panel, for some input channels: `[point, channel, lane]`.
pub(super) struct See<'a> {
    pub pictures: Pictures<'a>,
    pub runs: Runs,
    pub channels: std::ops::Range<usize>,
    pub pitch: usize,
    pub to: &'a mut [[f32; LANES]],
}

impl WithSimd for See<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { pictures, runs, channels, pitch, to } = self;
        let Pictures { x, channels: all, h, w } = pictures;
        let mut kept = Line { four: [0.0; ACROSS], two: [0.0; ACROSS] };
        let mut tiles = [[0.0; LANES]; POINTS];
        for (k, channel) in channels.enumerate() {
            for (i, tiles) in tiles.as_chunks_mut::<SEEN>().0.iter_mut().enumerate() {
                // A tile sees one row before what it makes, and one after.
                let line = |run: Run| {
                    let y = (MADE * run.row + i).checked_sub(1).filter(|y| *y < h)?;
                    Some(&x[((run.picture * all + channel) * h + y) * w..][..w])
                };
                let inside = runs.whole().and_then(|run| {
                    let seen = line(run)?.get((MADE * run.column).checked_sub(1)?..)?;
                    Some((seen.first_chunk()?, seen.get(MADE..)?.first_chunk()?))
                });
                let (four, two) = inside.unwrap_or_else(|| {
                    for run in runs.iter() {
                        kept.take(run, line(run));
                    }
                    (&kept.four, &kept.two)
                });
                tiles[..MADE].copy_from_slice(&split(simd, four));
                tiles[MADE..].copy_from_slice(&split(simd, two)[..SEEN - MADE]);
            }
            for (point, tile) in inputs(&tiles).iter().enumerate() {
                to[point * pitch + k] = *tile;
            }
        }
    }
}

/// Some output channels for some rows of tiles.
pub(super) struct Task<'a, 'o> {
    pub filters: Filters<'a>,
    pub plan: Plan,
    /// The first row of tiles, and how many there are.
    pub row: usize,
    pub rows: usize,
    /// The first output channel, and how many a task has.
    pub first: usize,
    pub channels: usize,
    pub seen: &'a [[f32; LANES]],
    /// Room for the transformed filters.
    pub kernels: &'a mut [[f32; ROWS]],
    /// Room for the products.
    pub made: &'a mut [Tile],
    /// For each row of tiles and output channel its four rows of pixels.
    pub pixels: &'a mut [&'o mut [f32]],
}

impl WithSimd for Task<'_, '_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { filters, plan, row, rows, first, channels: pitch, seen, kernels, made, pixels } = self;
        let Filters { weight, inputs, outputs, .. } = filters;
        let channels = pitch.min(outputs - first);
        let strips = channels.div_ceil(ROWS);
        let filter_pitch = plan.filter_pitch();
        for part in 0..plan.parts {
            let start = part * plan.depth;
            let depth = plan.depth.min(inputs - start);
            for (strip, to) in kernels.chunks_exact_mut(POINTS * filter_pitch).enumerate() {
                let output = first + strip * ROWS;
                let count = ROWS.min(outputs - output);
                let weight = &weight[output * inputs * 9..][..count * inputs * 9];
                transformed(weight, inputs, start..start + depth, filter_pitch, to);
            }
            for point in 0..POINTS {
                let all = seen.chunks_exact(plan.panel()).zip(made.chunks_exact_mut(strips * POINTS));
                for (seen, made) in all {
                    let seen = &seen[(part * POINTS + point) * plan.pitch()..][..depth];
                    for strip in 0..strips {
                        let kernel = &kernels[(strip * POINTS + point) * filter_pitch..][..depth];
                        let made = &mut made[strip * POINTS + point];
                        let mut tile = if part == 0 { [[0.0; LANES]; ROWS] } else { *made };
                        multiply(simd, kernel, seen, &mut tile);
                        *made = tile;
                    }
                }
            }
        }
        for (panel, made) in made.chunks_exact(strips * POINTS).enumerate() {
            let runs = Runs::new(&plan, row, panel, row + rows);
            for i in 0..channels {
                let tiles = &made[i / ROWS * POINTS..][..POINTS];
                finish(simd, &filters, &plan, (row, pitch), (i, first + i), tiles, &runs, pixels);
            }
        }
    }
}

/// Turn the products of one panel into pixels of the channel `channel`, the `i`th of a task's.
#[inline(always)]
#[allow(clippy::too_many_arguments)]
fn finish<S: Simd>(
    simd: S,
    filters: &Filters,
    plan: &Plan,
    (row, pitch): (usize, usize),
    (i, channel): (usize, usize),
    tiles: &[Tile],
    runs: &Runs,
    pixels: &mut [&mut [f32]],
) {
    let mut values = outputs(tiles, i % ROWS);
    let bias = filters.bias[channel];
    for value in values.as_flattened_mut() {
        *value += bias;
    }
    if let After::LeakyRelu(slope) = filters.after {
        for value in values.as_flattened_mut() {
            *value = if *value < 0.0 { *value * slope } else { *value };
        }
    }
    for (line, columns) in values.as_chunks::<MADE>().0.iter().enumerate() {
        let mut made = joined(simd, columns);
        for run in runs.iter() {
            let strip = &mut *pixels[(run.picture * plan.down + run.row - row) * pitch + i];
            let Some(to) = strip.get_mut(line * plan.w + MADE * run.column..(line + 1) * plan.w) else {
                continue;
            };
            let count = to.len().min(MADE * run.count);
            let made = &mut made[MADE * run.lane..][..count];
            if let After::Residual { scale, to } = filters.after {
                let plane = (run.picture * filters.outputs + channel) * plan.plane;
                let start = plane + (MADE * run.row + line) * plan.w + MADE * run.column;
                for (made, to) in made.iter_mut().zip(&to[start..]) {
                    *made = *made * scale + to;
                }
            }
            copy_same(made, &mut to[..count]);
        }
    }
}
