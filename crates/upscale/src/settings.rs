//! Every setting of the recipe: the only place where their names, meanings, ranges and defaults stand.
//!
//! The program's options, the page's form and the recipe stored in an output are all made from
//! [`Settings`] and its schema.

mod choices;
mod describe;
mod sampler;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use choices::{ControlMode, HintSource, MaskMode, Seamless, TileWindow, VaeStatistics};
pub use describe::{Field, Kind, description};
pub use sampler::{ModelDefaults, Schedule, SolverKind, StrengthMode};

/// What an upscale does.
// `remote` makes functions of what would be the traits' implementations. Ours, in `sampler.rs`, call them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, remote = "Self")]
#[schemars(rename = "Settings")]
pub struct Settings {
    /// How many times as wide and high the result is; fractions are fine. More than 2 is done in stages of at most 2.
    #[schemars(range(min = 1.0, max = 16.0))]
    pub upscale_factor: f64,
    /// What the picture should look like. (word:1.3) strengthens, [word] weakens, BREAK starts a new part, <lora:NAME:0.5> adds a LoRA.
    pub prompt: String,
    /// What it should not look like.
    pub negative_prompt: String,
    /// A style, put before the prompt.
    pub stylization: String,
    /// Which of the possible results to make; -1 draws one and says which.
    #[schemars(range(min = -1, max = 9_007_199_254_740_991i64))]
    pub seed: i64,
    /// How much is redrawn ("creativity"): 0 nothing, 1 everything.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub denoise_strength: f64,
    /// How firmly the ControlNet holds the result to the picture ("resemblance").
    #[schemars(range(min = 0.0, max = 2.0))]
    pub controlnet_scale: f64,
    /// How much weaker each ControlNet block is than the next deeper one; 1 weakens none. It runs over blocks, not over time.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub controlnet_decay: f64,
    /// How strongly the prompt counts (classifier-free guidance, "dynamic").
    #[schemars(range(min = 1.0, max = 50.0))]
    pub condition_scale: f64,
    /// The share of the steps after which the prompt counts as strongly as that. Before it the negative prompt has no say, and a step takes half the time.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub guidance_start: f64,
    /// The share of the steps after which it does no more; likewise.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub guidance_end: f64,
    /// In how many evaluations of the networks in a row the inner levels' work is done once: 1 in each; 2 saves about a third of the time, 3 a little more, and both cost some detail.
    #[schemars(range(min = 1, max = 10))]
    pub reuse_features: u32,
    /// Width of a tile in latents, 8 pixels each ("fractality": small tiles invent more).
    #[schemars(range(min = 8, max = 1024))]
    pub tile_width: u32,
    /// Height of a tile in latents, 8 pixels each.
    #[schemars(range(min = 8, max = 1024))]
    pub tile_height: u32,
    /// The least overlap of neighbouring tiles in latents.
    #[schemars(range(min = 0, max = 512))]
    pub tile_overlap: u32,
    /// How overlapping tiles are weighted.
    pub tile_window: TileWindow,
    /// Lay the tiles elsewhere at each step, so that no border stays: the last seams go, for one more row and column of tiles.
    pub tile_jitter: bool,
    /// Steps of the whole schedule, of which the strength's share is run.
    #[schemars(range(min = 1, max = 1000))]
    pub num_inference_steps: u32,
    /// The sampler; auto is the one that the models ask for, else dpmsolver, which is "DPM++ 2M". diffusers', A1111's and ComfyUI's names are understood too, and may say the schedule: "DPM++ 3M SDE Karras".
    pub solver: SolverKind,
    /// How the sampler's noise levels are spaced. ddim, ddpm, lcm and tcd have only their own.
    pub schedule: Schedule,
    /// What the strength chooses: the first of the steps, or the first noise level, which is then the same for all samplers (that of training timestep 999 · strength) and is left in as many steps.
    pub strength_mode: StrengthMode,
    /// Which picture the ControlNet looks at.
    pub hint: HintSource,
    /// Which half of the guidance the ControlNet has a say in.
    pub control_mode: ControlMode,
    /// Give the enlarger blue, green, red, as A1111 does, in place of red, green, blue.
    pub upscaler_bgr: bool,
    /// Make the picture smaller first, so that its longer side has this many pixels; 0 leaves it. What is blurred or noisy comes out better; the factor counts from the smaller picture.
    #[schemars(range(min = 0, max = 65_535))]
    pub downscale_to: u32,
    /// Which sides continue at the opposite side, as those of a texture do.
    pub seamless: Seamless,
    /// How firmly colours and brightness are held to the picture's, over 64 pixels and more: 1 wholly, 0 not at all.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub colour_lock: f64,
    /// How much of each pixel's colour, apart from its brightness, stays as the enlarger gave it: 1 wholly, 0 none; -1 as the models ask, which for Stable Diffusion is 0.
    #[schemars(range(min = -1.0, max = 1.0))]
    pub chroma_lock: f64,
    /// How much the result is sharpened (unsharp mask of 1 pixel).
    #[schemars(range(min = 0.0, max = 5.0))]
    pub sharpen: f64,
    /// What the white of the mask means; the rest is as the enlarger gives it.
    pub mask_mode: MaskMode,
    /// Over how many pixels of the result the change fades in from the mask's border inwards.
    #[schemars(range(min = 0, max = 1024))]
    pub mask_feather: u32,
    /// Side of a tile of the autoencoder in pixels.
    #[schemars(range(min = 64, max = 8192))]
    pub vae_tile: u32,
    /// Where the autoencoder's tiles take their normalisation from.
    pub vae_statistics: VaeStatistics,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            upscale_factor: 2.0,
            prompt: "masterpiece, best quality, highres".into(),
            negative_prompt: "worst quality, low quality, normal quality".into(),
            stylization: String::new(),
            seed: -1,
            denoise_strength: 0.35,
            controlnet_scale: 0.6,
            controlnet_decay: 0.825,
            condition_scale: 6.0,
            guidance_start: 0.0,
            guidance_end: 1.0,
            reuse_features: 1,
            tile_width: 112,
            tile_height: 144,
            tile_overlap: 8,
            tile_window: TileWindow::Feather,
            tile_jitter: false,
            num_inference_steps: 18,
            solver: SolverKind::Auto,
            schedule: Schedule::Default,
            strength_mode: StrengthMode::Steps,
            hint: HintSource::Guess,
            control_mode: ControlMode::Balanced,
            upscaler_bgr: false,
            downscale_to: 0,
            seamless: Seamless::None,
            colour_lock: 1.0,
            chroma_lock: -1.0,
            sharpen: 0.0,
            mask_mode: MaskMode::Change,
            mask_feather: 16,
            vae_tile: 768,
            vae_statistics: VaeStatistics::Thumbnail,
        }
    }
}

/// A value outside its range.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum SettingsError {
    /// A number too small or too large.
    #[error("`{name}` {value} is out of range; it goes from {min} to {max}")]
    Range {
        /// Of the setting.
        name: String,
        /// What was given.
        value: f64,
        /// The least allowed.
        min: f64,
        /// The greatest allowed.
        max: f64,
    },
    /// No such value.
    #[error("`{name}` {value:?}: {reason}")]
    Value {
        /// Of the setting.
        name: String,
        /// What was given.
        value: String,
        /// Why not.
        reason: String,
    },
    /// No such setting.
    #[error("there is no setting {0:?}")]
    Unknown(String),
    /// A schedule that the sampler cannot have.
    #[error("`schedule` {schedule}: {solver} has only its own; take default, or another `solver`")]
    Schedule {
        /// The schedule.
        schedule: &'static str,
        /// The sampler.
        solver: String,
    },
    /// More steps than the sampler can take.
    #[error("`num_inference_steps` {steps} is too many for {solver}, which can take {most}")]
    Steps {
        /// What was asked for.
        steps: u32,
        /// The sampler.
        solver: String,
        /// The most it can take.
        most: usize,
    },
    /// A guidance that ends before it starts.
    #[error("`guidance_start` {start} is after `guidance_end` {end}; make it smaller")]
    Guidance {
        /// The start.
        start: f64,
        /// The end.
        end: f64,
    },
    /// Features of tiles that are elsewhere at the next step.
    #[error("`reuse_features` {0} needs tiles that stay where they are; leave out `tile_jitter`")]
    MovingFeatures(u32),
    /// An overlap that leaves nothing of a tile.
    #[error(
        "`tile_overlap` {overlap} leaves nothing of a tile of {side}; make it smaller, or `tile_width` and `tile_height` larger"
    )]
    Overlap {
        /// The overlap.
        overlap: u32,
        /// The tile's shorter side.
        side: u32,
    },
}

impl Settings {
    /// Whether every value is in its range.
    ///
    /// # Errors
    /// The first that is not.
    pub fn validate(&self) -> Result<(), SettingsError> {
        let values = serde_json::to_value(self).expect("settings are plain data");
        for field in Self::describe() {
            let value = &values[&field.name];
            if let (Some((min, max)), Some(value)) = (field.range, value.as_f64()) {
                if !(min..=max).contains(&value) {
                    return Err(SettingsError::Range { name: field.name, value, min, max });
                }
            } else if field.range.is_some() {
                // A NaN has no place in JSON.
                let (name, value) = (field.name, value.to_string());
                return Err(SettingsError::Value { name, value, reason: "not a number".into() });
            }
        }
        let (start, end) = (self.guidance_start, self.guidance_end);
        if start > end {
            return Err(SettingsError::Guidance { start, end });
        }
        if self.reuse_features > 1 && self.tile_jitter {
            return Err(SettingsError::MovingFeatures(self.reuse_features));
        }
        let side = self.tile_width.min(self.tile_height);
        if self.tile_overlap >= side {
            return Err(SettingsError::Overlap { overlap: self.tile_overlap, side });
        }
        self.validate_sampler()
    }

    /// Give the setting `name` the value that `text` says.
    ///
    /// # Errors
    /// If there is no such setting, or the text is no value of its kind or outside its range.
    pub fn set(&mut self, name: &str, text: &str) -> Result<(), SettingsError> {
        let field = Self::describe().into_iter().find(|f| f.name == name);
        let field = field.ok_or_else(|| SettingsError::Unknown(name.into()))?;
        let failed =
            |reason: String| SettingsError::Value { name: field.name.clone(), value: text.into(), reason };
        let value = match field.kind {
            Kind::Text | Kind::Choice => serde_json::Value::from(text),
            Kind::Integer => text.parse::<i64>().map_err(|_| failed("not a whole number".into()))?.into(),
            Kind::Switch => match text {
                "true" | "on" | "yes" => true.into(),
                "false" | "off" | "no" => false.into(),
                _ => return Err(failed("on or off".into())),
            },
            Kind::Number => text.parse::<f64>().map_err(|_| failed("not a number".into()))?.into(),
        };
        if let (Some((min, max)), Some(value)) = (field.range, value.as_f64())
            && !(min..=max).contains(&value)
        {
            return Err(SettingsError::Range { name: field.name, value, min, max });
        }
        let mut all = serde_json::to_value(&*self).expect("settings are plain data");
        all[name] = value;
        if name == "solver" && SolverKind::parse(text).is_some_and(|(_, schedule)| schedule.is_some()) {
            // The schedule in the name is the newer word.
            all["schedule"] = Schedule::Default.name().into();
        }
        *self = serde_json::from_value(all).map_err(|e| {
            failed(match field.choices.is_empty() {
                true => e.to_string(),
                false => format!("{} are the choices", field.choices.join(", ")),
            })
        })?;
        Ok(())
    }

    /// Take the values of a JSON object; settings that it does not name stay.
    ///
    /// # Errors
    /// If it is no object of settings.
    pub fn merge(&mut self, json: &str) -> Result<(), serde_json::Error> {
        let given: serde_json::Map<String, serde_json::Value> = serde_json::from_str(json)?;
        let mut all = serde_json::to_value(&*self)?;
        for (name, value) in given {
            all[name] = value;
        }
        *self = serde_json::from_value(all)?;
        Ok(())
    }

    /// Whether the negative prompt has a say in an evaluation of the networks, the first being 0.
    pub(crate) fn is_guided(&self, evaluation: usize, evaluations: usize) -> bool {
        let middle = (evaluation as f64 + 0.5) / evaluations as f64;
        self.condition_scale != 1.0 && (self.guidance_start..=self.guidance_end).contains(&middle)
    }

    /// Whether an evaluation takes what the inner levels made in the one before, the first being 0.
    pub(crate) fn is_reusing(&self, evaluation: usize, evaluations: usize) -> bool {
        let guided = |evaluation| self.is_guided(evaluation, evaluations);
        let follows = !evaluation.is_multiple_of(self.reuse_features as usize) && evaluation < evaluations;
        // With the negative prompt there is twice as much of it.
        follows && guided(evaluation) == guided(evaluation - 1)
    }

    /// The prompt that the text encoder gets.
    pub fn full_prompt(&self) -> String {
        joined(&[&self.stylization, &self.prompt])
    }

    /// The same for a part of the picture with a prompt of its own, which stands before the general one.
    pub fn prompt_of_place(&self, place: &str) -> String {
        joined(&[&self.stylization, place, &self.prompt])
    }
}

/// What is not empty, with commas between.
fn joined(parts: &[&str]) -> String {
    parts.iter().copied().filter(|part| !part.trim().is_empty()).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_set_by_name_and_checked() {
        let mut settings = Settings::default();
        assert_eq!(settings.validate(), Ok(()));
        settings.set("upscale_factor", "3.5").unwrap();
        settings.set("solver", "dpm++2m").unwrap();
        settings.set("solver", "ddim").unwrap();
        settings.set("seed", "-1").unwrap();
        settings.set("tile_jitter", "on").unwrap();
        assert!(settings.tile_jitter);
        assert_eq!((settings.upscale_factor, settings.solver), (3.5, SolverKind::Ddim));
        for (name, bad, names) in [
            ("upscale_factor", "17", "`upscale_factor`"),
            ("denoise_strength", "much", "`denoise_strength`"),
            ("denoise_strength", "nan", "`denoise_strength`"),
            ("solver", "magic", "dpmsolver, ddim"),
            ("tile_width", "1.5", "`tile_width`"),
            ("tile_jitter", "2", "on or off"),
        ] {
            let message = settings.set(name, bad).unwrap_err().to_string();
            assert!(message.contains(names), "{message}");
        }
    }

    #[test]
    fn an_unknown_field_is_an_error_and_a_missing_one_has_its_default() {
        assert!(serde_json::from_str::<Settings>(r#"{"strenght": 1}"#).is_err());
        assert_eq!(serde_json::from_str::<Settings>("{}").unwrap(), Settings::default());
    }

    #[test]
    fn an_overlap_as_large_as_the_tile_is_refused() {
        let settings = Settings { tile_width: 16, tile_overlap: 16, ..Settings::default() };
        assert!(settings.validate().unwrap_err().to_string().contains("`tile_overlap` 16"));
    }
}
