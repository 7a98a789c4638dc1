//! Names of settings and inputs in the engine's messages. The engine writes them in backquotes, as they are named in JSON
//! (`` `tile_overlap` 16 ``); each face puts its own words in their place: options, labels, keys.

use crate::Settings;

/// Inputs of a run that are no settings, by their names in messages.
pub const INPUTS: [&str; 12] = [
    "checkpoint",
    "controlnet",
    "device",
    "embedding",
    "lora",
    "mask",
    "noise",
    "precision",
    "region",
    "tile_prompts",
    "upscaler",
    "vae",
];

/// The message with `word(name)` in the place of each quoted name of a setting or input, and of its backquotes. Where that
/// is `None`, and around everything else that is quoted, the backquotes stay.
pub fn rename(message: &str, word: impl Fn(&str) -> Option<String>) -> String {
    let mut renamed = String::with_capacity(message.len());
    let mut rest = message;
    while let Some((before, quoted)) = rest.split_once('`') {
        renamed.push_str(before);
        let name = quoted.split('`').next().filter(|name| name.len() < quoted.len());
        match name.filter(|name| is_subject(name)).and_then(|name| Some((name, word(name)?))) {
            Some((name, word)) => {
                renamed.push_str(&word);
                rest = &quoted[name.len() + 1..];
            }
            None => {
                renamed.push('`');
                rest = quoted;
            }
        }
    }
    renamed.push_str(rest);
    renamed
}

/// The settings and inputs that a message is about, in its order, each once.
pub fn subjects(message: &str) -> Vec<String> {
    let found = std::cell::RefCell::new(Vec::new());
    rename(message, |name| {
        let mut found = found.borrow_mut();
        if !found.iter().any(|known| known == name) {
            found.push(name.to_owned());
        }
        None
    });
    found.into_inner()
}

/// True for the name of a setting or input.
pub(crate) fn is_subject(name: &str) -> bool {
    INPUTS.contains(&name) || Settings::names().any(|known| known == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_replaced_and_nothing_else_is() {
        let option = |name: &str| Some(format!("--{}", name.replace('_', "-")));
        for (message, renamed) in [
            ("`tile_overlap` 16 leaves nothing", "--tile-overlap 16 leaves nothing"),
            ("give `vae` or `checkpoint`", "give --vae or --checkpoint"),
            ("a file `it`s` named `seed`", "a file `it`s` named --seed"),
            ("no end: `seed", "no end: `seed"),
            ("`no_setting` ``seed``", "`no_setting` `--seed`"),
            ("", ""),
        ] {
            assert_eq!(rename(message, option), renamed);
            assert_eq!(rename(message, |_| None), message, "what has no word stays");
        }
        assert_eq!(subjects("`vae`, `seed` and `vae`, not `x`"), ["vae", "seed"]);
    }

    #[test]
    fn no_setting_is_named_as_an_input_is() {
        assert!(Settings::names().all(|name| !INPUTS.contains(&name)));
        assert!(Settings::names().any(|name| name == "tile_overlap"));
    }
}
