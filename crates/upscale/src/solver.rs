//! Samplers: host arithmetic on the whole canvas.
//!
//! Every sampler here is affine in (x, ε, its history, its noise): averaging the tiles' ε and stepping once is the
//! same as stepping each tile and averaging the results. So there is one solver and no state for
//! each tile. And each latent goes by itself, so a part of a canvas is redrawn as it is in the whole.

mod combination;
mod consistency;
mod ddim;
mod dpm;
mod euler;
mod lms;
mod sde;
mod timesteps;
mod unipc;

use clarifier_model::family::{ModelFamily, Prediction};
use clarifier_tile::Rect;
use combination::{Evaluation, MOST_KEPT, alpha};
use serde::{Deserialize, Serialize};

use crate::noise::{Draw, StepNoise};
use crate::schedule::Training;
use crate::settings::{Schedule, Settings, SolverKind, StrengthMode};

/// A sampler with its schedule, somewhere between its first and its last evaluation of the network. Most
/// samplers evaluate once a step; heun, dpm2, dpm2_a and dpm++sde twice, but for the last step.
///
/// The canvas is always scaled as the network wants it, `√ᾱ · picture + √(1 − ᾱ) · noise`, also between the two
/// evaluations of a step and for samplers that are written for `picture + σ · noise`.
#[derive(Debug, Clone)]
pub struct Solver {
    evaluations: Vec<Evaluation>,
    timesteps: Vec<f32>,
    steps: usize,
    /// What the network's output means.
    prediction: Prediction,
    noise: StepNoise,
    state: SolverState,
}

/// What changes while a solver runs: all that a later run needs, beside the settings, the strength and the canvas,
/// to go on from here.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct SolverState {
    /// Evaluations done.
    pub done: usize,
    /// Latents that the sampler keeps, each as long as the canvas; none before the first evaluation.
    pub kept: Vec<Vec<f64>>,
}

impl Solver {
    /// The sampler of `settings` for a model of `family`, with `strength` (0 ..= 1) in place of the settings' own.
    ///
    /// With [`StrengthMode::Steps`] the last of the schedule's N steps are executed, from step
    /// `⌊N · (1 − strength)⌋` on. With [`StrengthMode::Sigma`] it is as many steps, but of a schedule that begins at
    /// training timestep `t = 999 · strength`: for samplers that go by timesteps, and by default for dpmsolver and unipc,
    /// `t · (1 − i/n)` for i < n; else the schedule's formula with σ(t) for the largest σ. Timesteps between whole ones
    /// have the σ that lies between in log σ.
    pub fn new(settings: &Settings, family: &ModelFamily, strength: f64, noise: StepNoise) -> Self {
        let training = Training::new(family);
        let all = settings.num_inference_steps as usize;
        let first = ((all as f64 * (1.0 - strength)) as usize).min(all);
        let steps = all - first;
        let evaluations = match (steps, settings.strength_mode) {
            (0, _) => Vec::new(),
            (_, StrengthMode::Steps) => evaluations(settings, &training, all, first, None),
            (_, StrengthMode::Sigma) => {
                let start = timesteps::LAST * strength;
                evaluations(settings, &training, steps, 0, Some(start))
            }
        };
        let timesteps = evaluations.iter().map(|e| training.timestep(e.sigma) as f32).collect();
        let prediction = family.prediction;
        Self { evaluations, timesteps, steps, prediction, noise, state: SolverState::default() }
    }

    /// Evaluations of the network; none if the strength is 0.
    pub fn evaluations(&self) -> usize {
        self.evaluations.len()
    }

    /// Steps, of one or two evaluations each.
    pub fn steps(&self) -> usize {
        self.steps
    }

    /// The timestep of evaluation `index`, which may be fractional.
    ///
    /// # Panics
    /// If there is no such evaluation.
    pub fn timestep(&self, index: usize) -> f32 {
        self.timesteps[index]
    }

    /// The timesteps of all evaluations, the noisiest first.
    pub fn timesteps(&self) -> &[f32] {
        &self.timesteps
    }

    /// σ that the run begins at: [`Self::add_noise`] adds so much noise. None without evaluations.
    pub fn sigma(&self) -> Option<f64> {
        self.evaluations.first().map(|first| first.sigma)
    }

    /// σ of the canvas that evaluation `index` gets.
    ///
    /// # Panics
    /// If there is no such evaluation.
    pub fn sigma_at(&self, index: usize) -> f64 {
        self.evaluations[index].sigma
    }

    /// Bring the latent `x` to the noise of the first evaluation: `√ᾱ·x + √(1 − ᾱ)·noise`.
    ///
    /// # Panics
    /// If there is no evaluation, or the two differ in length.
    pub fn add_noise(&self, x: &mut [f32], noise: &[f32]) {
        assert_eq!(x.len(), noise.len());
        let sigma = self.evaluations[0].sigma;
        let (signal, noise_scale) = (alpha(sigma) as f32, (sigma * alpha(sigma)) as f32);
        for (x, n) in x.iter_mut().zip(noise) {
            *x = signal * *x + noise_scale * n;
        }
    }

    /// The noise in the values `x` of the canvas that evaluation `index` got, by what the network gave for them.
    ///
    /// # Panics
    /// If there is no such evaluation.
    pub fn predicted_noise(&self, index: usize, x: &[f32], output: &[f32]) -> Vec<f32> {
        let sigma = self.evaluations[index].sigma;
        let noise = |(x, output): (&f32, &f32)| {
            self.prediction.noise(sigma, f64::from(*x), f64::from(*output)) as f32
        };
        x.iter().zip(output).map(noise).collect()
    }

    /// What noise evaluation `index` draws.
    ///
    /// # Panics
    /// If there is no such evaluation.
    pub fn draw(&self, index: usize) -> Option<Draw> {
        self.evaluations[index].draw
    }

    /// After evaluation `index` of the network, from 0: `x` and what the network gave for it, `output`, both `[channels, height, width]`
    /// of the canvas, to the `x` of the next evaluation, or to the result. Its own noise is that of the [`StepNoise`] it was made with.
    ///
    /// # Panics
    /// If `index` is not [`SolverState::done`], or the lengths are not the canvas's.
    pub fn step(&mut self, index: usize, x: &mut [f32], output: &[f32]) {
        let plane = self.noise.area.size.area() as usize;
        let noise = self.draw(index).map(|draw| {
            assert_eq!(x.len() % plane, 0, "planes of the noise's area");
            self.noise.draw(draw, x.len() / plane)
        });
        self.step_with(index, x, output, noise.as_deref());
    }

    /// [`Self::step`] with noise from elsewhere, which must be there if [`Self::draw`] says so.
    ///
    /// # Panics
    /// Likewise, and without the noise.
    pub fn step_with(&mut self, index: usize, x: &mut [f32], output: &[f32], noise: Option<&[f32]>) {
        assert_eq!(index, self.state.done, "evaluations come in order");
        assert_eq!(x.len(), output.len());
        let evaluation = &self.evaluations[index];
        let (prediction, sigma) = (self.prediction, evaluation.sigma);
        assert!(evaluation.draw.is_none() || noise.is_some_and(|noise| noise.len() == x.len()), "noise");
        let kept = &mut self.state.kept;
        kept.resize_with(evaluation.keep.len(), || vec![0.0; x.len()]);
        // In f64: at large σ the predicted picture is a small difference of large numbers.
        for (i, x) in x.iter_mut().enumerate() {
            let mut before = [0.0; MOST_KEPT];
            for (before, kept) in before.iter_mut().zip(kept.iter()) {
                *before = kept[i];
            }
            let noise = noise.map_or(0.0, |noise| f64::from(noise[i]));
            let eps = prediction.noise(sigma, f64::from(*x), f64::from(output[i]));
            let value =
                |combination: &combination::Combination| combination.of(f64::from(*x), eps, noise, &before);
            let next = value(&evaluation.next);
            for (kept, keep) in kept.iter_mut().zip(&evaluation.keep) {
                kept[i] = value(keep);
            }
            *x = next as f32;
        }
        self.state.done += 1;
    }

    /// The same for a part of its canvas, before the first evaluation.
    pub(crate) fn on(&self, part: Rect) -> Self {
        let whole = self.noise.area;
        let area = Rect::new(whole.x + part.x, whole.y + part.y, part.size);
        Self { noise: StepNoise { area, ..self.noise }, state: SolverState::default(), ..self.clone() }
    }

    /// Where it is.
    pub fn state(&self) -> &SolverState {
        &self.state
    }

    /// Go on from a state of a solver that was made alike.
    ///
    /// # Panics
    /// If it has more evaluations done than there are.
    pub fn resume(&mut self, state: SolverState) {
        assert!(state.done <= self.evaluations.len(), "a state of another solver");
        self.state = state;
    }
}

/// A schedule of `steps`, without the first `skipped`. It begins at timestep `start`, if given, else at the sampler's first.
fn evaluations(
    settings: &Settings,
    training: &Training,
    steps: usize,
    skipped: usize,
    start: Option<f64>,
) -> Vec<Evaluation> {
    let (kind, schedule) = (settings.solver, settings.schedule);
    let timed = |sampler_timesteps: fn(usize) -> Vec<f64>| {
        let all = match start {
            None => sampler_timesteps(steps),
            Some(start) => timesteps::even(start, steps),
        };
        all[skipped..].to_vec()
    };
    // Their σs, and that of the end.
    let ending = |timesteps: &[f64], end: f64| -> Vec<f64> {
        timesteps.iter().map(|&t| training.sigma(t)).chain([end]).collect()
    };
    let (least, none) = (training.sigma(0.0), 0.0);
    let k = || training.sigmas(schedule, steps, start.unwrap_or(timesteps::LAST))[skipped..].to_vec();
    // A1111 leaves the last σ above 0 out for these samplers, of one more.
    let without_last = || {
        let mut sigmas = training.sigmas(schedule, steps + 1, start.unwrap_or(timesteps::LAST));
        sigmas.remove(steps);
        sigmas[skipped..].to_vec()
    };
    let own = schedule == Schedule::Default;
    match kind {
        // Who has networks has resolved it before.
        SolverKind::Auto | SolverKind::Dpmsolver if own => {
            dpm::dpm_solver(&ending(&timed(timesteps::linspace), least))
        }
        SolverKind::Auto | SolverKind::Dpmsolver => dpm::dpmpp_2m(&k()),
        SolverKind::Unipc if own => unipc::unipc(&ending(&timed(timesteps::linspace), none)),
        SolverKind::Unipc => unipc::unipc(&k()),
        SolverKind::Ddim => ddim::ddim(&ending(&timed(timesteps::leading), least)),
        SolverKind::Ddpm => ddim::ddpm(&ending(&timed(timesteps::leading), none)),
        SolverKind::Lcm => {
            let timesteps = timed(timesteps::distilled);
            consistency::lcm(&timesteps, &ending(&timesteps, none)[..timesteps.len()])
        }
        SolverKind::Tcd => consistency::tcd(&timed(timesteps::distilled), training),
        SolverKind::Euler => euler::euler(&k()),
        SolverKind::EulerA => euler::euler_ancestral(&k()),
        SolverKind::Heun => euler::heun(&k()),
        SolverKind::Lms => lms::lms(&k()),
        SolverKind::Dpm2 => euler::dpm2(&without_last()),
        SolverKind::Dpm2A => euler::dpm2_ancestral(&without_last()),
        SolverKind::DpmppSde => sde::dpmpp_sde(&k()),
        SolverKind::Dpmpp2mSde => sde::dpmpp_2m_sde(&k()),
        SolverKind::Dpmpp3mSde => sde::dpmpp_3m_sde(&without_last()),
    }
}

#[cfg(test)]
mod tests;
