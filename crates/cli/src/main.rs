//! The program `clarifier`.

fn main() -> std::process::ExitCode {
    clarifier_cli::main()
}
