//! The kinds of TIFF that `image` refuses, grey with opacity and grey in f32; and sizes.

use std::io::{BufRead, Seek};

use clarifier_tile::Size;
use tiff::decoder::{Decoder, DecodingResult, Limits};
use tiff::tags::Tag;
use tiff::{ColorType, TiffError};

use super::DecodeError;
use super::pixels::{Input, Pixels};
use crate::{Channels, Depth};

/// The size as it is stored, of any kind.
pub(super) fn size(mut reader: impl BufRead + Seek, input: &Input) -> Result<Size, DecodeError> {
    reader.rewind().map_err(|error| input.unread(error))?;
    let dimensions = Decoder::new(reader).and_then(|mut decoder| decoder.dimensions());
    dimensions.map(Size::from).map_err(|error| input.damaged(&error.to_string()))
}

/// The pixels of a TIFF of such a kind, else `None`.
pub(super) fn rare(mut reader: impl BufRead + Seek, input: &Input) -> Result<Option<Pixels>, DecodeError> {
    reader.rewind().map_err(|error| input.unread(error))?;
    // What is wrong with a file's header, `image` will say.
    let Ok(mut decoder) = Decoder::new(reader) else {
        return Ok(None);
    };
    let (Ok(colour), Ok(dimensions)) = (decoder.colortype(), decoder.dimensions()) else {
        return Ok(None);
    };
    let grey = decoder.get_tag_u32(Tag::PhotometricInterpretation).is_ok_and(|kind| kind == 1);
    match colour {
        ColorType::Multiband { bit_depth: 8 | 16, num_samples: 2 } if grey => {}
        ColorType::Gray(32) => {}
        _ => return Ok(None),
    }
    let failed = |error: TiffError| match error {
        TiffError::UnsupportedError(error) => input.unsupported(&error.to_string()),
        other => input.damaged(&other.to_string()),
    };
    let size = Size::from(dimensions);
    let layout = decoder.image_buffer_layout().map_err(failed)?;
    if layout.planes > 1 {
        return Err(input.unsupported("its channels are in separate planes"));
    }
    input.check(size, layout.complete_len as u64)?;
    let mut decoder = decoder.with_limits(Limits::unlimited());
    let eight = |channels, bytes| Pixels { size, channels, depth: Depth::Eight, bytes, warnings: Vec::new() };
    let pixels = match decoder.read_image().map_err(failed)? {
        DecodingResult::U8(bytes) => eight(Channels::GreyAlpha, bytes),
        DecodingResult::U16(values) => Pixels {
            depth: Depth::Sixteen,
            ..eight(Channels::GreyAlpha, values.into_iter().flat_map(u16::to_ne_bytes).collect())
        },
        DecodingResult::F32(values) => Pixels::from_floats(size, Channels::Grey, values.into_iter()),
        _ => return Err(input.unsupported("its values are of an unusual kind")),
    };
    Ok(Some(pixels))
}

/// Colours as they are without their opacity, which every other format has.
pub(super) fn divide_by_opacity(pixels: &mut Pixels) {
    let channels = pixels.channels.count();
    match pixels.depth {
        Depth::Eight => {
            for pixel in pixels.bytes.chunks_exact_mut(channels) {
                let opacity = pixel[channels - 1];
                for value in &mut pixel[..channels - 1] {
                    *value = quotient((*value).into(), opacity.into(), 255) as u8;
                }
            }
        }
        Depth::Sixteen => {
            for pixel in pixels.bytes.chunks_exact_mut(2 * channels) {
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
