//! The command line. The recipe's options are made from the engine's description of its settings.

use std::collections::BTreeMap;
use std::ffi::OsString;

use clap::builder::PossibleValuesParser;
use clap::parser::ValueSource;
use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use clarifier_raster::Format;
use clarifier_upscale::device::{DeviceChoice, Precision};
use clarifier_upscale::{Field, Kind, Settings};

use crate::adapters::Adapters;
use crate::output::DEEP_ZOOM;
use crate::words;

/// The whole command line.
pub fn command() -> Command {
    Command::new("clarifier")
        .version(env!("CARGO_PKG_VERSION"))
        .about("Enlarges pictures 2 to 16 times and gives them new, believable detail")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommand(upscale())
        .subcommand(resume())
        .subcommand(status())
        .subcommand(models())
        .subcommand(
            Command::new("devices")
                .about("List the GPUs of this machine, and say which device would be taken")
                .arg(json()),
        )
        .subcommand(crate::selftest::command())
}

/// What a command line of `upscale`, without the program, says.
pub fn upscale_matches(arguments: &[OsString]) -> Result<ArgMatches, String> {
    let program = [OsString::from("clarifier")];
    let all = command().try_get_matches_from(program.iter().chain(arguments)).map_err(|e| e.to_string())?;
    match all.subcommand() {
        Some(("upscale", matches)) => Ok(matches.clone()),
        _ => Err("it is none of `clarifier upscale`".into()),
    }
}

/// What the user gave of what a run is about: option and words. How much is said, and how a run is kept, does not count.
pub fn given(arguments: &[OsString]) -> Result<BTreeMap<String, String>, String> {
    const ASIDE: [&str; 7] = ["json", "quiet", "verbose", "dry-run", "work-dir", "restart", "save-every"];
    let (matches, command) = (upscale_matches(arguments)?, upscale());
    let mut list = BTreeMap::new();
    for arg in command.get_arguments() {
        let id = arg.get_id().as_str();
        if ASIDE.contains(&id) || matches.value_source(id) != Some(ValueSource::CommandLine) {
            continue;
        }
        let values = matches.get_raw(id).into_iter().flatten();
        let values: Vec<_> = values.map(|value| value.to_string_lossy().into_owned()).collect();
        let name = arg.get_long().map_or_else(|| "the input".to_owned(), |long| format!("--{long}"));
        list.insert(name, values.join(" "));
    }
    Ok(list)
}

fn work_folder() -> Arg {
    Arg::new("dir")
        .value_name("DIR")
        .required(true)
        .value_parser(value_parser!(std::path::PathBuf))
        .help("The --work-dir of the run")
}

fn resume() -> Command {
    Command::new("resume")
        .about("Go on with a run that was interrupted, to the same bytes")
        .arg(work_folder())
        .arg(json())
        .args(how_much())
}

fn status() -> Command {
    Command::new("status").about("Say how the run in a work folder is doing").arg(work_folder()).arg(json())
}

/// How much is said.
fn how_much() -> [Arg; 2] {
    let flag = |name: &'static str, help: &'static str| {
        Arg::new(name).long(name).action(ArgAction::SetTrue).help(help)
    };
    [
        flag("quiet", "Nothing but errors").short('q').conflicts_with("verbose"),
        flag("verbose", "Also the device, the plan and the settings").short('v'),
    ]
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
                .help("PNG, JPEG, WebP or TIFF pictures, folders of them, or patterns such as 'scans/*.png'"),
        )
        .arg(flag("recursive", "Also the folders in a folder").short('r'))
        .arg(
            file("output", "OUT", "Where the result goes; its extension is the format")
                .short('o')
                .conflicts_with("output-dir"),
        )
        .args(outputs())
        .next_help_heading("The recipe")
        .arg(option(
            "preset",
            "NAME|FILE",
            "Settings and LoRAs as other programs have them (refiners, space, clarity, clarifier), or of a TOML or \
             JSON file; options given beside it win",
        ))
        .arg(
            file("recipe", "FROM", "Repeat what made the picture FROM, whose recipe is stored in it; options win")
                .conflicts_with_all(["preset", "settings"]),
        )
        .args(Settings::describe().iter().map(recipe))
        .arg(flag("reuse-seed", "The same seed for every picture of a batch"))
        .arg(file("mask", "FILE", "A picture that says what is redrawn, see --mask-mode"))
        .arg(option(
            "region",
            "X,Y,W,H",
            "Only this part of the input (pixels), exactly as the whole run would give it: for trying settings; all takes back a recipe's",
        ))
        .arg(file(
            "tile-prompts",
            "FILE",
            "Prompts for parts of the picture: lines such as `R2C1: a dog` (row 2, column 1 of the tiles) or \
             `X,Y,W,H: a dog` (pixels of the input); a tile takes the smallest rectangle that its centre is in",
        ))
        .next_help_heading("Models")
        .arg(file("checkpoint", "PATH", "SD 1.5: a diffusers folder or a single file, or `starter`, the small set that is built in [default: the store's, else starter]"))
        .arg(file("controlnet", "PATH", "The Tile ControlNet, likewise [default: the store's]"))
        .arg(file("vae", "PATH", "A VAE in place of the checkpoint's; TAESD is a fast, approximate one"))
        .args(Adapters::args())
        .arg(option(
            "upscaler",
            "PATH|lite|lanczos",
            "An ESRGAN file, or one built in [default: the store's, or lite]",
        ))
        .arg(flag("no-diffusion", "The enlarger alone"))
        .next_help_heading("Running")
        .arg(
            option("device", "DEVICE", "Where to compute")
                .value_parser(names(&DeviceChoice::NAMES))
                .default_value("auto"),
        )
        .arg(
            option("precision", "TYPE", "What to compute in; packed is f32 with weights rounded to 16 bits")
                .value_parser(names(&Precision::NAMES))
                .default_value("auto"),
        )
        .arg(option("memory-limit", "SIZE", "Plan for at most this much memory, e.g. 8G"))
        .arg(
            option(
                "tile-batch",
                "N",
                "Tiles to compute at once where there is memory for them [default: 4 on a GPU with memory of its own, else 1]",
            )
            .value_parser(value_parser!(u64).range(1..=64)),
        )
        .arg(file(
            "noise",
            "FILE",
            "A safetensors file with the first stage's `noise` [c, h, w], c the channels of a latent (SD 1.5 has 4), for comparing with other programs",
        ))
        .arg(file("settings", "FILE", "Settings in JSON; options given beside it win"))
        .arg(flag("dry-run", "Say what would be done and what it would need, and do nothing"))
        .arg(json())
        .args(how_much())
}

/// The names of a list of choices.
fn names<T>(list: &[(&'static str, T)]) -> PossibleValuesParser {
    list.iter().map(|(name, _)| *name).collect::<Vec<_>>().into()
}

/// Extensions of results: the formats', and a pyramid's.
fn extensions() -> PossibleValuesParser {
    let formats = Format::ALL.into_iter().flat_map(|format| format.extensions());
    formats.copied().chain([DEEP_ZOOM]).collect::<Vec<_>>().into()
}

/// What the results are, and where.
fn outputs() -> Vec<Arg> {
    let option = |name: &'static str, value: &'static str, help: &'static str| {
        Arg::new(name).long(name).value_name(value).help(help)
    };
    let folder = |name, help| option(name, "DIR", help).value_parser(value_parser!(std::path::PathBuf));
    let flag = |name: &'static str, help: &'static str| {
        Arg::new(name).long(name).action(ArgAction::SetTrue).help(help)
    };
    vec![
        folder(
            "output-dir",
            "The folder for the results; what lies in folders below a given one does so there",
        ),
        folder(
            "work-dir",
            "A folder for processing_status.txt, clarifier.log, clarifier_now.png (how it looks now), a picture <name>R1C1.jpg of each tile, and \
             <name>_enhanced_full.<ext> if no other option says where results go; and for what an interrupted run needs \
             to go on: the same command, or `clarifier resume DIR`, continues it",
        ),
        option("save-every", "SECONDS", "How much work an interruption may cost at most, with --work-dir")
            .value_parser(value_parser!(u64).range(0..=3600))
            .default_value("30"),
        flag("restart", "Begin anew, and drop what an interrupted run left in --work-dir")
            .requires("work-dir"),
        option(
            "name",
            "PATTERN",
            "What results are called, with {name}, {ext}, {factor}, {seed}, {width}, {height}, {index} \
             [default: {name}_{factor}x]",
        )
        .conflicts_with("output"),
        option("format", "FORMAT", "png, jpg, webp (without loss), tif or dzi [default: each input's]")
            .value_parser(extensions())
            .hide_possible_values(true)
            .conflicts_with("output"),
        option(
            "dzi-tiles",
            "FORMAT",
            "What the tiles of a Deep Zoom pyramid (.dzi) are, which viewers such as OpenSeadragon show: jpg or png",
        )
        .value_parser(["jpg", "png"])
        .hide_possible_values(true)
        .default_value("jpg"),
        option("output-depth", "BITS", "Of each value; auto is the input's where the format has them")
            .value_parser(["auto", "8", "16"])
            .default_value("auto"),
        option("jpeg-quality", "1-100", "Of JPEG results")
            .value_parser(value_parser!(u8).range(1..=100))
            .default_value("95"),
        option("jpeg-chroma", "RATIO", "How finely JPEG results store colour: 444, 422 or 420")
            .value_parser(["444", "422", "420", "4:4:4", "4:2:2", "4:2:0"])
            .hide_possible_values(true)
            .default_value("444"),
        flag("overwrite", "Replace results that exist already"),
        flag("skip-existing", "Leave out pictures whose results exist already").conflicts_with("overwrite"),
    ]
}

/// One option of the recipe.
fn recipe(field: &Field) -> Arg {
    let value = match field.kind {
        Kind::Text => "TEXT",
        Kind::Integer => "N",
        Kind::Number => "X",
        Kind::Choice => "WORD",
        Kind::Switch => "on|off",
    };
    let mut notes = Vec::new();
    if let Some((min, max)) = field.range.filter(|(_, max)| *max < 1e6) {
        notes.push(format!("{min} to {max}"));
    }
    if !field.choices.is_empty() {
        notes.push(field.choices.join(", "));
    }
    let default = match (field.kind, field.default.as_str()) {
        (_, "") => "none",
        (Kind::Switch, "true") => "on",
        (Kind::Switch, _) => "off",
        (_, default) => default,
    };
    notes.push(format!("default: {default}"));
    let arg = Arg::new(field.name.clone())
        .long(words::option(&field.name).trim_start_matches('-').to_owned())
        .value_name(value)
        .help(format!("{} [{}]", field.help, notes.join("; ")));
    match field.kind {
        // The bare option turns it on.
        Kind::Switch => arg.num_args(0..=1).require_equals(true).default_missing_value("on"),
        _ => arg.allow_hyphen_values(true),
    }
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
