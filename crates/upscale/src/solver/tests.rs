//! What holds for every sampler; their numbers are compared with the references in `tests/host.rs`.

use clarifier_model::family::ModelFamily;
use clarifier_tile::{Rect, Size};

use super::*;

const KINDS: [SolverKind; 15] = [
    SolverKind::Dpmsolver,
    SolverKind::Ddim,
    SolverKind::Ddpm,
    SolverKind::Euler,
    SolverKind::EulerA,
    SolverKind::Heun,
    SolverKind::Lms,
    SolverKind::Dpm2,
    SolverKind::Dpm2A,
    SolverKind::DpmppSde,
    SolverKind::Dpmpp2mSde,
    SolverKind::Dpmpp3mSde,
    SolverKind::Unipc,
    SolverKind::Lcm,
    SolverKind::Tcd,
];
const SCHEDULES: [Schedule; 4] =
    [Schedule::Default, Schedule::Karras, Schedule::Exponential, Schedule::SgmUniform];

/// All that settings allow.
fn all() -> impl Iterator<Item = Settings> {
    let settings =
        |solver, schedule, strength_mode| Settings { solver, schedule, strength_mode, ..Settings::default() };
    let modes = [StrengthMode::Steps, StrengthMode::Sigma];
    let all = KINDS.into_iter().flat_map(move |kind| {
        SCHEDULES.into_iter().flat_map(move |schedule| modes.map(|mode| settings(kind, schedule, mode)))
    });
    all.filter(|settings| settings.validate().is_ok())
}

fn solver(settings: &Settings, steps: usize, strength: f64, width: u32) -> Solver {
    let settings = Settings { num_inference_steps: steps as u32, ..settings.clone() };
    let noise = StepNoise { seed: 1, area: Rect::new(0, 0, Size::new(width, 1)) };
    Solver::new(&settings, &ModelFamily::sd15(), strength, noise)
}

/// Some function of position and time, as a network is.
fn eps(x: &[f32], t: f32, offset: usize) -> Vec<f32> {
    let bend = |(i, x): (usize, &f32)| (0.8 * x + ((offset + i) as f32 * 0.37 + t * 0.011).sin()).tanh();
    x.iter().enumerate().map(bend).collect()
}

/// A run from `x`, which has its noise.
fn run(mut solver: Solver, x: &mut [f32]) {
    for index in solver.state().done..solver.evaluations() {
        let eps = eps(x, solver.timestep(index), 0);
        solver.step(index, x, &eps);
    }
}

fn largest_difference(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
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
    for settings in all() {
        let noise: Vec<f32> = (0..40).map(|i| (i as f32 * 1.7).sin()).collect();
        let mut once: Vec<f32> = (0..40).map(|i| (i as f32 * 0.3).cos()).collect();
        let mut single = solver(&settings, 18, 0.35, 40);
        single.add_noise(&mut once, &noise);
        let mut averaged = once.clone();
        // Each tile's own solver draws the noise of its part of the line.
        let mut solvers = TILES.map(|(a, b)| {
            let area = Rect::new(a as u32, 0, Size::new((b - a) as u32, 1));
            Solver { noise: StepNoise { area, ..single.noise }, ..single.clone() }
        });
        for index in 0..single.evaluations() {
            let t = single.timestep(index);
            let tile_eps = TILES.map(|(a, b)| eps(&once[a..b], t, 5 * a));
            single.step(index, &mut once, &mean_over_tiles(&tile_eps));
            let mut tiles = TILES.map(|(a, b)| averaged[a..b].to_vec());
            for ((solver, tile), (a, _)) in solvers.iter_mut().zip(&mut tiles).zip(TILES) {
                let eps = eps(tile, t, 5 * a);
                solver.step(index, tile, &eps);
            }
            averaged = mean_over_tiles(&tiles);
            let worst = largest_difference(&once, &averaged);
            // Only rounding differs: f32 values of about 1 through a few operations a step.
            assert!(worst < 2e-6, "{:?} {:?} {index}: {worst}", settings.solver, settings.schedule);
        }
    }
}

#[test]
fn every_number_of_steps_stays_finite() {
    for settings in all() {
        for (steps, strength) in
            [(1, 1.0), (2, 1.0), (18, 1.0), (333, 1.0), (999, 1.0), (1000, 1.0), (1, 1e-9), (1000, 2e-3)]
        {
            let steps = steps.min(settings.solver.most_steps().unwrap_or(steps));
            let mut x = vec![0.5; 8];
            run(solver(&settings, steps, strength, 8), &mut x);
            assert!(x.iter().all(|v| v.abs() < 1e3), "{:?} {steps} {strength}: {x:?}", settings.solver);
        }
    }
}

#[test]
fn strength_chooses_the_steps() {
    for settings in all().filter(|s| s.strength_mode == StrengthMode::Steps) {
        for (steps, strength, expected) in [(18, 0.35, 7), (18, 1.0, 18), (18, 0.0, 0), (1, 1.0, 1)] {
            let solver = solver(&settings, steps, strength, 1);
            assert_eq!(solver.steps(), expected);
            let twice = matches!(
                settings.solver,
                SolverKind::Heun | SolverKind::Dpm2 | SolverKind::Dpm2A | SolverKind::DpmppSde
            );
            let evaluations = if twice && expected > 0 { 2 * expected - 1 } else { expected };
            assert_eq!(solver.evaluations(), evaluations, "{:?}", settings.solver);
        }
    }
    let timesteps = |kind| {
        solver(&Settings { solver: kind, ..Settings::default() }, 18, 1.0, 1).timesteps()[..3].to_vec()
    };
    assert_eq!(timesteps(SolverKind::Dpmsolver), [999.0, 944.0, 888.0]);
    assert_eq!(timesteps(SolverKind::Ddim), [936.0, 881.0, 826.0]);
    let euler = timesteps(SolverKind::Euler);
    assert!((euler[1] - 999.0 * 16.0 / 17.0).abs() < 1e-3, "{euler:?}");
}

#[test]
fn strength_may_choose_the_same_sigma_for_all() {
    let first = |settings: &Settings| solver(settings, 18, 0.35, 1).sigma().unwrap();
    let sigma = Training::new(&ModelFamily::sd15()).sigma(999.0 * 0.35);
    for settings in all().filter(|s| s.strength_mode == StrengthMode::Sigma) {
        assert!((first(&settings) / sigma - 1.0).abs() < 1e-12, "{:?}", settings.solver);
    }
    // As it is otherwise: the figures that users of these programs have got used to.
    for (name, expected) in [("dpmsolver", 1.119), ("ddim", 0.926), ("DPM++ 3M SDE Karras", 0.645)] {
        let mut settings = Settings::default();
        settings.set("solver", name).unwrap();
        assert!((first(&settings) - expected).abs() < 1e-3, "{name}: {}", first(&settings));
    }
}

#[test]
fn a_run_goes_on_from_its_state() {
    for settings in all() {
        let start = || solver(&settings, 9, 0.8, 8);
        let mut whole = vec![0.5; 8];
        run(start(), &mut whole);
        for stop in 0..start().evaluations() {
            let (mut first, mut x) = (start(), vec![0.5; 8]);
            for index in 0..stop {
                let eps = eps(&x, first.timestep(index), 0);
                first.step(index, &mut x, &eps);
            }
            let stored = serde_json::to_string(first.state()).unwrap();
            let mut second = start();
            second.resume(serde_json::from_str(&stored).unwrap());
            run(second, &mut x);
            // serde_json reads an f64's last digit as it likes; the canvas is f32.
            assert!(largest_difference(&x, &whole) < 1e-6, "{:?} at {stop}", settings.solver);
        }
    }
}

/// The noise of these comes from one path: more steps must bring them nearer to its solution, not to another one.
#[test]
fn more_steps_of_a_stochastic_sampler_find_the_same_picture() {
    for kind in [SolverKind::DpmppSde, SolverKind::Dpmpp2mSde, SolverKind::Dpmpp3mSde] {
        let settings = Settings { solver: kind, schedule: Schedule::Karras, ..Settings::default() };
        let end = |steps: usize, seed: u64| {
            let mut solver = solver(&settings, steps, 1.0, 64);
            solver.noise.seed = seed;
            let mut x = vec![0.5; 64];
            run(solver, &mut x);
            x
        };
        let distance =
            |a: &[f32], b: &[f32]| (a.iter().zip(b).map(|(a, b)| (a - b).powi(2)).sum::<f32>() / 64.0).sqrt();
        let reference = end(800, 1);
        let (coarse, fine) = (distance(&end(25, 1), &reference), distance(&end(200, 1), &reference));
        let other = distance(&end(800, 2), &reference);
        println!("{kind:?}: {coarse:.3} in 25 steps, {fine:.3} in 200, {other:.3} with another seed");
        assert!(fine < 0.5 * coarse && fine < 0.2 * other, "{kind:?}: {coarse} {fine} {other}");
    }
}
