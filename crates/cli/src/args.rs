//! The command line. The recipe's options are made from the engine's description of its settings.

use clap::{Arg, ArgAction, Command, value_parser};
use clarifier_upscale::{Field, Kind, Settings};

/// The whole command line.
pub fn command() -> Command {
    Command::new("clarifier")
        .version(env!("CARGO_PKG_VERSION"))
        .about("Enlarges pictures 2 to 16 times and gives them new, believable detail")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommand(upscale())
        .subcommand(models())
        .subcommand(
            Command::new("devices")
                .about("List the GPUs of this machine, and say which device would be taken")
                .arg(json()),
        )
}

fn json() -> Arg {
    Arg::new("json").long("json").action(ArgAction::SetTrue).help("Write JSON lines to standard output")
}

fn upscale() -> Command {
    let path = value_parser!(std::path::PathBuf);
    let option = |name: &'static str, value: &'static str, help: &'static str| {
        Arg::new(name).long(name).value_name(value).help(help)
    };
    let file = |name, value, help| option(name, value, help).value_parser(path.clone());
    let flag = |name: &'static str, help: &'static str| {
        Arg::new(name).long(name).action(ArgAction::SetTrue).help(help)
    };
    Command::new("upscale")
        .about("Enlarge pictures")
        .arg(
            Arg::new("input")
                .value_name("INPUT")
                .required(true)
                .num_args(1..)
                .value_parser(path.clone())
                .help("PNG, JPEG, WebP or TIFF pictures"),
        )
        .arg(
            file("output", "OUT", "Where the result goes; its extension is the format")
                .short('o')
                .conflicts_with("output-dir"),
        )
        .arg(file("output-dir", "DIR", "The folder for the results, each <name>_<factor>x.<ext>"))
        .arg(flag("overwrite", "Replace results that exist already"))
        .next_help_heading("The recipe")
        .args(Settings::describe().iter().map(recipe))
        .arg(flag("reuse-seed", "The same seed for every picture of a batch"))
        .next_help_heading("Models")
        .arg(file("checkpoint", "PATH", "SD 1.5: a diffusers folder or a single file [default: the store's]"))
        .arg(file("controlnet", "PATH", "The Tile ControlNet, likewise [default: the store's]"))
        .arg(file("vae", "PATH", "A VAE in place of the checkpoint's"))
        .arg(option(
            "upscaler",
            "PATH|lite|lanczos",
            "An ESRGAN file, or one built in [default: the store's, or lite]",
        ))
        .arg(flag("no-diffusion", "The enlarger alone"))
        .next_help_heading("Running")
        .arg(
            option("device", "DEVICE", "Where to compute")
                .value_parser(["auto", "gpu", "cpu"])
                .default_value("auto"),
        )
        .arg(
            option("precision", "TYPE", "What to compute in")
                .value_parser(["auto", "f32", "f16"])
                .default_value("auto"),
        )
        .arg(option("memory-limit", "SIZE", "Plan for at most this much memory, e.g. 8G"))
        .arg(file(
            "noise",
            "FILE",
            "A safetensors file with the first stage's `noise` [4, h, w], for comparing with other programs",
        ))
        .arg(
            option("jpeg-quality", "1-100", "Of JPEG results")
                .value_parser(value_parser!(u8).range(1..=100))
                .default_value("95"),
        )
        .arg(file("settings", "FILE", "Settings in JSON; options given beside it win"))
        .arg(flag("dry-run", "Say what would be done and what it would need, and do nothing"))
        .arg(json())
        .arg(flag("quiet", "Nothing but errors").short('q').conflicts_with("verbose"))
        .arg(flag("verbose", "Also the device, the plan and the settings").short('v'))
}

/// One option of the recipe.
fn recipe(field: &Field) -> Arg {
    let value = match field.kind {
        Kind::Text => "TEXT",
        Kind::Integer => "N",
        Kind::Number => "X",
        Kind::Choice => "WORD",
    };
    let mut notes = Vec::new();
    if let Some((min, max)) = field.range.filter(|(_, max)| *max < 1e6) {
        notes.push(format!("{min} to {max}"));
    }
    if !field.choices.is_empty() {
        notes.push(field.choices.join(", "));
    }
    notes.push(format!("default: {}", if field.default.is_empty() { "none" } else { &field.default }));
    Arg::new(field.name.clone())
        .long(field.option.trim_start_matches('-').to_owned())
        .value_name(value)
        .allow_hyphen_values(true)
        .help(format!("{} [{}]", field.help, notes.join("; ")))
}

fn models() -> Command {
    let names = Arg::new("name").value_name("NAME").num_args(0..);
    Command::new("models")
        .about("The models on this machine: list, download, check")
        .subcommand_required(true)
        .subcommand(Command::new("list").about("What there is to download, and what is here"))
        .subcommand(
            Command::new("pull")
                .about("Download models; without a name, the recommended set")
                .arg(names.clone()),
        )
        .subcommand(
            Command::new("path")
                .about("Print where a model lies; without a name, the store's folder")
                .arg(names.clone()),
        )
        .subcommand(Command::new("verify").about("Read the models here and compare their hashes").arg(names))
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_command_line_is_consistent() {
        super::command().debug_assert();
    }

    #[test]
    fn help_lists_samplers_and_schedules() {
        let help = super::upscale().render_long_help().to_string();
        for word in ["dpmsolver", "euler_a", "dpm++3m_sde", "tcd", "karras", "sgm_uniform"] {
            assert!(help.contains(word), "{word}");
        }
    }
}
