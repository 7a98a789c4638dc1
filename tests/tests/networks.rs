//! Every network against the reference implementations, on weights by formula.

use std::path::Path;

use burn::tensor::{Device, Tensor, TensorData};
use clarifier_model::clip::ClipTextEncoder;
use clarifier_model::controlnet::ControlNet;
use clarifier_model::files::{Component, TensorFile, component, open};
use clarifier_model::layers::Norms;
use clarifier_model::loader::{Placement, Weights};
use clarifier_model::unet::UNet;
use clarifier_model::upscalers;
use clarifier_model::vae::Vae;
use clarifier_tests::models::{Scale, entries, set_at, write_diffusers};
use clarifier_tests::weights::{Stored, data, write_safetensors};
use clarifier_tests::{error_in_sigmas, fixture, json, tensors};
use clarifier_upscale::DiffusionPaths;

/// The bound: the largest error as a share of the reference's standard deviation. f32 sums of
/// thousands of terms in another order differ by about 1e-5.
pub const TOLERANCE: f32 = 1e-3;

/// Every so many values of a full-size output are in the fixture.
const STRIDE: usize = 37;

/// Compares outputs with those of a fixture, and remembers the worst.
pub struct Reference {
    file: Box<dyn TensorFile>,
    stride: usize,
    tolerance: f32,
}

impl Reference {
    fn check<const D: usize>(&self, name: &str, output: Tensor<D>) {
        let values = output.into_data().convert::<f32>().try_into_vec::<f32>().unwrap();
        let values: Vec<f32> = values.into_iter().step_by(self.stride).collect();
        let sigma = self.file.read(&format!("{name}.std")).unwrap()[0];
        let error = error_in_sigmas(&values, &self.file.read(name).unwrap(), sigma);
        println!("{name}: {error:.2e} σ");
        assert!(error <= self.tolerance, "{name}: {error} σ");
    }
}

fn input<const D: usize>(
    name: &str,
    dims: [usize; D],
    placement: &Placement,
    scale: f32,
    offset: f32,
) -> Tensor<D> {
    let values = data(name, &dims).into_iter().map(|v| v * scale + offset).collect();
    placement.tensor(values, dims)
}

/// All networks of a folder against the fixture of their scale.
pub fn check_all(folder: &Path, scale: Scale, device: &Device, tolerance: f32) {
    let placement = Placement::f32(device);
    let reference = Reference {
        file: tensors(&format!("networks_{}.safetensors", scale.name())),
        stride: if scale == Scale::Full { STRIDE } else { 1 },
        tolerance,
    };
    let (h, w, width) = if scale == Scale::Full { (16, 16, 768) } else { (13, 10, 32) };
    let part = |kind| component(folder, kind).unwrap();
    {
        let part = part(Component::TextEncoder);
        let network =
            ClipTextEncoder::load(Weights::new(&*part.file, "clip", &placement), part.config.as_ref())
                .unwrap();
        let tokens: Vec<u32> = reference.file.read("tokens").unwrap().iter().map(|t| *t as u32).collect();
        reference.check("text_encoder", network.forward(&tokens, &[]).unwrap());
    }
    let x = input("x", [2, 4, h, w], &placement, 1.0, 0.0);
    let text = input("text", [2, 77, width], &placement, 1.0, 0.0);
    let hint = input("hint", [1, 3, 8 * h, 8 * w], &placement, 0.5, 0.5);
    let residuals = {
        let part = part(Component::ControlNet);
        let network =
            ControlNet::load(Weights::new(&*part.file, "controlnet", &placement), part.config.as_ref())
                .unwrap();
        network.forward(x.clone(), hint.clone(), 561.0, &text)
    };
    for (i, residual) in residuals.down.iter().enumerate() {
        reference.check(&format!("controlnet.{i}"), residual.clone());
    }
    reference.check("controlnet.mid", residuals.mid.clone());
    {
        let part = part(Component::UNet);
        let network =
            UNet::load(Weights::new(&*part.file, "unet", &placement), part.config.as_ref()).unwrap();
        reference.check("unet", network.forward(x.clone(), 561.0, &text, None));
        let control = residuals.scaled(0.6, 0.825);
        reference.check("unet.controlled", network.forward(x.clone(), 561.0, &text, Some(control)));
    }
    let part = part(Component::Vae);
    let network = Vae::load(Weights::new(&*part.file, "vae", &placement), part.config.as_ref()).unwrap();
    let scaling = network.config.scaling_factor;
    let latent = network.encode(hint.mul_scalar(2.0).sub_scalar(1.0), &mut Norms::Own).div_scalar(scaling);
    reference.check("vae.encode", latent);
    reference.check("vae.decode", network.decode(x.narrow(0, 0, 1).mul_scalar(scaling), &mut Norms::Own));
}

#[test]
fn tiny_networks_match_diffusers_and_transformers() {
    let folder = tempfile::tempdir().unwrap();
    write_diffusers(folder.path(), Scale::Tiny, Stored::F32);
    check_all(folder.path(), Scale::Tiny, &Device::flex(), TOLERANCE);
}

/// TAESD, small, as a diffusers folder.
fn write_taesd(folder: &Path) {
    let manifest = json("taesd.json");
    std::fs::create_dir_all(folder).unwrap();
    let file = folder.join("diffusion_pytorch_model.safetensors");
    write_safetensors(&file, &entries(&manifest["tensors"]), Stored::F32);
    std::fs::write(folder.join("config.json"), manifest["config"].to_string()).unwrap();
}

/// The set at `folder` with TAESD, written beside it, for its autoencoder.
pub fn with_taesd(folder: &Path) -> DiffusionPaths {
    let small = folder.join("taesd");
    write_taesd(&small);
    DiffusionPaths { vae: Some(small.into()), ..set_at(folder) }
}

#[test]
fn taesd_matches_diffusers_from_a_folder_and_from_its_file_alone() {
    let folder = tempfile::tempdir().unwrap();
    write_taesd(folder.path());
    let alone = folder.path().join("taesd.safetensors");
    std::fs::copy(folder.path().join("diffusion_pytorch_model.safetensors"), &alone).unwrap();
    let placement = Placement::f32(&Device::flex());
    let reference = Reference { file: tensors("taesd.safetensors"), stride: 1, tolerance: TOLERANCE };
    for path in [folder.path(), &*alone] {
        let part = component(path, Component::Vae).unwrap();
        let network =
            Vae::load(Weights::new(&*part.file, "taesd", &placement), part.config.as_ref()).unwrap();
        assert_eq!((network.factor(), network.config.scaling_factor), (8, 1.0));
        assert!(!network.has_statistics());
        let picture = input("hint", [1, 3, 104, 80], &placement, 1.0, 0.0);
        reference.check("taesd.encode", network.encode(picture, &mut Norms::Own));
        let latent = input("x", [1, 4, 13, 10], &placement, 5.0, 0.0);
        reference.check("taesd.decode", network.decode(latent, &mut Norms::Own));
    }
}

#[test]
#[ignore = "5.5 GB of weights: cargo xtask full-size"]
fn full_size_networks_match_diffusers_and_transformers() {
    let folder = tempfile::tempdir().unwrap();
    write_diffusers(folder.path(), Scale::Full, Stored::F32);
    check_all(folder.path(), Scale::Full, &Device::flex(), TOLERANCE);
}

/// Every enlarger of the fixtures against spandrel.
pub fn check_enlargers(device: &Device, tolerance: f32) {
    let placement = Placement::f32(device);
    let expected = tensors("esrgan/expected.safetensors");
    let folder = tempfile::tempdir().unwrap();
    let manifest = json("esrgan/manifest.json");
    let made = manifest.as_object().unwrap().iter().map(|(name, tensors)| {
        let path = folder.path().join(format!("{name}.safetensors"));
        write_safetensors(&path, &entries(tensors), Stored::F32);
        (name.clone(), path)
    });
    let pickles =
        ["srvgg.pth", "srvgg_legacy.pth"].map(|file| ("srvgg".to_owned(), fixture("esrgan").join(file)));
    for (name, path) in made.chain(pickles) {
        let file = open(&path).unwrap();
        let network = upscalers::load(Weights::new(&*file, name.clone(), &placement)).unwrap();
        let output = network.forward(input("picture", [1, 3, 14, 10], &placement, 0.5, 0.5));
        let shape = &expected.tensors()[&name].shape;
        assert_eq!(output.dims().to_vec(), *shape, "{name}");
        assert_eq!(network.scale() * 14, shape[2], "{name}");
        let reference = expected.read(&name).unwrap();
        let mean = reference.iter().sum::<f32>() / reference.len() as f32;
        let sigma =
            (reference.iter().map(|v| (v - mean).powi(2)).sum::<f32>() / reference.len() as f32).sqrt();
        let values = output.into_data().try_into_vec::<f32>().unwrap();
        let error = error_in_sigmas(&values, &reference, sigma);
        println!("{name}: {error:.2e} σ");
        assert!(error <= tolerance, "{name}: {error} σ");
    }
}

#[test]
fn enlargers_of_every_layout_match_spandrel() {
    check_enlargers(&Device::flex(), TOLERANCE);
}

#[test]
fn the_formula_is_the_fixtures() {
    // By fixtures/formula.py.
    let known = json("formula.json");
    let list = |key: &str| -> Vec<f32> {
        known[key].as_array().unwrap().iter().map(|v| v.as_f64().unwrap() as f32).collect()
    };
    assert_eq!(clarifier_tests::weights::weight("a.weight", &[2, 3]), list("matrix"));
    assert_eq!(clarifier_tests::weights::weight("a.weight", &[3]), list("norm"));
    assert_eq!(clarifier_tests::weights::weight("a.bias", &[3]), list("bias"));
    assert_eq!(data("x", &[3]), list("data"));
}

/// Attention in chunks is attention.
pub fn check_attention(device: &Device, tolerance: f32) {
    use clarifier_kernels::{AttentionBudget, attention};
    let placement = Placement::f32(device);
    let [q, k, v] = ["q", "k", "v"].map(|name| input(name, [2, 3, 50, 8], &placement, 2.0, 0.0));
    let whole = attention(q.clone(), k.clone(), v.clone(), AttentionBudget::default());
    let reference = reference_attention(&q, &k, &v);
    for bytes in [1, 4 * 2 * 3 * 50 * 7, 1 << 30] {
        let chunked = attention(q.clone(), k.clone(), v.clone(), AttentionBudget::in_chunks(bytes));
        let values = chunked.into_data().try_into_vec::<f32>().unwrap();
        let error = error_in_sigmas(&values, &reference, 1.0);
        assert!(error <= tolerance, "{bytes} bytes: {error}");
    }
    assert_eq!(whole.dims(), [2, 3, 50, 8]);
}

/// Written out, in f64.
fn reference_attention(q: &Tensor<4>, k: &Tensor<4>, v: &Tensor<4>) -> Vec<f32> {
    let host = |t: &Tensor<4>| -> TensorData { t.to_data() };
    let [q, k, v] = [q, k, v].map(|t| host(t).try_into_vec::<f32>().unwrap());
    let (heads, n, d) = (6, 50, 8);
    let mut out = Vec::new();
    for head in 0..heads {
        for i in 0..n {
            let row = |t: &[f32], at: usize| {
                t[(head * n + at) * d..][..d].iter().map(|v| f64::from(*v)).collect::<Vec<_>>()
            };
            let query = row(&q, i);
            let dot = |j| query.iter().zip(row(&k, j)).map(|(a, b)| a * b).sum::<f64>() / (d as f64).sqrt();
            let scores: Vec<f64> = (0..n).map(dot).collect();
            let top = scores.iter().copied().fold(f64::MIN, f64::max);
            let exps: Vec<f64> = scores.iter().map(|s| (s - top).exp()).collect();
            let sum: f64 = exps.iter().sum();
            let rows: Vec<Vec<f64>> = (0..n).map(|j| row(&v, j)).collect();
            out.extend(
                (0..d).map(|c| (exps.iter().zip(&rows).map(|(e, r)| e * r[c]).sum::<f64>() / sum) as f32),
            );
        }
    }
    out
}

#[test]
fn attention_matches_its_definition() {
    // f32 against f64, values of about 1.
    check_attention(&Device::flex(), 1e-5);
}
