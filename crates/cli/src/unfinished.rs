//! What a work folder keeps of a run until it is done, in `.clarifier`: what was asked for, which pictures are done, and the
//! engine's journal of each picture that is not. So the run survives whatever ends the program.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use clarifier_raster::{DiskFolder, Folder};
use clarifier_upscale::{Journal, RecipeModels};
use serde::{Deserialize, Serialize};

use crate::batch::Item;
use crate::inputs::{Input, real};
use crate::job::Request;
use crate::space;

/// The folder in the work folder.
const FOLDER: &str = ".clarifier";
/// The file in it.
const RUN: &str = "run.json";
/// To be raised whenever an older program would misunderstand.
const VERSION: u32 = 1;

/// What was asked for, and what is done of it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Run {
    version: u32,
    /// `clarifier 0.1.0`.
    program: String,
    /// The current folder, which relative paths count from.
    pub folder: PathBuf,
    /// The command line, without the program.
    arguments: Vec<Argument>,
    /// All inputs, in order.
    pictures: Vec<Picture>,
    /// Whether the networks were loaded again in f32, since f16 overflowed.
    full_precision: bool,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(untagged)]
enum Argument {
    Text(String),
    /// No Unicode.
    Other(OsString),
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Picture {
    input: PathBuf,
    /// Where it is below the folder that was given.
    below: PathBuf,
    seed: u64,
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum State {
    /// Not begun, begun, or failed.
    Waiting,
    /// Its result is being written.
    Saving,
    Done,
}

impl Run {
    /// Of the work folder `dir`, if an unfinished run left one.
    pub fn read(dir: &Path) -> Result<Option<Self>> {
        let file = dir.join(FOLDER).join(RUN);
        match std::fs::read(&file) {
            Ok(bytes) => Self::parse(&bytes).with_context(|| file.display().to_string()).map(Some),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error).with_context(|| file.display().to_string()),
        }
    }

    fn parse(bytes: &[u8]) -> Result<Self> {
        #[derive(Deserialize)]
        struct Versioned {
            version: u32,
        }
        let damaged = "it is damaged; delete it to begin anew";
        let Versioned { version } = serde_json::from_slice(bytes).context(damaged)?;
        if version != VERSION {
            bail!("another version of the program wrote it; go on with that one, or delete it");
        }
        serde_json::from_slice(bytes).context(damaged)
    }

    /// The command line, without the program.
    pub fn arguments(&self) -> Vec<OsString> {
        let text = |argument: &Argument| match argument {
            Argument::Text(text) => text.into(),
            Argument::Other(other) => other.clone(),
        };
        self.arguments.iter().map(text).collect()
    }
}

/// The place in a work folder, which no other process has.
pub struct Unfinished {
    folder: DiskFolder,
    /// None until the pictures are known.
    run: Option<Run>,
    resumed: bool,
    /// Since when journals' clocks run.
    begun: Instant,
}

/// Whether a process is at work in the work folder `dir`.
pub fn is_in_use(dir: &Path) -> bool {
    DiskFolder::is_in_use(&dir.join(FOLDER))
}

impl Unfinished {
    /// Take the place in `dir`, and go on with what is there if it is of the same run.
    pub fn open(dir: &Path, request: &Request) -> Result<Self> {
        let folder = DiskFolder::open(&dir.join(FOLDER))
            .map_err(|error| match error {
                clarifier_raster::FolderError::InUse(_) => anyhow::anyhow!(
                    "another process is at work in it; `clarifier status {}` shows how far it is",
                    dir.display()
                ),
                other => other.into(),
            })
            .with_context(|| format!("--work-dir {}", dir.display()))?;
        let mut unfinished = Self { folder, run: None, resumed: false, begun: Instant::now() };
        if request.restart {
            unfinished.forget()?;
            return Ok(unfinished);
        }
        if let Some(run) = Run::read(dir)? {
            let differences = differences(&run, request)?;
            unfinished.run = Some(run);
            unfinished.resumed = differences.is_empty();
            if unfinished.resumed {
                return Ok(unfinished);
            }
            if unfinished.is_worth_keeping(true)? {
                bail!(
                    "{} holds an unfinished run that was asked for otherwise: {}. `clarifier resume {}` goes on with it; \
                     --restart drops it; or take another --work-dir",
                    dir.display(),
                    differences.join("; "),
                    dir.display()
                );
            }
        }
        unfinished.forget()?;
        Ok(unfinished)
    }

    /// Whether it goes on with an earlier run.
    pub fn is_resumed(&self) -> bool {
        self.resumed
    }

    /// The pictures of the earlier run.
    pub fn inputs(&self) -> Option<Vec<Input>> {
        let pictures = self.run.as_ref().filter(|_| self.resumed)?.pictures.iter();
        Some(pictures.map(|p| Input { path: p.input.clone(), below: p.below.clone() }).collect())
    }

    /// The seed that the earlier run drew for the `index`th.
    pub fn seed(&self, index: usize) -> Option<u64> {
        Some(self.run.as_ref().filter(|_| self.resumed)?.pictures.get(index)?.seed)
    }

    /// Whether the earlier run has written the `index`th one's result to `output`.
    pub fn is_done(&self, index: usize, output: &Path, overwrite: bool) -> bool {
        let picture = self.run.as_ref().filter(|_| self.resumed).and_then(|run| run.pictures.get(index));
        match picture.map(|picture| picture.state) {
            Some(State::Done) => output.exists(),
            // Interrupted while it was written, it is there when it is whole and not before, unless that is an older one.
            Some(State::Saving) => !overwrite && output.exists(),
            _ => false,
        }
    }

    /// Whether networks are to be loaded in f32, as the earlier run had them at last.
    pub fn full_precision(&self) -> bool {
        self.run.as_ref().is_some_and(|run| run.full_precision)
    }

    /// The pictures are known, with their seeds.
    pub fn begin(&mut self, request: &Request, inputs: &[(Input, u64)]) -> Result<()> {
        if self.resumed {
            return Ok(());
        }
        let pictures = inputs.iter().map(|(input, seed)| Picture {
            input: real(&input.path),
            below: input.below.clone(),
            seed: *seed,
            state: State::Waiting,
        });
        let argument = |argument: &OsString| match argument.to_str() {
            Some(text) => Argument::Text(text.to_owned()),
            None => Argument::Other(argument.clone()),
        };
        self.run = Some(Run {
            version: VERSION,
            program: concat!("clarifier ", env!("CARGO_PKG_VERSION")).into(),
            folder: std::env::current_dir().context("the current folder")?,
            arguments: request.arguments.iter().map(argument).collect(),
            pictures: pictures.collect(),
            full_precision: false,
        });
        self.write()
    }

    fn write(&self) -> Result<()> {
        let json = serde_json::to_vec_pretty(&self.run)?;
        let context = || self.folder.path().join(RUN).display().to_string();
        self.folder.replace(RUN, &json).with_context(context)
    }

    fn picture_folder(&self, number: usize) -> PathBuf {
        self.folder.path().join((number + 1).to_string())
    }

    /// The journal of `item`, which may need `needed` bytes.
    pub fn journal(
        &self,
        item: &Item,
        models: RecipeModels,
        every: Duration,
        needed: u64,
    ) -> Result<Journal> {
        let folder = DiskFolder::open(&self.picture_folder(item.number))?;
        space::check(folder.path(), needed)?;
        let begun = self.begun;
        let journal = Journal::new(Arc::new(folder), models, move || begun.elapsed());
        Ok(Journal { interval: every, ..journal })
    }

    fn set(&mut self, number: usize, state: State) -> Result<()> {
        let Some(run) = &mut self.run else { return Ok(()) };
        if let Some(picture) = run.pictures.get_mut(number) {
            picture.state = state;
        }
        self.write()
    }

    /// The result of `item` is about to be written.
    pub fn saving(&mut self, item: &Item) -> Result<()> {
        self.set(item.number, State::Saving)
    }

    /// It could not be written.
    pub fn not_saved(&mut self, item: &Item) -> Result<()> {
        self.set(item.number, State::Waiting)
    }

    /// It was written, with networks in f32 if so.
    pub fn done(&mut self, item: &Item, full_precision: bool) -> Result<()> {
        if let Some(run) = &mut self.run {
            run.full_precision = full_precision;
        }
        self.set(item.number, State::Done)?;
        self.drop_journal(item.number)
    }

    fn drop_journal(&self, number: usize) -> Result<()> {
        let path = self.picture_folder(number);
        match path.exists() {
            true => Ok(DiskFolder::open(&path)?.delete().with_context(|| path.display().to_string())?),
            false => Ok(()),
        }
    }

    /// Whether work would be lost with it; pictures that are done count if `others` are still to be done by choice.
    fn is_worth_keeping(&self, others: bool) -> Result<bool> {
        let Some(run) = &self.run else { return Ok(false) };
        let waits = |picture: &&Picture| picture.state != State::Done;
        let any_done = run.pictures.iter().any(|picture| picture.state == State::Done);
        let mut waiting = run.pictures.iter().enumerate().filter(|(_, picture)| waits(picture)).peekable();
        if others && any_done && waiting.peek().is_some() {
            return Ok(true);
        }
        for (number, _) in waiting {
            let path = self.picture_folder(number);
            if path.exists() && Journal::is_begun(&DiskFolder::open(&path)?)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Forget the run and all its work.
    fn forget(&mut self) -> Result<()> {
        self.run = None;
        let path = self.folder.path();
        let context = || path.display().to_string();
        self.folder.remove(RUN).with_context(context)?;
        for entry in std::fs::read_dir(path).with_context(context)? {
            let entry = entry.with_context(context)?;
            let name = entry.file_name().to_string_lossy().into_owned();
            if let Ok(number) = name.parse::<usize>()
                && entry.path().is_dir()
                && number > 0
            {
                self.drop_journal(number - 1)?;
            }
        }
        Ok(())
    }

    /// The run has ended. What it leaves is kept only if there is work in it; whether it is.
    pub fn finish(mut self, cancelled: bool) -> Result<bool> {
        if self.is_worth_keeping(cancelled)? {
            return Ok(true);
        }
        self.forget()?;
        let path = self.folder.path().to_owned();
        self.folder.delete().with_context(|| path.display().to_string())?;
        Ok(false)
    }
}

/// What differs between what was asked for then and now, in sentences.
fn differences(run: &Run, request: &Request) -> Result<Vec<String>> {
    let was = crate::args::given(&run.arguments()).map_err(|e| anyhow::anyhow!("{e}"))?;
    let is = crate::args::given(&request.arguments).map_err(|e| anyhow::anyhow!("{e}"))?;
    let mut list = Vec::new();
    let here = std::env::current_dir().context("the current folder")?;
    if here != run.folder {
        list.push(format!("the current folder was {} and is {}", run.folder.display(), here.display()));
    }
    let names: BTreeMap<&String, ()> = was.keys().chain(is.keys()).map(|name| (name, ())).collect();
    for name in names.into_keys() {
        match (was.get(name), is.get(name)) {
            (was, is) if was == is => {}
            (Some(was), Some(is)) => list.push(format!("{name} was {was} and is {is}")),
            (Some(was), None) => list.push(format!("{name} was given ({was})")),
            (None, is) => list.push(format!("{name} was not given (it is {})", is.map_or("", |is| is))),
        }
    }
    Ok(list)
}
