//! The sampler's settings, and the names that other programs have for the samplers.

use clarifier_model::family::ModelFamily;
use schemars::JsonSchema;
use serde::de::{Deserializer, Error as _};
use serde::{Deserialize, Serialize, Serializer};

use super::{Settings, SettingsError};

/// The sampler.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SolverKind {
    /// The one that the networks ask for (a set's scheduler), [`SolverKind::Dpmsolver`] where they ask for none.
    #[default]
    Auto,
    /// DPM-Solver++(2M), "DPM++ 2M". With the default schedule as Refiners has it, ending at the least σ of
    /// training; with another as A1111 has it, ending at 0.
    Dpmsolver,
    /// DDIM without noise.
    Ddim,
    /// DDPM: ancestral, on DDIM's timesteps.
    Ddpm,
    /// Euler.
    Euler,
    /// Euler, ancestral.
    EulerA,
    /// Heun: two evaluations a step.
    Heun,
    /// Linear multistep, order 4.
    Lms,
    /// DPM-Solver-2: two evaluations a step.
    Dpm2,
    /// DPM-Solver-2, ancestral: two evaluations a step.
    #[serde(rename = "dpm2_a")]
    Dpm2A,
    /// DPM-Solver++ SDE: two evaluations a step.
    #[serde(rename = "dpm++sde")]
    DpmppSde,
    /// DPM-Solver++(2M) SDE, midpoint.
    #[serde(rename = "dpm++2m_sde")]
    Dpmpp2mSde,
    /// DPM-Solver++(3M) SDE.
    #[serde(rename = "dpm++3m_sde")]
    Dpmpp3mSde,
    /// UniPC, order 2.
    Unipc,
    /// For latent consistency models: few steps, guidance near 1.
    Lcm,
    /// For trajectory consistency distillation: few steps, guidance near 1.
    Tcd,
}

/// How the noise levels are spaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Schedule {
    /// The sampler's own timesteps.
    #[default]
    Default,
    /// Karras et al. 2022, ρ = 7.
    Karras,
    /// Even in log σ.
    Exponential,
    /// Even in time, without the last: A1111's "SGM Uniform".
    SgmUniform,
}

/// What the strength chooses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum StrengthMode {
    /// The first step of the schedule, `⌊steps · (1 − strength)⌋`, as diffusers and Refiners do. Which σ that is
    /// differs from sampler to sampler.
    #[default]
    Steps,
    /// The first σ, the same for all samplers: that of the training timestep `999 · strength`. From it the
    /// schedule runs down in as many steps as `Steps` would take.
    Sigma,
}

/// Each sampler's names, without case, blanks, `-` and `_`, and with `dpmpp` written `dpm++`. First its own; then A1111's,
/// ComfyUI's and stable-diffusion.cpp's where they differ; diffusers' class without `scheduler` last.
const NAMES: [(SolverKind, &[&str]); 16] = [
    (SolverKind::Auto, &["auto"]),
    (SolverKind::Dpmsolver, &["dpmsolver", "dpm++2m", "dpmsolver++", "dpmsolver++2m", "dpmsolvermultistep"]),
    (SolverKind::Ddim, &["ddim"]),
    (SolverKind::Ddpm, &["ddpm"]),
    (SolverKind::Euler, &["euler", "eulerdiscrete"]),
    (SolverKind::EulerA, &["eulera", "eulerancestral", "eulerancestraldiscrete"]),
    (SolverKind::Heun, &["heun", "heundiscrete"]),
    (SolverKind::Lms, &["lms", "lmsdiscrete"]),
    (SolverKind::Dpm2, &["dpm2", "kdpm2discrete"]),
    (SolverKind::Dpm2A, &["dpm2a", "dpm2ancestral", "kdpm2ancestraldiscrete"]),
    (SolverKind::DpmppSde, &["dpm++sde", "dpmsolversde"]),
    (SolverKind::Dpmpp2mSde, &["dpm++2msde"]),
    (SolverKind::Dpmpp3mSde, &["dpm++3msde"]),
    (SolverKind::Unipc, &["unipc", "unipcmultistep"]),
    (SolverKind::Lcm, &["lcm"]),
    (SolverKind::Tcd, &["tcd"]),
];

/// Without case, blanks, `-` and `_`; brackets too, as in DPM-Solver++(2M).
fn bare(name: &str) -> String {
    let dropped = [' ', '-', '_', '(', ')'];
    name.chars().filter(|c| !dropped.contains(c)).flat_map(char::to_lowercase).collect()
}

impl SolverKind {
    /// The sampler that `name` means, and the schedule if the name says one: `DPM++ 3M SDE Karras`. Names are
    /// ours, A1111's, ComfyUI's, stable-diffusion.cpp's or diffusers' classes; neither case nor blanks count.
    pub fn parse(name: &str) -> Option<(Self, Option<Schedule>)> {
        let name = bare(name).replace("dpmpp", "dpm++");
        let schedules = [Schedule::Karras, Schedule::Exponential, Schedule::SgmUniform];
        let suffix = |schedule: Schedule| Some((name.strip_suffix(&bare(schedule.name()))?, Some(schedule)));
        let (name, schedule) = schedules.into_iter().find_map(suffix).unwrap_or((&name, None));
        let name = name.strip_suffix("scheduler").unwrap_or(name);
        let (kind, _) = NAMES.iter().find(|(_, names)| names.contains(&name))?;
        Some((*kind, schedule))
    }

    /// Its name in settings.
    pub fn name(self) -> String {
        word(self)
    }

    /// Whether it can run on any list of σs. The others go by the timesteps that they were made for.
    pub fn takes_schedules(self) -> bool {
        !matches!(self, Self::Ddim | Self::Ddpm | Self::Lcm | Self::Tcd)
    }

    /// The most steps that it can take: consistency models were distilled on this many timesteps.
    pub fn most_steps(self) -> Option<usize> {
        matches!(self, Self::Lcm | Self::Tcd).then_some(50)
    }
}

impl Schedule {
    /// Its name in settings.
    pub fn name(self) -> &'static str {
        match self {
            Self::Default => "default",
            Self::Karras => "karras",
            Self::Exponential => "exponential",
            Self::SgmUniform => "sgm_uniform",
        }
    }
}

/// A unit variant's name in JSON.
fn word(value: impl Serialize) -> String {
    serde_json::to_value(value).expect("plain data").as_str().expect("a word").to_owned()
}

impl<'de> Deserialize<'de> for SolverKind {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let name = String::deserialize(from)?;
        match Self::parse(&name) {
            Some((kind, None)) => Ok(kind),
            // Only `Settings` has a place for the schedule.
            Some((_, Some(_))) => Err(D::Error::custom(format!("{name:?} names a schedule too"))),
            None => {
                let all: Vec<String> = NAMES.iter().map(|(kind, _)| kind.name()).collect();
                Err(D::Error::custom(format!("no sampler {name:?}; there are {}", all.join(", "))))
            }
        }
    }
}

impl<'de> Deserialize<'de> for Schedule {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let name = String::deserialize(from)?;
        let all = [Self::Default, Self::Karras, Self::Exponential, Self::SgmUniform];
        all.into_iter().find(|schedule| bare(schedule.name()) == bare(&name)).ok_or_else(|| {
            let all = all.map(Self::name).join(", ");
            D::Error::custom(format!("no schedule {name:?}; there are {all}"))
        })
    }
}

/// Where the sampler's name in `settings` says a schedule too, take it apart. A `schedule` beside it wins, unless it is the
/// default.
fn split_schedule(settings: &mut serde_json::Map<String, serde_json::Value>) {
    let name = settings.get("solver").and_then(|name| name.as_str());
    if let Some((kind, Some(schedule))) = name.and_then(SolverKind::parse) {
        let given = settings.get("schedule").and_then(|given| given.as_str());
        if given.is_none_or(|given| bare(given) == Schedule::Default.name()) {
            settings.insert("schedule".into(), schedule.name().into());
        }
        settings.insert("solver".into(), kind.name().into());
    }
}

impl Serialize for Settings {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        Self::serialize(self, to)
    }
}

/// In `solver`, every name that [`SolverKind::parse`] knows.
impl<'de> Deserialize<'de> for Settings {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let mut map = serde_json::Map::deserialize(from)?;
        split_schedule(&mut map);
        Self::deserialize(serde_json::Value::Object(map)).map_err(D::Error::custom)
    }
}

/// The values of a model for settings that are left to it.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct ModelDefaults {
    /// The sampler that its networks were made for.
    pub solver: Option<SolverKind>,
    /// [`Settings::chroma_lock`].
    pub chroma_lock: f64,
}

impl ModelDefaults {
    /// The defaults of a family. A sampler that this program does not have is left out.
    pub fn of(family: &ModelFamily) -> Self {
        let solver = family.sampler.as_deref().and_then(SolverKind::parse).map(|(kind, _)| kind);
        Self { solver, chroma_lock: family.chroma_lock }
    }
}

impl Settings {
    /// These settings with a model's defaults for what they leave open. Its sampler is taken unless it cannot have the schedule.
    pub fn resolve(&self, defaults: ModelDefaults) -> Self {
        let fits = |kind: &SolverKind| self.schedule == Schedule::Default || kind.takes_schedules();
        let solver = match self.solver {
            SolverKind::Auto => defaults.solver.filter(fits).unwrap_or(SolverKind::Dpmsolver),
            chosen => chosen,
        };
        let chroma_lock = if self.chroma_lock < 0.0 { defaults.chroma_lock } else { self.chroma_lock };
        Self { solver, chroma_lock, ..self.clone() }
    }

    /// Whether the sampler can do what is asked of it.
    pub(super) fn validate_sampler(&self) -> Result<(), SettingsError> {
        let solver = self.solver.name();
        if self.schedule != Schedule::Default && !self.solver.takes_schedules() {
            return Err(SettingsError::Schedule { schedule: self.schedule.name(), solver });
        }
        match self.solver.most_steps() {
            Some(most) if self.num_inference_steps as usize > most => {
                Err(SettingsError::Steps { steps: self.num_inference_steps, solver, most })
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_networks_ask_for_is_taken_where_nothing_else_was_chosen() {
        let resolved = |solver, schedule, asked| {
            let settings = Settings { solver, schedule, ..Settings::default() };
            settings.resolve(ModelDefaults { solver: asked, ..ModelDefaults::default() }).solver
        };
        let (own, ddim) = (Schedule::Default, Some(SolverKind::Ddim));
        assert_eq!(Settings::default().solver, SolverKind::Auto);
        assert_eq!(resolved(SolverKind::Auto, own, None), SolverKind::Dpmsolver);
        assert_eq!(resolved(SolverKind::Auto, own, ddim), SolverKind::Ddim);
        assert_eq!(resolved(SolverKind::Euler, own, ddim), SolverKind::Euler);
        // DDIM has a schedule of its own.
        assert_eq!(resolved(SolverKind::Auto, Schedule::Karras, ddim), SolverKind::Dpmsolver);
        let chroma = |chroma_lock| {
            let settings = Settings { chroma_lock, ..Settings::default() };
            settings.resolve(ModelDefaults { chroma_lock: 0.75, ..ModelDefaults::default() }).chroma_lock
        };
        assert_eq!((Settings::default().chroma_lock, chroma(-1.0)), (-1.0, 0.75));
        assert_eq!([chroma(0.0), chroma(0.5)], [0.0, 0.5]);
    }

    #[test]
    fn every_programs_names_are_understood() {
        for (name, kind, schedule) in [
            ("dpmsolver", SolverKind::Dpmsolver, None),
            ("dpm++2m", SolverKind::Dpmsolver, None),
            ("DPM++ 2M", SolverKind::Dpmsolver, None),
            ("DPMSolverMultistepScheduler", SolverKind::Dpmsolver, None),
            ("DPM-Solver++(2M)", SolverKind::Dpmsolver, None),
            ("DPM++ 2M Karras", SolverKind::Dpmsolver, Some(Schedule::Karras)),
            ("DPM++ 3M SDE Karras", SolverKind::Dpmpp3mSde, Some(Schedule::Karras)),
            ("DPM++ 2M SDE Exponential", SolverKind::Dpmpp2mSde, Some(Schedule::Exponential)),
            ("dpmpp_sde", SolverKind::DpmppSde, None),
            ("Euler a", SolverKind::EulerA, None),
            ("euler_ancestral", SolverKind::EulerA, None),
            ("Euler SGM Uniform", SolverKind::Euler, Some(Schedule::SgmUniform)),
            ("DPM2 a Karras", SolverKind::Dpm2A, Some(Schedule::Karras)),
            ("KDPM2DiscreteScheduler", SolverKind::Dpm2, None),
            ("uni_pc", SolverKind::Unipc, None),
            ("UniPCMultistepScheduler", SolverKind::Unipc, None),
            ("LCMScheduler", SolverKind::Lcm, None),
        ] {
            assert_eq!(SolverKind::parse(name), Some((kind, schedule)), "{name}");
        }
        assert_eq!(SolverKind::parse("DPM++ 4M"), None);
        for (kind, names) in NAMES {
            assert_eq!(SolverKind::parse(&kind.name()), Some((kind, None)));
            assert!(names.iter().all(|name| SolverKind::parse(name) == Some((kind, None))), "{kind:?}");
        }
    }

    #[test]
    fn a_name_may_say_the_schedule() {
        let read = |json: &str| serde_json::from_str::<Settings>(json).map(|s| (s.solver, s.schedule));
        let karras = Ok((SolverKind::Dpmpp3mSde, Schedule::Karras));
        assert_eq!(read(r#"{"solver": "DPM++ 3M SDE Karras"}"#).map_err(|e| e.to_string()), karras);
        let explicit = read(r#"{"solver": "DPM++ 3M SDE Karras", "schedule": "SGM Uniform"}"#).unwrap();
        assert_eq!(explicit, (SolverKind::Dpmpp3mSde, Schedule::SgmUniform));
        let error = read(r#"{"solver": "magic"}"#).unwrap_err().to_string();
        assert!(error.contains("dpm++3m_sde"), "{error}");
        let mut settings = Settings { schedule: Schedule::Exponential, ..Settings::default() };
        settings.set("solver", "dpm++ 2m karras").unwrap();
        assert_eq!((settings.solver, settings.schedule), (SolverKind::Dpmsolver, Schedule::Karras));
        settings.set("solver", "Euler a").unwrap();
        assert_eq!((settings.solver, settings.schedule), (SolverKind::EulerA, Schedule::Karras));
        settings.set("schedule", "Default").unwrap();
        assert_eq!(settings.schedule, Schedule::Default);
        // What is written is read again.
        let json = serde_json::to_string(&settings).unwrap();
        assert_eq!(serde_json::from_str::<Settings>(&json).unwrap(), settings);
    }

    #[test]
    fn what_a_sampler_cannot_do_is_refused() {
        for (kind, schedule, steps, says) in [
            (SolverKind::Ddim, Schedule::Karras, 18, "`schedule` karras"),
            (SolverKind::Lcm, Schedule::SgmUniform, 8, "`schedule` sgm_uniform"),
            (SolverKind::Tcd, Schedule::Default, 51, "50"),
        ] {
            let settings =
                Settings { solver: kind, schedule, num_inference_steps: steps, ..Settings::default() };
            let message = settings.validate().unwrap_err().to_string();
            assert!(message.contains(says) && message.contains(&kind.name()), "{message}");
        }
    }
}
