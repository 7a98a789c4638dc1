//! From picture to picture: the stages, one after the other.

use std::path::PathBuf;

use clarifier_model::tokenizer::{Prompt, pad_to_same_length};
use clarifier_raster::{Filter, Planes, Raster, StoreKind, resize};
use clarifier_tile::{Rect, Size};
use serde::Serialize;

use crate::autoencode::{decode, encode, latent_size};
use crate::enlarge::{Enlarger, enlarge, to_rgb};
use crate::preview::previews;
use crate::{
    Conditioning, Diffusion, Error, Event, HintSource, Models, Observer, Settings, Solver, Stage, diffuse,
    embed, noise, noise_from_file, stages,
};

/// What belongs to one run, beside its settings.
#[derive(Debug, Clone)]
pub struct Job {
    /// The seed, drawn if the settings say −1.
    pub seed: u64,
    /// A file with the first stage's noise, for comparing with other programs.
    pub noise: Option<PathBuf>,
    /// Where working copies are kept.
    pub scratch: StoreKind,
    /// Whether to tell of the tiles of each stage's result ([`Event::Preview`]).
    pub previews: bool,
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

/// The size of the result: each side times the factor, rounded.
pub fn output_size(input: Size, factor: f64) -> Size {
    stages(input, factor, 0.0, 0).last().map_or(input, |stage| stage.to)
}

/// Enlarge `input` into `output`, whose size must be [`output_size`] and whose channels must be the
/// input's.
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
    assert_eq!(output.size(), output_size(input.size(), settings.upscale_factor), "the result's size");
    assert_eq!(output.channels(), input.channels(), "the input's channels");
    let plan = match &models.diffusion {
        Some(_) => stages(input.size(), settings.upscale_factor, settings.denoise_strength, job.seed),
        None => enlarger_steps(input.size(), settings.upscale_factor, &models.enlarger),
    };
    let conditioning = match &models.diffusion {
        Some(diffusion) => Some(condition(diffusion, settings).await?),
        None => None,
    };
    let mut picture = to_rgb(input, &job.scratch)?;
    for (index, stage) in plan.iter().enumerate() {
        let Size { width, height } = stage.to;
        let event = Event::Stage { stage: index + 1, stages: plan.len(), width, height, seed: stage.seed };
        if observe(event).is_break() {
            return Err(Error::Cancelled);
        }
        let mut guess =
            enlarge(&models.backend, &models.enlarger, &picture, stage.to, &job.scratch, observe).await?;
        if let (Some(diffusion), Some(conditioning)) = (&mut models.diffusion, &conditioning) {
            let noise = if index == 0 { job.noise.clone() } else { None };
            let redraw = Redraw { backend: &models.backend, settings, job, stage, noise };
            redraw.run(diffusion, &picture, &mut guess, conditioning, observe).await?;
        }
        if job.previews {
            previews(&guess, settings, observe)?;
        }
        picture = guess;
    }
    finish(input, &picture, output, &job.scratch)?;
    Ok(Report { seed: job.seed, stages: plan.len(), diffusion: models.diffusion.is_some() })
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

/// Both prompts, embedded.
async fn condition(diffusion: &Diffusion, settings: &Settings) -> Result<Conditioning, Error> {
    let chunks = |text: &str| diffusion.tokenizer.chunks(&Prompt::parse(text));
    let (mut negative, mut positive) = (chunks(&settings.negative_prompt), chunks(&settings.full_prompt()));
    pad_to_same_length(&mut negative, &mut positive);
    let encoder = &diffusion.text_encoder;
    Ok(Conditioning::new(embed(encoder, &negative).await?, embed(encoder, &positive).await?))
}

/// The diffusion half of a stage.
struct Redraw<'a> {
    backend: &'a crate::device::Backend,
    settings: &'a Settings,
    job: &'a Job,
    stage: &'a Stage,
    noise: Option<PathBuf>,
}

impl Redraw<'_> {
    /// Replace `guess` by its redrawn self. `before` is the stage's input.
    async fn run(
        &self,
        diffusion: &mut Diffusion,
        before: &Raster,
        guess: &mut Raster,
        conditioning: &Conditioning,
        observe: Observer<'_>,
    ) -> Result<(), Error> {
        let Self { backend, settings, job, stage, noise: noise_file } = self;
        let (tile, statistics) = (settings.vae_tile, settings.vae_statistics);
        let solver = Solver::new(settings.solver, settings.num_inference_steps as usize, stage.strength);
        let area = latent_size(guess.size(), diffusion.vae.factor() as u32);
        let channels = diffusion.vae.config.latent_channels;
        let noise = match noise_file {
            Some(path) => noise_from_file(path, [channels, area.height as usize, area.width as usize])?,
            None => noise(stage.seed, Rect::new(0, 0, area), channels),
        };
        let mut canvas = encode(backend, diffusion, guess, tile, statistics, observe).await?;
        if !solver.timesteps().is_empty() {
            solver.add_noise(&mut canvas.data, &noise);
            let smooth = match settings.hint {
                HintSource::Guess => None,
                HintSource::Input => {
                    let mut hint = Raster::new(&job.scratch, guess.size(), guess.channels(), guess.depth())?;
                    resize(before, &mut hint, Filter::Bicubic)?;
                    Some(hint)
                }
            };
            let hint = smooth.as_ref().unwrap_or(guess);
            diffuse(backend, diffusion, &mut canvas, hint, conditioning, solver, settings, observe).await?;
        }
        decode(backend, diffusion, &canvas, guess, tile, statistics, observe).await
    }
}

/// ITU-R BT.601 luma, which is what a grey picture's single channel is.
const LUMA: [f32; 3] = [0.299, 0.587, 0.114];

/// The result in the input's channels: grey from RGB, opacity resampled from the input.
fn finish(input: &Raster, picture: &Raster, output: &mut Raster, scratch: &StoreKind) -> Result<(), Error> {
    let channels = input.channels();
    let alpha = if channels.has_alpha() {
        let mut alpha = Raster::new(scratch, output.size(), channels, output.depth())?;
        resize(input, &mut alpha, Filter::Lanczos3)?;
        Some(alpha)
    } else {
        None
    };
    let size = output.size();
    for y in (0..size.height).step_by(64) {
        let rect = Rect::new(0, y, Size::new(size.width, 64.min(size.height - y)));
        let rgb = picture.read(rect)?;
        let mut data = if channels.is_grey() {
            let (r, g, b) = (rgb.plane(0), rgb.plane(1), rgb.plane(2));
            (0..r.len()).map(|i| LUMA[0] * r[i] + LUMA[1] * g[i] + LUMA[2] * b[i]).collect()
        } else {
            rgb.data
        };
        if let Some(alpha) = &alpha {
            data.extend_from_slice(alpha.read(rect)?.plane(channels.count() - 1));
        }
        output.write(0, y, &Planes::new(rect.size, channels.count(), data))?;
    }
    output.metadata = input.metadata.clone();
    Ok(())
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
}
