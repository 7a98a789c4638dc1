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
