//! The engine as the page's worker calls it: each function is one of the worker's commands, but for what
//! only JavaScript can do. `web/README.md` says what they take and give.
//!
//! The worker calls one at a time, except [`cancel`].
#![cfg(target_arch = "wasm32")]

mod browser;
mod check;
mod constructors;
mod engine;
mod folder;
mod hash;
mod kept;
mod models;
mod picture;
mod plan;
mod run;
mod save;
mod turns;

use std::any::Any;
use std::error::Error as StdError;

use clarifier_model::files::FileError;
use clarifier_upscale::device::DeviceError;
use clarifier_upscale::{Error, ErrorReport, SettingsError};
use js_sys::{Array, Function, JSON, Reflect};
use wasm_bindgen::JsValue;
use wasm_bindgen::prelude::wasm_bindgen;

use browser::{Blob, SyncAccessHandle};
use turns::InTurns;

type Answer<T> = Result<T, Failure>;

/// JavaScript's `Error` of what a command failed of; an error of the engine's has its [`ErrorReport`] as `report`.
pub struct Failure(js_sys::Error);

impl From<Failure> for JsValue {
    fn from(Failure(thrown): Failure) -> Self {
        thrown.into()
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        failed(error)
    }
}

fn failed(error: impl std::fmt::Display + 'static) -> Failure {
    let thrown = js_sys::Error::new(&error.to_string());
    if let Some(report) = report_of(&error) {
        let json = serde_json::to_string(&report).expect("plain data");
        // Neither fails: it is JSON, and the object is new.
        let report = JSON::parse(&json).unwrap_or(JsValue::NULL);
        let _ = Reflect::set(&thrown, &"report".into(), &report);
    }
    Failure(thrown)
}

fn report_of(error: &dyn Any) -> Option<ErrorReport> {
    fn of<E: StdError + 'static>(error: &dyn Any) -> Option<ErrorReport> {
        error.downcast_ref::<E>().map(|error| ErrorReport::of(error))
    }
    of::<Error>(error)
        .or_else(|| of::<DeviceError>(error))
        .or_else(|| of::<SettingsError>(error))
        .or_else(|| of::<FileError>(error))
}

/// Called once, before all others.
#[wasm_bindgen(start)]
pub fn start() {
    constructors::call();
    std::panic::set_hook(Box::new(|panic| {
        let said = panic.to_string();
        browser::log_error(&said);
        browser::say_panic(&said);
    }));
}

/// The command `describe`, as JSON.
#[wasm_bindgen]
pub fn describe() -> String {
    clarifier_upscale::description().to_string()
}

/// The command `models`. In `choice` (JSON) files are numbers, which count `files`; `ids` has a text for
/// each of them by which it is known again.
#[wasm_bindgen]
pub async fn models(choice: String, files: Array, ids: Vec<String>, tell: Function) -> Answer<String> {
    InTurns::new(models::choose(&choice, &files, &ids, &tell)).await
}

/// The command `check`, of `{ device, quick, fault, name, software }`, JSON; what is found is told by events.
#[wasm_bindgen]
pub async fn check(wanted: String, tell: Function) -> Answer<()> {
    InTurns::new(check::check(&wanted, &tell)).await
}

/// The command `report`: of `{ quick, browser, parts }`, JSON in and out.
#[wasm_bindgen]
pub fn report(heard: &str) -> Answer<String> {
    check::report(heard)
}

/// Open files of the engine's own folder (`web/worker/folder.js`), the first time all that there are.
#[wasm_bindgen]
pub fn add_files(handles: &Array) -> Answer<()> {
    folder::add(handles)
}

/// For how many names there are open files yet.
#[wasm_bindgen]
pub fn room() -> usize {
    folder::room()
}

/// The names in the engine's own folder.
#[wasm_bindgen]
pub fn names() -> Answer<Vec<String>> {
    folder::names()
}

/// The command `plan`: of `{ width, height, settings, region, models, adapter }`, JSON in and out.
#[wasm_bindgen]
pub fn plan(wanted: &str) -> Answer<String> {
    plan::plan(wanted)
}

/// The command `picture`: what `upscale` will work on has this size, and comes in bands.
#[wasm_bindgen]
pub fn picture(width: u32, height: u32) -> Answer<()> {
    picture::begin(width, height)
}

/// The command `band`: a part of that picture, in RGBA.
#[wasm_bindgen]
pub fn band(x: u32, y: u32, width: u32, height: u32, pixels: &[u8]) -> Answer<()> {
    picture::band(x, y, width, height, pixels)
}

/// The command `upscale` on the picture that came in bands: `wanted` is JSON without `noise`. With `about` (JSON) it is
/// kept in the engine's folder until it has ended, together with that.
#[wasm_bindgen]
pub async fn upscale(
    wanted: String,
    about: Option<String>,
    noise: Option<Blob>,
    tell: Function,
) -> Answer<String> {
    InTurns::new(run::upscale(&wanted, about.as_deref(), noise, &tell)).await
}

/// The command `resume`: go on with the run that is kept; the models must be loaded, and `noise` is what it was.
#[wasm_bindgen]
pub async fn resume(noise: Option<Blob>, tell: Function) -> Answer<String> {
    InTurns::new(run::resume(noise, &tell)).await
}

/// The command `unfinished`: the run that is kept, as JSON `{ wanted, about, at, width, height }`, if there is one.
#[wasm_bindgen]
pub fn unfinished() -> Answer<Option<String>> {
    kept::unfinished()
}

/// The command `discard`: forget it.
#[wasm_bindgen]
pub fn discard() -> Answer<()> {
    kept::forget()
}

/// The command `pixels`: RGBA of a part of the last result, each pixel the mean of `scale` × `scale`.
#[wasm_bindgen]
pub fn pixels(x: u32, y: u32, width: u32, height: u32, scale: u32) -> Answer<Vec<u8>> {
    save::pixels(x, y, width, height, scale)
}

/// The command `save`, into an open file of the browser's.
#[wasm_bindgen]
pub fn save_to(format: &str, quality: u8, file: SyncAccessHandle) -> Answer<()> {
    save::to_file(format, quality, file)
}

/// The command `save`, into memory: where the browser has no files.
#[wasm_bindgen]
pub fn save_bytes(format: &str, quality: u8) -> Answer<Vec<u8>> {
    save::to_memory(format, quality)
}

/// The command `cancel`: what runs stops.
#[wasm_bindgen]
pub fn cancel() {
    engine::cancel();
}
