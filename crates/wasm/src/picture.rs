//! The commands `picture` and `band`: a run's input, which comes in parts and is never whole in memory if it is large.

use clarifier_raster::{Channels, Depth, Raster};
use clarifier_tile::{Rect, Size};

use crate::engine::ENGINE;
use crate::folder::store_for;
use crate::{Answer, failed};

/// How much of a large picture's working copies the input itself is, about.
const COPIES: u64 = 6;

/// A run's input.
pub struct Input {
    pub raster: Raster,
    /// Pixels that came.
    received: u64,
}

impl Input {
    /// All of which is there.
    pub fn whole(raster: Raster) -> Self {
        let received = raster.size().area();
        Self { raster, received }
    }

    pub fn is_whole(&self) -> bool {
        self.received == self.raster.size().area()
    }
}

fn black(size: Size, channels: Channels) -> Answer<Raster> {
    let bytes = channels.count() as u64 * size.area();
    Raster::new(&store_for(COPIES * bytes), size, channels, Depth::Eight).map_err(failed)
}

/// Begin with a picture of this size; the one before is forgotten.
pub fn begin(width: u32, height: u32) -> Answer<()> {
    if width == 0 || height == 0 {
        return Err(failed("the picture has no pixels"));
    }
    ENGINE.with_borrow_mut(|engine| engine.input = None);
    // Opaque until a pixel is not.
    let raster = black(Size::new(width, height), Channels::Rgb)?;
    ENGINE.with_borrow_mut(|engine| engine.input = Some(Input { raster, received: 0 }));
    Ok(())
}

/// A part of it, RGBA of 8 bits, row by row. Each pixel comes once.
pub fn band(x: u32, y: u32, width: u32, height: u32, pixels: &[u8]) -> Answer<()> {
    let Some(mut input) = ENGINE.with_borrow_mut(|engine| engine.input.take()) else {
        return Err(failed("there is no picture to which this band belongs"));
    };
    let size = input.raster.size();
    let inside = |at: u32, length: u32, side: u32| at.checked_add(length).is_some_and(|end| end <= side);
    let rect = Rect::new(x, y, Size::new(width, height));
    if !inside(x, width, size.width) || !inside(y, height, size.height) {
        return Err(failed(format!("that band is not inside the picture, which is {size} pixels")));
    }
    if pixels.len() as u64 != 4 * rect.size.area() {
        return Err(failed(format!("{} bytes are no RGBA picture of {} pixels", pixels.len(), rect.size)));
    }
    let opaque = pixels.as_chunks::<4>().0.iter().all(|pixel| pixel[3] == u8::MAX);
    if !opaque && input.raster.channels() == Channels::Rgb {
        input.raster = with_opacity(&input.raster)?;
    }
    let written = match input.raster.channels() {
        Channels::Rgb => {
            let rgb: Vec<u8> =
                pixels.as_chunks::<4>().0.iter().flat_map(|[r, g, b, _]| [*r, *g, *b]).collect();
            input.raster.write_bytes(rect, &rgb)
        }
        _ => input.raster.write_bytes(rect, pixels),
    };
    written.map_err(failed)?;
    input.received += rect.size.area();
    ENGINE.with_borrow_mut(|engine| engine.input = Some(input));
    Ok(())
}

/// What came so far, which was opaque, as RGBA.
fn with_opacity(rgb: &Raster) -> Answer<Raster> {
    let size = rgb.size();
    let mut rgba = black(size, Channels::Rgba)?;
    for y in 0..size.height {
        let row = Rect::new(0, y, Size::new(size.width, 1));
        let bytes = rgb.read_bytes(row).map_err(failed)?;
        let with: Vec<u8> =
            bytes.as_chunks::<3>().0.iter().flat_map(|[r, g, b]| [*r, *g, *b, u8::MAX]).collect();
        rgba.write_bytes(row, &with).map_err(failed)?;
    }
    Ok(rgba)
}
