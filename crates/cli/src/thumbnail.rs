//! How a run looks now: a small picture in the work directory, painted part by part.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Result;
use clarifier_raster::{Channels, Depth, EncodeOptions, Format, Raster, SaveOptions, StoreKind, open, save};
use clarifier_tile::Size;
use clarifier_upscale::{Event, StepPreview};

/// Its name in the work directory.
pub const THUMBNAIL: &str = "clarifier_now.png";
/// Its longer side in pixels.
const LONGEST: u32 = 512;
/// How often it is written at most.
const EVERY: Duration = Duration::from_secs(2);

/// The small picture.
pub struct Thumbnail {
    /// Of the stage's result, in pixels.
    whole: Size,
    size: Size,
    /// RGB, row by row.
    pixels: Vec<u8>,
    written: Option<Instant>,
    /// Whether something was painted since.
    fresh: bool,
}

impl Thumbnail {
    /// Of nothing yet.
    pub fn new() -> Self {
        let none = Size::new(0, 0);
        Self { whole: none, size: none, pixels: Vec::new(), written: None, fresh: false }
    }

    /// Take notice of an event; writes to `path` now and then, and when a phase ends.
    pub fn observe(&mut self, event: &Event, path: &Path) -> Result<()> {
        match event {
            Event::Stage { width, height, .. } => self.begin(Size::new(*width, *height)),
            // What was painted before the interruption, if it was this picture.
            Event::Resumed { .. } => self.take(path),
            Event::Part(part) | Event::Step { preview: Some(part), .. } => self.paint(part),
            _ => {}
        }
        let last = matches!(event, Event::Tile { done, total, .. } if done == total);
        if self.fresh && (last || self.written.is_none_or(|at| at.elapsed() >= EVERY)) {
            self.write(path)?;
        }
        Ok(())
    }

    /// A stage's result is to come: until then, what the one before has made.
    fn begin(&mut self, whole: Size) {
        let size = whole.fitted(Size::new(LONGEST, LONGEST));
        if size != self.size {
            self.pixels = vec![0; 3 * size.area() as usize];
        }
        (self.whole, self.size) = (whole, size);
    }

    fn take(&mut self, path: &Path) {
        let Ok(picture) = open(path, &StoreKind::Memory) else { return };
        let picture = picture.raster;
        let size = picture.size();
        let other = (picture.channels(), picture.depth()) != (Channels::Rgb, Depth::Eight);
        if other || size.width.max(size.height) > LONGEST || (self.size.width > 0 && size != self.size) {
            return;
        }
        let Ok(pixels) = picture.read_bytes(picture.area()) else { return };
        (self.pixels, self.size) = (pixels, size);
    }

    fn paint(&mut self, part: &StepPreview) {
        let Size { width, height } = self.size;
        if width == 0 {
            return;
        }
        let (x, y) = (part.x, part.y);
        let (right, bottom) = (x + part.covers.0, y + part.covers.1);
        let scaled = |at: u32, length: u32, of: u32| {
            ((u64::from(at) * u64::from(length)).div_ceil(u64::from(of)) as u32).min(length)
        };
        let columns = scaled(x, width, self.whole.width)..scaled(right, width, self.whole.width);
        let rows = scaled(y, height, self.whole.height)..scaled(bottom, height, self.whole.height);
        // From the thumbnail's pixel to the part's.
        let of = |at: u32, length: u32, whole: u32, start: u32, covers: u32, pixels: u32| {
            let there = u64::from(at) * u64::from(whole) / u64::from(length);
            let inside =
                there.saturating_sub(u64::from(start)) * u64::from(pixels) / u64::from(covers.max(1));
            (inside as u32).min(pixels - 1)
        };
        for row in rows {
            let from = of(row, height, self.whole.height, y, part.covers.1, part.height);
            for column in columns.clone() {
                let at = of(column, width, self.whole.width, x, part.covers.0, part.width);
                let from = 3 * (from * part.width + at) as usize;
                let to = 3 * (row * width + column) as usize;
                self.pixels[to..to + 3].copy_from_slice(&part.pixels[from..from + 3]);
            }
        }
        self.fresh = true;
    }

    /// A reader sees the old picture or the new one, never a part.
    fn write(&mut self, path: &Path) -> Result<()> {
        (self.written, self.fresh) = (Some(Instant::now()), false);
        let pixels = self.pixels.clone();
        let picture = Raster::from_bytes(&StoreKind::Memory, self.size, Channels::Rgb, Depth::Eight, pixels)?;
        Ok(save(
            &picture,
            path,
            Format::Png,
            &EncodeOptions { depth: Depth::Eight, ..EncodeOptions::default() },
            SaveOptions::REPLACING,
        )?)
    }
}
