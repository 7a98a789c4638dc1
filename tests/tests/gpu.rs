//! The same on wgpu, over whatever adapter there is: a software one in CI.

use burn::tensor::Device;
use clarifier_tests::models::{Scale, write_diffusers};
use clarifier_tests::weights::Stored;
use clarifier_upscale::SolverKind;
use clarifier_upscale::device::{Backend, DeviceChoice, Precision, choose};

use crate::networks::{check_all, check_attention, check_enlargers};
use crate::recipe::against_python;

pub fn gpu() -> Backend {
    static GPU: std::sync::OnceLock<Backend> = std::sync::OnceLock::new();
    let start = || pollster::block_on(choose(DeviceChoice::Gpu, Precision::F32));
    GPU.get_or_init(|| {
        start().expect("a GPU or a software adapter: apt install mesa-vulkan-drivers libvulkan1")
    })
    .clone()
}

/// As on the CPU: f32 with another order of sums.
const TOLERANCE: f32 = 1e-3;

#[test]
fn networks_match_on_wgpu() {
    let device: Device = gpu().device;
    check_attention(&device, 1e-5);
    check_enlargers(&device, TOLERANCE);
    let folder = tempfile::tempdir().unwrap();
    write_diffusers(folder.path(), Scale::Tiny, Stored::F32);
    check_all(folder.path(), Scale::Tiny, &device, TOLERANCE);
}

#[test]
fn the_whole_recipe_matches_on_wgpu() {
    let psnr = against_python(&gpu(), &crate::recipe::fixture_settings(SolverKind::Dpmsolver), "dpmsolver");
    println!("{psnr:.1} dB");
    assert!(psnr >= 75.0, "{psnr} dB");
}
