//! A run that is interrupted anywhere gives the bytes of one that is not.

use std::ops::ControlFlow;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use clarifier_raster::{Channels, Depth, Folder, Planes, Raster, StoreKind};
use clarifier_tile::{Rect, Size};
use clarifier_upscale::device::Backend;
use clarifier_upscale::{
    Error, Event, HintSource, Job, Journal, JournalError, Models, Plan, RecipeFile, RecipeModels, Seamless,
    Settings, SolverKind, TilePrompts, UpscalerChoice, output_part, upscale,
};

use crate::crash_folder::CrashFolder;
use crate::recipe::tiny_models;

/// A run of many phases: two stages, a sampler with a history and noise of its own, tiles that move, an
/// autoencoder in tiles.
fn settings() -> Settings {
    Settings {
        upscale_factor: 4.0,
        solver: SolverKind::Dpmpp3mSde,
        num_inference_steps: 8,
        denoise_strength: 0.5,
        tile_width: 12,
        tile_height: 12,
        tile_overlap: 4,
        tile_jitter: true,
        vae_tile: 128,
        ..Settings::default()
    }
}

pub fn picture(size: Size, channels: Channels) -> Raster {
    let mut raster = Raster::new(&StoreKind::Memory, size, channels, Depth::Eight).unwrap();
    let data = (0..size.area() * channels.count() as u64).map(|i| (i as f32 * 0.37).sin() * 0.5 + 0.5);
    raster.write(0, 0, &Planes::new(size, channels.count(), data.collect())).unwrap();
    raster
}

pub fn journal(folder: &CrashFolder, interval: u64) -> Journal {
    // A clock that goes on whenever it is looked at.
    let now = std::cell::Cell::new(0);
    let clock = move || {
        now.set(now.get() + 1);
        Duration::from_secs(now.get())
    };
    let file = RecipeFile { name: "tiny".into(), fingerprint: "abc".into() };
    let models = RecipeModels { checkpoint: Some(file), ..RecipeModels::default() };
    Journal {
        interval: Duration::from_secs(interval),
        ..Journal::new(Arc::new(folder.clone()), models, clock)
    }
}

/// What is run.
pub struct Case {
    pub name: &'static str,
    pub input: Raster,
    pub settings: Settings,
    pub job: Job,
    pub upscaler: UpscalerChoice,
    pub diffusion: bool,
}

impl Case {
    pub fn new(name: &'static str, settings: Settings) -> Self {
        let input = picture(Size::new(44, 30), Channels::Rgb);
        let (upscaler, job) = (UpscalerChoice::Lanczos, Job::new(7));
        Self { name, input, settings, job, upscaler, diffusion: true }
    }

    pub fn run(&self, models: &mut Models, journal: Option<Journal>) -> (Result<Planes, Error>, Vec<Event>) {
        self.run_watched(models, journal, &mut |_| ControlFlow::Continue(()))
    }

    /// [`Self::run`], whose events `watch` sees too.
    pub fn run_watched(
        &self,
        models: &mut Models,
        journal: Option<Journal>,
        watch: &mut dyn FnMut(&Event) -> ControlFlow<()>,
    ) -> (Result<Planes, Error>, Vec<Event>) {
        let part = output_part(self.input.size(), &self.settings, self.job.region).unwrap();
        let mut output =
            Raster::new(&StoreKind::Memory, part.size, self.input.channels(), Depth::Sixteen).unwrap();
        let job = Job { journal, ..self.job.clone() };
        let mut events = Vec::new();
        let mut observe = |event| {
            let answer = watch(&event);
            events.push(event);
            answer
        };
        let run = upscale(models, &self.input, &mut output, &self.settings, &job, &mut observe);
        let result = pollster::block_on(run).map(|_| output.read(output.area()).unwrap());
        (result, events)
    }
}

/// Networks for a case; those of diffusion are lent from one case to the next.
fn with_models(case: &Case, tiny: &mut Models, work: impl FnOnce(&mut Models)) {
    let go = &mut |_| ControlFlow::Continue(());
    let paths = None;
    let backend = Backend::flex();
    let mut models = pollster::block_on(Models::load(&backend, &case.upscaler, paths, go)).unwrap();
    if case.diffusion {
        models.diffusion = tiny.diffusion.take();
    }
    work(&mut models);
    if case.diffusion {
        tiny.diffusion = models.diffusion;
    }
}

pub fn cases() -> Vec<Case> {
    let mask = Rc::new({
        let mut mask =
            Raster::new(&StoreKind::Memory, Size::new(4, 4), Channels::Grey, Depth::Eight).unwrap();
        mask.write(1, 1, &Planes::new(Size::new(2, 3), 1, vec![1.0; 6])).unwrap();
        mask
    });
    let quick = || Settings { upscale_factor: 2.0, num_inference_steps: 4, ..settings() };
    let whole = Case::new(
        "two stages",
        Settings { upscale_factor: 3.0, num_inference_steps: 6, chroma_lock: 1.0, ..settings() },
    );
    let mut masked = Case::new(
        "a mask, the input as hint",
        Settings { hint: HintSource::Input, sharpen: 0.5, upscale_factor: 3.0, ..quick() },
    );
    masked.job.mask = Some(mask);
    masked.upscaler = UpscalerChoice::Lite;
    let mut circular = Case::new(
        "circular",
        Settings { seamless: Seamless::Both, colour_lock: 0.0, chroma_lock: 0.5, ..quick() },
    );
    circular.input = picture(Size::new(21, 18), Channels::Rgba);
    let mut region = Case::new("a region", Settings { colour_lock: 0.0, ..quick() });
    region.job.region = Some(Rect::new(20, 10, Size::new(9, 8)));
    let mut plain = Case::new("the enlarger alone", Settings { upscale_factor: 1.5, ..Settings::default() });
    (plain.diffusion, plain.upscaler) = (false, UpscalerChoice::Lite);
    plain.input = picture(Size::new(200, 40), Channels::Rgb);
    let reusing = Case::new(
        "features reused",
        Settings { reuse_features: 2, tile_jitter: false, guidance_start: 0.3, ..quick() },
    );
    vec![whole, masked, circular, region, plain, reusing]
}

#[test]
fn a_crash_anywhere_changes_no_byte() {
    let folder = tempfile::tempdir().unwrap();
    let mut tiny = tiny_models(folder.path(), &Backend::flex());
    for case in cases() {
        with_models(&case, &mut tiny, |models| {
            let begun = std::time::Instant::now();
            let expected = case.run(models, None).0.unwrap();
            let once = begun.elapsed();
            let folder = CrashFolder::default();
            folder.crash_after(usize::MAX);
            // What is done is kept after every tile, and after some.
            let kept = case.run(models, Some(journal(&folder, 0))).0.unwrap();
            assert!(kept == expected, "{}: with a journal, undisturbed", case.name);
            let calls = folder.calls();
            let plan = |diffusion| {
                let (backend, size) = (Backend::flex(), case.input.size());
                Plan::new(&backend, &models.enlarger, diffusion, size, &case.settings).kept
            };
            // What a mask keeps is made by the enlarger alone, beside.
            let room = plan(case.diffusion) + if case.job.mask.is_some() { plan(false) } else { 0 };
            assert!(folder.peak() <= room, "{}: {} of {room} bytes", case.name, folder.peak());
            println!("{}: at most {} bytes, planned {room}", case.name, folder.peak());
            Journal::clear(&folder).unwrap();
            assert!(folder.contents().is_empty(), "{}: {:?}", case.name, folder.contents().keys());
            let mut crashes = 0;
            for (seed, interval, first) in [(1, 0, calls / 13), (2, 5, calls / 6)] {
                let folder = CrashFolder::default();
                let (mut budget, mut round) = (first, 0);
                loop {
                    folder.crash_after(budget);
                    let (result, events) = case.run(models, Some(journal(&folder, interval)));
                    match result {
                        Ok(result) => {
                            assert!(result == expected, "{}: {seed}, after {round} crashes", case.name);
                            let resumed = matches!(
                                events.iter().find(|e| !matches!(e, Event::Load { .. })),
                                Some(Event::Resumed { .. })
                            );
                            assert!(resumed, "{}: it went on", case.name);
                            break;
                        }
                        Err(Error::Journal(JournalError::Store(_)) | Error::Raster(_)) => {}
                        Err(other) => panic!("{}: {seed}, round {round}: {other}", case.name),
                    }
                    round += 1;
                    crashes += 1;
                    // Ever later, so that there is an end to it, but at no regular place.
                    budget += 1 + (budget * 7 + round * 13) % 97;
                    folder.after_power_cut(1000 * seed + round as u64);
                }
            }
            println!("{}: {calls} calls, {crashes} crashes, {once:?} → {:?}", case.name, begun.elapsed());
            assert!(crashes > 4, "{}: {crashes}", case.name);
        });
    }
}

#[test]
fn what_is_done_is_not_done_again() {
    let folder = tempfile::tempdir().unwrap();
    let mut tiny = tiny_models(folder.path(), &Backend::flex());
    let tile = |event: &Event| match event {
        Event::Tile { phase, done, total } => Some((*phase, *done, *total)),
        _ => None,
    };
    let mut plain = Case::new("enlarger tiles that do not divide the picture", Settings::default());
    (plain.diffusion, plain.upscaler) = (false, UpscalerChoice::Lite);
    plain.input = picture(Size::new(500, 220), Channels::Rgb);
    for case in [plain, short()] {
        with_models(&case, &mut tiny, |models| {
            let (expected, events) = case.run(models, None);
            let expected = expected.unwrap();
            let all: Vec<_> = events.iter().filter_map(tile).collect();
            // Of every phase's tiles the last too: then the next phase begins.
            for stop in 0..all.len() - 1 {
                let folder = CrashFolder::default();
                folder.crash_after(usize::MAX);
                let mut left = stop + 1;
                let stopped = &mut |event: &Event| {
                    left -= usize::from(tile(event).is_some());
                    if left == 0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
                };
                let result = case.run_watched(models, Some(journal(&folder, 0)), stopped).0;
                assert!(matches!(result, Err(Error::Cancelled)), "{}: {stop}", case.name);
                let (result, events) = case.run(models, Some(journal(&folder, 0)));
                assert!(result.unwrap() == expected, "{}: {stop}", case.name);
                let again: Vec<_> = events.iter().filter_map(tile).collect();
                // A step's tile is told of before the step is kept.
                let first = all.len() - again.len();
                assert!(first.abs_diff(stop + 1) <= usize::from(case.diffusion), "{}: {again:?}", case.name);
                assert_eq!(again, all[first..], "{}: stopped after {:?}", case.name, all[stop]);
            }
        });
    }
}

/// A short run with all phases.
fn short() -> Case {
    let settings = Settings { upscale_factor: 2.0, num_inference_steps: 4, ..settings() };
    Case { input: picture(Size::new(40, 20), Channels::Rgb), ..Case::new("short", settings) }
}

/// What a crash after each of these calls leaves.
fn leftovers(case: &Case, models: &mut Models, calls: &[usize]) -> Vec<CrashFolder> {
    let crash = |calls: &usize| {
        let folder = CrashFolder::default();
        folder.crash_after(*calls);
        assert!(case.run(models, Some(journal(&folder, 0))).0.is_err(), "{calls} calls are not all");
        folder.after_power_cut(*calls as u64);
        folder
    };
    calls.iter().map(crash).collect()
}

#[test]
fn damage_is_mended_or_refused() {
    let folder = tempfile::tempdir().unwrap();
    let (mut tiny, case) = (tiny_models(folder.path(), &Backend::flex()), short());
    let expected = case.run(&mut tiny, None).0.unwrap();
    let folder = CrashFolder::default();
    folder.crash_after(usize::MAX);
    assert!(case.run(&mut tiny, Some(journal(&folder, 0))).0.unwrap() == expected);
    let calls = folder.calls();
    // While encoding, redrawing, decoding, and at the end.
    let moments = [calls / 4, calls / 2, calls * 3 / 4, calls * 9 / 10, calls - 1];
    let (mut mended, mut refused, mut random) = (0, 0, 5u64);
    for left in leftovers(&case, &mut tiny, &moments) {
        let contents = left.contents();
        for name in contents.keys() {
            for cut in [false, true] {
                random =
                    random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                let mut damaged = contents.clone();
                let bytes = damaged.get_mut(name).unwrap();
                if bytes.is_empty() {
                    continue;
                }
                let at = (random >> 33) as usize % bytes.len();
                match cut {
                    true => bytes.truncate(at),
                    false => bytes[at] ^= 1 << (random & 7),
                }
                let folder = CrashFolder::of(damaged);
                match case.run(&mut tiny, Some(journal(&folder, 0))).0 {
                    Ok(result) => {
                        assert!(result == expected, "{name} damaged at {at}");
                        mended += 1;
                    }
                    Err(Error::Journal(error @ (JournalError::Damaged(_) | JournalError::Version(_)))) => {
                        assert!(error.to_string().contains("delete"), "{error}");
                        refused += 1;
                    }
                    Err(other) => panic!("{name} damaged at {at}: {other}"),
                }
            }
        }
    }
    println!("{mended} mended, {refused} refused");
    assert!(mended > 2 && refused > 10, "{mended} {refused}");
}

#[test]
fn a_changed_run_is_refused_and_what_changed_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let mut tiny = tiny_models(folder.path(), &Backend::flex());
    let case = short();
    let left = leftovers(&case, &mut tiny, &[600]).remove(0);
    let before = left.contents();
    let changed = |change: &dyn Fn(&mut Case)| {
        let mut case = short();
        change(&mut case);
        case
    };
    let mask = || Rc::new(picture(Size::new(3, 3), Channels::Grey));
    let pixel = Planes::new(Size::new(1, 1), 3, vec![0.5; 3]);
    for (case, name) in [
        (changed(&|case| case.settings.denoise_strength = 0.6), "`denoise_strength` was 0.5 and is 0.6"),
        (changed(&|case| case.settings.prompt = "a dog".into()), "`prompt` was"),
        (changed(&|case| case.job.seed = 8), "`seed` was 7 and is 8"),
        (changed(&|case| case.job.region = Some(Rect::new(0, 0, Size::new(8, 8)))), "`region` was none"),
        (changed(&|case| case.job.mask = Some(mask())), "`mask` was none"),
        (changed(&|case| case.job.tile_prompts = TilePrompts::parse("R1C1: x").unwrap()), "`tile_prompts`"),
        (changed(&|case| case.input.write(3, 4, &pixel).unwrap()), "the input was 40 × 20"),
        (changed(&|case| case.input.metadata.iptc = Some(vec![1])), "the input was 40 × 20"),
        (changed(&|case| case.input = picture(Size::new(40, 21), Channels::Rgb)), "and is 40 × 21"),
    ] {
        left.crash_after(usize::MAX);
        match case.run(&mut tiny, Some(journal(&left, 0))).0 {
            Err(Error::Journal(JournalError::Changed(list))) => {
                assert!(list.len() == 1 && list[0].contains(name), "{name}: {list:?}");
            }
            other => panic!("{name}: {:?}", other.err()),
        }
        assert!(left.contents() == before, "{name}: what is kept is left alone");
    }
    let mut other = journal(&left, 0);
    other.models.checkpoint.as_mut().unwrap().fingerprint = "other".into();
    left.crash_after(usize::MAX);
    let message = case.run(&mut tiny, Some(other)).0.unwrap_err().to_string();
    assert!(message.contains("`checkpoint` was tiny abc and is tiny other"), "{message}");
    // As it was, it goes on; other stores of the folder are not the journal's.
    left.replace("mine", b"1").unwrap();
    assert!(Journal::is_begun(&left).unwrap());
    let expected = case.run(&mut tiny, None).0.unwrap();
    assert!(case.run(&mut tiny, Some(journal(&left, 30))).0.unwrap() == expected);
    Journal::clear(&left).unwrap();
    assert_eq!(left.contents().into_keys().collect::<Vec<_>>(), ["mine"]);
}
