//! What is kept of a run beside its journal, so that another worker can go on with it: the input, and what was asked.

use std::sync::Arc;
use std::time::Duration;

use clarifier_raster::{Channels, Depth, Folder, Raster};
use clarifier_tile::{Rect, Size};
use clarifier_upscale::{Journal, RecipeModels, output_part};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::browser::now;
use crate::engine::ENGINE;
use crate::picture::Input;
use crate::plan::Wanted;
use crate::{Answer, failed};

/// Names in the engine's folder: what was asked, and the input's pixels.
const JOB: &str = "job";
const INPUT: &str = "input";
/// Rows that are copied at once.
const ROWS: u32 = 64;

/// What was asked.
#[derive(Serialize, Deserialize)]
struct Kept {
    /// As the page put it, with the seed that was drawn.
    wanted: Value,
    /// Whether the input has opacity.
    opacity: bool,
    /// What the worker keeps with it.
    about: Value,
}

fn folder() -> Option<Arc<dyn Folder>> {
    ENGINE.with_borrow(|engine| engine.folder.clone().map(|folder| folder as Arc<dyn Folder>))
}

/// Where the run's journal is.
pub fn journal(models: RecipeModels) -> Option<Journal> {
    folder().map(|folder| Journal::new(folder, models, || Duration::from_secs_f64(now() / 1000.0)))
}

/// Keep what a run needs to go on; what was kept of another is forgotten.
pub fn keep(wanted: &str, seed: u64, about: &str, input: &Raster) -> Answer<()> {
    let Some(folder) = folder() else { return Ok(()) };
    forget()?;
    let mut wanted: Value = serde_json::from_str(wanted).map_err(failed)?;
    wanted["seed"] = seed.into();
    let about: Value = serde_json::from_str(about).map_err(failed)?;
    let (size, channels) = (input.size(), input.channels());
    let bytes = size.area() * channels.count() as u64;
    let mut copy = Raster::on(folder.create(INPUT, bytes).map_err(failed)?, size, channels, Depth::Eight);
    for y in (0..size.height).step_by(ROWS as usize) {
        let rect = Rect::new(0, y, Size::new(size.width, ROWS.min(size.height - y)));
        copy.write_bytes(rect, &input.read_bytes(rect).map_err(failed)?).map_err(failed)?;
    }
    copy.flush().map_err(failed)?;
    // Last: it says that all is there.
    let kept = Kept { wanted, opacity: channels.has_alpha(), about };
    folder.replace(JOB, &serde_json::to_vec(&kept).map_err(failed)?).map_err(failed)
}

/// Forget the run that is kept, if one is.
pub fn forget() -> Answer<()> {
    let Some(folder) = folder() else { return Ok(()) };
    folder.remove(JOB).map_err(failed)?;
    folder.remove(INPUT).map_err(failed)?;
    Journal::clear(&*folder).map_err(failed)
}

fn read() -> Answer<Option<Kept>> {
    let Some(folder) = folder() else { return Ok(None) };
    match folder.read(JOB).map_err(failed)? {
        // What an older version kept is of no use to this one.
        Some(bytes) => Ok(serde_json::from_slice(&bytes).ok()),
        None => Ok(None),
    }
}

/// The run that is kept, as the page is told of it; nothing if there is none.
pub fn unfinished() -> Answer<Option<String>> {
    let (Some(folder), Some(Kept { wanted, about, .. })) = (folder(), read()?) else { return Ok(None) };
    let (parsed, settings) = Wanted::parse(&wanted.to_string())?;
    let Size { width, height } = output_part(parsed.size(), &settings, parsed.region()).map_err(failed)?.size;
    let at = Journal::at(&*folder).ok().flatten();
    Ok(Some(
        json!({ "wanted": wanted, "about": about, "at": at, "width": width, "height": height }).to_string(),
    ))
}

/// What was asked, and the input, of the run that is kept.
pub fn again() -> Answer<(String, Input)> {
    let nothing = || failed("there is no run to go on with");
    let (Some(folder), Some(Kept { wanted, opacity, .. })) = (folder(), read()?) else {
        return Err(nothing());
    };
    let wanted = wanted.to_string();
    let (parsed, _) = Wanted::parse(&wanted)?;
    let channels = if opacity { Channels::Rgba } else { Channels::Rgb };
    let (store, length) = folder.open(INPUT).map_err(failed)?.ok_or_else(nothing)?;
    if length != parsed.size().area() * channels.count() as u64 {
        return Err(failed("what is kept of the interrupted run is damaged: its picture is not whole"));
    }
    let input = Input::whole(Raster::on(store, parsed.size(), channels, Depth::Eight));
    Ok((wanted, input))
}
