//! A family from the files of a checkpoint.

use serde::Deserialize;
use serde_json::Value;

use super::{Betas, ModelFamily, Prediction, TRAINING_STEPS};
use crate::cost::ModelCost;
use crate::files::{Component, ComponentFile, FileError, Source, TensorFile, component};

/// The part of diffusers' `scheduler_config.json` that says how a model was trained.
#[derive(Deserialize)]
struct SchedulerConfig {
    prediction_type: Option<String>,
    #[serde(default)]
    rescale_betas_zero_snr: bool,
    beta_schedule: Option<String>,
    beta_start: Option<f64>,
    beta_end: Option<f64>,
    num_train_timesteps: Option<usize>,
    trained_betas: Option<Vec<f64>>,
    #[serde(rename = "_class_name")]
    class: Option<String>,
}

impl ModelFamily {
    /// The family of the networks in files, of which only the headers are read. `vae` takes the place of the checkpoint's.
    ///
    /// # Errors
    /// If a file is missing or of another kind, or the checkpoint was trained in a way that this recipe does not know.
    pub fn read(checkpoint: &Source, controlnet: &Source, vae: Option<&Source>) -> Result<Self, FileError> {
        let vae = component(vae.unwrap_or(checkpoint), Component::Vae)?;
        let unet = component(checkpoint, Component::UNet)?;
        let controlnet = component(controlnet, Component::ControlNet)?;
        Self::of_files(&unet, &*controlnet.file, &*vae.file)
    }

    /// The family of open files, whose tensors have diffusers' names.
    ///
    /// # Errors
    /// If the checkpoint was trained in a way that this recipe does not know.
    pub fn of_files(
        unet: &ComponentFile,
        controlnet: &dyn TensorFile,
        vae: &dyn TensorFile,
    ) -> Result<Self, FileError> {
        let family = Self { chroma_lock: chroma_lock(&*unet.file).unwrap_or_default(), ..Self::sd15() };
        let mut family = match &unet.scheduler {
            Some(config) => family.with_scheduler_config(config).map_err(|reason| FileError::Damaged {
                name: unet.name.clone(),
                reason: format!("its scheduler configuration {reason}"),
            })?,
            None => family,
        };
        if unet.is_set {
            family.sampler = unet.scheduler.as_ref().and_then(class).map(Into::into);
        }
        family.cost = ModelCost::of(&*unet.file, controlnet, vae);
        let conv_in = unet.file.tensors().get("conv_in.weight");
        if let Some(channels) = conv_in.and_then(|info| info.shape.get(1)) {
            family.latent_channels = *channels;
        }
        if family.latent_channels != Self::sd15().latent_channels {
            family.latent_rgb = None;
        }
        Ok(family)
    }

    /// This family with what diffusers' `scheduler_config.json` says of a model; what it leaves out stays as it was.
    ///
    /// # Errors
    /// The end of a sentence that begins with the configuration's name, if it says what this recipe does not know.
    pub fn with_scheduler_config(self, config: &Value) -> Result<Self, String> {
        let config = SchedulerConfig::deserialize(config).map_err(|error| format!("is not one ({error})"))?;
        let unknown = |what: &str, found: &str, known: &str| {
            format!("says {what} {found:?}, which this program does not know; it knows {known}")
        };
        let prediction = match config.prediction_type.as_deref() {
            None => self.prediction,
            Some(found) => {
                let of = Prediction::ALL.into_iter().find(|(_, name)| *name == found);
                let (prediction, _) = of.ok_or_else(|| {
                    unknown("prediction_type", found, &Prediction::ALL.map(|(_, name)| name).join(", "))
                })?;
                prediction
            }
        };
        if let Some(steps) = config.num_train_timesteps.filter(|steps| *steps != TRAINING_STEPS) {
            return Err(unknown("num_train_timesteps", &steps.to_string(), &TRAINING_STEPS.to_string()));
        }
        let Betas::ScaledLinear { first, last } = Betas::SD else { unreachable!("Stable Diffusion's") };
        let (first, last) = (config.beta_start.unwrap_or(first), config.beta_end.unwrap_or(last));
        let betas = match (config.trained_betas, config.beta_schedule.as_deref()) {
            (Some(list), _) if list.len() == TRAINING_STEPS => Betas::Listed(list),
            (Some(list), _) => {
                return Err(format!(
                    "lists {} trained_betas; there are {TRAINING_STEPS} timesteps",
                    list.len()
                ));
            }
            (None, None | Some("scaled_linear")) => Betas::ScaledLinear { first, last },
            (None, Some("linear")) => Betas::Linear { first, last },
            (None, Some("squaredcos_cap_v2")) => Betas::Cosine,
            (None, Some(found)) => {
                return Err(unknown("beta_schedule", found, "scaled_linear, linear and squaredcos_cap_v2"));
            }
        };
        if !betas.are_valid() {
            return Err("has a β that is not between 0 and 1".into());
        }
        let zero_terminal_snr = config.rescale_betas_zero_snr;
        Ok(Self { prediction, betas, zero_terminal_snr, ..self })
    }
}

/// The scheduler's class. Only a set's is taken as the sampler that its networks were made for: in a folder of SD 1.5's it
/// says what diffusers runs when nothing else is asked for, not what this recipe is best with.
fn class(config: &Value) -> Option<String> {
    SchedulerConfig::deserialize(config).ok()?.class
}

/// [`ModelFamily::chroma_lock`], as the header of a set has it.
fn chroma_lock(file: &dyn TensorFile) -> Option<f64> {
    file.metadata("chroma_lock")?.parse().ok().filter(|share| (0.0..=1.0).contains(share))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn trained(config: Value) -> Result<ModelFamily, String> {
        ModelFamily::sd15().with_scheduler_config(&config)
    }

    #[test]
    fn what_is_left_out_is_stable_diffusions() {
        assert_eq!(trained(json!({})).unwrap(), ModelFamily::sd15());
        let usual = json!({
            "_class_name": "PNDMScheduler", "beta_end": 0.012, "beta_schedule": "scaled_linear",
            "beta_start": 0.00085, "num_train_timesteps": 1000, "set_alpha_to_one": false,
            "skip_prk_steps": true, "steps_offset": 1, "trained_betas": null, "clip_sample": false
        });
        assert_eq!(trained(usual).unwrap(), ModelFamily::sd15());
    }

    #[test]
    fn predictions_and_noise_schedules_are_read() {
        let family = trained(json!({ "prediction_type": "v_prediction", "rescale_betas_zero_snr": true }));
        let family = family.unwrap();
        assert_eq!((family.prediction, family.zero_terminal_snr), (Prediction::V, true));
        let family = trained(json!({ "prediction_type": "sample", "beta_schedule": "linear" })).unwrap();
        assert_eq!(family.prediction, Prediction::Sample);
        assert_eq!(family.betas, Betas::Linear { first: 8.5e-4, last: 0.012 });
        let list = vec![0.01; TRAINING_STEPS];
        assert_eq!(trained(json!({ "trained_betas": list })).unwrap().betas, Betas::Listed(list));
    }

    #[test]
    fn what_cannot_be_done_is_refused_and_named() {
        for (config, says) in [
            (json!({ "prediction_type": "flow_prediction" }), "flow_prediction"),
            (json!({ "beta_schedule": "sigmoid" }), "sigmoid"),
            (json!({ "num_train_timesteps": 500 }), "500"),
            (json!({ "trained_betas": [0.1, 0.2] }), "2 trained_betas"),
            (json!({ "beta_end": 1.5 }), "between 0 and 1"),
            (json!({ "beta_start": "small" }), "is not one"),
            (json!([1]), "is not one"),
        ] {
            let error = trained(config).unwrap_err();
            assert!(error.contains(says), "{error}");
        }
    }
}
