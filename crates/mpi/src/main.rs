//! The program `clarifier-mpi`: `clarifier` as one of the processes that `mpirun` or `srun` starts.

mod threads;
mod world;

use std::process::ExitCode;
use std::rc::Rc;

use clarifier_cli::{End, Place, main_in_team, write_err};
use clarifier_upscale::{Link, Team};
use mpi::Threading;
use mpi::environment::{Universe, processor_name};
use mpi::topology::Communicator;

use world::World;

/// Whoever says so wants to know what the connection cost.
const VERBOSE: [&str; 2] = ["-v", "--verbose"];

fn main() -> ExitCode {
    let mut joined: Option<(Universe, Rc<World>)> = None;
    let end = main_in_team(|| {
        // One thread talks to MPI; others compute.
        let Some((universe, _)) = mpi::initialize_with_threading(Threading::Funneled) else {
            return Place::alone();
        };
        let world = universe.world();
        let local = world.split_shared(world.rank());
        let on_machine = (local.rank() as usize, local.size() as usize);
        threads::share(&World::new(local));
        let world = Rc::new(World::new(world));
        joined = Some((universe, world.clone()));
        let machine = processor_name().unwrap_or_default();
        Place { team: Team::new(world), on_machine, machine }
    });
    let Some((universe, world)) = joined else {
        return match end {
            End::Together(code) => code,
            End::Apart => ExitCode::FAILURE,
        };
    };
    match end {
        End::Together(code) => {
            if std::env::args().any(|argument| VERBOSE.contains(&&*argument)) && world.size() > 1 {
                // By one, or lines would run into each other.
                let all = world.all_gather(world.spent().into_bytes()).unwrap_or_default();
                for spent in all.iter().filter(|_| world.rank() == 0) {
                    write_err(format_args!("{}\n", String::from_utf8_lossy(spent)));
                }
            }
            code
        }
        // The others wait for what will never come.
        End::Apart => universe.world().abort(1),
    }
}
