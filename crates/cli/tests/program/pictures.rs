//! `clarifier upscale`: results, formats, bad input.

use std::path::Path;

use image::{DynamicImage, ImageBuffer, ImageReader, Rgb, Rgba};

use crate::{clarifier, command, demo, stderr};

/// A small picture, not symmetric in any way.
pub fn picture(width: u32, height: u32) -> DynamicImage {
    let pixel = |x: u32, y: u32| Rgb([(7 * x % 256) as u8, (11 * y % 256) as u8, ((x * y) % 256) as u8]);
    DynamicImage::ImageRgb8(ImageBuffer::from_fn(width, height, pixel))
}

fn files(folder: &Path) -> Vec<String> {
    let mut names: Vec<_> =
        std::fs::read_dir(folder).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn the_demo_is_enlarged_offline_and_named_after_its_factor() {
    let home = tempfile::tempdir().unwrap();
    let input = home.path().join("cat.png");
    std::fs::copy(demo(), &input).unwrap();
    let output = clarifier(home.path(), &["upscale", "cat.png", "--device", "cpu"]);
    assert!(output.status.success(), "{}", stderr(&output));
    assert!(stderr(&output).contains("models pull"), "it says how to get the rest");
    let result = ImageReader::open(home.path().join("cat_2x.png")).unwrap().decode().unwrap();
    assert_eq!((result.width(), result.height()), (902, 600));
    // Reduced again, it is the picture it came from: nothing has moved or changed colour.
    let back = result.resize_exact(451, 300, image::imageops::FilterType::Triangle).to_rgb8();
    let original = ImageReader::open(&input).unwrap().decode().unwrap().to_rgb8();
    let difference: u64 = back.iter().zip(original.iter()).map(|(a, b)| u64::from(a.abs_diff(*b))).sum();
    assert!(difference / (451 * 300 * 3) < 4, "{difference}");
    // A second time would overwrite it.
    let again = clarifier(home.path(), &["upscale", "cat.png", "--device", "cpu"]);
    assert_eq!(again.status.code(), Some(1));
    assert!(stderr(&again).contains("it exists already"));
}

#[test]
fn every_format_keeps_size_depth_and_alpha() {
    let home = tempfile::tempdir().unwrap();
    let path = |name: &str| home.path().join(name);
    picture(20, 12).save(path("rgb.jpg")).unwrap();
    picture(20, 12).to_luma8().save(path("grey.png")).unwrap();
    let sixteen = ImageBuffer::from_fn(20, 12, |x, y| Rgb([(x * 3000) as u16, (y * 5000) as u16, 777]));
    DynamicImage::ImageRgb16(sixteen).save(path("sixteen.tif")).unwrap();
    let alpha =
        ImageBuffer::from_fn(20, 12, |x, y| Rgba([200, 100, 50, if x < 10 { 255 } else { (y * 20) as u8 }]));
    DynamicImage::ImageRgba8(alpha).save(path("alpha.webp")).unwrap();
    let args = [
        "upscale",
        "rgb.jpg",
        "grey.png",
        "sixteen.tif",
        "alpha.webp",
        "--output-dir",
        "out",
        "--no-diffusion",
        "--device",
        "cpu",
        "-q",
    ];
    let output = clarifier(home.path(), &args);
    assert!(output.status.success(), "{}", stderr(&output));
    let open = |name: &str| ImageReader::open(path("out").join(name)).unwrap().decode().unwrap();
    for (name, colour) in [
        ("rgb_2x.jpg", image::ColorType::Rgb8),
        ("grey_2x.png", image::ColorType::L8),
        ("sixteen_2x.tif", image::ColorType::Rgb16),
        ("alpha_2x.webp", image::ColorType::Rgba8),
    ] {
        let result = open(name);
        assert_eq!((result.width(), result.height(), result.color()), (40, 24, colour), "{name}");
    }
    let alpha = open("alpha_2x.webp").to_rgba8();
    assert_eq!(alpha.get_pixel(5, 12).0[3], 255);
    assert!(alpha.get_pixel(35, 1).0[3] < 40);
}

#[test]
fn tiny_and_thin_pictures_work() {
    let home = tempfile::tempdir().unwrap();
    picture(1, 1).save(home.path().join("dot.png")).unwrap();
    picture(5000, 1).save(home.path().join("line.png")).unwrap();
    let output = clarifier(
        home.path(),
        &["upscale", "dot.png", "line.png", "--device", "cpu", "--no-diffusion", "--upscale-factor", "3"],
    );
    assert!(output.status.success(), "{}", stderr(&output));
    let size = |name: &str| image::image_dimensions(home.path().join(name)).unwrap();
    assert_eq!((size("dot_3x.png"), size("line_3x.png")), ((3, 3), (15000, 3)));
}

#[test]
fn bad_input_is_named_and_leaves_no_file() {
    let home = tempfile::tempdir().unwrap();
    let path = |name: &str| home.path().join(name);
    std::fs::write(path("text.png"), "this is no picture").unwrap();
    std::fs::write(path("empty.jpg"), "").unwrap();
    picture(200, 200).save(path("whole.jpg")).unwrap();
    picture(8, 8).save(path("good.png")).unwrap();
    let bytes = std::fs::read(path("whole.jpg")).unwrap();
    std::fs::write(path("cut.jpg"), &bytes[..bytes.len() / 3]).unwrap();
    // The header of a PNG of 4 billion × 4 billion pixels.
    let mut huge = std::fs::read(path("good.png")).unwrap();
    huge[16..24].copy_from_slice(&[0x7f, 0xff, 0xff, 0xff, 0x7f, 0xff, 0xff, 0xff]);
    std::fs::write(path("huge.png"), huge).unwrap();
    let esrgan = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/esrgan");
    let model = |name: &str| esrgan.join(name).display().to_string();
    let before = files(home.path());
    for (args, code, says) in [
        (vec!["text.png"], 1, "text.png: not a picture"),
        (vec!["empty.jpg"], 1, "empty.jpg: the file is empty"),
        (vec!["cut.jpg"], 1, "cut.jpg: damaged or cut off"),
        (vec!["huge.png"], 1, "huge.png:"),
        (vec!["missing.png"], 1, "missing.png"),
        (vec!["good.png", "-o", "no/such/folder/out.png"], 1, "there is no folder no/such/folder"),
        (vec!["good.png", "-o", "out.gif"], 1, "out.gif: this program writes"),
        (vec!["good.png", "-o", "/proc/out.png"], 1, "/proc/out.png: cannot be written"),
        (
            vec!["good.png", "-o", "big.webp", "--upscale-factor", "16", "--output-dir", "x"],
            2,
            "cannot be used with",
        ),
        (
            vec!["good.png", "--upscale-factor", "99"],
            2,
            "--upscale-factor 99 is out of range; it goes from 1 to 16",
        ),
        (vec!["good.png", "--solver", "magic"], 2, "unipc, lcm, tcd are the choices"),
        (vec!["good.png", "--solver", "DDIM Karras"], 2, "ddim has only its own"),
        (vec!["good.png", "--tile-overlap", "500"], 2, "--tile-overlap 500"),
        (vec!["good.png", "--memory-limit", "lots"], 2, "--memory-limit"),
        (vec!["good.png", "--tile-batch", "0"], 2, "--tile-batch"),
        (vec!["good.png", "--no-such-option"], 2, "--no-such-option"),
        (vec!["good.png", "--upscaler", &model("lora.safetensors")], 1, "this is a LoRA"),
        (vec!["good.png", "--upscaler", &model("evil.pth")], 1, "nothing of it was run"),
        (vec!["good.png", "--upscaler", &model("header_8eb.safetensors")], 1, "header claims"),
        (
            vec![
                "good.png",
                "--checkpoint",
                &model("sdxl.safetensors"),
                "--controlnet",
                &model("lora.safetensors"),
            ],
            1,
            "this is an SDXL checkpoint",
        ),
        (
            vec!["good.png", "--checkpoint", &model("lora.safetensors"), "--controlnet", "x"],
            1,
            "this is a LoRA",
        ),
        (vec!["good.png", "--checkpoint", "nowhere"], 1, "Tile ControlNet"),
    ] {
        let output = command(home.path()).args(["upscale", "--device", "cpu"]).args(&args).output().unwrap();
        let message = stderr(&output);
        assert_eq!(output.status.code(), Some(code), "{args:?}: {message}");
        assert!(message.contains(says) && !message.contains("panicked"), "{args:?}: {message}");
        assert_eq!(files(home.path()), before, "{args:?} left a file");
    }
}

#[test]
fn one_failure_does_not_stop_the_others() {
    let home = tempfile::tempdir().unwrap();
    std::fs::write(home.path().join("bad.png"), "no").unwrap();
    picture(9, 9).save(home.path().join("good.png")).unwrap();
    let output =
        clarifier(home.path(), &["upscale", "bad.png", "good.png", "--no-diffusion", "--device", "cpu"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("1 of 2 pictures done"));
    assert!(home.path().join("good_2x.png").is_file());
}

#[test]
#[cfg(target_os = "linux")]
fn a_full_disk_is_said_and_leaves_nothing() {
    let home = tempfile::tempdir().unwrap();
    let disk = home.path().join("disk");
    std::fs::create_dir(&disk).unwrap();
    picture(300, 300).save(home.path().join("in.png")).unwrap();
    // A disk of 64 KiB, in a mount namespace of the program's own.
    let script = format!(
        "mount -t tmpfs -o size=64k none disk && {} upscale in.png -o disk/out.png --device cpu; code=$?; ls -A disk; exit $code",
        env!("CARGO_BIN_EXE_clarifier")
    );
    let output = std::process::Command::new("unshare")
        .args(["--mount", "--map-root-user", "sh", "-c", &script])
        .env("HF_HOME", home.path())
        .current_dir(home.path())
        .output();
    let output = output.expect("unshare, of util-linux");
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    assert!(stderr(&output).contains("disk/out.png: cannot be written"), "{}", stderr(&output));
    assert!(output.stdout.is_empty(), "left behind: {}", String::from_utf8_lossy(&output.stdout));
}

#[test]
fn pictures_of_one_name_do_not_replace_each_other() {
    let home = tempfile::tempdir().unwrap();
    for folder in ["a", "b"] {
        std::fs::create_dir(home.path().join(folder)).unwrap();
        picture(9, 9).save(home.path().join(folder).join("in.png")).unwrap();
    }
    let args = ["upscale", "a/in.png", "b/in.png", "--output-dir", "out", "--overwrite", "--no-diffusion"];
    let dry = clarifier(home.path(), &[&args[..], &["--dry-run"]].concat());
    assert_eq!(files(home.path()), ["a", "b"]);
    let wet = clarifier(home.path(), &args);
    for output in [dry, wet] {
        assert_eq!(output.status.code(), Some(1));
        assert!(stderr(&output).contains("has that name already"), "{}", stderr(&output));
        assert!(stderr(&output).contains("1 of 2 pictures done"), "{}", stderr(&output));
    }
}

#[test]
#[cfg(unix)]
fn ctrl_c_ends_it_and_leaves_nothing() {
    use std::io::{BufRead, BufReader};

    let home = tempfile::tempdir().unwrap();
    // Half a minute of work.
    picture(2000, 1500).save(home.path().join("in.png")).unwrap();
    let mut process = command(home.path())
        .args(["upscale", "in.png", "--no-diffusion", "--device", "cpu", "--json"])
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut events = BufReader::new(process.stdout.take().unwrap()).lines().map(Result::unwrap);
    assert!(events.any(|event| event.contains(r#""event":"tile""#)));
    let interrupt = std::process::Command::new("kill").args(["-INT", &process.id().to_string()]).status();
    assert!(interrupt.unwrap().success());
    let last = events.last().unwrap();
    assert!(last.contains(r#""event":"cancelled""#), "{last}");
    let output = process.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130));
    assert!(stderr(&output).contains("cancelled; no result was written"), "{}", stderr(&output));
    assert_eq!(files(home.path()), ["in.png"]);
}

#[test]
fn events_are_json_and_a_dry_run_writes_nothing() {
    let home = tempfile::tempdir().unwrap();
    picture(16, 16).save(home.path().join("in.png")).unwrap();
    let plan = clarifier(home.path(), &["upscale", "in.png", "--dry-run", "--json", "--device", "cpu"]);
    assert!(plan.status.success());
    let plan = String::from_utf8(plan.stdout).unwrap();
    let plan: serde_json::Value = serde_json::from_str(plan.lines().last().unwrap()).unwrap();
    assert_eq!((&plan["event"], &plan["plan"]["stages"][0]["width"]), (&"plan".into(), &32.into()));
    assert_eq!(files(home.path()), ["in.png"]);
    let run = clarifier(home.path(), &["upscale", "in.png", "--json", "--device", "cpu", "--seed", "5"]);
    let lines = String::from_utf8(run.stdout).unwrap();
    let events: Vec<serde_json::Value> = lines.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    // What redraws and how to have more, what is loaded, then the only stage.
    assert_eq!(events[0]["event"], "warning");
    let after = events.iter().position(|event| event["event"] == "stage").unwrap();
    assert!(events[1..after].iter().all(|event| event["event"] == "load"), "{:?}", &events[..after]);
    assert_eq!(
        (&events.last().unwrap()["event"], &events.last().unwrap()["seed"]),
        (&"done".into(), &5.into())
    );
}

/// The pixels of a pyramid's largest level.
fn largest_level(dzi: &Path, size: (u32, u32), format: &str) -> image::RgbImage {
    let name = dzi.file_stem().unwrap().to_str().unwrap();
    let longest = f64::from(size.0.max(size.1));
    let level = dzi.with_file_name(format!("{name}_files")).join((longest.log2().ceil() as u32).to_string());
    let mut whole = image::RgbImage::new(size.0, size.1);
    for (column, row) in
        (0..size.1.div_ceil(254)).flat_map(|y| (0..size.0.div_ceil(254)).map(move |x| (x, y)))
    {
        let tile = image::open(level.join(format!("{column}_{row}.{format}"))).unwrap().to_rgb8();
        let at = |index: u32| i64::from((254 * index).saturating_sub(1));
        image::imageops::replace(&mut whole, &tile, at(column), at(row));
    }
    whole
}

#[test]
fn a_deep_zoom_pyramid_is_the_picture_in_tiles() {
    let home = tempfile::tempdir().unwrap();
    picture(160, 130).save(home.path().join("in.png")).unwrap();
    let run = |options: &[&str]| {
        let usual = ["upscale", "in.png", "--device", "cpu", "--no-diffusion", "--upscaler", "lanczos"];
        clarifier(home.path(), &[&usual[..], options].concat())
    };
    assert!(run(&["-o", "plain.png"]).status.success());
    let output = run(&["-o", "zoom.dzi", "--dzi-tiles", "png"]);
    assert!(output.status.success(), "{}", stderr(&output));
    let plain = image::open(home.path().join("plain.png")).unwrap().to_rgb8();
    assert_eq!(largest_level(&home.path().join("zoom.dzi"), (320, 260), "png"), plain);
    // How it was made is in the smallest tile.
    let output = run(&["--recipe", "zoom_files/0/0_0.png", "-o", "again.png"]);
    assert!(output.status.success(), "{}", stderr(&output));
    // Not over another, and not over tiles without a description either.
    std::fs::remove_file(home.path().join("zoom.dzi")).unwrap();
    let output = run(&["-o", "zoom.dzi"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("zoom_files: it exists already"), "{}", stderr(&output));
    assert!(run(&["-o", "zoom.dzi", "--overwrite"]).status.success());
    // JPEG tiles by default, and the pattern's name.
    let output = run(&["--format", "dzi"]);
    assert!(output.status.success(), "{}", stderr(&output));
    assert!(home.path().join("in_2x_files/9/1_1.jpg").exists() && home.path().join("in_2x.dzi").exists());
    let deep = run(&["-o", "deep.dzi", "--output-depth", "16"]);
    assert!(stderr(&deep).contains("--dzi-tiles png"), "{}", stderr(&deep));
    let names = ["again.png", "in.png", "in_2x.dzi", "in_2x_files", "plain.png", "zoom.dzi", "zoom_files"];
    assert_eq!(files(home.path()), names);
}

#[test]
fn a_picture_on_a_disk_becomes_what_one_in_memory_does() {
    let home = tempfile::tempdir().unwrap();
    picture(300, 200).save(home.path().join("in.png")).unwrap();
    let run = |options: &[&str]| {
        // The seed is in the recipe.
        let usual = [
            "upscale",
            "in.png",
            "--device",
            "cpu",
            "--no-diffusion",
            "--upscaler",
            "lanczos",
            "--seed",
            "1",
        ];
        let output = clarifier(home.path(), &[&usual[..], options].concat());
        assert!(output.status.success(), "{}", stderr(&output));
        String::from_utf8(output.stdout).unwrap()
    };
    run(&["-o", "memory.png"]);
    // Neither the input nor the copies may be in memory.
    let plan = run(&["-o", "disk.png", "--memory-limit", "64K", "--dry-run"]);
    assert!(plan.contains("working copies of the picture: ") && plan.contains(" MB on disk"), "{plan}");
    run(&["-o", "disk.png", "--memory-limit", "64K", "--work-dir", "work"]);
    let read = |name: &str| std::fs::read(home.path().join(name)).unwrap();
    assert!(read("memory.png") == read("disk.png"));
}

#[test]
#[cfg(target_os = "linux")]
fn a_disk_too_small_for_working_copies_is_said_before_any_work() {
    let home = tempfile::tempdir().unwrap();
    std::fs::create_dir(home.path().join("disk")).unwrap();
    picture(300, 300).save(home.path().join("in.png")).unwrap();
    // A disk of 512 KiB, in a mount namespace of the program's own.
    let script = format!(
        "mount -t tmpfs -o size=512k none disk && {} upscale in.png -o out.png --device cpu --no-diffusion --upscaler lanczos \
         --memory-limit 64K --work-dir disk",
        env!("CARGO_BIN_EXE_clarifier")
    );
    let output = std::process::Command::new("unshare")
        .args(["--mount", "--map-root-user", "sh", "-c", &script])
        .env("HF_HOME", home.path())
        .current_dir(home.path())
        .output()
        .expect("unshare, of util-linux");
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    assert!(stderr(&output).contains("--work-dir takes a folder on another disk"), "{}", stderr(&output));
    assert!(stderr(&output).contains("disk has 0 MB free"), "{}", stderr(&output));
    assert!(!home.path().join("out.png").exists());
}

#[test]
fn sides_that_a_format_cannot_have_are_refused_before_any_work() {
    let home = tempfile::tempdir().unwrap();
    picture(4200, 1).save(home.path().join("in.png")).unwrap();
    for (name, factor, limit) in [("out.jpg", "16", "65535"), ("out.webp", "4", "16383")] {
        let output = clarifier(
            home.path(),
            &["upscale", "in.png", "-o", name, "--upscale-factor", factor, "--device", "cpu"],
        );
        assert_eq!(output.status.code(), Some(1));
        assert!(stderr(&output).contains(&format!("at most {limit} pixels a side")), "{}", stderr(&output));
        assert!(stderr(&output).contains(".png"), "{}", stderr(&output));
        assert!(!stderr(&output).contains("device:"), "nothing was begun: {}", stderr(&output));
    }
}
