//! What the browser offers a worker, as far as the engine uses it: files, read and written without
//! waiting.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io::{self, Seek, SeekFrom, Write};

use clarifier_model::files::ReadAt;
use clarifier_raster::PoolFile;
use js_sys::{ArrayBuffer, Object, Uint8Array};
use wasm_bindgen::prelude::wasm_bindgen;
use wasm_bindgen::{JsCast, JsValue};

#[wasm_bindgen]
extern "C" {
    /// A part of a file, or all of it.
    pub type Blob;
    #[wasm_bindgen(method, getter)]
    fn size(this: &Blob) -> f64;
    #[wasm_bindgen(method)]
    fn slice(this: &Blob, start: f64, end: f64) -> Blob;
    #[wasm_bindgen(method, getter, js_name = name)]
    fn file_name(this: &Blob) -> Option<String>;

    type FileReaderSync;
    #[wasm_bindgen(constructor)]
    fn new() -> FileReaderSync;
    #[wasm_bindgen(method, catch, js_name = readAsArrayBuffer)]
    fn read(this: &FileReaderSync, blob: &Blob) -> Result<ArrayBuffer, JsValue>;

    /// A file of the origin's own, `FileSystemSyncAccessHandle`.
    pub type SyncAccessHandle;
    #[wasm_bindgen(method, catch, js_name = read)]
    fn read_some(this: &SyncAccessHandle, into: &mut [u8], at: &Place) -> Result<f64, JsValue>;
    #[wasm_bindgen(method, catch, js_name = write)]
    fn write_some(this: &SyncAccessHandle, bytes: &[u8], at: &Place) -> Result<f64, JsValue>;
    #[wasm_bindgen(method, catch, js_name = getSize)]
    fn length(this: &SyncAccessHandle) -> Result<f64, JsValue>;
    #[wasm_bindgen(method, catch, js_name = truncate)]
    fn set_length(this: &SyncAccessHandle, length: f64) -> Result<(), JsValue>;
    #[wasm_bindgen(method, catch, js_name = flush)]
    fn flush_all(this: &SyncAccessHandle) -> Result<(), JsValue>;

    /// Where in a file, `{ at }`.
    type Place;
    #[wasm_bindgen(method, setter)]
    fn set_at(this: &Place, at: f64);

    /// Milliseconds since the worker began.
    #[wasm_bindgen(js_namespace = performance)]
    pub fn now() -> f64;

    #[wasm_bindgen(js_namespace = console, js_name = error)]
    pub fn log_error(text: &str);

    #[wasm_bindgen(js_name = postMessage)]
    fn post_message(message: &JsValue);
}

/// Tell the page what the engine breaks down of: afterwards nobody can ask.
pub fn say_panic(message: &str) {
    let event = serde_json::json!({ "event": { "event": "panic", "message": message } });
    if let Ok(event) = js_sys::JSON::parse(&event.to_string()) {
        post_message(&event);
    }
}

fn place(at: u64) -> Place {
    let place: Place = Object::new().unchecked_into();
    place.set_at(at as f64);
    place
}

/// What JavaScript threw.
fn error(thrown: &JsValue) -> io::Error {
    let Some(error) = thrown.dyn_ref::<js_sys::Error>() else {
        return io::Error::other(format!("{thrown:?}"));
    };
    if error.name() == "QuotaExceededError" {
        let text =
            "the browser has no more room for this page: free some of the disk, or work on a smaller picture";
        return io::Error::new(io::ErrorKind::StorageFull, text);
    }
    io::Error::other(String::from(error.message()))
}

thread_local! {
    /// Values of JavaScript stay on their thread; the engine's files must be free to leave theirs.
    static FILES: RefCell<BTreeMap<usize, Blob>> = const { RefCell::new(BTreeMap::new()) };
    /// Likewise; these stay open as long as the worker lives.
    static OPEN: RefCell<Vec<SyncAccessHandle>> = const { RefCell::new(Vec::new()) };
}

/// A file that the user gave.
pub struct UsersFile {
    index: usize,
    length: u64,
}

/// Bytes that are read at once: each piece is in memory twice.
const PIECE: usize = 16 << 20;

impl UsersFile {
    /// The file, and its name.
    pub fn new(blob: Blob) -> (Self, String) {
        let (length, name) = (blob.size() as u64, blob.file_name().unwrap_or_default());
        let index = FILES.with_borrow_mut(|files| {
            let index = files.last_key_value().map_or(0, |(last, _)| last + 1);
            files.insert(index, blob);
            index
        });
        (Self { index, length }, name)
    }
}

impl Drop for UsersFile {
    fn drop(&mut self) {
        FILES.with_borrow_mut(|files| files.remove(&self.index));
    }
}

impl ReadAt for UsersFile {
    fn length(&self) -> io::Result<u64> {
        Ok(self.length)
    }

    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<()> {
        let reader = FileReaderSync::new();
        let mut start = offset;
        for piece in into.chunks_mut(PIECE) {
            let end = start + piece.len() as u64;
            let bytes = FILES.with_borrow(|files| {
                let blob = files.get(&self.index).ok_or_else(|| io::Error::other("on another thread"))?;
                reader.read(&blob.slice(start as f64, end as f64)).map_err(|thrown| error(&thrown))
            })?;
            let bytes = Uint8Array::new(&bytes);
            if bytes.length() as usize != piece.len() {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            bytes.copy_to(piece);
            start = end;
        }
        Ok(())
    }
}

/// A file of the origin's own as Rust writes files.
pub struct OwnFile {
    handle: SyncAccessHandle,
    at: u64,
}

impl OwnFile {
    /// From its beginning.
    pub fn new(handle: SyncAccessHandle) -> Self {
        Self { handle, at: 0 }
    }
}

impl Write for OwnFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.handle.write_some(bytes, &place(self.at)).map_err(|e| error(&e))?;
        self.at += written as u64;
        Ok(written as usize)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Seek for OwnFile {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let at = match to {
            SeekFrom::Start(at) => Some(at),
            SeekFrom::Current(by) => self.at.checked_add_signed(by),
            SeekFrom::End(by) => (self.handle.length().map_err(|e| error(&e))? as u64).checked_add_signed(by),
        };
        self.at = at.ok_or(io::ErrorKind::InvalidInput)?;
        Ok(self.at)
    }
}

/// A file of the origin's own that is part of the engine's folder.
pub struct FolderFile(usize);

impl FolderFile {
    pub fn new(handle: SyncAccessHandle) -> Self {
        OPEN.with_borrow_mut(|open| {
            open.push(handle);
            Self(open.len() - 1)
        })
    }

    fn with<T>(&self, act: impl FnOnce(&SyncAccessHandle) -> Result<T, JsValue>) -> io::Result<T> {
        OPEN.with_borrow(|open| {
            let handle = open.get(self.0).ok_or_else(|| io::Error::other("on another thread"))?;
            act(handle).map_err(|thrown| error(&thrown))
        })
    }
}

impl PoolFile for FolderFile {
    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<()> {
        let read = self.with(|file| file.read_some(into, &place(offset)))?;
        if read as usize == into.len() { Ok(()) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let written = self.with(|file| file.write_some(bytes, &place(offset)))?;
        if written as usize == bytes.len() { Ok(()) } else { Err(io::ErrorKind::StorageFull.into()) }
    }

    fn set_length(&self, length: u64) -> io::Result<()> {
        self.with(|file| file.set_length(length as f64))
    }

    fn length(&self) -> io::Result<u64> {
        self.with(SyncAccessHandle::length).map(|length| length as u64)
    }

    fn flush(&self) -> io::Result<()> {
        self.with(SyncAccessHandle::flush_all)
    }
}
