//! What a long run looks like: the latents at each step, and the tiles of a stage's result.

use std::sync::Arc;

use clarifier_raster::{Planes, Raster};
use clarifier_tile::{Rect, Size, TileGrid};
use serde::Serialize;

use crate::autoencode::latent_size;
use crate::event::say;
use crate::{Canvas, Error, Event, Observer, Settings};

/// A tile of diffusion as it looks in a stage's result.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Preview {
    /// From 1, from the top.
    pub row: usize,
    /// From 1, from the left.
    pub column: usize,
    /// Tiles in a column.
    pub rows: usize,
    /// Tiles in a row.
    pub columns: usize,
    /// In pixels.
    pub width: u32,
    /// In pixels.
    pub height: u32,
    /// RGB, 8 bits, row by row.
    #[serde(skip)]
    pub pixels: Arc<[u8]>,
}

/// Tell `observe` of every tile of `picture`, a stage's result. They overlap, as the tiles do that they
/// were redrawn in; without diffusion they are the same. `factor` is the pixels along a latent's side.
///
/// # Errors
/// If the store fails; [`Error::Cancelled`].
pub(crate) fn previews(
    picture: &Raster,
    settings: &Settings,
    factor: u32,
    observe: Observer,
) -> Result<(), Error> {
    let area = latent_size(picture.size(), factor);
    let tile = Size::new(settings.tile_width, settings.tile_height);
    let grid = TileGrid::new(area, tile, settings.tile_overlap).expect("settings were checked");
    for (index, rect) in grid.iter().enumerate() {
        let Rect { x, y, size } = rect.times(factor);
        // The last latents of a row and of a column may reach over the picture's end.
        let size =
            Size::new(size.width.min(picture.size().width - x), size.height.min(picture.size().height - y));
        let rgb = picture.read(Rect::new(x, y, size))?.to_rgb();
        let planes = [rgb.plane(0), rgb.plane(1), rgb.plane(2)];
        let pixels = (0..planes[0].len()).flat_map(|i| planes.map(|plane| level(plane[i]))).collect();
        let preview = Preview {
            row: index / grid.columns() + 1,
            column: index % grid.columns() + 1,
            rows: grid.rows(),
            columns: grid.columns(),
            width: size.width,
            height: size.height,
            pixels,
        };
        say(observe, Event::Preview(preview))?;
    }
    Ok(())
}

/// A part of the picture as it is now, small. In diffusion it is as near as a linear map gets to what the autoencoder
/// would make of it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct StepPreview {
    /// Left, in pixels of the stage's result.
    pub x: u32,
    /// Top.
    pub y: u32,
    /// Width and height of the part, in pixels of the stage's result; it may reach over its end.
    pub covers: (u32, u32),
    /// Columns of this preview.
    pub width: u32,
    /// Rows of this preview.
    pub height: u32,
    /// RGB, 8 bits, row by row.
    #[serde(skip)]
    pub pixels: Arc<[u8]>,
}

/// The longest side of a step's preview in pixels.
const LONGEST: u32 = 512;

/// The squares of a part, each of which one pixel stands for: it is for watching.
struct Squares {
    part: Size,
    by: u32,
    /// How many across and down.
    size: Size,
}

impl Squares {
    /// Of so many pixels that a picture of the size `whole` has [`LONGEST`] squares at most.
    fn new(part: Size, whole: Size) -> Self {
        let by = whole.width.max(whole.height).div_ceil(LONGEST);
        Self { part, by, size: Size::new(part.width.div_ceil(by), part.height.div_ceil(by)) }
    }

    /// The rows of the pixels in their middles.
    fn rows(&self) -> impl Iterator<Item = u32> {
        let (by, length) = (self.by, self.part.height);
        (0..self.size.height).map(move |i| (i * by + by / 2).min(length - 1))
    }

    /// Their columns.
    fn columns(&self) -> impl Iterator<Item = u32> {
        let (by, length) = (self.by, self.part.width);
        (0..self.size.width).map(move |i| (i * by + by / 2).min(length - 1))
    }
}

/// A value in 0 ..= 1 in 8 bits.
fn level(value: f32) -> u8 {
    (value.clamp(0.0, 1.0) * 255.0).round() as u8
}

/// What the latents of a family look like.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Latents<'a> {
    /// RGB of each channel, for values in -1 ..= 1, and last what is added to their sum; none if nothing is known.
    pub rgb: Option<&'a [[f32; 3]]>,
    /// Pixels along a latent's side.
    pub factor: u32,
}

impl StepPreview {
    /// Of `pixels`, values in 0 ..= 1, which lie at `rect` of a picture of the size `whole`; told of in a picture of the size
    /// `result`.
    pub(crate) fn of_pixels(pixels: &Planes, rect: Rect, whole: Size, result: Size) -> Self {
        let squares = Squares::new(rect.size, whole);
        let found = squares.rows().flat_map(|y| {
            squares.columns().flat_map(move |x| {
                [0, 1, 2].map(|channel| level(pixels.plane(channel)[(y * rect.size.width + x) as usize]))
            })
        });
        let scaled = |at: u32| (u64::from(at) * u64::from(result.width) / u64::from(whole.width)) as u32;
        Self {
            x: scaled(rect.x),
            y: scaled(rect.y),
            covers: (scaled(rect.right()) - scaled(rect.x), scaled(rect.bottom()) - scaled(rect.y)),
            width: squares.size.width,
            height: squares.size.height,
            pixels: found.collect(),
        }
    }

    /// Of a whole picture.
    ///
    /// # Errors
    /// If the store fails.
    pub(crate) fn of_raster(picture: &Raster) -> Result<Self, Error> {
        let squares = Squares::new(picture.size(), picture.size());
        let mut pixels = Vec::with_capacity(3 * squares.size.area() as usize);
        for y in squares.rows() {
            let line = picture.read(Rect::new(0, y, Size::new(picture.size().width, 1)))?.to_rgb();
            let of = |x: u32| [0, 1, 2].map(|channel| level(line.plane(channel)[x as usize]));
            pixels.extend(squares.columns().flat_map(of));
        }
        let covers = (picture.size().width, picture.size().height);
        let Size { width, height } = squares.size;
        Ok(Self { x: 0, y: 0, covers, width, height, pixels: pixels.into() })
    }

    /// The picture that `part` of the canvas `x` is on the way to, where the network saw the noise `eps` in it at the
    /// noise level `sigma`. `part` lies at the latent `corner` of the stage's result.
    ///
    /// None if nothing is known of the latents.
    pub(crate) fn new(
        Latents { rgb, factor }: Latents<'_>,
        (x, eps): (&Canvas, &Canvas),
        part: Rect,
        corner: (u32, u32),
        sigma: f64,
    ) -> Option<Self> {
        let (added, colours) = rgb?.split_last()?;
        if x.channels != colours.len() {
            return None;
        }
        let Squares { by, size, .. } = Squares::new(part.size, part.size);
        let mut rgb = vec![[0.0f32; 3]; size.area() as usize];
        // x = √ᾱ · picture + √(1 − ᾱ) · ε, and σ² = (1 − ᾱ) / ᾱ.
        let (scale, sigma) = ((1.0 + sigma * sigma).sqrt() as f32, sigma as f32);
        let plane = x.size.area() as usize;
        for y in 0..part.size.height {
            let row = (part.y + y) as usize * x.size.width as usize + part.x as usize;
            for column in 0..part.size.width {
                let sum = &mut rgb[(y / by * size.width + column / by) as usize];
                for (channel, colour) in colours.iter().enumerate() {
                    let at = channel * plane + row + column as usize;
                    let latent = scale * x.data[at] - sigma * eps.data[at];
                    sum.iter_mut().zip(colour).for_each(|(sum, of)| *sum += latent * of);
                }
            }
        }
        let side = |at: u32, length: u32| by.min(length - at * by) as f32;
        let pixels = (0..).zip(&rgb).flat_map(|(index, sum)| {
            let (across, down) = (index % size.width, index / size.width);
            let count = side(across, part.size.width) * side(down, part.size.height);
            [0, 1, 2].map(|c| level((sum[c] / count + added[c] + 1.0) / 2.0))
        });
        Some(Self {
            x: corner.0 * factor,
            y: corner.1 * factor,
            covers: (part.size.width * factor, part.size.height * factor),
            width: size.width,
            height: size.height,
            pixels: pixels.collect(),
        })
    }
}

#[cfg(test)]
mod tests {
    use clarifier_model::family::ModelFamily;

    use super::*;

    /// What SD 1.5's latents look like.
    fn sd15(look: impl FnOnce(Latents) -> Option<StepPreview>) -> Option<StepPreview> {
        let family = ModelFamily::sd15();
        look(Latents { rgb: family.latent_rgb.as_deref(), factor: family.factor })
    }

    /// A picture of latents, at noise σ, and that noise.
    fn noisy(size: Size, sigma: f64, picture: impl Fn(usize) -> f32) -> (Canvas, Canvas) {
        let eps: Vec<f32> = (0..4 * size.area()).map(|i| (i as f32 * 1.7).sin()).collect();
        let alpha = 1.0 / (1.0 + sigma * sigma).sqrt();
        let x = eps
            .iter()
            .enumerate()
            .map(|(i, e)| (alpha * (f64::from(picture(i)) + sigma * f64::from(*e))) as f32);
        let canvas = |data| Canvas { size, channels: 4, data };
        (canvas(x.collect()), canvas(eps.clone()))
    }

    #[test]
    fn the_picture_is_seen_through_the_noise() {
        let size = Size::new(20, 10);
        // The first channel alone, brighter to the right.
        let picture = |i: usize| if i < 200 { (i % 20) as f32 / 10.0 - 1.0 } else { 0.0 };
        let (x, eps) = noisy(size, 3.0, picture);
        let part = Rect::new(4, 2, Size::new(10, 5));
        let preview = sd15(|latents| StepPreview::new(latents, (&x, &eps), part, (4, 2), 3.0)).unwrap();
        assert_eq!((preview.x, preview.y, preview.covers), (32, 16, (80, 40)));
        assert_eq!((preview.width, preview.height, preview.pixels.len()), (10, 5, 150));
        for (i, pixel) in preview.pixels.as_chunks::<3>().0.iter().enumerate() {
            let value = picture(4 + i % 10);
            let expected = ModelFamily::sd15().latent_rgb.unwrap()[0]
                .map(|of| ((value * of + 1.0) / 2.0 * 255.0).round() as i32);
            // Rounding of the noise in f32.
            assert!(pixel.iter().zip(expected).all(|(p, e)| (i32::from(*p) - e).abs() <= 1), "{i} {pixel:?}");
        }
    }

    #[test]
    fn a_part_is_seen_where_it_lies() {
        let rect = Rect::new(1536, 768, Size::new(640, 512));
        let data: Vec<f32> = (0..3 * 640 * 512).map(|i| (i % 640) as f32 / 639.0).collect();
        let part = StepPreview::of_pixels(
            &Planes::new(rect.size, 3, data),
            rect,
            Size::new(4096, 2048),
            Size::new(2048, 1024),
        );
        assert_eq!((part.x, part.y, part.covers), (768, 384, (320, 256)));
        assert_eq!((part.width, part.height, part.pixels.len()), (80, 64, 3 * 80 * 64));
        // The middle of the first eight columns, and of the last.
        assert_eq!((part.pixels[0], part.pixels[3 * 79 + 1]), (2, 254));
    }

    #[test]
    fn large_canvases_have_small_previews_and_other_latents_none() {
        let size = Size::new(1100, 7);
        let (x, eps) = noisy(size, 0.0, |_| 0.5);
        let preview = {
            let whole = Rect::new(0, 0, size);
            sd15(|latents| StepPreview::new(latents, (&x, &eps), whole, (0, 0), 0.0)).unwrap()
        };
        assert_eq!((preview.width, preview.height, preview.covers), (367, 3, (8800, 56)));
        let grey = &preview.pixels[..3];
        assert!(preview.pixels.chunks_exact(3).all(|pixel| pixel == grey), "blocks at the end are means too");
        let other = Canvas { channels: 16, data: vec![0.0; 16 * 64], size: Size::new(8, 8) };
        let whole = Rect::new(0, 0, other.size);
        assert!(sd15(|latents| StepPreview::new(latents, (&other, &other), whole, (0, 0), 1.0)).is_none());
        let of_other =
            |rgb| StepPreview::new(Latents { rgb, factor: 8 }, (&other, &other), whole, (0, 0), 1.0);
        assert!(of_other(None).is_none());
        // Unless their autoencoder says what they look like.
        let mut rgb = [[0.5; 3]; 17];
        rgb[16] = [1.0, 0.0, -1.0];
        assert_eq!(of_other(Some(&rgb)).unwrap().pixels[..3], [255, 128, 0]);
    }
}
