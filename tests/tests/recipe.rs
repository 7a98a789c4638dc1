//! The whole recipe against a Python one, and against itself.

use std::ops::ControlFlow;
use std::path::Path;

use burn::tensor::Tensor;
use clarifier_model::family::ModelFamily;
use clarifier_raster::{Channels, Depth, Format, Planes, Raster, StoreKind, Wrap, open};
use clarifier_tests::models::{Scale, set_at, write_diffusers};
use clarifier_tests::weights::Stored;
use clarifier_tests::{fixture, json, psnr};
use clarifier_tile::{Rect, Size, TileGrid};
use clarifier_upscale::device::Backend;
use clarifier_upscale::{
    Autoencoder, Canvas, Conditioning, ControlMode, Diffusion, DiffusionPaths, Event, HintSource, Job,
    Models, Phase, Plan, Redraw, Settings, Solver, SolverKind, Statistics, StepNoise, StepTiles, Team,
    TileWindow, UpscalerChoice, VaeStatistics, output_size, upscale,
};

use crate::networks::with_taesd;

/// The tiny networks on a device.
pub fn tiny_models(folder: &Path, backend: &Backend) -> Models {
    write_diffusers(folder, Scale::Tiny, Stored::F32);
    let paths = set_at(folder);
    load(backend, &UpscalerChoice::Lanczos, Some(&paths))
}

/// The networks, on a device.
pub fn load(backend: &Backend, upscaler: &UpscalerChoice, paths: Option<&DiffusionPaths>) -> Models {
    let go = &mut |_| ControlFlow::Continue(());
    pollster::block_on(Models::load(backend, upscaler, paths, go)).unwrap()
}

/// The result of `settings` on `input`, and its planes.
pub fn run(models: &mut Models, input: &Raster, settings: &Settings, noise: Option<&Path>) -> Planes {
    let size = output_size(input.size(), settings);
    let mut output = Raster::new(&StoreKind::Memory, size, input.channels(), Depth::Eight).unwrap();
    let job = Job { noise: noise.map(Into::into), ..Job::new(7) };
    pollster::block_on(upscale(models, input, &mut output, settings, &job, &mut |_| {
        ControlFlow::Continue(())
    }))
    .unwrap();
    output.read(output.area()).unwrap()
}

pub fn fixture_settings(solver: SolverKind) -> Settings {
    // The reference has no colour lock.
    Settings {
        solver,
        colour_lock: 0.0,
        chroma_lock: 0.0,
        ..serde_json::from_value(json("recipe/settings.json")).unwrap()
    }
}

/// Clarity's way with hint and guidance.
fn clarity(solver: SolverKind) -> Settings {
    let (hint, control_mode) = (HintSource::Input, ControlMode::Controlnet);
    Settings { hint, control_mode, ..fixture_settings(solver) }
}

/// The fixture's run on a device, against the Python reference: PSNR in dB.
pub fn against_python(backend: &Backend, settings: &Settings, name: &str) -> f64 {
    let folder = tempfile::tempdir().unwrap();
    let mut models = tiny_models(folder.path(), backend);
    let input = open(&fixture("recipe/input.png"), &StoreKind::Memory).unwrap().raster;
    let result = run(&mut models, &input, settings, Some(&fixture("recipe/noise.safetensors")));
    let expected = open(&fixture(&format!("recipe/{name}.png")), &StoreKind::Memory).unwrap();
    assert_eq!(expected.format, Format::Png);
    psnr(&result.data, &expected.raster.read(expected.raster.area()).unwrap().data)
}

#[test]
fn taesd_takes_the_place_of_the_checkpoints_autoencoder() {
    let folder = tempfile::tempdir().unwrap();
    write_diffusers(folder.path(), Scale::Tiny, Stored::F32);
    let paths = with_taesd(folder.path());
    let mut models = load(&Backend::flex(), &UpscalerChoice::Lanczos, Some(&paths));
    let input = open(&fixture("recipe/input.png"), &StoreKind::Memory).unwrap().raster;
    let result = |models: &mut Models, vae_tile| {
        let settings = Settings { vae_tile, ..fixture_settings(SolverKind::Ddim) };
        run(models, &input, &settings, Some(&fixture("recipe/noise.safetensors"))).data
    };
    let (whole, divided) = (result(&mut models, 768), result(&mut models, 64));
    let usual = result(&mut tiny_models(folder.path(), &Backend::flex()), 768);
    let (apart, tiles) = (psnr(&whole, &usual), psnr(&whole, &divided));
    println!("{apart:.1} dB from the usual autoencoder, {tiles:.1} dB from its own tiles");
    // It has no statistics that a tile could lack, only a border.
    assert!(apart < 30.0 && tiles > apart + 10.0 && tiles.is_finite());
}

#[test]
fn the_whole_recipe_matches_diffusers() {
    let (dpm, ddim) = (SolverKind::Dpmsolver, SolverKind::Ddim);
    for (settings, name) in [
        (fixture_settings(dpm), "dpmsolver"),
        (fixture_settings(ddim), "ddim"),
        (clarity(ddim), "controlnet"),
    ] {
        let psnr = against_python(&Backend::flex(), &settings, name);
        println!("{name}: {psnr:.1} dB");
        // Half a level of 8 bits everywhere would be 54 dB; both sides round alike nearly everywhere.
        assert!(psnr >= 75.0, "{name}: {psnr} dB");
    }
    // What the test must be able to see: another hint, another mode.
    for wrong in [
        Settings { hint: HintSource::Guess, ..clarity(ddim) },
        Settings { control_mode: ControlMode::Balanced, ..clarity(ddim) },
        Settings { controlnet_decay: 1.0, ..clarity(ddim) },
    ] {
        let psnr = against_python(&Backend::flex(), &wrong, "controlnet");
        println!("wrong: {psnr:.1} dB");
        assert!(psnr < 65.0, "{psnr} dB");
    }
}

/// A picture without any edge.
fn smooth(size: Size) -> Raster {
    let mut raster = Raster::new(&StoreKind::Memory, size, Channels::Rgb, Depth::Sixteen).unwrap();
    let value =
        |c: usize, x: f32, y: f32| 0.5 + 0.3 * (x * 2.0 + c as f32).sin() * (y * 1.5 - c as f32).cos();
    let (w, h) = (size.width as usize, size.height as usize);
    let data = (0..3 * w * h)
        .map(|i| value(i / (w * h), (i % w) as f32 / w as f32, (i / w % h) as f32 / h as f32))
        .collect();
    raster.write(0, 0, &Planes::new(size, 3, data)).unwrap();
    raster
}

fn go() -> impl FnMut(Event) -> ControlFlow<()> {
    |_| ControlFlow::Continue(())
}

/// The latents of a smooth picture, and the picture.
fn smooth_latents(diffusion: &Diffusion) -> (Canvas, Raster) {
    let input = smooth(Size::new(2048, 256));
    let autoencoder = Autoencoder::new(input.size(), 8192, Wrap::NONE, 8);
    let whole = Rect::new(0, 0, Size::new(256, 32));
    let backend = Backend::flex();
    let mut observe = go();
    let encoded = autoencoder.encode(&backend, diffusion, &input, whole, &mut observe);
    (pollster::block_on(encoded).unwrap(), input)
}

/// Mean gradient of redrawn latents across the borders of their tiles, in units of that elsewhere; the
/// start is free of noise.
fn border_gradient(
    diffusion: &mut Diffusion,
    (start, input): &(Canvas, Raster),
    (window, overlap, jitter): (TileWindow, u32, bool),
) -> f64 {
    let (backend, mut canvas) = (Backend::flex(), start.clone());
    let whole = Rect::new(0, 0, canvas.size);
    let text = Tensor::zeros([1, 77, 32], &backend.device);
    let settings = Settings {
        tile_width: 32,
        tile_height: 32,
        tile_overlap: overlap,
        tile_window: window,
        tile_jitter: jitter,
        solver: SolverKind::Ddim,
        ..Settings::default()
    };
    let noise = StepNoise { seed: 7, area: Rect::new(0, 0, canvas.size) };
    let solver = Solver::new(&settings, &ModelFamily::sd15(), 0.12, noise);
    let conditioning = Conditioning::new(text.clone(), text);
    let tiles = StepTiles::new(canvas.size, &settings, 7);
    let redraw = Redraw {
        backend: &backend,
        settings: &settings,
        conditioning: &conditioning,
        hint: input,
        tiles: &tiles,
        previews: false,
        team: &Team::alone(),
    };
    pollster::block_on(redraw.run(diffusion, &mut canvas, solver, whole, &mut go())).unwrap();
    let width = canvas.size.width as usize;
    let gradient = |x: usize| {
        canvas.data.chunks_exact(width).map(|row| f64::from((row[x] - row[x - 1]).abs())).sum::<f64>()
    };
    let grid = TileGrid::new(canvas.size, Size::new(32, 32), overlap).unwrap();
    let mut borders: Vec<usize> = grid
        .iter()
        .flat_map(|r| [r.x as usize, r.right() as usize])
        .filter(|x| *x > 0 && *x < width)
        .collect();
    borders.dedup();
    let mean = |columns: &mut dyn Iterator<Item = usize>| {
        let list: Vec<f64> = columns.map(gradient).collect();
        list.iter().sum::<f64>() / list.len() as f64
    };
    // Not the picture's own border, which zero padding bends in one tile as in many.
    let ratio =
        mean(&mut borders.iter().copied()) / mean(&mut (8..width - 8).filter(|x| !borders.contains(x)));
    println!("{window:?}, overlap {overlap}, moving {jitter}: {ratio:.4}");
    ratio
}

#[test]
fn diffusion_tiles_leave_no_seam() {
    let folder = tempfile::tempdir().unwrap();
    let mut models = tiny_models(folder.path(), &Backend::flex());
    let diffusion = models.diffusion.as_mut().unwrap();
    let start = smooth_latents(diffusion);
    let mut ratio = |window, overlap, jitter| border_gradient(diffusion, &start, (window, overlap, jitter));
    let feather = ratio(Settings::default().tile_window, 8, false);
    assert!((feather - 1.0).abs() < 0.05, "{feather}");
    // Even with the window that shows most, borders that move leave little where they were.
    let (still, moving) = (ratio(TileWindow::Uniform, 8, false), ratio(TileWindow::Uniform, 8, true));
    assert!(moving < 1.0 + 0.5 * (still - 1.0), "{still} {moving}");
    // What the test must be able to see: tiles that only touch.
    let seam = ratio(TileWindow::Uniform, 0, false);
    assert!(seam > 1.5, "tiles without overlap: {seam}");
}

#[test]
fn tiles_of_the_autoencoder_agree_with_the_whole() {
    let backend = Backend::flex();
    let folder = tempfile::tempdir().unwrap();
    let models = tiny_models(folder.path(), &backend);
    let diffusion = models.diffusion.as_ref().unwrap();
    let input = smooth(Size::new(320, 192));
    let latents = |tile, kind| {
        pollster::block_on(async {
            let mut autoencoder = Autoencoder::new(input.size(), tile, Wrap::NONE, 8);
            let measured = Statistics::measure(&backend, diffusion, &input, tile, kind).await.unwrap();
            autoencoder.statistics = measured;
            let whole = Rect::new(0, 0, Size::new(40, 24));
            autoencoder.encode(&backend, diffusion, &input, whole, &mut go()).await.unwrap()
        })
    };
    let decoded = |canvas: &Canvas, tile| {
        let mut autoencoder = Autoencoder::new(input.size(), tile, Wrap::NONE, 8);
        let kind = VaeStatistics::Thumbnail;
        let mut picture = smooth(input.size());
        pollster::block_on(async {
            let measured = Statistics::measure(&backend, diffusion, &input, tile, kind).await.unwrap();
            autoencoder.statistics = measured;
            let (whole, memory) = (Rect::new(0, 0, canvas.size), StoreKind::Memory);
            autoencoder
                .decode(&backend, diffusion, canvas, &mut picture, whole, &memory, &mut go())
                .await
                .unwrap();
        });
        picture.read(picture.area()).unwrap().data
    };
    let whole = latents(320, VaeStatistics::Thumbnail);
    // Two tiles, blended, against one.
    let decoder = psnr(&decoded(&whole, 256), &decoded(&whole, 320));
    println!("decoder: {decoder:.1} dB");
    assert!(decoder > 12.0, "{decoder} dB");
    let power = |values: &mut dyn Iterator<Item = f32>| values.map(|v| f64::from(v * v)).sum::<f64>();
    for statistics in [VaeStatistics::Thumbnail, VaeStatistics::Sampled] {
        assert_eq!(latents(8192, statistics), whole, "one tile is the whole");
        let tiled = latents(256, statistics);
        let difference = power(&mut whole.data.iter().zip(&tiled.data).map(|(a, b)| a - b));
        let ratio = 10.0 * (power(&mut whole.data.iter().copied()) / difference).log10();
        println!("{statistics:?}: {ratio:.1} dB");
        // A random network sees the whole picture in each latent, through its attention; a tile cannot.
        assert!(statistics != VaeStatistics::Thumbnail || ratio > 8.0, "{statistics:?}: {ratio} dB");
    }
}

#[test]
fn a_seed_gives_the_same_bytes_and_another_seed_others() {
    let folder = tempfile::tempdir().unwrap();
    let mut models = tiny_models(folder.path(), &Backend::flex());
    let input = || open(&fixture("recipe/input.png"), &StoreKind::Memory).unwrap().raster;
    // A stochastic sampler: its steps' noise must not depend on more than the seed either.
    let settings = Settings { tile_width: 16, tile_height: 16, ..fixture_settings(SolverKind::Dpmpp3mSde) };
    let mut results = Vec::new();
    for threads in [1, 2, 5] {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        results.push(pool.install(|| run(&mut models, &input(), &settings, None)));
    }
    assert!(results[0] == results[1] && results[1] == results[2], "the number of threads must not matter");
    let other = run(&mut models, &input(), &Settings { denoise_strength: 0.5, ..settings }, None);
    assert_ne!(results[0], other);
}

#[test]
fn every_sampler_runs_and_its_progress_counts_evaluations() {
    let backend = Backend::flex();
    let folder = tempfile::tempdir().unwrap();
    let mut models = tiny_models(folder.path(), &backend);
    let input = smooth(Size::new(70, 50));
    let size = output_size(input.size(), &Settings::default());
    let field = Settings::describe().into_iter().find(|field| field.name == "solver").unwrap();
    let mut results: Vec<(String, Planes)> = Vec::new();
    for solver in field.choices {
        let mut settings = Settings {
            num_inference_steps: 4,
            denoise_strength: 0.5,
            tile_width: 12,
            tile_height: 10,
            tile_overlap: 4,
            ..Settings::default()
        };
        settings.set("solver", &solver).unwrap();
        let plan = Plan::new(&backend, &models.enlarger, true, input.size(), &settings);
        let stage = &plan.stages[0];
        let twice = ["heun", "dpm2", "dpm2_a", "dpm++sde"].contains(&solver.as_str());
        assert_eq!((stage.steps, stage.evaluations), (2, if twice { 3 } else { 2 }), "{solver}");
        let job = Job::new(7);
        let mut output = Raster::new(&StoreKind::Memory, size, Channels::Rgb, Depth::Eight).unwrap();
        let mut seen = Vec::new();
        let mut observe = |event| {
            if let Event::Tile { phase: Phase::Diffuse, done, total } = event {
                seen.push((done, total));
            }
            ControlFlow::Continue(())
        };
        pollster::block_on(upscale(&mut models, &input, &mut output, &settings, &job, &mut observe)).unwrap();
        let total = stage.diffusion_tiles * stage.evaluations;
        assert!(stage.diffusion_tiles > 1);
        assert_eq!(seen, (1..=total).map(|done| (done, total)).collect::<Vec<_>>(), "{solver}");
        let result = output.read(output.area()).unwrap();
        for (other, planes) in &results {
            // These networks ask for no sampler.
            let alike = [other.as_str(), &solver] == ["auto", "dpmsolver"];
            assert_eq!(planes == &result, alike, "{solver} and {other}");
        }
        results.push((solver, result));
    }
}

#[test]
fn odd_sizes_and_several_stages_work() {
    let folder = tempfile::tempdir().unwrap();
    let mut models = tiny_models(folder.path(), &Backend::flex());
    let settings = Settings {
        num_inference_steps: 4,
        tile_width: 16,
        tile_height: 16,
        tile_overlap: 4,
        ..Settings::default()
    };
    for (width, height, factor) in [(1, 1, 2.0), (1, 90, 2.0), (13, 7, 3.0), (37, 21, 1.0), (20, 20, 1.7)] {
        let settings = Settings { upscale_factor: factor, ..settings.clone() };
        let result = run(&mut models, &smooth(Size::new(width, height)), &settings, None);
        let side = |n: u32| (f64::from(n) * factor).round() as u32;
        assert_eq!(result.size, Size::new(side(width), side(height)));
    }
}

#[test]
fn a_run_can_be_cancelled_at_any_event() {
    let folder = tempfile::tempdir().unwrap();
    let mut models = tiny_models(folder.path(), &Backend::flex());
    let input = open(&fixture("recipe/input.png"), &StoreKind::Memory).unwrap().raster;
    let settings = fixture_settings(SolverKind::Ddim);
    let mut output =
        Raster::new(&StoreKind::Memory, output_size(input.size(), &settings), Channels::Rgb, Depth::Eight)
            .unwrap();
    let job = Job::new(7);
    let mut seen = 0;
    let result =
        pollster::block_on(upscale(&mut models, &input, &mut output, &settings, &job, &mut |event| {
            seen += 1;
            if matches!(event, Event::Tile { done: 5, .. }) {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            }
        }));
    assert!(matches!(result, Err(clarifier_upscale::Error::Cancelled)));
    assert!(seen < 12, "{seen} events: it went on");
}
