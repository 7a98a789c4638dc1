//! SD 1.5's true sizes, random weights in f16 files: memory and a whole run. By `cargo xtask full-size`.
//! Weights are packed there, as the program has them.

use burn::tensor::Device;
use clarifier_kernels::{Half, PackedValues};
use clarifier_model::files::{Component, component};
use clarifier_model::loader::{self, Placement, Weights};
use clarifier_model::unet::UNet;
use clarifier_model::weight::Packing;
use clarifier_raster::{Channels, Depth, Planes, Raster, StoreKind};
use clarifier_tests::models::{Scale, set_at, write_diffusers};
use clarifier_tests::weights::{Stored, data};
use clarifier_tile::Size;
use clarifier_upscale::device::Backend;
use clarifier_upscale::{Error, Event, Job, Models, Phase, Settings, UpscalerChoice, upscale};
use std::ops::ControlFlow;
use std::path::Path;

const GIB: f64 = (1u64 << 30) as f64;

/// The most memory that this process has had, as the kernel counts it, in GiB.
fn peak() -> f64 {
    memory("VmHWM:")
}

fn memory(what: &str) -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux");
    let line = status.lines().find(|l| l.starts_with(what)).expect("Linux");
    let kib: f64 = line.split_whitespace().nth(1).unwrap().parse().unwrap();
    kib * 1024.0 / GIB
}

fn picture(size: Size) -> Raster {
    let mut raster = Raster::new(&StoreKind::Memory, size, Channels::Rgb, Depth::Eight).unwrap();
    let values = data("picture", &[3, size.height as usize, size.width as usize]);
    let values = values.into_iter().map(|v| 0.5 + 0.3 * v).collect();
    raster.write(0, 0, &Planes::new(size, 3, values)).unwrap();
    raster
}

#[test]
#[ignore = "2.9 GB of weights: cargo xtask full-size"]
fn a_full_size_run_stays_under_9_gib() {
    let folder = tempfile::tempdir().unwrap();
    write_diffusers(folder.path(), Scale::Full, Stored::F16);
    let paths = set_at(folder.path());
    let backend = Backend::flex();
    let mut weights = std::collections::BTreeMap::new();
    let begun = std::time::Instant::now();
    let observe = &mut |event| {
        if let clarifier_upscale::Event::Load { network, total, .. } = event {
            weights.insert(network, total);
        }
        ControlFlow::Continue(())
    };
    let loading = Models::load(&backend, &UpscalerChoice::Lite, Some(&paths), observe);
    let mut models = pollster::block_on(loading).unwrap();
    let in_f32 = weights.values().sum::<u64>() as f64 / GIB;
    let weights = models.machine().weights as f64 / GIB;
    let loaded = peak();
    println!(
        "weights {in_f32:.2} GiB in f32, {weights:.2} GiB packed, peak while loading {loaded:.2} GiB, {:.0} s",
        begun.elapsed().as_secs_f64()
    );
    assert!(weights < 0.55 * in_f32, "{weights} of {in_f32} GiB");
    assert!(loaded < weights + 0.5, "{loaded} GiB for {weights} GiB of weights");
    let size = Size::new(256, 256);
    let input = picture(size);
    let mut output = Raster::new(&StoreKind::Memory, size.times(2), Channels::Rgb, Depth::Eight).unwrap();
    let settings = Settings { num_inference_steps: 6, denoise_strength: 0.4, ..Settings::default() };
    let job = Job::new(1);
    let begun = std::time::Instant::now();
    let mut observe = |event| {
        println!("{:6.1} s, {:.2} GiB: {event:?}", begun.elapsed().as_secs_f64(), peak());
        ControlFlow::Continue(())
    };
    pollster::block_on(upscale(&mut models, &input, &mut output, &settings, &job, &mut observe)).unwrap();
    println!("512 × 512 in {:.0} s, peak {:.2} GiB", begun.elapsed().as_secs_f64(), peak());
    assert!(peak() < 9.0);
}

#[test]
#[ignore = "2.9 GB of weights: cargo xtask full-size"]
fn the_default_tile_takes_3_gb_above_the_weights() {
    let folder = tempfile::tempdir().unwrap();
    write_diffusers(folder.path(), Scale::Full, Stored::F16);
    let paths = set_at(folder.path());
    let (backend, job) = (Backend::flex(), Job::new(1));
    let observe = &mut |_| ControlFlow::Continue(());
    let loading = Models::load(&backend, &UpscalerChoice::Lanczos, Some(&paths), observe);
    let mut models = pollster::block_on(loading).unwrap();
    let weights = models.machine().weights as f64 / GIB;
    // One step of one tile of 112 × 144.
    let settings = Settings { num_inference_steps: 2, ..Settings::default() };
    let size = Size::new(4 * settings.tile_width, 4 * settings.tile_height);
    let input = picture(size);
    let mut output = Raster::new(&StoreKind::Memory, size.times(2), Channels::Rgb, Depth::Eight).unwrap();
    let mut highest = Vec::new();
    let mut observe = |event| {
        match event {
            Event::Tile { phase: Phase::Diffuse, total, .. } => {
                assert_eq!(total, 1);
                highest.push(peak());
                return ControlFlow::Break(());
            }
            _ => forget_peak(),
        }
        ControlFlow::Continue(())
    };
    let run = upscale(&mut models, &input, &mut output, &settings, &job, &mut observe);
    assert!(matches!(pollster::block_on(run), Err(Error::Cancelled)));
    println!("a step with guidance: {:.2} GiB, of which {weights:.2} GiB are weights", highest[0]);
    assert!(highest[0] - weights < 3e9 / GIB, "{} GiB", highest[0]);
}

/// Seconds that this process's threads have computed: on a busy machine, time on the clock says little.
fn busy() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").expect("Linux");
    let fields: Vec<&str> = stat.rsplit(')').next().expect("a name in brackets").split_whitespace().collect();
    let ticks = |at: usize| fields[at].parse::<f64>().expect("ticks");
    // utime and stime, which are in hundredths on every Linux.
    (ticks(11) + ticks(12)) / 100.0
}

/// Let [`peak`] begin anew.
fn forget_peak() {
    std::fs::write("/proc/self/clear_refs", "5").expect("Linux");
}

/// Memory and time of the full-size UNet with and without packed weights, at `side` latents.
fn compare_packing(device: &Device, folder: &Path, side: usize) {
    let mut results = Vec::new();
    for packing in [Packing::Exact, Packing::Never] {
        let placement = Placement { packing, ..Placement::f32(device) };
        forget_peak();
        let part = component(folder, Component::UNet).unwrap();
        let build = |weights: Weights| UNet::load(weights, part.config.as_ref());
        let go = &mut |_, _| ControlFlow::Continue(());
        let loading = loader::load(&*part.file, "unet", &placement, build, go);
        let (unet, bytes) = pollster::block_on(loading).unwrap();
        let (loaded, loading) = (memory("VmRSS:"), peak());
        let x = placement.tensor(data("x", &[2, 4, side, side]), [2, 4, side, side]);
        let text = placement.tensor(data("text", &[2, 77, 768]), [2, 77, 768]);
        let run = || unet.forward(x.clone(), 561.0, &text, None).into_data().try_into_vec::<f32>().unwrap();
        // The first compiles and allocates.
        let output = run();
        forget_peak();
        let begun = busy();
        assert_eq!(run(), output);
        let seconds = busy() - begun;
        println!(
            "{packing:?}: {:.2} GiB of weights; {loaded:.2} GiB in memory, {loading:.2} at most while loading; a step \
             {seconds:.2} s of all threads, {:.2} GiB at most",
            bytes as f64 / GIB,
            peak(),
        );
        results.push((output, bytes, loaded, seconds));
        drop(unet);
        device.memory_cleanup();
    }
    let [(packed, half, in_half, with), (plain, whole, in_whole, without)] = &results[..] else {
        unreachable!()
    };
    assert_eq!(packed, plain);
    assert!((*half as f64) < 0.51 * *whole as f64, "{half} of {whole} bytes");
    // What the first left behind is with the second.
    assert!(*in_half < 0.65 * in_whole, "{in_half} of {in_whole} GiB");
    // Unpacking alone, as often as a step does it.
    let dims = [1280, 2560 * 9];
    let values = dims.iter().product::<usize>();
    let weight = PackedValues::from_bits(&vec![0x3c01; values], Half::F16).place(dims, device);
    // Its last value waits for all.
    let one = || weight.unpack().slice([dims[0] - 1..dims[0], dims[1] - 1..dims[1]]).into_data();
    one();
    let begun = std::time::Instant::now();
    (0..20).for_each(|_| drop(one()));
    let unpacking = begun.elapsed().as_secs_f64() / 20.0 / values as f64 * *whole as f64 / 4.0;
    println!(
        "unpacking alone takes about {unpacking:.2} s on the clock; a step {with:.2} s of all threads, {without:.2} s \
         without it (side {side})"
    );
}

#[test]
#[ignore = "1.7 GB of weights: cargo xtask full-size"]
fn packed_weights_halve_memory_at_full_size() {
    let folder = tempfile::tempdir().unwrap();
    write_diffusers(folder.path(), Scale::Full, Stored::F16);
    println!("CPU");
    compare_packing(&Device::flex(), folder.path(), 64);
    println!("wgpu");
    compare_packing(&crate::gpu::gpu().device, folder.path(), 16);
}
