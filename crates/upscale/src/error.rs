//! Why an upscale ended early.

use clarifier_model::clip::UnknownToken;
use clarifier_model::files::FileError;
use clarifier_model::loader::LoadError;
use clarifier_raster::RasterError;

use crate::event::Phase;
use crate::{JournalError, NoiseError, SettingsError};

/// Why an upscale ended early. No output was made.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The observer said so.
    #[error("cancelled")]
    Cancelled,
    /// A setting is out of range.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// A file of weights cannot be read.
    #[error(transparent)]
    File(#[from] FileError),
    /// A file of weights does not fit its network.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// The noise file does not fit.
    #[error(transparent)]
    Noise(#[from] NoiseError),
    /// The text encoder does not fit the tokenizer.
    #[error(transparent)]
    Text(#[from] UnknownToken),
    /// A tag in a prompt that makes no sense.
    #[error("{0} in the prompt cannot be read; a LoRA is <lora:name> or <lora:name:0.5>")]
    Tag(String),
    /// A prompt names a LoRA that was not loaded with the networks.
    #[error("the prompt names the LoRA {name:?}, which was not loaded (loaded: {loaded})")]
    LoraMissing {
        /// As in the prompt.
        name: String,
        /// Those that were.
        loaded: String,
    },
    /// The picture's working copy failed: the disk is full, say.
    #[error(transparent)]
    Raster(#[from] RasterError),
    /// The run that was interrupted cannot be gone on with, or its keeping failed.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The text encoder's width is not what the UNet takes.
    #[error(
        "the text encoder gives {text} values a token and the UNet takes {unet}: they are of different models"
    )]
    TextWidth {
        /// The encoder's.
        text: usize,
        /// The UNet's.
        unet: usize,
    },
    /// Networks that cannot work together.
    #[error("{what}; `checkpoint`, `controlnet` and `vae` must all be of SD 1.5")]
    Misfit {
        /// Which, in a sentence.
        what: String,
    },
    /// Features that one process would have made and another would reuse.
    #[error("`reuse_features` with `region` or `mask` works in one process, not in several")]
    FeaturesInTeam,
    /// A region that is no part of the picture.
    #[error(
        "`region` {},{},{},{}: it must be a part of the input, which is {input} pixels",
        region.x, region.y, region.size.width, region.size.height
    )]
    Region {
        /// What was given.
        region: clarifier_tile::Rect,
        /// The input.
        input: clarifier_tile::Size,
    },
    /// Another process of the team failed, and this one with it.
    #[error("rank {rank}: {message}")]
    Elsewhere {
        /// Which, from 0.
        rank: usize,
        /// In its words.
        message: String,
    },
    /// What connects the processes of the team failed.
    #[error("the connection between the processes failed: {0}")]
    Link(String),
    /// The device gave up.
    #[error("the device failed ({0})")]
    Device(String),
    /// A network produced something that is no picture.
    #[error(
        "{phase:?} produced NaN or infinity at tile {tile}: the weights are damaged, or need a wider type of number"
    )]
    NotFinite {
        /// Where.
        phase: Phase,
        /// Which tile, from 1.
        tile: usize,
    },
}
