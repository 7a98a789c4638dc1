//! `cargo xtask house`: counts that say how far the code is from the shape that ARCHITECTURE.md aims at. None of them may grow.

mod source;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use source::{Source, doc_comments, has_option, imports, literals};

type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

/// Most files in a folder, and most lines of a file, that one finds one's way in.
const FOLDER: usize = 15;
const FILE: usize = 400;

/// A count, what it is at most today, and what it is to come to.
struct Count {
    what: &'static str,
    found: usize,
    most: usize,
    aim: usize,
    /// Where, for those who go on with it.
    places: Vec<String>,
}

/// Print the table, and with `--places` where each is found.
///
/// # Errors
/// If a count is larger than it was.
pub fn run(arguments: &[String]) -> Outcome<()> {
    let with_places = arguments.iter().any(|argument| argument == "--places");
    let sources = read(&crate::root().join("crates"))?;
    let counts = counts(&sources);
    println!("{:>6} {:>6} {:>6}", "found", "most", "aim");
    for count in &counts {
        println!("{:>6} {:>6} {:>6}  {}", count.found, count.most, count.aim, count.what);
        for place in count.places.iter().filter(|_| with_places) {
            println!("{:>22}{place}", "");
        }
    }
    let grown: Vec<_> =
        counts.iter().filter(|count| count.found > count.most).map(|count| count.what).collect();
    if grown.is_empty() {
        return Ok(());
    }
    Err(format!("more than before: {} (--places says where)", grown.join("; ")).into())
}

fn counts(sources: &[Source]) -> Vec<Count> {
    let lines = |start: &str| {
        sources.iter().filter(|s| s.path.starts_with(start)).map(|s| s.code().lines().count()).sum()
    };
    let count = |what, places: Vec<String>, most| Count { what, found: places.len(), most, aim: 0, places };
    let total = |what, found, most, aim| Count { what, found, most, aim, places: Vec::new() };
    vec![
        total("lines of the program, without tests (crates/cli/src)", lines("cli/src"), 5200, 3000),
        total("lines of the page's engine (crates/wasm/src)", lines("wasm/src"), 1560, 1000),
        count("folders of more than 15 files", crowded(sources), 5),
        count("files of more than 400 lines", long(sources), 2),
        count("options in strings outside the programs, crates/cli and crates/mpi", options(sources), 0),
        count("files in circles of imports within a crate", circles(sources), 32),
        count("imports from a crate's root in place of a module", from_root(sources), 267),
        count("doc comments that do not stand alone", comments(sources), 880),
    ]
}

/// Every Rust file under `folder`, by its path from there.
fn read(folder: &Path) -> Outcome<Vec<Source>> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in fs::read_dir(&next)? {
            let path: PathBuf = entry?.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let name = path.strip_prefix(folder)?.to_string_lossy().replace('\\', "/");
                found.push(Source { path: name, text: fs::read_to_string(&path)? });
            }
        }
    }
    found.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(found)
}

fn crowded(sources: &[Source]) -> Vec<String> {
    let mut files: BTreeMap<&str, usize> = BTreeMap::new();
    for source in sources {
        *files.entry(source.folder()).or_default() += 1;
    }
    files.retain(|_, count| *count > FOLDER);
    files.into_iter().map(|(folder, count)| format!("{folder}: {count}")).collect()
}

fn long(sources: &[Source]) -> Vec<String> {
    let lines = sources.iter().map(|source| (source, source.text.lines().count()));
    lines
        .filter(|(_, lines)| *lines > FILE)
        .map(|(source, lines)| format!("{}: {lines}", source.path))
        .collect()
}

fn options(sources: &[Source]) -> Vec<String> {
    let programs = ["cli", "mpi"];
    let outside =
        sources.iter().filter(|source| source.is_of_library() && !programs.contains(&source.crate_name()));
    let found = outside.flat_map(|source| {
        let literals = literals(source.code()).into_iter();
        literals.filter(|(_, text)| has_option(text)).map(|(line, _)| format!("{}:{line}", source.path))
    });
    found.collect()
}

fn comments(sources: &[Source]) -> Vec<String> {
    let of = |source: &Source| {
        let comments = doc_comments(source.code()).into_iter();
        let bad = comments.filter(|(_, text)| !stands_alone(text));
        bad.map(|(line, text)| format!("{}:{line}: {text}", source.path)).collect::<Vec<_>>()
    };
    sources.iter().filter(|source| source.is_of_library()).flat_map(of).collect()
}

/// True for a comment that is understood without what stands around it, as far as its first words tell.
fn stands_alone(comment: &str) -> bool {
    let leans = ["What ", "Whether ", "Of ", "The same", "Likewise", "As "];
    !leans.iter().any(|start| comment.starts_with(start)) && comment.split_whitespace().count() >= 4
}

fn from_root(sources: &[Source]) -> Vec<String> {
    let of = |source: &Source| {
        let names = imports(source.code()).into_iter().filter(|name| !name.starts_with(char::is_lowercase));
        names.map(|name| format!("{}: {name}", source.path)).collect::<Vec<_>>()
    };
    sources.iter().filter(|source| source.is_of_library()).flat_map(of).collect()
}

/// Modules of a crate's root that reach themselves through others' imports.
fn circles(sources: &[Source]) -> Vec<String> {
    let mut arrows: BTreeMap<(&str, String), BTreeSet<String>> = BTreeMap::new();
    for source in sources.iter().filter(|source| source.is_of_library()) {
        let Some(module) = source.module() else { continue };
        let to = imports(source.code()).into_iter().filter(|name| name.starts_with(char::is_lowercase));
        let to = to.filter(|name| *name != module);
        arrows.entry((source.crate_name(), module.clone())).or_default().extend(to);
    }
    let reached = |krate: &str, from: &String| {
        let mut seen = BTreeSet::new();
        let mut open = vec![from.clone()];
        while let Some(next) = open.pop() {
            // The map's keys borrow the crate's name.
            for (_, to) in arrows.iter().filter(|((name, module), _)| *name == krate && *module == next) {
                open.extend(to.iter().filter(|module| seen.insert((*module).clone())).cloned());
            }
        }
        seen
    };
    let circular = arrows.keys().filter(|(krate, module)| reached(krate, module).contains(module));
    circular.map(|(krate, module)| format!("{krate}: {module}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(path: &str, text: &str) -> Source {
        Source { path: path.into(), text: text.into() }
    }

    #[test]
    fn circles_are_found_within_a_crate_and_nowhere_else() {
        let a = source("one/src/a.rs", "use crate::b::B;\n");
        let b = source("one/src/b/mod.rs", "use crate::{c::C, d};\n");
        let c = source("one/src/c.rs", "use crate::a;\n");
        let d = source("one/src/d.rs", "use crate::Error;\n");
        let other = source("two/src/b.rs", "use crate::a;\n");
        let all = [a, b, c, d, other];
        assert_eq!(circles(&all), ["one: a", "one: b", "one: c"]);
        assert_eq!(from_root(&all), ["one/src/d.rs: Error"]);
    }

    #[test]
    fn comments_that_lean_on_others_are_found() {
        assert!(stands_alone("Width of a tile in latents."));
        for leans in ["Whether it is so and not otherwise.", "The same for pixels, but larger.", "Its width."]
        {
            assert!(!stands_alone(leans), "{leans}");
        }
    }
}
