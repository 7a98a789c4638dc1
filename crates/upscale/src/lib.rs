//! The Clarity recipe: enlarge, then redraw with Stable Diffusion over overlapping tiles, held to the
//! picture by the Tile ControlNet, in stages of 2×.
// What a library has to say it returns; a face says it.
#![cfg_attr(not(test), deny(clippy::print_stdout, clippy::print_stderr))]

mod adapters;
mod autoencode;
mod band;
mod brownian;
mod canvas;
mod chroma;
pub mod device;
mod device_memory;
mod diffuse;
mod diffusion;
mod enlarge;
mod enlarging;
mod error;
mod event;
mod fingerprint;
mod finish;
mod frame;
mod journal;
pub mod known_bad;
mod lock;
mod machine;
mod mask;
mod meter;
mod models;
mod noise;
mod pipeline;
mod places;
mod plan;
mod preset;
mod preview;
mod probe;
mod recipe;
mod report;
mod schedule;
pub mod selftest;
mod settings;
mod shared;
mod solver;
mod split;
mod stage;
mod stages;
mod statistics;
mod steps;
pub mod subject;
mod team;
mod text;
mod tiles;
mod transfer;

pub use adapters::{LoraChoice, lora_tags, mentioned_embeddings};
pub use autoencode::Autoencoder;
pub use canvas::Canvas;
pub use clarifier_model::family::ModelFamily;
pub use clarifier_model::files::Source;
pub use clarifier_model::tokenizer::LoraTag;
pub use diffuse::Redraw;
pub use diffusion::Diffusion;
pub use enlarge::Enlarger;
pub use enlarging::Enlarging;
pub use error::Error;
pub use event::{Estimator, Event, Observer, Phase};
pub use frame::Frame;
pub use journal::{At, Journal, JournalError};
pub use machine::Machine;
pub use meter::Meter;
pub use models::{DiffusionPaths, Models, UpscalerChoice};
pub use noise::{Draw, NoiseError, StepNoise, check_noise_file, noise, noise_from_file};
pub use pipeline::{Job, Report, output_part, output_size, source_size, upscale};
pub use places::{Conditioning, TilePrompts, TilePromptsError};
pub use plan::{Peak, Plan, PlannedStage, shrink};
pub use preset::{Preset, PresetError};
pub use preview::{Preview, StepPreview};
pub use probe::speed;
pub use recipe::{Recipe, RecipeFile, RecipeLora, RecipeModels};
pub use report::{ErrorReport, Remedy, remedies};
pub use schedule::sigma;
pub use settings::{
    ControlMode, Field, HintSource, Kind, MaskMode, ModelDefaults, Schedule, Seamless, Settings,
    SettingsError, SolverKind, StrengthMode, TileWindow, VaeStatistics, description,
};
pub use shared::{Computed, KEPT_HINTS};
pub use solver::{Solver, SolverState};
pub use stages::{Stage, stages};
pub use statistics::Statistics;
pub use team::{Link, Team};
pub use text::embed;
pub use tiles::StepTiles;
