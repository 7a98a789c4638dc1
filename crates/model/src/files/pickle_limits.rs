//! Bounds on a pickle, held before it is taken apart: each byte of one may make an object of a hundred.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Cursor, Read, Seek, SeekFrom};

use zip::ZipArchive;

/// The most bytes of a pickle. An SD 1.x checkpoint with its optimiser has less than one million.
const MAX_BYTES: u64 = 8 << 20;
/// The most instructions; a tensor takes about 40.
const MAX_INSTRUCTIONS: usize = 1 << 20;
/// Pickles at the start of a file from before PyTorch 1.6: magic number, version, system, content, keys.
const LEGACY_PICKLES: usize = 5;
/// Where a TAR file says that it is one.
const TAR_MAGIC: usize = 257;

/// Whether the pickles of a PyTorch file are of a size that a file of weights may have. A file that is
/// no such file, or damaged, passes: its reader says so better.
///
/// # Errors
/// In words: what is too large.
pub(super) fn check(file: &File) -> Result<(), String> {
    let mut reader = BufReader::new(file);
    let mut start = Vec::new();
    let Ok(_) = reader.by_ref().take(TAR_MAGIC as u64 + 5).read_to_end(&mut start) else { return Ok(()) };
    if start.starts_with(b"PK") {
        return check_zip(file);
    }
    if start.get(TAR_MAGIC..).is_some_and(|magic| magic == b"ustar") {
        return Err("a file of PyTorch before 0.1.10 (2017), which this program does not read".into());
    }
    if reader.seek(SeekFrom::Start(0)).is_err() {
        return Ok(());
    }
    let mut reader = Counted { inner: reader.take(MAX_BYTES), instructions: 0 };
    let walked = (0..LEGACY_PICKLES).try_for_each(|_| reader.skip_pickle());
    reader.verdict(walked)
}

fn check_zip(file: &File) -> Result<(), String> {
    let Ok(mut archive) = ZipArchive::new(BufReader::new(file)) else { return Ok(()) };
    let pickles: Vec<usize> = (0..archive.len())
        .filter(|i| archive.name_for_index(*i).is_some_and(|n| n.is_ok_and(|n| n.ends_with("data.pkl"))))
        .collect();
    for index in pickles {
        let Ok(entry) = archive.by_index(index) else { continue };
        let mut bytes = Vec::new();
        // Not what the entry claims to be, but what comes out of it.
        let Ok(_) = entry.take(MAX_BYTES).read_to_end(&mut bytes) else { continue };
        let mut reader = Counted { inner: Cursor::new(bytes).take(MAX_BYTES), instructions: 0 };
        let walked = reader.skip_pickle();
        reader.verdict(walked)?;
    }
    Ok(())
}

/// Walks over instructions without doing them.
struct Counted<R> {
    inner: io::Take<R>,
    instructions: usize,
}

impl<R: BufRead> Counted<R> {
    fn verdict(&self, walked: io::Result<()>) -> Result<(), String> {
        // Cut off by the limit, not by the end of the file.
        let too_long = walked.is_err() && self.inner.limit() == 0;
        if too_long || self.instructions > MAX_INSTRUCTIONS {
            return Err(
                "its pickle is far larger than that of any file of weights; take a .safetensors file".into(),
            );
        }
        Ok(())
    }

    fn number<const N: usize>(&mut self) -> io::Result<u64> {
        let mut bytes = [0; 8];
        self.inner.read_exact(&mut bytes[..N])?;
        Ok(u64::from_le_bytes(bytes))
    }

    fn skip(&mut self, count: u64) -> io::Result<()> {
        let skipped = io::copy(&mut self.inner.by_ref().take(count), &mut io::sink())?;
        if skipped < count { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(()) }
    }

    fn skip_line(&mut self) -> io::Result<()> {
        match self.inner.skip_until(b'\n')? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            _ => Ok(()),
        }
    }

    /// To after the next STOP.
    fn skip_pickle(&mut self) -> io::Result<()> {
        loop {
            let [instruction] = [self.number::<1>()? as u8];
            self.instructions += 1;
            if self.instructions > MAX_INSTRUCTIONS {
                return Err(io::ErrorKind::InvalidData.into());
            }
            // Of each, what follows it: Python's pickletools lists them.
            match instruction {
                b'.' => return Ok(()),
                b'I' | b'L' | b'F' | b'V' | b'S' | b'g' | b'p' | b'P' => self.skip_line()?,
                b'c' | b'i' => {
                    self.skip_line()?;
                    self.skip_line()?;
                }
                b'K' | b'h' | b'q' | 0x80 | 0x82 => self.skip(1)?,
                b'M' | 0x83 => self.skip(2)?,
                b'J' | b'j' | b'r' | 0x84 => self.skip(4)?,
                b'G' | 0x95 => self.skip(8)?,
                b'U' | b'C' | 0x8A | 0x8C => {
                    let length = self.number::<1>()?;
                    self.skip(length)?;
                }
                b'T' | b'X' | b'B' | 0x8B => {
                    let length = self.number::<4>()?;
                    self.skip(length)?;
                }
                0x8D | 0x8E | 0x96 => {
                    let length = self.number::<8>()?;
                    self.skip(length)?;
                }
                _ => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn verdict(bytes: &[u8]) -> Result<(), String> {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        file.rewind().unwrap();
        check(&file)
    }

    #[test]
    fn only_what_is_too_large_is_refused() {
        // A dictionary of nothing, then the storages, however many.
        let mut legacy = [&b"\x80\x02}."[..]; 5].concat();
        legacy.resize(20 << 20, b'N');
        assert_eq!(verdict(&legacy), Ok(()));
        // A string of two million bytes is one instruction.
        let text = [&b"\x80\x02X\x00\x00\x20\x00"[..], &vec![b'N'; 2 << 20], b"."].concat();
        assert_eq!(verdict(&text), Ok(()));
        // Cut off, or no pickle: not for this place to say.
        assert_eq!(verdict(b"\x80\x02X\x00\x00\x20\x00"), Ok(()));
        assert_eq!(verdict(b"hello"), Ok(()));
        let objects = [&b"\x80\x02"[..], &vec![b']'; 3 << 20], b"."].concat();
        assert!(verdict(&objects).unwrap_err().contains("far larger"));
        let long = [&b"\x80\x02X\x00\x00\x00\x10"[..], &vec![b'a'; 16 << 20]].concat();
        assert!(verdict(&long).unwrap_err().contains("far larger"));
    }

    #[test]
    fn a_compressed_pickle_is_measured_unpacked() {
        let mut zip = zip::ZipWriter::new(Cursor::new(Vec::new()));
        let options =
            zip::write::SimpleFileOptions::default().compression_method(zip::CompressionMethod::Deflated);
        zip.start_file("archive/data.pkl", options).unwrap();
        zip.write_all(&vec![b']'; 9 << 20]).unwrap();
        let bytes = zip.finish().unwrap().into_inner();
        assert!(bytes.len() < 1 << 20);
        assert!(verdict(&bytes).unwrap_err().contains("far larger"));
    }
}
