//! The tiles of a stage's result, for watching a long run.

use std::ops::ControlFlow;
use std::sync::Arc;

use clarifier_raster::Raster;
use clarifier_tile::{Rect, Size, TileGrid};
use serde::Serialize;

use crate::autoencode::{FACTOR, latent_size};
use crate::{Error, Event, Observer, Settings};

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
/// were redrawn in; without diffusion they are the same.
///
/// # Errors
/// If the store fails; [`Error::Cancelled`].
pub(crate) fn previews(picture: &Raster, settings: &Settings, observe: Observer) -> Result<(), Error> {
    let area = latent_size(picture.size(), FACTOR);
    let tile = Size::new(settings.tile_width, settings.tile_height);
    let grid = TileGrid::new(area, tile, settings.tile_overlap).expect("settings were checked");
    for (index, rect) in grid.iter().enumerate() {
        let Rect { x, y, size } = rect.times(FACTOR);
        // The last latents of a row and of a column may reach over the picture's end.
        let size =
            Size::new(size.width.min(picture.size().width - x), size.height.min(picture.size().height - y));
        let rgb = picture.read(Rect::new(x, y, size))?.to_rgb();
        let planes = [rgb.plane(0), rgb.plane(1), rgb.plane(2)];
        let level = |value: f32| (value.clamp(0.0, 1.0) * 255.0).round() as u8;
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
        if let ControlFlow::Break(()) = observe(Event::Preview(preview)) {
            return Err(Error::Cancelled);
        }
    }
    Ok(())
}
