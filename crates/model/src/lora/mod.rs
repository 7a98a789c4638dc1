//! LoRA and its kin: small files that change the weights of a checkpoint, merged while it is loaded.
//!
//! LoRA, LoCon, LoHa, LoKr, full differences and DoRA, under the names of kohya, LyCORIS, peft and
//! diffusers (old and new), for the diffusers and the LDM layout of the model.

mod change;
mod config;
mod keys;
mod made_for;
mod merged;
mod place;

use std::collections::BTreeMap;
use std::sync::Mutex;

use crate::files::{FileError, Source, TensorFile, TensorInfo, identify, open};
use change::{Factors, Form, Shapes};
use config::AdapterConfig;
use keys::Field;
use place::Place;

pub use merged::{Adapter, MergedFiles, merge};

/// A module's change.
struct Module {
    place: Place,
    /// The keys of its factors.
    keys: BTreeMap<Field, String>,
    form: Form,
    /// The change as a matrix: outputs, and all other dimensions.
    size: (usize, usize),
    /// alpha / rank, or what the file says in its place.
    scale: f32,
}

/// An open LoRA. Its factors stay on disk until a weight that they change is read.
pub struct Lora {
    name: String,
    // Read from two networks' views, one at a time.
    file: Mutex<Box<dyn TensorFile>>,
    tensors: BTreeMap<String, TensorInfo>,
    /// By the name that the file has for them.
    modules: BTreeMap<String, Module>,
    /// Keys that are no factor of any kind.
    unknown: Vec<String>,
}

impl Lora {
    /// Open the file and look at its keys and shapes.
    ///
    /// A change is multiplied by alpha / rank, with the alpha of the file's tensors, else of its header
    /// (diffusers) or of the `adapter_config.json` beside it (peft), else by 1.
    ///
    /// # Errors
    /// [`FileError`]: the file is none, of another kind, or of a kind of LoRA that is not merged; its
    /// factors do not fit each other.
    pub fn open(source: impl Into<Source>) -> Result<Self, FileError> {
        let source = source.into();
        let name = source.display().to_string();
        let damaged = |reason: String| FileError::Damaged { name: name.clone(), reason };
        let file = open(&source)?;
        let (mut groups, mut unknown) = (BTreeMap::<String, BTreeMap<Field, String>>::new(), Vec::new());
        for key in file.tensors().keys() {
            if let Some(kind) = keys::other_kind(key) {
                return Err(damaged(format!("{key} is of {kind}, which this program does not merge")));
            }
            match keys::split(key) {
                Some((module, field)) => {
                    groups.entry(module.to_owned()).or_default().insert(field, key.clone());
                }
                None => unknown.push(key.clone()),
            }
        }
        let numbers = [Field::Alpha, Field::Scale, Field::Magnitude, Field::OutputMagnitude];
        // An enlarger may have a layer with an alpha; a LoRA has factors.
        groups.retain(|_, keys| keys.keys().any(|field| !numbers.contains(field)));
        if groups.is_empty() {
            let wanted = "a LoRA was expected here (`lora`, or <lora:…> in a prompt)".into();
            return Err(FileError::WrongKind { name, is: identify(&*file), wanted });
        }
        let config = Configs::read(&source, &*file, &groups)?;
        let mut modules = BTreeMap::new();
        for (spelled, keys) in groups {
            let shapes = shapes(file.tensors(), &keys);
            let (form, rows, columns) =
                change::check(&shapes).map_err(|e| damaged(format!("{spelled}: {e}")))?;
            let number = |field| match keys.get(&field) {
                None => Ok(None),
                Some(key) => match file.read(key)?[..] {
                    [value] if value.is_finite() => Ok(Some(value)),
                    _ => Err(damaged(format!("{key} should be one number"))),
                },
            };
            let rank = change::rank(&shapes);
            let scale = match (number(Field::Scale)?, number(Field::Alpha)?, rank) {
                (Some(scale), ..) => scale,
                (_, _, None) => config.scale(&spelled, None),
                (_, Some(alpha), Some(rank)) => alpha / rank as f32,
                (_, None, rank) => config.scale(&spelled, rank),
            };
            let place = Place::of(&spelled);
            modules.insert(spelled, Module { place, keys, form, size: (rows, columns), scale });
        }
        let tensors = file.tensors().clone();
        Ok(Self { name, file: Mutex::new(file), tensors, modules, unknown })
    }

    /// The file, as the user named it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The values of one tensor.
    fn read(&self, key: &str) -> Result<Vec<f32>, FileError> {
        let file = self.file.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let values = file.read(key)?;
        if values.iter().all(|v| v.is_finite()) {
            return Ok(values);
        }
        let reason = format!("{key} holds NaN or infinite values; download the file again");
        Err(FileError::Damaged { name: self.name.clone(), reason })
    }

    /// ΔW of `module`, unscaled.
    fn change(&self, module: &Module) -> Result<Vec<f32>, FileError> {
        let mut factors = Factors::new();
        for (field, key) in &module.keys {
            factors.insert(*field, (self.read(key)?, self.tensors[key].shape.clone()));
        }
        Ok(change::compute(module.form, &factors))
    }
}

fn shapes<'a>(tensors: &'a BTreeMap<String, TensorInfo>, keys: &BTreeMap<Field, String>) -> Shapes<'a> {
    keys.iter().map(|(field, key)| (*field, tensors[key].shape.as_slice())).collect()
}

/// Alphas from outside the tensors.
#[derive(Default)]
struct Configs {
    unet: Option<AdapterConfig>,
    text: Option<AdapterConfig>,
    peft: Option<AdapterConfig>,
}

/// How peft begins every key.
const PEFT: &str = "base_model.model.";

impl Configs {
    fn read(
        source: &Source,
        file: &dyn TensorFile,
        groups: &BTreeMap<String, BTreeMap<Field, String>>,
    ) -> Result<Self, FileError> {
        let of_part = |part| AdapterConfig::of_part(file.metadata("lora_adapter_metadata")?, part);
        let (unet, text) = (of_part("unet"), of_part("text_encoder"));
        let peft = if groups.keys().all(|module| module.starts_with(PEFT)) {
            AdapterConfig::beside(source)?
        } else {
            None
        };
        Ok(Self { unet, text, peft })
    }

    fn scale(&self, module: &str, rank: Option<usize>) -> f32 {
        let config = match &self.peft {
            Some(peft) => Some(peft),
            None if module.starts_with("unet.") => self.unet.as_ref(),
            None if module.starts_with("text_encoder.") => self.text.as_ref(),
            None => None,
        };
        config.and_then(|config| config.scale(module, rank)).unwrap_or(1.0)
    }
}

/// Whether `file` is one, by its keys.
pub(crate) fn is_lora(file: &dyn TensorFile) -> bool {
    let plain = [Field::Alpha, Field::Scale, Field::Diff, Field::DiffBias];
    file.tensors().keys().any(|key| {
        ["lora_unet_", "lora_te"].iter().any(|start| key.starts_with(start))
            || keys::split(key).is_some_and(|(_, field)| !plain.contains(&field))
    })
}
