//! The networks of the recipe, CLIP, UNet, ControlNet, VAE and ESRGAN, and the files their weights
//! come in.
//!
//! Every network is a plain struct of tensors whose fields carry the diffusers names, built from a
//! [`loader::Scope`], with a synchronous `forward` that only records work for the device.
// What a library has to say it returns; a face says it.
#![cfg_attr(not(test), deny(clippy::print_stdout, clippy::print_stderr))]

mod blocks;
pub mod clip;
pub mod config;
pub mod controlnet;
pub mod cost;
mod down_path;
pub mod embedding;
pub mod family;
pub mod files;
pub mod layers;
pub mod loader;
pub mod lora;
pub mod shared;
mod taesd;
pub mod tokenizer;
mod transformer;
pub mod unet;
pub mod upscalers;
pub mod vae;
pub mod weight;
