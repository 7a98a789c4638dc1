//! 3 × 3 convolution on the CPU by minimal filtering, F(4 × 4, 3 × 3) of Lavin & Gray 2016: 36 multiplications where the
//! definition has 144. The price is a decimal digit of f32's seven.

use pulp::{Simd, WithSimd};
use rayon::prelude::*;

use super::simd::{LANES, ROWS, Tile, multiply, plain, scratch, vectorized};
use super::transform::{POINTS, filters, inputs, outputs};

/// Side of the square that a tile makes.
pub(crate) const MADE: usize = 4;
/// Side of the square that a tile sees.
pub(crate) const SEEN: usize = 6;

/// Input channels whose products are summed before a tile is put back.
const DEPTH: usize = 320;
/// Tiles of a task: the filters are transformed once for all of them.
const TASK_TILES: usize = 512;
/// Bytes of transformed pictures that exist at once.
const INPUT_BYTES: usize = 32 << 20;
/// Most groups of six output channels in a task: they share what is read of the transformed pictures.
const STRIPS: usize = 8;

/// A batch of pictures and what is convolved with them.
#[derive(Clone, Copy)]
pub(crate) struct Conv3x3<'a> {
    /// `[batch, inputs, h, w]`, contiguous.
    pub x: &'a [f32],
    /// `[outputs, inputs, 3, 3]`, contiguous.
    pub weight: &'a [f32],
    /// `[outputs]`.
    pub bias: &'a [f32],
    pub batch: usize,
    pub inputs: usize,
    pub outputs: usize,
    pub h: usize,
    pub w: usize,
}

/// The cut of the work.
#[derive(Clone, Copy)]
struct Plan {
    /// Tiles down and across a picture.
    down: usize,
    across: usize,
    /// Rows of tiles, of all pictures one after the other, in a task.
    rows: usize,
    /// Groups of six output channels in a task.
    strips: usize,
    /// Input channels are summed in so many parts of at most `depth`.
    parts: usize,
    depth: usize,
}

impl Plan {
    fn new(conv: &Conv3x3) -> Self {
        let Conv3x3 { batch, inputs, outputs, h, w, .. } = *conv;
        let (down, across) = (h.div_ceil(MADE), w.div_ceil(MADE));
        let parts = inputs.div_ceil(DEPTH);
        let fit = INPUT_BYTES / (4 * POINTS * inputs);
        let rows = (fit.min(TASK_TILES) / across).clamp(1, batch * down);
        let groups = (batch * down).div_ceil(rows);
        let all = outputs.div_ceil(ROWS);
        // As many tasks as keep all threads busy. Which task computes a value does not change it.
        let threads = rayon::current_num_threads();
        let tasks = (groups * all.div_ceil(STRIPS)).next_multiple_of(threads);
        let strips = all.div_ceil((tasks / groups).max(1)).max(1);
        Self { down, across, rows, strips, parts, depth: inputs.div_ceil(parts) }
    }

    /// Groups of sixteen tiles in `rows` rows of them.
    fn panels(&self, rows: usize) -> usize {
        (rows * self.across).div_ceil(LANES)
    }

    /// From one point of a transformed tile to the next, in lines of the cache: an odd number, or all points would want
    /// the same place in it.
    fn pitch(&self) -> usize {
        self.depth | 1
    }

    /// The same for transformed filters, whose values for one channel are three eighths of a line.
    fn filter_pitch(&self) -> usize {
        8 * (self.depth.div_ceil(8) | 1)
    }

    /// Rows of [`LANES`] that the transformed input of one panel takes.
    fn panel(&self) -> usize {
        self.parts * POINTS * self.pitch()
    }
}

/// Where the sixteen tiles of a panel lie: picture, row and column of tiles; fewer at the end.
fn places(plan: &Plan, row: usize, panel: usize, end: usize) -> impl Iterator<Item = [usize; 3]> {
    let Plan { down, across, .. } = *plan;
    let first = row * across + panel * LANES;
    (first..(first + LANES).min(end * across)).map(move |tile| {
        let (row, column) = (tile / across, tile % across);
        [row / down, row % down, column]
    })
}

/// The convolution with a padding of one zero all around, into `out: [batch, outputs, h, w]`.
pub(crate) fn conv3x3(conv: Conv3x3, out: &mut [f32]) {
    let plan = Plan::new(&conv);
    let Conv3x3 { batch, outputs, h, w, inputs, .. } = conv;
    let all_rows = batch * plan.down;
    let channels = plan.strips * ROWS;
    let blocks = outputs.div_ceil(channels);
    // The output by tasks: for each group of rows of tiles and each block of channels, the strips of its planes.
    let groups = all_rows.div_ceil(plan.rows);
    let mut tasks: Vec<Vec<&mut [f32]>> = Vec::new();
    tasks.resize_with(groups * blocks, Vec::new);
    let planes = out.chunks_exact_mut(h * w).enumerate();
    for (plane, strips) in planes.map(|(i, plane)| (i, plane.chunks_mut(MADE * w))) {
        let (picture, channel) = (plane / outputs, plane % outputs);
        let (block, channel) = (channel / channels, channel % channels);
        for (row, strip) in strips.enumerate() {
            let row = picture * plan.down + row;
            let task = &mut tasks[row / plan.rows * blocks + block];
            let at = row % plan.rows * channels + channel;
            if task.len() <= at {
                task.resize_with(at + 1, Default::default);
            }
            task[at] = strip;
        }
    }
    let per_wave = (INPUT_BYTES / (4 * LANES * plan.panel() * plan.panels(plan.rows))).max(1);
    for (wave, tasks) in tasks.chunks_mut(per_wave * blocks).enumerate() {
        let first = wave * per_wave;
        let count = tasks.len() / blocks;
        let panels = plan.panels(plan.rows);
        scratch::<LANES, _>(count * panels * plan.panel(), |seen| {
            seen.par_chunks_mut(POINTS * plan.pitch()).enumerate().for_each(|(at, to)| {
                let (panel, part) = (at / plan.parts, at % plan.parts);
                let row = (first + panel / panels) * plan.rows;
                let end = (row + plan.rows).min(all_rows);
                let places = places(&plan, row, panel % panels, end);
                let channels = part * plan.depth..((part + 1) * plan.depth).min(inputs);
                plain(|| inputs_of(&conv, places, channels, plan.pitch(), to));
            });
            let seen = &*seen;
            tasks.par_iter_mut().enumerate().for_each(|(at, pixels)| {
                let (group, block) = (at / blocks, at % blocks);
                let row = (first + group) * plan.rows;
                let rows = plan.rows.min(all_rows - row);
                let seen = &seen[group * panels * plan.panel()..][..plan.panels(rows) * plan.panel()];
                let first = block * channels;
                let strips = channels.min(outputs - first).div_ceil(ROWS);
                scratch(strips * POINTS * plan.filter_pitch(), |kernels| {
                    scratch(plan.panels(rows) * strips * POINTS * ROWS, |made| {
                        let made = made.as_chunks_mut().0;
                        vectorized(Task { conv, plan, row, rows, first, seen, kernels, made, pixels });
                    });
                });
            });
        });
    }
}

/// The transformed tiles of one panel, for some input channels: `[point, channel, lane]`.
#[inline(always)]
fn inputs_of(
    conv: &Conv3x3,
    places: impl Iterator<Item = [usize; 3]>,
    channels: std::ops::Range<usize>,
    pitch: usize,
    to: &mut [[f32; LANES]],
) {
    let Conv3x3 { x, inputs: all, h, w, .. } = *conv;
    let mut at = [[usize::MAX; 3]; LANES];
    at.iter_mut().zip(places).for_each(|(at, place)| *at = place);
    // What lies outside the picture stays zero: it is the same for all channels.
    let mut tiles = [[0.0; LANES]; POINTS];
    for (k, channel) in channels.enumerate() {
        for (lane, [picture, row, column]) in at.iter().copied().enumerate() {
            if picture == usize::MAX {
                continue;
            }
            let plane = &x[(picture * all + channel) * h * w..][..h * w];
            // The tile sees one row and column before what it makes, and one after.
            let (top, left) = (MADE * row, MADE * column);
            if top > 0 && left > 0 && top + SEEN <= h + 1 && left + SEEN <= w + 1 {
                let lines = plane[(top - 1) * w + left - 1..].chunks(w);
                for (tiles, line) in tiles.as_chunks_mut::<SEEN>().0.iter_mut().zip(lines) {
                    let line: &[f32; SEEN] = line.first_chunk().expect("inside the plane");
                    for j in 0..SEEN {
                        tiles[j][lane] = line[j];
                    }
                }
            } else {
                for i in usize::from(top == 0)..SEEN.min(h + 1 - top) {
                    for j in usize::from(left == 0)..SEEN.min(w + 1 - left) {
                        tiles[i * SEEN + j][lane] = plane[(top + i - 1) * w + left + j - 1];
                    }
                }
            }
        }
        for (point, tile) in inputs(&tiles).iter().enumerate() {
            to[point * pitch + k] = *tile;
        }
    }
}

/// Some output channels for some rows of tiles.
struct Task<'a, 'o> {
    conv: Conv3x3<'a>,
    plan: Plan,
    /// The first row of tiles, and how many there are.
    row: usize,
    rows: usize,
    /// The first output channel.
    first: usize,
    seen: &'a [[f32; LANES]],
    /// Room for the transformed filters.
    kernels: &'a mut [[f32; ROWS]],
    /// Room for the products.
    made: &'a mut [Tile],
    /// For each row of tiles and output channel its four rows of pixels.
    pixels: &'a mut [&'o mut [f32]],
}

impl WithSimd for Task<'_, '_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { conv, plan, row, rows, first, seen, kernels, made, pixels } = self;
        let Conv3x3 { weight, inputs, outputs, .. } = conv;
        let channels = (plan.strips * ROWS).min(outputs - first);
        let strips = channels.div_ceil(ROWS);
        let pitch = plan.filter_pitch();
        for part in 0..plan.parts {
            let start = part * plan.depth;
            let depth = plan.depth.min(inputs - start);
            for (strip, to) in kernels.chunks_exact_mut(POINTS * pitch).enumerate() {
                let output = first + strip * ROWS;
                let count = ROWS.min(outputs - output);
                let weight = &weight[output * inputs * 9..][..count * inputs * 9];
                filters(weight, inputs, start..start + depth, pitch, to);
            }
            for point in 0..POINTS {
                let all = seen.chunks_exact(plan.panel()).zip(made.chunks_exact_mut(strips * POINTS));
                for (seen, made) in all {
                    let seen = &seen[(part * POINTS + point) * plan.pitch()..][..depth];
                    for strip in 0..strips {
                        let kernel = &kernels[(strip * POINTS + point) * pitch..][..depth];
                        let made = &mut made[strip * POINTS + point];
                        let mut tile = if part == 0 { [[0.0; LANES]; ROWS] } else { *made };
                        multiply(simd, kernel, seen, &mut tile);
                        *made = tile;
                    }
                }
            }
        }
        for (panel, made) in made.chunks_exact(strips * POINTS).enumerate() {
            let places = places(&plan, row, panel, row + rows);
            finish(&conv, &plan, row, first, channels, made, places, pixels);
        }
    }
}

/// Turn the products of one panel into pixels.
#[inline(always)]
#[allow(clippy::too_many_arguments)]
fn finish(
    conv: &Conv3x3,
    plan: &Plan,
    row: usize,
    first: usize,
    channels: usize,
    made: &[Tile],
    places: impl Iterator<Item = [usize; 3]>,
    pixels: &mut [&mut [f32]],
) {
    let width = conv.w;
    let mut at = [[usize::MAX; 3]; LANES];
    at.iter_mut().zip(places).for_each(|(at, place)| *at = place);
    for channel in 0..channels {
        let tiles = &made[channel / ROWS * POINTS..][..POINTS];
        let values = outputs(tiles, channel % ROWS);
        let bias = conv.bias[first + channel];
        for (lane, [picture, down, column]) in at.iter().copied().enumerate() {
            if picture == usize::MAX {
                break;
            }
            let line = picture * plan.down + down - row;
            let pixels = &mut *pixels[line * plan.strips * ROWS + channel];
            for (pixels, values) in pixels.chunks_exact_mut(width).zip(values.as_chunks::<MADE>().0) {
                let line: [f32; MADE] = std::array::from_fn(|j| values[j][lane] + bias);
                let pixels = &mut pixels[column * MADE..];
                match pixels.first_chunk_mut() {
                    Some(pixels) => *pixels = line,
                    None => pixels.copy_from_slice(&line[..pixels.len()]),
                }
            }
        }
    }
}
