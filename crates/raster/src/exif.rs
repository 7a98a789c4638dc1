//! EXIF: what a new picture makes untrue is changed in place, and its way in and out of a TIFF file,
//! where its parts hang in the file's own directories (Exif 2.32, TIFF 6.0, BigTIFF).

use std::io::{Read, Seek, SeekFrom};

use clarifier_tile::Size;
use image::metadata::Orientation;

/// Pointer from the first directory to the camera's.
pub(crate) const EXIF_IFD: u16 = 0x8769;
/// Pointer from the first directory to the place's.
pub(crate) const GPS_IFD: u16 = 0x8825;
/// Pointer from the camera's directory to one that nobody reads.
const INTEROP_IFD: u16 = 0xA005;
/// Description, make, model, software, date, artist, computer, rating, copyright and Windows' texts:
/// the tags of a first directory that are about the picture and not about how it is stored.
const ABOUT: [u16; 14] = [
    0x010E, 0x010F, 0x0110, 0x0131, 0x0132, 0x013B, 0x013C, 0x4746, 0x8298, 0x9C9B, 0x9C9C, 0x9C9D, 0x9C9E,
    0x9C9F,
];
/// Which way up the picture is.
const ORIENTATION: u16 = 0x0112;
/// What a TIFF's channels after its colours are.
const EXTRA_SAMPLES: u16 = 0x0152;
/// A TIFF's colour profile (ICC.1, annex B).
const ICC_PROFILE: u16 = 0x8773;
/// A TIFF's XMP packet (XMP specification part 3, 1.1.6).
pub(crate) const XMP: u16 = 0x02BC;
/// A TIFF's IPTC.
pub(crate) const IPTC: u16 = 0x83BB;
/// More than a camera writes in a directory, for a tag, and than a profile has.
const MOST_FIELDS: u64 = 200;
const MOST_BYTES: u64 = 1 << 20;
const MOST_PROFILE_BYTES: u64 = 1 << 26;

/// One tag with its values in native byte order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Field {
    pub tag: u16,
    pub kind: u16,
    pub bytes: Vec<u8>,
}

/// EXIF taken apart.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Exif {
    /// About the picture.
    pub about: Vec<Field>,
    /// From the camera.
    pub camera: Vec<Field>,
    /// Where it was taken.
    pub place: Vec<Field>,
}

#[derive(Clone, Copy, PartialEq)]
enum Order {
    Little,
    Big,
}

impl Order {
    const NATIVE: Self = if cfg!(target_endian = "big") { Self::Big } else { Self::Little };

    fn of(magic: &[u8]) -> Option<Self> {
        match magic.get(..2)? {
            b"II" => Some(Self::Little),
            b"MM" => Some(Self::Big),
            _ => None,
        }
    }

    /// A number of up to 8 bytes.
    fn number(self, bytes: &[u8]) -> u64 {
        let join = |number: u64, byte: &u8| number << 8 | u64::from(*byte);
        match self {
            Self::Little => bytes.iter().rev().fold(0, join),
            Self::Big => bytes.iter().fold(0, join),
        }
    }

    fn bytes<const N: usize>(self, number: u32) -> [u8; N] {
        std::array::from_fn(|i| {
            number.checked_shr(8 * if self == Self::Little { i } else { N - 1 - i } as u32).unwrap_or(0) as u8
        })
    }
}

/// Bytes of a value, and of the numbers that it is made of.
fn widths(kind: u16) -> Option<(u64, usize)> {
    match kind {
        1 | 2 | 6 | 7 => Some((1, 1)),
        3 | 8 => Some((2, 2)),
        4 | 9 | 11 | 13 => Some((4, 4)),
        5 | 10 => Some((8, 4)),
        12 | 16..=18 => Some((8, 8)),
        _ => None,
    }
}

impl Field {
    /// How many values.
    pub(crate) fn count(&self) -> u32 {
        widths(self.kind).map_or(0, |(width, _)| self.bytes.len() as u64 / width) as u32
    }
}

/// A TIFF structure being read.
struct Directories<R> {
    reader: R,
    order: Order,
    /// BigTIFF: offsets and counts of 8 bytes.
    wide: bool,
}

impl<R: Read + Seek> Directories<R> {
    /// With the first directory's offset.
    fn open(mut reader: R) -> Option<(Self, u64)> {
        let mut magic = [0; 16];
        reader.rewind().ok()?;
        reader.read_exact(&mut magic[..8]).ok()?;
        let order = Order::of(&magic)?;
        let wide = order.number(&magic[2..4]) == 43;
        if wide {
            reader.read_exact(&mut magic[8..]).ok()?;
        }
        let first = order.number(if wide { &magic[8..16] } else { &magic[4..8] });
        Some((Self { reader, order, wide }, first))
    }

    fn take(&mut self, at: u64, length: u64) -> Option<Vec<u8>> {
        self.reader.seek(SeekFrom::Start(at)).ok()?;
        let mut bytes = vec![0; length as usize];
        self.reader.read_exact(&mut bytes).ok()?;
        Some(bytes)
    }

    /// Those tags of the directory at `at` that are `wanted`, of up to `most` bytes each.
    fn fields(&mut self, at: u64, most: u64, wanted: impl Fn(u16) -> bool) -> Option<Vec<Field>> {
        let (count_bytes, entry_bytes, inline) = if self.wide { (8, 20, 8) } else { (2, 12, 4) };
        let count = self
            .take(at, count_bytes)
            .map(|bytes| self.order.number(&bytes))
            .filter(|count| *count <= MOST_FIELDS)?;
        let entries = self.take(at.checked_add(count_bytes)?, count * entry_bytes)?;
        let entries = entries.chunks_exact(entry_bytes as usize);
        let wanted =
            entries.filter(|entry| wanted(self.order.number(&entry[..2]) as u16)).collect::<Vec<_>>();
        Some(wanted.into_iter().filter_map(|entry| self.field(entry, inline, most)).collect())
    }

    fn field(&mut self, entry: &[u8], inline: usize, most: u64) -> Option<Field> {
        let (tag, kind) = (self.order.number(&entry[..2]) as u16, self.order.number(&entry[2..4]) as u16);
        let (width, number) = widths(kind)?;
        let (count, value) = entry[4..].split_at(inline);
        let length = self.order.number(count).checked_mul(width).filter(|length| *length <= most)?;
        let mut bytes = match length as usize {
            short if short <= inline => value[..short].to_vec(),
            _ => self.take(self.order.number(value), length)?,
        };
        if self.order != Order::NATIVE {
            bytes.chunks_exact_mut(number).for_each(<[u8]>::reverse);
        }
        Some(Field { tag, kind, bytes })
    }
}

impl Exif {
    /// From a TIFF or BigTIFF file, or from an EXIF block, which is built like one. `None` if there is
    /// nothing to carry.
    pub(crate) fn read(reader: impl Read + Seek) -> Option<Self> {
        let (mut directories, first) = Directories::open(reader)?;
        let first = directories
            .fields(first, MOST_BYTES, |tag| ABOUT.contains(&tag) || [EXIF_IFD, GPS_IFD].contains(&tag))?;
        let mut below = |pointer: u16| {
            let field = first.iter().find(|field| field.tag == pointer)?;
            directories.fields(Order::NATIVE.number(&field.bytes), MOST_BYTES, |tag| tag != INTEROP_IFD)
        };
        let (camera, place) = (below(EXIF_IFD).unwrap_or_default(), below(GPS_IFD).unwrap_or_default());
        let exif = Self {
            about: first.into_iter().filter(|field| ABOUT.contains(&field.tag)).collect(),
            camera,
            place,
        };
        (exif != Self::default()).then_some(exif)
    }

    /// As the block that the other formats carry.
    pub(crate) fn to_block(&self) -> Vec<u8> {
        let order = Order::NATIVE;
        let mut block = if order == Order::Little { b"II".to_vec() } else { b"MM".to_vec() };
        block.extend(order.bytes::<2>(42));
        block.extend([0; 4]);
        let mut first = self.about.clone();
        for (pointer, fields) in [(EXIF_IFD, &self.camera), (GPS_IFD, &self.place)] {
            if !fields.is_empty() {
                let at = append_directory(&mut block, fields);
                first.push(Field { tag: pointer, kind: 4, bytes: order.bytes::<4>(at).to_vec() });
            }
        }
        first.sort_by_key(|field| field.tag);
        let at = append_directory(&mut block, &first);
        block[4..8].copy_from_slice(&order.bytes::<4>(at));
        block
    }
}

/// The colour profile of a TIFF or BigTIFF file.
pub(crate) fn profile(reader: impl Read + Seek) -> Option<Vec<u8>> {
    first_field(reader, ICC_PROFILE).map(|field| field.bytes)
}

/// The XMP packet of a TIFF or BigTIFF file.
pub(crate) fn xmp(reader: impl Read + Seek) -> Option<Vec<u8>> {
    first_field(reader, XMP).map(|field| field.bytes)
}

/// IPTC of a TIFF or BigTIFF file. Some programs call its bytes numbers of 32 bits, in which case they are
/// not to be turned with the file's order.
pub(crate) fn iptc(reader: impl Read + Seek) -> Option<Vec<u8>> {
    let (mut directories, first) = Directories::open(reader)?;
    let mut field = directories.fields(first, MOST_PROFILE_BYTES, |other| other == IPTC)?.pop()?;
    if field.kind == 4 && directories.order != Order::NATIVE {
        field.bytes.chunks_exact_mut(4).for_each(<[u8]>::reverse);
    }
    crate::iptc::records(field.bytes)
}

/// The orientation of a TIFF or BigTIFF file.
pub(crate) fn orientation(reader: impl Read + Seek) -> Option<Orientation> {
    Orientation::from_exif(Order::NATIVE.number(&first_field(reader, ORIENTATION)?.bytes) as u8)
}

/// Whether the opacity of a TIFF or BigTIFF file is already multiplied into its colours
/// (`ExtraSamples` is "associated alpha").
pub(crate) fn is_premultiplied(reader: impl Read + Seek) -> bool {
    first_field(reader, EXTRA_SAMPLES).is_some_and(|field| Order::NATIVE.number(&field.bytes) == 1)
}

fn first_field(reader: impl Read + Seek, tag: u16) -> Option<Field> {
    let (mut directories, first) = Directories::open(reader)?;
    directories.fields(first, MOST_PROFILE_BYTES, |other| other == tag)?.pop()
}

/// Returns where the directory begins.
fn append_directory(block: &mut Vec<u8>, fields: &[Field]) -> u32 {
    let order = Order::NATIVE;
    let begin = block.len();
    block.extend(order.bytes::<2>(fields.len() as u32));
    let mut values_at = begin + 2 + 12 * fields.len() + 4;
    let mut values = Vec::new();
    for field in fields {
        block.extend(order.bytes::<2>(field.tag.into()));
        block.extend(order.bytes::<2>(field.kind.into()));
        block.extend(order.bytes::<4>(field.count()));
        if field.bytes.len() <= 4 {
            block.extend(field.bytes.iter().copied().chain([0; 4]).take(4));
        } else {
            block.extend(order.bytes::<4>(values_at as u32));
            values.extend_from_slice(&field.bytes);
            // Values begin at even offsets.
            values.resize(values.len().next_multiple_of(2), 0);
            values_at = begin + 2 + 12 * fields.len() + 4 + values.len();
        }
    }
    block.extend([0; 4]);
    block.append(&mut values);
    begin as u32
}

/// An EXIF block whose bytes are changed in place, so that everything else stays where it is.
struct Block<'a> {
    bytes: &'a mut [u8],
    order: Order,
}

impl<'a> Block<'a> {
    fn new(bytes: &'a mut [u8]) -> Option<Self> {
        Order::of(bytes).map(|order| Self { bytes, order })
    }

    fn number(&self, at: usize, length: usize) -> Option<usize> {
        Some(self.order.number(self.bytes.get(at..at.checked_add(length)?)?) as usize)
    }

    /// Where the entry of `tag` begins in the directory at `directory`.
    fn entry(&self, directory: usize, tag: u16) -> Option<usize> {
        let count = self.number(directory, 2)?;
        (0..count).map(|i| directory + 2 + 12 * i).find(|at| self.number(*at, 2) == Some(tag.into()))
    }

    /// A new value for a SHORT or LONG of one number, if it is there.
    fn set(&mut self, directory: usize, tag: u16, value: u32) -> Option<()> {
        let at = self.entry(directory, tag)?;
        let (kind, count) = (self.number(at + 2, 2)?, self.number(at + 4, 4)?);
        if !matches!(kind, 3 | 4) || count != 1 {
            return None;
        }
        let into = self.bytes.get_mut(at + 2..at + 12)?;
        into[..2].copy_from_slice(&self.order.bytes::<2>(4));
        into[6..].copy_from_slice(&self.order.bytes::<4>(value));
        Some(())
    }
}

/// Take out the thumbnail, which shows the picture as it was, and sideways if it was turned.
pub(crate) fn unlink_thumbnail(block: &mut [u8]) -> Option<()> {
    let block = Block::new(block)?;
    let first = block.number(4, 4)?;
    let next = first + 2 + 12 * block.number(first, 2)?;
    block.bytes.get_mut(next..next + 4)?.fill(0);
    Some(())
}

/// Set the width and height that the block says the picture has, where it says so.
pub(crate) fn set_size(block: &mut [u8], size: Size) -> Option<()> {
    let mut block = Block::new(block)?;
    let first = block.number(4, 4)?;
    block.set(first, 0x0100, size.width);
    block.set(first, 0x0101, size.height);
    let camera = block.number(block.entry(first, EXIF_IFD)? + 8, 4)?;
    block.set(camera, 0xA002, size.width);
    block.set(camera, 0xA003, size.height);
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Cursor;

    fn sample() -> Exif {
        let field = |tag, kind, bytes: &[u8]| Field { tag, kind, bytes: bytes.to_vec() };
        Exif {
            about: vec![field(0x010E, 2, b"a long description\0"), field(0x010F, 2, b"Me\0")],
            camera: vec![
                field(0x829A, 5, &[1, 0, 0, 0, 250, 0, 0, 0]),
                field(0xA002, 3, &[7, 0]),
                field(0xA003, 3, &[5, 0]),
            ],
            place: vec![field(1, 2, b"N\0")],
        }
    }

    #[test]
    fn a_block_is_read_as_it_was_written() {
        assert_eq!(Exif::read(Cursor::new(sample().to_block())), Some(sample()));
    }

    #[test]
    fn any_damage_is_survived() {
        let block = sample().to_block();
        for at in 0..block.len() {
            for value in [0, 1, 0x7F, 0xFF] {
                let mut bad = block.clone();
                bad[at] = value;
                let _ = Exif::read(Cursor::new(&bad));
                let _ = set_size(&mut bad, Size::new(1, 2));
                let _ = unlink_thumbnail(&mut bad);
                let _ = Exif::read(Cursor::new(&bad[..at]));
            }
        }
    }

    #[test]
    fn the_size_is_set_where_the_block_has_one() {
        let mut block = sample().to_block();
        set_size(&mut block, Size::new(70_000, 9)).unwrap();
        let exif = Exif::read(Cursor::new(block)).unwrap();
        let value =
            |tag| exif.camera.iter().find(|f| f.tag == tag).map(|f| (f.kind, Order::NATIVE.number(&f.bytes)));
        assert_eq!((value(0xA002), value(0xA003)), (Some((4, 70_000)), Some((4, 9))));
        assert_eq!(exif.about, sample().about);
    }
}
