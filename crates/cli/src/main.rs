//! The program `clarifier`.

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
mod planning;
mod progress;
mod recipe;
mod resume;
mod run;
mod scratch;
mod selftest;
mod space;
mod status;
mod store;
mod summary;
mod unfinished;
mod work_dir;

use std::process::ExitCode;

/// What a run ended with; the exit code says as much.
enum Outcome {
    Done,
    /// Something could not be done; said already.
    Failed,
    Cancelled,
}

fn main() -> ExitCode {
    crash::guard(run)
}

fn run() -> ExitCode {
    let arguments: Vec<_> = std::env::args_os().skip(1).collect();
    let matches = args::command().get_matches();
    let result = match matches.subcommand() {
        Some(("upscale", matches)) => match job::Request::from_matches(matches, arguments) {
            Ok(request) => run::upscale(&request),
            // As clap does for the errors that it finds itself.
            Err(message) => args::command().error(clap::error::ErrorKind::ValueValidation, message).exit(),
        },
        Some(("resume", matches)) => resume::resume(matches),
        Some(("status", matches)) => resume::status(matches),
        Some(("models", matches)) => store::command(matches).map(|()| Outcome::Done),
        Some(("devices", matches)) => devices::print(matches.get_flag("json")).map(|()| Outcome::Done),
        Some(("selftest", matches)) => selftest::run(matches),
        _ => unreachable!("clap asks for a subcommand"),
    };
    match result {
        Ok(Outcome::Done) => ExitCode::SUCCESS,
        Ok(Outcome::Failed) => ExitCode::FAILURE,
        Ok(Outcome::Cancelled) => ExitCode::from(130),
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
