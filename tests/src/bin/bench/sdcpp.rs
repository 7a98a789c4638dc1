//! stable-diffusion.cpp, as a program of its own: it draws a picture with random weights, and says how long its steps took.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use clarifier_raster::{Channels, Depth, EncodeOptions, Format, Raster, SaveOptions, StoreKind, save};
use clarifier_tests::models::ldm_entries_full;
use clarifier_tests::weights::{Entry, Stored, write_safetensors};
use clarifier_tile::Size;
use tempfile::TempDir;

/// Steps of each run.
const STEPS: u32 = 2;
/// What it says when they are done; then the seconds.
const DONE: &str = "sampling completed, taking ";

/// The program, and files of SD 1.5's sizes for it (2.9 GB).
pub struct Program {
    path: PathBuf,
    threads: usize,
    files: TempDir,
}

impl Program {
    /// Its files are written here.
    pub fn new(path: &Path, threads: usize) -> Self {
        let files = tempfile::tempdir().expect("a folder for temporary files");
        let checkpoint: Vec<Entry> =
            ["unet", "vae", "text_encoder"].into_iter().flat_map(ldm_entries_full).collect();
        write_safetensors(&files.path().join("checkpoint.safetensors"), &checkpoint, Stored::F16);
        let controlnet = ldm_entries_full("controlnet");
        write_safetensors(&files.path().join("controlnet.safetensors"), &controlnet, Stored::F16);
        Self { path: path.to_owned(), threads, files }
    }

    /// Seconds of a step of UNet and ControlNet with and without the prompt, of `h` × `w` latents.
    pub fn cfg_step(&self, h: usize, w: usize) -> f64 {
        let at = |name: &str| self.files.path().join(name);
        let size = Size::new(8 * w as u32, 8 * h as u32);
        let hint = Raster::new(&StoreKind::Memory, size, Channels::Rgb, Depth::Eight).expect("memory for it");
        let how = SaveOptions { overwrite: true, stop: None };
        save(&hint, &at("hint.png"), Format::Png, &EncodeOptions::default(), how).expect("room for it");
        let mut command = Command::new(&self.path);
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
            .args(["--steps", &STEPS.to_string(), "--threads", &self.threads.to_string()])
            .stdout(Stdio::piped());
        let fail = |why: &str| -> ! {
            eprintln!("{}: {why}", self.path.display());
            std::process::exit(1);
        };
        let mut process = command.spawn().unwrap_or_else(|error| fail(&error.to_string()));
        let said = BufReader::new(process.stdout.take().expect("piped")).lines().map_while(Result::ok);
        let seconds = said.filter_map(|line| seconds(&line)).next();
        // The picture is not wanted.
        let _ = process.kill();
        let _ = process.wait();
        seconds.unwrap_or_else(|| fail("it ended before it said how long its steps took")) / f64::from(STEPS)
    }
}

fn seconds(line: &str) -> Option<f64> {
    line.split_once(DONE)?.1.split('s').next()?.parse().ok()
}
