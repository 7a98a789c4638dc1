//! What a user sees when the program itself is wrong: one line, and never a backtrace.

use std::panic::{AssertUnwindSafe, PanicHookInfo, catch_unwind, set_hook};
use std::sync::atomic::{AtomicBool, Ordering};

/// Run the program; a panic in it is a line on standard error, and none comes of it.
pub fn guard<T>(program: impl FnOnce() -> T) -> Option<T> {
    // One panic of a worker thread often brings others with it; the first says what happened.
    let said = AtomicBool::new(false);
    set_hook(Box::new(move |info| {
        if clarifier_raster::catches_panics() {
            // It is that picture's error.
            return;
        }
        let message = message(info);
        if !said.swap(true, Ordering::Relaxed) {
            let place =
                info.location().map_or_else(String::new, |at| format!(" ({}:{})", at.file(), at.line()));
            errln!(
                "error: {message}{place}; this is a fault of the program or of the GPU's driver: please report it"
            );
        }
    }));
    catch_unwind(AssertUnwindSafe(program)).ok()
}

/// The panic's own words, on one line.
fn message(info: &PanicHookInfo) -> String {
    let words = info.payload_as_str().unwrap_or("the program stopped unexpectedly");
    words.split_whitespace().collect::<Vec<_>>().join(" ")
}
