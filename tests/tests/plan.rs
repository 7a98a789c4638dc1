//! What networks ask of a device, read off their files.

use clarifier_model::family::ModelFamily;
use clarifier_tests::models::{Scale, set_at, write_diffusers};
use clarifier_tests::weights::Stored;
use clarifier_tile::Size;
use clarifier_upscale::{Enlarger, Machine, Plan, Settings};

use crate::networks::with_taesd;

fn family(scale: Scale) -> ModelFamily {
    let folder = tempfile::tempdir().unwrap();
    write_diffusers(folder.path(), scale, Stored::Zeros);
    set_at(folder.path()).family().unwrap()
}

fn plan(family: ModelFamily) -> Plan {
    let machine = Machine { family, ..Machine::described("a processor", false, None) };
    Plan::on(&machine, &Enlarger::Lanczos, true, Size::new(1000, 800), &Settings::default())
}

#[test]
fn the_shapes_of_sd15_give_what_plans_take_before_there_are_files() {
    let (usual, read) = (plan(ModelFamily::sd15()), plan(family(Scale::Full)));
    assert_eq!((read.largest_tensor, read.hints), (usual.largest_tensor, usual.hints));
    assert_eq!((read.peak_memory, read.peak), (usual.peak_memory, usual.peak));
    for (read, usual) in read.stages[0].work.iter().zip(usual.stages[0].work).skip(1) {
        let ratio = read / usual;
        assert!((0.99..1.01).contains(&ratio), "{read:.3e} of {usual:.3e}: {ratio:.2}");
    }
}

#[test]
fn reused_features_are_counted() {
    let with = |family: ModelFamily, reuse_features: u32| {
        let machine = Machine { family, ..Machine::described("a processor", false, None) };
        let settings = Settings { reuse_features, vae_tile: 256, ..Settings::default() };
        Plan::on(&machine, &Enlarger::Lanczos, true, Size::new(1000, 800), &settings)
    };
    let work = |plan: &Plan| plan.stages[0].work[2];
    let (usual, read) = (with(ModelFamily::sd15(), 2), with(family(Scale::Full), 2));
    assert_eq!(usual.peak_memory, read.peak_memory);
    assert!((work(&usual) / work(&read) - 1.0).abs() < 0.01, "{:?}", family(Scale::Full));
    let all = with(ModelFamily::sd15(), 1);
    assert!(work(&usual) < 0.75 * work(&all), "{}", work(&usual) / work(&all));
    assert!(usual.peak_memory > all.peak_memory);
}

#[test]
fn taesd_asks_for_what_its_convolutions_do() {
    let folder = tempfile::tempdir().unwrap();
    write_diffusers(folder.path(), Scale::Tiny, Stored::Zeros);
    let family = with_taesd(folder.path()).family().unwrap();
    let work = plan(family).stages[0].work;
    // Of 8 channels: three convolutions a block, one at each change of size; a quarter at each level.
    let wide = 64.0;
    let encoder = 24.0 + 3.0 * wide + 10.0 * wide / 4.0 + 10.0 * wide / 16.0 + (10.0 * wide + 32.0) / 64.0;
    let decoder = 24.0 + 4.0 * wide + 10.0 * wide / 4.0 + 10.0 * wide / 16.0 + (9.0 * wide + 32.0) / 64.0;
    let (found, expected) = (work[3] / work[1], decoder / encoder);
    assert!((found / expected - 1.0).abs() < 1e-6, "{found}, not {expected}");
    let usual = plan(self::family(Scale::Tiny)).stages[0].work;
    assert!(work[1] < usual[1] / 2.0 && work[2] == usual[2], "{work:?} beside {usual:?}");
}

#[test]
fn small_networks_ask_for_little() {
    let (usual, tiny, narrow) =
        (plan(ModelFamily::sd15()), plan(family(Scale::Tiny)), plan(family(Scale::Narrow)));
    let operations = |plan: &Plan| plan.stages[0].operations;
    assert!(operations(&tiny) < operations(&usual) / 20.0, "{:.2e}", operations(&tiny));
    assert!(operations(&narrow) < operations(&tiny) / 4.0, "{:.2e}", operations(&narrow));
    assert!(tiny.largest_tensor.0 < usual.largest_tensor.0 / 4);
}
