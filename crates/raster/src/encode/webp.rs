//! WebP without loss, 8 bits. Its encoder takes a whole picture; the format's limits keep that under
//! 1 GiB.

use std::io::Write;

use image::codecs::webp::WebPEncoder;
use image::{ExtendedColorType, ImageEncoder};

use super::{Blocks, EncodeError};
use crate::{Channels, Depth, Raster};

pub(super) fn write(raster: &Raster, writer: impl Write, metadata: Blocks) -> Result<(), EncodeError> {
    let mut encoder = WebPEncoder::new_lossless(writer);
    let codec = |error: image::error::UnsupportedError| EncodeError::Codec(error.to_string());
    if let Some(icc) = metadata.icc {
        encoder.set_icc_profile(icc.to_vec()).map_err(codec)?;
    }
    if let Some(exif) = metadata.exif {
        encoder.set_exif_metadata(exif).map_err(codec)?;
    }
    let colour = match raster.channels() {
        Channels::Grey => ExtendedColorType::L8,
        Channels::GreyAlpha => ExtendedColorType::La8,
        Channels::Rgb => ExtendedColorType::Rgb8,
        Channels::Rgba => ExtendedColorType::Rgba8,
    };
    let size = raster.size();
    let bytes = raster.read_rows(0, size.height, Depth::Eight)?;
    Ok(encoder.write_image(&bytes, size.width, size.height, colour)?)
}
