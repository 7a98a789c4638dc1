//! Nobody has to listen: a run goes on, and what a program was asked for by its output is not lost without a word.

use std::fs::OpenOptions;
use std::io::pipe;
use std::process::{Output, Stdio};

use crate::pictures::picture;
use crate::{clarifier, command, stderr};

/// Enlarges a picture with these ends for its output, and returns how it ended and the result's bytes.
fn enlarged(home: &std::path::Path, stdout: Stdio, stderr: Stdio, more: &[&str]) -> (Output, Vec<u8>) {
    picture(40, 32).save(home.join("in.png")).unwrap();
    let args = [
        "upscale",
        "in.png",
        "-o",
        "out.png",
        "--overwrite",
        "--seed",
        "1",
        "--device",
        "cpu",
        "--no-diffusion",
    ];
    let output = command(home).args(args).args(more).stdout(stdout).stderr(stderr).output().unwrap();
    let result = std::fs::read(home.join("out.png")).unwrap_or_default();
    let _ = std::fs::remove_file(home.join("out.png"));
    (output, result)
}

/// One end of a pipe whose other end is closed.
fn closed() -> Stdio {
    pipe().unwrap().1.into()
}

fn full() -> Stdio {
    OpenOptions::new().write(true).open("/dev/full").unwrap().into()
}

#[test]
#[cfg(target_os = "linux")]
fn a_run_goes_on_when_nobody_listens() {
    let home = tempfile::tempdir().unwrap();
    let (heard, expected) = enlarged(home.path(), Stdio::piped(), Stdio::piped(), &[]);
    assert!(heard.status.success() && !expected.is_empty(), "{}", stderr(&heard));
    for end in [closed, full] {
        for more in [&[][..], &["--verbose"], &["--work-dir", "work", "--restart"], &["--solver", "none"]] {
            let (output, result) = enlarged(home.path(), Stdio::piped(), end(), more);
            // A wrong option is an error of its own, which nobody sees.
            let code = if more.contains(&"none") { 2 } else { 0 };
            assert_eq!(output.status.code(), Some(code), "{more:?}");
            assert!(code == 2 || result == expected, "{more:?}");
        }
    }
    let (output, result) = enlarged(home.path(), closed(), Stdio::piped(), &["--json"]);
    assert!(output.status.success() && result == expected, "{}", stderr(&output));
}

#[test]
#[cfg(target_os = "linux")]
fn output_that_does_not_fit_is_an_error_and_a_reader_who_leaves_is_none() {
    let home = tempfile::tempdir().unwrap();
    for (args, end, code) in [
        (&["models", "list"][..], closed(), 0),
        (&["models", "list"], full(), 1),
        (&["devices"], closed(), 0),
        (&["devices", "--json"], full(), 1),
    ] {
        let output = command(home.path()).args(args).stdout(end).stderr(Stdio::piped()).output().unwrap();
        assert_eq!(output.status.code(), Some(code), "{args:?}: {}", stderr(&output));
        assert!(code == 0 || stderr(&output).contains("is the disk full"), "{}", stderr(&output));
    }
    assert!(clarifier(home.path(), &["models", "list"]).status.success());
}
