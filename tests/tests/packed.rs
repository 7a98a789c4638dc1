//! Weights in 16 bits: unpacked to the bit, and networks that compute with them.

use std::collections::BTreeMap;
use std::path::Path;

use burn::tensor::{DType, Device, Tensor, f16};
use clarifier_kernels::{Half, PackedValues, widen};
use clarifier_model::controlnet::ControlNet;
use clarifier_model::files::{Component, FileError, TensorFile, TensorInfo, component};
use clarifier_model::loader::{Placement, Weights};
use clarifier_model::unet::UNet;
use clarifier_model::weight::{Packing, Weight};
use clarifier_raster::{StoreKind, open};
use clarifier_tests::models::{Scale, entries, set_at, write_diffusers};
use clarifier_tests::weights::{Stored, data, write_safetensors};
use clarifier_tests::{fixture, json, psnr};
use clarifier_upscale::device::{Backend, DeviceChoice, Precision, choose};
use clarifier_upscale::{Diffusion, SolverKind, UpscalerChoice};

use crate::recipe::{fixture_settings, load, run};

fn values<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().try_into_vec::<f32>().unwrap()
}

fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|v| v.to_bits()).collect()
}

/// Every pattern of 16 bits: subnormals, both zeros, infinities, NaNs; an odd number of them too.
pub fn check_unpacking(device: &Device) {
    let all: Vec<u16> = (0..=u16::MAX).collect();
    for half in [Half::F16, Half::Bf16] {
        for patterns in [&all[..], &all[1..], &all[..1]] {
            let dims = [1, patterns.len()];
            let unpacked = PackedValues::from_bits(patterns, half).place(dims, device).unpack();
            assert_eq!(unpacked.dims(), dims);
            let expected: Vec<f32> = patterns.iter().map(|bits| widen(half, *bits)).collect();
            assert_eq!(bits(&values(unpacked)), bits(&expected), "{half:?}");
        }
    }
}

/// As many values as a device must take: more than one dimension of a dispatch has, if groups are small.
fn check_large(device: &Device) {
    // 128 MiB in f32, the least that devices see at once.
    let count = (1 << 25) - 1;
    let pattern = |i: usize| (i as u32).wrapping_mul(2_654_435_761) as u16 & 0x7bff;
    let patterns: Vec<u16> = (0..count).map(pattern).collect();
    let packed = PackedValues::from_bits(&patterns, Half::F16).place([count], device);
    let unpacked = values(packed.unpack());
    let last = || values(packed.unpack().narrow(0, count - 1, 1));
    last();
    let begun = std::time::Instant::now();
    (0..10).for_each(|_| drop(last()));
    println!("{count} values unpacked in {:?}", begun.elapsed() / 10);
    let wrong = (0..count).find(|i| unpacked[*i].to_bits() != widen(Half::F16, patterns[*i]).to_bits());
    assert_eq!(wrong, None);
}

#[test]
fn sixteen_bits_are_what_the_formats_say() {
    for bits in 0..=u16::MAX {
        let (value, reference) = (widen(Half::F16, bits), f16::from_bits(bits).to_f32());
        if reference.is_nan() {
            // The reference may make it quiet.
            let payload = u32::from(bits & 0x3ff) << 13;
            assert!(value.is_nan() && value.to_bits() & 0x7f_ffff == payload, "{bits:04x}");
        } else {
            assert_eq!(value.to_bits(), reference.to_bits(), "{bits:04x}");
            assert_eq!(Half::F16.exact(value), Some(bits));
            // What differs in the last bit of an f32 is no f16.
            assert_eq!(Half::F16.exact(f32::from_bits(value.to_bits() ^ 1)), None, "{bits:04x}");
        }
        assert_eq!(widen(Half::Bf16, bits).to_bits(), u32::from(bits) << 16);
    }
    check_unpacking(&Device::flex());
}

#[test]
fn what_is_packed_is_what_fits() {
    let device = Device::flex();
    let back = |packed: PackedValues, n: usize| values(packed.place([n], &device).unpack());
    let exact = |values: &[f32]| PackedValues::exact(values).map(|packed| back(packed, values.len()));
    let f16s = [0.0, -0.0, 1.5, -65504.0, 2f32.powi(-24)];
    assert_eq!(bits(&exact(&f16s).unwrap()), bits(&f16s));
    // Beyond f16's range or below it, and bf16's.
    let bf16s = [1e30f32, -3e-30, 0.5].map(|v| f32::from_bits(v.to_bits() & 0xffff_0000));
    assert_eq!(exact(&bf16s).unwrap(), bf16s);
    assert_eq!(exact(&[0.1, 0.5]), None);
    assert_eq!(exact(&[2f32.powi(-25), 1.0 + 2f32.powi(-10)]), None, "each of one format only");
    let rounded = PackedValues::rounded(&[0.1, 65519.0]).unwrap();
    assert_eq!(back(rounded, 2), [f16::from_f32(0.1).to_f32(), 65504.0]);
    assert_eq!(PackedValues::rounded(&[0.1, 65520.0]), None, "it would be infinite");
}

/// A file whose weights of layers are rounded to f16, as the loader does it.
struct Rounded(Box<dyn TensorFile>);

impl TensorFile for Rounded {
    fn tensors(&self) -> &BTreeMap<String, TensorInfo> {
        self.0.tensors()
    }

    fn read(&self, name: &str) -> Result<Vec<f32>, FileError> {
        let mut values = self.0.read(name)?;
        if self.tensors()[name].shape.len() > 1 && values.len() >= 1024 {
            values.iter_mut().for_each(|v| *v = f16::from_f32(*v).to_f32());
        }
        Ok(values)
    }
}

/// ε of a controlled UNet, tiny, from files in f32 in `folder`.
fn epsilon(folder: &Path, device: &Device, packing: Packing, rounded: bool) -> Vec<f32> {
    let placement = Placement { packing, ..Placement::f32(device) };
    let file = |kind| {
        let part = component(folder, kind).unwrap();
        let file = if rounded { Box::new(Rounded(part.file)) } else { part.file };
        (file, part.config)
    };
    let tensor = |name: &str, dims: &[usize]| data(name, dims);
    let (h, w) = (13, 10);
    let x = placement.tensor(tensor("x", &[2, 4, h, w]), [2, 4, h, w]);
    let text = placement.tensor(tensor("text", &[2, 77, 32]), [2, 77, 32]);
    let hint = placement.tensor(tensor("hint", &[1, 3, 8 * h, 8 * w]), [1, 3, 8 * h, 8 * w]);
    let (controlnet, config) = file(Component::ControlNet);
    let controlnet = Weights::new(&*controlnet, "controlnet", &placement);
    let controlnet = ControlNet::load(controlnet, config.as_ref()).unwrap();
    let (unet, config) = file(Component::UNet);
    let unet = UNet::load(Weights::new(&*unet, "unet", &placement), config.as_ref()).unwrap();
    let residuals = controlnet.forward(x.clone(), hint, 561.0, &text).scaled(0.6, 0.825);
    values(unet.forward(x, 561.0, &text, Some(residuals)))
}

/// The mean square of what differs.
fn distance(a: &[f32], b: &[f32]) -> f64 {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).map(|(a, b)| f64::from(a - b).powi(2)).sum::<f64>() / a.len() as f64
}

/// The same numbers in another container: the same result, to `tolerance` of what rounding the weights changes (0: to the bit).
pub fn check_networks(device: &Device, tolerance: f64) {
    let folder = tempfile::tempdir().unwrap();
    write_diffusers(folder.path(), Scale::Tiny, Stored::F32);
    let of = |packing, rounded| epsilon(folder.path(), device, packing, rounded);
    let (plain, reference) = (of(Packing::Never, false), of(Packing::Never, true));
    let rounding = distance(&plain, &reference).sqrt();
    assert!(rounding > 0.0, "rounding is seen");
    let check = |name: &str, got: Vec<f32>, want: &[f32]| {
        let off = distance(&got, want).sqrt();
        assert!(off <= tolerance * rounding, "{name}: off by {off}, rounding by {rounding}");
    };
    check("exact", of(Packing::Exact, true), &reference);
    check("rounded", of(Packing::Rounded, false), &reference);
    // Files in f32 stay what they are.
    check("plain", of(Packing::Exact, false), &plain);
}

#[test]
fn networks_with_packed_weights_are_the_same() {
    check_networks(&Device::flex(), 0.0);
}

#[test]
fn packed_weights_work_on_wgpu() {
    let backend = crate::gpu::gpu();
    check_unpacking(&backend.device);
    check_large(&backend.device);
    // Which of burn's kernels run is tuned while they run, so sums may be in another order the next time.
    check_networks(&backend.device, 0.1);
}

/// The fixture's recipe: PSNR against f32's reference, in dB.
fn recipe(backend: &Backend) -> f64 {
    crate::recipe::against_python(backend, &fixture_settings(SolverKind::Dpmsolver), "dpmsolver")
}

#[test]
fn the_recipe_with_rounded_weights_is_near_that_without() {
    let backend = Backend { packing: Packing::Rounded, ..Backend::flex() };
    let psnr = recipe(&backend);
    println!("{psnr:.1} dB");
    // Seen: 60.0 dB. f16 has up to 2⁻¹² of relative error in each weight.
    assert!((57.0..75.0).contains(&psnr), "{psnr} dB: rounded, and not more than that");
}

#[test]
fn the_recipe_with_rounded_weights_on_wgpu_is_near_that_without() {
    let psnr = recipe(&Backend { packing: Packing::Rounded, ..crate::gpu::gpu() });
    println!("{psnr:.1} dB");
    assert!((57.0..75.0).contains(&psnr), "{psnr} dB: rounded, and not more than that");
}

#[test]
fn files_in_f16_take_half_the_memory_and_give_the_same_picture() {
    let folder = tempfile::tempdir().unwrap();
    write_diffusers(folder.path(), Scale::Tiny, Stored::F16);
    let paths = set_at(folder.path());
    let input = open(&fixture("recipe/input.png"), &StoreKind::Memory).unwrap().raster;
    let settings = fixture_settings(SolverKind::Ddim);
    let result = |packing| {
        let backend = Backend { packing, ..Backend::flex() };
        let mut models = load(&backend, &UpscalerChoice::Lanczos, Some(&paths));
        let planes = run(&mut models, &input, &settings, Some(&fixture("recipe/noise.safetensors")));
        let weights = models.diffusion.as_ref().unwrap().weights;
        assert_eq!(models.machine().weights, weights);
        // Biases that a file of 16 bits has are 32 in memory, and the headers alone say so.
        assert_eq!(Diffusion::weigh(&backend, &paths).unwrap(), weights, "{packing:?}");
        (planes, weights)
    };
    let ((plain, whole), (packed, half)) = (result(Packing::Never), result(Packing::Exact));
    assert_eq!(plain.data, packed.data);
    println!("{whole} bytes, {half} packed");
    assert!(psnr(&plain.data, &packed.data).is_infinite());
    assert!((half as f64) < 0.65 * whole as f64, "{half} of {whole} bytes");
}

#[test]
fn what_overflows_in_f16_is_done_in_f32_with_packed_weights() {
    let folder = tempfile::tempdir().unwrap();
    write_diffusers(folder.path(), Scale::Tiny, Stored::F16);
    // In f32, and beyond f16's range.
    let mut unet = entries(&json("manifest_tiny.json")["unet"]["tensors"]);
    unet.iter_mut().filter(|entry| entry.name == "conv_out.bias").for_each(|e| e.formula = "=70000".into());
    let file = folder.path().join("unet/diffusion_pytorch_model.safetensors");
    write_safetensors(&file, &unet, Stored::F32);
    let paths = set_at(folder.path());
    let input = open(&fixture("recipe/input.png"), &StoreKind::Memory).unwrap().raster;
    let result = |dtype| {
        let backend = Backend { dtype, ..Backend::flex() };
        let mut models = load(&backend, &UpscalerChoice::Lanczos, Some(&paths));
        let noise = fixture("recipe/noise.safetensors");
        let planes = run(&mut models, &input, &fixture_settings(SolverKind::Ddim), Some(&noise));
        (planes.data, models.diffusion.unwrap())
    };
    let ((full, in_full), (half, in_half)) = (result(DType::F32), result(DType::F16));
    assert_eq!(half, full);
    assert_eq!((in_half.precision(), in_half.weights), ("f32", in_full.weights));
}

#[test]
fn what_a_precision_means_for_weights() {
    let cpu = |precision| pollster::block_on(choose(DeviceChoice::Cpu, precision)).unwrap().packing;
    assert_eq!(cpu(Precision::Auto), Packing::Exact);
    assert_eq!(cpu(Precision::F32), Packing::Exact);
    assert_eq!(cpu(Precision::Packed), Packing::Rounded);
    assert_eq!("packed".parse(), Ok(Precision::Packed));
    let placement = Placement { packing: Packing::Exact, ..Placement::f32(&Device::flex()) };
    let weight = |n: usize| placement.weight(vec![0.5; n], [n]);
    assert!(matches!(weight(1024), Weight::Packed(_)) && matches!(weight(1023), Weight::Plain(_)));
}
