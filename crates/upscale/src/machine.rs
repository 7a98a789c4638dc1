//! What a plan must know of the device that does the work.

use burn::tensor::DType;
use clarifier_kernels::AttentionBudget;
use clarifier_model::family::ModelFamily;
use clarifier_model::weight::Packing;

use crate::device::{AdapterInfo, Backend};
use crate::shared::KEPT_HINTS;

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
    /// The family of the diffusion networks, whose cost a plan counts.
    pub family: ModelFamily,
}

impl Machine {
    /// A device that is not started yet: its name, whether it computes in f16, and for a GPU the bytes of the largest
    /// tensor that it can see. Files are taken to be in f16, as are usual.
    pub fn described(name: &str, half: bool, max_tensor: Option<u64>) -> Self {
        let attention = max_tensor.map_or_else(AttentionBudget::default, AttentionBudget::for_buffer);
        let family = ModelFamily::sd15();
        Self {
            reason: name.into(),
            half,
            attention,
            max_tensor,
            weights: family.weights.bytes(half, true),
            packing: Packing::Exact,
            memory: None,
            hint_budget: KEPT_HINTS,
            tile_batch: 1,
            family,
        }
    }

    /// This device for networks of another family, from files in f16, as are usual.
    pub fn with_family(self, family: ModelFamily) -> Self {
        let weights = family.weights.bytes(self.half, self.packing != Packing::Never);
        Self { weights, family, ..self }
    }

    /// Bytes of a GPU's memory that a run may plan with, if it is known: a tenth is left for what is beside the engine and what
    /// an estimate misses.
    pub fn room(&self) -> Option<u64> {
        self.memory.map(|memory| memory / 10 * 9)
    }
}

impl From<&Backend> for Machine {
    fn from(backend: &Backend) -> Self {
        let largest = |adapter: &AdapterInfo| adapter.max_buffer.min(adapter.max_binding);
        let half = backend.dtype == DType::F16;
        let family = ModelFamily::sd15();
        let gpu = backend.adapter.as_ref().filter(|adapter| !adapter.software);
        let memory = gpu.and_then(|gpu| gpu.memory);
        // What has no memory of its own is busy with one tile.
        let is_large = memory.is_some() && gpu.is_some_and(AdapterInfo::is_discrete);
        Self {
            reason: backend.reason.clone(),
            half,
            weights: family.weights.bytes(half, backend.packing != Packing::Never),
            packing: backend.packing,
            memory,
            hint_budget: KEPT_HINTS,
            tile_batch: if is_large { LARGE_BATCH } else { 1 },
            family,
            attention: backend.attention,
            max_tensor: backend.adapter.as_ref().map(largest),
        }
    }
}
