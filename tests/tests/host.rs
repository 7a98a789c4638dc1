//! Tokenizer and solvers against the reference implementations: host arithmetic only.

use clarifier_model::family::ModelFamily;
use clarifier_model::tokenizer::{BOS, ClipTokenizer, EOS, Prompt};
use clarifier_tests::json;
use clarifier_tile::{Rect, Size};
use clarifier_upscale::{Draw, Settings, Solver, StepNoise};

#[test]
fn tokens_are_those_of_transformers() {
    let tokenizer = ClipTokenizer::new();
    let fixture = json("tokens.json");
    for case in fixture["cases"].as_array().unwrap() {
        let text = case["text"].as_str().unwrap();
        let ids: Vec<u32> =
            case["ids"].as_array().unwrap().iter().map(|id| id.as_u64().unwrap() as u32).collect();
        assert_eq!(tokenizer.encode(text), ids, "{text:?}");
    }
    let padded: Vec<u32> =
        fixture["padded"].as_array().unwrap().iter().map(|id| id.as_u64().unwrap() as u32).collect();
    assert_eq!(tokenizer.chunks(&Prompt::parse("a photo of a cat"), &[])[0].ids.to_vec(), padded);
}

#[test]
fn long_and_weighted_prompts_are_cut_into_chunks() {
    let tokenizer = ClipTokenizer::new();
    let chunks = tokenizer.chunks(&Prompt::parse(&"word ".repeat(160)), &[]);
    assert_eq!(chunks.len(), 3);
    assert!(chunks.iter().all(|c| c.ids[0] == BOS && c.ids[76] == EOS));
    assert_eq!((chunks[2].ids[10] == EOS, chunks[2].ids[11]), (false, EOS));
    let weighted = &tokenizer.chunks(&Prompt::parse("a (red:1.5) car"), &[])[0];
    assert_eq!(weighted.weights[..5], [1.0, 1.0, 1.5, 1.0, 1.0]);
    let plain = &tokenizer.chunks(&Prompt::parse("a red car"), &[])[0];
    assert_eq!(weighted.ids, plain.ids);
    assert_eq!(tokenizer.chunks(&Prompt::parse("a BREAK b"), &[]).len(), 2);
    assert_eq!(tokenizer.chunks(&Prompt::parse(""), &[]).len(), 1);
}

/// The analytic "network" of `fixtures/solvers.py`.
fn eps(x: &[f32], t: f32) -> Vec<f32> {
    let bend = |(i, x): (usize, &f32)| {
        (0.8 * f64::from(*x) + (i as f64 * 0.37 + f64::from(t) * 0.011).sin()).tanh() as f32
    };
    x.iter().enumerate().map(bend).collect()
}

/// Its noise, in place of normal noise.
fn injected(draw: Draw, places: usize, drawn: usize) -> Vec<f32> {
    let phase = match draw {
        Draw::Step(_) => 1.3 * drawn as f64 + 0.5,
        Draw::Path { from, to } => 3.0 * from.ln() + 5.0 * to.ln(),
    };
    (0..places).map(|i| (1.4 * (i as f64 * 0.7 + phase).sin()) as f32).collect()
}

#[test]
fn trajectories_are_those_of_the_references() {
    follow_the_references("solvers.json");
}

#[test]
fn what_predicts_velocity_or_a_picture_and_other_noise_levels_are_those_of_diffusers() {
    follow_the_references("predictions.json");
    for case in json("predictions.json").as_array().unwrap() {
        let family = family_of(case);
        let alphas = family.betas.alphas_cumprod(family.zero_terminal_snr);
        for pair in case["alphas_cumprod"].as_array().unwrap() {
            let (timestep, expected) = (pair[0].as_u64().unwrap() as usize, pair[1].as_f64().unwrap());
            // diffusers has the cosine's betas in f32.
            let difference = (alphas[timestep] - expected).abs();
            assert!(difference < 1e-6 * expected.max(1e-3), "{timestep}: {difference:e} of {expected}");
        }
    }
}

/// Stable Diffusion's, but for what the case's configuration says.
fn family_of(case: &serde_json::Value) -> ModelFamily {
    match case.get("config") {
        Some(config) => ModelFamily::sd15().with_scheduler_config(config).unwrap(),
        None => ModelFamily::sd15(),
    }
}

fn follow_the_references(file: &str) {
    let mut worst_of_all: f64 = 0.0;
    for case in json(file).as_array().unwrap() {
        let mut settings = Settings::default();
        for (setting, key) in [("solver", "solver"), ("schedule", "schedule"), ("strength_mode", "mode")] {
            if let Some(word) = case.get(key) {
                settings.set(setting, word.as_str().unwrap()).unwrap();
            }
        }
        settings.num_inference_steps = case["steps"].as_u64().unwrap() as u32;
        let strength = case["strength"].as_f64().unwrap();
        let trajectory: Vec<Vec<f64>> = serde_json::from_value(case["trajectory"].clone()).unwrap();
        let places = trajectory[0].len();
        let area = Rect::new(0, 0, Size::new(places as u32, 1));
        let mut solver = Solver::new(&settings, &family_of(case), strength, StepNoise { seed: 0, area });
        let mut x: Vec<f32> = (0..places).map(|i| (i as f64 * 0.3).cos() as f32).collect();
        let noise: Vec<f32> = (0..places).map(|i| (i as f64 * 1.7).sin() as f32).collect();
        solver.add_noise(&mut x, &noise);
        assert!(x.iter().all(|v| v.is_finite()));
        // 1/√ᾱ of the first step.
        let gain = (1.0 + solver.sigma().unwrap().powi(2)).sqrt();
        let Settings { solver: kind, schedule, strength_mode: mode, num_inference_steps: steps, .. } =
            settings;
        let what = format!("{kind:?} {schedule:?} {steps} {strength} {mode:?}");
        assert_eq!(trajectory.len(), solver.evaluations() + 1, "{what}");
        let mut drawn = 0;
        for (index, expected) in trajectory.iter().enumerate() {
            let worst = x.iter().zip(expected).map(|(a, b)| (f64::from(*a) - b).abs()).fold(0.0, f64::max);
            worst_of_all = worst_of_all.max(worst / gain);
            // The canvas is f32 with values of about 1, rounded to 6e-8. Removing the noise multiplies
            // what was rounded off by 1/√ᾱ of the first step: 1.5 at the default strength, 14 at 1.
            assert!(worst < 1e-6 * gain, "{what} evaluation {index}: {worst:e} for {gain}");
            if index < solver.evaluations() {
                let eps = eps(&x, solver.timestep(index));
                let noise = solver.draw(index).map(|draw| injected(draw, places, drawn));
                drawn += usize::from(noise.is_some());
                solver.step_with(index, &mut x, &eps, noise.as_deref());
            }
        }
    }
    println!("largest difference over gain: {worst_of_all:.1e}");
}
