//! `cargo xtask`: what the project's people run by name.

mod dist;
mod gigapixel;
mod house;
mod web;

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

const HELP: &str = "\
cargo xtask test        all tests, as CI runs them (scripts/test)
cargo xtask web         the page as a static folder, dist/ (scripts/web, which also installs what that needs)
cargo xtask engine PACKAGE DIR   a crate built for the browser, with its JavaScript, into a folder
cargo xtask dist        packages of a program that is already built: archive, .deb, SBOM, checksums, manifests (--help says how)
cargo xtask full-size   parity at SD 1.5's true sizes: 5.5 GB of disk and 8 GB of memory, some minutes
cargo xtask bench       how fast each kernel and network is, and what PyTorch does beside it (--help says how)
cargo xtask bench-web   the kernels in Chromium beside onnxruntime-web's (tests/web/bench.mjs says how; --real for a GPU with a screen)
cargo xtask first-tile  how long the page's engine takes until the first tile, shaders compiled, and what share of a run that is
cargo xtask gigapixel   pictures of 64 to 1024 megapixels: time and memory (--help says what it needs)
cargo xtask house       how far the code is from the shape that it aims at: counts of which none may grow (--places says where)
cargo xtask fixtures    make the fixtures again (Python, tests/fixtures/requirements.txt)";

/// The checkout.
fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

/// Where cargo puts what it builds.
fn target() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from)
}

fn main() -> ExitCode {
    let root = root();
    let task = std::env::args().nth(1).unwrap_or_default();
    let run = |program: &str, args: &[&str]| {
        let status = Command::new(program).args(args).current_dir(root).status();
        status.map_err(|e| eprintln!("{program}: {e}")).is_ok_and(|s| s.success())
    };
    // A script of the page's tests, with the rest of the command line.
    let node = |script: &str| {
        let asked: Vec<String> = std::env::args().skip(2).collect();
        let mut all = vec![script];
        all.extend(asked.iter().map(String::as_str));
        run("npm", &["ci", "--prefix", "tests/web", "--no-audit", "--no-fund", "--silent"])
            && run("node", &all)
    };
    let done = match task.as_str() {
        "test" => run("scripts/test", &[]),
        "web" => said(web::run()),
        "engine" => match &std::env::args().skip(2).collect::<Vec<_>>()[..] {
            [package, folder] => said(
                web::build_engine(package)
                    .and_then(|module| web::bindgen(&module, Path::new(folder), &package.replace('-', "_"))),
            ),
            _ => {
                eprintln!("{HELP}");
                false
            }
        },
        "dist" => said(dist::run(&std::env::args().skip(2).collect::<Vec<_>>())),
        "full-size" => run(
            "cargo",
            &["test", "--release", "--test", "suite", "--", "--ignored", "--nocapture", "--test-threads=1"],
        ),
        "bench" => {
            let mut all = vec!["run", "--release", "--locked", "--quiet", "--bin", "bench", "--"];
            let asked: Vec<String> = std::env::args().skip(2).collect();
            all.extend(asked.iter().map(String::as_str));
            run("cargo", &all)
        }
        "bench-web" => node("tests/web/bench.mjs"),
        "first-tile" => run("scripts/web", &[]) && node("tests/web/first-tile.mjs"),
        "house" => said(house::run(&std::env::args().skip(2).collect::<Vec<_>>())),
        "gigapixel" => gigapixel::run(&std::env::args().skip(2).collect::<Vec<_>>()),
        "fixtures" => {
            [
                "generate.py",
                "esrgan.py",
                "tokens.py",
                "formula.py",
                "solvers.py",
                "predictions.py",
                "taesd.py",
                "recipe.py",
                "ldm.py",
                "lora.py",
                "prompts.py",
                "raster/make.py",
                "raster/pyramids.py",
            ]
            .iter()
            .all(|script| run("python3", &[&format!("tests/fixtures/{script}")]))
                && run("python3", &["tests/fixtures/generate.py", "--full"])
        }
        _ => {
            eprintln!("{HELP}");
            false
        }
    };
    if done { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Print the error, if any, and return whether there was none.
fn said(outcome: Result<(), Box<dyn std::error::Error>>) -> bool {
    outcome.map_err(|error| eprintln!("xtask: {error}")).is_ok()
}
