//! The starter set as a realistic model: against Python, its seams, colours, texture and prompts, and interrupted.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use clarifier_raster::{Planes, Raster, StoreKind, open};
use clarifier_tests::models::set_at;
use clarifier_tests::weights::{data, write_tensor};
use clarifier_tests::{fixture, psnr};
use clarifier_tile::{Rect, Size, TileGrid};
use clarifier_upscale::device::Backend;
use clarifier_upscale::{Error, Event, Models, Plan, Settings, SolverKind, TileWindow, UpscalerChoice};

use crate::crash_folder::CrashFolder;
use crate::journal::{Case, journal};
use crate::recipe::{fixture_settings, load, run};

/// A strength at which the set still knows what to do.
const STRONG: f64 = 0.5;

/// A file of the repository.
fn asset(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../assets").join(name)
}

/// The set, on the CPU.
fn starter(upscaler: &UpscalerChoice) -> Models {
    load(&Backend::flex(), upscaler, Some(&set_at(&asset("starter.safetensors"))))
}

/// A part of the README's picture: fur, whiskers, an eye.
fn cat(size: Size) -> Raster {
    let whole = open(&asset("demo/cat.png"), &StoreKind::Memory).unwrap().raster;
    let mut part = Raster::new(&StoreKind::Memory, size, whole.channels(), whole.depth()).unwrap();
    part.write(0, 0, &whole.read(Rect::new(150, 60, size)).unwrap()).unwrap();
    part
}

/// Mean size of the Laplacian, in levels of 8 bits: how much fine structure there is.
fn texture(planes: &Planes) -> f64 {
    let (w, h) = (planes.size.width as usize, planes.size.height as usize);
    let mut sum = 0.0;
    for plane in planes.data.chunks_exact(w * h) {
        for at in (1..h - 1).flat_map(|y| (1..w - 1).map(move |x| y * w + x)) {
            let around = plane[at - 1] + plane[at + 1] + plane[at - w] + plane[at + w];
            sum += f64::from((4.0 * plane[at] - around).abs());
        }
    }
    255.0 * sum / ((w - 2) * (h - 2) * planes.data.len() / (w * h)) as f64
}

/// Half as large, each pixel the mean of four.
fn halved(planes: &Planes) -> Vec<f32> {
    let (w, h) = (planes.size.width as usize, planes.size.height as usize);
    let mean = |plane: &[f32], x: usize, y: usize| {
        let at = 2 * y * w + 2 * x;
        (plane[at] + plane[at + 1] + plane[at + w] + plane[at + w + 1]) / 4.0
    };
    let planes = planes.data.chunks_exact(w * h);
    planes
        .flat_map(|plane| (0..h / 2).flat_map(move |y| (0..w / 2).map(move |x| mean(plane, x, y))))
        .collect()
}

#[test]
fn the_starter_set_matches_diffusers() {
    let folder = tempfile::tempdir().unwrap();
    let noise = folder.path().join("noise.safetensors");
    let shape = [64, 20, 24];
    let values: Vec<f32> = data("noise", &shape).iter().map(|v| v * 3f32.sqrt()).collect();
    write_tensor(&noise, "noise", &shape, &values);
    let input = open(&fixture("recipe/input.png"), &StoreKind::Memory).unwrap().raster;
    let mut models = starter(&UpscalerChoice::Lanczos);
    let expected = open(&fixture("recipe/starter.png"), &StoreKind::Memory).unwrap().raster;
    let expected = expected.read(expected.area()).unwrap();
    let mut against = |settings: &Settings| {
        let result = run(&mut models, &input, settings, Some(&noise));
        psnr(&result.data, &expected.data)
    };
    // The sampler that the set asks for, DDIM.
    let settings = fixture_settings(SolverKind::Auto);
    let right = against(&settings);
    println!("starter: {right:.1} dB");
    // As of the tiny networks: both sides round alike nearly everywhere.
    assert!(right >= 70.0, "{right} dB");
    let wrong = against(&Settings { controlnet_decay: 1.0, ..settings });
    assert!(wrong < 60.0, "what the test must be able to see: {wrong} dB");
}

/// Mean step from column to column at the borders of tiles of 24 latents, in units of that elsewhere.
fn border_step(planes: &Planes, overlap: u32) -> f64 {
    let width = planes.size.width as usize;
    let latents = Size::new(planes.size.width / 8, planes.size.height / 8);
    let grid = TileGrid::new(latents, Size::new(24, 24), overlap).unwrap();
    let step = |x: usize| {
        planes.data.chunks_exact(width).map(|row| f64::from((row[x] - row[x - 1]).abs())).sum::<f64>()
    };
    let mean = |columns: Vec<usize>| columns.iter().map(|x| step(*x)).sum::<f64>() / columns.len() as f64;
    let sides = grid.iter().flat_map(|rect| [8 * rect.x as usize, 8 * rect.right() as usize]);
    let borders: Vec<usize> = sides.filter(|x| *x > 0 && *x < width).collect();
    let others = (8..width - 8).filter(|x| !borders.contains(x)).collect();
    mean(borders) / mean(others)
}

#[test]
fn its_tiles_leave_no_seam() {
    let mut models = starter(&UpscalerChoice::Lite);
    let input = cat(Size::new(224, 96));
    let mut redrawn = |tile, overlap, tile_window| {
        let sizes =
            Settings { tile_width: tile, tile_height: tile, tile_overlap: overlap, ..Settings::default() };
        run(&mut models, &input, &Settings { tile_window, ..sizes }, None)
    };
    let usual = Settings::default().tile_window;
    let (whole, tiled) = (redrawn(64, 8, usual), redrawn(24, 8, usual));
    let visible = border_step(&tiled, 8) / border_step(&whole, 8);
    println!("steps at borders: {visible:.3} of one tile's");
    assert!((visible - 1.0).abs() < 0.05, "{visible}");
    // More sensitive: what the tiles have changed.
    let changed = |tiled: &Planes| {
        let data = tiled.data.iter().zip(&whole.data).map(|(a, b)| a - b).collect();
        Planes::new(whole.size, whole.channels, data)
    };
    let ratio = border_step(&changed(&tiled), 8);
    println!("changes at borders: {ratio:.3}");
    // What the test must be able to see: tiles that only touch.
    let seam = border_step(&changed(&redrawn(24, 0, TileWindow::Uniform)), 0);
    println!("without overlap: {seam:.3}");
    assert!(ratio < 1.6 && seam > 1.6 * ratio, "{ratio} with overlap, {seam} without");
}

#[test]
fn it_keeps_the_picture_and_does_what_it_is_told() {
    let mut models = starter(&UpscalerChoice::Lite);
    let input = cat(Size::new(112, 96));
    let original = input.read(input.area()).unwrap();
    let mut redrawn = |settings: &Settings| run(&mut models, &input, settings, None);
    let usual = Settings::default();
    let plain = redrawn(&usual);
    let back = halved(&plain);
    let likeness = psnr(&back, &original.data);
    let mean =
        |values: &[f32]| 255.0 * values.iter().map(|v| f64::from(*v)).sum::<f64>() / values.len() as f64;
    let count = original.data.len() / 3;
    for (channel, (a, b)) in back.chunks_exact(count).zip(original.data.chunks_exact(count)).enumerate() {
        let shift = mean(a) - mean(b);
        println!("channel {channel}: {shift:.3} levels");
        assert!(shift.abs() < 1.0, "channel {channel}: {shift} levels");
    }
    println!("halved again: {likeness:.1} dB");
    assert!(likeness > 28.0, "{likeness} dB");
    let exchanged = redrawn(&Settings {
        prompt: usual.negative_prompt.clone(),
        negative_prompt: usual.prompt.clone(),
        ..usual.clone()
    });
    let strong = redrawn(&Settings { denoise_strength: STRONG, ..usual.clone() });
    let free = redrawn(&Settings { denoise_strength: STRONG, controlnet_scale: 0.0, ..usual });
    println!(
        "texture: {:.2}; prompts exchanged {:.2}; strength {STRONG} {:.2}, without ControlNet {:.2}",
        texture(&plain),
        texture(&exchanged),
        texture(&strong),
        texture(&free)
    );
    assert!(texture(&exchanged) < 0.97 * texture(&plain));
    assert!(texture(&strong) > 1.03 * texture(&plain));
    let (held, free) = (psnr(&halved(&strong), &original.data), psnr(&halved(&free), &original.data));
    println!("strength {STRONG}, halved again: {held:.1} dB, without ControlNet {free:.1} dB");
    assert!(free < held - 2.0, "the ControlNet holds it to the picture: {held} and {free} dB");
}

#[test]
fn an_interrupted_run_gives_the_same_bytes() {
    let mut models = starter(&UpscalerChoice::Lite);
    let settings = Settings { tile_width: 16, tile_height: 16, tile_overlap: 8, ..Settings::default() };
    let mut case = Case::new("starter", settings);
    case.input = cat(Size::new(96, 80));
    let (expected, events) = case.run(&mut models, None);
    let expected = expected.unwrap();
    let is_tile = |event: &Event| matches!(event, Event::Tile { .. });
    let all = events.iter().filter(|event| is_tile(event)).count();
    let folder = CrashFolder::default();
    folder.crash_after(usize::MAX);
    for share in [0.2, 0.5, 0.8] {
        // What was done before counts here, what was told of it does not.
        let mut left = (0.3 * share * all as f64) as usize + 1;
        let stop = &mut |event: &Event| {
            left = left.saturating_sub(usize::from(is_tile(event)));
            if left == 0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        };
        let stopped = case.run_watched(&mut models, Some(journal(&folder, 0)), stop).0;
        assert!(matches!(stopped, Err(Error::Cancelled)), "{share}");
    }
    let (result, events) = case.run(&mut models, Some(journal(&folder, 0)));
    assert!(matches!(events[0], Event::Resumed { .. }), "{:?}", events[0]);
    assert!(events.iter().filter(|event| is_tile(event)).count() < all);
    assert!(result.unwrap() == expected);
    // Its latents have 64 channels, which a journal needs the room for.
    let size = case.input.size();
    let plan = Plan::on(&models.machine(), &models.enlarger, true, size, &case.settings);
    assert!(folder.peak() <= plan.kept, "{} of {} bytes", folder.peak(), plan.kept);
}
