//! Panics of decoders, which are others' code, as errors of the picture.

use std::any::Any;
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::decode::DecodeError;

thread_local! {
    static CAUGHT: Cell<bool> = const { Cell::new(false) };
}

/// True while this thread decodes a picture, where a panic becomes an error of that picture: for panic hooks, which are
/// called before.
pub fn catches_panics() -> bool {
    CAUGHT.get()
}

/// Run `decode` on the picture `name`; a panic in it is [`DecodeError::Damaged`]. What it was making is dropped.
pub(crate) fn caught<T>(
    name: &str,
    decode: impl FnOnce() -> Result<T, DecodeError>,
) -> Result<T, DecodeError> {
    let outer = CAUGHT.replace(true);
    let result = catch_unwind(AssertUnwindSafe(decode));
    CAUGHT.set(outer);
    result.unwrap_or_else(|panic| {
        let reason = format!("its decoder broke down: {}", words(&*panic));
        Err(DecodeError::Damaged { name: name.to_owned(), reason })
    })
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
        let broken = caught("a.png", || -> Result<(), _> {
            assert!(catches_panics());
            panic!("index {}", 3)
        });
        assert!(
            broken
                .unwrap_err()
                .to_string()
                .contains("a.png: damaged or cut off (its decoder broke down: index 3)")
        );
        assert!(!catches_panics());
        assert_eq!(caught("b.png", || Ok(7)).unwrap(), 7);
    }
}
