//! The commands `plan` and `upscale`.

use std::sync::Arc;

use clarifier_model::files::Source;
use clarifier_raster::{Channels, Depth, Raster, StoreKind};
use clarifier_tile::{Rect, Size};
use clarifier_upscale::{Job, Plan, Settings, TilePrompts, output_part};
use js_sys::{Function, Uint8Array};
use serde::Deserialize;
use serde_json::json;

use crate::browser::{Blob, UsersFile};
use crate::engine::{ENGINE, Loaded, cancellable, teller};
use crate::{Answer, failed};

/// What the page wants done.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Wanted {
    width: u32,
    height: u32,
    #[serde(default)]
    settings: serde_json::Value,
    /// As the settings', if absent; drawn if less than 0.
    seed: Option<i64>,
    region: Option<[u32; 4]>,
    tile_prompts: Option<String>,
}

impl Wanted {
    fn parse(json: &str) -> Answer<(Self, Settings)> {
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

    fn size(&self) -> Size {
        Size::new(self.width, self.height)
    }

    fn region(&self) -> Option<Rect> {
        self.region.map(|[x, y, width, height]| Rect::new(x, y, Size::new(width, height)))
    }
}

/// A seed short enough to be typed again.
fn drawn() -> u64 {
    (js_sys::Math::random() * 4_294_967_296.0) as u64
}

pub fn plan(wanted: &str) -> Answer<String> {
    let (wanted, settings) = Wanted::parse(wanted)?;
    ENGINE.with_borrow(|engine| {
        let Some(Loaded { models, .. }) = &engine.loaded else { return Err(failed("no models are loaded")) };
        let diffusion = models.diffusion.is_some();
        let plan = Plan::new(&models.backend, &models.enlarger, diffusion, wanted.size(), &settings);
        let part = output_part(wanted.size(), &settings, wanted.region()).map_err(failed)?;
        let mut json = serde_json::to_value(&plan).map_err(failed)?;
        json["text"] = summary(&plan, part.size).into();
        for (stage, planned) in json["stages"].as_array_mut().into_iter().flatten().zip(&plan.stages) {
            stage["work"] = json!(planned.work);
        }
        Ok(json.to_string())
    })
}

/// The plan in a line.
fn summary(plan: &Plan, result: Size) -> String {
    let count = |tiles: usize| if tiles == 1 { "1 tile".to_owned() } else { format!("{tiles} tiles") };
    let stages: Vec<String> = plan
        .stages
        .iter()
        .map(|stage| match stage.evaluations {
            0 => format!("{} enlarged", count(stage.enlarger_tiles)),
            times => format!("{} redrawn {times} times", count(stage.diffusion_tiles)),
        })
        .collect();
    let memory = plan.peak_memory as f64 / 1e9;
    format!("{} × {} pixels: {}; about {memory:.1} GB", result.width, result.height, stages.join(", then "))
}

pub async fn upscale(
    wanted: &str,
    pixels: &Uint8Array,
    noise: Option<Blob>,
    tell: &Function,
) -> Answer<String> {
    let (wanted, settings) = Wanted::parse(wanted)?;
    let input = picture(wanted.size(), pixels)?;
    let part = output_part(input.size(), &settings, wanted.region()).map_err(failed)?;
    let mut result =
        Raster::new(&StoreKind::Memory, part.size, input.channels(), Depth::Eight).map_err(failed)?;
    let seed = u64::try_from(wanted.seed.unwrap_or(settings.seed)).unwrap_or_else(|_| drawn());
    let tile_prompts = wanted.tile_prompts.as_deref().map(TilePrompts::parse).transpose().map_err(failed)?;
    let job = Job {
        noise: noise.map(|file| {
            let (file, name) = UsersFile::new(file);
            Source::opened(name, Arc::new(file))
        }),
        region: wanted.region(),
        tile_prompts: tile_prompts.unwrap_or_default(),
        previews: true,
        ..Job::new(seed)
    };
    let loaded = ENGINE.with_borrow_mut(|engine| {
        engine.result = None;
        engine.loaded.take()
    });
    let Some(mut loaded) = loaded else { return Err(failed("no models are loaded")) };
    let models = &mut loaded.models;
    let observe = &mut teller(tell);
    let running = clarifier_upscale::upscale(models, &input, &mut result, &settings, &job, observe);
    let done = cancellable(running).await;
    // Also after a failure: what is loaded stays.
    ENGINE.with_borrow_mut(|engine| engine.loaded = Some(loaded));
    let report = done.map_err(failed)?;
    let answer = json!({ "width": part.size.width, "height": part.size.height, "seed": report.seed });
    ENGINE.with_borrow_mut(|engine| engine.result = Some(result));
    Ok(answer.to_string())
}

/// The picture of RGBA bytes; without opacity, if all of it is opaque.
fn picture(size: Size, pixels: &Uint8Array) -> Answer<Raster> {
    if u64::from(pixels.length()) != 4 * size.area() {
        return Err(failed(format!("{} bytes are no RGBA picture of {size} pixels", pixels.length())));
    }
    let mut bytes = pixels.to_vec();
    let opaque = bytes.as_chunks::<4>().0.iter().all(|pixel| pixel[3] == u8::MAX);
    let channels = if opaque { Channels::Rgb } else { Channels::Rgba };
    if opaque {
        // In place: there may be no room for a second copy.
        for pixel in 0..bytes.len() / 4 {
            bytes.copy_within(4 * pixel..4 * pixel + 3, 3 * pixel);
        }
        bytes.truncate(bytes.len() / 4 * 3);
    }
    Raster::from_bytes(&StoreKind::Memory, size, channels, Depth::Eight, bytes).map_err(failed)
}
