//! The Clarity recipe: enlarge, then redraw with Stable Diffusion over overlapping tiles, held to the
//! picture by the Tile ControlNet, in stages of 2×.

mod adapters;
mod autoencode;
mod band;
mod canvas;
pub mod device;
mod diffuse;
mod enlarge;
mod error;
mod event;
mod models;
mod noise;
mod pipeline;
mod plan;
mod probe;
mod schedule;
mod settings;
mod solver;
mod stages;
mod text;

pub use adapters::{LoraChoice, lora_tags, mentioned_embeddings};
pub use autoencode::{decode, encode};
pub use canvas::Canvas;
pub use clarifier_model::tokenizer::LoraTag;
pub use diffuse::{Conditioning, diffuse};
pub use enlarge::{Enlarger, enlarge};
pub use error::Error;
pub use event::{Estimator, Event, Observer, Phase};
pub use models::{Diffusion, DiffusionPaths, Models, UpscalerChoice};
pub use noise::{NoiseError, noise, noise_from_file};
pub use pipeline::{Job, Report, output_size, upscale};
pub use plan::{Plan, PlannedStage};
pub use probe::speed;
pub use schedule::{TRAINING_STEPS, alphas_cumprod, sigma};
pub use settings::{Field, HintSource, Kind, Settings, SettingsError, SolverKind, TileWindow, VaeStatistics};
pub use solver::Solver;
pub use stages::{Stage, stages};
pub use text::embed;
