//! `clarifier upscale --checkpoint starter`: the set that is built in.

use crate::pictures::picture;
use crate::{clarifier, stderr};

#[test]
fn the_starter_set_redraws_offline_and_its_recipe_repeats() {
    let home = tempfile::tempdir().unwrap();
    picture(48, 40).save(home.path().join("in.png")).unwrap();
    let run = |args: &[&str]| {
        let output = clarifier(home.path(), &[&["upscale", "in.png", "--device", "cpu"], args].concat());
        assert!(output.status.success(), "{args:?}: {}", stderr(&output));
        String::from_utf8(output.stdout).unwrap()
    };
    let events = run(&["--checkpoint", "starter", "--upscaler", "lanczos", "-o", "a.png", "--json"]);
    assert!(events.lines().any(|event| event.contains(r#""event":"step""#)), "{events}");
    run(&["--recipe", "a.png", "-o", "b.png"]);
    let read = |name: &str| std::fs::read(home.path().join(name)).unwrap();
    assert!(read("a.png") == read("b.png"));
    run(&["--no-diffusion", "--upscaler", "lanczos", "-o", "c.png"]);
    assert!(read("a.png") != read("c.png"));
    let plan = run(&["--checkpoint", "starter", "--dry-run"]);
    assert!(plan.contains("steps × 1 tiles of 12 × 10 latents") && plan.contains("42 MB weights"), "{plan}");
    // It asks for the chroma lock, which keeps one more copy of the picture.
    let bytes = |more: &[&str]| {
        let plan = run(&[&["--checkpoint", "starter", "--dry-run", "--json"], more].concat());
        let plan: serde_json::Value = serde_json::from_str(&plan).unwrap();
        plan["plan"]["peak_memory"].as_u64().unwrap()
    };
    assert_eq!(bytes(&[]), bytes(&["--chroma-lock", "1"]));
    assert!(bytes(&[]) > bytes(&["--chroma-lock", "0"]));
}

#[test]
fn tiles_at_once_take_more_memory_and_give_the_same_bytes() {
    let home = tempfile::tempdir().unwrap();
    picture(160, 128).save(home.path().join("in.png")).unwrap();
    let run = |args: &[&str]| {
        let usual =
            ["upscale", "in.png", "--device", "cpu", "--checkpoint", "starter", "--upscaler", "lanczos"];
        let small =
            ["--tile-width", "16", "--tile-height", "16", "--num-inference-steps", "6", "--seed", "1"];
        let output = clarifier(home.path(), &[&usual[..], &small, args].concat());
        assert!(output.status.success(), "{args:?}: {}", stderr(&output));
        String::from_utf8(output.stdout).unwrap()
    };
    run(&["-o", "one.png"]);
    run(&["-o", "four.png", "--tile-batch", "4"]);
    let read = |name: &str| std::fs::read(home.path().join(name)).unwrap();
    assert!(read("one.png") == read("four.png"));
    let plan = |args: &[&str]| {
        let plan = run(&[&["--vae-tile", "64", "--dry-run", "--json"], args].concat());
        let plan: serde_json::Value = serde_json::from_str(&plan).unwrap();
        let number = |name: &str| plan["plan"][name].as_u64().unwrap();
        (number("tile_batch"), number("peak_memory"))
    };
    let ((one, least), (four, most)) = (plan(&[]), plan(&["--tile-batch", "4"]));
    assert!((one, four) == (1, 4) && most > least, "{least} and {most} bytes");
    // Less at once before tiles shrink.
    let between = ((least + most) / 2).to_string();
    let (several, bytes) = plan(&["--tile-batch", "4", "--memory-limit", &between]);
    assert!(
        (1..4).contains(&several) && bytes <= between.parse().unwrap(),
        "{several}: {bytes} of {between}"
    );
    let said = run(&["--tile-batch", "4", "--dry-run"]);
    assert!(said.contains("tiles of 16 × 16 latents, 4 at once"), "{said}");
}

/// A safetensors file of one tensor of zeros.
fn noise_file(path: &std::path::Path, shape: [usize; 3]) {
    let bytes = 4 * shape.iter().product::<usize>();
    let header =
        serde_json::json!({ "noise": { "dtype": "F32", "shape": shape, "data_offsets": [0, bytes] } });
    let header = header.to_string();
    let mut file = (header.len() as u64).to_le_bytes().to_vec();
    file.extend(header.as_bytes());
    file.resize(file.len() + bytes, 0);
    std::fs::write(path, file).unwrap();
}

#[test]
fn noise_is_of_the_sets_own_latents() {
    let home = tempfile::tempdir().unwrap();
    picture(40, 32).save(home.path().join("in.png")).unwrap();
    noise_file(&home.path().join("64.safetensors"), [64, 8, 10]);
    noise_file(&home.path().join("4.safetensors"), [4, 8, 10]);
    let run = |noise: &str| {
        let args = ["upscale", "in.png", "-o", "out.png", "--device", "cpu", "--checkpoint", "starter"];
        let more = ["--upscaler", "lanczos", "--num-inference-steps", "3", "--noise", noise];
        clarifier(home.path(), &[&args[..], &more].concat())
    };
    let refused = run("4.safetensors");
    assert_eq!(refused.status.code(), Some(1));
    assert!(stderr(&refused).contains("\"noise\" of shape [64, 8, 10]"), "{}", stderr(&refused));
    assert!(!home.path().join("out.png").exists());
    let taken = run("64.safetensors");
    assert!(taken.status.success(), "{}", stderr(&taken));
    assert!(home.path().join("out.png").exists());
}
