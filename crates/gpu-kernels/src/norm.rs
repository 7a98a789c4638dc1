//! Group normalisation: one pass for the statistics, one that applies them.

use burn::tensor::{DType, Tensor};
use burn_cubecl::cubecl;
use burn_cubecl::cubecl::ir::ElemType;
use burn_cubecl::cubecl::prelude::*;

use crate::Gpu;
use crate::grid::{UNITS, workgroups};
use crate::product::width;

/// The most parts that a group is cut into; an invocation sums one.
const PARTS: usize = 256;
/// Values of a part that are summed before they are added to the others: long f32 sums lose digits.
const BLOCK: usize = 32;
/// Vectors that an invocation normalises.
const RUN: usize = 4;

/// Mean and variance of the groups of `x: [batch, channels, h, w]`, of the whole batch together if `pooled`: `[pictures, groups]`.
pub fn group_stats(x: &Tensor<4>, groups: usize, pooled: bool) -> Option<[Tensor<2>; 2]> {
    let x = Gpu::of(x)?.contiguous();
    let [batch, channels, h, w] = x.dims();
    let size = channels / groups * h * w;
    let parts = size.div_ceil(BLOCK).min(PARTS);
    let sums = x.empty_of([2, batch * groups, parts], DType::F32);
    let pictures = if pooled { 1 } else { batch };
    let stats = [(); 2].map(|()| x.empty_of([pictures, groups], DType::F32));
    let (client, units) = (&x.0.client, CubeDim::new_1d(UNITS as u32));
    // SAFETY: all indices are clamped to the operands' sizes.
    #[allow(unsafe_code)]
    unsafe {
        part_moments::launch_unchecked(
            client,
            workgroups((batch * groups * parts).div_ceil(UNITS)),
            units,
            x.arg(),
            sums.arg(),
            batch * groups,
            parts,
            size,
            x.element(),
        );
        moments::launch_unchecked(
            client,
            workgroups((pictures * groups).div_ceil(UNITS)),
            units,
            sums.arg(),
            stats[0].arg(),
            stats[1].arg(),
            batch * groups,
            parts,
            size,
            pictures * groups,
        );
    }
    Some(stats.map(Gpu::tensor))
}

/// Group normalisation by `[mean, variance]`, then SiLU if `activate`.
pub fn group_norm(
    x: &Tensor<4>,
    [mean, variance]: [&Tensor<2>; 2],
    gamma: &Tensor<1>,
    beta: &Tensor<1>,
    eps: f64,
    activate: bool,
) -> Option<Tensor<4>> {
    let known = mean.dtype() == DType::F32 && variance.dtype() == DType::F32;
    if !known || gamma.dtype() != x.dtype() || beta.dtype() != x.dtype() {
        return None;
    }
    let x = Gpu::of(x)?.contiguous();
    let [pictures, groups] = mean.dims();
    let [mean, variance] = [Gpu::of(mean)?.contiguous(), Gpu::of(variance)?.contiguous()];
    let [gamma, beta] = [Gpu::of(gamma)?.contiguous(), Gpu::of(beta)?.contiguous()];
    let [batch, channels, h, w] = x.dims();
    let width = width(h * w);
    let out = x.empty([batch, channels, h, w]);
    let vectors = h * w / width;
    // SAFETY: all indices are clamped to the operands' sizes.
    #[allow(unsafe_code)]
    unsafe {
        apply::launch_unchecked(
            &x.0.client,
            workgroups(batch * channels * vectors.div_ceil(RUN * UNITS)),
            CubeDim::new_1d(UNITS as u32),
            width,
            x.arg(),
            mean.arg(),
            variance.arg(),
            gamma.arg(),
            beta.arg(),
            out.arg(),
            batch,
            channels,
            vectors,
            pictures,
            groups,
            eps as f32,
            activate,
            x.element(),
        );
    }
    Some(out.tensor())
}

/// Where a part begins and how many values it has: the first are longer by one.
#[cube]
fn part_of(part: usize, parts: usize, size: usize) -> (usize, usize) {
    let (each, more) = (size / parts, size % parts);
    let count = select(part < more, each + 1, each);
    (part * each + min(part, more), count)
}

/// The mean of each part of a group and, behind all of them, the sum of the squared deviations.
///
/// Deviations are from the group's first value: sums of values far from zero would lose the digits that matter.
#[cube(launch_unchecked)]
fn part_moments<F: Float>(
    x: &[F],
    sums: &mut [f32],
    groups: usize,
    parts: usize,
    size: usize,
    #[define(F)] _type: ElemType,
) {
    let at = min(ABSOLUTE_POS, groups * parts - 1);
    let (group, part) = (at / parts, at % parts);
    let (start, count) = part_of(part, parts, size);
    let first = group * size + start;
    let about = f32::cast_from(x[group * size]);
    let mut sum = 0.0f32;
    let mut squares = 0.0f32;
    for block in range_stepped(0, count, BLOCK) {
        let mut block_sum = 0.0f32;
        let mut block_squares = 0.0f32;
        for i in block..min(block + BLOCK, count) {
            let value = f32::cast_from(x[first + i]) - about;
            block_sum += value;
            block_squares += value * value;
        }
        sum += block_sum;
        squares += block_squares;
    }
    let mean = sum / f32::cast_from(count);
    sums[at] = mean + about;
    sums[groups * parts + at] = max(squares - sum * mean, 0.0);
}

/// The parts' moments together, those of `groups` groups in `kept` of them (Chan et al. 1979).
#[cube(launch_unchecked)]
fn moments(
    sums: &[f32],
    mean: &mut [f32],
    variance: &mut [f32],
    groups: usize,
    parts: usize,
    size: usize,
    kept: usize,
) {
    let at = min(ABSOLUTE_POS, kept - 1);
    let pictures = groups / kept;
    let all = f32::cast_from(size) * f32::cast_from(pictures);
    let about = sums[at * parts];
    let mut sum = 0.0f32;
    for picture in 0..pictures {
        for part in 0..parts {
            let (_start, count) = part_of(part, parts, size);
            let found = sums[(picture * kept + at) * parts + part];
            sum += (found - about) * f32::cast_from(count);
        }
    }
    let centre = about + sum / all;
    let mut squares = 0.0f32;
    for picture in 0..pictures {
        for part in 0..parts {
            let (_start, count) = part_of(part, parts, size);
            let found = (picture * kept + at) * parts + part;
            let off = sums[found] - centre;
            squares += sums[groups * parts + found] + off * off * f32::cast_from(count);
        }
    }
    mean[at] = centre;
    variance[at] = squares / all;
}

/// A workgroup has a run of a channel.
#[cube(launch_unchecked)]
fn apply<F: Float, N: Size>(
    x: &[Vector<F, N>],
    mean: &[f32],
    variance: &[f32],
    gamma: &[F],
    beta: &[F],
    out: &mut [Vector<F, N>],
    batch: usize,
    channels: usize,
    vectors: usize,
    pictures: usize,
    groups: usize,
    eps: f32,
    #[comptime] activate: bool,
    #[define(F)] _type: ElemType,
) {
    let runs = vectors.div_ceil(RUN * UNITS);
    let run = min(CUBE_POS, batch * channels * runs - 1);
    let (plane, first) = (run / runs, run % runs * (RUN * UNITS) + UNIT_POS as usize);
    let (picture, channel) = (plane / channels % pictures, plane % channels);
    let group = picture * groups + channel / (channels / groups);
    let scale = f32::cast_from(gamma[channel]) / (variance[group] + eps).sqrt();
    let shift = Vector::<f32, N>::new(f32::cast_from(beta[channel]));
    let centre = Vector::<f32, N>::new(mean[group]);
    #[unroll]
    for i in 0..RUN {
        let at = first + i * UNITS;
        if at < vectors {
            // Centred first: folding the mean into the shift would cancel digits where |mean| >> σ.
            let mut value = Vector::<f32, N>::cast_from(x[plane * vectors + at]) - centre;
            value = value * Vector::new(scale) + shift;
            if comptime!(activate) {
                value = value / (Vector::new(1.0) + (-value).exp());
            }
            out[plane * vectors + at] = Vector::cast_from(value);
        }
    }
}
