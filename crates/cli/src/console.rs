//! Everything that the program says, on standard output and standard error. A reader that has gone away, or a full disk behind one of them,
//! never ends a run.

use std::fmt::Arguments;
use std::io::{ErrorKind, Write, stderr, stdout};
use std::sync::atomic::{AtomicBool, Ordering};

/// Set once something that was written to standard output is lost, other than to a reader that had seen enough.
static LOST: AtomicBool = AtomicBool::new(false);

/// [`print!`] that cannot fail.
macro_rules! out {
    ($($text:tt)*) => { $crate::console::write_out(format_args!($($text)*)) };
}

/// [`println!`] that cannot fail.
macro_rules! outln {
    () => { $crate::console::write_out(format_args!("\n")) };
    ($($text:tt)*) => { $crate::console::write_out(format_args!("{}\n", format_args!($($text)*))) };
}

/// [`eprintln!`] that cannot fail.
macro_rules! errln {
    ($($text:tt)*) => { $crate::console::write_err(format_args!("{}\n", format_args!($($text)*))) };
}

/// Write to standard output; [`output_was_lost`] tells afterwards.
pub fn write_out(text: Arguments<'_>) {
    let mut out = stdout().lock();
    // Each line at once, as it would be on a terminal, so that a full disk is noticed here.
    if let Err(error) = out.write_fmt(text).and_then(|()| out.flush())
        && error.kind() != ErrorKind::BrokenPipe
    {
        LOST.store(true, Ordering::Relaxed);
    }
}

/// Write to standard error; what cannot be written is dropped, for there is nobody left to tell.
pub fn write_err(text: Arguments<'_>) {
    let _ = stderr().lock().write_fmt(text);
}

/// True if standard output has not taken all of it: its disk is full, say.
pub fn output_was_lost() -> bool {
    LOST.load(Ordering::Relaxed)
}
