//! Pictures that broke the program once (tests/fixtures/hostile): each is an error of its own, and what comes after it is done.

use std::path::{Path, PathBuf};

use crate::pictures::picture;
use crate::{clarifier, stderr};

fn hostile(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/hostile").join(name)
}

const BROKEN: [&str; 2] = ["png_plte_of_4_bytes.png", "webp_panic_decoder_858.webp"];
const ENLARGE: [&str; 5] = ["--no-diffusion", "--upscaler", "lanczos", "--device", "cpu"];

#[test]
fn a_batch_goes_on_after_a_picture_that_its_decoder_breaks_down_of() {
    let home = tempfile::tempdir().unwrap();
    let broken = BROKEN.map(hostile);
    for picture in &broken {
        std::fs::copy(picture, home.path().join(picture.file_name().unwrap())).unwrap();
    }
    picture(8, 6).save(home.path().join("z.png")).unwrap();
    for more in [&[][..], &["--work-dir", "work"]] {
        let args = ["upscale", BROKEN[0], BROKEN[1], "z.png", "--output-dir", "results", "--overwrite"];
        let output = clarifier(home.path(), &[&args[..], &ENLARGE, more].concat());
        assert_eq!(output.status.code(), Some(1));
        let said = stderr(&output);
        for name in BROKEN {
            assert!(said.contains(&format!("{name}: damaged or cut off (its decoder broke down")), "{said}");
        }
        assert!(!said.contains("fault of the program"), "{said}");
        let names = || std::fs::read_dir(home.path().join("results")).unwrap().count();
        assert_eq!(names(), 1, "{said}");
    }
}

#[test]
fn a_packet_of_elements_that_never_end_is_read_at_once() {
    let home = tempfile::tempdir().unwrap();
    let input = hostile("xmp_orient_open_1MB.png");
    let args = ["upscale", input.to_str().unwrap(), "-o", "out.png"];
    let output = clarifier(home.path(), &[&args[..], &ENLARGE].concat());
    assert!(output.status.success(), "{}", stderr(&output));
}

#[test]
#[cfg(target_os = "linux")]
fn pipes_and_devices_are_refused_and_never_waited_for() {
    let home = tempfile::tempdir().unwrap();
    let fifo = home.path().join("folder/a.png");
    std::fs::create_dir(home.path().join("folder")).unwrap();
    assert!(std::process::Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    picture(8, 6).save(home.path().join("folder/b.png")).unwrap();
    let output =
        clarifier(home.path(), &[&["upscale", "folder", "--output-dir", "results"][..], &ENLARGE].concat());
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("a.png: a pipe or a device"), "{}", stderr(&output));
    assert!(home.path().join("results/b_2x.png").exists(), "{}", stderr(&output));
    let weights = ["--checkpoint", "folder/a.png", "--controlnet", "folder/a.png"];
    let output =
        clarifier(home.path(), &[&["upscale", "folder/b.png", "-o", "c.png"][..], &weights].concat());
    assert!(stderr(&output).contains("a pipe or a device"), "{}", stderr(&output));
    for option in ["--settings", "--tile-prompts", "--preset"] {
        let output = clarifier(home.path(), &["upscale", "folder/b.png", "-o", "c.png", option, "/dev/zero"]);
        assert_eq!(output.status.code(), Some(2), "{option}");
        assert!(stderr(&output).contains("more than 16 MB"), "{option}: {}", stderr(&output));
    }
}
