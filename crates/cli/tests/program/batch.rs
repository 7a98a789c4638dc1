//! Many pictures: folders, names, what is skipped, what fails, the work folder.

use std::path::Path;

use image::{Rgb, RgbImage};
use serde_json::Value;

use crate::{clarifier, command, stderr};

fn picture(path: &Path, width: u32, height: u32) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    RgbImage::from_fn(width, height, |x, y| Rgb([(7 * x) as u8, (11 * y) as u8, 90])).save(path).unwrap();
}

/// All files below `folder`, with `/`.
fn files(folder: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in std::fs::read_dir(next).unwrap().map(|entry| entry.unwrap().path()) {
            if entry.is_dir() {
                folders.push(entry);
            } else {
                found.push(entry.strip_prefix(folder).unwrap().display().to_string().replace('\\', "/"));
            }
        }
    }
    found.sort();
    found
}

const FAST: [&str; 6] = ["upscale", "--no-diffusion", "--upscaler", "lanczos", "--device", "cpu"];

#[test]
fn a_folder_keeps_its_layout_and_a_second_run_does_nothing_anew() {
    let home = tempfile::tempdir().unwrap();
    let at = |name: &str| home.path().join(name);
    for name in ["in/b.png", "in/a.jpg", "in/sub/a.jpg", "in/.hidden.png"] {
        picture(&at(name), 12, 8);
    }
    std::fs::write(at("in/notes.txt"), "no picture").unwrap();
    std::fs::write(at("in/broken.png"), "no picture").unwrap();
    // The results lie within the folder that is gone through.
    let args = ["in", "-r", "--output-dir", "in/out", "--name", "{index}-{name}-{width}", "--format", "webp"];
    let run = clarifier(home.path(), &[&FAST[..], &args].concat());
    assert_eq!(run.status.code(), Some(1), "{}", stderr(&run));
    let said = stderr(&run);
    assert!(said.contains("3 of 4 pictures done, 1 failed:\n  in/broken.png: not a picture"), "{said}");
    let results = ["1-a-24.webp", "2-b-24.webp", "sub/4-a-24.webp"];
    assert_eq!(files(&at("in/out")), results);
    let again = clarifier(home.path(), &[&FAST[..], &args, &["--skip-existing", "--json"]].concat());
    let lines = String::from_utf8(again.stdout).unwrap();
    let events: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let summary = events.last().unwrap();
    assert_eq!((&summary["event"], &summary["done"]), (&"summary".into(), &0.into()), "{lines}");
    assert_eq!((summary["skipped"].as_array().unwrap().len(), &summary["total"]), (3, &4.into()));
    assert_eq!(summary["failed"][0]["input"], "in/broken.png");
    assert_eq!(files(&at("in/out")), results);
}

#[test]
fn results_beside_their_pictures_are_not_enlarged_again() {
    let home = tempfile::tempdir().unwrap();
    let at = |name: &str| home.path().join(name);
    picture(&at("in/a.png"), 12, 8);
    picture(&at("in/b.png"), 12, 8);
    for factor in ["2", "3"] {
        let run = clarifier(home.path(), &[&FAST[..], &["in", "--upscale-factor", factor]].concat());
        assert!(run.status.success(), "{}", stderr(&run));
    }
    assert_eq!(
        files(&at("in")),
        ["a.png", "a_2x.png", "a_3x.png", "b.png", "b_2x.png", "b_3x.png"],
        "no a_2x_3x.png"
    );
    // Named, or matched by a pattern of the shell's, it is wanted.
    let run =
        clarifier(home.path(), &[&FAST[..], &["in/a_2x.png", "in/[b].png", "--output-dir", "out"]].concat());
    assert!(run.status.success(), "{}", stderr(&run));
    assert_eq!(files(&at("out")), ["a_2x_2x.png", "b_2x.png"]);
}

#[test]
fn what_would_lose_a_picture_or_cannot_be_is_refused() {
    let home = tempfile::tempdir().unwrap();
    let at = |name: &str| home.path().join(name);
    picture(&at("a.png"), 12, 8);
    picture(&at("b.png"), 12, 8);
    picture(&at("long.png"), 9000, 1);
    std::fs::write(at("noise.safetensors"), [2, 0, 0, 0, 0, 0, 0, 0, b'{', b'}']).unwrap();
    let before = files(home.path());
    for (args, code, says) in [
        (&["a.png", "-o", "a.png", "--overwrite"][..], 1, "a.png: the result would replace a picture"),
        (&["a.png", "--name", "{name}", "--overwrite"], 1, "a.png: the result would replace a picture"),
        (&["./a.png", "b.png", "-o", "b.png"], 2, "-o names one result"),
        (&["?.png", "-o", "c.png"], 1, "-o names one result and there are 2 pictures"),
        (&["long.png", "--format", "webp"], 1, "write .png or .tif or .jpg"),
        (&["long.png", "--format", "jpg", "--upscale-factor", "8"], 1, "write .png or .tif"),
        (&["a.png", "--format", "jpg", "--output-depth", "16"], 1, "--output-depth 16 needs a .png or .tif"),
        (&["a.png", "--name", "{nme}"], 2, "there is no field {nme}"),
        (&["a.png", "--format", "gif"], 2, "gif"),
        (&["a.png", "--overwrite", "--skip-existing"], 2, "cannot be used with"),
        (&["*.gif"], 1, "no picture has such a name"),
        (&["a.png", "--noise", "noise.safetensors"], 1, "it must hold a tensor \"noise\" of shape [4, 2, 3]"),
    ] {
        let run = clarifier(home.path(), &[&FAST[..], args].concat());
        let said = stderr(&run);
        assert_eq!(run.status.code(), Some(code), "{args:?}: {said}");
        assert!(said.contains(says) && !said.contains("panicked"), "{args:?}: {said}");
        assert_eq!(files(home.path()), before, "{args:?} left a file");
    }
}

#[test]
fn the_work_folder_shows_the_run() {
    let home = tempfile::tempdir().unwrap();
    let at = |name: &str| home.path().join(name);
    picture(&at("cat.png"), 40, 30);
    // Tiles of 64 pixels: 80 × 60 pixels are 2 × 1 of them.
    let tiles = ["--tile-width", "8", "--tile-height", "8", "--tile-overlap", "2"];
    let run =
        clarifier(home.path(), &[&FAST[..], &["cat.png", "--work-dir", "work", "--json"], &tiles].concat());
    assert!(run.status.success(), "{}", stderr(&run));
    let expected = [
        ".clarifier_previews",
        "catR1C1.jpg",
        "catR1C2.jpg",
        "cat_enhanced_full.png",
        "clarifier.log",
        "clarifier_now.png",
        "processing_status.txt",
    ];
    assert_eq!(files(&at("work")), expected);
    let result = image::open(at("work/cat_enhanced_full.png")).unwrap().to_rgb8();
    // So small a picture is its own thumbnail.
    assert!(image::open(at("work/clarifier_now.png")).unwrap().to_rgb8() == result);
    let tile = image::open(at("work/catR1C2.jpg")).unwrap().to_rgb8();
    assert_eq!(tile.dimensions(), (64, 60));
    // A JPEG of that part of the result.
    let difference: u64 = tile
        .enumerate_pixels()
        .map(|(x, y, p)| u64::from(p[1].abs_diff(result.get_pixel(x + 16, y)[1])))
        .sum();
    assert!(difference < 64 * 60 * 4, "{difference}");
    let status = std::fs::read_to_string(at("work/processing_status.txt")).unwrap();
    assert!(status.starts_with("state: done\npercent: 100.0\n"), "{status}");
    let previews = String::from_utf8(run.stdout).unwrap();
    assert_eq!(previews.lines().filter(|line| line.contains(r#""event":"preview","row":1"#)).count(), 2);
    // Asked for, results go elsewhere.
    let args = ["cat.png", "--work-dir", "work", "-o", "there.png"];
    assert!(clarifier(home.path(), &[&FAST[..], &args].concat()).status.success());
    assert!(at("there.png").is_file());
    std::fs::write(at("bad.png"), "no").unwrap();
    let run = clarifier(home.path(), &[&FAST[..], &["bad.png", "--work-dir", "work"]].concat());
    assert_eq!(run.status.code(), Some(1));
    let status = std::fs::read_to_string(at("work/processing_status.txt")).unwrap();
    assert!(status.starts_with("state: failed: bad.png: not a picture"), "{status}");
    let log = std::fs::read_to_string(at("work/clarifier.log")).unwrap();
    for says in [
        "cat.png (40 × 30) → ",
        "settings: {",
        "enlarging: 1 tiles done",
        "written: there.png",
        "Z failed: bad.png",
    ] {
        assert!(log.contains(says), "{says}: {log}");
    }
}

#[test]
#[cfg(unix)]
fn ctrl_c_after_the_last_tile_still_counts() {
    use std::io::{BufRead, BufReader};

    let home = tempfile::tempdir().unwrap();
    // 27 megapixels, of which one tile is told; then they are still to be converted and written, which takes seconds.
    picture(&home.path().join("in.png"), 375, 280);
    let mut process = command(home.path())
        .args(FAST)
        .args(["in.png", "--upscale-factor", "16", "--output-depth", "16", "--json"])
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut events = BufReader::new(process.stdout.take().unwrap()).lines().map(Result::unwrap);
    assert!(
        events.any(|event| event.contains(r#""event":"tile""#) && event.contains(r#""done":1,"total":1"#))
    );
    let interrupt = std::process::Command::new("kill").args(["-INT", &process.id().to_string()]).status();
    assert!(interrupt.unwrap().success());
    assert!(events.last().unwrap().contains(r#""event":"cancelled""#));
    assert_eq!(process.wait().unwrap().code(), Some(130));
    assert_eq!(files(home.path()), ["in.png"]);
}

#[test]
#[cfg(unix)]
fn the_status_tells_of_a_run_while_it_lasts() {
    use std::io::{BufRead, BufReader};

    let home = tempfile::tempdir().unwrap();
    // Seconds of work, in many tiles.
    picture(&home.path().join("in.png"), 1500, 1000);
    let mut process = command(home.path())
        .args(["upscale", "in.png", "--upscaler", "lite", "--no-diffusion", "--device", "cpu", "--json"])
        .args(["--work-dir", "work"])
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut events = BufReader::new(process.stdout.take().unwrap()).lines().map(Result::unwrap);
    let mut percents = Vec::new();
    let text = || std::fs::read_to_string(home.path().join("work/processing_status.txt")).unwrap();
    for event in events.by_ref().filter(|event| event.contains(r#""event":"tile""#)).take(12) {
        let status = text();
        // Always whole, whenever it is read.
        assert!(status.starts_with("state: ") && status.ends_with("Z\n"), "{event}: {status}");
        let percent = status.lines().find_map(|line| line.strip_prefix("percent: ")).unwrap();
        percents.push(percent.parse::<f64>().unwrap());
    }
    assert!(percents.is_sorted() && *percents.last().unwrap() > 5.0, "{percents:?}");
    assert!(text().contains("\nphase: enlarging\ntiles: "), "{}", text());
    let interrupt = std::process::Command::new("kill").args(["-INT", &process.id().to_string()]).status();
    assert!(interrupt.unwrap().success());
    events.for_each(drop);
    assert_eq!(process.wait().unwrap().code(), Some(130));
    assert!(text().starts_with("state: cancelled\n"), "{}", text());
}

#[test]
fn pictures_of_tiles_never_replace_the_users() {
    let home = tempfile::tempdir().unwrap();
    let dir = home.path().join("wd");
    std::fs::create_dir(&dir).unwrap();
    for (name, width) in [("cat.png", 30), ("catR1C1.jpg", 41)] {
        image::RgbImage::from_pixel(width, 20, image::Rgb([9, 99, 200])).save(dir.join(name)).unwrap();
    }
    let mine = std::fs::read(dir.join("catR1C1.jpg")).unwrap();
    let args = ["upscale", "wd/cat.png", "--work-dir", "wd", "--device", "cpu", "--no-diffusion"];
    let output = clarifier(home.path(), &args);
    assert!(output.status.success(), "{}", stderr(&output));
    assert!(stderr(&output).contains("catR1C1.jpg is there and no picture of a tile"), "{}", stderr(&output));
    assert!(mine == std::fs::read(dir.join("catR1C1.jpg")).unwrap());
    // A region has a name of its own.
    let region = clarifier(home.path(), &[&args[..], &["--region", "0,0,8,8"]].concat());
    assert!(region.status.success(), "{}", stderr(&region));
    assert_eq!(image::image_dimensions(dir.join("cat_enhanced_full.png")).unwrap(), (60, 40));
    assert_eq!(image::image_dimensions(dir.join("cat_enhanced_region.png")).unwrap(), (16, 16));
    // A picture of a tile is replaced by a later run's.
    std::fs::remove_file(dir.join("catR1C1.jpg")).unwrap();
    for _ in 0..2 {
        let again = clarifier(home.path(), &[&args[..], &["--overwrite"]].concat());
        assert!(again.status.success() && !stderr(&again).contains("left alone"), "{}", stderr(&again));
    }
}
