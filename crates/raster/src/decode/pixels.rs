//! What is known of a file before its pixels, and the pixels of the formats that are decoded in one piece,
//! by the codecs of `image`.

use std::io::{self, BufRead, Read, Seek, SeekFrom};

use clarifier_tile::Size;
use image::{ColorType, ImageDecoder, ImageError, ImageFormat, ImageReader, Limits};

use super::DecodeError;
use super::upright::{Layout, Place};
use crate::store::zeros;
use crate::{Channels, Depth, Format, Metadata, Raster, RasterError, memory};

/// A white page of 1 bit a pixel, deflated, grows by 1032 · 8, with a palette of colours three times
/// as much. Nothing honest grows more.
const PLAUSIBLE_RATIO: u64 = 30_000;
/// Pixels up to this many bytes are always decoded: a blank lossless WebP has no size at all.
const ALWAYS_PLAUSIBLE: u64 = 1 << 30;

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

    pub fn unstored(&self, source: RasterError) -> DecodeError {
        DecodeError::Store { name: self.name.to_owned(), source }
    }

    pub fn failed(&self, error: ImageError) -> DecodeError {
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

    /// Whether there is memory for what cannot be done in parts. `what` it is, for the user.
    pub fn check_memory(&self, what: &'static str, needed: u64) -> Result<(), DecodeError> {
        match memory::available() {
            Some(available) if needed > ALWAYS_PLAUSIBLE && needed > available => {
                Err(DecodeError::Memory { name: self.name.to_owned(), what, needed, available })
            }
            _ => Ok(()),
        }
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

/// A file that `image` decodes: what its head says.
pub(super) struct Codec<'r> {
    decoder: Box<dyn ImageDecoder + 'r>,
    limits: Limits,
    pub size: Size,
    pub colour: ColorType,
    /// As they are in the file.
    pub metadata: Metadata,
}

impl<'r> Codec<'r> {
    pub fn open(reader: impl BufRead + Seek + 'r, input: &Input) -> Result<Self, DecodeError> {
        let (mut decoder, limits) = decoder(reader, input)?;
        let (size, total) = (Size::from(decoder.dimensions()), decoder.total_bytes());
        input.check(size, total)?;
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
        Ok(Self { decoder: Box::new(decoder), limits, size, colour, metadata })
    }

    /// How the pixels are stored; none of floats.
    pub fn layout(&self) -> Option<Layout> {
        let (channels, depth) = match self.colour {
            ColorType::L8 => (Channels::Grey, Depth::Eight),
            ColorType::La8 => (Channels::GreyAlpha, Depth::Eight),
            ColorType::Rgb8 => (Channels::Rgb, Depth::Eight),
            ColorType::Rgba8 => (Channels::Rgba, Depth::Eight),
            ColorType::L16 => (Channels::Grey, Depth::Sixteen),
            ColorType::La16 => (Channels::GreyAlpha, Depth::Sixteen),
            ColorType::Rgb16 => (Channels::Rgb, Depth::Sixteen),
            ColorType::Rgba16 => (Channels::Rgba, Depth::Sixteen),
            _ => return None,
        };
        Some(Layout { size: self.size, channels, depth })
    }

    /// The picture, decoded in one piece.
    pub fn whole(mut self, input: &Input, layout: Layout, place: Place) -> Result<Raster, DecodeError> {
        let failed = |error| input.failed(error);
        let total = layout.total();
        // The codecs of JPEG and WebP read the file into memory first.
        let what = match input.format {
            Format::Png => "an interlaced PNG",
            other => other.name(),
        };
        input.check_memory(what, total.saturating_add(input.bytes))?;
        self.limits.max_alloc = Some(total.saturating_mul(2).saturating_add(ALWAYS_PLAUSIBLE));
        self.decoder.set_limits(self.limits).map_err(failed)?;
        let mut bytes = zeros(total).map_err(|error| input.unstored(error.into()))?;
        self.decoder.read_image_boxed(&mut bytes).map_err(failed)?;
        place.whole(input, layout, bytes)
    }
}
