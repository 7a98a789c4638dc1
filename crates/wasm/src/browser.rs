//! What the browser offers a worker, as far as the engine uses it: files, read and written without
//! waiting.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io::{self, Seek, SeekFrom, Write};

use clarifier_model::files::ReadAt;
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
    #[wasm_bindgen(method, catch, js_name = write)]
    fn write_some(this: &SyncAccessHandle, bytes: &Uint8Array, at: &Object) -> Result<f64, JsValue>;
    #[wasm_bindgen(method, catch, js_name = getSize)]
    fn length(this: &SyncAccessHandle) -> Result<f64, JsValue>;

    #[wasm_bindgen(js_namespace = console, js_name = error)]
    pub fn log_error(text: &str);
}

/// What JavaScript threw.
fn error(thrown: &JsValue) -> io::Error {
    let text = thrown.dyn_ref::<js_sys::Error>().map(|e| String::from(e.message()));
    io::Error::other(text.unwrap_or_else(|| format!("{thrown:?}")))
}

thread_local! {
    /// Values of JavaScript stay on their thread; the engine's files must be free to leave theirs.
    static FILES: RefCell<BTreeMap<usize, Blob>> = const { RefCell::new(BTreeMap::new()) };
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
        let at = Object::new();
        js_sys::Reflect::set(&at, &"at".into(), &(self.at as f64).into()).map_err(|e| error(&e))?;
        let written = self.handle.write_some(&Uint8Array::from(bytes), &at).map_err(|e| error(&e))?;
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
