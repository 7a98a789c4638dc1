//! What the tests of the page need of the engine: `browser-models FOLDER` writes the files of weights that they
//! choose, `browser-models --full FOLDER` those of SD 1.5's true sizes (2.9 GB), `browser-models --narrow FOLDER` a
//! diffusers folder of networks so narrow that a gigapixel takes hours, `browser-models --describe` prints the description of the
//! settings.

use std::path::PathBuf;

use clarifier_tests::models::{Scale, ldm_entries, ldm_entries_full, write_diffusers, write_ldm};
use clarifier_tests::weights::{Entry, Stored};

/// Width of the text that the fixtures' tiny networks take, and of what their text encoder has inside.
const WIDTHS: [usize; 2] = [32, 128];
/// A single file has no `config.json` that says how many heads a text encoder has: each is 64 wide.
const WIDER: [usize; 2] = [64, 256];

fn wider(length: &mut usize) {
    if let Some(at) = WIDTHS.iter().position(|width| width == length) {
        *length = WIDER[at];
    }
}

/// The tensors of one network, for text of a width that a single file may have.
fn widened(part: &str) -> Vec<Entry> {
    let mut entries = ldm_entries(part);
    for Entry { name, shape, .. } in &mut entries {
        if part == "text_encoder" {
            shape.iter_mut().for_each(wider);
        } else if name.ends_with("attn2.to_k.weight") || name.ends_with("attn2.to_v.weight") {
            shape.last_mut().into_iter().for_each(wider);
        }
    }
    entries
}

fn main() {
    let what = std::env::args_os().nth(1).expect("a folder, or --describe");
    if what == "--describe" {
        println!("{}", clarifier_upscale::description());
        return;
    }
    let full = what == "--full";
    let folder = || PathBuf::from(std::env::args_os().nth(2).expect("a folder"));
    if what == "--narrow" {
        write_diffusers(&folder(), Scale::Narrow, Stored::F16);
        return;
    }
    let folder = if full { folder() } else { what.into() };
    let entries: fn(&str) -> Vec<Entry> = if full { ldm_entries_full } else { widened };
    write_ldm(&folder, entries);
}
