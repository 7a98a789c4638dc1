//! TIFF, strip by strip or tile by tile, chunky or in planes; also kinds that `image` refuses, grey with opacity and
//! grey in f32.

use std::io::{BufRead, Seek};

use clarifier_tile::{Rect, Size};
use image::error::{DecodingError, ImageError, LimitError, LimitErrorKind};
use image::{ColorType as Known, ImageFormat};
use tiff::decoder::{Decoder, DecodingResult, Limits};
use tiff::tags::Tag;
use tiff::{ColorType, TiffError};

use super::DecodeError;
use super::pixels::{Codec, Input};
use super::strip::{LARGE, Strips};
use super::upright::{Layout, Place};
use crate::{Channels, Depth, Raster};

/// The size as it is stored, of any kind.
pub(super) fn size(mut reader: impl BufRead + Seek, input: &Input) -> Result<Size, DecodeError> {
    reader.rewind().map_err(|error| input.unread(error))?;
    let dimensions = Decoder::new(reader).and_then(|mut decoder| decoder.dimensions());
    dimensions.map(Size::from).map_err(|error| input.damaged(&error.to_string()))
}

/// What the stored values are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Values {
    /// What the picture's are.
    Levels,
    /// A bit for each pixel.
    Bits,
    /// Cyan, magenta, yellow and black.
    Inks,
    /// 0 to 1 in f32.
    Floats,
}

/// The picture. Of what `image` reads, the values are what it makes of them. What is lost is added to `warnings`.
pub(super) fn read<R: BufRead + Seek>(
    reader: &mut R,
    input: &Input,
    place: Place,
    premultiplied: bool,
    warnings: &mut Vec<String>,
) -> Result<Raster, DecodeError> {
    read_in(reader, input, place, premultiplied, warnings, LARGE)
}

/// Strips of more than `large` bytes are read row by row where that is possible.
pub(super) fn read_in<R: BufRead + Seek>(
    reader: &mut R,
    input: &Input,
    place: Place,
    premultiplied: bool,
    warnings: &mut Vec<String>,
    large: u64,
) -> Result<Raster, DecodeError> {
    let (layout, values) = match rare(reader, input)? {
        Some(rare) => rare,
        None => usual(reader, input)?,
    };
    if values == Values::Floats {
        warnings.push("its 32-bit values were cut off at 0 and 1 and reduced to 16 bits".to_owned());
    }
    input.check(layout.size, layout.total())?;
    let divide = premultiplied && layout.channels.has_alpha();
    let finished = |mut bytes: Vec<u8>| {
        if divide {
            divide_by_opacity(&mut bytes, layout);
        }
        bytes
    };
    let failed = |error| input.failed(as_image_has_it(error));
    reader.rewind().map_err(|error| input.unread(error))?;
    let mut decoder = Decoder::new(reader).map_err(failed)?.with_limits(Limits::unlimited());
    let planes = decoder.image_buffer_layout().map_err(failed)?.planes;
    let Size { width, height } = layout.size;
    let (across, down) = decoder.chunk_dimensions();
    let (across, down) = (across.min(width), down.min(height));
    let mut room = place.room(input, layout)?;
    let chunk = u64::from(across) * u64::from(down) * layout.pixel_bytes() as u64;
    if chunk > large {
        let strips = (values == Values::Levels).then(|| Strips::of(&mut decoder, layout, planes)).flatten();
        if let Some(strips) = strips {
            strips.read(
                decoder.inner(),
                |error| input.failed(ImageError::IoError(error)),
                |band, bytes| room.put(band, finished(bytes)).map_err(|source| input.unstored(source)),
            )?;
            return Ok(room.raster);
        }
        // The strip as it is stored and as it is wanted.
        input.check_memory("a TIFF of one large strip", chunk.saturating_mul(2))?;
    }
    let tops = (0..height).step_by(down as usize);
    let places = tops.flat_map(|y| (0..width).step_by(across as usize).map(move |x| (x, y)));
    let count = width.div_ceil(across) * height.div_ceil(down);
    for (index, (x, y)) in (0..count).zip(places) {
        let rect = Rect::new(x, y, Size::new(across.min(width - x), down.min(height - y)));
        let mut stored = Vec::new();
        for plane in 0..planes as u32 {
            stored.push(decoder.read_chunk(plane * count + index).map_err(failed)?);
        }
        let bytes = converted(stored, values, rect.size).ok_or_else(|| input.unsupported(UNUSUAL))?;
        if bytes.len() as u64 != rect.size.area() * layout.pixel_bytes() as u64 {
            return Err(input.damaged("a part of it has another length than its header says"));
        }
        room.put(rect, finished(bytes)).map_err(|source| input.unstored(source))?;
    }
    Ok(room.raster)
}

const UNUSUAL: &str = "its values are of an unusual kind";

/// How a TIFF of a kind that `image` refuses is stored; none of another.
fn rare(reader: &mut (impl BufRead + Seek), input: &Input) -> Result<Option<(Layout, Values)>, DecodeError> {
    reader.rewind().map_err(|error| input.unread(error))?;
    // What is wrong with a file's header, `image` will say.
    let Ok(mut decoder) = Decoder::new(reader) else {
        return Ok(None);
    };
    let (Ok(colour), Ok(dimensions)) = (decoder.colortype(), decoder.dimensions()) else {
        return Ok(None);
    };
    let size = Size::from(dimensions);
    let unsigned = decoder.find_tag_unsigned_vec::<u16>(Tag::SampleFormat);
    let unsigned = !matches!(unsigned, Ok(Some(kinds)) if kinds.iter().any(|kind| *kind != 1));
    let grey = decoder.get_tag_u32(Tag::PhotometricInterpretation).is_ok_and(|kind| kind == 1);
    let (channels, depth, values) = match colour {
        ColorType::Multiband { bit_depth: bits @ (8 | 16), num_samples: 2 } if grey => {
            if !unsigned {
                return Err(input.unsupported(UNUSUAL));
            }
            let depth = if bits == 8 { Depth::Eight } else { Depth::Sixteen };
            (Channels::GreyAlpha, depth, Values::Levels)
        }
        ColorType::Gray(32) if unsigned => return Err(input.unsupported(UNUSUAL)),
        ColorType::Gray(32) => (Channels::Grey, Depth::Sixteen, Values::Floats),
        _ => return Ok(None),
    };
    Ok(Some((Layout { size, channels, depth }, values)))
}

/// How a TIFF is stored that `image` reads, or why it does not.
fn usual<R: BufRead + Seek>(reader: &mut R, input: &Input) -> Result<(Layout, Values), DecodeError> {
    let codec = Codec::open(&mut *reader, input)?;
    let floats = |channels| Layout { size: codec.size, channels, depth: Depth::Sixteen };
    let Some(layout) = codec.layout() else {
        return match codec.colour {
            Known::Rgb32F => Ok((floats(Channels::Rgb), Values::Floats)),
            Known::Rgba32F => Ok((floats(Channels::Rgba), Values::Floats)),
            _ => Err(input.unsupported(UNUSUAL)),
        };
    };
    drop(codec);
    reader.rewind().map_err(|error| input.unread(error))?;
    let stored = Decoder::new(reader).and_then(|mut decoder| decoder.colortype());
    let values = match stored.map_err(|error| input.failed(as_image_has_it(error)))? {
        ColorType::CMYK(_) => Values::Inks,
        ColorType::Gray(1) => Values::Bits,
        _ => Values::Levels,
    };
    Ok((layout, values))
}

/// A strip or tile of `size`, one part for each plane, as the picture's values, interleaved; none if it holds values of an
/// unusual kind.
fn converted(planes: Vec<DecodingResult>, values: Values, size: Size) -> Option<Vec<u8>> {
    match values {
        Values::Bits => match planes.into_iter().next()? {
            DecodingResult::U8(bytes) => Some(expanded(&bytes, size.width as usize)),
            _ => None,
        },
        Values::Floats => {
            let level = |value: &f32| ((value.clamp(0.0, 1.0) * 65535.0).round() as u16).to_ne_bytes();
            let part = |plane| match plane {
                DecodingResult::F32(values) => Some(values.iter().flat_map(level).collect()),
                _ => None,
            };
            interleaved::<2>(planes.into_iter().map(part).collect::<Option<_>>()?)
        }
        Values::Levels | Values::Inks => {
            let eight = matches!(planes.first()?, DecodingResult::U8(_));
            let part = |plane| match plane {
                DecodingResult::U8(bytes) if eight => Some(bytes),
                DecodingResult::U16(values) if !eight => {
                    Some(values.into_iter().flat_map(u16::to_ne_bytes).collect())
                }
                _ => None,
            };
            let parts = planes.into_iter().map(part).collect::<Option<_>>()?;
            let bytes = if eight { interleaved::<1>(parts)? } else { interleaved::<2>(parts)? };
            Some(match values {
                Values::Inks if eight => bytes.as_chunks().0.iter().flat_map(without_black).collect(),
                Values::Inks => bytes.as_chunks().0.iter().flat_map(without_black_16).collect(),
                _ => bytes,
            })
        }
    }
}

/// Planes of values of `N` bytes as one.
pub(super) fn interleaved<const N: usize>(mut planes: Vec<Vec<u8>>) -> Option<Vec<u8>> {
    if planes.len() == 1 {
        return planes.pop();
    }
    let (count, length) = (planes.len(), planes.first()?.len());
    let mut bytes = vec![0; count * length];
    for (index, plane) in planes.iter().enumerate() {
        let into = bytes.as_chunks_mut::<N>().0.iter_mut().skip(index).step_by(count);
        into.zip(plane.as_chunks::<N>().0).for_each(|(into, value)| *into = *value);
    }
    planes.iter().all(|plane| plane.len() == length).then_some(bytes)
}

/// Black and white as levels; rows begin at whole bytes.
fn expanded(bytes: &[u8], width: usize) -> Vec<u8> {
    let rows = bytes.chunks_exact(width.div_ceil(8));
    rows.flat_map(|row| (0..width).map(|x| 255 * (row[x / 8] >> (7 - x % 8) & 1))).collect()
}

/// Red, green and blue of cyan, magenta, yellow and black, as `image` has them.
fn without_black([c, m, y, k]: &[u8; 4]) -> [u8; 3] {
    let light = 1.0 - f32::from(*k) / 255.0;
    [c, m, y].map(|ink| ((255.0 - f32::from(*ink)) * light) as u8)
}

fn without_black_16(bytes: &[u8; 8]) -> [u8; 6] {
    let level = |i: usize| f32::from(u16::from_ne_bytes([bytes[2 * i], bytes[2 * i + 1]]));
    let light = 1.0 - level(3) / 65535.0;
    let [r, g, b] = [0, 1, 2].map(|i| (((65535.0 - level(i)) * light) as u16).to_ne_bytes());
    [r[0], r[1], g[0], g[1], b[0], b[1]]
}

/// The error that `image` makes of one of `tiff`.
fn as_image_has_it(error: TiffError) -> ImageError {
    match error {
        TiffError::IoError(error) => ImageError::IoError(error),
        TiffError::LimitsExceeded => {
            ImageError::Limits(LimitError::from_kind(LimitErrorKind::InsufficientMemory))
        }
        TiffError::UnsupportedError(kind) => {
            use image::error::{UnsupportedError, UnsupportedErrorKind::GenericFeature};
            let kind = GenericFeature(kind.to_string());
            ImageError::Unsupported(UnsupportedError::from_format_and_kind(ImageFormat::Tiff.into(), kind))
        }
        other => ImageError::Decoding(DecodingError::new(ImageFormat::Tiff.into(), other)),
    }
}

/// Colours as they are without their opacity, which every other format has.
fn divide_by_opacity(bytes: &mut [u8], layout: Layout) {
    let channels = layout.channels.count();
    match layout.depth {
        Depth::Eight => {
            for pixel in bytes.chunks_exact_mut(channels) {
                let opacity = pixel[channels - 1];
                for value in &mut pixel[..channels - 1] {
                    *value = quotient((*value).into(), opacity.into(), 255) as u8;
                }
            }
        }
        Depth::Sixteen => {
            for pixel in bytes.chunks_exact_mut(2 * channels) {
                let level = |pixel: &[u8], at: usize| u16::from_ne_bytes([pixel[2 * at], pixel[2 * at + 1]]);
                let opacity = level(pixel, channels - 1);
                for at in 0..channels - 1 {
                    let value = quotient(level(pixel, at).into(), opacity.into(), 65535) as u16;
                    pixel[2 * at..][..2].copy_from_slice(&value.to_ne_bytes());
                }
            }
        }
    }
}

fn quotient(value: u64, opacity: u64, top: u64) -> u64 {
    (value * top + opacity / 2).checked_div(opacity).unwrap_or(0).min(top)
}
