//! Work that leaves room for the worker's other messages: a browser hands them out between the tasks of
//! its event loop, and promises that follow each other are all one task.

use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};

use js_sys::{Function, Promise};
use wasm_bindgen::prelude::wasm_bindgen;
use wasm_bindgen_futures::JsFuture;

#[wasm_bindgen]
extern "C" {
    #[wasm_bindgen(js_name = setTimeout)]
    fn set_timeout(act: &Function, milliseconds: u32);
}

/// Done in a later task of the event loop.
fn next_task() -> JsFuture {
    JsFuture::from(Promise::new(&mut |resolve, _| set_timeout(&resolve, 0)))
}

/// Whether the work wants to go on.
struct Call {
    heard: AtomicBool,
    outer: Mutex<Waker>,
}

impl Wake for Call {
    fn wake(self: Arc<Self>) {
        self.heard.store(true, Ordering::Relaxed);
        if let Ok(outer) = self.outer.lock() {
            outer.wake_by_ref();
        }
    }
}

/// `work`, which goes on in another task of the event loop each time that it has waited.
pub struct InTurns<F> {
    work: Pin<Box<F>>,
    call: Arc<Call>,
    turn: Option<JsFuture>,
}

impl<F: Future> InTurns<F> {
    pub fn new(work: F) -> Self {
        let call = Call { heard: AtomicBool::new(true), outer: Mutex::new(Waker::noop().clone()) };
        Self { work: Box::pin(work), call: Arc::new(call), turn: None }
    }
}

impl<F: Future> Future for InTurns<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context) -> Poll<F::Output> {
        let this = &mut *self;
        if let Ok(mut outer) = this.call.outer.lock() {
            outer.clone_from(context.waker());
        }
        while this.call.heard.load(Ordering::Relaxed) {
            let turn = this.turn.get_or_insert_with(next_task);
            if Pin::new(turn).poll(context).is_pending() {
                return Poll::Pending;
            }
            this.turn = None;
            this.call.heard.store(false, Ordering::Relaxed);
            let waker = Waker::from(this.call.clone());
            if let Poll::Ready(done) = this.work.as_mut().poll(&mut Context::from_waker(&waker)) {
                return Poll::Ready(done);
            }
        }
        Poll::Pending
    }
}
