//! The program as `mpirun` runs it: the bytes of the plain one, whoever computes, and whoever is killed.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use clarifier_tests::models::{Scale, write_diffusers};
use clarifier_tests::runs::{KEPT, RUN};
use clarifier_tests::weights::Stored;
use image::{ImageBuffer, Rgb};
use serde_json::Value;

const PROGRAM: &str = env!("CARGO_BIN_EXE_clarifier-mpi");

/// Tiles that move, too.
const MOVING: &[&str] = &["--tile-jitter"];

/// A folder with networks and a picture.
fn home() -> tempfile::TempDir {
    let home = tempfile::tempdir().unwrap();
    write_diffusers(&home.path().join("tiny"), Scale::Tiny, Stored::F32);
    let pixel = |x: u32, y: u32| Rgb([(7 * x % 256) as u8, (11 * y % 256) as u8, ((x * y) % 256) as u8]);
    ImageBuffer::from_fn(60, 70, pixel).save(home.path().join("in.png")).unwrap();
    home
}

fn with_home(mut command: Command, home: &Path) -> Command {
    for name in ["HF_TOKEN", "HF_ENDPOINT", "HF_HUB_CACHE"] {
        command.env_remove(name);
    }
    // OpenMPI warns of root, which containers' users are.
    command
        .env("OMPI_ALLOW_RUN_AS_ROOT", "1")
        .env("OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1")
        .env("HF_HOME", home)
        .env("XDG_RUNTIME_DIR", home)
        .current_dir(home);
    command
}

/// The plain program, which `cargo build --release` puts beside this one.
fn plain(home: &Path, args: &[&str]) -> Output {
    let program = PathBuf::from(PROGRAM).with_file_name("clarifier");
    assert!(program.exists(), "{}: build it first: cargo build --release", program.display());
    let mut command = with_home(Command::new(program), home);
    command.args(args).output().expect("the program starts")
}

fn mpirun(home: &Path, processes: usize, args: &[&str]) -> Command {
    let mut command = with_home(Command::new("mpirun"), home);
    command.args(["-n", &processes.to_string(), "--oversubscribe", "--bind-to", "none", PROGRAM]).args(args);
    command
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn undisturbed(home: &Path) -> Vec<u8> {
    let run = plain(home, &[RUN, MOVING, &["-o", "alone.png"]].concat());
    assert!(run.status.success(), "{}", said(&run));
    std::fs::read(home.join("alone.png")).unwrap()
}

#[test]
fn one_two_and_four_processes_give_the_plain_programs_bytes() {
    let home = home();
    let expected = undisturbed(home.path());
    for processes in [1, 2, 4] {
        let output = format!("out{processes}.png");
        let run = mpirun(home.path(), processes, &[RUN, MOVING, &["-o", &output, "-v"]].concat()).output();
        let run = run.expect("mpirun, of OpenMPI");
        assert!(run.status.success(), "{processes}: {}", said(&run));
        assert!(std::fs::read(home.path().join(&output)).unwrap() == expected, "{processes}");
        let spent: Vec<_> =
            said(&run).lines().filter(|line| line.contains("borders:")).map(str::to_owned).collect();
        println!("{}", spent.join("\n"));
        assert_eq!(spent.len(), if processes == 1 { 0 } else { processes }, "{}", said(&run));
    }
}

/// The process of `rank` among those that `mpirun` has started.
fn process(mpirun: u32, rank: usize) -> u32 {
    let wanted = format!("OMPI_COMM_WORLD_RANK={rank}");
    let is_it = |process: u32| {
        let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
        // After the name in brackets: the state, and the parent.
        let parent = stat.rsplit(") ").next().and_then(|rest| rest.split(' ').nth(1)?.parse().ok());
        let environment = std::fs::read(format!("/proc/{process}/environ")).unwrap_or_default();
        parent == Some(mpirun) && environment.split(|byte| *byte == 0).any(|entry| entry == wanted.as_bytes())
    };
    let all = std::fs::read_dir("/proc")
        .unwrap()
        .filter_map(|entry| entry.unwrap().file_name().to_str()?.parse().ok());
    all.into_iter().find(|process| is_it(*process)).expect("the process runs")
}

#[test]
fn a_killed_process_ends_the_job_and_another_number_of_them_goes_on() {
    let home = home();
    let expected = undisturbed(home.path());
    let same = [RUN, MOVING, KEPT].concat();
    for (number, (processes, victim)) in [(2, 1), (4, 2), (3, 0)].into_iter().enumerate() {
        // By the same command, and by `resume`.
        let args: &[&str] = if number == 1 { &["resume", "work"] } else { &same };
        let mut job = mpirun(home.path(), processes, args)
            .arg("--json")
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(job.stdout.take().unwrap()).lines();
        let mut events =
            lines.map_while(Result::ok).filter_map(|line| serde_json::from_str::<Value>(&line).ok());
        if number > 0 {
            let resumed = events.find(|event| event["event"] == "resumed");
            println!("{}", resumed.expect("it goes on"));
        }
        let tiles = events.by_ref().filter(|event| event["event"] == "tile").take(20);
        assert_eq!(tiles.count(), 20, "not at its end yet");
        let killed = process(job.id(), victim).to_string();
        assert!(Command::new("kill").args(["-9", &killed]).status().unwrap().success());
        events.for_each(drop);
        assert!(!job.wait().unwrap().success(), "{victim} of {processes}");
        let left: Vec<_> = std::fs::read_dir(home.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
        assert!(!left.iter().any(|name| name.to_string_lossy().contains("out")), "half a file: {left:?}");
    }
    // One process alone can go on, too.
    let rest = plain(home.path(), &["resume", "work", "--json"]);
    assert!(rest.status.success(), "{}", said(&rest));
    assert!(String::from_utf8_lossy(&rest.stdout).contains("\"resumed\""));
    assert!(std::fs::read(home.path().join("out.png")).unwrap() == expected);
    assert!(!home.path().join("work/.clarifier").exists(), "nothing is left over");
}

#[test]
fn what_one_process_cannot_do_ends_all_and_names_it() {
    let home = home();
    std::fs::create_dir(home.path().join("elsewhere")).unwrap();
    let args = [RUN, MOVING, KEPT].concat();
    let mut command = with_home(Command::new("mpirun"), home.path());
    command.args(["--oversubscribe", "--bind-to", "none", "-n", "1", PROGRAM]).args(&args);
    // Another machine, say, which does not have the picture.
    command.args([":", "-n", "1", "--wdir", "elsewhere", PROGRAM]).args(&args);
    let run = command.output().unwrap();
    assert_eq!(run.status.code(), Some(1), "{}", said(&run));
    assert!(said(&run).contains("error: rank 1: in.png: "), "{}", said(&run));
    assert!(!home.path().join("out.png").exists());
    let status = plain(home.path(), &["status", "work"]);
    assert!(String::from_utf8_lossy(&status.stdout).contains("state: failed: rank 1: in.png"), "{status:?}");
}
