//! The command `plan`: what a run would do and need, also before anything is loaded.

use clarifier_model::family::ModelFamily;
use clarifier_model::loader::Placement;
use clarifier_tile::{Rect, Size};
use clarifier_upscale::device::{Backend, DeviceChoice};
use clarifier_upscale::{Enlarger, Machine, Plan, Settings, UpscalerChoice, output_part, shrink};
use serde::Deserialize;
use serde_json::json;

use crate::engine::{ENGINE, Loaded};
use crate::folder::is_large;
use crate::{Answer, failed};

/// What the page wants done.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Wanted {
    width: u32,
    height: u32,
    #[serde(default)]
    settings: serde_json::Value,
    /// As the settings', if absent; drawn if less than 0.
    pub seed: Option<i64>,
    region: Option<[u32; 4]>,
    pub tile_prompts: Option<String>,
    /// What is going to be loaded, for a plan before it is.
    models: Option<Intended>,
    /// The worker's description of the GPU, likewise.
    adapter: Option<Adapter>,
}

/// What a plan asks of models that need not be there.
#[derive(Deserialize, PartialEq)]
struct Intended {
    /// A name, or anything else for a file.
    upscaler: String,
    diffusion: bool,
    /// Whether that is by the starter set.
    #[serde(default)]
    starter: bool,
    device: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Adapter {
    ok: bool,
    name: String,
    software: bool,
    f16: bool,
    max_buffer: f64,
    max_binding: f64,
}

impl Wanted {
    pub fn parse(json: &str) -> Answer<(Self, Settings)> {
        let wanted: Self = serde_json::from_str(json).map_err(failed)?;
        if wanted.width == 0 || wanted.height == 0 {
            return Err(failed("the picture has no pixels"));
        }
        let mut settings = Settings::default();
        if !wanted.settings.is_null() {
            settings.merge(&wanted.settings.to_string()).map_err(failed)?;
        }
        settings.validate().map_err(failed)?;
        Ok((wanted, settings))
    }

    pub fn size(&self) -> Size {
        Size::new(self.width, self.height)
    }

    pub fn region(&self) -> Option<Rect> {
        self.region.map(|[x, y, width, height]| Rect::new(x, y, Size::new(width, height)))
    }
}

impl Wanted {
    /// The device that is going to be started.
    fn machine(&self) -> Machine {
        let on_gpu = self.models.as_ref().is_some_and(|models| models.device == "gpu");
        match &self.adapter {
            Some(adapter) if on_gpu && adapter.ok => Machine::described(
                &adapter.name,
                // As `device::choose` does it.
                adapter.f16 && !adapter.software,
                Some(adapter.max_buffer.min(adapter.max_binding) as u64),
            ),
            _ => Machine::described("the processor", false, None),
        }
    }
}

/// The plan of other settings, for the same picture and device.
type Planning<'a> = dyn Fn(&Settings) -> Plan + 'a;

pub fn plan(wanted: &str) -> Answer<String> {
    let (wanted, settings) = Wanted::parse(wanted)?;
    let part = output_part(wanted.size(), &settings, wanted.region()).map_err(failed)?;
    ENGINE.with_borrow(|engine| {
        let size = wanted.size();
        let (machine, planned): (Machine, Box<Planning>) = match (&engine.loaded, &wanted.models) {
            (Some(loaded), intended) if intended.as_ref().is_none_or(|intended| intended.is(loaded)) => {
                let Loaded { models, .. } = loaded;
                let diffusion = models.diffusion.is_some();
                let (machine, on) = (models.machine(), models.machine());
                let planned =
                    move |settings: &Settings| Plan::on(&on, &models.enlarger, diffusion, size, settings);
                (machine, Box::new(planned))
            }
            (_, intended) => {
                let machine = match intended {
                    Some(Intended { starter: true, .. }) => {
                        wanted.machine().with_family(ModelFamily::starter())
                    }
                    _ => wanted.machine(),
                };
                let diffusion = intended.as_ref().is_some_and(|models| models.diffusion);
                let intended =
                    intended.as_ref().and_then(|models| UpscalerChoice::built_in(&models.upscaler));
                let enlarger = match intended {
                    Some(UpscalerChoice::Lanczos) => Enlarger::Lanczos,
                    // What a network of the user's is like is not known yet.
                    _ => Enlarger::lite(&Placement::f32(&Backend::flex().device)),
                };
                let on = machine.clone();
                let planned = move |settings: &Settings| Plan::on(&on, &enlarger, diffusion, size, settings);
                (machine, Box::new(planned))
            }
        };
        let plan = planned(&settings);
        let mut json = serde_json::to_value(&plan).map_err(failed)?;
        for (stage, planned) in json["stages"].as_array_mut().into_iter().flatten().zip(&plan.stages) {
            stage["work"] = json!(planned.work);
        }
        let on_disk = is_large(working_bytes(&plan, part.size)) && engine.folder.is_some();
        json["text"] = summary(&plan, part.size, on_disk).into();
        json["fits"] = plan.fits(&machine).into();
        if !plan.fits(&machine) {
            let (text, smaller) = advice(&plan, &machine, &settings, &*planned);
            json["advice"] = text.into();
            json["smaller"] = smaller;
        }
        Ok(json.to_string())
    })
}

impl Intended {
    /// Whether that is what is loaded.
    fn is(&self, loaded: &Loaded) -> bool {
        let device = if self.device == "gpu" { DeviceChoice::Gpu } else { DeviceChoice::Cpu };
        let upscaler = match UpscalerChoice::built_in(&self.upscaler) {
            Some(choice) => loaded.upscaler == choice,
            None => matches!(loaded.upscaler, UpscalerChoice::File(_)),
        };
        let starter = loaded.paths.as_ref().is_some_and(|paths| paths.checkpoint == paths.controlnet);
        upscaler
            && loaded.device == device
            && loaded.models.diffusion.is_some() == self.diffusion
            && starter == self.starter
    }
}

/// Bytes of a run's working copies and of its result, which is of `size`.
pub fn working_bytes(plan: &Plan, size: Size) -> u64 {
    plan.scratch + 4 * size.area()
}

/// What to do about a GPU that cannot see the largest tensor, in a line, and the settings that do it; nothing if none do.
fn advice(
    plan: &Plan,
    machine: &Machine,
    settings: &Settings,
    planned: &dyn Fn(&Settings) -> Plan,
) -> (String, serde_json::Value) {
    let megabytes = |bytes: u64| bytes.div_ceil(1_000_000);
    let (needed, most) = (plan.largest_tensor.0, machine.max_tensor.unwrap_or_default());
    let why = format!(
        "{} sees {} MB at once, and this needs {} MB",
        machine.reason,
        most / 1_000_000,
        megabytes(needed)
    );
    let mut smaller = settings.clone();
    loop {
        let plan = planned(&smaller);
        if plan.fits(machine) {
            break;
        }
        let before = smaller.clone();
        shrink(&mut smaller, plan.largest_tensor.1);
        if smaller == before {
            return (format!("{why}, also with the smallest tiles: compute on the processor"), json!(null));
        }
    }
    let mut changed = serde_json::Map::new();
    let mut words = Vec::new();
    let sides = [
        ("tile_width", settings.tile_width, smaller.tile_width),
        ("tile_height", settings.tile_height, smaller.tile_height),
        ("tile_overlap", settings.tile_overlap, smaller.tile_overlap),
        ("vae_tile", settings.vae_tile, smaller.vae_tile),
    ];
    for (name, before, after) in sides {
        if before != after {
            changed.insert(name.into(), after.into());
            words.push(format!("`{name}` {after}"));
        }
    }
    (format!("{why}; it fits with {}", words.join(", ")), changed.into())
}

/// The plan in a line.
fn summary(plan: &Plan, result: Size, on_disk: bool) -> String {
    let count = |tiles: usize| if tiles == 1 { "1 tile".to_owned() } else { format!("{tiles} tiles") };
    let stages: Vec<String> = plan
        .stages
        .iter()
        .map(|stage| match stage.evaluations {
            0 => format!("{} enlarged", count(stage.enlarger_tiles)),
            times => format!("{} redrawn {times} times", count(stage.diffusion_tiles)),
        })
        .collect();
    let room_of = |bytes: u64| match bytes {
        0..100_000_000 => format!("{} MB", bytes.div_ceil(1_000_000)),
        _ => format!("{:.1} GB", bytes as f64 / 1e9),
    };
    let weights = match (plan.weights, &*plan.precision) {
        (0, _) => String::new(),
        (bytes, "f16") => format!(", {} of it weights, in f16", room_of(bytes)),
        (bytes, _) => format!(", {} of it weights, computed in f32", room_of(bytes)),
    };
    let room = match on_disk {
        false => format!("about {}{weights}", room_of(plan.peak_memory)),
        true => format!(
            "about {}{weights}, and {} of disk while it runs",
            room_of(plan.peak_memory - plan.scratch),
            room_of(working_bytes(plan, result))
        ),
    };
    format!("{} × {} pixels: {}; {room}", result.width, result.height, stages.join(", then "))
}
