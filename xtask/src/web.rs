//! `cargo xtask web`: the page as a static folder, `dist/`, which any server can serve, also below another folder.
//!
//! The engine goes through `cargo build`, wasm-bindgen (a library of this crate, so that its version is the lock file's) and
//! wasm-opt. What wasm-opt made is kept by its input, since it takes minutes and most changes to the page leave the engine alone.

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use sha2::{Digest, Sha256};
use wasm_bindgen_cli_support::Bindgen;

use crate::dist::output_of;
use crate::{root, target};

type Outcome = Result<(), Box<dyn Error>>;

const TRIPLE: &str = "wasm32-unknown-unknown";
/// Name of the engine's files, `<NAME>.js` and `<NAME>_bg.wasm`, as the worker imports them.
const NAME: &str = "clarifier-wasm";
/// The optimiser's arguments. The second `-Oz` saves 11 kB of what is downloaded.
const OPTIMISE: [&str; 2] = ["-Oz", "-Oz"];
/// Files and folders of the page, and where each lies in it.
const FILES: [(&str, &str); 6] = [
    ("index.html", "index.html"),
    ("web", "web"),
    ("web/sw.js", "sw.js"),
    ("assets/demo/cat.png", "assets/demo/cat.png"),
    ("assets/models.json", "assets/models.json"),
    ("assets/starter.safetensors", "assets/starter.safetensors"),
];

/// Build the page into `dist/`.
pub fn run() -> Outcome {
    let built = build_engine("clarifier-wasm")?;
    let dist = root().join("dist");
    if dist.exists() {
        fs::remove_dir_all(&dist)?;
    }
    for (from, to) in FILES {
        copy(&root().join(from), &dist.join(to))?;
    }
    bindgen(&built, &dist, NAME)?;
    optimise(&dist.join(format!("{NAME}_bg.wasm")))?;
    let mut list = Command::new("bash");
    list.arg(root().join("scripts/web-shell")).arg(&dist);
    succeed(&mut list)
}

/// Build a crate for the browser; the path of its module, before wasm-bindgen.
///
/// # Errors
/// If cargo fails, or the target is not installed (`scripts/web-toolchain.sh` installs it).
pub fn build_engine(package: &str) -> Result<PathBuf, Box<dyn Error>> {
    let mut build = Command::new(root().join("scripts/web-toolchain.sh"));
    build.args(["run", "cargo", "build", "--profile", "web", "--locked"]);
    build.args(["--package", package, "--target", TRIPLE]);
    succeed(build.current_dir(root()).env("CARGO_TARGET_DIR", target()))?;
    Ok(target().join(TRIPLE).join("web").join(format!("{}.wasm", package.replace('-', "_"))))
}

/// Write JavaScript and module, `<name>.js` and `<name>_bg.wasm`, into the folder.
pub fn bindgen(module: &Path, folder: &Path, name: &str) -> Outcome {
    let mut bindgen = Bindgen::new();
    // As the program wasm-bindgen sets it: JavaScript finds the module beside itself.
    bindgen.omit_default_module_path(false);
    bindgen.input_path(module).out_name(name).web(true)?.typescript(false);
    Ok(bindgen.generate(folder)?)
}

/// Optimise a module in place, or take what the same input gave before.
fn optimise(module: &Path) -> Outcome {
    let input = fs::read(module)?;
    let mut key = Sha256::new();
    key.update(&input);
    key.update(OPTIMISE.join(" "));
    let version = output_of(Command::new("wasm-opt").arg("--version"));
    key.update(version.map_err(|error| format!("{error}; scripts/web-toolchain.sh installs wasm-opt"))?);
    let kept = target().join("wasm-opt");
    let result = kept.join(format!("{:x}.wasm", key.finalize()));
    if !result.exists() {
        let part = result.with_extension("part");
        fs::create_dir_all(&kept)?;
        succeed(Command::new("wasm-opt").args(OPTIMISE).arg(module).arg("-o").arg(&part))?;
        // Only the last one: each is some megabytes.
        for old in fs::read_dir(&kept)? {
            let old = old?.path();
            if old.extension().is_some_and(|extension| extension == "wasm") {
                fs::remove_file(old)?;
            }
        }
        fs::rename(part, &result)?;
    }
    fs::copy(&result, module)?;
    Ok(())
}

/// Copy a file, or a folder with all in it.
fn copy(from: &Path, to: &Path) -> Outcome {
    if from.is_dir() {
        for entry in fs::read_dir(from)? {
            let entry = entry?;
            copy(&entry.path(), &to.join(entry.file_name()))?;
        }
    } else {
        fs::create_dir_all(to.parent().ok_or("a file without a folder")?)?;
        fs::copy(from, to)?;
    }
    Ok(())
}

fn succeed(command: &mut Command) -> Outcome {
    let program = command.get_program().to_string_lossy().into_owned();
    let status = command.status().map_err(|error| format!("{program}: {error}"))?;
    if status.success() { Ok(()) } else { Err(format!("{program} failed").into()) }
}
