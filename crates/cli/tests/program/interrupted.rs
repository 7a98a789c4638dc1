//! Runs that are killed, and go on to the same bytes.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::Duration;

use clarifier_tests::models::{Scale, write_diffusers};
use clarifier_tests::weights::Stored;
use image::{ImageBuffer, Rgb};
use serde_json::Value;

use crate::{clarifier, command, stderr};

fn picture(path: &Path, width: u32, height: u32) {
    let pixel = |x: u32, y: u32| Rgb([(7 * x % 256) as u8, (11 * y % 256) as u8, ((x * y) % 256) as u8]);
    ImageBuffer::from_fn(width, height, pixel).save(path).unwrap();
}

/// A folder with networks and a picture.
fn home() -> tempfile::TempDir {
    let home = tempfile::tempdir().unwrap();
    write_diffusers(&home.path().join("tiny"), Scale::Tiny, Stored::F32);
    picture(&home.path().join("in.png"), 200, 20);
    home
}

/// Two stages of many phases, a sampler with a history and noise of its own; saved after every tile.
const RUN: &[&str] = &[
    "upscale",
    "in.png",
    "--checkpoint",
    "tiny",
    "--device",
    "cpu",
    "--upscaler",
    "lite",
    "--upscale-factor",
    "2.5",
    "--solver",
    "dpm++3m_sde",
    "--num-inference-steps",
    "8",
    "--denoise-strength",
    "0.5",
    "--tile-width",
    "12",
    "--tile-height",
    "8",
    "--tile-overlap",
    "4",
    "--vae-tile",
    "128",
    "--seed",
    "7",
    "--output-depth",
    "16",
];
const KEPT: &[&str] = &["-o", "out.png", "--work-dir", "work", "--save-every", "0"];

fn events(output: &[u8]) -> Vec<Value> {
    let lines = String::from_utf8(output.to_vec()).unwrap();
    lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// A process whose events are read as they come.
struct Running {
    process: Child,
    lines: std::io::Lines<BufReader<std::process::ChildStdout>>,
}

impl Running {
    fn start(home: &Path, args: &[&str]) -> Self {
        let mut process = command(home)
            .args(args)
            .arg("--json")
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(process.stdout.take().unwrap()).lines();
        Self { process, lines }
    }

    /// The next event; none at the end.
    fn next(&mut self) -> Option<Value> {
        Some(serde_json::from_str(&self.lines.next()?.unwrap()).unwrap())
    }

    /// The next event of this kind.
    fn until(&mut self, kind: &str) -> Option<Value> {
        std::iter::from_fn(|| self.next()).find(|event| event["event"] == kind)
    }

    fn kill(mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

/// Numbers that look like random ones: splitmix64.
fn random(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

/// The bytes of a run that nothing is kept of and nobody disturbs.
fn undisturbed(home: &Path) -> (Vec<u8>, usize) {
    let run = clarifier(home, &[RUN, &["-o", "alone.png", "--json"]].concat());
    assert!(run.status.success(), "{}", stderr(&run));
    let tiles = events(&run.stdout).iter().filter(|event| event["event"] == "tile").count();
    (std::fs::read(home.join("alone.png")).unwrap(), tiles)
}

#[test]
fn a_run_killed_at_twenty_moments_gives_the_same_bytes() {
    const KILLS: usize = 20;
    let home = home();
    let at = |name: &str| home.path().join(name);
    let (expected, tiles) = undisturbed(home.path());
    assert!(tiles > 3 * KILLS, "{tiles}");
    let again: &[&str] = &["resume", "work"];
    let same = [RUN, KEPT].concat();
    let (mut seed, mut moments, mut counted) = (20_26, BTreeSet::new(), 0);
    for kill in 0..KILLS {
        // By the same command, and by `resume`.
        let mut running = Running::start(home.path(), if kill % 2 == 0 { &same } else { again });
        let mut stage = Value::Null;
        if kill > 0 {
            let resumed = running.until("resumed").expect("it goes on");
            stage = resumed["stage"].clone();
        }
        let mut left = 1 + random(&mut seed) as usize % (2 * tiles / KILLS - 3);
        let mut phase = Value::Null;
        while left > 0 {
            let event = running.next().expect("not at its end yet");
            match event["event"].as_str() {
                Some("stage") => stage = event["stage"].clone(),
                Some("tile") => (left, phase, counted) = (left - 1, event["phase"].clone(), counted + 1),
                _ => {}
            }
        }
        // Anywhere in the next tile, or while it is saved.
        std::thread::sleep(Duration::from_micros(random(&mut seed) % 40_000));
        running.kill();
        moments.insert(format!("{stage} {phase}"));
        assert!(!at("out.png").exists(), "not yet");
    }
    println!("{tiles} tiles, {counted} before kills, killed in {moments:?}");
    assert!(moments.len() >= 6, "killed in {moments:?}");
    // What was done was not done again, but for the tile at work and one before it.
    let last = clarifier(home.path(), &["resume", "work", "--json"]);
    assert!(last.status.success(), "{}", stderr(&last));
    let rest = events(&last.stdout).iter().filter(|event| event["event"] == "tile").count();
    assert!(counted + rest <= tiles + 2 * KILLS, "{counted} + {rest} of {tiles}");
    assert!(std::fs::read(at("out.png")).unwrap() == expected);
    assert!(!at("work/.clarifier").exists(), "nothing is left over");
    let none = clarifier(home.path(), again);
    assert_eq!(none.status.code(), Some(1));
    assert!(stderr(&none).contains("there is no unfinished run in it"), "{}", stderr(&none));
    // And undisturbed with a work folder.
    let kept = clarifier(home.path(), &[RUN, KEPT, &["--overwrite"]].concat());
    assert!(kept.status.success() && std::fs::read(at("out.png")).unwrap() == expected, "{}", stderr(&kept));
}
