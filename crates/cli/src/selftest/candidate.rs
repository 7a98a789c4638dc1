//! `--candidate FILE`: whether entries for the table of known-bad drivers hold on this machine.

use std::path::Path;

use anyhow::{Context, Result, bail};
use clarifier_upscale::known_bad::{Entry, Instead, parse};
use clarifier_upscale::selftest::{AdapterReport, table};

use super::{Target, Work, test};
use crate::Outcome;

/// Measure each entry on each device that it is about: as it is, and with what it says to take instead.
pub fn measure(file: &Path, targets: &[Target], work: &Work) -> Result<Outcome> {
    let text = std::fs::read_to_string(file).with_context(|| format!("{} cannot be read", file.display()))?;
    let entries = parse(&text).with_context(|| format!("{} is no table of entries", file.display()))?;
    if entries.is_empty() {
        bail!("{} has no [[entry]]", file.display());
    }
    let mut all_hold = true;
    for entry in &entries {
        outln!("{}", entry.claim());
        let about: Vec<&Target> =
            targets.iter().filter(|t| t.adapter.as_ref().is_some_and(|a| entry.is_about(a))).collect();
        if about.is_empty() {
            outln!("  it is about no device of this machine, in this build: nothing was measured\n");
            all_hold = false;
        }
        for target in about {
            all_hold &= holds(entry, target, work)?;
        }
    }
    Ok(if all_hold { Outcome::Done } else { Outcome::Failed })
}

fn holds(entry: &Entry, target: &Target, work: &Work) -> Result<bool> {
    let precision = (entry.precision != "*").then(|| entry.precision.clone());
    let kernel = Some(entry.kernel.clone());
    let as_it_is = Work { kernel: kernel.clone(), precision, instead: None, ..work.clone() };
    let (device, instead) = match entry.instead {
        Instead::Cpu => (Target::cpu(), Work { precision: Some("f32".into()), ..as_it_is.clone() }),
        Instead::F32 => (target.clone(), Work { precision: Some("f32".into()), ..as_it_is.clone() }),
        Instead::AttentionBytes(_) => {
            (target.clone(), Work { instead: Some(entry.instead), ..as_it_is.clone() })
        }
    };
    let (before, after) = (test(target, &as_it_is)?, test(&device, &instead)?);
    outln!("as it is: {}", table(&before));
    outln!("instead, {}: {}", entry.instead.words(), table(&after));
    let nothing = |report: &AdapterReport| report.cases.is_empty() && report.failure.is_none();
    let verdict = match (before.passed(), after.passed()) {
        _ if nothing(&before) => {
            "no kernel and precision of this device is meant: the entry does not hold here"
        }
        (true, _) => "nothing is wrong: the entry does not hold here",
        (false, false) => "wrong, and so is what is to be taken instead",
        (false, true) => "the entry holds: wrong as it is, right with what is taken instead",
    };
    outln!("{}: {verdict}\n", target.name());
    Ok(!nothing(&before) && !before.passed() && after.passed())
}
