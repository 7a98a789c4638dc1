//! What a plan must know of the device that does the work.

use burn::tensor::DType;
use clarifier_kernels::AttentionBudget;
use clarifier_model::weight::Packing;

use crate::demand::Demand;
use crate::device::{AdapterInfo, Backend};
use crate::settings::Asked;
use crate::shared::KEPT_HINTS;

/// Bytes of weights in f32 (FACTS: 5.8 GB): UNet and ControlNet; text encoder and VAE.
const UNET_WEIGHTS: u64 = 4_890_000_000;
const OTHER_WEIGHTS: u64 = 820_000_000;
/// The same packed, but for the table of tokens, which stays in f32 on the host.
const OTHER_PACKED: u64 = 490_000_000;
/// Those of the starter set, whose file is in f16; its table of tokens is not.
const STARTER_WEIGHTS: u64 = 42_700_000;

/// Tiles that a GPU with memory of its own computes at once: the inner levels of one are too small for it.
const LARGE_BATCH: usize = 4;

/// The device, and what the networks ask of it.
#[derive(Debug, Clone)]
pub struct Machine {
    /// One sentence for the user.
    pub reason: String,
    /// Whether it computes in f16.
    pub half: bool,
    /// How much memory attention may take for scores.
    pub attention: AttentionBudget,
    /// Bytes of the largest tensor that it can see; none for a processor.
    pub max_tensor: Option<u64>,
    /// Bytes that the weights of diffusion take on it.
    pub weights: u64,
    /// How weights that are computed with in f32 are kept.
    pub packing: Packing,
    /// Bytes of memory that a GPU has, if it is known.
    pub memory: Option<u64>,
    /// Bytes of tiles' hints that may be kept for later steps.
    pub hint_budget: u64,
    /// How many tiles may be computed at once, if there is room.
    pub tile_batch: usize,
    /// What the networks of diffusion ask of it.
    pub demand: Demand,
    /// What they ask for where the settings leave it to them.
    pub asked: Asked,
}

impl Machine {
    /// A device that is not started yet: its name, whether it computes in f16, and for a GPU the bytes of the largest
    /// tensor that it can see. Files are taken to be in f16, as are usual.
    pub fn described(name: &str, half: bool, max_tensor: Option<u64>) -> Self {
        let attention = max_tensor.map_or_else(AttentionBudget::default, AttentionBudget::for_buffer);
        let weights = usual_weights(half, true);
        Self {
            reason: name.into(),
            half,
            attention,
            max_tensor,
            weights,
            packing: Packing::Exact,
            memory: None,
            hint_budget: KEPT_HINTS,
            tile_batch: 1,
            demand: Demand::default(),
            asked: Asked::default(),
        }
    }

    /// The same for the starter set in the place of SD 1.5.
    pub fn with_starter(self) -> Self {
        Self { weights: STARTER_WEIGHTS, demand: Demand::starter(), asked: Asked::STARTER, ..self }
    }

    /// Bytes of a GPU's memory that a run may plan with, if it is known: a tenth is left for what is beside the engine and what
    /// an estimate misses.
    pub fn room(&self) -> Option<u64> {
        self.memory.map(|memory| memory / 10 * 9)
    }
}

/// Bytes of the weights of SD 1.5 and a ControlNet from files in f16, as are usual.
fn usual_weights(half: bool, packed: bool) -> u64 {
    let (unet, other) = if packed { (UNET_WEIGHTS / 2, OTHER_PACKED) } else { (UNET_WEIGHTS, OTHER_WEIGHTS) };
    other + if half { UNET_WEIGHTS / 2 } else { unet }
}

impl From<&Backend> for Machine {
    fn from(backend: &Backend) -> Self {
        let largest = |adapter: &AdapterInfo| adapter.max_buffer.min(adapter.max_binding);
        let half = backend.dtype == DType::F16;
        let gpu = backend.adapter.as_ref().filter(|adapter| !adapter.software);
        let memory = gpu.and_then(|gpu| gpu.memory);
        // What has no memory of its own is busy with one tile.
        let is_large = memory.is_some() && gpu.is_some_and(AdapterInfo::is_discrete);
        Self {
            reason: backend.reason.clone(),
            half,
            weights: usual_weights(half, backend.packing != Packing::Never),
            packing: backend.packing,
            memory,
            hint_budget: KEPT_HINTS,
            tile_batch: if is_large { LARGE_BATCH } else { 1 },
            demand: Demand::default(),
            asked: Asked::default(),
            attention: backend.attention,
            max_tensor: backend.adapter.as_ref().map(largest),
        }
    }
}
