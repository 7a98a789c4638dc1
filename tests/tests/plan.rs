//! What networks ask of a device, read off their files.

use clarifier_tests::models::{Scale, write_diffusers};
use clarifier_tests::weights::Stored;
use clarifier_tile::Size;
use clarifier_upscale::{Demand, DiffusionPaths, Enlarger, Machine, Plan, Settings};

fn demand(scale: Scale) -> Demand {
    let folder = tempfile::tempdir().unwrap();
    write_diffusers(folder.path(), scale, Stored::Zeros);
    let path = folder.path();
    let paths =
        DiffusionPaths { checkpoint: path.into(), controlnet: path.into(), ..DiffusionPaths::default() };
    Demand::of(&paths).unwrap()
}

fn plan(demand: Demand) -> Plan {
    let machine = Machine { demand, ..Machine::described("a processor", false, None) };
    Plan::on(&machine, &Enlarger::Lanczos, true, Size::new(1000, 800), &Settings::default())
}

#[test]
fn the_shapes_of_sd15_give_what_plans_take_before_there_are_files() {
    let (usual, read) = (plan(Demand::default()), plan(demand(Scale::Full)));
    assert_eq!((read.largest_tensor, read.hints), (usual.largest_tensor, usual.hints));
    assert_eq!((read.peak_memory, read.peak), (usual.peak_memory, usual.peak));
    for (read, usual) in read.stages[0].work.iter().zip(usual.stages[0].work).skip(1) {
        let ratio = read / usual;
        assert!((0.99..1.01).contains(&ratio), "{read:.3e} of {usual:.3e}: {ratio:.2}");
    }
}

#[test]
fn small_networks_ask_for_little() {
    let (usual, tiny, narrow) =
        (plan(Demand::default()), plan(demand(Scale::Tiny)), plan(demand(Scale::Narrow)));
    let operations = |plan: &Plan| plan.stages[0].operations;
    assert!(operations(&tiny) < operations(&usual) / 20.0, "{:.2e}", operations(&tiny));
    assert!(operations(&narrow) < operations(&tiny) / 4.0, "{:.2e}", operations(&narrow));
    assert!(tiny.largest_tensor.0 < usual.largest_tensor.0 / 4);
}
