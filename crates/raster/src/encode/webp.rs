//! WebP without loss, 8 bits: no encoder with loss in Rust is grown up yet. This one takes a whole
//! picture; the format's limits keep that under 1 GiB.

use std::io::Write;

use image_webp::{ColorType, EncodingError, WebPEncoder};

use super::{Blocks, EncodeError};
use crate::{Channels, Depth, Raster};

pub(super) fn write(raster: &Raster, writer: impl Write, metadata: Blocks) -> Result<(), EncodeError> {
    let mut encoder = WebPEncoder::new(writer);
    if let Some(icc) = metadata.icc {
        encoder.set_icc_profile(icc.to_vec());
    }
    if let Some(exif) = metadata.exif {
        encoder.set_exif_metadata(exif);
    }
    if let Some(xmp) = metadata.xmp {
        encoder.set_xmp_metadata(xmp);
    }
    let colour = match raster.channels() {
        Channels::Grey => ColorType::L8,
        Channels::GreyAlpha => ColorType::La8,
        Channels::Rgb => ColorType::Rgb8,
        Channels::Rgba => ColorType::Rgba8,
    };
    let size = raster.size();
    let bytes = raster.read_rows(0, size.height, Depth::Eight)?;
    encoder.encode(&bytes, size.width, size.height, colour).map_err(|error| match error {
        EncodingError::IoError(error) => EncodeError::Write(error),
        other => EncodeError::Codec(other.to_string()),
    })
}
