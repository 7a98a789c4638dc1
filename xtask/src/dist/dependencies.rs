//! The crates that the program is made of.
//!
//! From `cargo tree`, since `cargo metadata` knows only what all crates of the workspace together ask for: it would list crates
//! that only tests bring into the program's dependencies.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::fs;
use std::process::Command;

use super::{Outcome, output_of};
use crate::root;

/// Name and version of a crate.
pub type Id = (String, String);

/// A crate of the tree.
pub struct Crate {
    /// SPDX expression; empty if the crate names none.
    pub license: String,
    /// SHA-256 of the published crate, from Cargo.lock; `None` for crates of this workspace.
    pub checksum: Option<String>,
    /// Whether its code is in the program; otherwise only the build runs it.
    pub linked: bool,
    /// Crates that it asks for.
    pub needs: BTreeSet<Id>,
}

/// The program's crates, its own package included.
pub struct Tree {
    pub root: Id,
    pub crates: BTreeMap<Id, Crate>,
}

impl Tree {
    /// The crates of the program for a target.
    pub fn of_program(triple: &str) -> Outcome<Self> {
        let linked: BTreeSet<Id> =
            lines(triple, "normal,no-proc-macro")?.into_iter().map(|line| line.id).collect();
        let checksums = checksums()?;
        let all = lines(triple, "normal,build")?;
        let root = all.first().ok_or("cargo tree prints nothing")?.id.clone();
        let mut crates = BTreeMap::new();
        // The crates from the program down to the line that is read.
        let mut path: Vec<Id> = Vec::new();
        for Line { depth, id, license } in all {
            path.truncate(depth);
            if let Some(parent) = path.last().and_then(|parent| crates.get_mut(parent)) {
                let parent: &mut Crate = parent;
                parent.needs.insert(id.clone());
            }
            path.push(id.clone());
            crates.entry(id.clone()).or_insert_with(|| Crate {
                license,
                checksum: checksums.get(&id).cloned(),
                linked: linked.contains(&id),
                needs: BTreeSet::new(),
            });
        }
        Ok(Self { root, crates })
    }

    /// A list of the linked crates with their licences, for people.
    pub fn third_party(&self) -> String {
        let mut text = "The crates in this program, with the licence of each.\n\n".to_owned();
        for ((name, version), one) in
            self.crates.iter().filter(|(_, one)| one.linked && one.checksum.is_some())
        {
            let _ = writeln!(text, "{name} {version}: {}", one.license);
        }
        text
    }
}

struct Line {
    depth: usize,
    id: Id,
    license: String,
}

fn lines(triple: &str, edges: &str) -> Outcome<Vec<Line>> {
    let printed = output_of(
        Command::new("cargo")
            .args([
                "tree",
                "--locked",
                "--package",
                "clarifier-cli",
                "--prefix",
                "depth",
                "--format",
                "{p}|{l}",
            ])
            .args(["--edges", edges, "--target", triple])
            .current_dir(root()),
    )?;
    printed.lines().map(|line| parse(line).ok_or_else(|| format!("cargo tree: {line}").into())).collect()
}

/// Parse a line such as `3syn v3.0.9 (proc-macro)|MIT OR Apache-2.0 (*)`.
fn parse(line: &str) -> Option<Line> {
    let name_at = line.find(|c: char| !c.is_ascii_digit())?;
    let (package, license) = line[name_at..].split_once('|')?;
    let mut words = package.split(' ');
    let id = (words.next()?.to_owned(), words.next()?.strip_prefix('v')?.to_owned());
    let license = license.trim_end_matches(" (*)");
    // Older crates separate alternatives with a slash, which SPDX does not know.
    let license = if license.contains(" OR ") {
        license.to_owned()
    } else {
        license.replace(" / ", "/").replace('/', " OR ")
    };
    Some(Line { depth: line[..name_at].parse().ok()?, id, license })
}

/// Checksums of Cargo.lock.
fn checksums() -> Outcome<BTreeMap<Id, String>> {
    let text = fs::read_to_string(root().join("Cargo.lock"))?;
    let value = |block: &str, key: &str| {
        let line =
            block.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(" = \"")?.strip_suffix('"'));
        line.map(str::to_owned)
    };
    let packages = text.split("[[package]]").filter_map(|block| {
        Some(((value(block, "name")?, value(block, "version")?), value(block, "checksum")?))
    });
    Ok(packages.collect())
}
