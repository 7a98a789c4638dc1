//! A network's tensors with LoRAs added to them.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::keys::Field;
use super::place::Part;
use super::{Lora, Module, change, made_for::made_for};
use crate::files::{FileError, TensorFile, TensorInfo};

/// How many names a message lists.
const NAMED: usize = 3;

/// A LoRA and how strongly it counts; 1 is as trained, 0 not at all, less than 0 the opposite.
#[derive(Clone)]
pub struct Adapter {
    /// The file.
    pub lora: Arc<Lora>,
    /// Its scale in the UNet.
    pub unet_scale: f32,
    /// Its scale in the text encoder.
    pub text_scale: f32,
}

/// What [`merge`] gives.
pub struct MergedFiles {
    /// The text encoder's tensors.
    pub text_encoder: Box<dyn TensorFile>,
    /// The UNet's tensors.
    pub unet: Box<dyn TensorFile>,
    /// What the user should know, a sentence each.
    pub warnings: Vec<String>,
}

/// See the tensors of both networks, under their diffusers names, with all `adapters` added, in their
/// order. Nothing is read yet but names and shapes.
///
/// # Errors
/// [`FileError::Damaged`] if a LoRA changes nothing of these networks, or a weight of another shape.
pub fn merge(
    text_encoder: Box<dyn TensorFile>,
    unet: Box<dyn TensorFile>,
    adapters: &[Adapter],
) -> Result<MergedFiles, FileError> {
    let mut text = Network::new(text_encoder, Part::Text);
    let mut noise = Network::new(unet, Part::UNet);
    let mut warnings = Vec::new();
    for Adapter { lora, unet_scale, text_scale } in adapters {
        let mut unmatched: Vec<&str> = lora.unknown.iter().map(String::as_str).collect();
        let mut matched = 0;
        for (spelled, module) in &lora.modules {
            let found = noise.attach(lora, spelled, module, *unet_scale)?
                || text.attach(lora, spelled, module, *text_scale)?;
            if found { matched += 1 } else { unmatched.push(spelled) }
        }
        if matched == 0 {
            let whose = match made_for(&lora.tensors) {
                Some("SD 1.x") | None => "nothing in it fits this model".to_owned(),
                Some(model) => format!("it is made for {model}, and this model is an SD 1.x"),
            };
            let reason = format!("{whose} ({})", list(&unmatched));
            return Err(FileError::Damaged { name: lora.name.clone(), reason });
        }
        if !unmatched.is_empty() {
            warnings.push(format!(
                "{}: {} of its {} parts are not in this model and do nothing ({})",
                lora.name,
                unmatched.len(),
                matched + unmatched.len(),
                list(&unmatched)
            ));
        }
    }
    Ok(MergedFiles { text_encoder: text.merged(), unet: noise.merged(), warnings })
}

/// The first few, and that there are more.
fn list(names: &[&str]) -> String {
    let rest = if names.len() > NAMED { ", …" } else { "" };
    format!("{}{rest}", names[..names.len().min(NAMED)].join(", "))
}

/// A network that LoRAs are attached to.
struct Network {
    inner: Box<dyn TensorFile>,
    part: Part,
    /// Modules by their names with underscores for dots.
    modules: BTreeMap<String, String>,
    layers: usize,
    patches: BTreeMap<String, Vec<Patch>>,
}

impl Network {
    fn new(inner: Box<dyn TensorFile>, part: Part) -> Self {
        let weights = inner.tensors().keys().filter_map(|key| key.strip_suffix(".weight"));
        let modules: BTreeMap<_, _> = weights.map(|m| (m.replace('.', "_"), m.to_owned())).collect();
        let resnet = |i: &usize| modules.contains_key(&format!("down_blocks_0_resnets_{i}_conv1"));
        let layers = (0..).take_while(resnet).count().max(1);
        Self { inner, part, modules, layers, patches: BTreeMap::new() }
    }

    /// Whether the module is in this network; then its change will be added.
    fn attach(
        &mut self,
        lora: &Arc<Lora>,
        spelled: &str,
        module: &Module,
        scale: f32,
    ) -> Result<bool, FileError> {
        if module.place.part.is_some_and(|part| part != self.part) {
            return Ok(false);
        }
        let names = module.place.names(self.layers);
        let Some(path) = names.iter().find_map(|name| self.modules.get(name)) else { return Ok(false) };
        let tensor = |end: &str| {
            let name = format!("{path}.{end}");
            let shape = self.inner.tensors().get(&name).map(|info| info.shape.clone());
            (name, shape)
        };
        let mut patches = Vec::new();
        if module.form != change::Form::Bias {
            let (name, shape) = tensor("weight");
            let shape = shape.unwrap_or_default();
            if !fits(lora, module, &shape) {
                return Err(misfit(lora, spelled, module, &name, &shape));
            }
            patches.push((name, None));
        }
        for field in [Field::DiffBias, Field::UpBias] {
            let Some(key) = module.keys.get(&field) else { continue };
            let (name, shape) = tensor("bias");
            let own = &lora.tensors[key].shape;
            if shape.as_ref() != Some(own) {
                let reason =
                    format!("{key} is {own:?}, and the model's {name} is {:?}", shape.unwrap_or_default());
                return Err(FileError::Damaged { name: lora.name.clone(), reason });
            }
            patches.push((name, Some(field)));
        }
        for (name, bias) in patches.into_iter().filter(|_| scale != 0.0) {
            let patch = Patch { lora: lora.clone(), module: spelled.to_owned(), scale, bias };
            self.patches.entry(name).or_default().push(patch);
        }
        Ok(true)
    }

    fn merged(self) -> Box<dyn TensorFile> {
        if self.patches.is_empty() {
            self.inner
        } else {
            Box::new(Merged { inner: self.inner, patches: self.patches })
        }
    }
}

/// Whether the change has the size of a weight of this shape.
fn fits(lora: &Lora, module: &Module, shape: &[usize]) -> bool {
    let Some(&outputs) = shape.first() else { return false };
    let rest: usize = shape.iter().skip(1).product();
    // A convolution's own inputs and kernel, where the file has them apart.
    let kernel = module.keys.get(&Field::Down).map(|key| &lora.tensors[key].shape);
    let same = kernel.is_none_or(|k| {
        k.len() != shape.len() || module.keys.contains_key(&Field::Mid) || k[1..] == shape[1..]
    });
    let inputs = shape.get(1).copied().unwrap_or(1);
    let magnitude = |field| {
        module.keys.get(&field).is_none_or(|key| {
            let count: usize = lora.tensors[key].shape.iter().product();
            count == outputs || (field == Field::Magnitude && count == inputs)
        })
    };
    (outputs, rest) == module.size && same && magnitude(Field::Magnitude) && magnitude(Field::OutputMagnitude)
}

fn misfit(lora: &Lora, spelled: &str, module: &Module, tensor: &str, shape: &[usize]) -> FileError {
    let whose = match made_for(&lora.tensors) {
        Some("SD 1.x") | None => String::new(),
        Some(model) => format!("; it is made for {model}"),
    };
    let (rows, columns) = module.size;
    let reason = format!(
        "{spelled} changes a weight of [{rows}, {columns}], and the model's {tensor} is {shape:?}{whose}"
    );
    FileError::Damaged { name: lora.name.clone(), reason }
}

/// One LoRA's change of one tensor.
struct Patch {
    lora: Arc<Lora>,
    /// The module's name in the file.
    module: String,
    scale: f32,
    /// The bias to add, if the tensor is one.
    bias: Option<Field>,
}

impl Patch {
    /// Add the change to a tensor of shape `dims`.
    fn apply(&self, values: Vec<f32>, dims: &[usize]) -> Result<Vec<f32>, FileError> {
        let module = &self.lora.modules[&self.module];
        let own = match self.bias {
            Some(Field::DiffBias) => 1.0,
            _ => module.scale,
        };
        let add = |values: Vec<f32>, change: &[f32], scale: f32| -> Vec<f32> {
            values.iter().zip(change).map(|(v, c)| v + scale * c).collect()
        };
        let change = match self.bias {
            Some(field) => self.lora.read(&module.keys[&field])?,
            None => self.lora.change(module)?,
        };
        let magnitude =
            [Field::Magnitude, Field::OutputMagnitude].iter().find_map(|field| module.keys.get(field));
        match magnitude.filter(|_| self.bias.is_none()) {
            None => Ok(add(values, &change, own * self.scale)),
            Some(key) => {
                // DoRA says what the whole weight should be; the scale is how far to go there.
                let magnitude = self.lora.read(key)?;
                let shape = &self.lora.tensors[key].shape;
                let by_output =
                    module.keys.contains_key(&Field::OutputMagnitude) || shape.first() == dims.first();
                let whole = add(values.clone(), &change, own);
                let goal = change::with_magnitude(&whole, dims, &magnitude, by_output);
                let scale = self.scale;
                Ok(values.iter().zip(&goal).map(|(v, g)| v + scale * (g - v)).collect())
            }
        }
    }
}

/// The view: `inner`'s tensors, with the patches added as each is read.
struct Merged {
    inner: Box<dyn TensorFile>,
    patches: BTreeMap<String, Vec<Patch>>,
}

impl TensorFile for Merged {
    fn tensors(&self) -> &BTreeMap<String, TensorInfo> {
        self.inner.tensors()
    }

    fn read(&self, name: &str) -> Result<Vec<f32>, FileError> {
        let mut values = self.inner.read(name)?;
        for patch in self.patches.get(name).into_iter().flatten() {
            values = patch.apply(values, &self.inner.tensors()[name].shape)?;
        }
        Ok(values)
    }

    fn metadata(&self, key: &str) -> Option<&str> {
        self.inner.metadata(key)
    }
}
