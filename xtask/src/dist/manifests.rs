//! The files that depend on all archives of a release: checksums, install scripts, and the manifests of package managers.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::archive::{Entry, tar_gz};
use super::{DESCRIPTION, Outcome, REPOSITORY, TARGETS, VERSION, archive_name, hash, output_of, write};
use crate::root;

/// Name of the list of checksums.
const SUMS: &str = "SHA256SUMS";
/// Folder of the filled-in manifests, and of their templates below deploy/.
const PACKAGES: &str = "packages";

/// Fill in every template and write the checksums of all files in the folder.
pub fn collect(out: &Path) -> Outcome<()> {
    let old = out.join(PACKAGES);
    if old.exists() {
        fs::remove_dir_all(&old)?;
    }
    for script in ["install.sh", "install.ps1"] {
        let text = fs::read_to_string(root().join("deploy").join(script))?;
        write(
            out,
            script,
            filled(&text, out)?.map_err(|missing| format!("{script} names {missing}"))?.as_bytes(),
        )?;
    }

    let templates = root().join("deploy").join(PACKAGES);
    let mut entries = Vec::new();
    for manager in sorted(&templates)? {
        let name = manager.file_name().ok_or("a folder without a name")?.to_string_lossy().into_owned();
        match filled_folder(&manager, out)? {
            Ok(files) => {
                entries.extend(files.into_iter().map(|(file, text)| (format!("{name}/{file}"), text)))
            }
            Err(missing) => println!("{PACKAGES}/{name}: left out, {missing} is not in {}", out.display()),
        }
    }
    for (path, text) in &entries {
        write(out, &format!("{PACKAGES}/{path}"), text.as_bytes())?;
    }
    // A release has files and no folders.
    let archive = format!("clarifier-{VERSION}-{PACKAGES}.tar.gz");
    if entries.is_empty() {
        let _ = fs::remove_file(out.join(&archive));
    } else {
        let files = entries.into_iter().map(|(path, text)| Entry::file(path, text.into_bytes()));
        write(out, &archive, &tar_gz(files.collect())?)?;
    }

    let mut sums = String::new();
    for path in sorted(out)?.into_iter().filter(|path| path.is_file()) {
        let name = path.file_name().ok_or("a file without a name")?.to_string_lossy();
        if name != SUMS {
            sums += &format!("{}  {name}\n", hash(&fs::read(&path)?));
        }
    }
    write(out, SUMS, sums.as_bytes())
}

/// A template with its placeholders replaced; the inner error names the archive that is missing.
fn filled(template: &str, out: &Path) -> Outcome<Result<String, String>> {
    let mut text = template
        .replace("@VERSION@", VERSION)
        // For package managers whose versions have no hyphen.
        .replace("@VERSION_@", &VERSION.replace('-', "_"))
        .replace("@REPOSITORY@", REPOSITORY)
        .replace("@DOWNLOAD@", &format!("{REPOSITORY}/releases/download/v{VERSION}"))
        .replace("@DESCRIPTION@", DESCRIPTION);
    if text.contains("@DATE@") {
        let date = output_of(Command::new("git").args(["log", "-1", "--format=%cs"]).current_dir(root()))?;
        text = text.replace("@DATE@", date.trim());
    }
    for triple in TARGETS {
        let placeholder = format!("@SHA256:{triple}@");
        if text.contains(&placeholder) {
            let name = archive_name(triple);
            match fs::read(out.join(&name)) {
                Ok(bytes) => text = text.replace(&placeholder, &hash(&bytes)),
                Err(_) => return Ok(Err(name)),
            }
        }
    }
    if let Some(at) = text.find("@SHA256:") {
        return Err(format!("unknown placeholder {}", &text[at..text.len().min(at + 40)]).into());
    }
    Ok(Ok(text))
}

/// Every file of a package manager, name and text; the inner error names an archive that is missing, since a part of them is of no use.
fn filled_folder(templates: &Path, out: &Path) -> Outcome<Result<Vec<(String, String)>, String>> {
    let mut files = Vec::new();
    for template in sorted(templates)? {
        let name = template.file_name().ok_or("a file without a name")?.to_string_lossy().into_owned();
        match filled(&fs::read_to_string(&template)?, out)? {
            Ok(text) => files.push((name, text)),
            Err(missing) => return Ok(Err(missing)),
        }
    }
    Ok(Ok(files))
}

/// Paths of a folder's entries, sorted by name.
fn sorted(folder: &Path) -> Outcome<Vec<PathBuf>> {
    let mut paths = fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect::<Outcome<Vec<_>>>()?;
    paths.sort();
    Ok(paths)
}
