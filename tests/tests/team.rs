//! A team gives the bytes of one process, through the whole recipe.

use std::ops::ControlFlow;
use std::path::Path;

use clarifier_raster::Planes;
use clarifier_tests::models::{Scale, set_at, write_diffusers};
use clarifier_tests::team::in_threads;
use clarifier_tests::weights::Stored;
use clarifier_upscale::device::Backend;
use clarifier_upscale::{Error, Event, Models, Team};

use crate::crash_folder::CrashFolder;
use crate::journal::{Case, cases, journal};
use crate::recipe::load;

/// Networks of the process's own.
fn models(case: &Case, folder: &Path) -> Models {
    let paths = set_at(folder);
    load(&Backend::flex(), &case.upscaler, case.diffusion.then_some(&paths))
}

/// The `number`th case by a team of `size`, rank 0 with a journal in `kept`, if given; what each rank got.
fn by_team(
    number: usize,
    size: usize,
    folder: &Path,
    kept: Option<(&CrashFolder, u64)>,
    cancels: impl Fn(usize, &Event) -> bool + Sync,
) -> Vec<(Result<Planes, Error>, Vec<Event>)> {
    in_threads(size, |team| {
        let rank = team.rank();
        let mut case = cases().remove(number);
        case.job.team = team;
        let journal = kept.filter(|_| rank == 0).map(|(kept, interval)| journal(kept, interval));
        let mut models = models(&case, folder);
        case.run_watched(&mut models, journal, &mut |event| match cancels(rank, event) {
            true => ControlFlow::Break(()),
            false => ControlFlow::Continue(()),
        })
    })
}

fn never(_: usize, _: &Event) -> bool {
    false
}

#[test]
fn teams_of_any_size_give_the_same_bytes() {
    let folder = tempfile::tempdir().unwrap();
    write_diffusers(folder.path(), Scale::Tiny, Stored::F32);
    for (number, case) in cases().into_iter().enumerate() {
        let (expected, alone) = case.run(&mut models(&case, folder.path()), None);
        let expected = expected.unwrap();
        let tiles = |events: &[Event]| -> Vec<Event> {
            events.iter().filter(|event| matches!(event, Event::Tile { .. })).cloned().collect()
        };
        for size in [2, 3, 4] {
            let ranks = by_team(number, size, folder.path(), None, never);
            for (rank, (result, events)) in ranks.into_iter().enumerate() {
                let result = result.unwrap();
                assert!(rank > 0 || result == expected, "{}: {size}", case.name);
                // Each tells of the tiles of all.
                assert_eq!(tiles(&events), tiles(&alone), "{}: {rank} of {size}", case.name);
            }
        }
    }
}

#[test]
fn what_a_team_left_another_goes_on_with() {
    let folder = tempfile::tempdir().unwrap();
    write_diffusers(folder.path(), Scale::Tiny, Stored::F32);
    for (number, case) in cases().into_iter().enumerate() {
        let mut own = models(&case, folder.path());
        let expected = case.run(&mut own, None).0.unwrap();
        let kept = CrashFolder::default();
        kept.crash_after(usize::MAX);
        let whole = by_team(number, 3, folder.path(), Some((&kept, 0)), never).remove(0).0.unwrap();
        assert!(whole == expected, "{}: with a journal, undisturbed", case.name);
        let calls = kept.calls();
        let kept = CrashFolder::default();
        let (mut rounds, mut resumed) = (0, 0);
        // Ever more calls are answered, of teams of another size each time.
        for size in [3, 1, 4, 2, 3, 2].into_iter().cycle() {
            kept.crash_after(calls / 7 + rounds * calls / 30);
            let (result, events) = match size {
                1 => case.run(&mut own, Some(journal(&kept, 0))),
                _ => by_team(number, size, folder.path(), Some((&kept, 0)), never).remove(0),
            };
            resumed += usize::from(events.iter().any(|event| matches!(event, Event::Resumed { .. })));
            match result {
                Ok(result) => {
                    assert!(result == expected, "{}: after {rounds} crashes", case.name);
                    break;
                }
                Err(Error::Journal(_) | Error::Raster(_)) => {}
                Err(other) => panic!("{}: {size}: {other}", case.name),
            }
            rounds += 1;
            kept.after_power_cut(rounds as u64);
        }
        println!("{}: {rounds} crashes, {resumed} times gone on, {calls} calls", case.name);
        assert!(rounds > 3 && resumed > 2, "{}: {rounds} {resumed}", case.name);
    }
}

#[test]
fn whoever_is_cancelled_all_stop() {
    let folder = tempfile::tempdir().unwrap();
    write_diffusers(folder.path(), Scale::Tiny, Stored::F32);
    for (who, phase) in [(0, "Diffuse"), (2, "Diffuse"), (1, "Decode"), (2, "Encode")] {
        let cancels = |rank: usize, event: &Event| match event {
            Event::Tile { phase: at, .. } => rank == who && format!("{at:?}") == phase,
            _ => false,
        };
        for (rank, (result, _)) in by_team(0, 3, folder.path(), None, cancels).into_iter().enumerate() {
            assert!(matches!(result, Err(Error::Cancelled)), "{who} at {phase}: {rank}");
        }
    }
}

#[test]
fn an_error_is_everyones() {
    let said = in_threads(3, |team: Team| {
        let own = if team.rank() == 1 { Err(Error::Device("out of memory".into())) } else { Ok(team.rank()) };
        let agreed = team.agree(own);
        let known = team.has_agreed();
        let shared = team.share(Ok(vec![team.rank() as u8; 2])).unwrap();
        assert_eq!(shared, [[0, 0], [1, 1], [2, 2]]);
        let told = team.told(|| Err(Error::Link(format!("from {}", team.rank()))));
        (known, agreed.map_err(|e| e.to_string()), told.map_err(|e| e.to_string()))
    });
    let failed = "rank 1: the device failed (out of memory)";
    for (rank, (known, agreed, told)) in said.into_iter().enumerate() {
        assert!(known, "{rank}");
        let (agreed, told) = (agreed.unwrap_err(), told.unwrap_err());
        assert!(agreed.starts_with(if rank == 1 { &failed[8..] } else { failed }), "{rank}: {agreed}");
        let from = "the connection between the processes failed: from 0";
        assert_eq!(told, if rank == 0 { from.to_owned() } else { format!("rank 0: {from}") });
    }
}
