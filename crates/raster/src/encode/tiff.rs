//! TIFF, strip by strip, deflated; BigTIFF where 4 GiB may not suffice. EXIF hangs in directories of its
//! own.
//!
//! `tiff` only compresses a picture that is given whole, so its directories are used and the strips are
//! made here.

use std::borrow::Cow;
use std::io::{Cursor, Seek, Write};

use flate2::Compression;
use flate2::write::ZlibEncoder;
use tiff::encoder::{
    DirectoryEncoder, Rational, TiffEncoder, TiffKind, TiffKindBig, TiffKindStandard, TiffValue,
};
use tiff::tags::{
    CompressionMethod, ExtraSamples, PhotometricInterpretation, Predictor, ResolutionUnit, SampleFormat, Tag,
    Type,
};
use tiff::{Directory, TiffError};

use super::{BAND, Blocks, EncodeError, in_parallel};
use crate::exif::{EXIF_IFD, Exif, Field, GPS_IFD, IPTC, XMP};
use crate::{Depth, Raster};

/// Noise-like 16-bit values hardly shrink further at higher levels, which take several times as long.
const LEVEL: Compression = Compression::new(4);

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
    // Offsets are 32 bits in a plain TIFF. What does not deflate grows by a few bytes; these and the tags
    // have a little room.
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
    mut encoder: TiffEncoder<W, K>,
    metadata: &Blocks,
    depth: Depth,
) -> Result<(), EncodeError> {
    let exif = metadata.exif.as_deref().and_then(|block| Exif::read(Cursor::new(block))).unwrap_or_default();
    let mut below = Vec::new();
    for (pointer, fields) in [(EXIF_IFD, &exif.camera), (GPS_IFD, &exif.place)] {
        if !fields.is_empty() {
            let mut directory = encoder.extra_directory().map_err(codec)?;
            write_fields(&mut directory, fields)?;
            below.push((pointer, directory.finish_with_offsets().map_err(codec)?.offset));
        }
    }
    let mut image = encoder.image_directory().map_err(codec)?;
    write_fields(&mut image, &exif.about)?;
    for (pointer, offset) in below {
        image.write_tag(Tag::from_u16_exhaustive(pointer), offset).map_err(codec)?;
    }
    if let Some(icc) = metadata.icc {
        image.write_tag(Tag::IccProfile, Undefined(icc)).map_err(codec)?;
    }
    if let Some(xmp) = &metadata.xmp {
        image.write_tag(Tag::from_u16_exhaustive(XMP), xmp.as_slice()).map_err(codec)?;
    }
    if let Some(iptc) = metadata.iptc {
        image.write_tag(Tag::from_u16_exhaustive(IPTC), Undefined(iptc)).map_err(codec)?;
    }
    write_layout(raster, &mut image, depth)?;
    let (mut offsets, mut lengths) = (Vec::new(), Vec::new());
    let height = raster.size().height;
    let strip = |y: u32| Ok::<_, EncodeError>(raster.read_rows(y, BAND.min(height - y), depth)?);
    let (width, samples) = (raster.size().width as usize, raster.channels().count());
    let deflated = |mut bytes: Vec<u8>| {
        predict(&mut bytes, width, samples, depth);
        let mut deflate = ZlibEncoder::new(Vec::new(), LEVEL);
        deflate.write_all(&bytes)?;
        Ok(deflate.finish()?)
    };
    in_parallel((0..height).step_by(BAND as usize), strip, deflated, |strip: Vec<u8>| {
        let offset = image.write_data(strip.as_slice()).map_err(codec)?;
        offsets.push(K::convert_offset(offset).map_err(codec)?);
        lengths.push(K::convert_offset(strip.len() as u64).map_err(codec)?);
        Ok(())
    })?;
    image.write_tag(Tag::StripOffsets, K::convert_slice(&offsets)).map_err(codec)?;
    image.write_tag(Tag::StripByteCounts, K::convert_slice(&lengths)).map_err(codec)?;
    image.finish().map_err(codec)
}

/// What the picture is and how it is stored (TIFF 6.0, "RGB Full Color Images").
fn write_layout<W: Write + Seek, K: TiffKind>(
    raster: &Raster,
    image: &mut DirectoryEncoder<W, K>,
    depth: Depth,
) -> Result<(), EncodeError> {
    let (size, samples) = (raster.size(), raster.channels().count());
    let grey = raster.channels().is_grey();
    let kind = if grey { PhotometricInterpretation::BlackIsZero } else { PhotometricInterpretation::RGB };
    let numbers = [
        (Tag::ImageWidth, size.width),
        (Tag::ImageLength, size.height),
        (Tag::RowsPerStrip, BAND.min(size.height)),
    ];
    for (tag, value) in numbers {
        image.write_tag(tag, value).map_err(codec)?;
    }
    let shorts = [
        (Tag::Compression, CompressionMethod::Deflate.to_u16()),
        (Tag::Predictor, Predictor::Horizontal.to_u16()),
        (Tag::PhotometricInterpretation, kind.to_u16()),
        (Tag::SamplesPerPixel, samples as u16),
        (Tag::PlanarConfiguration, 1),
        (Tag::ResolutionUnit, ResolutionUnit::None.to_u16()),
    ];
    for (tag, value) in shorts {
        image.write_tag(tag, value).map_err(codec)?;
    }
    for tag in [Tag::XResolution, Tag::YResolution] {
        image.write_tag(tag, Rational { n: 1, d: 1 }).map_err(codec)?;
    }
    let each = |value: u16| vec![value; samples];
    let bits = each(8 * depth.bytes() as u16);
    image.write_tag(Tag::BitsPerSample, bits.as_slice()).map_err(codec)?;
    let unsigned = each(SampleFormat::Uint.to_u16());
    image.write_tag(Tag::SampleFormat, unsigned.as_slice()).map_err(codec)?;
    if raster.channels().has_alpha() {
        let alpha = ExtraSamples::UnassociatedAlpha.to_u16();
        image.write_tag(Tag::ExtraSamples, [alpha].as_slice()).map_err(codec)?;
    }
    Ok(())
}

/// Every value less the one to its left (TIFF 6.0, "Differencing Predictor"), which deflates far better.
fn predict(bytes: &mut [u8], width: usize, samples: usize, depth: Depth) {
    for row in bytes.chunks_exact_mut(width * samples * depth.bytes()) {
        match depth {
            Depth::Eight => {
                for at in (samples..row.len()).rev() {
                    row[at] = row[at].wrapping_sub(row[at - samples]);
                }
            }
            Depth::Sixteen => {
                let value = |row: &[u8], at: usize| u16::from_ne_bytes([row[2 * at], row[2 * at + 1]]);
                for at in (samples..row.len() / 2).rev() {
                    let difference = value(row, at).wrapping_sub(value(row, at - samples));
                    row[2 * at..][..2].copy_from_slice(&difference.to_ne_bytes());
                }
            }
        }
    }
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
