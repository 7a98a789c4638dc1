//! Runs that are killed, and go on to the same bytes.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::Duration;

use clarifier_tests::models::{Scale, write_diffusers};
use clarifier_tests::runs::{KEPT, RUN};
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
    // What was done was not done again, but for the last tile of a step, which counts when the step is taken.
    let last = clarifier(home.path(), &["resume", "work", "--json"]);
    assert!(last.status.success(), "{}", stderr(&last));
    let rest = events(&last.stdout).iter().filter(|event| event["event"] == "tile").count();
    assert!(counted + rest <= tiles + KILLS / 2, "{counted} + {rest} of {tiles}");
    assert!(std::fs::read(at("out.png")).unwrap() == expected);
    assert!(!at("work/.clarifier").exists(), "nothing is left over");
    let none = clarifier(home.path(), again);
    assert_eq!(none.status.code(), Some(1));
    assert!(stderr(&none).contains("there is no unfinished run in it"), "{}", stderr(&none));
    // And undisturbed with a work folder.
    let kept = clarifier(home.path(), &[RUN, KEPT, &["--overwrite"]].concat());
    assert!(kept.status.success() && std::fs::read(at("out.png")).unwrap() == expected, "{}", stderr(&kept));
}

/// One stage, a few tiles.
const QUICK: &[&str] = &[
    "upscale",
    "--checkpoint",
    "tiny",
    "--device",
    "cpu",
    "--upscaler",
    "lanczos",
    "--num-inference-steps",
    "6",
    "--tile-width",
    "12",
    "--tile-height",
    "8",
    "--tile-overlap",
    "4",
    "--vae-tile",
    "128",
    "--work-dir",
    "work",
    "--save-every",
    "0",
];

/// A run of `args`, killed at its `tile`th tile.
fn killed(home: &Path, args: &[&str], tile: usize) {
    let mut running = Running::start(home, args);
    for _ in 0..tile {
        running.until("tile").expect("not at its end yet");
    }
    running.kill();
}

#[test]
fn only_one_process_works_in_a_folder_and_others_see_how_far_it_is() {
    let home = home();
    let args = [QUICK, &["in.png", "-o", "out.png", "--seed", "3"]].concat();
    let status = |expected: i32| {
        let run = clarifier(home.path(), &["status", "work", "--json"]);
        assert_eq!(run.status.code(), Some(expected), "{}", stderr(&run));
        events(&run.stdout).pop().unwrap_or_default()
    };
    std::fs::create_dir(home.path().join("work")).unwrap();
    status(1);
    let mut running = Running::start(home.path(), &args);
    running.until("tile").unwrap();
    let now = status(0);
    assert_eq!((&now["alive"], &now["resumable"]), (&true.into(), &false.into()), "{now}");
    assert_eq!((&now["state"], &now["picture"]), (&"running".into(), &"1 of 1, in.png".into()), "{now}");
    assert!(now["percent"].is_f64() && now["updated"].is_string(), "{now}");
    for other in [&args[..], &["resume", "work"], &["upscale", "no.png", "--work-dir", "work", "--restart"]] {
        let refused = clarifier(home.path(), other);
        assert_eq!(refused.status.code(), Some(1), "{other:?}");
        assert!(stderr(&refused).contains("another process is at work"), "{}", stderr(&refused));
    }
    running.kill();
    let now = status(0);
    assert_eq!((&now["alive"], &now["resumable"]), (&false.into(), &true.into()), "{now}");
    let text = clarifier(home.path(), &["status", "work"]);
    let text = String::from_utf8(text.stdout).unwrap();
    assert!(
        text.starts_with("state: running\n") && text.contains("process: none; `clarifier resume"),
        "{text}"
    );
    assert!(clarifier(home.path(), &["resume", "work", "-q"]).status.success());
    let now = status(0);
    assert_eq!((&now["state"], &now["resumable"]), (&"done".into(), &false.into()), "{now}");
}

#[test]
fn a_run_goes_on_only_as_it_was_asked_for() {
    let home = home();
    let at = |name: &str| home.path().join(name);
    let args = [QUICK, &["in.png", "-o", "out.png", "--seed", "3"]].concat();
    let says = |args: &[&str], expected: &str| {
        let run = clarifier(home.path(), args);
        let said = stderr(&run);
        assert_eq!(run.status.code(), Some(1), "{args:?}: {said}");
        assert!(said.contains(expected) && !said.contains("panicked"), "{args:?}, {expected}: {said}");
    };
    killed(home.path(), &args, 5);
    says(&[&args[..], &["--sharpen", "1"]].concat(), "--sharpen was not given (it is 1)");
    let other = [QUICK, &["in.png", "-o", "out.png", "--seed", "4"]].concat();
    says(&other, "--seed was 3 and is 4. `clarifier resume work` goes on with it; --restart drops it");
    // The files.
    let changed = |file: &str, bytes: Vec<u8>, expected: &str| {
        let before = std::fs::read(at(file)).unwrap();
        std::fs::write(at(file), bytes).unwrap();
        says(&["resume", "work"], expected);
        std::fs::write(at(file), before).unwrap();
    };
    picture(&at("other.png"), 201, 20);
    changed("in.png", std::fs::read(at("other.png")).unwrap(), "the input was 200 × 20");
    let weights = "tiny/unet/diffusion_pytorch_model.safetensors";
    let mut bytes = std::fs::read(at(weights)).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    changed(weights, bytes, "--checkpoint was tiny ");
    let run = "work/.clarifier/run.json";
    changed(run, b"{\"version\": 1".to_vec(), "it is damaged; delete it to begin anew");
    changed(run, b"{\"version\": 9}".to_vec(), "another version of the program wrote it");
    let record = std::fs::read(at("work/.clarifier/1/record")).unwrap();
    changed("work/.clarifier/1/record", record[..record.len() / 2].to_vec(), "is damaged (its record");
    std::fs::write(at("out.png"), "mine").unwrap();
    says(&["resume", "work"], "out.png: it exists by now, and did not when the interrupted run was begun");
    std::fs::remove_file(at("out.png")).unwrap();
    // After all that it still goes on.
    assert!(clarifier(home.path(), &["resume", "work"]).status.success());
    let first = std::fs::read(at("out.png")).unwrap();
    std::fs::remove_file(at("out.png")).unwrap();
    killed(home.path(), &args, 5);
    let anew = clarifier(home.path(), &[&args[..], &["--restart", "--json"]].concat());
    assert!(anew.status.success(), "{}", stderr(&anew));
    assert!(!events(&anew.stdout).iter().any(|event| event["event"] == "resumed"));
    assert!(std::fs::read(at("out.png")).unwrap() == first);
}

#[test]
fn a_batch_goes_on_with_the_picture_that_was_interrupted() {
    let home = home();
    let at = |name: &str| home.path().join(name);
    std::fs::create_dir(at("many")).unwrap();
    for (name, width) in [("a", 30), ("b", 44), ("c", 20)] {
        picture(&at(&format!("many/{name}.png")), width, 20);
    }
    // Seeds are drawn.
    let args = [QUICK, &["many"]].concat();
    let mut running = Running::start(home.path(), &args);
    running.until("done").unwrap();
    let seed = running.until("stage").unwrap()["seed"].clone();
    (0..4).for_each(|_| drop(running.until("tile").unwrap()));
    running.kill();
    let first = std::fs::read(at("work/a_enhanced_full.png")).unwrap();
    // What came since is none of it.
    picture(&at("many/later.png"), 20, 20);
    let rest = clarifier(home.path(), &["resume", "work", "--json"]);
    assert!(rest.status.success(), "{}", stderr(&rest));
    let events = events(&rest.stdout);
    let of = |kind: &str| events.iter().filter(|event| event["event"] == kind).collect::<Vec<_>>();
    assert_eq!(of("resumed").len(), 1);
    assert_eq!((of("skipped").len(), of("done").len()), (1, 2));
    assert_eq!(of("stage")[0]["seed"], seed);
    assert!(std::fs::read(at("work/a_enhanced_full.png")).unwrap() == first);
    assert!(!at("work/later_enhanced_full.png").exists() && !at("work/.clarifier").exists());
    let seed = seed.to_string();
    let alone = [QUICK, &["many/b.png", "-o", "b.png", "--seed", &seed]].concat();
    assert!(clarifier(home.path(), &alone).status.success());
    assert!(std::fs::read(at("b.png")).unwrap() == std::fs::read(at("work/b_enhanced_full.png")).unwrap());
}

#[test]
#[cfg(target_os = "linux")]
fn a_full_disk_loses_nothing() {
    let home = home();
    let at = |name: &str| home.path().join(name);
    std::fs::create_dir(at("disk")).unwrap();
    // A disk in a mount namespace of the program's own.
    let in_namespace = |script: &str| {
        std::process::Command::new("unshare")
            .args(["--mount", "--map-root-user", "sh", "-c", script])
            .env("HF_HOME", home.path())
            .env("XDG_RUNTIME_DIR", home.path())
            .env_remove("HF_HUB_CACHE")
            .current_dir(home.path())
            .output()
            .expect("unshare, of util-linux")
    };
    let program = env!("CARGO_BIN_EXE_clarifier");
    let args = QUICK.iter().map(|arg| if *arg == "work" { "disk/work" } else { arg });
    let run = format!("{program} {} in.png --seed 3", args.collect::<Vec<_>>().join(" "));
    let small = in_namespace(&format!("mount -t tmpfs -o size=100k none disk && {run} -o out.png"));
    assert_eq!(small.status.code(), Some(1));
    assert!(stderr(&small).contains("of disk are needed there, and"), "{}", stderr(&small));
    let alone = QUICK.iter().filter(|arg| !["--work-dir", "work", "--save-every", "0"].contains(*arg));
    let alone: Vec<&str> = alone.copied().chain(["in.png", "--seed", "3", "-o", "alone.png"]).collect();
    assert!(clarifier(home.path(), &alone).status.success());
    let expected = std::fs::read(at("alone.png")).unwrap();
    // Filled as soon as the run is at these places, emptied, and gone on with.
    for (number, moment) in ["enlarge", "encode\",\"done\":2", "diffuse\",\"done\":9", "decode\",\"done\":3"]
        .into_iter()
        .enumerate()
    {
        let out = format!("out{number}.png");
        let script = format!(
            "mount -t tmpfs -o size={}k none disk || exit 9
             {{ {run} -o {out} --json; echo code $?; }} | while read -r line; do case \"$line\" in
               *'\"phase\":\"{moment}'*) dd if=/dev/zero of=disk/filler bs=4k 2>/dev/null;;
               code*) echo \"$line\";;
             esac; done
             rm -f disk/filler; test ! -e {out} && {program} resume disk/work -q && find disk -name '.clar*'",
            3000 + 500 * number
        );
        let output = in_namespace(&script);
        let said = stderr(&output);
        assert_eq!(output.status.code(), Some(0), "{moment}: {said}");
        let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(
            stdout.contains("code 1") && said.contains("No space left on device"),
            "{moment}: {stdout}{said}"
        );
        assert!(said.contains("`clarifier resume disk/work` goes on"), "{said}");
        assert!(!stdout.contains("disk/work/.clarifier\n"), "{stdout}");
        assert!(std::fs::read(at(&out)).unwrap() == expected, "{moment}");
    }
}
