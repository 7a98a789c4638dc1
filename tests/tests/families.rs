//! What a checkpoint's files say about how it was trained is read, and done.

use std::path::Path;

use clarifier_model::family::{ModelFamily, Prediction};
use clarifier_model::files::{Component, component};
use clarifier_tests::models::{Scale, ldm_entries, set_at, write_diffusers};
use clarifier_tests::weights::{Entry, Stored, write_safetensors_with};
use clarifier_tile::Size;
use clarifier_upscale::device::Backend;
use clarifier_upscale::{Diffusion, Settings, UpscalerChoice};
use serde_json::{Value, json};

use crate::journal::Case;
use crate::recipe::load;

/// A single file in LDM's layout with more empty tensors and texts.
fn single_file(path: &Path, tensors: &[&str], metadata: Value) -> (Option<Value>, usize) {
    let mut entries = ldm_entries("unet");
    let named = |name: &&str| Entry { name: (*name).into(), formula: (*name).into(), shape: vec![0] };
    entries.extend(tensors.iter().map(named));
    write_safetensors_with(path, &entries, Stored::Zeros, metadata);
    let unet = component(path, Component::UNet).unwrap();
    (unet.scheduler, unet.file.tensors().len())
}

#[test]
fn single_files_say_how_they_were_trained_in_five_ways() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.safetensors");
    let v = json!({ "prediction_type": "v_prediction" });
    let v_zero = json!({ "prediction_type": "v_prediction", "rescale_betas_zero_snr": true });
    let (plain, count) = single_file(&path, &[], json!({ "modelspec.architecture": "stable-diffusion-v1" }));
    assert_eq!(plain, None);
    for (tensors, metadata, expected) in [
        // ComfyUI's marks.
        (&["v_pred"][..], json!({}), &v),
        (&["v_pred", "ztsnr"], json!({}), &v_zero),
        // modelspec, and what kohya's scripts write.
        (&[], json!({ "modelspec.prediction_type": "v" }), &v),
        (&[], json!({ "ss_v_parameterization": "True" }), &v),
        (&[], json!({ "ss_v_parameterization": "True", "ss_zero_terminal_snr": "True" }), &v_zero),
    ] {
        let (said, tensors_seen) = single_file(&path, tensors, metadata);
        assert_eq!((said.as_ref(), tensors_seen), (Some(expected), count), "{tensors:?}");
    }
    // A1111's file beside it.
    std::fs::write(folder.path().join("model.yaml"), "model:\n  params:\n    parameterization: \"v\"\n")
        .unwrap();
    assert_eq!(single_file(&path, &[], json!({})).0.as_ref(), Some(&v));
    assert_eq!(
        single_file(&path, &[], json!({ "modelspec.prediction_type": "epsilon" })).0,
        Some(json!({ "prediction_type": "epsilon" })),
        "what the file says itself comes first"
    );
}

/// The tiny networks in a folder whose scheduler says this.
fn folder_of(folder: &Path, scheduler: Option<Value>) {
    write_diffusers(folder, Scale::Tiny, Stored::F32);
    let Some(scheduler) = scheduler else { return };
    std::fs::create_dir_all(folder.join("scheduler")).unwrap();
    std::fs::write(folder.join("scheduler/scheduler_config.json"), scheduler.to_string()).unwrap();
}

#[test]
fn what_a_folder_says_of_its_training_is_done() {
    let family = |scheduler: Option<Value>| {
        let folder = tempfile::tempdir().unwrap();
        folder_of(folder.path(), scheduler);
        set_at(folder.path()).family()
    };
    let usual = family(None).unwrap();
    assert_eq!((usual.prediction, usual.zero_terminal_snr), (Prediction::Epsilon, false));
    let rescaled = json!({
        "_class_name": "DDIMScheduler", "prediction_type": "v_prediction", "rescale_betas_zero_snr": true
    });
    let found = family(Some(rescaled.clone())).unwrap();
    assert_eq!((found.prediction, found.zero_terminal_snr), (Prediction::V, true));
    assert_eq!(found.sampler, None, "the recipe's sampler stays");
    let error = family(Some(json!({ "prediction_type": "flow_prediction" }))).unwrap_err().to_string();
    assert!(error.contains("flow_prediction") && error.contains("v_prediction"), "{error}");

    let result = |scheduler: Option<Value>| {
        let folder = tempfile::tempdir().unwrap();
        folder_of(folder.path(), scheduler);
        let mut models = load(&Backend::flex(), &UpscalerChoice::Lanczos, Some(&set_at(folder.path())));
        let mut case = Case::new("family", Settings { num_inference_steps: 4, ..Settings::default() });
        case.input = crate::journal::picture(Size::new(20, 16), clarifier_raster::Channels::Rgb);
        let family = models.diffusion.as_ref().map(|diffusion: &Diffusion| diffusion.family.clone());
        (case.run(&mut models, None).0.unwrap(), family.unwrap())
    };
    let (plain, _) = result(None);
    let (said, family) =
        result(Some(json!({ "prediction_type": "epsilon", "beta_schedule": "scaled_linear" })));
    assert!(said == plain, "what is usual changes nothing");
    assert_eq!(family, ModelFamily { cost: family.cost.clone(), ..ModelFamily::sd15() });
    let (other, family) = result(Some(rescaled));
    assert_eq!((family.prediction, family.zero_terminal_snr), (Prediction::V, true));
    assert!(other != plain, "the network's answer means something else");
}
