//! LoRAs against peft and diffusers, and a run with LoRAs and embeddings.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use burn::tensor::{Device, Tensor};
use clarifier_model::clip::ClipTextEncoder;
use clarifier_model::files::{Component, FileError, component};
use clarifier_model::loader::{Placement, Weights};
use clarifier_model::lora::{Adapter, Lora, MergedFiles, merge};
use clarifier_model::tokenizer::{BOS, EOS};
use clarifier_model::unet::UNet;
use clarifier_raster::{Depth, Raster, StoreKind, open as open_picture};
use clarifier_tests::models::{Scale, set_at, write_diffusers};
use clarifier_tests::weights::{Entry, Stored, data, write_safetensors, write_safetensors_with};
use clarifier_tests::{error_in_sigmas, fixture, json, tensors};
use clarifier_upscale::device::Backend;
use clarifier_upscale::{
    DiffusionPaths, Error, Job, LoraChoice, Models, Settings, SolverKind, UpscalerChoice, output_size,
    upscale,
};
use serde_json::Value;

use crate::networks::TOLERANCE;
use crate::recipe::{fixture_settings, run};

/// What a LoRA must at least do, for an agreement to say anything.
pub const EFFECT: f32 = 10.0 * TOLERANCE;

/// Write the LoRA of a layout of `lora/manifest.json` as its trainer would.
fn write_layout(folder: &Path, layout: &Value) -> PathBuf {
    std::fs::create_dir_all(folder).unwrap();
    let entries: Vec<Entry> = layout["tensors"]
        .as_object()
        .unwrap()
        .iter()
        .map(|(name, entry)| Entry {
            name: name.clone(),
            formula: match (entry["value"].as_f64(), entry["formula"].as_str()) {
                (Some(value), _) => format!("={value}"),
                (None, formula) => formula.unwrap_or(name).to_owned(),
            },
            shape: serde_json::from_value(entry["shape"].clone()).unwrap(),
        })
        .collect();
    let metadata = match &layout["metadata"] {
        Value::Null => serde_json::json!({}),
        content => serde_json::json!({ "lora_adapter_metadata": content.to_string() }),
    };
    if !layout["config"].is_null() {
        std::fs::write(folder.join("adapter_config.json"), layout["config"].to_string()).unwrap();
    }
    let path = folder.join("adapter_model.safetensors");
    write_safetensors_with(&path, &entries, Stored::F32, metadata);
    path
}

fn merged(checkpoint: &Path, loras: &[(&Path, f32, f32)]) -> Result<MergedFiles, FileError> {
    let adapters: Result<Vec<_>, FileError> = loras
        .iter()
        .map(|(path, unet_scale, text_scale)| {
            let lora = Arc::new(Lora::open(*path)?);
            Ok(Adapter { lora, unet_scale: *unet_scale, text_scale: *text_scale })
        })
        .collect();
    let part = |kind| component(checkpoint, kind).unwrap().file;
    merge(part(Component::TextEncoder), part(Component::UNet), &adapters?)
}

pub fn message<T>(result: Result<T, impl std::fmt::Display>) -> String {
    match result {
        Ok(_) => panic!("it was not refused"),
        Err(error) => error.to_string(),
    }
}

pub fn values<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().try_into_vec::<f32>().unwrap()
}

/// The fixture's inputs through both networks.
fn outputs(files: &MergedFiles, checkpoint: &Path) -> [(&'static str, Vec<f32>); 2] {
    let placement = Placement::f32(&Device::flex());
    let config = |part| component(checkpoint, part).unwrap().config;
    let weights = |file| Weights::new(file, "merged", &placement);
    let unet = UNet::load(weights(&*files.unet), config(Component::UNet).as_ref()).unwrap();
    let x = placement.tensor(data("x", &[1, 4, 8, 8]), [1, 4, 8, 8]);
    let context = placement.tensor(data("text", &[1, 12, 32]), [1, 12, 32]);
    let noise = unet.forward(x, 561.0, &context, None);
    let config = config(Component::TextEncoder);
    let text = ClipTextEncoder::load(weights(&*files.text_encoder), config.as_ref()).unwrap();
    let tokens = [BOS, 320, 1125, 539, 320, 2368, 267, 1400, 10, EOS];
    [("unet", values(noise)), ("text", values(text.forward(&tokens, &[]).unwrap()))]
}

pub fn sigma(values: &[f32]) -> f32 {
    let mean = values.iter().sum::<f32>() / values.len() as f32;
    (values.iter().map(|v| (v - mean).powi(2)).sum::<f32>() / values.len() as f32).sqrt()
}

#[test]
fn loras_of_every_layout_match_peft() {
    let folder = tempfile::tempdir().unwrap();
    write_diffusers(folder.path(), Scale::Tiny, Stored::F32);
    let expected = tensors("lora/expected.safetensors");
    for (layout, content) in json("lora/manifest.json").as_object().unwrap() {
        let path = write_layout(&folder.path().join(layout), content);
        let files = merged(folder.path(), &[(&path, 1.0, 1.0)]).unwrap();
        assert_eq!(files.warnings, [""; 0], "{layout}");
        for (part, output) in outputs(&files, folder.path()) {
            let base = expected.read(&format!("base.{part}")).unwrap();
            let Ok(reference) = expected.read(&format!("{layout}.{part}")) else {
                // It changes the other network only.
                assert!(error_in_sigmas(&output, &base, sigma(&base)) <= TOLERANCE, "{layout}.{part}");
                continue;
            };
            let error = error_in_sigmas(&output, &reference, sigma(&reference));
            let effect = error_in_sigmas(&base, &reference, sigma(&reference));
            println!("{layout}.{part}: {error:.2e} σ, its effect {effect:.2} σ");
            assert!(error <= TOLERANCE, "{layout}.{part}: {error} σ");
            assert!(effect > EFFECT, "{layout}.{part}: the LoRA does next to nothing");
        }
    }
}

#[test]
fn scales_are_apart_for_each_network_and_several_loras_add_up() {
    let folder = tempfile::tempdir().unwrap();
    write_diffusers(folder.path(), Scale::Tiny, Stored::F32);
    let manifest = json("lora/manifest.json");
    let [a, b] = ["kohya", "full"].map(|name| write_layout(&folder.path().join(name), &manifest[name]));
    let read = |loras: &[(&Path, f32, f32)]| {
        let files = merged(folder.path(), loras).unwrap();
        let unet = "down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q.weight";
        let text = "text_model.encoder.layers.0.mlp.fc1.weight";
        [files.unet.read(unet).unwrap(), files.text_encoder.read(text).unwrap()]
    };
    let base = read(&[]);
    let close = |values: &[f32], expected: &mut dyn Iterator<Item = f32>| {
        // Sums of three numbers of about 1 in another order.
        values.iter().zip(expected).all(|(v, e)| (v - e).abs() < 1e-5)
    };
    let (only_a, only_b) = (read(&[(&a, 1.0, 1.0)]), read(&[(&b, 1.0, 1.0)]));
    let both = read(&[(&a, 0.5, -2.0), (&b, 1.0, 0.0)]);
    for (part, (scale_a, scale_b)) in [(0.5, 1.0), (-2.0, 0.0)].into_iter().enumerate() {
        let change = |i: usize| {
            let (a, b) = (only_a[part][i] - base[part][i], only_b[part][i] - base[part][i]);
            base[part][i] + scale_a * a + scale_b * b
        };
        assert!(close(&both[part], &mut (0..base[part].len()).map(change)), "part {part}");
        assert!(!close(&both[part], &mut base[part].iter().copied()), "part {part}");
    }
    assert_eq!(read(&[(&a, 0.0, 0.0)]), base);
}

/// A LoRA file of these tensors.
pub fn lora(folder: &Path, list: &[(&str, &[usize])]) -> PathBuf {
    let entry = |(name, shape): &(&str, &[usize])| Entry {
        name: (*name).into(),
        formula: (*name).into(),
        shape: shape.to_vec(),
    };
    let path = folder.join("some.safetensors");
    write_safetensors(&path, &list.iter().map(entry).collect::<Vec<_>>(), Stored::F32);
    path
}

#[test]
fn loras_of_other_models_and_kinds_are_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    write_diffusers(folder.path(), Scale::Tiny, Stored::F32);
    let says =
        |list: &[(&str, &[usize])]| message(merged(folder.path(), &[(&lora(folder.path(), list), 1.0, 1.0)]));
    let has = |text: String, parts: &[&str]| {
        assert!(parts.iter().all(|part| text.contains(part)) && text.contains("some.safetensors"), "{text}");
    };
    has(
        says(&[
            ("lora_te2_text_model_encoder_layers_0_mlp_fc1.lora_down.weight", &[2, 32]),
            ("lora_te2_text_model_encoder_layers_0_mlp_fc1.lora_up.weight", &[128, 2]),
        ]),
        &["made for SDXL", "lora_te2_text_model"],
    );
    has(
        says(&[
            ("transformer.single_transformer_blocks.0.attn.to_q.lora_A.weight", &[2, 32]),
            ("transformer.single_transformer_blocks.0.attn.to_q.lora_B.weight", &[32, 2]),
        ]),
        &["made for FLUX"],
    );
    // SD 2.x has the same names.
    let key = "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn2_to_k";
    let (down, up) = (format!("{key}.lora_down.weight"), format!("{key}.lora_up.weight"));
    has(
        says(&[(&down, &[2, 1024]), (&up, &[32, 2])]),
        &[key, "[32, 1024]", "attn2.to_k.weight is [32, 32]", "made for SD 2.x"],
    );
    has(says(&[(&down, &[2, 32]), (&up, &[32, 3])]), &[key, "do not fit each other"]);
    has(says(&[(&down, &[2, 32])]), &[key, "lacks its Up"]);
    has(says(&[(&down, &[2, 32]), ("lora_unet_mid.oft_blocks", &[2, 2])]), &["oft_blocks", "OFT"]);
    has(says(&[("conv_first.weight", &[2, 3, 3, 3])]), &["this is an upscaler", "a LoRA was expected"]);
    // What fits is merged, the rest is said.
    let path = lora(
        folder.path(),
        &[(&down, &[2, 32]), (&up, &[32, 2]), ("lora_unet_nowhere.diff", &[3]), ("bundle_emb.x", &[1])],
    );
    let files = merged(folder.path(), &[(&path, 1.0, 1.0)]).unwrap();
    assert_eq!(files.warnings.len(), 1);
    assert!(
        files.warnings[0].contains("2 of its 3 parts") && files.warnings[0].contains("lora_unet_nowhere")
    );
    // A LoRA in place of a checkpoint.
    assert!(message(component(&path, Component::UNet)).contains("this is a LoRA"));
    let old = lora(folder.path(), &[("a.processor.to_q_lora.down.weight", &[2, 4])]);
    assert!(message(component(&old, Component::UNet)).contains("this is a LoRA"));
}

#[test]
fn a_damaged_loras_own_name_is_said() {
    let folder = tempfile::tempdir().unwrap();
    write_diffusers(folder.path(), Scale::Tiny, Stored::F32);
    let key = "lora_unet_conv_in.diff";
    let path = lora(folder.path(), &[(key, &[32, 4, 3, 3])]);
    let mut bytes = std::fs::read(&path).unwrap();
    let end = bytes.len();
    bytes[end - 4..].copy_from_slice(&f32::INFINITY.to_le_bytes());
    std::fs::write(&path, bytes).unwrap();
    let files = merged(folder.path(), &[(&path, 1.0, 1.0)]).unwrap();
    let message = message(files.unet.read("conv_in.weight"));
    assert!(message.contains("some.safetensors") && message.contains(key), "{message}");
}

#[test]
fn a_run_uses_loras_and_embeddings() {
    let folder = tempfile::tempdir().unwrap();
    write_diffusers(folder.path(), Scale::Tiny, Stored::F32);
    let lora = write_layout(&folder.path().join("lora"), &json("lora/manifest.json")["kohya"]);
    let lora = {
        let path = lora.with_file_name("strong.safetensors");
        std::fs::rename(&lora, &path).unwrap();
        path
    };
    let plain = set_at(folder.path());
    let with = DiffusionPaths {
        loras: vec![LoraChoice::new(&lora, 1.0)],
        embeddings: vec![fixture("prompts/bad-picture.pt").into()],
        ..plain.clone()
    };
    let load = |paths: &DiffusionPaths| {
        let go = &mut |_| std::ops::ControlFlow::Continue(());
        pollster::block_on(Models::load(&Backend::flex(), &UpscalerChoice::Lanczos, Some(paths), go))
    };
    let input = open_picture(&fixture("recipe/input.png"), &StoreKind::Memory).unwrap().raster;
    let base = Settings { num_inference_steps: 4, ..fixture_settings(SolverKind::Ddim) };
    let picture = |paths: &DiffusionPaths, prompt: &str, negative: &str| {
        let (prompt, negative_prompt) = (prompt.into(), negative.into());
        run(&mut load(paths).unwrap(), &input, &Settings { prompt, negative_prompt, ..base.clone() }, None)
    };
    let bare = picture(&plain, "a cat", "bad-picture");
    assert_ne!(bare, picture(&with, "a cat", "ugly"), "the LoRA changes the picture");
    let both = picture(&with, "a cat <lora:Strong:1>", "(bad-picture:1.2)");
    assert_ne!(both, picture(&with, "a cat", "ugly"), "so does the embedding");
    // A tag whose LoRA was not loaded is not passed over in silence.
    let settings = Settings { prompt: "<lora:other>".into(), ..base.clone() };
    let mut output =
        Raster::new(&StoreKind::Memory, output_size(input.size(), &base), input.channels(), Depth::Eight)
            .unwrap();
    let job = Job::new(7);
    let mut models = load(&with).unwrap();
    let result = pollster::block_on(upscale(&mut models, &input, &mut output, &settings, &job, &mut |_| {
        std::ops::ControlFlow::Continue(())
    }));
    assert!(matches!(&result, Err(Error::LoraMissing { .. })));
    assert!(message(result).contains("strong"));
    // Two words of one name, and one that does not fit.
    let twice = DiffusionPaths { embeddings: vec![fixture("prompts/bad.pt").into(); 2], ..plain.clone() };
    assert!(message(load(&twice)).contains("the same name"));
    let sd2 = DiffusionPaths { embeddings: vec![fixture("prompts/sd2.safetensors").into()], ..plain };
    assert!(message(load(&sd2)).contains("made for SD 2.x"));
}
