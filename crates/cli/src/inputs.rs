//! Which pictures a call is about: files, folders, and patterns that the shell has not expanded.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clarifier_raster::Format;

use crate::names::Pattern;

/// A picture to be enlarged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Input {
    /// The file.
    pub path: PathBuf,
    /// Where it is below the folder that was given, for results to be laid out alike.
    pub below: PathBuf,
}

/// How folders are gone through.
pub struct Search<'a> {
    /// Folders in folders, too.
    pub recursive: bool,
    /// Folders whose pictures are results.
    pub except: Vec<PathBuf>,
    /// What results are called. A picture that looks like the result of its neighbour is none to enlarge.
    pub results: &'a [Pattern],
}

/// What was found.
#[derive(Debug, Default)]
pub struct Found {
    /// Each once, in the order given, folders' in the order of their names.
    pub inputs: Vec<Input>,
    /// What looks like results of earlier runs.
    pub results: Vec<PathBuf>,
}

/// All pictures of `given`. Whether a file that was named is a picture is not asked here; in folders and
/// of a pattern's matches, only those are taken whose extension says so.
pub fn find(given: &[PathBuf], search: &Search) -> Result<Found> {
    let mut found = Found::default();
    for path in given {
        if path.is_dir() {
            let before = found.inputs.len() + found.results.len();
            folder(path, Path::new(""), search, &mut found)?;
            if found.inputs.len() + found.results.len() == before {
                let hint = if search.recursive { "" } else { "; --recursive looks into its folders, too" };
                bail!("{}: there are no pictures in this folder{hint}", path.display());
            }
        } else if !path.exists() && is_pattern(path) {
            let text = path.to_str().with_context(|| format!("{}: not a readable name", path.display()))?;
            // As a shell does.
            let options = glob::MatchOptions { require_literal_leading_dot: true, ..Default::default() };
            let matches = glob::glob_with(text, options).with_context(|| text.to_owned())?;
            let mut matches: Vec<_> = matches.filter_map(Result::ok).collect();
            matches.retain(|path| path.is_dir() || is_picture(path));
            matches.sort();
            if matches.is_empty() {
                bail!("{text}: no picture has such a name");
            }
            let (folders, files): (Vec<_>, Vec<_>) = matches.into_iter().partition(|path| path.is_dir());
            add(files, Path::new(""), search, &mut found);
            for path in folders {
                folder(&path, Path::new(""), search, &mut found)?;
            }
        } else {
            found.inputs.push(Input { path: path.clone(), below: PathBuf::new() });
        }
    }
    let mut seen = HashSet::new();
    found.inputs.retain(|input| seen.insert(real(&input.path)));
    Ok(found)
}

/// The path that a file has without links and detours.
pub fn real(path: &Path) -> PathBuf {
    path.canonicalize().unwrap_or_else(|_| path.to_owned())
}

fn is_pattern(path: &Path) -> bool {
    path.to_string_lossy().contains(['*', '?', '['])
}

fn is_picture(path: &Path) -> bool {
    Format::from_path(path).is_ok()
}

fn folder(path: &Path, below: &Path, search: &Search, found: &mut Found) -> Result<()> {
    let unread = || format!("{}: cannot be read", path.display());
    let mut entries = Vec::new();
    for entry in std::fs::read_dir(path).with_context(unread)? {
        let entry = entry.with_context(unread)?;
        // Hidden ones are copies of system software, or another program's half-written files.
        if !entry.file_name().to_string_lossy().starts_with('.') {
            entries.push(entry.path());
        }
    }
    entries.sort();
    let (folders, files): (Vec<_>, Vec<_>) = entries.into_iter().partition(|path| path.is_dir());
    add(files.into_iter().filter(|path| is_picture(path)).collect(), below, search, found);
    for path in folders.into_iter().filter(|_| search.recursive) {
        // A link to a folder may lead in circles.
        let is_link = path.symlink_metadata().is_ok_and(|data| data.is_symlink());
        let name = path.file_name().unwrap_or_default();
        if !is_link && !search.except.contains(&real(&path)) && !is_pyramid(&path) {
            folder(&path, &below.join(name), search, found)?;
        }
    }
    Ok(())
}

/// Whether it holds the tiles of a Deep Zoom pyramid beside it.
fn is_pyramid(folder: &Path) -> bool {
    let name = folder.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    name.strip_suffix("_files").is_some_and(|name| folder.with_file_name(format!("{name}.dzi")).is_file())
}

/// Pictures of one folder, less the results among them.
fn add(files: Vec<PathBuf>, below: &Path, search: &Search, found: &mut Found) {
    let stem = |path: &Path| path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let names: HashSet<String> = files.iter().map(|path| stem(path)).collect();
    for path in files {
        if search.results.iter().any(|pattern| pattern.fits(&stem(&path), &names)) {
            found.results.push(path);
        } else {
            found.inputs.push(Input { path, below: below.to_owned() });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::{create_dir_all, write};

    fn names(found: &[Input], root: &Path) -> Vec<String> {
        let name =
            |input: &Input| input.path.strip_prefix(root).unwrap().to_string_lossy().replace('\\', "/");
        found.iter().map(name).collect()
    }

    #[test]
    fn folders_patterns_and_files_are_found_once_and_in_order() {
        let root = tempfile::tempdir().unwrap();
        let at = |name: &str| root.path().join(name);
        create_dir_all(at("sub/deep")).unwrap();
        create_dir_all(at("out")).unwrap();
        create_dir_all(at("wide_files/0")).unwrap();
        for name in [
            "b.png",
            "a.JPG",
            "a_2x.jpg",
            ".c.png",
            "notes.txt",
            "sub/d.webp",
            "sub/deep/e.tif",
            "out/b_2x.png",
            "wide.dzi",
            "wide_files/0/0_0.jpg",
        ] {
            write(at(name), "").unwrap();
        }
        let patterns = [Pattern::usual()];
        let search = |recursive| Search { recursive, except: vec![real(&at("out"))], results: &patterns };
        let found = find(&[root.path().into()], &search(false)).unwrap();
        assert_eq!(names(&found.inputs, root.path()), ["a.JPG", "b.png"]);
        assert_eq!(found.results, [at("a_2x.jpg")]);
        let found = find(&[at("b.png"), root.path().into(), at("*.png")], &search(true)).unwrap();
        assert_eq!(names(&found.inputs, root.path()), ["b.png", "a.JPG", "sub/d.webp", "sub/deep/e.tif"]);
        assert_eq!(found.inputs[3].below, Path::new("sub/deep"));
        // Named, it is wanted.
        let found = find(&[at("a_2x.jpg"), at("gone.png")], &search(false)).unwrap();
        assert_eq!(names(&found.inputs, root.path()), ["a_2x.jpg", "gone.png"]);
        for (nothing, says) in
            [(at("*.gif"), "no picture has such a name"), (at("sub/deep/../../out/x*"), "no picture")]
        {
            assert!(find(&[nothing], &search(false)).unwrap_err().to_string().contains(says));
        }
        create_dir_all(at("empty")).unwrap();
        assert!(find(&[at("empty")], &search(false)).unwrap_err().to_string().contains("--recursive"));
    }
}
