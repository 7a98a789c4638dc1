//! Command lines that more than one program is tested with.

/// Two stages of many phases, a sampler with a history and noise of its own, of `in.png` by the networks in `tiny`.
pub const RUN: &[&str] = &[
    "upscale",
    "in.png",
    "--checkpoint",
    "tiny",
    "--device",
    "cpu",
    "--upscaler",
    "lite",
    "--upscale-factor",
    "2.5",
    "--solver",
    "dpm++3m_sde",
    "--num-inference-steps",
    "8",
    "--denoise-strength",
    "0.5",
    "--tile-width",
    "12",
    "--tile-height",
    "8",
    "--tile-overlap",
    "4",
    "--vae-tile",
    "128",
    "--seed",
    "7",
    "--output-depth",
    "16",
];
/// With these it goes on after an interruption: saved after every tile.
pub const KEPT: &[&str] = &["-o", "out.png", "--work-dir", "work", "--save-every", "0"];
