//! TIFF, strip by strip; BigTIFF where 4 GiB do not suffice. EXIF hangs in directories of its own.

use std::borrow::Cow;
use std::io::{Cursor, Seek, Write};

use tiff::encoder::colortype::{ColorType, Gray8, Gray16, RGB8, RGB16};
use tiff::encoder::{
    Compression, DirectoryEncoder, TiffEncoder, TiffKind, TiffKindBig, TiffKindStandard, TiffValue,
};
use tiff::tags::{ExtraSamples, Tag, Type};
use tiff::{Directory, TiffError};

use super::{BAND, Blocks, EncodeError, for_each_band};
use crate::exif::{EXIF_IFD, Exif, Field, GPS_IFD};
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

pub(super) fn write(
    raster: &Raster,
    writer: impl Write + Seek,
    metadata: &Blocks,
    depth: Depth,
) -> Result<(), EncodeError> {
    let bytes = raster.size().area() * (raster.channels().count() * depth.bytes()) as u64;
    // Offsets are 32 bits in a plain TIFF; a little is kept for the tags.
    if bytes > u64::from(u32::MAX) - (1 << 24) {
        write_big(raster, writer, metadata, depth)
    } else {
        write_kind::<_, TiffKindStandard>(raster, TiffEncoder::new(writer).map_err(codec)?, metadata, depth)
    }
}

pub(super) fn write_big(
    raster: &Raster,
    writer: impl Write + Seek,
    metadata: &Blocks,
    depth: Depth,
) -> Result<(), EncodeError> {
    write_kind::<_, TiffKindBig>(raster, TiffEncoder::new_big(writer).map_err(codec)?, metadata, depth)
}

fn write_kind<W: Write + Seek, K: TiffKind>(
    raster: &Raster,
    encoder: TiffEncoder<W, K>,
    metadata: &Blocks,
    depth: Depth,
) -> Result<(), EncodeError> {
    // Strip by strip, `tiff` writes what it is given: it only compresses a whole picture at once.
    let encoder = encoder.with_compression(Compression::Uncompressed);
    match (raster.channels().is_grey(), depth) {
        (true, Depth::Eight) => write_strips::<_, _, Gray8>(raster, encoder, metadata, depth, |bytes| bytes),
        (true, Depth::Sixteen) => write_strips::<_, _, Gray16>(raster, encoder, metadata, depth, sixteen),
        (false, Depth::Eight) => write_strips::<_, _, RGB8>(raster, encoder, metadata, depth, |bytes| bytes),
        (false, Depth::Sixteen) => write_strips::<_, _, RGB16>(raster, encoder, metadata, depth, sixteen),
    }
}

fn sixteen(bytes: Vec<u8>) -> Vec<u16> {
    bytes.chunks_exact(2).map(|pair| u16::from_ne_bytes([pair[0], pair[1]])).collect()
}

fn write_strips<W: Write + Seek, K: TiffKind, C: ColorType>(
    raster: &Raster,
    mut encoder: TiffEncoder<W, K>,
    metadata: &Blocks,
    depth: Depth,
    values: impl Fn(Vec<u8>) -> Vec<C::Inner>,
) -> Result<(), EncodeError>
where
    [C::Inner]: TiffValue,
{
    let size = raster.size();
    let exif = metadata.exif.as_deref().and_then(|block| Exif::read(Cursor::new(block))).unwrap_or_default();
    let mut below = Vec::new();
    for (pointer, fields) in [(EXIF_IFD, &exif.camera), (GPS_IFD, &exif.place)] {
        if !fields.is_empty() {
            let mut directory = encoder.extra_directory().map_err(codec)?;
            write_fields(&mut directory, fields)?;
            below.push((pointer, directory.finish_with_offsets().map_err(codec)?.offset));
        }
    }
    let mut image = encoder.new_image::<C>(size.width, size.height).map_err(codec)?;
    image.rows_per_strip(BAND).map_err(codec)?;
    if raster.channels().has_alpha() {
        image.extra_samples(&[ExtraSamples::UnassociatedAlpha]).map_err(codec)?;
    }
    write_fields(image.encoder(), &exif.about)?;
    for (pointer, offset) in below {
        image.encoder().write_tag(Tag::from_u16_exhaustive(pointer), offset).map_err(codec)?;
    }
    if let Some(icc) = metadata.icc {
        image.encoder().write_tag(Tag::IccProfile, Undefined(icc)).map_err(codec)?;
    }
    for_each_band(raster, depth, |bytes| image.write_strip(&values(bytes)).map_err(codec))?;
    image.finish().map_err(codec)
}

/// Tags as they are, in native byte order, which is the encoder's.
fn write_fields<W: Write + Seek, K: TiffKind>(
    encoder: &mut DirectoryEncoder<W, K>,
    fields: &[Field],
) -> Result<(), EncodeError> {
    let mut directory = Directory::empty();
    for field in fields {
        if let Some(kind) = Type::from_u16(field.kind) {
            let entry = encoder.write_entry_bytes(kind, &field.bytes).map_err(codec)?;
            directory.extend([(Tag::from_u16_exhaustive(field.tag), entry)]);
        }
    }
    encoder.extend_from(&directory);
    Ok(())
}

fn codec(error: TiffError) -> EncodeError {
    match error {
        TiffError::IoError(error) => EncodeError::Write(error),
        other => EncodeError::Codec(other.to_string()),
    }
}
