//! A file's pixels, by the codecs of `image`.

use std::io::{self, BufRead, Read, Seek, SeekFrom};

use clarifier_tile::Size;
use image::{ColorType, ImageDecoder, ImageError, ImageFormat, ImageReader, Limits};

use super::DecodeError;
use crate::store::zeros;
use crate::{Channels, Depth, Format, Metadata};

/// A white page of 1 bit a pixel, deflated, grows by 1032 · 8, with a palette of colours three times
/// as much. Nothing honest grows more.
const PLAUSIBLE_RATIO: u64 = 30_000;
/// Pixels up to this many bytes are always decoded: a blank lossless WebP has no size at all.
const ALWAYS_PLAUSIBLE: u64 = 1 << 30;

/// A whole picture as it lies in its file.
pub(super) struct Pixels {
    pub size: Size,
    pub channels: Channels,
    pub depth: Depth,
    /// Interleaved, in native byte order.
    pub bytes: Vec<u8>,
    /// What was lost, in sentences.
    pub warnings: Vec<String>,
}

impl Pixels {
    /// From values for 0 to 1, of which it says that they lost something.
    pub fn from_floats(size: Size, channels: Channels, values: impl Iterator<Item = f32>) -> Self {
        let level = |value: f32| (value.clamp(0.0, 1.0) * 65535.0).round() as u16;
        let bytes = values.flat_map(|value| level(value).to_ne_bytes()).collect();
        let warning = "its 32-bit values were cut off at 0 and 1 and reduced to 16 bits".to_owned();
        Self { size, channels, depth: Depth::Sixteen, bytes, warnings: vec![warning] }
    }
}

/// What is known of the file before it is decoded.
pub(super) struct Input<'a> {
    pub name: &'a str,
    pub format: Format,
    /// Its length.
    pub bytes: u64,
}

impl<'a> Input<'a> {
    /// By the file's first bytes. The reader is at its beginning then.
    pub fn recognise(reader: &mut (impl Read + Seek), name: &'a str) -> Result<Self, DecodeError> {
        let unread = |source| DecodeError::Open { name: name.to_owned(), source };
        let bytes = reader.seek(SeekFrom::End(0)).map_err(unread)?;
        if bytes == 0 {
            return Err(DecodeError::Empty(name.to_owned()));
        }
        reader.rewind().map_err(unread)?;
        let mut magic = Vec::new();
        reader.by_ref().take(16).read_to_end(&mut magic).map_err(unread)?;
        reader.rewind().map_err(unread)?;
        let format = match image::guess_format(&magic) {
            Ok(ImageFormat::Png) => Format::Png,
            Ok(ImageFormat::Jpeg) => Format::Jpeg,
            Ok(ImageFormat::WebP) => Format::WebP,
            Ok(ImageFormat::Tiff) => Format::Tiff,
            // BigTIFF, which `image` reads and does not recognise.
            _ if magic.starts_with(b"II\x2B\0") || magic.starts_with(b"MM\0\x2B") => Format::Tiff,
            _ => return Err(DecodeError::UnknownFormat(name.to_owned())),
        };
        Ok(Self { name, format, bytes })
    }

    pub fn unread(&self, source: io::Error) -> DecodeError {
        DecodeError::Open { name: self.name.to_owned(), source }
    }

    pub fn damaged(&self, reason: &str) -> DecodeError {
        DecodeError::Damaged { name: self.name.to_owned(), reason: reason.to_owned() }
    }

    pub fn unsupported(&self, reason: &str) -> DecodeError {
        let (name, format) = (self.name.to_owned(), self.format.name());
        DecodeError::Unsupported { name, format, reason: reason.to_owned() }
    }

    fn failed(&self, error: ImageError) -> DecodeError {
        match error {
            ImageError::Unsupported(error) => self.unsupported(&error.to_string()),
            other => self.damaged(&other.to_string()),
        }
    }

    /// Whether a file of this length can have pixels of `total` bytes.
    pub fn check(&self, size: Size, total: u64) -> Result<(), DecodeError> {
        if size.area() == 0 || (total > ALWAYS_PLAUSIBLE && total / PLAUSIBLE_RATIO > self.bytes) {
            return Err(DecodeError::Implausible { name: self.name.to_owned(), size, bytes: self.bytes });
        }
        Ok(())
    }
}

/// The decoder, and what it may take beside the pixels.
fn decoder<'r>(
    mut reader: impl BufRead + Seek + 'r,
    input: &Input,
) -> Result<(impl ImageDecoder + 'r, Limits), DecodeError> {
    reader.rewind().map_err(|error| input.unread(error))?;
    let mut reader = ImageReader::with_format(reader, input.format.codec());
    let mut limits = Limits::no_limits();
    limits.max_alloc = Some(ALWAYS_PLAUSIBLE);
    reader.limits(limits.clone());
    Ok((reader.into_decoder().map_err(|error| input.failed(error))?, limits))
}

/// The size as it is stored, and EXIF.
pub(super) fn header_by_codec(
    reader: impl BufRead + Seek,
    input: &Input,
) -> Result<(Size, Option<Vec<u8>>), DecodeError> {
    let (mut decoder, _) = decoder(reader, input)?;
    Ok((Size::from(decoder.dimensions()), decoder.exif_metadata().ok().flatten()))
}

/// The pixels, and the metadata as they are in the file.
pub(super) fn by_codec(
    reader: impl BufRead + Seek,
    input: &Input,
) -> Result<(Pixels, Metadata), DecodeError> {
    let (mut decoder, mut limits) = decoder(reader, input)?;
    let failed = |error| input.failed(error);
    let (size, total) = (Size::from(decoder.dimensions()), decoder.total_bytes());
    input.check(size, total)?;
    limits.max_alloc = Some(total.saturating_mul(2).saturating_add(ALWAYS_PLAUSIBLE));
    decoder.set_limits(limits).map_err(failed)?;
    let iptc = match input.format {
        Format::Jpeg => decoder.iptc_metadata().ok().flatten(),
        _ => None,
    };
    let metadata = Metadata {
        icc: decoder.icc_profile().ok().flatten(),
        exif: decoder.exif_metadata().ok().flatten(),
        xmp: decoder.xmp_metadata().ok().flatten(),
        iptc: iptc.as_deref().and_then(crate::iptc::from_resources),
        recipe: None,
    };
    let colour = decoder.color_type();
    let no_memory =
        |error: io::Error| DecodeError::Store { name: input.name.to_owned(), source: error.into() };
    let mut bytes = zeros(total).map_err(no_memory)?;
    decoder.read_image(&mut bytes).map_err(failed)?;
    let (channels, depth) = match colour {
        ColorType::L8 => (Channels::Grey, Depth::Eight),
        ColorType::La8 => (Channels::GreyAlpha, Depth::Eight),
        ColorType::Rgb8 => (Channels::Rgb, Depth::Eight),
        ColorType::Rgba8 => (Channels::Rgba, Depth::Eight),
        ColorType::L16 => (Channels::Grey, Depth::Sixteen),
        ColorType::La16 => (Channels::GreyAlpha, Depth::Sixteen),
        ColorType::Rgb16 => (Channels::Rgb, Depth::Sixteen),
        ColorType::Rgba16 => (Channels::Rgba, Depth::Sixteen),
        float => {
            let channels = if float.has_alpha() { Channels::Rgba } else { Channels::Rgb };
            let values = bytes.chunks_exact(4).map(|b| f32::from_ne_bytes([b[0], b[1], b[2], b[3]]));
            return Ok((Pixels::from_floats(size, channels, values), metadata));
        }
    };
    Ok((Pixels { size, channels, depth, bytes, warnings: Vec::new() }, metadata))
}
