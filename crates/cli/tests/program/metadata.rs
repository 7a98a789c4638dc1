//! What comes through from input to output, judged by exiftool and Pillow.

use std::path::{Path, PathBuf};
use std::process::Command;

use clarifier_raster::{EncodeOptions, Format, SaveOptions, StoreKind, open, save};
use image::{DynamicImage, ImageBuffer, Luma, Rgb};
use serde_json::Value;

use crate::{clarifier, stderr};

const FORMATS: [&str; 4] = ["png", "jpg", "webp", "tif"];

fn output(command: &mut Command, package: &str) -> Vec<u8> {
    let output = command.output();
    let output = output.unwrap_or_else(|e| panic!("{command:?}: {e}; install {package} (scripts/test does)"));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {said}; is {package} installed? (scripts/test does it)");
    output.stdout
}

/// exiftool's answers, a picture each, with numbers as numbers and names with their groups.
fn exiftool(args: &[&str], pictures: &[PathBuf]) -> Vec<Value> {
    let mut command = Command::new("exiftool");
    command.args(["-j", "-n", "-G1", "-struct"]).args(args).args(pictures);
    serde_json::from_slice(&output(&mut command, "libimage-exiftool-perl")).unwrap()
}

fn write_with_exiftool(args: &[&str], picture: &Path) {
    let mut command = Command::new("exiftool");
    output(command.args(["-q", "-overwrite_original"]).args(args).arg(picture), "libimage-exiftool-perl");
}

fn pillow(pictures: &[PathBuf]) -> Vec<Value> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/program/look.py");
    // A python of the user's own may come first and lack Pillow.
    let has_pillow = |python: &&str| {
        let found = Command::new(python).args(["-c", "import PIL.Image"]).output();
        found.is_ok_and(|output| output.status.success())
    };
    let python = ["python3", "/usr/bin/python3"].into_iter().find(has_pillow).unwrap_or("python3");
    let mut command = Command::new(python);
    serde_json::from_slice(&output(command.arg(script).args(pictures), "python3-pil")).unwrap()
}

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/raster").join(name)
}

#[test]
fn profile_and_descriptions_come_through_from_every_format_to_every_format() {
    let home = tempfile::tempdir().unwrap();
    // Lying on their side, with a profile and EXIF; XMP and IPTC are added here.
    for (from, to) in [
        ("turned_6.jpg", "a.jpg"),
        ("turned_6.png", "b.png"),
        ("turned_8.webp", "c.webp"),
        ("camera.tif", "d.tif"),
    ] {
        let input = home.path().join(to);
        std::fs::copy(fixture(from), &input).unwrap();
        let mut tags = vec![
            "-XMP-dc:Title=A <title> & \"more\"",
            "-XMP-tiff:Orientation#=6",
            "-XMP-exif:ExifImageWidth=24",
        ];
        if !to.ends_with("webp") && !to.ends_with("png") {
            tags.push("-IPTC:Headline=Extra");
        }
        // That fixture has no profile of its own.
        let other = fixture("turned_6.jpg").display().to_string();
        if to.ends_with("png") {
            tags.extend(["-tagsFromFile", &other, "-ICC_Profile"]);
        }
        write_with_exiftool(&tags, &input);
    }
    let inputs = ["a.jpg", "b.png", "c.webp", "d.tif"];
    let before = pillow(&inputs.map(|name| home.path().join(name)));
    for format in FORMATS {
        let args = [
            "upscale",
            "--format",
            format,
            "--output-dir",
            format,
            "--no-diffusion",
            "--upscaler",
            "lanczos",
        ];
        let run = clarifier(home.path(), &[&args[..], &["--device", "cpu"], &inputs].concat());
        assert!(run.status.success(), "{}", stderr(&run));
        let results =
            ["a", "b", "c", "d"].map(|name| home.path().join(format).join(format!("{name}_2x.{format}")));
        let (tags, seen) = (exiftool(&["-all"], &results), pillow(&results));
        for (index, input) in inputs.iter().enumerate() {
            let (was, is, tags) = (&before[index], &seen[index], &tags[index]);
            let case = format!("{input} to {format}: {tags:#}");
            // Upright, each is 16 × 24.
            assert_eq!(is["size"], serde_json::json!([32, 48]), "{case}");
            assert!(was["icc"].is_string() && is["icc"] == was["icc"], "{case}");
            for name in ["make", "taken", "latitude"] {
                assert!(was[name].is_string() && is[name] == was[name], "{name}: {case}");
            }
            assert!(matches!(is["orientation"].as_u64(), None | Some(1)), "{case}");
            assert_eq!(tags["XMP-dc:Title"], "A <title> & \"more\"", "{case}");
            assert_eq!(tags["XMP-tiff:Orientation"], 1, "{case}");
            assert_eq!(tags["XMP-exif:ExifImageWidth"], 32, "{case}");
            let has =
                (input.ends_with("jpg") || input.ends_with("tif")) && (format == "jpg" || format == "tif");
            assert_eq!(tags.get("IPTC:Headline").is_some(), has, "{case}");
            let said = stderr(&run).lines().filter(|line| line.contains("IPTC")).count();
            assert_eq!(said, if matches!(format, "png" | "webp") { 2 } else { 0 }, "{}", stderr(&run));
            let warning = tags.get("ExifTool:Warning");
            assert!(warning.is_none(), "{warning:?}: {case}");
        }
    }
}

#[test]
fn a_recipe_is_read_by_others_and_survives_their_edits() {
    let home = tempfile::tempdir().unwrap();
    let mut picture = open(&fixture("camera.tif"), &StoreKind::Memory).unwrap().raster;
    // Of a usual length, with everything that XML and PNG could trip over.
    let prompt = "masterpiece, (best quality:1.2) & <lora:more:0.5> \"quoted\" 'so' 日本 ".repeat(60);
    let recipe = serde_json::json!({ "settings": { "prompt": prompt, "seed": 7 } }).to_string();
    picture.metadata.recipe = Some(recipe.clone());
    for extension in FORMATS {
        let path = home.path().join(format!("it.{extension}"));
        save(
            &picture,
            &path,
            Format::from_path(&path).unwrap(),
            &EncodeOptions::default(),
            SaveOptions::default(),
        )
        .unwrap();
        let read = || open(&path, &StoreKind::Memory).unwrap().raster.metadata;
        assert_eq!(read().recipe.as_ref(), Some(&recipe), "{extension}");
        let tags = &exiftool(&["-all"], std::slice::from_ref(&path))[0];
        assert_eq!(tags["XMP-clarifier:Recipe"], recipe.as_str(), "{extension}");
        assert!(tags.get("ExifTool:Warning").is_none(), "{tags:#}");
        // Rewritten with a title, which takes the packet apart and puts it together.
        write_with_exiftool(&["-XMP-dc:Title=new", "-XMP-xmp:Rating=5"], &path);
        assert_eq!(read().recipe.as_ref(), Some(&recipe), "{extension}, edited");
        assert!(String::from_utf8(read().xmp.unwrap()).unwrap().contains("new"));
        let seen = &pillow(&[path])[0];
        if extension == "png" {
            assert_eq!(seen["recipe"], recipe.as_str());
        }
    }
}

#[test]
fn sixteen_bits_stay_sixteen_bits() {
    let home = tempfile::tempdir().unwrap();
    let level = |x: u32| (x * 65535 / 599) as u16;
    let grey = ImageBuffer::from_fn(600, 4, |x, _| Luma([level(x)]));
    let colour = ImageBuffer::from_fn(600, 4, |x, _| Rgb([level(x), 65535 - level(x), level(x) / 2]));
    for extension in ["png", "tif"] {
        let at = |name: &str| home.path().join(format!("{name}.{extension}"));
        DynamicImage::ImageLuma16(grey.clone()).save(at("grey")).unwrap();
        DynamicImage::ImageRgb16(colour.clone()).save(at("colour")).unwrap();
        let inputs = [at("grey").display().to_string(), at("colour").display().to_string()];
        let args = ["upscale", &inputs[0], &inputs[1], "--no-diffusion", "--device", "cpu"];
        for (depth, bits) in [("auto", 16), ("8", 8)] {
            let name = format!("{{name}}_{depth}");
            let run =
                clarifier(home.path(), &[&args[..], &["--output-depth", depth, "--name", &name]].concat());
            assert!(run.status.success(), "{}", stderr(&run));
            let results = [at(&format!("grey_{depth}")), at(&format!("colour_{depth}"))];
            let levels = pillow(&results[..1])[0]["levels"].as_u64().unwrap();
            assert!(if bits == 16 { levels > 1000 } else { levels <= 256 }, "{extension}: {levels}");
            let tag = if extension == "png" { "PNG:BitDepth" } else { "IFD0:BitsPerSample" };
            for (tags, counts) in exiftool(&["-all"], &results).iter().zip([1, 3]) {
                let said = match &tags[tag] {
                    Value::String(several) => several.split(' ').map(|n| n.parse().unwrap()).collect(),
                    one => vec![one.as_u64().unwrap()],
                };
                assert!(said.iter().all(|n| *n == bits), "{tags:#}");
                assert!(extension == "png" || said.len() == counts, "{tags:#}");
            }
            // Neither of the two counts a picture's 16-bit colours.
            let colours = image::open(&results[1]).unwrap().to_rgb16();
            let distinct: std::collections::HashSet<u16> = colours.pixels().map(|pixel| pixel.0[0]).collect();
            assert!(if bits == 16 { distinct.len() > 1000 } else { distinct.len() <= 256 });
        }
    }
}
