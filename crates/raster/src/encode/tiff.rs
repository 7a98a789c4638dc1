//! TIFF, strip by strip; BigTIFF where 4 GiB do not suffice. EXIF is not carried into a TIFF yet.

use std::borrow::Cow;
use std::io::{Seek, Write};

use tiff::TiffError;
use tiff::encoder::colortype::{ColorType, Gray8, Gray16, RGB8, RGB16};
use tiff::encoder::{Compression, TiffEncoder, TiffKind, TiffKindBig, TiffKindStandard, TiffValue};
use tiff::tags::{ExtraSamples, Tag, Type};

use super::{BAND, EncodeError, for_each_band, interleaved};
use crate::{Depth, Raster};

/// Bytes without a meaning of TIFF's own: what a colour profile is stored as.
struct Undefined<'a>(&'a [u8]);

impl TiffValue for Undefined<'_> {
    const BYTE_LEN: u8 = 1;
    const FIELD_TYPE: Type = Type::UNDEFINED;

    fn count(&self) -> usize {
        self.0.len()
    }

    fn data(&self) -> Cow<'_, [u8]> {
        Cow::Borrowed(self.0)
    }
}

pub(super) fn write(raster: &Raster, writer: impl Write + Seek, depth: Depth) -> Result<(), EncodeError> {
    let bytes = raster.size().area() * (raster.channels().count() * depth.bytes()) as u64;
    // Offsets are 32 bits in a plain TIFF; a little is kept for the tags.
    if bytes > u64::from(u32::MAX) - (1 << 24) {
        write_kind::<_, TiffKindBig>(raster, TiffEncoder::new_big(writer).map_err(codec)?, depth)
    } else {
        write_kind::<_, TiffKindStandard>(raster, TiffEncoder::new(writer).map_err(codec)?, depth)
    }
}

fn write_kind<W: Write + Seek, K: TiffKind>(
    raster: &Raster,
    encoder: TiffEncoder<W, K>,
    depth: Depth,
) -> Result<(), EncodeError> {
    // Strip by strip, `tiff` writes what it is given: it only compresses a whole picture at once.
    let encoder = encoder.with_compression(Compression::Uncompressed);
    match (raster.channels().is_grey(), depth) {
        (true, Depth::Eight) => write_strips::<_, _, Gray8>(raster, encoder, depth, |bytes| bytes),
        (true, Depth::Sixteen) => write_strips::<_, _, Gray16>(raster, encoder, depth, sixteen),
        (false, Depth::Eight) => write_strips::<_, _, RGB8>(raster, encoder, depth, |bytes| bytes),
        (false, Depth::Sixteen) => write_strips::<_, _, RGB16>(raster, encoder, depth, sixteen),
    }
}

fn sixteen(bytes: Vec<u8>) -> Vec<u16> {
    bytes.chunks_exact(2).map(|pair| u16::from_ne_bytes([pair[0], pair[1]])).collect()
}

fn write_strips<W: Write + Seek, K: TiffKind, C: ColorType>(
    raster: &Raster,
    mut encoder: TiffEncoder<W, K>,
    depth: Depth,
    values: impl Fn(Vec<u8>) -> Vec<C::Inner>,
) -> Result<(), EncodeError>
where
    [C::Inner]: TiffValue,
{
    let size = raster.size();
    let mut image = encoder.new_image::<C>(size.width, size.height).map_err(codec)?;
    image.rows_per_strip(BAND).map_err(codec)?;
    if raster.channels().has_alpha() {
        image.extra_samples(&[ExtraSamples::UnassociatedAlpha]).map_err(codec)?;
    }
    if let Some(icc) = &raster.metadata.icc {
        image.encoder().write_tag(Tag::IccProfile, Undefined(icc)).map_err(codec)?;
    }
    for_each_band(raster, |_, planes| {
        image.write_strip(&values(interleaved(&planes, depth))).map_err(codec)
    })?;
    image.finish().map_err(codec)
}

fn codec(error: TiffError) -> EncodeError {
    match error {
        TiffError::IoError(error) => EncodeError::Write(error),
        other => EncodeError::Codec(other.to_string()),
    }
}
