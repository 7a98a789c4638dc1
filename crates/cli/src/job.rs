//! What the user asked for, from the command line.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::ArgMatches;
use clarifier_raster::{Chroma, Depth, Format};
use clarifier_tile::{Rect, Size};
use clarifier_upscale::device::{DeviceChoice, Precision};
use clarifier_upscale::{Recipe, Settings, TilePrompts, UpscalerChoice};

use crate::adapters::Adapters;
use crate::names::Pattern;
use crate::output::DEEP_ZOOM;
use crate::{recipe, starter, words};

/// One call of `clarifier upscale`.
pub struct Request {
    pub inputs: Vec<PathBuf>,
    pub output: Option<PathBuf>,
    pub output_dir: Option<PathBuf>,
    pub work_dir: Option<PathBuf>,
    /// How often the state of a run is kept there.
    pub save_every: Duration,
    /// Whether the work folder is for others: this process only computes with rank 0 of its team.
    pub follows: bool,
    /// Whether what an interrupted run left there is dropped.
    pub restart: bool,
    /// The command line, without the program.
    pub arguments: Vec<OsString>,
    pub name: Option<Pattern>,
    pub format: Option<Format>,
    /// Deep Zoom pyramids, whatever the format.
    pub deep_zoom: bool,
    /// What their tiles are.
    pub dzi_tiles: Format,
    pub recursive: bool,
    pub overwrite: bool,
    pub skip_existing: bool,
    pub settings: Settings,
    pub reuse_seed: bool,
    pub checkpoint: Option<PathBuf>,
    pub controlnet: Option<PathBuf>,
    pub vae: Option<PathBuf>,
    pub adapters: Adapters,
    pub upscaler: Option<UpscalerChoice>,
    pub diffusion: bool,
    pub device: DeviceChoice,
    pub precision: Precision,
    pub memory_limit: Option<u64>,
    /// How many tiles may be computed at once.
    pub tile_batch: Option<usize>,
    pub noise: Option<PathBuf>,
    pub mask: Option<PathBuf>,
    pub region: Option<Rect>,
    pub tile_prompts: TilePrompts,
    /// What is to be repeated.
    pub recipe: Option<Recipe>,
    pub jpeg_quality: u8,
    pub jpeg_chroma: Chroma,
    /// As the input's, if the user did not say.
    pub depth: Option<Depth>,
    pub dry_run: bool,
    pub json: bool,
    pub quiet: bool,
    pub verbose: bool,
}

impl Request {
    /// The request, or what is wrong with it.
    pub fn from_matches(matches: &ArgMatches, arguments: Vec<OsString>) -> Result<Self, String> {
        Self::read(matches, arguments).map_err(|message| words::with_options(&message))
    }

    fn read(matches: &ArgMatches, arguments: Vec<OsString>) -> Result<Self, String> {
        let path = |name: &str| matches.get_one::<PathBuf>(name).cloned();
        let text = |name: &str| matches.get_one::<String>(name).map(String::as_str);
        let repeated = path("recipe").map(|from| recipe::recipe(&from)).transpose()?;
        let mut adapters = Adapters::from_matches(matches);
        let mut settings = repeated.as_ref().map_or_else(Settings::default, |r| r.settings.clone());
        if let Some(name) = text("preset") {
            let preset = recipe::preset(name)?;
            preset.apply(&mut settings).map_err(|e| format!("--preset {name}: {e}"))?;
            adapters.suggest(name, &preset);
        }
        if let Some(file) = path("settings") {
            let bad = |e: String| format!("--settings {}: {e}", file.display());
            let json = crate::text::read(&file).map_err(|e| bad(e.to_string()))?;
            settings.merge(&json).map_err(|e| bad(e.to_string()))?;
        }
        for field in Settings::describe() {
            if let Some(value) = text(&field.name) {
                settings.set(&field.name, value).map_err(|e| e.to_string())?;
            }
        }
        settings.validate().map_err(|e| e.to_string())?;
        let mut models =
            Files { checkpoint: path("checkpoint"), controlnet: path("controlnet"), vae: path("vae") };
        let mut upscaler = text("upscaler").map(|t| t.parse().unwrap_or_else(|never| match never {}));
        let mut diffusion = !matches.get_flag("no-diffusion");
        if let Some(recipe) = &repeated {
            diffusion &= recipe.diffusion;
            models.repeat(recipe, diffusion)?;
            adapters.repeat(recipe);
            if let (None, Some(file)) = (&upscaler, &recipe.models.upscaler) {
                upscaler = Some(repeated_upscaler(file)?);
            }
        }
        let tile_prompts = match path("tile-prompts") {
            Some(file) => {
                let bad = |e: String| format!("--tile-prompts {}: {e}", file.display());
                let prompts = crate::text::read(&file).map_err(|e| bad(e.to_string()))?;
                TilePrompts::parse(&prompts).map_err(|e| bad(e.to_string()))?
            }
            None => repeated.as_ref().map_or_else(TilePrompts::default, |r| r.tile_prompts.clone()),
        };
        let region = match text("region") {
            Some("all") => None,
            Some(text) => Some(rect(text)?),
            None => {
                repeated.as_ref().and_then(|r| r.region).map(|[x, y, w, h]| Rect::new(x, y, Size::new(w, h)))
            }
        };
        let (mask, noise) = (path("mask"), path("noise"));
        if let Some(recipe) = &repeated {
            for (option, given, file) in [("--mask", &mask, &recipe.mask), ("--noise", &noise, &recipe.noise)]
            {
                if let (None, Some(file)) = (given, file) {
                    return Err(format!("the recipe was made with {option} {}; give it too", file.name));
                }
            }
        }
        let inputs: Vec<PathBuf> = matches.get_many("input").into_iter().flatten().cloned().collect();
        let output = path("output");
        if output.is_some() && inputs.len() > 1 {
            return Err("-o names one result and there are several inputs; use --output-dir".into());
        }
        let parsed = |name: &str| text(name).expect("it has a default");
        let given = |name: &str| {
            (matches.value_source(name) == Some(clap::parser::ValueSource::CommandLine)).then_some(())
        };
        let usual_quality: u8 = *matches.get_one("jpeg-quality").expect("it has a default");
        Ok(Self {
            inputs,
            output,
            output_dir: path("output-dir"),
            work_dir: path("work-dir"),
            save_every: Duration::from_secs(*matches.get_one("save-every").expect("it has a default")),
            follows: false,
            restart: matches.get_flag("restart"),
            arguments,
            name: text("name").map(Pattern::parse).transpose()?,
            format: text("format").filter(|name| *name != DEEP_ZOOM).map(format),
            deep_zoom: text("format") == Some(DEEP_ZOOM),
            dzi_tiles: format(parsed("dzi-tiles")),
            recursive: matches.get_flag("recursive"),
            overwrite: matches.get_flag("overwrite"),
            skip_existing: matches.get_flag("skip-existing"),
            settings,
            reuse_seed: matches.get_flag("reuse-seed"),
            checkpoint: models.checkpoint,
            controlnet: models.controlnet,
            vae: models.vae,
            adapters,
            upscaler,
            diffusion,
            device: parsed("device").parse()?,
            precision: match &repeated {
                // The result would differ in f16.
                Some(recipe)
                    if ["f32", "packed"].contains(&&*recipe.precision) && parsed("precision") == "auto" =>
                {
                    recipe.precision.parse()?
                }
                _ => parsed("precision").parse()?,
            },
            memory_limit: text("memory-limit").map(bytes).transpose()?,
            tile_batch: matches.get_one::<u64>("tile-batch").map(|tiles| *tiles as usize),
            noise,
            mask,
            region,
            tile_prompts,
            jpeg_quality: match given("jpeg-quality") {
                None => repeated.as_ref().and_then(|r| r.jpeg_quality).unwrap_or(usual_quality),
                Some(()) => usual_quality,
            },
            jpeg_chroma: match (
                given("jpeg-chroma"),
                repeated.as_ref().and_then(|r| r.jpeg_chroma.as_deref()),
            ) {
                (None, Some(chroma)) => chroma_named(chroma),
                _ => chroma_named(parsed("jpeg-chroma")),
            },
            depth: match (
                given("output-depth"),
                repeated.as_ref().and_then(|r| r.depth),
                parsed("output-depth"),
            ) {
                (None, Some(16), _) | (Some(()), _, "16") => Some(Depth::Sixteen),
                (None, Some(8), _) | (Some(()), _, "8") => Some(Depth::Eight),
                _ => None,
            },
            recipe: repeated,
            dry_run: matches.get_flag("dry-run"),
            json: matches.get_flag("json"),
            quiet: matches.get_flag("quiet"),
            verbose: matches.get_flag("verbose"),
        })
    }
}

/// Files of networks that the user named.
struct Files {
    checkpoint: Option<PathBuf>,
    controlnet: Option<PathBuf>,
    vae: Option<PathBuf>,
}

impl Files {
    /// Those of a recipe where the user named none.
    fn repeat(&mut self, recipe: &Recipe, diffusion: bool) -> Result<(), String> {
        let models = &recipe.models;
        // A folder with both, named by the user, is one thing.
        let beside = self.checkpoint.as_ref().is_some_and(|path| starter::has_controlnet(path));
        let one_folder = models.controlnet == models.checkpoint
            || models.controlnet.as_ref().map(|file| &file.name)
                == models.checkpoint.as_ref().map(|file| &file.name);
        for (mine, file, option) in [
            (&mut self.checkpoint, &models.checkpoint, "--checkpoint"),
            (&mut self.controlnet, &models.controlnet, "--controlnet"),
            (&mut self.vae, &models.vae, "--vae"),
        ] {
            if option == "--controlnet" && beside && one_folder {
                continue;
            }
            if let (None, Some(file), true) = (&mine, file, diffusion) {
                *mine = Some(recipe::find(file, option)?);
            }
        }
        Ok(())
    }
}

fn repeated_upscaler(file: &clarifier_upscale::RecipeFile) -> Result<UpscalerChoice, String> {
    match UpscalerChoice::built_in(&file.name) {
        Some(choice) => Ok(choice),
        None => Ok(UpscalerChoice::File(recipe::find(file, "--upscaler")?.into())),
    }
}

/// `X,Y,W,H`.
fn rect(text: &str) -> Result<Rect, String> {
    let bad = || {
        format!("--region {text:?}: four whole numbers, left, top, width and height, such as 100,50,256,256")
    };
    let numbers: Result<Vec<u32>, _> = text.split(',').map(|n| n.trim().parse()).collect();
    match numbers.map_err(|_| bad())?[..] {
        [x, y, w, h] => Ok(Rect::new(x, y, Size::new(w, h))),
        _ => Err(bad()),
    }
}

/// Of a ratio that clap has allowed, or a recipe's.
fn chroma_named(name: &str) -> Chroma {
    match name {
        "420" | "4:2:0" => Chroma::Quarter,
        "422" | "4:2:2" => Chroma::Half,
        _ => Chroma::Full,
    }
}

/// Of an extension that clap has allowed.
fn format(extension: &str) -> Format {
    Format::from_extension(extension).expect("an extension of a format's")
}

/// `8G`, `512M`, `1.5GB` or a number of bytes.
fn bytes(text: &str) -> Result<u64, String> {
    let bad = || format!("--memory-limit {text:?}: a number with K, M, G or T, such as 8G");
    let upper = text.trim().to_ascii_uppercase();
    let digits = upper.trim_end_matches('B').trim_end_matches('I');
    let (number, unit) = match digits.char_indices().last() {
        Some((at, c)) if c.is_ascii_alphabetic() => (&digits[..at], Some(c)),
        _ => (digits, None),
    };
    let shift = match unit {
        None => 0,
        Some('K') => 10,
        Some('M') => 20,
        Some('G') => 30,
        Some('T') => 40,
        Some(_) => return Err(bad()),
    };
    let number: f64 = number.trim().parse().map_err(|_| bad())?;
    if !(number > 0.0 && number.is_finite()) {
        return Err(bad());
    }
    Ok((number * f64::from(1u32 << 10).powi(shift / 10)) as u64)
}

#[cfg(test)]
mod tests {
    use super::bytes;

    #[test]
    fn sizes_are_read_as_people_write_them() {
        assert_eq!(bytes("8G"), Ok(8 << 30));
        assert_eq!(bytes("1.5 GiB"), Ok(3 << 29));
        assert_eq!(bytes("512mb"), Ok(512 << 20));
        assert_eq!(bytes("1000"), Ok(1000));
        for bad in ["", "G", "-1G", "8X", "nan"] {
            assert!(bytes(bad).is_err(), "{bad}");
        }
    }
}
