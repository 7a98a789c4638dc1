//! Presets and recipes, with tiny networks in the real file formats.

use std::path::Path;

use clarifier_tests::models::{Scale, write_diffusers};
use clarifier_tests::weights::Stored;
use image::{ImageBuffer, Rgb};

use crate::{clarifier, stderr};

/// A folder with a picture, a mask, networks and a file of prompts.
fn home() -> tempfile::TempDir {
    let home = tempfile::tempdir().unwrap();
    write_diffusers(&home.path().join("tiny"), Scale::Tiny, Stored::F32);
    let pixel = |x: u32, y: u32| Rgb([(7 * x % 256) as u8, (11 * y % 256) as u8, ((x * y) % 256) as u8]);
    ImageBuffer::from_fn(40, 26, pixel).save(home.path().join("in.png")).unwrap();
    ImageBuffer::from_fn(40, 26, |x, _| image::Luma([if x < 20 { 0u8 } else { 255 }]))
        .save(home.path().join("mask.png"))
        .unwrap();
    std::fs::write(home.path().join("places.txt"), "R1C1: a cat\n20,0,20,26: a dog\n").unwrap();
    home
}

const QUICK: [&str; 8] =
    ["--checkpoint", "tiny", "--device", "cpu", "--upscaler", "lanczos", "--num-inference-steps", "5"];

/// The file that `args` make.
fn make(home: &Path, name: &str, args: &[&str]) -> Vec<u8> {
    let output = clarifier(home, &[&["upscale", "in.png", "-o", name, "--device", "cpu"], args].concat());
    assert!(output.status.success(), "{args:?}: {}", stderr(&output));
    std::fs::read(home.join(name)).unwrap()
}

#[test]
fn a_recipe_read_back_gives_the_same_bytes() {
    let home = home();
    for (name, args) in [
        ("seed.png", vec!["--tile-width", "8", "--tile-height", "8", "--tile-overlap", "2", "--tile-jitter"]),
        (
            "sde.jpg",
            vec!["--solver", "DPM++ 3M SDE Karras", "--sharpen", "0.5", "--prompt", "grün, (\"x\":1.2)"],
        ),
        ("region.tif", vec!["--region", "3,5,20,15", "--output-depth", "16", "--colour-lock", "0.3"]),
        ("places.webp", vec!["--tile-prompts", "places.txt", "--seed", "12", "--preset", "space"]),
        ("plain.png", vec!["--no-diffusion", "--upscale-factor", "1.7"]),
    ] {
        let quick: Vec<&str> =
            QUICK.iter().copied().filter(|arg| *arg != "--device" && *arg != "cpu").collect();
        let first = make(home.path(), name, &[&args[..], &quick].concat());
        let again = format!("again_{name}");
        let repeat = vec!["--recipe", name];
        let second = make(home.path(), &again, &repeat);
        assert!(first == second, "{name}: {} and {} bytes differ", first.len(), second.len());
        // An option beside the recipe wins.
        let other = make(home.path(), &format!("other_{name}"), &[&repeat[..], &["--sharpen", "2"]].concat());
        assert!(first != other, "{name}");
    }
}

#[test]
fn what_a_recipe_lacks_is_said() {
    let home = home();
    make(
        home.path(),
        "masked.png",
        &[&QUICK[..2], &QUICK[4..], &["--mask", "mask.png", "--seed", "3"]].concat(),
    );
    let run = |args: &[&str]| {
        clarifier(home.path(), &[&["upscale", "in.png", "--device", "cpu", "-o", "again.png"], args].concat())
    };
    let without = run(&["--recipe", "masked.png"]);
    assert_eq!(without.status.code(), Some(2), "{}", stderr(&without));
    assert!(stderr(&without).contains("--mask mask.png; give it too"), "{}", stderr(&without));
    let none = run(&["--recipe", "in.png"]);
    assert!(stderr(&none).contains("in.png: there is no recipe in it"), "{}", stderr(&none));
    // The same name, another network.
    let weights = home.path().join("tiny/unet/diffusion_pytorch_model.safetensors");
    let mut bytes = std::fs::read(&weights).unwrap();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    std::fs::write(&weights, bytes).unwrap();
    let changed = run(&["--recipe", "masked.png", "--mask", "mask.png"]);
    assert!(changed.status.success(), "{}", stderr(&changed));
    assert!(stderr(&changed).contains("tiny is another file than"), "{}", stderr(&changed));
    std::fs::rename(home.path().join("tiny"), home.path().join("moved")).unwrap();
    let gone = run(&["--recipe", "masked.png", "--mask", "mask.png"]);
    assert!(
        stderr(&gone).contains("needs tiny") && stderr(&gone).contains("--checkpoint"),
        "{}",
        stderr(&gone)
    );
}

#[test]
fn presets_are_defaults_that_options_win_over() {
    let home = home();
    std::fs::write(home.path().join("mine.toml"), "[settings]\nupscale_factor = 3\nseed = 9\n").unwrap();
    let plan = |args: &[&str]| {
        let output = clarifier(home.path(), &[&["upscale", "in.png", "--dry-run", "--json"], args].concat());
        let out = String::from_utf8(output.stdout.clone()).unwrap();
        let last = out.lines().last().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
        (last.unwrap_or_default(), stderr(&output), output.status.code())
    };
    let stages = |args: &[&str]| plan(args).0["plan"]["stages"].as_array().map(Vec::len);
    let no_diffusion = ["--no-diffusion", "--upscaler", "lanczos"];
    let width = |args: &[&str]| plan(&[args, &no_diffusion].concat()).0["plan"]["stages"][0]["width"].clone();
    assert_eq!(width(&["--preset", "clarifier"]), 160);
    assert_eq!(width(&["--preset", "clarifier", "--upscale-factor", "2"]), 80);
    assert_eq!(width(&["--preset", "mine.toml"]), 120);
    assert_eq!(stages(&["--checkpoint", "tiny", "--device", "cpu", "--preset", "clarifier"]), Some(2));
    let (_, unknown, code) = plan(&["--preset", "clarty"]);
    assert!(code == Some(2) && unknown.contains("refiners, space, clarity, clarifier"), "{unknown}");
    std::fs::write(home.path().join("bad.toml"), "[settings]\nstrenght = 1\n").unwrap();
    let (_, bad, code) = plan(&["--preset", "bad.toml"]);
    assert!(code == Some(2) && bad.contains("bad.toml") && bad.contains("strenght"), "{bad}");
    // What a preset goes with and is not here is said, and does not stop it.
    let clarity = ["--preset", "clarity", "--checkpoint", "tiny", "--device", "cpu", "--dry-run"];
    let output = clarifier(home.path(), &[&["upscale", "in.png"], &clarity[..]].concat());
    assert!(
        output.status.success() && stderr(&output).contains("models pull more_details"),
        "{}",
        stderr(&output)
    );
}

#[test]
fn regions_and_files_of_prompts_are_checked_before_work() {
    let home = home();
    std::fs::write(home.path().join("bad.txt"), "here: a cat").unwrap();
    for (args, code, says) in [
        (
            vec!["--no-diffusion", "--region", "30,0,20,10"],
            1,
            "must be a part of the input, which is 40 × 26",
        ),
        (vec!["--region", "1,2,3"], 2, "--region \"1,2,3\""),
        (vec!["--tile-prompts", "bad.txt"], 2, "bad.txt: \"here\" is no place"),
        (vec!["--tile-prompts", "none.txt"], 2, "none.txt"),
        (vec!["--mask", "none.png", "--checkpoint", "tiny"], 1, "none.png"),
    ] {
        let output = clarifier(home.path(), &[&["upscale", "in.png", "--device", "cpu"], &args[..]].concat());
        assert_eq!(output.status.code(), Some(code), "{args:?}: {}", stderr(&output));
        assert!(stderr(&output).contains(says), "{args:?}: {}", stderr(&output));
    }
}

#[test]
fn a_recipes_embeddings_and_folders_are_found_or_missed() {
    let home = home();
    let embedding = clarifier_tests::fixture("prompts");
    let file = std::fs::read_dir(&embedding).unwrap().map(|e| e.unwrap().path());
    let file = file.filter(|p| p.extension().is_some_and(|e| e == "safetensors")).min().unwrap();
    let name = file.file_name().unwrap().to_str().unwrap().to_owned();
    let stem = file.file_stem().unwrap().to_str().unwrap().to_owned();
    std::fs::create_dir(home.path().join("elsewhere")).unwrap();
    std::fs::copy(&file, home.path().join("elsewhere").join(&name)).unwrap();
    let given = format!("elsewhere/{name}");
    let prompt = format!("blurry, {stem}");
    let models = [&QUICK[..2], &QUICK[4..]].concat();
    let first = make(
        home.path(),
        "e.png",
        &[&models[..], &["--embedding", &given, "--negative-prompt", &prompt]].concat(),
    );
    let run = |args: &[&str]| {
        clarifier(home.path(), &[&["upscale", "in.png", "--device", "cpu", "-o", "e2.png"], args].concat())
    };
    let without = run(&["--recipe", "e.png"]);
    assert_eq!(without.status.code(), Some(1));
    assert!(stderr(&without).contains(&format!("needs the embedding {name}")), "{}", stderr(&without));
    // The networks' folder elsewhere, named once, its ControlNet in it.
    std::fs::rename(home.path().join("tiny"), home.path().join("elsewhere/tiny")).unwrap();
    let with = run(&["--recipe", "e.png", "--embedding", &given, "--checkpoint", "elsewhere/tiny"]);
    assert!(with.status.success(), "{}", stderr(&with));
    assert!(first == std::fs::read(home.path().join("e2.png")).unwrap());
}

#[test]
fn a_region_can_be_taken_back_and_masks_need_diffusion() {
    let home = home();
    let models = [&QUICK[..2], &QUICK[4..]].concat();
    make(home.path(), "part.png", &[&models[..], &["--region", "3,5,20,15", "--seed", "4"]].concat());
    make(home.path(), "all.png", &["--recipe", "part.png", "--region", "all"]);
    let size = |name: &str| image::image_dimensions(home.path().join(name)).unwrap();
    assert_eq!((size("part.png"), size("all.png")), ((40, 30), (80, 52)));
    let masked = clarifier(
        home.path(),
        &["upscale", "in.png", "--device", "cpu", "--no-diffusion", "--mask", "mask.png", "-o", "no.png"],
    );
    assert!(stderr(&masked).contains("--mask says what diffusion may change"), "{}", stderr(&masked));
}
