//! 3 × 3 convolution on the CPU by minimal filtering, F(4 × 4, 3 × 3) of Lavin & Gray 2016: 36 multiplications where the
//! definition has 144. The price is a decimal digit of f32's seven.

mod plan;
mod tile;
mod transform;

use rayon::prelude::*;

use super::simd::{LANES, ROWS, scratch, vectorized};
use plan::{DEPTH, INPUT_BYTES, MADE, Plan, Runs};
use tile::{See, Task};
use transform::POINTS;

/// A batch of pictures and what is convolved with them.
#[derive(Clone, Copy)]
pub(crate) struct Conv3x3<'a> {
    /// `[batch, inputs, h, w]`, contiguous.
    pub x: &'a [f32],
    pub filters: Filters<'a>,
    pub batch: usize,
    pub h: usize,
    pub w: usize,
}

/// What pictures are convolved with, and what is done to each value that comes out.
#[derive(Clone, Copy)]
pub(crate) struct Filters<'a> {
    /// `[outputs, inputs, 3, 3]`, contiguous.
    pub weight: &'a [f32],
    /// `[outputs]`.
    pub bias: &'a [f32],
    pub inputs: usize,
    pub outputs: usize,
    pub after: After<'a>,
}

/// What is done to each value of a convolution before it is written.
#[derive(Clone, Copy)]
pub(crate) enum After<'a> {
    Nothing,
    /// Negative ones times this.
    LeakyRelu(f32),
    /// Times `scale`, plus the value at the same place of `to: [batch, outputs, h, w]`.
    Residual {
        scale: f32,
        to: &'a [f32],
    },
}

/// A batch of pictures of the same size.
#[derive(Clone, Copy)]
struct Pictures<'a> {
    /// `[batch, channels, h, w]`, contiguous.
    x: &'a [f32],
    channels: usize,
    h: usize,
    w: usize,
}

/// The convolution with a padding of one zero all around, into `out: [batch, outputs, h, w]`.
pub(crate) fn conv3x3(conv: Conv3x3, out: &mut [f32]) {
    let Conv3x3 { x, filters, batch, h, w } = conv;
    let plan = Plan::new(batch, filters.inputs, h, w);
    let pictures = Pictures { x, channels: filters.inputs, h, w };
    let channels = plan.channels(filters.outputs);
    let blocks = filters.outputs.div_ceil(channels);
    let mut tasks = tasks(&plan, filters.outputs, channels, out);
    let per_wave = (INPUT_BYTES / (4 * LANES * plan.group())).max(1);
    for (wave, tasks) in tasks.chunks_mut(per_wave * blocks).enumerate() {
        scratch::<LANES, _>(tasks.len() / blocks * plan.group(), |seen| {
            see(&plan, pictures, 0, wave * per_wave, seen);
            make(&plan, &filters, channels, wave * per_wave, seen, tasks);
        });
    }
}

/// Convolutions each of which sees the pictures and what all before it made, as ESRGAN's dense blocks have them. Tiles are
/// transformed once for all of them: with few output channels that is half of the work. `x` has as many channels as the first
/// sees; the last writes to `out`.
pub(crate) fn dense3x3(x: &[f32], convs: &[Filters], batch: usize, h: usize, w: usize, out: &mut [f32]) {
    let Some((last, inner)) = convs.split_last() else { return };
    let plan = Plan::new(batch, last.inputs, h, w);
    assert_eq!(plan.parts, 1, "at most {DEPTH} channels");
    scratch::<LANES, _>(plan.groups() * plan.group(), |seen| {
        let channels = inner.first().unwrap_or(last).inputs;
        see(&plan, Pictures { x, channels, h, w }, 0, 0, seen);
        for conv in inner {
            scratch::<1, _>(batch * conv.outputs * h * w, |made| {
                let made = made.as_flattened_mut();
                whole(&plan, conv, seen, made);
                see(&plan, Pictures { x: made, channels: conv.outputs, h, w }, conv.inputs, 0, seen);
            });
        }
        whole(&plan, last, seen, out);
    });
}

/// Bytes that [`dense3x3`] keeps, for as many channels as its last convolution sees; none if it cannot take so many.
pub(crate) fn dense_bytes(batch: usize, inputs: usize, h: usize, w: usize) -> Option<usize> {
    let plan = Plan::new(batch, inputs, h, w);
    (plan.parts == 1).then(|| 4 * LANES * plan.groups() * plan.group())
}

/// The products of all tiles, into `out: [batch, outputs, h, w]`.
fn whole(plan: &Plan, filters: &Filters, seen: &[[f32; LANES]], out: &mut [f32]) {
    let channels = plan.channels(filters.outputs);
    make(plan, filters, channels, 0, seen, &mut tasks(plan, filters.outputs, channels, out));
}

/// The output by tasks: for each group of rows of tiles and each block of channels, the strips of its planes.
fn tasks<'o>(plan: &Plan, outputs: usize, channels: usize, out: &'o mut [f32]) -> Vec<Vec<&'o mut [f32]>> {
    let blocks = outputs.div_ceil(channels);
    let mut tasks: Vec<Vec<&mut [f32]>> = Vec::new();
    tasks.resize_with(plan.groups() * blocks, Vec::new);
    let planes = out.chunks_exact_mut(plan.plane).enumerate();
    for (plane, strips) in planes.map(|(i, plane)| (i, plane.chunks_mut(MADE * plan.w))) {
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
    tasks
}

/// Transform the tiles of the pictures, of the groups from `first` on that `seen` has room for; as the channels from `offset` on.
fn see(plan: &Plan, pictures: Pictures, offset: usize, first: usize, seen: &mut [[f32; LANES]]) {
    let panels = plan.panels(plan.rows);
    seen.par_chunks_mut(POINTS * plan.pitch()).enumerate().for_each(|(at, to)| {
        let (panel, part) = (at / plan.parts, at % plan.parts);
        let row = (first + panel / panels) * plan.rows;
        let end = (row + plan.rows).min(plan.all_rows);
        let runs = Runs::new(plan, row, panel % panels, end);
        let channels = part * plan.depth..((part + 1) * plan.depth).min(pictures.channels);
        vectorized(See { pictures, runs, channels, pitch: plan.pitch(), to: &mut to[offset..] });
    });
}

/// Multiply transformed tiles, those of the groups from `first` on, with filters, and turn them into pixels.
fn make(
    plan: &Plan,
    filters: &Filters,
    channels: usize,
    first: usize,
    seen: &[[f32; LANES]],
    tasks: &mut [Vec<&mut [f32]>],
) {
    let blocks = filters.outputs.div_ceil(channels);
    tasks.par_iter_mut().enumerate().for_each(|(at, pixels)| {
        let (group, block) = (at / blocks, at % blocks);
        let row = (first + group) * plan.rows;
        let rows = plan.rows.min(plan.all_rows - row);
        let seen = &seen[group * plan.group()..][..plan.panels(rows) * plan.panel()];
        let first = block * channels;
        let strips = channels.min(filters.outputs - first).div_ceil(ROWS);
        scratch(strips * POINTS * plan.filter_pitch(), |kernels| {
            scratch(plan.panels(rows) * strips * POINTS * ROWS, |made| {
                let made = made.as_chunks_mut().0;
                let (filters, plan) = (*filters, *plan);
                vectorized(Task { filters, plan, row, rows, first, channels, seen, kernels, made, pixels });
            });
        });
    });
}
