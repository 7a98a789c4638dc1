//! Errors as data, for faces that word them: a code that does not change, what it is about, and what may help.

use std::error::Error as StdError;

use clarifier_model::files::FileError;
use serde::Serialize;

use crate::device::DeviceError;
use crate::{Error, NoiseError, SettingsError, subject};

/// Something that may help after an error, for a face to say in its own words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Remedy {
    /// Compute on the CPU.
    UseCpu,
    /// Make `tile_width`, `tile_height` and `vae_tile` smaller.
    SmallerTiles,
    /// Compute in f32.
    UseF32,
    /// Leave the precision to the device.
    AutoPrecision,
    /// Take files of Stable Diffusion 1.5.
    OtherModels,
}

/// An error as data.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ErrorReport {
    /// The kind of error; it never changes between versions.
    pub code: &'static str,
    /// A sentence, with settings and inputs named as [`subject`] says.
    pub message: String,
    /// The settings and inputs that the sentence names, in its order.
    pub about: Vec<String>,
    /// Remedies, the best first; one of them is enough.
    pub remedies: &'static [Remedy],
}

impl ErrorReport {
    /// The report of any error; one that is none of the engine's has the code `other`.
    pub fn of(error: &(dyn StdError + 'static)) -> Self {
        let message = error.to_string();
        let (code, remedies) = code(error).unwrap_or(("other", &[]));
        Self { code, about: subject::subjects(&message), message, remedies }
    }
}

/// The [`ErrorReport::remedies`] of an error, or of the first of its causes that is one of the engine's.
pub fn remedies(error: &(dyn StdError + 'static)) -> &'static [Remedy] {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if let Some((_, remedies)) = code(error) {
            return remedies;
        }
        cause = error.source();
    }
    &[]
}

fn code(error: &(dyn StdError + 'static)) -> Option<(&'static str, &'static [Remedy])> {
    if let Some(error) = error.downcast_ref::<Error>() {
        return Some(of_run(error));
    }
    let plain = |code| Some((code, &[][..]));
    if let Some(error) = error.downcast_ref::<DeviceError>() {
        Some(of_device(error))
    } else if let Some(error) = error.downcast_ref::<FileError>() {
        Some(of_file(error))
    } else if error.is::<SettingsError>() {
        plain("setting")
    } else if error.is::<NoiseError>() {
        plain("noise")
    } else {
        None
    }
}

fn of_run(error: &Error) -> (&'static str, &'static [Remedy]) {
    let code = match error {
        Error::Cancelled => "cancelled",
        Error::Settings(_) => "setting",
        Error::File(error) => return of_file(error),
        Error::Load(_) => "weights",
        Error::Noise(_) => "noise",
        Error::Text(_) | Error::Tag(_) => "prompt",
        Error::LoraMissing { .. } => "lora_missing",
        Error::Raster(_) => "picture",
        Error::Journal(_) => "journal",
        Error::TextWidth { .. } | Error::Misfit { .. } => return ("models", &[Remedy::OtherModels]),
        Error::FeaturesInTeam => "team_features",
        Error::Region { .. } => "region",
        Error::Elsewhere { .. } => "team",
        Error::Link(_) => "link",
        Error::Device(_) => return ("device", &[Remedy::UseCpu, Remedy::SmallerTiles]),
        Error::NotFinite { .. } => return ("not_finite", &[Remedy::UseF32]),
    };
    (code, &[])
}

fn of_device(error: &DeviceError) -> (&'static str, &'static [Remedy]) {
    match error {
        DeviceError::NoGpu => ("no_gpu", &[Remedy::UseCpu]),
        DeviceError::Start { .. } => ("gpu_start", &[Remedy::UseCpu]),
        DeviceError::NoF16 { .. } => ("no_f16", &[Remedy::UseF32, Remedy::AutoPrecision]),
    }
}

fn of_file(error: &FileError) -> (&'static str, &'static [Remedy]) {
    match error {
        FileError::WrongKind { .. } => ("wrong_kind", &[Remedy::OtherModels]),
        FileError::NotFound { .. } => ("not_found", &[]),
        FileError::Unsafe { .. } => ("unsafe_file", &[]),
        FileError::Damaged { .. } => ("damaged", &[]),
        FileError::Read { .. } => ("read", &[]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_say_what_they_are_about_and_what_may_help() {
        let settings = crate::Settings { tile_overlap: 500, ..Default::default() };
        let report = ErrorReport::of(&Error::from(settings.validate().unwrap_err()));
        assert_eq!((report.code, report.about[0].as_str()), ("setting", "tile_overlap"));
        let report = ErrorReport::of(&Error::Device("gone".into()));
        assert_eq!(report.remedies, [Remedy::UseCpu, Remedy::SmallerTiles]);
        let other = ErrorReport::of(&std::io::Error::other("full"));
        assert_eq!((other.code, other.message.as_str(), other.remedies), ("other", "full", &[][..]));
        let json = serde_json::to_value(ErrorReport::of(&DeviceError::NoGpu)).unwrap();
        assert_eq!(json["about"], serde_json::json!(["device"]));
        assert_eq!(json["remedies"], serde_json::json!(["use_cpu"]));
    }

    #[test]
    fn a_cause_that_can_be_helped_is_found_under_others() {
        #[derive(Debug, thiserror::Error)]
        #[error("a.png")]
        struct Of(#[source] Error);
        let error = Of(Error::NotFinite { phase: crate::Phase::Diffuse, tile: 3 });
        assert_eq!(remedies(&error), [Remedy::UseF32]);
        assert_eq!(remedies(&std::io::Error::other("x")), []);
    }
}
