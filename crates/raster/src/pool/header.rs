//! What a file of a pool says of itself.

use std::io;

/// Bytes before a file's contents: a page, so that these lie on pages too.
pub const SPACE: u64 = 4096;
const MAGIC: &[u8; 8] = b"clarify1";
/// Bytes of the numbers at the beginning.
const FIXED: usize = 8 + 8 + 8 + 1 + 8 + 2;
/// Bytes of the checksum at the end.
const END: usize = 8;

/// FNV-1a of 64 bits (RFC 9923): against what was written in part, not against malice.
pub struct Checksum(u64);

impl Default for Checksum {
    fn default() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

impl Checksum {
    pub fn add(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }

    pub fn value(&self) -> u64 {
        self.0
    }
}

/// What the contents are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A store, whose bytes change.
    Store,
    /// Bytes with this checksum.
    Kept(u64),
}

/// What a file of a pool holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// Larger than that of all that was written before.
    pub sequence: u64,
    pub kind: Kind,
    /// Bytes of the contents.
    pub length: u64,
    pub name: String,
}

impl Header {
    /// # Errors
    /// If the name is too long.
    pub fn bytes(&self) -> io::Result<Vec<u8>> {
        let name = self.name.as_bytes();
        let length = u16::try_from(name.len()).ok().filter(|n| FIXED + *n as usize + END <= SPACE as usize);
        let length = length
            .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "the name of a store is too long"))?;
        let (kind, sum) = match self.kind {
            Kind::Store => (0, 0),
            Kind::Kept(sum) => (1, sum),
        };
        let mut bytes = MAGIC.to_vec();
        for number in [self.sequence, self.length] {
            bytes.extend(number.to_le_bytes());
        }
        bytes.push(kind);
        bytes.extend(sum.to_le_bytes());
        bytes.extend(length.to_le_bytes());
        bytes.extend(name);
        let mut sum = Checksum::default();
        sum.add(&bytes);
        bytes.extend(sum.value().to_le_bytes());
        Ok(bytes)
    }

    /// The header that `bytes` begin with, if it is whole.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let number = |at: usize| Some(u64::from_le_bytes(*bytes.get(at..)?.first_chunk()?));
        let name_length = usize::from(u16::from_le_bytes(*bytes.get(FIXED - 2..)?.first_chunk()?));
        let end = FIXED + name_length;
        let mut sum = Checksum::default();
        sum.add(bytes.get(..end)?);
        if !bytes.starts_with(MAGIC) || number(end)? != sum.value() {
            return None;
        }
        Some(Self {
            sequence: number(8)?,
            kind: match bytes[24] {
                0 => Kind::Store,
                1 => Kind::Kept(number(25)?),
                _ => return None,
            },
            length: number(16)?,
            name: std::str::from_utf8(&bytes[FIXED..end]).ok()?.to_owned(),
        })
    }
}
