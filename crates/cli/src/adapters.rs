//! LoRAs and embeddings of the command line and of prompts, found as files.

use std::path::{Path, PathBuf};

use anyhow::{Result, anyhow, bail};
use clap::{Arg, ArgAction, ArgMatches, value_parser};
use clarifier_upscale::{
    LoraChoice, LoraTag, Preset, Recipe, RecipeLora, Settings, TilePrompts, lora_tags, mentioned_embeddings,
};

use crate::store::{self, Kind};

/// What such files end in.
const EXTENSIONS: [&str; 5] = ["safetensors", "pt", "bin", "ckpt", "pth"];
/// Folders inside a folder of models that are looked into.
const DEPTH: usize = 5;

/// What the user said of them, beside the prompts.
#[derive(Default)]
pub struct Adapters {
    loras: Vec<String>,
    lora_dir: Option<PathBuf>,
    embeddings: Vec<PathBuf>,
    embedding_dir: Option<PathBuf>,
    /// What a preset would like, `name:scale`, used where it is here and the user says nothing else.
    suggested: Vec<String>,
    /// The preset's name.
    preset: String,
    /// Files of embeddings that a recipe was made with.
    repeated: Vec<String>,
}

impl Adapters {
    /// The options.
    pub fn args() -> [Arg; 4] {
        let option = |name: &'static str, value: &'static str, help: &'static str| {
            Arg::new(name).long(name).value_name(value).help(help)
        };
        let path = value_parser!(PathBuf);
        [
            option(
                "lora",
                "FILE[:SCALE]",
                "A LoRA to merge into the checkpoint, a file or a name as in <lora:NAME:SCALE> in a prompt; may be given several times",
            )
            .action(ArgAction::Append),
            option("lora-dir", "DIR", "Where <lora:NAME> is looked for, before the store")
                .value_parser(path.clone()),
            option(
                "embedding",
                "FILE",
                "A textual inversion; prompts use it by its file's name; may be given several times",
            )
            .value_parser(path.clone())
            .action(ArgAction::Append),
            option("embedding-dir", "DIR", "A folder of textual inversions; those that a prompt names are used")
                .value_parser(path),
        ]
    }

    /// What was given.
    pub fn from_matches(matches: &ArgMatches) -> Self {
        let path = |name: &str| matches.get_one::<PathBuf>(name).cloned();
        Self {
            loras: matches.get_many("lora").into_iter().flatten().cloned().collect(),
            lora_dir: path("lora-dir"),
            embeddings: matches.get_many("embedding").into_iter().flatten().cloned().collect(),
            embedding_dir: path("embedding-dir"),
            ..Self::default()
        }
    }

    /// Use what `preset`, called `name`, goes with, as far as it is here.
    pub fn suggest(&mut self, name: &str, preset: &Preset) {
        self.preset = name.to_owned();
        self.suggested.clone_from(&preset.loras);
    }

    /// Use what `recipe` was made with, beside what its prompts name.
    pub fn repeat(&mut self, recipe: &Recipe) {
        let tags = lora_tags(&recipe.settings, &recipe.tile_prompts).unwrap_or_default();
        for RecipeLora { file, scale } in &recipe.models.loras {
            let name = stem(Path::new(&file.name));
            let given = |text: &String| stem(Path::new(split_scale(text).0)).eq_ignore_ascii_case(&name);
            let tagged = tags.iter().any(|tag| tag.name.eq_ignore_ascii_case(&name));
            match self.loras.iter_mut().find(|text| given(text)) {
                // The user says where it is; without a scale the recipe's counts.
                Some(text) if split_scale(text).0 == text.as_str() => *text = format!("{text}:{scale}"),
                Some(_) => {}
                None if tagged => {}
                None if Path::new(&file.name).exists() => self.loras.push(format!("{}:{scale}", file.name)),
                None => self.loras.push(format!("{name}:{scale}")),
            }
        }
        self.repeated = recipe.models.embeddings.iter().map(|file| file.name.clone()).collect();
    }

    /// The suggestions that the user leaves room for: name and scale.
    fn welcome(&self, tags: &[LoraTag]) -> Vec<(&str, f32)> {
        let taken = |name: &str| {
            let given = |text: &String| stem(Path::new(split_scale(text).0)).eq_ignore_ascii_case(name);
            tags.iter().any(|tag| tag.name.eq_ignore_ascii_case(name)) || self.loras.iter().any(given)
        };
        self.suggested.iter().map(|text| split_scale(text)).filter(|(name, _)| !taken(name)).collect()
    }

    /// What the preset would like and is not here, in sentences.
    pub fn missing(&self, settings: &Settings, places: &TilePrompts) -> Vec<String> {
        let tags = lora_tags(settings, places).unwrap_or_default();
        let mut list = Vec::new();
        if let Ok(library) = Library::new(Kind::Lora, self.lora_dir.as_deref()) {
            let missing = self.welcome(&tags).into_iter().filter(|(name, _)| library.find(name).is_err());
            list.extend(missing.map(|(name, _)| name.to_owned()));
        }
        let say = |name: String| {
            format!(
                "the preset {} goes with the LoRA {name}, which is not here; `clarifier models pull {name}` downloads it",
                self.preset
            )
        };
        list.into_iter().map(say).collect()
    }

    /// Whether any was given that only diffusion can use.
    pub fn any(&self) -> bool {
        !self.loras.is_empty() || !self.embeddings.is_empty()
    }

    /// Every LoRA of the options, then of the prompts.
    ///
    /// # Errors
    /// If a name is unknown or ambiguous, a tag makes no sense, or one LoRA is asked for twice: which
    /// scale should count cannot be known.
    pub fn loras(&self, settings: &Settings, places: &TilePrompts) -> Result<Vec<LoraChoice>> {
        let library = Library::new(Kind::Lora, self.lora_dir.as_deref())?;
        let mut choices: Vec<LoraChoice> = Vec::new();
        for text in &self.loras {
            let (name, scale) = split_scale(text);
            let path = Path::new(name);
            let path = if path.exists() { path.to_owned() } else { library.find(name)? };
            choices.push(LoraChoice::new(path, scale));
        }
        let tags = lora_tags(settings, places)?;
        for (name, scale) in self.welcome(&tags) {
            // Without it the preset still works; `missing` says so.
            choices.extend(library.find(name).ok().map(|path| LoraChoice::new(path, scale)));
        }
        for LoraTag { name, scale, text_scale } in tags {
            choices.push(LoraChoice { path: library.find(&name)?.into(), scale, text_scale });
        }
        let real = |path: &Path| path.canonicalize().unwrap_or_else(|_| path.to_owned());
        for (index, choice) in choices.iter().enumerate() {
            if choices[..index].iter().any(|other| real(&other.path) == real(&choice.path)) {
                bail!(
                    "the LoRA {} is asked for twice; name it once, in --lora or in one prompt, with one scale",
                    choice.path.display()
                );
            }
        }
        Ok(choices)
    }

    /// Every embedding of the options, and those of the folder and of the store that a prompt names.
    ///
    /// # Errors
    /// If the folder cannot be read, or a recipe's is not found.
    pub fn embeddings(&self, settings: &Settings, places: &TilePrompts) -> Result<Vec<PathBuf>> {
        let mut all = self.embeddings.clone();
        let named = |all: &[PathBuf], file: &PathBuf| {
            all.iter().any(|other| stem(other).eq_ignore_ascii_case(&stem(file)))
        };
        let library = Library::new(Kind::Embedding, self.embedding_dir.as_deref())?;
        let mut found = library.files;
        // One that the user gave comes before the folder's, and the folder's before the store's.
        found.retain(|file| !named(&all, file));
        for (_, path) in library.store {
            found.extend(path.filter(|path| !named(&all, path) && !named(&found, path)));
        }
        let mentioned = mentioned_embeddings(settings, places, &found);
        for name in &self.repeated {
            let same = |file: &PathBuf| stem(file).eq_ignore_ascii_case(&stem(Path::new(name)));
            if all.iter().chain(&mentioned).any(same) {
                continue;
            }
            let here = PathBuf::from(name);
            match found.iter().find(|file| same(file)) {
                Some(file) => all.push(file.clone()),
                None if here.exists() => all.push(here),
                None => {
                    bail!("the recipe needs the embedding {name}, which is not here; give --embedding PATH")
                }
            }
        }
        all.extend(mentioned);
        Ok(all)
    }

    /// What the user should know: embeddings of the store that a prompt names, and that are not here.
    pub fn notes(&self, settings: &Settings, places: &TilePrompts) -> Vec<String> {
        let here = self.embeddings(settings, places).unwrap_or_default();
        let known = store::of_kind(Kind::Embedding).into_iter().filter(|(name, file)| {
            file.is_none() && !here.iter().any(|other| stem(other).eq_ignore_ascii_case(name))
        });
        let files: Vec<PathBuf> = known.map(|(name, _)| format!("{name}.pt").into()).collect();
        let note = |name: &str| {
            format!(
                "a prompt names the embedding {name}, which is not here and so only text; `clarifier models pull {name}` downloads it"
            )
        };
        mentioned_embeddings(settings, places, &files).iter().map(|file| note(&stem(file))).collect()
    }
}

fn stem(path: &Path) -> String {
    path.file_stem().unwrap_or_default().to_string_lossy().into_owned()
}

/// `file.safetensors:0.5` → the file and its scale, 1 if there is none. A drive's letter is no file.
fn split_scale(text: &str) -> (&str, f32) {
    let number = |text: &str| text.trim().parse().ok().filter(|scale: &f32| scale.is_finite());
    match text.rsplit_once(':') {
        Some((file, scale)) if !file.is_empty() && !Path::new(text).exists() => {
            number(scale).map_or((text, 1.0), |scale| (file, scale))
        }
        _ => (text, 1.0),
    }
}

/// The files of one kind that names can mean.
struct Library {
    kind: Kind,
    folder: Option<PathBuf>,
    files: Vec<PathBuf>,
    /// The store's: names, and files if they are here.
    store: Vec<(String, Option<PathBuf>)>,
}

impl Library {
    fn new(kind: Kind, folder: Option<&Path>) -> Result<Self> {
        let mut files = Vec::new();
        if let Some(folder) = folder {
            collect(folder, DEPTH, &mut files).map_err(|e| anyhow!("{}: {e}", folder.display()))?;
            files.sort();
        }
        Ok(Self { kind, folder: folder.map(Into::into), files, store: store::of_kind(kind) })
    }

    /// The file that `name` means, as it is written or else without regard to case.
    fn find(&self, name: &str) -> Result<PathBuf> {
        let exact: Vec<_> = self.files.iter().filter(|file| stem(file) == name).collect();
        let loose: Vec<_> = self.files.iter().filter(|file| stem(file).eq_ignore_ascii_case(name)).collect();
        match (&exact[..], &loose[..]) {
            ([file], _) | ([], [file]) => return Ok((*file).clone()),
            ([], []) => {}
            (several, _) if !several.is_empty() => bail!("{}", ambiguous(name, several)),
            (_, several) => bail!("{}", ambiguous(name, several)),
        }
        match self.store.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)) {
            Some((_, Some(file))) => Ok(file.clone()),
            Some((known, None)) => {
                bail!("the LoRA {known} is not here; `clarifier models pull {known}` downloads it")
            }
            None => bail!("{}", self.unknown(name)),
        }
    }

    fn unknown(&self, name: &str) -> String {
        let stems: Vec<_> = self.files.iter().map(|file| stem(file)).collect();
        let place = match &self.folder {
            None => "no --lora-dir was given".to_owned(),
            Some(folder) if stems.is_empty() => format!("{} has none", folder.display()),
            Some(folder) => format!("{} has {}", folder.display(), stems.join(", ")),
        };
        let store: Vec<_> = self.store.iter().map(|(name, _)| name.as_str()).collect();
        let kind = if self.kind == Kind::Lora { "LoRA" } else { "embedding" };
        format!("there is no {kind} {name:?}: {place}; the store knows {}", store.join(", "))
    }
}

fn ambiguous(name: &str, files: &[&PathBuf]) -> String {
    let list: Vec<_> = files.iter().map(|file| file.display().to_string()).collect();
    format!("{name:?} can mean several files: {}", list.join(", "))
}

/// Every file of weights in a folder and the folders in it.
fn collect(folder: &Path, depth: usize, files: &mut Vec<PathBuf>) -> std::io::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        let known = |e: &std::ffi::OsStr| EXTENSIONS.iter().any(|known| e.eq_ignore_ascii_case(known));
        if path.is_dir() {
            if depth > 0 {
                collect(&path, depth - 1, files)?;
            }
        } else if path.extension().is_some_and(known) {
            files.push(path);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scale_is_what_stands_after_the_last_colon() {
        for (text, file, scale) in [
            ("more.safetensors", "more.safetensors", 1.0),
            ("more.safetensors:0.5", "more.safetensors", 0.5),
            ("more:-1", "more", -1.0),
            (r"C:\x.safetensors", r"C:\x.safetensors", 1.0),
            (r"C:\x.safetensors:0.25", r"C:\x.safetensors", 0.25),
            ("a:b", "a:b", 1.0),
            ("a:nan", "a:nan", 1.0),
        ] {
            assert_eq!(split_scale(text), (file, scale), "{text}");
        }
    }

    #[test]
    fn names_are_found_in_folders_and_unknown_ones_listed() {
        let folder = tempfile::tempdir().unwrap();
        for file in ["a.safetensors", "B.pt", "sub/c.safetensors", "sub/a.ckpt", "notes.txt"] {
            let path = folder.path().join(file);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, b"").unwrap();
        }
        let library = Library::new(Kind::Lora, Some(folder.path())).unwrap();
        assert_eq!(library.find("c").unwrap(), folder.path().join("sub/c.safetensors"));
        assert_eq!(library.find("b").unwrap(), folder.path().join("B.pt"));
        assert!(library.find("a").unwrap_err().to_string().contains("several files"));
        let unknown = library.find("d").unwrap_err().to_string();
        assert!(unknown.contains("a, B") || unknown.contains("B, a"), "{unknown}");
        assert!(unknown.contains("more_details") && !unknown.contains("notes"), "{unknown}");
    }

    #[test]
    fn one_lora_has_one_scale() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.safetensors");
        std::fs::write(&path, b"").unwrap();
        let adapters = Adapters {
            loras: vec![format!("{}:0.5", path.display())],
            lora_dir: Some(folder.path().into()),
            ..Adapters::default()
        };
        let (plain, none) = (Settings::default(), TilePrompts::default());
        assert_eq!(adapters.loras(&plain, &none).unwrap(), [LoraChoice::new(&path, 0.5)]);
        let tagged = Settings { negative_prompt: "<lora:x:1>".into(), ..plain };
        assert!(adapters.loras(&tagged, &none).unwrap_err().to_string().contains("asked for twice"));
        let only_tag = Adapters { loras: Vec::new(), ..adapters };
        assert_eq!(only_tag.loras(&tagged, &none).unwrap(), [LoraChoice::new(&path, 1.0)]);
        let bad = Settings { prompt: "<lora:x:much>".into(), ..Settings::default() };
        assert!(only_tag.loras(&bad, &none).unwrap_err().to_string().contains("<lora:x:much>"));
    }

    #[test]
    fn a_folders_embeddings_are_used_where_a_prompt_names_them() {
        let folder = tempfile::tempdir().unwrap();
        for file in ["easy-neg.pt", "cat.safetensors", "other.pt"] {
            std::fs::write(folder.path().join(file), b"").unwrap();
        }
        let given = folder.path().join("given.pt");
        let adapters = Adapters {
            embeddings: vec![given.clone()],
            embedding_dir: Some(folder.path().into()),
            ..Adapters::default()
        };
        let settings = Settings {
            prompt: "a concatenated picture".into(),
            negative_prompt: "(Easy-Neg:1.2), other".into(),
            ..Settings::default()
        };
        let found = adapters.embeddings(&settings, &TilePrompts::default()).unwrap();
        assert_eq!(found, [given, folder.path().join("easy-neg.pt"), folder.path().join("other.pt")]);
    }
}
