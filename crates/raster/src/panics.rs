//! Panics of decoders, which are others' code, as errors of the picture.

use std::any::Any;
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};

thread_local! {
    static CAUGHT: Cell<bool> = const { Cell::new(false) };
}

/// True while this thread decodes a picture, where a panic becomes an error of that picture: for panic hooks, which are
/// called before.
pub fn catches_panics() -> bool {
    CAUGHT.get()
}

/// Run `decode`. What it was making when it panicked is dropped.
///
/// # Errors
/// The panic's own words.
pub(crate) fn caught<T>(decode: impl FnOnce() -> T) -> Result<T, String> {
    let outer = CAUGHT.replace(true);
    let result = catch_unwind(AssertUnwindSafe(decode));
    CAUGHT.set(outer);
    result.map_err(|panic| words(&*panic).to_owned())
}

fn words(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("it does not say of what")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_an_error_and_known_to_hooks_only_meanwhile() {
        let broken = caught(|| {
            assert!(catches_panics());
            panic!("index {}", 3)
        });
        assert_eq!(broken, Err::<(), _>("index 3".to_owned()));
        assert!(!catches_panics());
        assert_eq!(caught(|| 7), Ok(7));
    }
}
