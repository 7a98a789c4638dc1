//! Colour, apart from brightness, held to the enlarger's in every pixel.
//!
//! What diffusion invents is structure, which eyes see as brightness; in colour it mostly leaves blotches and a cast.

use clarifier_raster::Raster;
use clarifier_tile::{Rect, Size};

use crate::Error;

/// Shares of red, green and blue in brightness (Rec. 601).
const BRIGHTNESS: [f32; 3] = [0.299, 0.587, 0.114];
/// Rows that are changed at a time.
const ROWS: u32 = 64;

/// Give a picture `strength` of the colours of `guess`, of its size, and leave its brightness: `target`, or `source` into `target`.
pub(crate) fn hold(
    guess: &Raster,
    source: Option<&Raster>,
    target: &mut Raster,
    strength: f64,
) -> Result<(), Error> {
    let size = target.size();
    for top in (0..size.height).step_by(ROWS as usize) {
        let rect = Rect::new(0, top, Size::new(size.width, ROWS.min(size.height - top)));
        let (wanted, mut band) = (guess.read(rect)?, source.unwrap_or(target).read(rect)?);
        let count = rect.size.area() as usize;
        for at in 0..count {
            let lacking: [f32; 3] =
                std::array::from_fn(|c| wanted.data[c * count + at] - band.data[c * count + at]);
            let brighter: f32 = lacking.iter().zip(BRIGHTNESS).map(|(lacking, share)| lacking * share).sum();
            for (c, lacking) in lacking.into_iter().enumerate() {
                band.data[c * count + at] += strength as f32 * (lacking - brighter);
            }
        }
        target.write(0, top, &band)?;
    }
    Ok(())
}
