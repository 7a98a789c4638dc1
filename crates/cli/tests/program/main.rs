//! The program as a user runs it.

mod adapters;
mod batch;
mod console;
mod hostile;
mod hub;
mod interrupted;
mod metadata;
mod pictures;
mod recipes;
mod selftest;
mod starter;
mod store;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// The program, with no models of the user's in sight.
pub fn clarifier(home: &Path, args: &[&str]) -> Output {
    command(home).args(args).output().expect("the program starts")
}

/// The program, for further settings.
pub fn command(home: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_clarifier"));
    for name in ["HF_TOKEN", "HF_ENDPOINT", "HF_HUB_CACHE"] {
        command.env_remove(name);
    }
    command.env("HF_HOME", home).env("XDG_RUNTIME_DIR", home).current_dir(home);
    command
}

/// What it said.
pub fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// The README's picture.
pub fn demo() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../assets/demo/cat.png")
}
