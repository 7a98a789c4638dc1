//! `clarifier resume` and `clarifier status`.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail};
use clap::ArgMatches;

use crate::inputs::real;
use crate::job::Request;
use crate::place::Place;
use crate::progress::print_json;
use crate::unfinished::{Run, is_in_use};
use crate::work_dir::STATUS;
use crate::{Outcome, args, run};

/// Go on with the unfinished run of a work folder.
pub fn resume(matches: &ArgMatches, place: &Place) -> Result<Outcome> {
    let (begun, dir) = place.told(|| unfinished(matches))?;
    let request = place.agree(again(&begun, &dir, matches))?;
    run::upscale(request, place)
}

/// The unfinished run of a work folder that nobody is at work in.
fn unfinished(matches: &ArgMatches) -> Result<(Run, PathBuf)> {
    let dir = dir(matches)?;
    let shown = dir.display();
    if is_in_use(&dir) {
        bail!("{shown}: another process is at work in it; `clarifier status {shown}` shows how far it is");
    }
    match Run::read(&dir)? {
        Some(begun) => Ok((begun, dir)),
        None => bail!("{shown}: there is no unfinished run in it, so nothing to go on with"),
    }
}

/// What was asked for then.
fn again(begun: &Run, dir: &Path, matches: &ArgMatches) -> Result<Request> {
    let shown = dir.display();
    std::env::set_current_dir(&begun.folder)
        .with_context(|| format!("{}, in which the run was begun", begun.folder.display()))?;
    let arguments = begun.arguments();
    let parsed = args::upscale_matches(&arguments).map_err(|e| anyhow!("{shown}: its command line: {e}"))?;
    let mut request = Request::from_matches(&parsed, arguments).map_err(|e| anyhow!("{e}"))?;
    // The folder may have been moved.
    request.work_dir = Some(dir.to_owned());
    request.restart = false;
    request.json = matches.get_flag("json");
    request.quiet = matches.get_flag("quiet");
    request.verbose = matches.get_flag("verbose");
    Ok(request)
}

fn dir(matches: &ArgMatches) -> Result<PathBuf> {
    let dir: &PathBuf = matches.get_one("dir").expect("clap asks for it");
    if !dir.is_dir() {
        bail!("{}: there is no such folder", dir.display());
    }
    Ok(real(dir))
}

/// Say how the run of a work folder is doing.
pub fn status(matches: &ArgMatches) -> Result<Outcome> {
    let dir = dir(matches)?;
    let shown = dir.display();
    let text = match std::fs::read_to_string(dir.join(STATUS)) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            bail!("{shown}: no run has had this as its --work-dir: there is no {STATUS}")
        }
        Err(error) => return Err(error).with_context(|| dir.join(STATUS).display().to_string()),
    };
    let alive = is_in_use(&dir);
    let unfinished = !alive && is_unfinished(&dir);
    if matches.get_flag("json") {
        print_json(&json(&text, alive, unfinished));
        return Ok(Outcome::Done);
    }
    out!("{text}");
    match (alive, unfinished) {
        (true, _) => outln!("process: at work"),
        (_, true) => outln!("process: none; `clarifier resume {shown}` goes on"),
        _ => outln!("process: none"),
    }
    Ok(Outcome::Done)
}

fn is_unfinished(dir: &Path) -> bool {
    // A damaged one is still none that is done.
    Run::read(dir).map_or(true, |run| run.is_some())
}

/// The lines `name: value` as an object; numbers are numbers.
fn json(text: &str, alive: bool, unfinished: bool) -> serde_json::Value {
    let mut object = serde_json::Map::new();
    for (name, value) in text.lines().filter_map(|line| line.split_once(": ")) {
        let value = match value.parse::<f64>() {
            Ok(number) => number.into(),
            Err(_) => value.into(),
        };
        object.insert(name.replace(' ', "_"), value);
    }
    object.insert("alive".into(), alive.into());
    object.insert("resumable".into(), unfinished.into());
    object.into()
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_status_in_json_says_the_same() {
        let text = "state: running\npicture: 1 of 2, a: b.png\npercent: 12.5\ntime left: about 3 s\nupdated: 2026Z\n";
        assert_eq!(
            super::json(text, true, false),
            serde_json::json!({
                "state": "running", "picture": "1 of 2, a: b.png", "percent": 12.5, "time_left": "about 3 s",
                "updated": "2026Z", "alive": true, "resumable": false,
            })
        );
    }
}
