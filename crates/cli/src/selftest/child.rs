//! The process that may crash: one device, told of line by line.

use std::io::Write;
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow, bail};
use clarifier_upscale::known_bad::matches;
use clarifier_upscale::selftest::{Fault, Level, Opened, Options, Progress, list_on, open, run};

use super::Work;
use super::watch::Line;
use crate::Outcome;

/// A mistake to make: `wrong-element:KERNEL`, `nan:KERNEL` or `missing-barrier`. For tests.
const FAULT: &str = "CLARIFIER_SELFTEST_FAULT";
/// A driver to play: `crash:DEVICE`, `hang:DEVICE` or `panic:DEVICE`, at the third case; the device by its id or a
/// pattern of its name. For tests.
const SIMULATE: &str = "CLARIFIER_SELFTEST_SIMULATE";

/// The adapters of one API.
pub fn list(api: &str) -> Result<Outcome> {
    say(&Line::Adapters(pollster::block_on(list_on(api))));
    say(&Line::Finished);
    Ok(Outcome::Done)
}

/// A line for the parent. Without one there is nobody to test for.
fn say(line: &Line) {
    let line = serde_json::to_string(line).expect("plain data");
    if writeln!(std::io::stdout(), "{line}").is_err() {
        std::process::exit(1);
    }
}

/// Every case on one device.
pub fn test(id: &str, work: &Work) -> Result<Outcome> {
    let mut device = match id.split_once(':') {
        Some((api, number)) => pollster::block_on(open(api, number.parse()?))?,
        None => Opened::cpu(),
    };
    let fault = match std::env::var(FAULT) {
        Ok(text) => Some(text.parse::<Fault>().map_err(|e| anyhow!("{FAULT}: {e}"))?),
        Err(_) => None,
    };
    if let Some(instead) = work.instead {
        instead.apply(&mut device.backend);
    }
    let options = Options {
        level: if work.quick { Level::Quick } else { Level::Full },
        only: work.kernel.clone(),
        precision: work.precision.clone(),
        fault,
    };
    let trouble = trouble(id, &device.backend.reason)?;
    let (begun, mut cases) = (Instant::now(), 0);
    let now = || begun.elapsed().as_secs_f64();
    let mut tell = |progress: Progress| {
        cases += usize::from(matches!(progress, Progress::Begin { .. }));
        say(&Line::Progress(progress));
        if cases == 3 {
            trouble();
        }
    };
    pollster::block_on(run(&device, &options, &now, &mut tell));
    say(&Line::Finished);
    Ok(Outcome::Done)
}

/// What a bad driver would do to this process.
fn trouble(id: &str, name: &str) -> Result<fn()> {
    let Ok(wanted) = std::env::var(SIMULATE) else { return Ok(|| ()) };
    let Some((what, device)) = wanted.split_once(':') else { bail!("{SIMULATE}: WHAT:DEVICE") };
    if device != id && !matches(device, name) {
        return Ok(|| ());
    }
    match what {
        "crash" => Ok(|| std::process::abort()),
        "hang" => Ok(|| {
            loop {
                std::thread::sleep(Duration::from_secs(1));
            }
        }),
        "panic" => Ok(|| panic!("the device is lost")),
        _ => bail!("{SIMULATE}: {what:?} is none of crash, hang and panic"),
    }
}
