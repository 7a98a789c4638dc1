//! Tiles to points, products of points, and back to pixels.

use pulp::{Simd, WithSimd};

use super::super::simd::{LANES, ROWS, Tile, multiply};
use super::plan::{MADE, Plan, SEEN, places};
use super::transform::{POINTS, filters as transformed, inputs, outputs};
use super::{After, Filters, Pictures};

/// The transformed tiles of one panel, for some input channels: `[point, channel, lane]`.
#[inline(always)]
pub(super) fn inputs_of(
    pictures: &Pictures,
    places: impl Iterator<Item = [usize; 3]>,
    channels: std::ops::Range<usize>,
    pitch: usize,
    to: &mut [[f32; LANES]],
) {
    let Pictures { x, channels: all, h, w } = *pictures;
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
            let places = places(&plan, row, panel, row + rows);
            finish(&filters, &plan, row, first..first + channels, pitch, made, places, pixels);
        }
    }
}

/// Turn the products of one panel into pixels.
#[inline(always)]
#[allow(clippy::too_many_arguments)]
fn finish(
    filters: &Filters,
    plan: &Plan,
    row: usize,
    channels: std::ops::Range<usize>,
    pitch: usize,
    made: &[Tile],
    places: impl Iterator<Item = [usize; 3]>,
    pixels: &mut [&mut [f32]],
) {
    let width = plan.w;
    let mut at = [[usize::MAX; 3]; LANES];
    at.iter_mut().zip(places).for_each(|(at, place)| *at = place);
    for (i, channel) in channels.enumerate() {
        let tiles = &made[i / ROWS * POINTS..][..POINTS];
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
        for (lane, [picture, down, column]) in at.iter().copied().enumerate() {
            if picture == usize::MAX {
                break;
            }
            let line = picture * plan.down + down - row;
            let pixels = &mut *pixels[line * pitch + i];
            let start =
                (picture * filters.outputs + channel) * plan.plane + down * MADE * width + column * MADE;
            let lines = pixels.chunks_exact_mut(width).zip(values.as_chunks::<MADE>().0);
            for (line, (pixels, values)) in lines.enumerate() {
                let mut made: [f32; MADE] = std::array::from_fn(|j| values[j][lane]);
                let pixels = &mut pixels[column * MADE..];
                if let After::Residual { scale, to } = filters.after {
                    for (made, to) in made.iter_mut().zip(&to[start + line * width..]) {
                        *made = *made * scale + to;
                    }
                }
                match pixels.first_chunk_mut() {
                    Some(pixels) => *pixels = made,
                    None => pixels.copy_from_slice(&made[..pixels.len()]),
                }
            }
        }
    }
}
