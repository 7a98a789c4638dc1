//! `--work-dir`: a folder that shows how a long run is doing, as the Clarifier script's did, and how it looks.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail};
use clarifier_raster::{
    Channels, Chroma, Depth, EncodeOptions, Format, Raster, SaveOptions, StoreKind, save,
};
use clarifier_tile::Size;
use clarifier_upscale::{Event, Plan, Preview};

use crate::batch::Item;
use crate::job::Request;
use crate::progress::{Style, verb, warn};
use crate::status::Status;
use crate::thumbnail::{THUMBNAIL, Thumbnail};

/// What people and `clarifier status` read.
pub const STATUS: &str = "processing_status.txt";
const LOG: &str = "clarifier.log";
/// The names of the tiles' pictures that runs made here, a line each: other files are never replaced.
const OURS: &str = ".clarifier_previews";
/// How often the status is written at most.
const STATUS_EVERY: Duration = Duration::from_millis(500);
/// Of the tiles' pictures, which are looked at once.
const PREVIEW_QUALITY: u8 = 90;

/// The folder's files.
pub struct WorkDir {
    folder: PathBuf,
    status: Status,
    log: File,
    begun: Instant,
    written: Option<Instant>,
    /// Of the current picture, without its extension.
    name: PathBuf,
    /// Whether a file could not be written; said once.
    complained: bool,
    /// Pictures of tiles that this or an earlier run made.
    ours: HashSet<String>,
    thumbnail: Thumbnail,
}

impl WorkDir {
    /// Make the folder if it is not there, and begin its status and log.
    pub fn open(folder: &Path, request: &Request) -> Result<Self> {
        let context = || format!("--work-dir {}", folder.display());
        fs::create_dir_all(folder).with_context(context)?;
        let log = File::options().create(true).append(true).open(folder.join(LOG)).with_context(context)?;
        let listed = fs::read_to_string(folder.join(OURS)).unwrap_or_default();
        let mut work = Self {
            ours: listed.lines().map(str::to_owned).collect(),
            folder: folder.to_owned(),
            status: Status::new(),
            log,
            begun: Instant::now(),
            written: None,
            name: PathBuf::new(),
            complained: false,
            thumbnail: Thumbnail::new(),
        };
        work.log(&format!("clarifier {}: {} inputs", env!("CARGO_PKG_VERSION"), request.inputs.len()));
        work.write_status();
        Ok(work)
    }

    /// The pictures to come.
    pub fn begin(&mut self, plans: Vec<Option<Plan>>) {
        self.status.begin(plans);
    }

    /// The `index`th picture of those begins.
    pub fn picture(&mut self, index: usize, item: &Item) {
        let (input, output) = (&item.input.path, &item.target.path);
        self.log(&format!(
            "{} ({}) → {}, seed {}",
            input.display(),
            item.header.size,
            output.display(),
            item.seed
        ));
        self.name = item.input.below.join(input.file_stem().unwrap_or_default());
        self.status.picture(index, input.file_name().unwrap_or_default().to_string_lossy().into_owned());
        self.write_status();
    }

    /// Take notice of an event.
    pub fn observe(&mut self, event: &Event) {
        match event {
            Event::Preview(preview) => {
                let result = self.write_preview(preview);
                self.complain(result);
            }
            Event::Resumed { stage, stages, phase, done, total } => self.log(&format!(
                "going on from stage {stage} of {stages}, {}: {done} of {total} done",
                verb(*phase)
            )),
            Event::Stage { stage, stages, width, height, seed } => {
                self.log(&format!("stage {stage} of {stages}: to {width} × {height}, seed {seed}"));
            }
            Event::Tile { phase, done, total } if done == total => {
                self.log(&format!("{}: {total} tiles done", verb(*phase)));
            }
            Event::Load { network, bytes, total } if bytes == total => {
                self.log(&format!("loaded {network}, {} MB", total >> 20));
            }
            Event::Warning { message } => self.log(&format!("warning: {message}")),
            _ => {}
        }
        let result = self.thumbnail.observe(event, &self.folder.join(THUMBNAIL));
        self.complain(result.context(THUMBNAIL));
        self.status.observe(event, self.begun.elapsed());
        if self.written.is_none_or(|at| at.elapsed() >= STATUS_EVERY) {
            self.write_status();
        }
    }

    /// The run has ended: `done`, `failed: …` or `cancelled`.
    pub fn finish(&mut self, state: &str) {
        self.log(state);
        self.status.finish(state);
        self.write_status();
    }

    /// A line of the log.
    pub fn log(&mut self, text: &str) {
        let time = timestamp(SystemTime::now());
        let result = writeln!(self.log, "{time} {}", text.replace('\n', " "));
        self.complain(result.context(LOG));
    }

    /// A reader sees the old text or the new one, never a part.
    fn write_status(&mut self) {
        self.written = Some(Instant::now());
        let half = self.folder.join(format!(".{STATUS}.part"));
        let text = self.status.text(&timestamp(SystemTime::now()));
        let result = fs::write(&half, text).and_then(|()| fs::rename(&half, self.folder.join(STATUS)));
        self.complain(result.context(STATUS));
    }

    /// `<name>R1C1.jpg`: rows and columns from 1.
    fn write_preview(&mut self, preview: &Preview) -> Result<()> {
        let mut name = self.name.clone().into_os_string();
        name.push(format!("R{}C{}.jpg", preview.row, preview.column));
        let path = self.folder.join(&name);
        let name = name.to_string_lossy().into_owned();
        if !self.ours.contains(&name) {
            if path.exists() {
                bail!("{name} is there and no picture of a tile: it is left alone");
            }
            let mut list = File::options().create(true).append(true).open(self.folder.join(OURS))?;
            writeln!(list, "{name}")?;
            self.ours.insert(name);
        }
        fs::create_dir_all(path.parent().unwrap_or(&self.folder))?;
        let size = Size::new(preview.width, preview.height);
        let pixels = preview.pixels.to_vec();
        let picture = Raster::from_bytes(&StoreKind::Memory, size, Channels::Rgb, Depth::Eight, pixels)?;
        let options = EncodeOptions {
            jpeg_quality: PREVIEW_QUALITY,
            jpeg_chroma: Chroma::Quarter,
            depth: Depth::Eight,
        };
        Ok(save(&picture, &path, Format::Jpeg, &options, SaveOptions::REPLACING)?)
    }

    /// What is only for watching does not stop the run.
    fn complain(&mut self, result: Result<()>) {
        if let Err(error) = result
            && !self.complained
        {
            self.complained = true;
            warn(Style::Human, &format!("--work-dir {}: {error:#}; going on without", self.folder.display()));
        }
    }
}

/// `2026-11-21T07:48:27Z`.
fn timestamp(time: SystemTime) -> String {
    let seconds = time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let (days, rest) = (seconds / 86_400, seconds % 86_400);
    // Of the Gregorian calendar, years beginning in March (Hinnant, "chrono-compatible low-level date
    // algorithms").
    let days = days + 719_468;
    let (era, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = era * 400 + year + u64::from(month <= 2);
    let (h, m, s) = (rest / 3600, rest / 60 % 60, rest % 60);
    format!("{year}-{month:02}-{day:02}T{h:02}:{m:02}:{s:02}Z")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_those_of_the_calendar() {
        // As `date -u -d @… +%FT%TZ` has them.
        for (seconds, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_399, "2000-02-28T23:59:59Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (1_795_247_307, "2026-11-21T07:48:27Z"),
            (4_107_542_400, "2100-03-01T00:00:00Z"),
        ] {
            assert_eq!(timestamp(UNIX_EPOCH + Duration::from_secs(seconds)), text);
        }
    }
}
