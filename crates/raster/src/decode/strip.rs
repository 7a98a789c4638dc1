//! TIFF whose strips are too large to be read whole, row by row: some programs write one strip for all.

use std::io::{self, BufRead, Read, Seek, SeekFrom};

use clarifier_tile::{Rect, Size};
use flate2::bufread::ZlibDecoder;
use tiff::decoder::{ChunkType, Decoder};
use tiff::tags::{ByteOrder, CompressionMethod, Predictor, Tag};

use super::tiff::interleaved;
use super::upright::Layout;
use crate::{Channels, Depth};

/// Strips up to this many bytes are left to `tiff`.
pub(super) const LARGE: u64 = 64 << 20;
/// TIFF 6.0, "PhotometricInterpretation".
const WHITE_IS_ZERO: u32 = 0;

/// Where the rows of large strips are, and how they are stored.
pub(super) struct Strips {
    layout: Layout,
    /// Strip after strip; those of the first plane, of the second …
    offsets: Vec<u64>,
    rows: u32,
    planes: usize,
    deflated: bool,
    predicted: bool,
    inverted: bool,
    swapped: bool,
}

impl Strips {
    /// Those of the picture's own values, plain or deflated; else none. Planes must be plain, since they are read side
    /// by side.
    pub fn of<R: BufRead + Seek>(decoder: &mut Decoder<R>, layout: Layout, planes: usize) -> Option<Self> {
        let mut number = |tag, usual: u32| Some(decoder.find_tag_unsigned(tag).ok()?.unwrap_or(usual));
        let deflated = match CompressionMethod::from_u16(number(Tag::Compression, 1)? as u16)? {
            CompressionMethod::None => false,
            CompressionMethod::Deflate | CompressionMethod::OldDeflate => true,
            _ => return None,
        };
        let predicted = match Predictor::from_u16(number(Tag::Predictor, 1)? as u16)? {
            Predictor::None => false,
            Predictor::Horizontal => true,
            _ => return None,
        };
        let inverted = number(Tag::PhotometricInterpretation, 1)? == WHITE_IS_ZERO;
        let samples = number(Tag::SamplesPerPixel, 1)? as usize;
        let rows = number(Tag::RowsPerStrip, u32::MAX)?.min(layout.size.height);
        let offsets = decoder.get_tag_u64_vec(Tag::StripOffsets).ok()?;
        let known = samples == layout.channels.count()
            && (planes == 1 || planes == samples && !deflated)
            && (!inverted || layout.channels == Channels::Grey)
            && matches!(decoder.get_chunk_type(), ChunkType::Strip)
            && rows > 0
            && offsets.len() == layout.size.height.div_ceil(rows) as usize * planes;
        let swapped = (decoder.byte_order() == ByteOrder::BigEndian) != cfg!(target_endian = "big");
        known.then_some(Self { layout, offsets, rows, planes, deflated, predicted, inverted, swapped })
    }

    /// Give all rows to `each`, in bands from the top.
    pub fn read<E>(
        &self,
        reader: &mut (impl BufRead + Seek),
        failed: impl Fn(io::Error) -> E,
        mut each: impl FnMut(Rect, Vec<u8>) -> Result<(), E>,
    ) -> Result<(), E> {
        let Size { width, height } = self.layout.size;
        let strips = self.offsets.len() / self.planes;
        for (strip, top) in (0..height).step_by(self.rows as usize).enumerate() {
            let size = Size::new(width, self.rows.min(height - top));
            let bands = Layout { size, ..self.layout }.bands();
            if self.deflated {
                reader.seek(SeekFrom::Start(self.offsets[strip])).map_err(&failed)?;
                let mut rows = ZlibDecoder::new(&mut *reader);
                for band in bands {
                    let bytes = self.rows(&mut rows, band.size.height, 1).map_err(&failed)?;
                    each(Rect::new(0, top + band.y, band.size), bytes)?;
                }
                continue;
            }
            let row_bytes = self.layout.row_bytes() as u64 / self.planes as u64;
            for band in bands {
                let mut parts = Vec::new();
                for plane in 0..self.planes {
                    let at = self.offsets[plane * strips + strip] + u64::from(band.y) * row_bytes;
                    reader.seek(SeekFrom::Start(at)).map_err(&failed)?;
                    parts.push(self.rows(reader, band.size.height, self.planes).map_err(&failed)?);
                }
                let bytes = match self.layout.depth {
                    Depth::Eight => interleaved::<1>(parts),
                    Depth::Sixteen => interleaved::<2>(parts),
                };
                each(Rect::new(0, top + band.y, band.size), bytes.expect("planes of one length"))?;
            }
        }
        Ok(())
    }

    /// The next rows of a strip in one of `planes` planes, as values.
    fn rows(&self, reader: &mut impl Read, rows: u32, planes: usize) -> io::Result<Vec<u8>> {
        let (row_bytes, samples) = (self.layout.row_bytes() / planes, self.layout.channels.count() / planes);
        let mut bytes = vec![0; rows as usize * row_bytes];
        reader.read_exact(&mut bytes)?;
        for row in bytes.chunks_exact_mut(row_bytes) {
            match self.layout.depth {
                Depth::Eight if self.predicted => {
                    (samples..row.len()).for_each(|at| row[at] = row[at].wrapping_add(row[at - samples]));
                }
                Depth::Eight => {}
                Depth::Sixteen => {
                    let values = row.as_chunks_mut::<2>().0;
                    if self.swapped {
                        values.iter_mut().for_each(|value| value.reverse());
                    }
                    for at in (samples..values.len()).take_while(|_| self.predicted) {
                        let before = u16::from_ne_bytes(values[at - samples]);
                        values[at] = u16::from_ne_bytes(values[at]).wrapping_add(before).to_ne_bytes();
                    }
                }
            }
        }
        if self.inverted {
            bytes.iter_mut().for_each(|byte| *byte = !*byte);
        }
        Ok(bytes)
    }
}
