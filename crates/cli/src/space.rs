//! Room on a disk, asked for before work.

use std::path::Path;

use anyhow::{Result, bail};
use clarifier_raster::Raster;
use clarifier_upscale::Plan;
use indicatif::DecimalBytes;

/// Bytes that a run needs on the work folder's disk: what it keeps for an interruption, also of what the enlarger alone
/// makes if there is a mask (`plain`), and the working copies if the result (`scratch`) is on a disk; the written result itself comes on top, as large as its format makes it.
pub fn needed(plan: &Plan, plain: Option<&Plan>, scratch: Option<&Raster>, input: &Raster) -> u64 {
    let copies = scratch.map_or(0, |result| {
        let bytes = |raster: &Raster| raster.size().area() * raster.channels().count() as u64;
        // The input in 16 bits, the result and its opacity.
        2 * bytes(input) + 2 * result.depth().bytes() as u64 * bytes(result)
    });
    plan.kept + plain.map_or(0, |plain| plain.kept) + copies
}

/// Whether the disk of `folder` has room for what lies there already to become `needed` bytes; a disk that does
/// not say is trusted.
pub fn check(folder: &Path, needed: u64) -> Result<()> {
    let files = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let there: u64 = files.filter_map(|file| file.metadata().ok()).map(|data| data.len()).sum();
    let needed = needed.saturating_sub(there);
    match fs4::available_space(folder) {
        Ok(free) if free < needed => bail!(
            "{}: about {} of disk are needed there, and {} are free; make room, or take a --work-dir on another disk",
            folder.display(),
            DecimalBytes(needed),
            DecimalBytes(free)
        ),
        _ => Ok(()),
    }
}
