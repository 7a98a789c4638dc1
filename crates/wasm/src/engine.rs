//! What stays between commands, and how events leave.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::ops::ControlFlow;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Poll, Waker};

use clarifier_model::files::Source;
use clarifier_raster::{PoolFolder, Raster};
use clarifier_upscale::device::{Backend, DeviceChoice};
use clarifier_upscale::{DiffusionPaths, Error, Event, Models, UpscalerChoice};
use js_sys::{Function, Uint8Array};
use wasm_bindgen::JsValue;

use crate::picture::Input;

/// What is loaded, and what it was loaded from.
pub struct Loaded {
    pub models: Models,
    pub device: DeviceChoice,
    pub upscaler: UpscalerChoice,
    pub paths: Option<DiffusionPaths>,
}

/// What stays between commands.
#[derive(Default)]
pub struct Engine {
    /// The files of the last choice of models, by the ids that the worker gave them.
    pub files: Vec<(String, Source)>,
    /// The devices that were started: none can be started twice.
    pub backends: Vec<(DeviceChoice, Backend)>,
    /// None while a command has it.
    pub loaded: Option<Loaded>,
    /// Where what is large is kept; none in browsers without files.
    pub folder: Option<Arc<PoolFolder>>,
    /// Of the next run.
    pub input: Option<Input>,
    /// Of the last run.
    pub result: Option<Raster>,
}

thread_local! {
    /// Only borrowed between awaits.
    pub static ENGINE: RefCell<Engine> = RefCell::default();
    /// Whether what runs is to stop.
    static CANCELLED: Cell<bool> = const { Cell::new(false) };
    /// What runs, if it waits.
    static WAITING: RefCell<Option<Waker>> = const { RefCell::new(None) };
}

/// Stop what runs.
pub fn cancel() {
    CANCELLED.set(true);
    if let Some(waiting) = WAITING.take() {
        waiting.wake();
    }
}

/// What `work` gives, or that it was cancelled: at once where it waits for a GPU, which may have much to
/// do still, else at the next event.
pub async fn cancellable<T, E: From<Error>>(work: impl Future<Output = Result<T, E>>) -> Result<T, E> {
    let mut work = pin!(work);
    CANCELLED.set(false);
    poll_fn(|context| {
        if CANCELLED.get() {
            return Poll::Ready(Err(Error::Cancelled.into()));
        }
        WAITING.set(Some(context.waker().clone()));
        work.as_mut().poll(context)
    })
    .await
}

/// An observer that tells the worker: an event as JSON, and its pixels if it has any.
pub fn teller(tell: &Function) -> impl FnMut(Event) -> ControlFlow<()> {
    move |event| {
        let pixels = match &event {
            Event::Preview(preview) => JsValue::from(Uint8Array::from(&preview.pixels[..])),
            Event::Step { preview: Some(preview), .. } | Event::Part(preview) => {
                JsValue::from(Uint8Array::from(&preview.pixels[..]))
            }
            _ => JsValue::UNDEFINED,
        };
        let json = serde_json::to_string(&event).expect("events are plain data");
        // The worker's function only posts a message.
        let _ = tell.call2(&JsValue::NULL, &json.into(), &pixels);
        if CANCELLED.get() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }
}
