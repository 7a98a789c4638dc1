//! Samplers: host arithmetic on the whole canvas.
//!
//! Every solver here is affine in (x, ε, its history): averaging the tiles' ε and stepping once is the
//! same as stepping each tile and averaging the results. So there is one solver and no state for
//! each tile.

mod ddim;
mod dpm;

use crate::settings::SolverKind;

/// A sampler with its schedule, somewhere between its first and its last step.
#[derive(Debug, Clone)]
pub struct Solver {
    kind: Inner,
    /// Index of the first step that is executed.
    first: usize,
}

#[derive(Debug, Clone)]
enum Inner {
    Dpm(dpm::DpmSolver),
    Ddim(ddim::Ddim),
}

impl Solver {
    /// A schedule of `steps` (1 ..= 1000), of which the last `strength` (0 ..= 1) is executed: from step
    /// `⌊steps · (1 − strength)⌋` on, as Refiners and diffusers do.
    pub fn new(kind: SolverKind, steps: usize, strength: f64) -> Self {
        let first = (steps as f64 * (1.0 - strength)) as usize;
        let kind = match kind {
            SolverKind::Dpmsolver => Inner::Dpm(dpm::DpmSolver::new(steps)),
            SolverKind::Ddim => Inner::Ddim(ddim::Ddim::new(steps)),
        };
        Self { kind, first: first.min(steps) }
    }

    /// The timesteps that are executed, the noisiest first; none if the strength is 0.
    pub fn timesteps(&self) -> &[u32] {
        let all = match &self.kind {
            Inner::Dpm(solver) => solver.timesteps(),
            Inner::Ddim(solver) => solver.timesteps(),
        };
        &all[self.first..]
    }

    /// Bring the latent `x` to the noise of the first executed step: `√ᾱ·x + √(1 − ᾱ)·noise`.
    ///
    /// # Panics
    /// If no step is executed, or the two differ in length.
    pub fn add_noise(&self, x: &mut [f32], noise: &[f32]) {
        assert_eq!(x.len(), noise.len());
        let alpha = crate::schedule::alphas_cumprod()[self.timesteps()[0] as usize];
        let (signal, noise_scale) = (alpha.sqrt() as f32, (1.0 - alpha).sqrt() as f32);
        for (x, n) in x.iter_mut().zip(noise) {
            *x = signal * *x + noise_scale * n;
        }
    }

    /// The `step`th executed step, from 0: `x` and its noise `eps` to the next, less noisy `x`.
    /// Steps must be taken in order.
    ///
    /// # Panics
    /// If there is no such step, or the two differ in length.
    pub fn step(&mut self, step: usize, x: &mut [f32], eps: &[f32]) {
        assert_eq!(x.len(), eps.len());
        let index = self.first + step;
        match &mut self.kind {
            Inner::Dpm(solver) => solver.step(index, x, eps),
            Inner::Ddim(solver) => solver.step(index, x, eps),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Some function of position and time, as a network is.
    fn eps(x: &[f32], t: u32, offset: usize) -> Vec<f32> {
        let bend =
            |(i, x): (usize, &f32)| (0.8 * x + ((offset + i) as f32 * 0.37 + t as f32 * 0.011).sin()).tanh();
        x.iter().enumerate().map(bend).collect()
    }

    /// Overlapping tiles of a line of 40: what each tile's network sees differs, as in MultiDiffusion.
    const TILES: [(usize, usize); 3] = [(0, 18), (11, 29), (22, 40)];

    fn mean_over_tiles(values: &[Vec<f32>; 3]) -> Vec<f32> {
        (0..40)
            .map(|at| {
                let here = TILES.iter().zip(values).filter(|((a, b), _)| (*a..*b).contains(&at));
                let list: Vec<f32> = here.map(|((a, _), v)| v[at - a]).collect();
                list.iter().sum::<f32>() / list.len() as f32
            })
            .collect()
    }

    #[test]
    fn averaging_noise_and_stepping_once_is_a_solver_per_tile_with_results_averaged() {
        for kind in [SolverKind::Dpmsolver, SolverKind::Ddim] {
            let noise: Vec<f32> = (0..40).map(|i| (i as f32 * 1.7).sin()).collect();
            let mut once: Vec<f32> = (0..40).map(|i| (i as f32 * 0.3).cos()).collect();
            let mut single = Solver::new(kind, 18, 0.35);
            single.add_noise(&mut once, &noise);
            let mut averaged = once.clone();
            let mut solvers = [single.clone(), single.clone(), single.clone()];
            for (step, &t) in single.timesteps().to_vec().iter().enumerate() {
                let tile_eps = TILES.map(|(a, b)| eps(&once[a..b], t, 5 * a));
                single.step(step, &mut once, &mean_over_tiles(&tile_eps));
                let mut tiles = TILES.map(|(a, b)| averaged[a..b].to_vec());
                for ((solver, tile), (a, _)) in solvers.iter_mut().zip(&mut tiles).zip(TILES) {
                    let eps = eps(tile, t, 5 * a);
                    solver.step(step, tile, &eps);
                }
                averaged = mean_over_tiles(&tiles);
                // Only rounding differs: f32 values of about 1 through a few operations a step.
                let worst = once.iter().zip(&averaged).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
                assert!(worst < 2e-6, "{kind:?} step {step}: {worst}");
            }
        }
    }

    #[test]
    fn every_number_of_steps_stays_finite() {
        for kind in [SolverKind::Dpmsolver, SolverKind::Ddim] {
            for steps in [1, 2, 18, 333, 999, 1000] {
                let mut solver = Solver::new(kind, steps, 1.0);
                let mut x = vec![0.5; 8];
                for (step, &t) in solver.timesteps().to_vec().iter().enumerate() {
                    let eps = eps(&x, t, 0);
                    solver.step(step, &mut x, &eps);
                }
                assert!(x.iter().all(|v| v.abs() < 1e3), "{kind:?} {steps}: {x:?}");
            }
        }
    }

    #[test]
    fn strength_chooses_the_steps() {
        for kind in [SolverKind::Dpmsolver, SolverKind::Ddim] {
            assert_eq!(Solver::new(kind, 18, 0.35).timesteps().len(), 7);
            assert_eq!(Solver::new(kind, 18, 1.0).timesteps().len(), 18);
            assert!(Solver::new(kind, 18, 0.0).timesteps().is_empty());
            assert_eq!(Solver::new(kind, 1, 1.0).timesteps().len(), 1);
        }
        assert_eq!(Solver::new(SolverKind::Dpmsolver, 18, 1.0).timesteps()[..3], [999, 944, 888]);
        assert_eq!(Solver::new(SolverKind::Ddim, 18, 1.0).timesteps()[..2], [936, 881]);
    }
}
