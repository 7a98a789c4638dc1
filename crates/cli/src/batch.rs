//! The pictures of a call, looked at before gigabytes of weights are read.

use std::collections::HashSet;
use std::ffi::OsString;

use anyhow::{Result, bail};
use clarifier_raster::{Header, probe};
use clarifier_upscale::Settings;
use serde::{Deserialize, Serialize};

use crate::inputs::{Found, Input, Search, find, real};
use crate::job::Request;
use crate::names::Pattern;
use crate::output::Target;
use crate::progress::Style;
use crate::summary::Summary;
use crate::unfinished::Unfinished;

/// A picture to be enlarged.
pub struct Item {
    /// Which of all inputs, from 0.
    pub number: usize,
    pub input: Input,
    pub header: Header,
    pub target: Target,
    pub seed: u64,
}

/// What rank 0 tells the others of a picture.
#[derive(Debug, Serialize, Deserialize)]
pub struct Known {
    number: usize,
    /// Names need not be Unicode.
    path: OsString,
    below: OsString,
    seed: u64,
}

impl Known {
    pub fn of(item: &Item) -> Self {
        let (path, below) = (item.input.path.clone().into(), item.input.below.clone().into());
        Self { number: item.number, path, below, seed: item.seed }
    }
}

/// The pictures that rank 0 checked.
pub fn of_others(known: &[Known], request: &Request) -> Result<Vec<Item>> {
    let item = |Known { number, path, below, seed }: &Known| {
        let input = Input { path: path.into(), below: below.into() };
        let header = probe(&input.path)?;
        let target = Target::new(request, &input, &header, number + 1, *seed)?;
        Ok(Item { number: *number, input, header, target, seed: *seed })
    };
    known.iter().map(item).collect()
}

/// The pictures that can be enlarged, and an account of the others. Those of an unfinished run are the ones that it had.
pub fn check(
    request: &Request,
    style: Style,
    unfinished: &mut Option<Unfinished>,
) -> Result<(Vec<Item>, Summary)> {
    let patterns = [
        Pattern::usual(),
        Pattern::of_region(),
        Pattern::in_work_dir(),
        Pattern::of_region_in_work_dir(),
        request.pattern(),
    ];
    let except = request.folder().into_iter().chain(request.work_dir.as_deref()).map(real).collect();
    let search = Search { recursive: request.recursive, except, results: &patterns };
    let Found { inputs, results } = match unfinished.as_ref().and_then(Unfinished::inputs) {
        Some(inputs) => Found { inputs, results: Vec::new() },
        None => find(&request.inputs, &search)?,
    };
    if let (Some(one), Style::Human) = (results.first(), style) {
        errln!(
            "{} pictures left out, such as {}, which look like results of others; name them to enlarge them",
            results.len(),
            one.display()
        );
    }
    if inputs.is_empty() {
        bail!("there is nothing to enlarge: all pictures look like results");
    }
    if request.output.is_some() && inputs.len() > 1 {
        bail!("-o names one result and there are {} pictures; use --output-dir", inputs.len());
    }
    let mut summary = Summary::new(style, inputs.len());
    let mut items = Vec::new();
    let mut seeds = Vec::new();
    let mut taken = HashSet::new();
    let originals = inputs.iter().map(|input| real(&input.path)).collect();
    let first_seed = seed(&request.settings);
    for (index, input) in inputs.iter().enumerate() {
        let drawn = request.settings.seed < 0 && !request.reuse_seed && index > 0;
        let earlier = unfinished.as_ref().filter(|unfinished| unfinished.is_resumed());
        let seed = match earlier.and_then(|unfinished| unfinished.seed(index)) {
            Some(seed) => seed,
            None if drawn => seed(&request.settings),
            None => first_seed,
        };
        seeds.push((input.clone(), seed));
        let mut look = || -> Result<_> {
            let header = probe(&input.path)?;
            let target = Target::new(request, input, &header, index + 1, seed)?;
            if !taken.insert(target.path.clone()) {
                bail!("{}: an earlier picture of this batch has that name already", target.path.display());
            }
            if earlier.is_some_and(|unfinished| unfinished.is_done(index, &target.path, request.overwrite)) {
                return Ok((header, target, false));
            }
            let wanted = target.is_wanted(request, &originals, earlier.is_some())?;
            Ok((header, target, wanted))
        };
        match look() {
            Ok((header, target, true)) => {
                items.push(Item { number: index, input: input.clone(), header, target, seed });
            }
            Ok((_, target, false)) => summary.skipped(&input.path, &target.path),
            Err(error) => summary.failed(&input.path, &error),
        }
    }
    if let (Some(unfinished), false) = (unfinished, items.is_empty()) {
        unfinished.begin(request, &seeds)?;
    }
    Ok((items, summary))
}

/// A seed of the user's, or one drawn from the clock.
fn seed(settings: &Settings) -> u64 {
    u64::try_from(settings.seed).unwrap_or_else(|_| {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        // Short enough to be typed again.
        (now.as_nanos() as u64 ^ u64::from(std::process::id()) << 20) % (1 << 32)
    })
}
