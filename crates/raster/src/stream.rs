//! That no codec holds a whole picture: how far files and stores run ahead of each other while one is made from the other.

use std::io::{self, Cursor, Read, Seek, SeekFrom, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use clarifier_tile::Size;

use crate::fixtures::noise;
use crate::{ByteStore, Channels, Depth, EncodeOptions, Folder, Format, Raster, StoreKind, decode, encode};

/// Bytes that went in and came out, and the most that lay between.
#[derive(Debug, Default)]
struct Flow {
    taken: AtomicU64,
    given: AtomicU64,
    most: AtomicU64,
}

impl Flow {
    fn take(&self, bytes: usize) {
        let taken = self.taken.fetch_add(bytes as u64, Relaxed) + bytes as u64;
        self.most.fetch_max(taken.saturating_sub(self.given.load(Relaxed)), Relaxed);
    }

    fn give(&self, bytes: usize) {
        self.given.fetch_add(bytes as u64, Relaxed);
    }
}

/// A file that counts what is read and written.
struct Counted<F>(F, Arc<Flow>);

impl<F: Read> Read for Counted<F> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        self.0.read(into).inspect(|bytes| self.1.take(*bytes))
    }
}

impl<F: Write> Write for Counted<F> {
    fn write(&mut self, from: &[u8]) -> io::Result<usize> {
        self.0.write(from).inspect(|bytes| self.1.give(*bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<F: Seek> Seek for Counted<F> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.0.seek(to)
    }
}

/// A store that counts likewise and holds its bytes.
struct Store(Vec<u8>, Arc<Flow>);

impl ByteStore for Store {
    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<()> {
        into.copy_from_slice(&self.0[offset as usize..][..into.len()]);
        self.1.take(into.len());
        Ok(())
    }

    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.0[offset as usize..][..bytes.len()].copy_from_slice(bytes);
        self.1.give(bytes.len());
        Ok(())
    }
}

/// Gives such stores.
#[derive(Debug)]
struct Stores(Arc<Flow>);

impl Folder for Stores {
    fn create(&self, _: &str, length: u64) -> io::Result<Box<dyn ByteStore>> {
        // What was read of the file's head until now does not count.
        self.0.given.store(self.0.taken.load(Relaxed), Relaxed);
        self.0.most.store(0, Relaxed);
        Ok(Box::new(Store(vec![0; length as usize], self.0.clone())))
    }

    fn open(&self, _: &str) -> io::Result<Option<(Box<dyn ByteStore>, u64)>> {
        Ok(None)
    }

    fn replace(&self, _: &str, _: &[u8]) -> io::Result<()> {
        Ok(())
    }

    fn read(&self, _: &str) -> io::Result<Option<Vec<u8>>> {
        Ok(None)
    }

    fn remove(&self, _: &str) -> io::Result<()> {
        Ok(())
    }

    fn names(&self) -> io::Result<Vec<String>> {
        Ok(Vec::new())
    }
}

/// Higher than all that strips on every processor take together. Noise deflates to nearly its own length, so that bytes of
/// file and store can be compared.
fn picture() -> Raster {
    let strips = 2 * rayon::current_num_threads() as u32;
    let size = Size::new(64, (64 * strips * 6).max(6000));
    let mut raster = Raster::new(&StoreKind::Memory, size, Channels::Rgb, Depth::Sixteen).unwrap();
    raster.write(0, 0, &noise(size, 3)).unwrap();
    raster
}

fn bytes(raster: &Raster) -> u64 {
    raster.size().area() * 6
}

/// A sixth for strips under way, as much for buffers, and how far noise is from its own length.
fn bound(raster: &Raster) -> u64 {
    bytes(raster) / 2
}

#[test]
fn png_and_tiff_are_read_in_parts_and_turned_on_the_way() {
    let mut picture = picture();
    for sideways in [false, true] {
        if sideways {
            // Orientation 6 in a block of EXIF that has nothing else.
            let block = [&b"II\x2A\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0"[..]].concat();
            picture.metadata.exif = Some(block);
        }
        for format in [Format::Png, Format::Tiff] {
            let mut file = Cursor::new(Vec::new());
            let options = EncodeOptions { depth: Depth::Sixteen, ..EncodeOptions::default() };
            encode(&picture, &mut file, format, &options).unwrap();
            file.set_position(0);
            let flow = Arc::new(Flow::default());
            let reader = io::BufReader::with_capacity(4096, Counted(file, flow.clone()));
            let kind = StoreKind::Folder(Arc::new(Stores(flow.clone())));
            let back = decode(reader, "it", &kind).unwrap().raster;
            // A TIFF has its own tag for the orientation, which is not carried here.
            let turned = sideways && format == Format::Png;
            assert_eq!(back.size().width > back.size().height, turned);
            let (most, bound) = (flow.most.load(Relaxed), bound(&picture));
            assert!(most < bound, "{format:?}, turned {turned}: {most} of {}", bytes(&picture));
            assert!(flow.taken.load(Relaxed) > bytes(&picture) / 10 * 9, "the whole file");
        }
    }
}

#[test]
fn png_tiff_and_jpeg_are_written_in_parts() {
    let picture = picture();
    for format in [Format::Png, Format::Tiff, Format::Jpeg] {
        let options = EncodeOptions { depth: Depth::Sixteen, ..EncodeOptions::default() };
        let pixels = picture.read_rows(0, picture.size().height, Depth::Sixteen).unwrap();
        let run = |written_for_read: f64| {
            let flow = Arc::new(Flow::default());
            let store = Store(pixels.clone(), flow.clone());
            let raster = Raster::on(Box::new(store), picture.size(), Channels::Rgb, Depth::Sixteen);
            let scaled = Scaled { flow: flow.clone(), length: 0, end: 0, factor: written_for_read };
            let mut file = scaled;
            encode(&raster, &mut file, format, &options).unwrap();
            (flow.taken.load(Relaxed), file.end, flow.most.load(Relaxed))
        };
        let (read, written, _) = run(1.0);
        // The file's bytes as so many of the picture's.
        let (_, _, most) = run(read as f64 / written as f64);
        assert_eq!(read, bytes(&picture));
        assert!(most < bound(&picture), "{format:?}: {most} of {read}");
    }
}

/// A file of which only the length is kept, which counts more or fewer bytes than are written.
struct Scaled {
    flow: Arc<Flow>,
    length: u64,
    end: u64,
    factor: f64,
}

impl Write for Scaled {
    fn write(&mut self, from: &[u8]) -> io::Result<usize> {
        self.length += from.len() as u64;
        if self.length > self.end {
            let before = (self.end as f64 * self.factor) as u64;
            self.flow.give(((self.length as f64 * self.factor) as u64 - before) as usize);
            self.end = self.length;
        }
        Ok(from.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Seek for Scaled {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.length = match to {
            SeekFrom::Start(at) => at,
            SeekFrom::End(by) => self.end.checked_add_signed(by).unwrap_or(0),
            SeekFrom::Current(by) => self.length.checked_add_signed(by).unwrap_or(0),
        };
        Ok(self.length)
    }
}
