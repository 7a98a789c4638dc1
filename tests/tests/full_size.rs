//! SD 1.5's true sizes, random weights in f16 files: memory and a whole run. By `cargo xtask full-size`.

use std::ops::ControlFlow;

use clarifier_raster::{Channels, Depth, Planes, Raster, StoreKind};
use clarifier_tests::models::{Scale, write_diffusers};
use clarifier_tests::weights::{Stored, data};
use clarifier_tile::Size;
use clarifier_upscale::device::Backend;
use clarifier_upscale::{DiffusionPaths, Job, Models, Settings, UpscalerChoice, upscale};

const GIB: f64 = (1u64 << 30) as f64;

/// The most memory that this process has had, as the kernel counts it, in GiB.
fn peak() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux");
    let line = status.lines().find(|l| l.starts_with("VmHWM:")).expect("VmHWM");
    let kib: f64 = line.split_whitespace().nth(1).unwrap().parse().unwrap();
    kib * 1024.0 / GIB
}

#[test]
#[ignore = "2.9 GB of weights: cargo xtask full-size"]
fn a_full_size_run_stays_under_12_gib() {
    let folder = tempfile::tempdir().unwrap();
    write_diffusers(folder.path(), Scale::Full, Stored::F16);
    let paths = DiffusionPaths {
        checkpoint: folder.path().into(),
        controlnet: folder.path().into(),
        ..Default::default()
    };
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
    let weights = weights.values().sum::<u64>() as f64 / GIB;
    let loaded = peak();
    println!(
        "weights {weights:.2} GiB in f32, peak while loading {loaded:.2} GiB, {:.0} s",
        begun.elapsed().as_secs_f64()
    );
    assert!(loaded < weights + 0.5, "{loaded} GiB for {weights} GiB of weights");
    let size = Size::new(256, 256);
    let mut input = Raster::new(&StoreKind::Memory, size, Channels::Rgb, Depth::Eight).unwrap();
    let values = data("picture", &[3, 256, 256]).into_iter().map(|v| 0.5 + 0.3 * v).collect();
    input.write(0, 0, &Planes::new(size, 3, values)).unwrap();
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
    assert!(peak() < 12.0);
}
