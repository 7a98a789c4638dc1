//! The program `clarifier`, for a process alone and for one of a team.
// A closed terminal makes these panic; `console` has what cannot.
#![cfg_attr(not(test), deny(clippy::print_stdout, clippy::print_stderr))]

#[macro_use]
mod console;

mod adapters;
mod args;
mod batch;
mod crash;
mod devices;
mod inputs;
mod job;
mod names;
mod output;
mod picture;
mod place;
mod planning;
mod progress;
mod recipe;
mod resume;
mod run;
mod scratch;
mod selftest;
mod space;
mod starter;
mod status;
mod store;
mod summary;
mod text;
mod thumbnail;
mod unfinished;
mod words;
mod work_dir;

use std::process::ExitCode;

pub use console::write_err;
pub use place::Place;

/// How a process of a team ends.
pub enum End {
    /// As all do.
    Together(ExitCode),
    /// By something that the others do not know of: they must be ended.
    Apart,
}

/// What a run ended with; the exit code says as much.
enum Outcome {
    Done,
    /// Something could not be done; said already.
    Failed,
    Cancelled,
}

/// The program, as its command line says.
pub fn main() -> ExitCode {
    match main_in_team(Place::alone) {
        End::Together(code) => code,
        End::Apart => ExitCode::FAILURE,
    }
}

/// The program in a team, which `connect` joins if the command line asks for what a team can do; all must have the same.
pub fn main_in_team(connect: impl FnOnce() -> Place) -> End {
    crash::guard(|| run(connect)).unwrap_or(End::Apart)
}

fn run(connect: impl FnOnce() -> Place) -> End {
    let arguments: Vec<_> = std::env::args_os().skip(1).collect();
    let matches = args::command().get_matches();
    let mut place = Place::alone();
    let result = match matches.subcommand() {
        Some(("upscale", matches)) => match job::Request::from_matches(matches, arguments) {
            Ok(request) => {
                place = connect();
                run::upscale(request, &place)
            }
            // As clap does for the errors that it finds itself.
            Err(message) => args::command().error(clap::error::ErrorKind::ValueValidation, message).exit(),
        },
        Some(("resume", matches)) => {
            place = connect();
            resume::resume(matches, &place)
        }
        Some(("status", matches)) => resume::status(matches),
        Some(("models", matches)) => store::command(matches).map(|()| Outcome::Done),
        Some(("devices", matches)) => devices::print(matches.get_flag("json")).map(|()| Outcome::Done),
        Some(("selftest", matches)) => selftest::run(matches),
        _ => unreachable!("clap asks for a subcommand"),
    };
    let apart = result.as_ref().is_err_and(|error| error.is::<place::Apart>());
    let rank = place.team.rank();
    match result {
        Err(error) if apart && !place.team.is_alone() => {
            errln!("error: rank {rank}: {}", place.named(&words::of_error(&error)));
            End::Apart
        }
        // Rank 0 has said it for all.
        _ if rank > 0 => End::Together(ExitCode::SUCCESS),
        Ok(Outcome::Done) if console::output_was_lost() => {
            errln!(
                "error: standard output took only a part of what was said; is the disk full that it goes to?"
            );
            End::Together(ExitCode::FAILURE)
        }
        Ok(Outcome::Done) => End::Together(ExitCode::SUCCESS),
        Ok(Outcome::Failed) => End::Together(ExitCode::FAILURE),
        Ok(Outcome::Cancelled) => End::Together(ExitCode::from(130)),
        Err(error) => {
            errln!("error: {}", words::of_error(&error));
            End::Together(ExitCode::FAILURE)
        }
    }
}
