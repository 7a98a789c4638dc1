//! stable-diffusion.cpp, as a program of its own: it draws a picture with random weights, and says how long its steps took.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use clarifier_raster::{Channels, Depth, EncodeOptions, Format, Raster, SaveOptions, StoreKind, save};
use clarifier_tests::models::{ldm_entries_full, write_ldm};
use clarifier_tile::Size;

/// Steps of each run.
const STEPS: u32 = 2;
/// What it says when they are done; then the seconds.
const DONE: &str = "sampling completed, taking ";

/// Seconds that `program` takes for a step of UNet and ControlNet with and without the prompt, of `h` × `w` latents. Its files, of SD 1.5's
/// sizes (2.9 GB), are in the temporary folder meanwhile.
pub fn cfg_step(program: &Path, threads: usize, h: usize, w: usize) -> Result<f64, String> {
    let files = tempfile::tempdir().expect("a folder for temporary files");
    let at = |name: &str| files.path().join(name);
    write_ldm(files.path(), ldm_entries_full);
    let size = Size::new(8 * w as u32, 8 * h as u32);
    let hint = Raster::new(&StoreKind::Memory, size, Channels::Rgb, Depth::Eight).expect("memory for it");
    save(&hint, &at("hint.png"), Format::Png, &EncodeOptions::default(), SaveOptions::default())
        .expect("room for it");
    let mut command = Command::new(program);
    command
        .arg("--model")
        .arg(at("checkpoint.safetensors"))
        .arg("--control-net")
        .arg(at("controlnet.safetensors"))
        .arg("--control-image")
        .arg(at("hint.png"))
        .arg("--output")
        .arg(at("out.png"))
        .args([
            "--prompt",
            "a cat",
            "--negative-prompt",
            "rain",
            "--cfg-scale",
            "7",
            "--sampling-method",
            "euler",
        ])
        .args(["--width", &size.width.to_string(), "--height", &size.height.to_string()])
        .args(["--steps", &STEPS.to_string(), "--threads", &threads.to_string()])
        .stdout(Stdio::piped());
    let fail = |why: &str| format!("{}: {why}", program.display());
    let mut process = command.spawn().map_err(|error| fail(&error.to_string()))?;
    let said = BufReader::new(process.stdout.take().expect("piped")).lines().map_while(Result::ok);
    let seconds = said.filter_map(|line| seconds(&line)).next();
    // The picture is not wanted.
    let _ = process.kill();
    let _ = process.wait();
    let seconds = seconds.ok_or_else(|| fail("it ended before it said how long its steps took"))?;
    Ok(seconds / f64::from(STEPS))
}

fn seconds(line: &str) -> Option<f64> {
    line.split_once(DONE)?.1.split('s').next()?.parse().ok()
}
