//! Where results go.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clarifier_raster::{
    Depth, EncodeOptions, Format, Header, Raster, SaveError, SaveOptions, deep_zoom_folder, save,
    save_deep_zoom,
};
use clarifier_upscale::output_part;

use crate::inputs::{Input, real};
use crate::job::Request;
use crate::names::{Pattern, Values};

/// Where a result goes.
#[derive(Debug, Clone, PartialEq)]
pub struct Target {
    pub path: PathBuf,
    /// Of a pyramid's tiles, if it is one.
    pub format: Format,
    /// Whether it is a Deep Zoom pyramid.
    pub deep_zoom: bool,
}

/// A pyramid's extension.
pub const DEEP_ZOOM: &str = "dzi";

impl Target {
    /// For `input`, the `index`th from 1.
    pub fn new(request: &Request, input: &Input, header: &Header, index: usize, seed: u64) -> Result<Self> {
        let factor = request.settings.upscale_factor;
        let size = output_part(header.size, &request.settings, request.region)?.size;
        if let Some(path) = &request.output {
            let deep_zoom =
                path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case(DEEP_ZOOM));
            let format = if deep_zoom { request.dzi_tiles } else { Format::from_path(path)? };
            return Self { path: path.clone(), format, deep_zoom }.of_size(request, size);
        }
        let deep_zoom = request.deep_zoom;
        let format = if deep_zoom { request.dzi_tiles } else { request.format.unwrap_or(header.format) };
        let values = Values { input: &input.path, factor, seed, size, index };
        let name = request.pattern().file_name(&values, format);
        let path = match request.folder() {
            Some(folder) => folder.join(&input.below).join(name),
            None => input.path.with_file_name(name),
        };
        let path = if deep_zoom { path.with_extension(DEEP_ZOOM) } else { path };
        Self { path, format, deep_zoom }.of_size(request, size)
    }

    /// Write the result.
    pub fn save(&self, result: &Raster, options: &EncodeOptions, how: SaveOptions) -> Result<(), SaveError> {
        let save = if self.deep_zoom { save_deep_zoom } else { save };
        save(result, &self.path, self.format, options, how)
    }

    fn of_size(self, request: &Request, size: clarifier_tile::Size) -> Result<Self> {
        if !self.deep_zoom {
            self.format.check_size(size).with_context(|| self.path.display().to_string())?;
        }
        if request.depth == Some(Depth::Sixteen) && !self.format.keeps_sixteen_bits() {
            let name = self.format.name();
            let needed = if self.deep_zoom { "--dzi-tiles png" } else { "a .png or .tif" };
            bail!("{}: a {name} has 8 bits; --output-depth 16 needs {needed}", self.path.display());
        }
        Ok(self)
    }

    /// Whether it is to be written, which it is not if it exists and the user asked to skip it. It must
    /// be possible: the folder must exist and be writable. `inputs`, as [`real`] gives them, are never
    /// overwritten, whatever the user said. `resumed` says whether an interrupted run goes on.
    pub fn is_wanted(&self, request: &Request, inputs: &HashSet<PathBuf>, resumed: bool) -> Result<bool> {
        let path = &self.path;
        if path.exists() {
            if inputs.contains(&real(path)) {
                bail!(
                    "{}: the result would replace a picture to be enlarged; give it another name",
                    path.display()
                );
            }
            if request.skip_existing && path.is_file() {
                return Ok(false);
            }
        }
        let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
        if request.output.is_none() && request.folder().is_some() {
            if request.dry_run && !folder.exists() {
                return Ok(true);
            }
            std::fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
        }
        if !folder.is_dir() {
            bail!("{}: there is no folder {}; make it first", path.display(), folder.display());
        }
        if path.is_dir() {
            bail!("{}: that is a folder; -o takes a file, --output-dir a folder", path.display());
        }
        if path.exists() && !request.overwrite && resumed {
            bail!(
                "{}: it exists by now, and did not when the interrupted run was begun; move it away to go on",
                path.display()
            );
        }
        let tiles = deep_zoom_folder(path);
        let is_there = |path: &Path| path.exists() && !request.overwrite;
        let taken = Some(path).filter(|path| is_there(path));
        if let Some(path) = taken.or(Some(&tiles).filter(|tiles| self.deep_zoom && is_there(tiles))) {
            bail!(
                "{}: it exists already; use --overwrite or --skip-existing, or another name",
                path.display()
            );
        }
        check_writable(folder).with_context(|| format!("{}: cannot be written", path.display()))?;
        Ok(true)
    }
}

impl Request {
    /// The folder of the results, if it is not each input's own.
    pub fn folder(&self) -> Option<&Path> {
        self.output_dir.as_deref().or(self.work_dir.as_deref())
    }

    /// What results are called.
    pub fn pattern(&self) -> Pattern {
        match (&self.name, &self.output_dir, &self.work_dir) {
            (Some(name), ..) => name.clone(),
            (None, None, Some(_)) if self.region.is_some() => Pattern::of_region_in_work_dir(),
            (None, None, Some(_)) => Pattern::in_work_dir(),
            _ if self.region.is_some() => Pattern::of_region(),
            _ => Pattern::usual(),
        }
    }
}

/// Makes and removes a file: permissions alone do not tell (read-only disks, network folders).
fn check_writable(folder: &Path) -> std::io::Result<()> {
    let probe = folder.join(format!(".clarifier-probe-{}", std::process::id()));
    std::fs::File::create_new(&probe)?;
    std::fs::remove_file(probe)
}
