//! The commands `upscale` and `resume`.

use std::sync::Arc;

use clarifier_model::files::Source;
use clarifier_raster::{Depth, Raster};
use clarifier_upscale::{Error, Job, Plan, RecipeModels, TilePrompts, output_part};
use js_sys::Function;
use serde_json::json;

use crate::browser::{Blob, UsersFile};
use crate::engine::{ENGINE, cancellable, teller};
use crate::folder::store_for;
use crate::kept;
use crate::picture::Input;
use crate::plan::{Wanted, working_bytes};
use crate::{Answer, failed};

/// A seed short enough to be typed again.
fn drawn() -> u64 {
    (js_sys::Math::random() * 4_294_967_296.0) as u64
}

/// `about` is kept with the run; none if it is not to be kept.
pub async fn upscale(
    wanted: &str,
    about: Option<&str>,
    noise: Option<Blob>,
    tell: &Function,
) -> Answer<String> {
    let (parsed, settings) = Wanted::parse(wanted)?;
    let seed = u64::try_from(parsed.seed.unwrap_or(settings.seed)).unwrap_or_else(|_| drawn());
    let input = ENGINE.with_borrow_mut(|engine| match engine.input.take() {
        Some(input) if input.is_whole() && input.raster.size() == parsed.size() => Ok(input),
        other => {
            engine.input = other;
            Err(failed("the picture has not come in whole; open it again"))
        }
    })?;
    let kept = match about {
        Some(about) => kept::keep(wanted, seed, about, &input.raster),
        None => Ok(()),
    };
    match kept {
        Ok(()) => run(wanted, seed, input, about.is_some(), noise, tell).await,
        Err(error) => {
            ENGINE.with_borrow_mut(|engine| engine.input = Some(input));
            Err(error)
        }
    }
}

/// Go on with the run that is kept.
pub async fn resume(noise: Option<Blob>, tell: &Function) -> Answer<String> {
    let (wanted, input) = kept::again()?;
    let (parsed, _) = Wanted::parse(&wanted)?;
    let seed = u64::try_from(parsed.seed.unwrap_or_default()).map_err(failed)?;
    run(&wanted, seed, input, true, noise, tell).await
}

async fn run(
    wanted: &str,
    seed: u64,
    input: Input,
    is_kept: bool,
    noise: Option<Blob>,
    tell: &Function,
) -> Answer<String> {
    let (wanted, settings) = Wanted::parse(wanted)?;
    let part = output_part(wanted.size(), &settings, wanted.region()).map_err(failed)?;
    let tile_prompts = wanted.tile_prompts.as_deref().map(TilePrompts::parse).transpose().map_err(failed)?;
    let loaded = ENGINE.with_borrow_mut(|engine| {
        // Its room may be needed.
        engine.result = None;
        engine.loaded.take()
    });
    let Some(mut loaded) = loaded else {
        ENGINE.with_borrow_mut(|engine| engine.input = Some(input));
        return Err(failed("no models are loaded"));
    };
    let used = RecipeModels::of(&loaded.upscaler, loaded.paths.as_ref());
    let models = &mut loaded.models;
    let settings = models.resolve(&settings);
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
        looks: true,
        journal: if is_kept { kept::journal(used) } else { None },
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
    if matches!(done, Ok(_) | Err(Error::Cancelled)) {
        kept::forget()?;
    }
    let (report, result) = done.map_err(failed)?;
    let answer = json!({ "width": part.size.width, "height": part.size.height, "seed": report.seed });
    ENGINE.with_borrow_mut(|engine| engine.result = Some(result));
    Ok(answer.to_string())
}
