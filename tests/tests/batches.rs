//! Tiles computed at once, or begun before those before them are read, give the bytes of one after the other.

use std::ops::ControlFlow;
use std::path::Path;

use burn::tensor::ops::ConvOptions;
use burn::tensor::{DType, Device, Tensor, TensorData};
use clarifier_kernels::{
    AttentionBudget, Tiles, attention, conv2d, conv2d_onto, group_norm_silu, group_stats, layer_norm, linear,
    linear_geglu, linear_onto,
};
use clarifier_raster::{Channels, Planes};
use clarifier_tests::json;
use clarifier_tests::models::{Scale, entries, set_at, write_diffusers};
use clarifier_tests::team::in_threads;
use clarifier_tests::weights::{Stored, data, write_safetensors};
use clarifier_tile::Size;
use clarifier_upscale::device::Backend;
use clarifier_upscale::{
    Computed, ControlMode, DiffusionPaths, Enlarger, Error, Event, Machine, Models, Phase, Plan, Settings,
    TilePrompts, UpscalerChoice,
};

use crate::crash_folder::CrashFolder;
use crate::gpu::gpu;
use crate::journal::{Case, cases, journal, picture};
use crate::recipe::{load, tiny_models};

fn set_batch(models: &mut Models, tiles: usize) {
    if let Some(diffusion) = &mut models.diffusion {
        diffusion.tile_batch = tiles;
    }
}

fn tiles_of(side: u32) -> Settings {
    Settings { tile_width: side, tile_height: side, tile_overlap: 4, ..Settings::default() }
}

/// Cases of the recipe that differ in what tiles share.
fn diffusing() -> Vec<Case> {
    let mut cases: Vec<_> = cases().into_iter().filter(|case| case.diffusion).collect();
    let prompts = TilePrompts::parse("R1C1: a cat\nR1C2: a dog\n20,0,24,30: grass").unwrap();
    let mut places = Case::new(
        "prompts by place",
        Settings {
            num_inference_steps: 4,
            guidance_end: 0.6,
            control_mode: ControlMode::Controlnet,
            ..tiles_of(12)
        },
    );
    places.job.tile_prompts = prompts;
    cases.push(places);
    cases
}

#[test]
fn tiles_at_once_give_the_bytes_of_one_by_one() {
    let folder = tempfile::tempdir().unwrap();
    let mut tiny = tiny_models(folder.path(), &Backend::flex());
    for case in diffusing() {
        set_batch(&mut tiny, 1);
        let (expected, _) = case.run(&mut tiny, None);
        let (expected, counted) = (expected.unwrap(), tiny.diffusion.as_ref().unwrap().computed());
        for tiles in [2, 3, 50] {
            set_batch(&mut tiny, tiles);
            let (result, _) = case.run(&mut tiny, None);
            assert!(result.unwrap() == expected, "{}: {tiles}", case.name);
            let now = tiny.diffusion.as_ref().unwrap().computed();
            assert_eq!(now, Computed { prompts: now.prompts, ..counted }, "{}: {tiles}", case.name);
            assert!(now.prompts <= counted.prompts, "{}: {now:?}, {counted:?}", case.name);
        }
    }
}

#[test]
fn what_batches_left_others_go_on_with() {
    let folder = tempfile::tempdir().unwrap();
    let mut tiny = tiny_models(folder.path(), &Backend::flex());
    for case in diffusing() {
        set_batch(&mut tiny, 1);
        let expected = case.run(&mut tiny, None).0.unwrap();
        let kept = CrashFolder::default();
        kept.crash_after(usize::MAX);
        // Again and again stopped, each time with another number at once.
        let mut rounds = 0;
        let result = loop {
            set_batch(&mut tiny, [3, 2, 4, 1][rounds % 4]);
            let mut left = 4;
            let stopped = &mut |event: &Event| {
                left -= usize::from(matches!(event, Event::Tile { .. }) && left > 0);
                if left == 0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            };
            match case.run_watched(&mut tiny, Some(journal(&kept, 0)), stopped).0 {
                Err(Error::Cancelled) => rounds += 1,
                ended => break ended,
            }
        };
        assert!(result.unwrap() == expected, "{}", case.name);
        assert!(rounds > 0, "{}: {rounds}", case.name);
    }
}

#[test]
fn a_team_computes_as_many_at_once_as_its_smallest() {
    let folder = tempfile::tempdir().unwrap();
    write_diffusers(folder.path(), Scale::Tiny, Stored::F32);
    let paths = set_at(folder.path());
    let load = || load(&Backend::flex(), &UpscalerChoice::Lanczos, Some(&paths));
    let case = || cases().remove(0);
    let expected = case().run(&mut load(), None).0.unwrap();
    let kept = CrashFolder::default();
    kept.crash_after(usize::MAX);
    let ranks = in_threads(2, |team| {
        let (rank, mut case, mut models) = (team.rank(), case(), load());
        case.job.team = team;
        set_batch(&mut models, [3, 2][rank]);
        case.run(&mut models, (rank == 0).then(|| journal(&kept, 0))).0.unwrap()
    });
    assert!(ranks[0] == expected);
}

/// The result, and how many tiles were redrawn before one overflowed in f16.
fn until_overflow(case: &Case, models: &mut Models) -> (Planes, usize) {
    let (result, events) = case.run(models, None);
    let before = events.iter().take_while(|event| !matches!(event, Event::Warning { .. }));
    let redrawn = |event: &&Event| matches!(event, Event::Tile { phase: Phase::Diffuse, .. });
    (result.unwrap(), before.filter(redrawn).count())
}

/// Networks whose noise is so many times larger, and a picture of six tiles for them.
fn overflowing(folder: &Path, times: u32) -> (Case, DiffusionPaths) {
    write_diffusers(folder, Scale::Tiny, Stored::F16);
    let mut unet = entries(&json("manifest_tiny.json")["unet"]["tensors"]);
    let last = unet.iter_mut().filter(|entry| entry.name == "conv_out.weight");
    last.for_each(|entry| entry.formula = format!("{times}*conv_out.weight"));
    write_safetensors(&folder.join("unet/diffusion_pytorch_model.safetensors"), &unet, Stored::F32);
    let mut case = Case::new("f16", Settings { num_inference_steps: 4, ..tiles_of(12) });
    case.input = picture(Size::new(96, 64), Channels::Rgb);
    (case, set_at(folder))
}

#[test]
fn an_overflow_among_several_begins_at_the_same_tile() {
    let folder = tempfile::tempdir().unwrap();
    let mut found = Vec::new();
    for times in [24_000, 29_000, 30_000] {
        let (case, paths) = overflowing(folder.path(), times);
        let with = |tiles| {
            let backend = Backend { dtype: DType::F16, ..Backend::flex() };
            let mut models = load(&backend, &UpscalerChoice::Lanczos, Some(&paths));
            set_batch(&mut models, tiles);
            until_overflow(&case, &mut models)
        };
        let (expected, before) = with(1);
        found.push(before);
        for tiles in [2, 3] {
            assert!(with(tiles).0 == expected, "{times}: {tiles}");
        }
    }
    println!("{found:?}");
    assert!(found.iter().any(|before| before % 6 > 0), "none in the middle of a step: {found:?}");
}

#[test]
fn a_gpu_ahead_of_who_reads_gives_the_bytes_of_one_that_waits() {
    let folder = tempfile::tempdir().unwrap();
    // f32 and f16, where the adapter has it: what is ahead of an overflow is thrown away.
    let (case, paths) = overflowing(folder.path(), 30_000);
    let half = gpu().adapter.is_some_and(|adapter| adapter.shader_f16);
    let dtype = if half { DType::F16 } else { DType::F32 };
    let ahead = Backend { dtype, ..gpu() };
    // Without an adapter's name it is taken for a processor, which is never ahead.
    let waiting = Backend { adapter: None, ..ahead.clone() };
    let with = |backend: &Backend, tiles| {
        let mut models = load(backend, &UpscalerChoice::Lanczos, Some(&paths));
        set_batch(&mut models, tiles);
        until_overflow(&case, &mut models)
    };
    let (expected, before) = with(&waiting, 1);
    println!("{before} of 12 tiles in f16");
    for tiles in [1, 4] {
        assert!(with(&ahead, tiles).0 == expected, "{tiles} at once");
    }
    // Cancelled with a tile on its way, which what is read next waits for.
    let mut models = load(&ahead, &UpscalerChoice::Lanczos, Some(&paths));
    let cancel = &mut |event: &Event| match event {
        Event::Tile { phase: Phase::Diffuse, .. } => ControlFlow::Break(()),
        _ => ControlFlow::Continue(()),
    };
    assert!(matches!(case.run_watched(&mut models, None, cancel).0, Err(Error::Cancelled)));
    assert!(until_overflow(&case, &mut models).0 == expected);
}

#[test]
fn as_many_tiles_are_planned_as_the_device_has_room_for() {
    let gpu = |gigabytes: u64, tile_batch| Machine {
        memory: Some(gigabytes * 1_000_000_000),
        tile_batch,
        ..Machine::described("a GPU", true, Some(2 << 30))
    };
    let plan = |machine: &Machine, settings: &Settings| {
        Plan::on(machine, &Enlarger::Lanczos, true, Size::new(2000, 1500), settings)
    };
    let usual = Settings::default();
    let of = |gigabytes| plan(&gpu(gigabytes, 4), &usual).tile_batch;
    assert_eq!([of(4), of(5), of(6), of(24)], [1, 1, 3, 4]);
    let (one, four) = (plan(&gpu(24, 1), &usual), plan(&gpu(24, 4), &usual));
    assert_eq!(four.largest_tensor.0, (4 * 112 * 144 * 2 * 5120_u64).max(one.largest_tensor.0));
    assert_eq!(four.device_memory, one.device_memory, "the autoencoder needs more");
    let small = Settings { vae_tile: 256, ..usual };
    let (one, four) = (plan(&gpu(24, 1), &small), plan(&gpu(24, 4), &small));
    assert!(four.device_memory > one.device_memory && four.device_memory < four.peak_memory);
    // A tensor of the largest layer is 165 MB a tile.
    let narrow = Machine { max_tensor: Some(400 << 20), ..gpu(24, 4) };
    assert_eq!(plan(&narrow, &small).tile_batch, 2);
    // Where nothing is known, or it is a processor, whoever wants more says so.
    let unknown = Machine { tile_batch: 3, ..Machine::described("a processor", false, None) };
    assert_eq!(plan(&unknown, &small).tile_batch, 3);
    assert_eq!(plan(&Machine::described("a processor", false, None), &small).tile_batch, 1);
}

/// Every kernel of a batch of two, and of that among others.
fn kernels_among_others(device: &Device) {
    let made = |name: &str, dims: &[usize]| -> Vec<f32> { data(name, dims) };
    let tensor = |name: &str, dims: Vec<usize>| {
        let values = made(name, &dims);
        Tensor::<1>::from_data(TensorData::new(values, [dims.iter().product::<usize>()]), device)
    };
    fn compare<const D: usize>(name: &str, op: impl Fn(Tensor<D>) -> Tensor<D>, x: Tensor<D>) {
        let alone = op(x.clone()).into_data();
        let others = Tensor::cat(vec![x.clone(), x.clone().neg(), x], 0);
        let among = op(others);
        let (first, last) = (among.clone().narrow(0, 0, 2), among.narrow(0, 4, 2));
        assert!(first.into_data() == alone && last.into_data() == alone, "{name}");
    }
    for (channels, h, w) in [(8, 1, 1), (8, 2, 2), (32, 3, 3), (64, 6, 6), (64, 12, 13), (32, 24, 20)] {
        let picture = |channels| tensor("x", vec![2, channels, h, w]).reshape([2, channels, h, w]);
        let bias = || tensor("bias", vec![channels]);
        for (size, stride) in [(1, 1), (3, 1), (3, 2)] {
            let weight =
                tensor("w", vec![channels, channels, size, size]).reshape([channels, channels, size, size]);
            let options = ConvOptions::new([stride; 2], [size / 2; 2], [1; 2], 1);
            let conv = |x| conv2d(x, weight.clone(), Some(bias()), options.clone());
            compare(&format!("conv {size} / {stride} at {channels} × {h} × {w}"), conv, picture(channels));
            let onto =
                |x: Tensor<4>| conv2d_onto(x.clone(), x, weight.clone(), Some(bias()), options.clone());
            if stride == 1 {
                compare(&format!("conv {size} onto at {channels} × {h} × {w}"), onto, picture(channels));
            }
        }
        let norm =
            |x: Tensor<4>| group_norm_silu(x.clone(), &group_stats(&x, 4, false), bias(), bias(), 1e-5);
        compare(&format!("group norm at {channels} × {h} × {w}"), norm, picture(channels));
        let tokens = || picture(channels).reshape([2, channels, h * w]).swap_dims(1, 2);
        let weight = |outputs| tensor("w", vec![outputs, channels]).reshape([outputs, channels]).transpose();
        let name = format!("{} tokens of {channels}", h * w);
        compare(&format!("linear, {name}"), |x| linear(x, weight(channels), Some(bias())), tokens());
        compare(
            &format!("linear onto, {name}"),
            |x| linear_onto(x.clone(), x, weight(channels), None),
            tokens(),
        );
        compare(&format!("GEGLU, {name}"), |x| linear_geglu(x, weight(2 * channels), None), tokens());
        compare(&format!("layer norm, {name}"), |x| layer_norm(x, bias(), bias(), 1e-5), tokens());
        let heads = || tokens().reshape([2, h * w, 4, channels / 4]).swap_dims(1, 2);
        let own = |x: Tensor<4>| attention(x.clone(), x.clone(), x, AttentionBudget::default());
        compare(&format!("attention, {name}"), own, heads());
    }
}

#[test]
fn what_is_beside_it_in_a_batch_changes_no_value() {
    kernels_among_others(&Device::flex());
    for tiles in [Tiles::Registers, Tiles::Shared] {
        Tiles::force(Some(tiles));
        kernels_among_others(&gpu().device);
    }
    Tiles::force(None);
}
