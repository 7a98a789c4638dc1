//! How a checkpoint's UNet was trained, as far as its files say. Every convention is brought into the form of diffusers'
//! `scheduler_config.json`.

use serde_json::{Map, Value, json};

use super::{Beside, FileError, FileKind, Source, TensorFile};

/// The configuration of the UNet in `file`, which was opened from `source`; none if nothing is said.
///
/// # Errors
/// [`FileError::Damaged`] if a configuration is not JSON; [`FileError::Read`].
pub fn config(source: &Source, file: &dyn TensorFile, kind: FileKind) -> Result<Option<Value>, FileError> {
    match kind {
        FileKind::Set => {
            let text = file.metadata("scheduler").map(str::as_bytes);
            text.map(|text| parse(text, &source.display().to_string())).transpose()
        }
        FileKind::UNet => {
            let is_in_folder = source.parent().and_then(|folder| folder.file_name());
            if is_in_folder.is_none_or(|folder| folder != "unet") {
                return Ok(None);
            }
            let Some(Beside { name, content }) = source.beside("../scheduler/scheduler_config.json")? else {
                return Ok(None);
            };
            parse(&content, &name).map(Some)
        }
        FileKind::Checkpoint => of_checkpoint(source, file),
        _ => Ok(None),
    }
}

fn parse(text: &[u8], name: &str) -> Result<Value, FileError> {
    let damaged = |error| FileError::Damaged { name: name.into(), reason: format!("not JSON ({error})") };
    serde_json::from_slice(text).map_err(damaged)
}

/// Reads what a single file says: ComfyUI's empty tensors `v_pred` and `ztsnr`, the header's texts of modelspec and of kohya's
/// training scripts, and the `.yaml` of the same name that A1111 reads.
fn of_checkpoint(source: &Source, file: &dyn TensorFile) -> Result<Option<Value>, FileError> {
    let has = |tensor: &str| file.tensors().contains_key(tensor);
    let said = |key: &str| file.metadata(key).map(str::to_lowercase);
    let is = |key: &str, value: &str| said(key).is_some_and(|found| found == value);
    let yaml = match source.file_stem() {
        Some(stem) => source.beside(&format!("{}.yaml", stem.to_string_lossy()))?,
        None => None,
    };
    let yaml = yaml.and_then(|Beside { content, .. }| parameterization(&String::from_utf8_lossy(&content)));
    let mut config = Map::new();
    let prediction = match (said("modelspec.prediction_type").as_deref(), yaml.as_deref()) {
        _ if has("v_pred") || is("ss_v_parameterization", "true") => Some("v_prediction".to_owned()),
        (Some("v"), _) | (None, Some("v")) => Some("v_prediction".to_owned()),
        (Some("epsilon" | "eps"), _) | (None, Some("eps")) => Some("epsilon".to_owned()),
        (None, Some("x0")) => Some("sample".to_owned()),
        // Refused by name later, unless it is one.
        (Some(other), _) => Some(other.to_owned()),
        (None, _) => None,
    };
    if let Some(prediction) = prediction {
        config.insert("prediction_type".into(), prediction.into());
    }
    if has("ztsnr") || is("ss_zero_terminal_snr", "true") {
        config.insert("rescale_betas_zero_snr".into(), json!(true));
    }
    Ok((!config.is_empty()).then_some(Value::Object(config)))
}

/// The value of `parameterization` in an LDM configuration: one line of its own, whatever is around it.
fn parameterization(yaml: &str) -> Option<String> {
    let line = yaml.lines().find_map(|line| line.trim().strip_prefix("parameterization:"))?;
    let value = line.split('#').next()?.trim().trim_matches(['"', '\'']);
    Some(value.to_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parameterization_of_a_yaml_is_found() {
        let yaml = "model:\n  params:\n    parameterization: \"v\"  # not eps\n    beta: 1\n";
        assert_eq!(parameterization(yaml).as_deref(), Some("v"));
        assert_eq!(parameterization("parameterization: eps").as_deref(), Some("eps"));
        assert_eq!(parameterization("other: v"), None);
    }
}
