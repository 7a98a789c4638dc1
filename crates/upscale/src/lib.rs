//! The Clarity recipe: enlarge, then redraw with Stable Diffusion over overlapping tiles, held to the
//! picture by the Tile ControlNet, in stages of 2×.

mod autoencode;
mod band;
mod canvas;
pub mod device;
mod diffuse;
mod enlarge;
mod error;
mod event;
mod meter;
mod models;
mod noise;
mod pipeline;
mod plan;
mod preview;
mod probe;
mod schedule;
mod settings;
mod solver;
mod stages;
mod text;

pub use autoencode::{decode, encode};
pub use canvas::Canvas;
pub use diffuse::{Conditioning, diffuse};
pub use enlarge::{Enlarger, enlarge};
pub use error::Error;
pub use event::{Estimator, Event, Observer, Phase};
pub use meter::Meter;
pub use models::{Diffusion, DiffusionPaths, Models, UpscalerChoice};
pub use noise::{NoiseError, check_noise_file, noise, noise_from_file};
pub use pipeline::{Job, Report, output_size, upscale};
pub use plan::{Peak, Plan, PlannedStage};
pub use preview::Preview;
pub use probe::speed;
pub use schedule::{TRAINING_STEPS, alphas_cumprod, sigma};
pub use settings::{Field, HintSource, Kind, Settings, SettingsError, SolverKind, TileWindow, VaeStatistics};
pub use solver::Solver;
pub use stages::{Stage, stages};
pub use text::embed;
