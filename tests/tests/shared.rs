//! What tiles share is computed once, and gives the bytes that each computing it gives.

use clarifier_model::controlnet::Residuals;
use clarifier_model::files::{Component, component};
use clarifier_model::loader::{Placement, Weights};
use clarifier_model::unet::UNet;
use clarifier_raster::{Planes, Raster, StoreKind, open};
use clarifier_tests::fixture;
use clarifier_tests::models::{Scale, write_diffusers};
use clarifier_tests::weights::{Stored, data};
use clarifier_upscale::device::Backend;
use clarifier_upscale::{Computed, ControlMode, Enlarger, Plan, Settings, SolverKind, stages};

use crate::recipe::{fixture_settings, run, tiny_models};

fn input() -> Raster {
    open(&fixture("recipe/input.png"), &StoreKind::Memory).unwrap().raster
}

/// The result, and how often was computed what the last stage's tiles share, with `budget` for hints.
fn redrawn(settings: &Settings, budget: u64) -> (Planes, Computed) {
    let folder = tempfile::tempdir().unwrap();
    let mut models = tiny_models(folder.path(), &Backend::flex());
    models.diffusion.as_mut().unwrap().hint_budget = budget;
    let planes = run(&mut models, &input(), settings, Some(&fixture("recipe/noise.safetensors")));
    (planes, models.diffusion.unwrap().computed())
}

#[test]
fn prompts_are_computed_once_times_once_a_step_and_hints_once_a_tile() {
    for control_mode in [ControlMode::Balanced, ControlMode::Controlnet] {
        let settings = Settings { control_mode, ..fixture_settings(SolverKind::Ddim) };
        assert_eq!(stages(input().size(), settings.upscale_factor, 0.5, 0).len(), 1);
        let (kept, once) = redrawn(&settings, 1 << 30);
        let (fresh, each) = redrawn(&settings, 0);
        assert_eq!(kept.data, fresh.data, "{control_mode:?}");
        let (tiles, steps) = (once.hints, once.times);
        assert!(tiles > 1 && steps > 1, "{once:?}");
        assert_eq!(once, Computed { prompts: 1, times: steps, hints: tiles, whole: tiles * steps });
        assert_eq!(each, Computed { prompts: 1, times: steps, hints: tiles * steps, whole: tiles * steps });
        // Room for two, of the 32 channels that tiny networks have at their first level.
        let one = 4 * 32 * u64::from(settings.tile_width * settings.tile_height);
        let (some, between) = redrawn(&settings, 2 * one);
        assert_eq!(some.data, kept.data);
        assert_eq!(between.hints, each.hints - 2 * (steps - 1));
    }
}

#[test]
fn tiles_that_move_keep_no_hints_and_no_controlnet_has_none() {
    let settings = Settings { tile_jitter: true, ..fixture_settings(SolverKind::Ddim) };
    let (_, moving) = redrawn(&settings, 1 << 30);
    assert!(moving.hints > moving.times, "{moving:?}");
    let (_, free) =
        redrawn(&Settings { controlnet_scale: 0.0, ..fixture_settings(SolverKind::Ddim) }, 1 << 30);
    assert_eq!((free.prompts, free.hints), (1, 0));
}

#[test]
fn guidance_for_a_share_of_the_steps_is_computed_for_that_share() {
    let within = |guidance_start, guidance_end| Settings {
        guidance_start,
        guidance_end,
        ..fixture_settings(SolverKind::Ddim)
    };
    let (all, _) = redrawn(&within(0.0, 1.0), 0);
    let (none, once) = redrawn(&within(0.0, 0.0), 0);
    let (without, _) = redrawn(&Settings { condition_scale: 1.0, ..fixture_settings(SolverKind::Ddim) }, 0);
    assert_eq!(none.data, without.data);
    // Both kinds of evaluation need their prompts once.
    let (late, twice) = redrawn(&within(0.5, 1.0), 0);
    assert_eq!((once.prompts, twice.prompts), (1, 2));
    assert!(late.data != all.data && late.data != none.data);
    let work = |settings: &Settings| {
        let plan = Plan::new(&Backend::flex(), &Enlarger::Lanczos, true, input().size(), settings);
        plan.stages[0].work[2]
    };
    assert_eq!(2.0 * work(&within(0.0, 0.0)), work(&within(0.0, 1.0)));
    assert!(within(0.7, 0.5).validate().unwrap_err().to_string().contains("`guidance_start` 0.7 is after"));
}

#[test]
fn a_network_given_what_is_shared_is_the_same_to_the_bit() {
    let folder = tempfile::tempdir().unwrap();
    write_diffusers(folder.path(), Scale::Tiny, Stored::F32);
    let placement = Placement::f32(&Backend::flex().device);
    let part = component(folder.path(), Component::UNet).unwrap();
    let unet = UNet::load(Weights::new(&*part.file, "unet", &placement), part.config.as_ref()).unwrap();
    let tensor = |name: &str| placement.tensor(data(name, &[2, 4, 13, 10]), [2, 4, 13, 10]);
    let text = placement.tensor(data("text", &[2, 77, 32]), [2, 77, 32]);
    let (time, prompt) = (unet.time(561.0, &tensor("a")), unet.prompt(&text));
    for name in ["a", "b"] {
        let alone = unet.forward(tensor(name), 561.0, &text, None).into_data();
        let shared = unet.forward_with(tensor(name), &time, &prompt, None).into_data();
        assert_eq!(alone.as_bytes(), shared.as_bytes());
    }
    // Reused for the latent that they were made of, the inner features give the same too; for another they do not.
    let like_skips = |unet: &UNet| {
        let (c, layers) = (&unet.config.block_out_channels, unet.config.layers_per_block);
        let size = |level: usize| [(13usize, 10usize), (7, 5), (4, 3), (2, 2)][level];
        let mut levels = vec![(c[0], 0)];
        for level in 0..c.len() {
            levels.extend(std::iter::repeat_n((c[level], level), layers));
            levels.extend((level + 1 < c.len()).then_some((c[level], level + 1)));
        }
        let of = |(i, (channels, level)): (usize, (usize, usize))| {
            let dims = [2, channels, size(level).0, size(level).1];
            placement.tensor(data(&format!("control {i}"), &dims), dims)
        };
        let down: Vec<_> = levels.into_iter().enumerate().map(of).collect();
        let mid = down.last().unwrap().clone();
        Residuals { down, mid }
    };
    for control in [None, Some(like_skips(&unet))] {
        let whole = unet.forward_with(tensor("a"), &time, &prompt, control.clone()).into_data();
        let (kept, inner) = unet.forward_keeping(tensor("a"), &time, &prompt, control.clone());
        assert_eq!(whole.as_bytes(), kept.into_data().as_bytes());
        let again = unet.forward_reusing(tensor("a"), &time, &prompt, &inner).into_data();
        assert_eq!(whole.as_bytes(), again.as_bytes());
        let other = unet.forward_with(tensor("b"), &time, &prompt, control).into_data();
        let near = unet.forward_reusing(tensor("b"), &time, &prompt, &inner).into_data();
        assert_ne!(other.as_bytes(), near.as_bytes());
    }
}

#[test]
fn inner_features_are_computed_once_for_several_evaluations() {
    let with = |reuse_features: u32| Settings { reuse_features, ..fixture_settings(SolverKind::Ddim) };
    let (all, counted) = redrawn(&with(1), 0);
    let (tiles, steps) = (counted.whole / counted.times, counted.times);
    let mut before = 60.0;
    for reuse in [2, 3, 10] {
        let (less, counted) = redrawn(&with(reuse), 0);
        assert_eq!(counted.whole, tiles * steps.div_ceil(reuse as usize), "{reuse}");
        // The ControlNet rests too.
        assert_eq!(counted.hints, counted.whole);
        let psnr = clarifier_tests::psnr(&all.data, &less.data);
        // Features of random networks change much from step to step: the older, the less they say.
        println!("{reuse}: {psnr:.1} dB");
        assert!(psnr < before && psnr > 15.0, "{reuse}: {psnr}");
        before = psnr;
    }
    // With the negative prompt from the middle on, the features of the prompt alone are of no use.
    let half = Settings { guidance_start: 0.5, ..with(10) };
    let (_, counted) = redrawn(&half, 0);
    assert_eq!(counted.whole, 2 * tiles, "{steps} steps of {tiles} tiles");
    let moving = Settings { tile_jitter: true, ..with(2) };
    assert!(moving.validate().unwrap_err().to_string().contains("`reuse_features` 2 needs tiles that stay"));
}
