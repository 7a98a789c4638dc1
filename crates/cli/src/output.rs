//! Where results go.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clarifier_raster::Format;

use crate::job::Request;

/// Where the result of `input` goes, and in which format. Checked before any work: the folder must
/// exist and be writable, and an existing file is only replaced if the user said so.
pub fn target(request: &Request, input: &Path, input_format: Format) -> Result<(PathBuf, Format)> {
    let path = match (&request.output, &request.output_dir) {
        (Some(output), _) => output.clone(),
        (None, Some(folder)) => folder.join(default_name(request, input, input_format)),
        (None, None) => input.with_file_name(default_name(request, input, input_format)),
    };
    let format = Format::from_path(&path)?;
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    if let Some(made) = &request.output_dir {
        if request.dry_run && !made.exists() {
            return Ok((path, format));
        }
        std::fs::create_dir_all(made).with_context(|| format!("--output-dir {}", made.display()))?;
    }
    if !folder.is_dir() {
        bail!("{}: there is no folder {}; make it first", path.display(), folder.display());
    }
    if path.is_dir() {
        bail!("{}: that is a folder; -o takes a file, --output-dir a folder", path.display());
    }
    if path.exists() && !request.overwrite {
        bail!("{}: it exists already; use --overwrite, or another name", path.display());
    }
    check_writable(folder).with_context(|| format!("{}: cannot be written", path.display()))?;
    Ok((path, format))
}

/// `<name>_<factor>x.<ext>`.
fn default_name(request: &Request, input: &Path, format: Format) -> String {
    let stem = input.file_stem().unwrap_or_default().to_string_lossy();
    format!("{stem}_{}x.{}", request.settings.upscale_factor, format.extension())
}

/// Makes and removes a file: permissions alone do not tell (read-only disks, network folders).
fn check_writable(folder: &Path) -> std::io::Result<()> {
    let probe = folder.join(format!(".clarifier-probe-{}", std::process::id()));
    std::fs::File::create_new(&probe)?;
    std::fs::remove_file(probe)
}
