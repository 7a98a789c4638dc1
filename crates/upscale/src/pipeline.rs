//! From picture to picture: the stages, one after the other.

use std::rc::Rc;

use clarifier_model::files::Source;
use clarifier_model::tokenizer::{Prompt, pad_to_same_length};
use clarifier_raster::{Channels, Depth, Filter, Raster, StoreKind, Wrap, resize_wrapped};
use clarifier_tile::{Rect, Size};
use serde::Serialize;

use crate::adapters::check_tags;
use crate::autoencode::latent_size;
use crate::enlarge::{Enlarger, to_rgb};
use crate::enlarging::Enlarging;
use crate::event::say;
use crate::finish::Finish;
use crate::journal::{At, Journal, Ledger, identity};
use crate::mask::Mask;
use crate::preview::previews;
use crate::stage::StageRun;
use crate::{
    Conditioning, Diffusion, Error, Event, Models, Observer, Settings, Stage, Team, TilePrompts, embed,
    noise_from_file, stages,
};

/// What belongs to one run, beside its settings.
#[derive(Clone)]
pub struct Job {
    /// The seed, drawn if the settings say −1.
    pub seed: u64,
    /// A file with the first stage's noise, for comparing with other programs.
    pub noise: Option<Source>,
    /// Where working copies are kept.
    pub scratch: StoreKind,
    /// What may change: its brightness counts, its size is brought to the result's.
    pub mask: Option<Rc<Raster>>,
    /// The part of the input, in its pixels, that is wanted; all that it depends on is computed.
    pub region: Option<Rect>,
    /// Prompts for parts of the picture.
    pub tile_prompts: TilePrompts,
    /// Whether to tell of the tiles of each stage's result ([`Event::Preview`]).
    pub previews: bool,
    /// Where it is kept what an interrupted run needs to go on, if anywhere: a run that finds a record of itself there
    /// goes on from it, to the same bytes.
    pub journal: Option<Journal>,
    /// Whether to show how it looks on the way: [`Event::Part`], and the preview of [`Event::Step`], but for that in a team.
    pub looks: bool,
    /// The processes that do the run together, each with the same input and settings. Rank 0 alone has the journal and gets
    /// the result.
    pub team: Team,
}

impl Job {
    /// A run of the whole picture in memory.
    pub fn new(seed: u64) -> Self {
        Self {
            seed,
            noise: None,
            scratch: StoreKind::Memory,
            mask: None,
            region: None,
            tile_prompts: TilePrompts::default(),
            previews: false,
            journal: None,
            looks: false,
            team: Team::alone(),
        }
    }
}

/// What a run did.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// The seed that gives this result again.
    pub seed: u64,
    /// Stages done.
    pub stages: usize,
    /// Whether the picture was redrawn, or only enlarged.
    pub diffusion: bool,
}

/// The size that the factor counts from: the input's, or what it is made smaller to first.
pub fn source_size(input: Size, settings: &Settings) -> Size {
    let longer = input.width.max(input.height);
    if settings.downscale_to == 0 || longer <= settings.downscale_to {
        return input;
    }
    let ratio = f64::from(settings.downscale_to) / f64::from(longer);
    let side = |length: u32| (f64::from(length) * ratio).round().max(1.0) as u32;
    Size::new(side(input.width), side(input.height))
}

/// The size of the result: each side times the factor, rounded.
pub fn output_size(input: Size, settings: &Settings) -> Size {
    let source = source_size(input, settings);
    stages(source, settings.upscale_factor, 0.0, 0).last().map_or(source, |stage| stage.to)
}

/// The part of the result that `region`, in pixels of the input, becomes; all of it without one.
///
/// # Errors
/// [`Error::Region`] if it is empty or not inside the input.
pub fn output_part(input: Size, settings: &Settings, region: Option<Rect>) -> Result<Rect, Error> {
    let output = output_size(input, settings);
    let Some(region) = region else { return Ok(Rect::new(0, 0, output)) };
    let ends = (region.x.checked_add(region.size.width), region.y.checked_add(region.size.height));
    let inside =
        matches!(ends, (Some(right), Some(bottom)) if right <= input.width && bottom <= input.height);
    if !inside || region.size.area() == 0 {
        return Err(Error::Region { region, input });
    }
    let axis = |start: u32, end: u32, from: u32, to: u32| {
        let ratio = f64::from(to) / f64::from(from);
        let start = ((f64::from(start) * ratio) as u32).min(to - 1);
        (start, ((f64::from(end) * ratio).ceil() as u32).clamp(start + 1, to))
    };
    let (left, right) = axis(region.x, region.right(), input.width, output.width);
    let (top, bottom) = axis(region.y, region.bottom(), input.height, output.height);
    Ok(Rect::new(left, top, Size::new(right - left, bottom - top)))
}

/// Enlarge `input` into `output`, whose size must be that of [`output_part`] and whose channels must be
/// the input's. Of a team only rank 0's is filled and looked at.
///
/// # Errors
/// [`Error`]; then `output` holds no result.
///
/// # Panics
/// If `output` has another size or other channels.
pub async fn upscale(
    models: &mut Models,
    input: &Raster,
    output: &mut Raster,
    settings: &Settings,
    job: &Job,
    observe: Observer<'_>,
) -> Result<Report, Error> {
    settings.validate()?;
    let settings = &models.resolve(settings);
    let part = output_part(input.size(), settings, job.region)?;
    let team = &job.team;
    if team.leads() {
        assert_eq!(output.size(), part.size, "the result's size");
        assert_eq!(output.channels(), input.channels(), "the input's channels");
    }
    let wrap = Wrap::from(settings.seamless);
    let source = source(input, settings, wrap, &job.scratch)?;
    let size = output_size(input.size(), settings);
    let mask = match (&job.mask, &models.diffusion) {
        (Some(mask), Some(_)) => Some(Mask::new(mask, size, settings, &job.scratch)?),
        _ => None,
    };
    // What the mask keeps need not be redrawn.
    let redrawn = match (&mask, &models.diffusion) {
        (_, None) => None,
        (None, _) => Some(part),
        (Some(mask), _) => mask.bounds()?.and_then(|bounds| bounds.common(part)),
    };
    // Sharpening looks at neighbours.
    let seen = if settings.sharpen > 0.0 { crate::finish::RADIUS } else { 0 };
    let redrawn = redrawn.map(|part| part.grown(seen, size));
    let is_part = redrawn.is_some_and(|part| part != Rect::new(0, 0, size));
    if settings.reuse_features > 1 && is_part && !team.is_alone() {
        // Which process has a tile then changes from step to step.
        return Err(Error::FeaturesInTeam);
    }
    let plain_plan = enlarger_steps(source.size(), settings.upscale_factor, &models.enlarger);
    let plan = match redrawn {
        Some(_) => stages(source.size(), settings.upscale_factor, settings.denoise_strength, job.seed),
        None => plain_plan.clone(),
    };
    let conditioning = match (&models.diffusion, redrawn) {
        (Some(diffusion), Some(_)) => {
            Some(condition(diffusion, settings, &job.tile_prompts, input.size()).await?)
        }
        _ => None,
    };
    let family = models.diffusion.as_ref().map(|diffusion| diffusion.family.clone()).unwrap_or_default();
    let factor = family.factor;
    let mut run = StageRun::new(settings, job, &plan, family, redrawn.unwrap_or(part), conditioning);
    run.prepare(models);
    let own = ledger(models, input, settings, job, redrawn.and(plan.first()));
    let mut ledger = Ledger::of_team(own, team)?;
    run.resume(&models.backend, &ledger)?;
    if let (Some("f32"), Some(diffusion)) = (ledger.precision()?.as_deref(), &mut models.diffusion)
        && diffusion.precision() != "f32"
    {
        diffusion.reload(&models.backend, observe).await?;
    }
    if let Some(diffusion) = &mut models.diffusion {
        // A load that was cancelled after an overflow.
        let complete = diffusion.complete(&models.backend, observe).await;
        team.agree(complete)?;
    }
    let told = ledger.at().map_or(Ok(()), |At { stage, stages, phase, done, total }| {
        say(observe, Event::Resumed { stage: stage + 1, stages, phase, done, total })
    });
    team.agree(told)?;
    let sizes: Vec<Size> = plan.iter().map(|stage| stage.to).collect();
    let (first, mut picture) = match ledger.result(&sizes)? {
        Some((last, picture)) => (last + 1, Some(picture)),
        None => (0, None),
    };
    if first == plan.len()
        && let Some(picture) = &picture
        && job.region.is_none()
    {
        team.agree(shown(picture, settings, factor, job, observe))?;
    }
    for (index, stage) in plan.iter().enumerate().skip(first) {
        team.agree(announce(observe, (index, plan.len()), stage))?;
        let before = picture.as_ref().unwrap_or(&source);
        let after = run.stage(models, before, index, stage, &mut ledger, observe).await?;
        // Of a part, most tiles were never computed.
        if job.region.is_none() {
            team.agree(shown(&after, settings, factor, job, observe))?;
        }
        picture = Some(after);
    }
    let picture = picture.unwrap_or_else(|| unreachable!("there is at least one stage"));
    // A mask that keeps all keeps it unsharpened too.
    let sharpen = if mask.is_some() && redrawn.is_none() { 0.0 } else { settings.sharpen as f32 };
    let kept = match mask {
        Some(mask) if redrawn.is_some() => {
            // What the enlarger alone makes of the input.
            let enlarging = Enlarging::new(models, settings, &job.scratch, team);
            let mut plain: Option<Raster> = None;
            ledger.set_stage(None);
            for (index, stage) in plain_plan.iter().enumerate() {
                let whole = Rect::new(0, 0, stage.to);
                let before = plain.as_ref().unwrap_or(&source);
                let name = format!("plain.{index}");
                let kept = (&mut ledger, &*name);
                plain = Some(enlarging.run_kept(before, stage.to, whole, kept, observe).await?);
            }
            plain.map(|plain| (plain, mask))
        }
        _ => None,
    };
    let kept = kept.as_ref().map(|(plain, mask)| (plain, mask));
    let finish = Finish { input, picture: &picture, kept, part, sharpen, wrap };
    team.agree(if team.leads() { finish.write(output, &job.scratch) } else { Ok(()) })?;
    Ok(Report { seed: job.seed, stages: plan.len(), diffusion: redrawn.is_some() })
}

/// What is kept of this run. `first` is the first stage, if it is redrawn.
fn ledger(
    models: &Models,
    input: &Raster,
    settings: &Settings,
    job: &Job,
    first: Option<&Stage>,
) -> Result<Ledger, Error> {
    let Some(journal) = &job.journal else { return Ok(Ledger::none(&job.scratch)) };
    let noise = match (&job.noise, &models.diffusion, first) {
        (Some(file), Some(diffusion), Some(stage)) => {
            let family = &diffusion.family;
            let Size { width, height } = latent_size(stage.to, family.factor);
            let channels = family.latent_channels;
            Some(noise_from_file(file, [channels, height as usize, width as usize])?)
        }
        _ => None,
    };
    let identity = identity(journal, models, input, settings, job, noise.as_deref())?;
    Ok(Ledger::open(journal, &job.scratch, identity)?)
}

/// Show the tiles of a stage's result to those who asked for them.
fn shown(
    picture: &Raster,
    settings: &Settings,
    factor: u32,
    job: &Job,
    observe: Observer<'_>,
) -> Result<(), Error> {
    if job.previews { previews(picture, settings, factor, observe) } else { Ok(()) }
}

fn announce(observe: Observer<'_>, (index, stages): (usize, usize), stage: &Stage) -> Result<(), Error> {
    let Size { width, height } = stage.to;
    let event = Event::Stage { stage: index + 1, stages, width, height, seed: stage.seed };
    say(observe, event)
}

/// The input in RGB, made smaller if the settings say so.
fn source(input: &Raster, settings: &Settings, wrap: Wrap, scratch: &StoreKind) -> Result<Raster, Error> {
    let rgb = to_rgb(input, scratch)?;
    let size = source_size(input.size(), settings);
    if size == input.size() {
        return Ok(rgb);
    }
    let mut small = Raster::new(scratch, size, Channels::Rgb, Depth::Sixteen)?;
    resize_wrapped(&rgb, &mut small, Filter::Lanczos3, wrap)?;
    Ok(small)
}

/// The passes of the enlarger alone: as few as it can do the factor in.
pub(crate) fn enlarger_steps(input: Size, factor: f64, enlarger: &Enlarger) -> Vec<Stage> {
    let largest = enlarger.largest_step();
    let passes = (factor.ln() / largest.ln()).ceil().max(1.0) as i32;
    (1..=passes)
        .scan(input, |from, pass| {
            // All but the last at full stretch.
            let done = if pass == passes { factor } else { largest.powi(pass) };
            let side = |length: u32| (f64::from(length) * done).round().max(1.0) as u32;
            let stage = Stage {
                from: *from,
                to: Size::new(side(input.width), side(input.height)),
                strength: 0.0,
                seed: 0,
            };
            *from = stage.to;
            Some(stage)
        })
        .collect()
}

/// The prompts, embedded: the general ones, and for each place its own before the general one.
async fn condition(
    diffusion: &Diffusion,
    settings: &Settings,
    places: &TilePrompts,
    input: Size,
) -> Result<Conditioning, Error> {
    let encoder = &diffusion.text_encoder;
    check_tags(settings, places, &diffusion.paths)?;
    let chunks = |text: &str| diffusion.tokenizer.chunks(&Prompt::parse(text), &diffusion.embeddings);
    let pair = async |prompt: &str| -> Result<_, Error> {
        let (mut negative, mut positive) = (chunks(&settings.negative_prompt), chunks(prompt));
        pad_to_same_length(&mut negative, &mut positive);
        Ok((embed(encoder, &negative).await?, embed(encoder, &positive).await?))
    };
    let (negative, positive) = pair(&settings.full_prompt()).await?;
    let mut texts = Vec::new();
    for prompt in places.prompts() {
        let (negative, positive) = pair(&settings.prompt_of_place(prompt)).await?;
        texts.push(burn::tensor::Tensor::cat(vec![negative, positive], 0));
    }
    Ok(Conditioning::new(negative, positive).with_places(places, texts, input))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_enlarger_alone_takes_the_fewest_passes() {
        let widths = |factor: f64, enlarger: &Enlarger| -> Vec<u32> {
            enlarger_steps(Size::new(100, 10), factor, enlarger).iter().map(|s| s.to.width).collect()
        };
        assert_eq!(widths(16.0, &Enlarger::Lanczos), [1600]);
        assert_eq!(widths(1.0, &Enlarger::Lanczos), [100]);
        let lite = Enlarger::lite(&clarifier_model::loader::Placement::f32(&burn::tensor::Device::flex()));
        assert_eq!(widths(2.0, &lite), [200]);
        assert_eq!(widths(lite.largest_step(), &lite).len(), 1);
        assert_eq!(widths(16.0, &lite).last(), Some(&1600));
    }

    #[test]
    fn the_factor_counts_from_the_smaller_picture() {
        let settings = Settings { downscale_to: 100, upscale_factor: 3.0, ..Settings::default() };
        assert_eq!(output_size(Size::new(400, 200), &settings), Size::new(300, 150));
        assert_eq!(output_size(Size::new(90, 50), &settings), Size::new(270, 150));
    }

    #[test]
    fn a_region_is_a_part_of_the_input() {
        let input = Size::new(100, 60);
        let part =
            |x, y, w, h| output_part(input, &Settings::default(), Some(Rect::new(x, y, Size::new(w, h))));
        assert_eq!(part(10, 20, 30, 40).unwrap(), Rect::new(20, 40, Size::new(60, 80)));
        assert_eq!(output_part(input, &Settings::default(), None).unwrap().size, Size::new(200, 120));
        for (x, y, w, h) in [(90, 0, 11, 5), (0, 0, 0, 5), (u32::MAX, 0, 2, 2), (0, 60, 1, 1)] {
            assert!(part(x, y, w, h).unwrap_err().to_string().contains("`region`"));
        }
    }
}
