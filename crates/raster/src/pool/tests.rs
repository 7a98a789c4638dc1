//! A pool over files in memory, of which a crash keeps only what was flushed, and of the rest what it likes.

use clarifier_tile::Size;

use super::*;
use crate::{Channels, Depth, Raster, StoreKind};

/// A file that can be copied as a crash leaves it; the device is full past `room` bytes.
#[derive(Clone, Default)]
struct Memory(Arc<Mutex<Contents>>);

#[derive(Clone, Default)]
struct Contents {
    now: Vec<u8>,
    flushed: Vec<u8>,
    /// Changes that the device will still make, all of the pool's files together; none if there is no end.
    left: Option<Arc<Mutex<usize>>>,
}

impl Memory {
    fn change(&self, act: impl FnOnce(&mut Vec<u8>)) -> io::Result<()> {
        let mut contents = self.0.lock().unwrap();
        if let Some(left) = &contents.left {
            let mut left = left.lock().unwrap();
            *left = left.checked_sub(1).ok_or(io::ErrorKind::StorageFull)?;
        }
        act(&mut contents.now);
        Ok(())
    }
}

impl PoolFile for Memory {
    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<()> {
        let contents = self.0.lock().unwrap();
        let from = contents.now.get(offset as usize..).and_then(|from| from.get(..into.len()));
        into.copy_from_slice(from.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.change(|now| now[offset as usize..][..bytes.len()].copy_from_slice(bytes))
    }

    fn set_length(&self, length: u64) -> io::Result<()> {
        self.change(|now| now.resize(length as usize, 0))
    }

    fn length(&self) -> io::Result<u64> {
        Ok(self.0.lock().unwrap().now.len() as u64)
    }

    fn flush(&self) -> io::Result<()> {
        let mut contents = self.0.lock().unwrap();
        contents.flushed = contents.now.clone();
        Ok(())
    }
}

fn files(count: usize) -> Vec<Memory> {
    (0..count).map(|_| Memory::default()).collect()
}

fn folder(files: &[Memory]) -> PoolFolder {
    PoolFolder::new(files.iter().map(|file| Box::new(file.clone()) as Box<dyn PoolFile>).collect()).unwrap()
}

#[test]
fn another_program_finds_all_names_and_no_scratch() {
    let files = files(6);
    let first = folder(&files);
    let mut store = first.create("canvas", 10_000).unwrap();
    store.write_at(9_990, &[7; 10]).unwrap();
    store.flush().unwrap();
    first.replace("journal", b"one").unwrap();
    first.replace("journal", b"two, and longer").unwrap();
    first.create("scratch-0", 50).unwrap();
    assert_eq!((first.room(), first.names().unwrap().len()), (3, 3));
    // A worker that is killed closes nothing.
    let second = folder(&files);
    let mut names = second.names().unwrap();
    names.sort();
    assert_eq!((names, second.room()), (vec!["canvas".to_owned(), "journal".to_owned()], 4));
    assert_eq!(second.read("journal").unwrap().unwrap(), b"two, and longer");
    let (store, length) = second.open("canvas").unwrap().unwrap();
    let mut bytes = vec![1; 20];
    store.read_at(length - 20, &mut bytes).unwrap();
    assert_eq!((length, &bytes[..10], &bytes[10..]), (10_000, &[0; 10][..], &[7; 10][..]));
    second.remove("canvas").unwrap();
    second.remove("canvas").unwrap();
    assert!(second.open("canvas").unwrap().is_none() && second.read("nothing").unwrap().is_none());
}

#[test]
fn a_crash_anywhere_leaves_the_old_bytes_or_the_new_ones() {
    let mut seen = Vec::new();
    for left in 0.. {
        let files = files(3);
        folder(&files).replace("journal", b"old").unwrap();
        let shared = Arc::new(Mutex::new(left));
        for file in &files {
            file.0.lock().unwrap().left = Some(shared.clone());
        }
        let done = PoolFolder::new(files.iter().map(|f| Box::new(f.clone()) as Box<dyn PoolFile>).collect())
            .and_then(|folder| folder.replace("journal", b"new and whole"));
        // What was not flushed is kept, lost, or half of it is kept.
        for kept in 0..3 {
            let after: Vec<Memory> = files
                .iter()
                .map(|file| {
                    let Contents { now, flushed, .. } = file.0.lock().unwrap().clone();
                    let half = now[..now.len() / 2].iter().chain(flushed.iter().skip(now.len() / 2));
                    let now = match kept {
                        0 => now,
                        1 => flushed,
                        _ => half.copied().collect(),
                    };
                    Memory(Arc::new(Mutex::new(Contents { now, ..Contents::default() })))
                })
                .collect();
            let found = folder(&after).read("journal").unwrap().unwrap();
            assert!(found == b"old" || found == b"new and whole", "{found:?} after {left} changes");
            if done.is_ok() {
                assert_eq!(found, b"new and whole");
            }
            seen.push(found);
        }
        if done.is_ok() {
            break;
        }
    }
    assert!(seen.contains(&b"old".to_vec()) && seen.len() > 12, "the crashes came too late or too early");
}

#[test]
fn a_full_device_and_a_full_pool_are_errors_and_lose_nothing() {
    let files = files(2);
    let folder = folder(&files);
    folder.replace("journal", b"old").unwrap();
    let left = Arc::new(Mutex::new(1));
    files[1].0.lock().unwrap().left = Some(left.clone());
    assert_eq!(folder.replace("journal", b"new").unwrap_err().kind(), io::ErrorKind::StorageFull);
    assert_eq!(folder.read("journal").unwrap().unwrap(), b"old");
    *left.lock().unwrap() = 99;
    assert_eq!(folder.room(), 1);
    let mut first = folder.create("store", 8).unwrap();
    assert!(folder.create("another", 8).err().unwrap().to_string().contains("in use"));
    assert!(first.write_at(1, &[0; 8]).is_err(), "outside");
    folder.add(vec![Box::new(Memory::default())]).unwrap();
    folder.create("store", 8).unwrap();
    assert_eq!(first.write_at(0, &[0; 8]).unwrap_err().kind(), io::ErrorKind::NotFound, "another's now");
    assert!(folder.replace(&"n".repeat(5000), b"").is_err());
}

#[test]
fn pictures_lie_in_it_and_go() {
    let files = files(2);
    let folder: Arc<dyn Folder> = Arc::new(folder(&files));
    let kind = StoreKind::Folder(folder.clone());
    let size = Size::new(70, 30);
    let mut raster = Raster::new(&kind, size, Channels::Rgb, Depth::Eight).unwrap();
    assert!(raster.read(raster.area()).unwrap().data.iter().all(|value| *value == 0.0));
    let level = |i: u64| (i % 251) as u8;
    raster.write_bytes(raster.area(), &(0..3 * size.area()).map(level).collect::<Vec<_>>()).unwrap();
    let part = raster.read(clarifier_tile::Rect::new(5, 4, Size::new(1, 1))).unwrap();
    let at = 3 * (4 * 70 + 5);
    assert_eq!(part.data, [0, 1, 2].map(|c| f32::from(level(at + c)) / 255.0));
    assert_eq!(folder.names().unwrap().len(), 1);
    drop(raster);
    assert!(folder.names().unwrap().is_empty());
}
