//! Files of weights: every layout loads, every wrong file is refused by name.

use std::path::Path;

use burn::tensor::Device;
use clarifier_model::files::{Component, component, open};
use clarifier_model::loader::{Placement, Weights};
use clarifier_model::unet::UNet;
use clarifier_tests::models::{Scale, entries, ldm_entries, write_diffusers};
use clarifier_tests::weights::{Entry, Stored, weight, write_safetensors, write_safetensors_with};
use clarifier_tests::{fixture, json};

fn message<T>(result: Result<T, impl std::fmt::Display>) -> String {
    match result {
        Ok(_) => panic!("it was not refused"),
        Err(error) => error.to_string(),
    }
}

#[test]
fn wrong_files_are_refused_by_name() {
    let file = |name: &str| fixture("esrgan").join(name);
    let checkpoint = |name: &str| message(component(file(name), Component::UNet));
    assert!(checkpoint("lora.safetensors").contains("this is a LoRA"));
    assert!(checkpoint("sdxl.safetensors").contains("this is an SDXL checkpoint"));
    assert!(checkpoint("srvgg.pth").contains("this is an upscaler"));
    assert!(checkpoint("header_8eb.safetensors").contains("header claims"));
    let evil = message(open(file("evil.pth")));
    assert!(evil.contains("system") && evil.contains("refused"), "{evil}");
    assert!(!Path::new("clarifier-was-here").exists(), "the pickle was run");
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str, bytes: &[u8]| {
        let path = folder.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        path
    };
    assert!(message(open(path("empty.safetensors", b""))).contains("empty"));
    assert!(
        message(open(path("text.safetensors", b"hello, this is no such file"))).contains("header claims")
    );
    assert!(message(open(path("text.pth", b"hello"))).contains("neither a safetensors nor a PyTorch file"));
    assert!(message(component(folder.path(), Component::Vae)).contains("there is no vae/"));
    assert!(message(open(folder.path().join("missing.safetensors"))).contains("missing.safetensors"));
    let whole = std::fs::read(fixture("networks_tiny.safetensors")).unwrap();
    assert!(
        message(open(path("cut.safetensors", &whole[..whole.len() - 100]))).contains("100 bytes are missing")
    );
}

#[test]
fn what_training_programs_leave_and_attackers_make_is_refused_in_words() {
    let folder = tempfile::tempdir().unwrap();
    let says = |name: &str, bytes: &[u8]| {
        let path = folder.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        message(open(&path))
    };
    let lightning = b"\x80\x02}cpytorch_lightning.callbacks\nModelCheckpoint\nK\x01s.";
    assert!(says("lightning.ckpt", lightning).contains("take its .safetensors file"));
    let many = [&b"\x80\x02"[..], &vec![b']'; 100 << 20], b"."].concat();
    assert!(says("many.pth", &many).contains("far larger than that of any file of weights"));
    let index = says("empty.safetensors.index.json", br#"{"weight_map": {}}"#);
    assert!(index.contains("empty.safetensors.index.json: its list of tensors is empty"), "{index}");
    for (name, key, shape, is) in [
        (
            "sd2.safetensors",
            "down_blocks.0.attentions.0.transformer_blocks.0.attn2.to_k.weight",
            vec![4, 1024],
            "an SD 2.x",
        ),
        (
            "sdxl.safetensors",
            "down_blocks.1.attentions.0.transformer_blocks.0.attn2.to_k.weight",
            vec![4, 2048],
            "an SDXL",
        ),
        (
            "sd3.safetensors",
            "model.diffusion_model.joint_blocks.0.context_block.attn.qkv.weight",
            vec![4],
            "an SD 3",
        ),
        ("flux.safetensors", "double_blocks.0.img_attn.qkv.weight", vec![4], "a FLUX"),
        ("clip.safetensors", "text_model.embeddings.token_embedding.weight", vec![2, 1024], "an SD 2.x"),
    ] {
        let path = folder.path().join(name);
        let mut list: Vec<Entry> = vec![Entry { name: key.into(), formula: key.into(), shape }];
        for name in ["down_blocks.0.x", "up_blocks.0.x", "time_embedding.x"] {
            if key.starts_with("down_blocks.") {
                list.push(Entry { name: name.into(), formula: name.into(), shape: vec![1] });
            }
        }
        write_safetensors(&path, &list, Stored::F32);
        let message = message(component(&path, Component::UNet));
        assert!(message.contains(&format!("this is {is}")), "{message}");
    }
}

#[test]
fn a_config_of_another_file_is_not_taken() {
    let folder = tempfile::tempdir().unwrap();
    let list = entries(&json("manifest_tiny.json")["unet"]["tensors"]);
    write_safetensors(&folder.path().join("unet.safetensors"), &list, Stored::F16);
    let config = |text: &str| std::fs::write(folder.path().join("config.json"), text).unwrap();
    let read = |file: &str, part| component(folder.path().join(file), part).map(|c| c.config.is_some());
    config(r#"{"_class_name": "AutoencoderKL"}"#);
    assert!(!read("unet.safetensors", Component::UNet).unwrap());
    config(r#"{"_class_name": "UNet2DConditionModel"}"#);
    assert!(read("unet.safetensors", Component::UNet).unwrap());
    // Of LDM's layout: whatever lies beside it is not looked at.
    config("no JSON");
    write_safetensors(&folder.path().join("ldm.safetensors"), &ldm_entries("vae"), Stored::F16);
    assert!(!read("ldm.safetensors", Component::Vae).unwrap());
    assert!(message(read("unet.safetensors", Component::UNet)).contains("not JSON"));
}

fn load_unet(path: &Path) -> Result<UNet, String> {
    let part = component(path, Component::UNet).map_err(|e| e.to_string())?;
    let placement = Placement::f32(&Device::flex());
    UNet::load(Weights::new(&*part.file, "unet.safetensors", &placement), part.config.as_ref())
        .map_err(|e| e.to_string())
}

#[test]
fn every_key_that_does_not_fit_is_listed() {
    let folder = tempfile::tempdir().unwrap();
    let mut list = entries(&json("manifest_tiny.json")["unet"]["tensors"]);
    list.retain(|e| e.name != "conv_out.bias" && e.name != "mid_block.resnets.0.norm1.weight");
    list.iter_mut().find(|e| e.name == "conv_norm_out.weight").unwrap().shape = vec![31];
    list.push(Entry { name: "surplus.weight".into(), formula: "surplus".into(), shape: vec![2] });
    let path = folder.path().join("unet.safetensors");
    write_safetensors(&path, &list, Stored::F16);
    let message = message(load_unet(&path));
    for part in [
        "unet.safetensors",
        "2 missing (mid_block.resnets.0.norm1.weight, conv_out.bias)",
        "1 unknown (surplus.weight)",
        "conv_norm_out.weight is [31], not [32]",
    ] {
        assert!(message.contains(part), "{message}");
    }
}

#[test]
fn not_a_number_in_the_weights_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let list = entries(&json("manifest_tiny.json")["unet"]["tensors"]);
    let path = folder.path().join("unet.safetensors");
    write_safetensors(&path, &list, Stored::F32);
    // The last tensor's last value.
    let mut bytes = std::fs::read(&path).unwrap();
    let end = bytes.len();
    bytes[end - 4..].copy_from_slice(&f32::NAN.to_le_bytes());
    std::fs::write(&path, bytes).unwrap();
    let message = message(load_unet(&path));
    assert!(message.contains(&list.last().unwrap().name) && message.contains("NaN"), "{message}");
}

#[test]
fn sharded_and_half_precision_folders_load() {
    let folder = tempfile::tempdir().unwrap();
    write_diffusers(folder.path(), Scale::Tiny, Stored::F16);
    let unet = folder.path().join("unet");
    let list = entries(&json("manifest_tiny.json")["unet"]["tensors"]);
    let whole = unet.join("diffusion_pytorch_model.safetensors");
    std::fs::rename(&whole, unet.join("diffusion_pytorch_model.fp16.safetensors")).unwrap();
    load_unet(folder.path()).unwrap();
    let mut map = serde_json::Map::new();
    let (a, b) = list.split_at(100);
    for (name, part) in [("a.safetensors", a), ("b.safetensors", b)] {
        write_safetensors(&unet.join(name), part, Stored::F32);
        part.iter().for_each(|e| drop(map.insert(e.name.clone(), name.into())));
    }
    std::fs::remove_file(unet.join("diffusion_pytorch_model.fp16.safetensors")).unwrap();
    let index = serde_json::json!({ "weight_map": map }).to_string();
    std::fs::write(unet.join("diffusion_pytorch_model.safetensors.index.json"), index).unwrap();
    load_unet(folder.path()).unwrap();
    // Both at once, as diffusers names the shards of a variant.
    let index = "diffusion_pytorch_model.safetensors.index";
    std::fs::rename(unet.join(format!("{index}.json")), unet.join(format!("{index}.fp16.json"))).unwrap();
    load_unet(folder.path()).unwrap();
    let part = component(folder.path(), Component::UNet).unwrap();
    let last = list.last().unwrap();
    assert_eq!(part.file.read(&last.name).unwrap(), weight(&last.name, &last.shape));
}

#[test]
fn single_files_are_seen_under_the_diffusers_names() {
    let folder = tempfile::tempdir().unwrap();
    let checkpoint = folder.path().join("checkpoint.safetensors");
    let mut all = ["unet", "vae", "text_encoder"].map(ldm_entries).into_iter().flatten().collect::<Vec<_>>();
    // What such files also hold, and no network needs.
    for name in [
        "model_ema.decay",
        "alphas_cumprod",
        "cond_stage_model.transformer.text_model.embeddings.position_ids",
    ] {
        all.push(Entry { name: name.into(), formula: name.into(), shape: vec![1] });
    }
    write_safetensors(&checkpoint, &all, Stored::F32);
    let controlnet = folder.path().join("controlnet.safetensors");
    write_safetensors(&controlnet, &ldm_entries("controlnet"), Stored::F32);
    let manifest = json("manifest_tiny.json");
    for (part, kind, path) in [
        ("unet", Component::UNet, &checkpoint),
        ("vae", Component::Vae, &checkpoint),
        ("text_encoder", Component::TextEncoder, &checkpoint),
        ("controlnet", Component::ControlNet, &controlnet),
    ] {
        let seen = component(path, kind).unwrap();
        let expected = entries(&manifest[part]["tensors"]);
        assert_eq!(seen.file.tensors().len(), expected.len(), "{part}");
        for Entry { name, shape, .. } in expected {
            assert_eq!(seen.file.tensors()[&name].shape, shape, "{name}");
            assert_eq!(seen.file.read(&name).unwrap(), weight(&name, &shape), "{name}");
        }
    }
}

#[test]
fn a_set_in_one_file_has_every_network_and_its_configuration() {
    let folder = tempfile::tempdir().unwrap();
    let manifest = json("manifest_tiny.json");
    let (mut all, mut metadata) = (Vec::new(), serde_json::Map::new());
    for (part, content) in manifest.as_object().unwrap() {
        metadata.insert(part.clone(), content["config"].to_string().into());
        all.extend(entries(&content["tensors"]).into_iter().map(|Entry { name, formula, shape }| Entry {
            name: format!("{part}.{name}"),
            formula,
            shape,
        }));
    }
    let path = folder.path().join("set.safetensors");
    write_safetensors_with(&path, &all, Stored::F32, metadata.clone().into());
    let parts = [
        ("unet", Component::UNet),
        ("vae", Component::Vae),
        ("text_encoder", Component::TextEncoder),
        ("controlnet", Component::ControlNet),
    ];
    for (part, kind) in parts {
        let seen = component(&path, kind).unwrap();
        let expected = entries(&manifest[part]["tensors"]);
        assert_eq!(seen.file.tensors().len(), expected.len(), "{part}");
        for Entry { name, shape, .. } in expected {
            assert_eq!(seen.file.read(&name).unwrap(), weight(&name, &shape), "{name}");
        }
        assert_eq!(seen.config.as_ref(), Some(&manifest[part]["config"]), "{part}");
    }
    load_unet(&path).unwrap();
    // Without a configuration nobody knows how many heads it has.
    metadata.remove("unet");
    metadata.insert("vae".into(), "{".into());
    write_safetensors_with(&path, &all, Stored::F32, metadata.into());
    assert!(message(component(&path, Component::UNet)).contains("its header has no configuration of unet"));
    assert!(message(component(&path, Component::Vae)).contains("the configuration of vae is not JSON"));
}
