//! `cargo xtask dist`: packages of a program that is already built.
//!
//! Nothing is compiled here, so each release machine packs what it built, and one machine collects. All files are written by this
//! crate: cargo-deb and cargo-cyclonedx would take longer to compile than the program's own packing takes, for each of six
//! machines. The same program gives the same bytes on every machine.

mod archive;
mod deb;
mod dependencies;
mod manifests;
mod sbom;

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use sha2::{Digest, Sha256};

use crate::{root, target};
use archive::Entry;

const HELP: &str = "\
cargo xtask dist [--program FILE] [--target TRIPLE] [--out DIR]
    Write the archive, the Debian package (Linux only) and the SBOM of one program, then collect.
cargo xtask dist --collect [--out DIR]
    Write the files that depend on all archives in DIR: SHA256SUMS, the install scripts and the package manifests.
    A manifest is left out if an archive that it names is missing.

--program FILE    the program to pack (default: target/release/clarifier); its symbols are stripped, FILE stays as it is
--target TRIPLE   what FILE was built for (default: this machine)
--out DIR         where files are written (default: target/dist)";

/// Every target that a release has an archive for.
pub const TARGETS: [&str; 6] = [
    "x86_64-unknown-linux-gnu",
    "aarch64-unknown-linux-gnu",
    "x86_64-apple-darwin",
    "aarch64-apple-darwin",
    "x86_64-pc-windows-msvc",
    "aarch64-pc-windows-msvc",
];
/// Version of the program, the workspace's.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");
/// Where the project is published, from `workspace.package.repository`: the only place that says so.
pub const REPOSITORY: &str = env!("CARGO_PKG_REPOSITORY");
/// Licence of the program, as an SPDX expression.
pub const LICENSE: &str = env!("CARGO_PKG_LICENSE");
/// One line about the program, for every package manager.
pub const DESCRIPTION: &str = "Upscale pictures 2 to 16 times and give them new, believable detail";

type Outcome<T> = Result<T, Box<dyn Error>>;

/// Options of the command line.
struct Options {
    program: PathBuf,
    triple: String,
    out: PathBuf,
    collect: bool,
}

/// Pack one program, or collect what was packed.
///
/// # Errors
/// If an option is unknown, a file cannot be read or written, or `strip`, `rustc` or `cargo` fails.
pub fn run(arguments: &[String]) -> Outcome<()> {
    let Some(options) = parse(arguments)? else {
        println!("{HELP}");
        return Ok(());
    };
    fs::create_dir_all(&options.out)?;
    if !options.collect {
        pack(&options)?;
    }
    manifests::collect(&options.out)
}

fn parse(arguments: &[String]) -> Outcome<Option<Options>> {
    let (mut program, mut triple, mut out, mut collect) = (None, None, None, false);
    let mut left = arguments.iter();
    while let Some(option) = left.next() {
        let mut value = || left.next().cloned().ok_or_else(|| format!("{option} needs a value\n{HELP}"));
        match option.as_str() {
            "--program" => program = Some(PathBuf::from(value()?)),
            "--target" => triple = Some(value()?),
            "--out" => out = Some(PathBuf::from(value()?)),
            "--collect" => collect = true,
            "--help" => return Ok(None),
            _ => return Err(format!("unknown option {option}\n{HELP}").into()),
        }
    }
    let triple = triple.map_or_else(host, Ok)?;
    if !TARGETS.contains(&triple.as_str()) {
        return Err(format!("unknown target {triple}; expected one of {}", TARGETS.join(", ")).into());
    }
    let program =
        program.unwrap_or_else(|| target().join("release").join(format!("clarifier{}", suffix(&triple))));
    Ok(Some(Options { program, triple, out: out.unwrap_or_else(|| target().join("dist")), collect }))
}

/// The target of this machine's compiler.
fn host() -> Outcome<String> {
    let said = output_of(Command::new("rustc").arg("-vV"))?;
    let host = said.lines().find_map(|line| line.strip_prefix("host: "));
    Ok(host.ok_or("rustc -vV names no host")?.to_owned())
}

fn pack(options: &Options) -> Outcome<()> {
    let triple = options.triple.as_str();
    let program = stripped(options)?;
    let tree = dependencies::Tree::of_program(triple)?;
    let top = base_name(triple);

    let read = |name: &str| fs::read(root().join(name)).map_err(|error| format!("{name}: {error}"));
    let mut entries = vec![
        Entry::folder(top.clone()),
        Entry::program(format!("{top}/clarifier{}", suffix(triple)), program.clone()),
    ];
    for name in ["LICENSE-APACHE", "LICENSE-MIT", "README.md", "CHANGELOG.md"] {
        entries.push(Entry::file(format!("{top}/{name}"), read(name)?));
    }
    let third_party = tree.third_party().into_bytes();
    entries.push(Entry::file(format!("{top}/THIRD-PARTY.txt"), third_party.clone()));

    let packed = if is_windows(triple) { archive::zip(entries)? } else { archive::tar_gz(entries)? };
    write(&options.out, &archive_name(triple), &packed)?;
    if triple.contains("linux") {
        let package = deb::Package {
            triple,
            program: &program,
            third_party,
            mit: read("LICENSE-MIT")?,
            changelog: read("CHANGELOG.md")?,
        };
        write(&options.out, &deb::file_name(triple), &package.bytes()?)?;
    }
    let bill = sbom::cyclonedx(&tree, &hash(&program))?;
    write(&options.out, &format!("{top}.cdx.json"), bill.as_bytes())
}

/// The program without its symbols, which are a fifth of it.
fn stripped(options: &Options) -> Outcome<Vec<u8>> {
    let program = options.program.as_path();
    let missing = |error| {
        format!(
            "{}: {error}; build it first: cargo build --release --locked --bin clarifier",
            program.display()
        )
    };
    // On Windows symbols are in a file of their own.
    if is_windows(&options.triple) {
        return Ok(fs::read(program).map_err(missing)?);
    }
    let copy = options.out.join(format!(".clarifier-{}", options.triple));
    fs::copy(program, &copy).map_err(missing)?;
    let bytes = output_of(Command::new("strip").arg(&copy)).and_then(|_| Ok(fs::read(&copy)?));
    fs::remove_file(&copy)?;
    bytes
}

/// The folder inside an archive, and the beginning of the names of a target's files.
fn base_name(triple: &str) -> String {
    format!("clarifier-{VERSION}-{triple}")
}

/// File name of a target's archive.
pub fn archive_name(triple: &str) -> String {
    format!("{}{}", base_name(triple), if is_windows(triple) { ".zip" } else { ".tar.gz" })
}

fn is_windows(triple: &str) -> bool {
    triple.contains("windows")
}

fn suffix(triple: &str) -> &'static str {
    if is_windows(triple) { ".exe" } else { "" }
}

/// SHA-256 in hexadecimal digits.
fn hash(bytes: &[u8]) -> String {
    format!("{:x}", Sha256::digest(bytes))
}

/// Write a file and print its name and size.
fn write(out: &Path, name: &str, bytes: &[u8]) -> Outcome<()> {
    let path = out.join(name);
    fs::create_dir_all(path.parent().ok_or("a file without a folder")?)?;
    fs::write(&path, bytes).map_err(|error| format!("{}: {error}", path.display()))?;
    println!("{}: {} bytes", path.display(), bytes.len());
    Ok(())
}

/// Run a command and return what it prints.
pub fn output_of(command: &mut Command) -> Outcome<String> {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = command.output().map_err(|error| format!("{program}: {error}"))?;
    if !output.status.success() {
        return Err(format!("{program} failed: {}", String::from_utf8_lossy(&output.stderr)).into());
    }
    Ok(String::from_utf8(output.stdout)?)
}
