//! The command `upscale`.

use std::sync::Arc;

use clarifier_model::files::Source;
use clarifier_raster::{Depth, Raster};
use clarifier_upscale::{Job, Plan, TilePrompts, output_part};
use js_sys::Function;
use serde_json::json;

use crate::browser::{Blob, UsersFile};
use crate::engine::{ENGINE, cancellable, teller};
use crate::folder::store_for;
use crate::plan::{Wanted, working_bytes};
use crate::{Answer, failed};

/// A seed short enough to be typed again.
fn drawn() -> u64 {
    (js_sys::Math::random() * 4_294_967_296.0) as u64
}

pub async fn upscale(wanted: &str, noise: Option<Blob>, tell: &Function) -> Answer<String> {
    let (wanted, settings) = Wanted::parse(wanted)?;
    let part = output_part(wanted.size(), &settings, wanted.region()).map_err(failed)?;
    let seed = u64::try_from(wanted.seed.unwrap_or(settings.seed)).unwrap_or_else(|_| drawn());
    let tile_prompts = wanted.tile_prompts.as_deref().map(TilePrompts::parse).transpose().map_err(failed)?;
    let (loaded, input) = ENGINE.with_borrow_mut(|engine| {
        // Its room may be needed.
        engine.result = None;
        let whole = engine
            .input
            .as_ref()
            .is_some_and(|input| input.is_whole() && input.raster.size() == wanted.size());
        match (&engine.loaded, whole) {
            (None, _) => Err(failed("no models are loaded")),
            (_, false) => Err(failed("the picture has not come in whole; open it again")),
            (Some(_), true) => Ok((engine.loaded.take(), engine.input.take())),
        }
    })?;
    let (Some(mut loaded), Some(input)) = (loaded, input) else { unreachable!("both are there") };
    let models = &mut loaded.models;
    let plan =
        Plan::new(&models.backend, &models.enlarger, models.diffusion.is_some(), wanted.size(), &settings);
    let channels = input.raster.channels();
    let job = Job {
        noise: noise.map(|file| {
            let (file, name) = UsersFile::new(file);
            Source::opened(name, Arc::new(file))
        }),
        scratch: store_for(working_bytes(&plan, part.size)),
        region: wanted.region(),
        tile_prompts: tile_prompts.unwrap_or_default(),
        previews: true,
        step_previews: true,
        ..Job::new(seed)
    };
    let observe = &mut teller(tell);
    let running = async {
        let mut result = Raster::new(&job.scratch, part.size, channels, Depth::Eight)?;
        let report =
            clarifier_upscale::upscale(models, &input.raster, &mut result, &settings, &job, observe).await?;
        Ok((report, result))
    };
    let done = cancellable(running).await;
    // Also after a failure: what is loaded stays, and what is to be enlarged.
    ENGINE.with_borrow_mut(|engine| {
        engine.loaded = Some(loaded);
        engine.input.get_or_insert(input);
    });
    let (report, result) = done.map_err(failed)?;
    let answer = json!({ "width": part.size.width, "height": part.size.height, "seed": report.seed });
    ENGINE.with_borrow_mut(|engine| engine.result = Some(result));
    Ok(answer.to_string())
}
