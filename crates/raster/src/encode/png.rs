//! PNG, row by row.

use std::borrow::Cow;
use std::io::Write;

use png::{BitDepth, ColorType, Encoder, EncodingError, Info};

use super::{Blocks, EncodeError, for_each_band};
use crate::{Channels, Depth, Raster};

pub(super) fn write(
    raster: &Raster,
    writer: impl Write,
    metadata: &Blocks,
    depth: Depth,
) -> Result<(), EncodeError> {
    let codec = |error: EncodingError| match error {
        EncodingError::IoError(error) => EncodeError::Write(error),
        other => EncodeError::Codec(other.to_string()),
    };
    let size = raster.size();
    let mut info = Info::with_size(size.width, size.height);
    info.color_type = match raster.channels() {
        Channels::Grey => ColorType::Grayscale,
        Channels::GreyAlpha => ColorType::GrayscaleAlpha,
        Channels::Rgb => ColorType::Rgb,
        Channels::Rgba => ColorType::Rgba,
    };
    info.bit_depth = match depth {
        Depth::Eight => BitDepth::Eight,
        Depth::Sixteen => BitDepth::Sixteen,
    };
    info.icc_profile = metadata.icc.map(Cow::Borrowed);
    info.exif_metadata = metadata.exif.as_deref().map(Cow::Borrowed);
    let encoder = Encoder::with_info(writer, info).map_err(codec)?;
    let mut writer = encoder.write_header().map_err(codec)?;
    let mut rows = writer.stream_writer().map_err(codec)?;
    for_each_band(raster, depth, |mut bytes| {
        if depth == Depth::Sixteen && cfg!(target_endian = "little") {
            bytes.chunks_exact_mut(2).for_each(|pair| pair.swap(0, 1));
        }
        Ok(rows.write_all(&bytes)?)
    })?;
    rows.finish().map_err(codec)?;
    writer.finish().map_err(codec)
}
