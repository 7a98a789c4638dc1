//! The linear maps of F(4 × 4, 3 × 3) (Lavin & Gray 2016, with the points 0, ±1, ±2, ∞), sixteen or six tiles at a time.

use super::super::simd::{LANES, ROWS, Tile};

/// Values that a tile has between the maps.
pub(super) const POINTS: usize = 36;

/// Bᵀ of one line, by lanes.
#[inline(always)]
fn line_in<const N: usize>(d: [[f32; N]; 6]) -> [[f32; N]; 6] {
    let mut to = [[0.0; N]; 6];
    for i in 0..N {
        let [a, b, c, d, e, f] = [d[0][i], d[1][i], d[2][i], d[3][i], d[4][i], d[5][i]];
        let (even, odd) = (e - 4.0 * c, d - 4.0 * b);
        let (near, far) = (e - c, 2.0 * (d - b));
        to[0][i] = 4.0 * a - 5.0 * c + e;
        to[1][i] = even + odd;
        to[2][i] = even - odd;
        to[3][i] = near + far;
        to[4][i] = near - far;
        to[5][i] = 4.0 * b - 5.0 * d + f;
    }
    to
}

/// Aᵀ of one line, by lanes.
#[inline(always)]
fn line_out<const N: usize>(m: [[f32; N]; 6]) -> [[f32; N]; 4] {
    let mut to = [[0.0; N]; 4];
    for i in 0..N {
        let (one, far) = (m[1][i] + m[2][i], m[3][i] + m[4][i]);
        let (odd, away) = (m[1][i] - m[2][i], m[3][i] - m[4][i]);
        to[0][i] = m[0][i] + one + far;
        to[1][i] = odd + 2.0 * away;
        to[2][i] = one + 4.0 * far;
        to[3][i] = odd + 8.0 * away + m[5][i];
    }
    to
}

/// G of one line, by lanes.
#[inline(always)]
fn line_filter<const N: usize>(g: [[f32; N]; 3]) -> [[f32; N]; 6] {
    let mut to = [[0.0; N]; 6];
    for i in 0..N {
        let [a, b, c] = [g[0][i], g[1][i], g[2][i]];
        let (near, far) = ((a + c) * (-1.0 / 6.0), a * (1.0 / 24.0) + c * (1.0 / 6.0));
        to[0][i] = 0.25 * a;
        to[1][i] = near - b * (1.0 / 6.0);
        to[2][i] = near + b * (1.0 / 6.0);
        to[3][i] = far + b * (1.0 / 12.0);
        to[4][i] = far - b * (1.0 / 12.0);
        to[5][i] = c;
    }
    to
}

/// Bᵀ d B of sixteen tiles, row by row.
#[inline(always)]
pub(super) fn inputs(d: &[[f32; LANES]; POINTS]) -> [[f32; LANES]; POINTS] {
    let mut half = [[0.0; LANES]; POINTS];
    for j in 0..6 {
        let column = line_in([d[j], d[6 + j], d[12 + j], d[18 + j], d[24 + j], d[30 + j]]);
        for i in 0..6 {
            half[i * 6 + j] = column[i];
        }
    }
    let mut to = [[0.0; LANES]; POINTS];
    for (to, half) in to.as_chunks_mut::<6>().0.iter_mut().zip(half.as_chunks::<6>().0) {
        *to = line_in(*half);
    }
    to
}

/// Aᵀ m A of sixteen tiles: the four rows of four pixels that each makes. `tiles` are the products of each point, of
/// which `row` is meant.
#[inline(always)]
pub(super) fn outputs(tiles: &[Tile], row: usize) -> [[f32; LANES]; 16] {
    let tiles: &[Tile; POINTS] = tiles.first_chunk().expect("one for each point");
    let mut half = [[0.0; LANES]; 24];
    for j in 0..6 {
        let column = line_out(std::array::from_fn(|i| tiles[i * 6 + j][row]));
        for i in 0..4 {
            half[i * 6 + j] = column[i];
        }
    }
    let mut to = [[0.0; LANES]; 16];
    for (to, half) in to.as_chunks_mut::<4>().0.iter_mut().zip(half.as_chunks::<6>().0) {
        *to = line_out(*half);
    }
    to
}

/// G g Gᵀ of up to six output channels, `weight: [channels, inputs, 3, 3]`, for some of the inputs: `[point, input,
/// channel]`, from point to point `pitch`.
#[inline(always)]
pub(super) fn filters(
    weight: &[f32],
    inputs: usize,
    range: std::ops::Range<usize>,
    pitch: usize,
    to: &mut [[f32; ROWS]],
) {
    // Missing channels repeat the first: what they give is not used.
    let count = weight.len() / (inputs * 9);
    let kernels: [&[[f32; 9]]; ROWS] = std::array::from_fn(|channel| {
        let start = if channel < count { channel * inputs * 9 } else { 0 };
        &weight[start..start + inputs * 9].as_chunks().0[range.clone()]
    });
    for input in 0..range.len() {
        // Eight lanes for six channels: what the registers hold.
        let k: [&[f32; 9]; ROWS] = std::array::from_fn(|channel| &kernels[channel][input]);
        let g: [[f32; 8]; 9] =
            std::array::from_fn(|i| [k[0][i], k[1][i], k[2][i], k[3][i], k[4][i], k[5][i], 0.0, 0.0]);
        let mut half = [[0.0; 8]; 18];
        for j in 0..3 {
            let column = line_filter([g[j], g[3 + j], g[6 + j]]);
            for i in 0..6 {
                half[i * 3 + j] = column[i];
            }
        }
        for i in 0..6 {
            let row = line_filter([half[i * 3], half[i * 3 + 1], half[i * 3 + 2]]);
            for (j, row) in row.iter().enumerate() {
                to[(i * 6 + j) * pitch + input].copy_from_slice(&row[..ROWS]);
            }
        }
    }
}
