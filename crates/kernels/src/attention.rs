//! Attention that never writes out all of its scores.

use burn::tensor::activation::softmax;
use burn::tensor::ops::AttentionModuleOptions;
use burn::tensor::{Tensor, module};
use clarifier_gpu_kernels as gpu;

use crate::cpu::attention::{Heads, Sizes, attention as blocked};
use crate::cpu::{Host, is_host, tensor};

/// How many bytes of scores may exist at once on a device whose attention would write them all out.
///
/// The scores of `b` batches, `h` heads, `q` queries and `k` keys take `4·b·h·q·k` bytes: 8.3 GB for
/// one 112 × 144 tile of SD 1.5 under classifier-free guidance. Queries are therefore taken in chunks
/// (Rabe & Staats 2021, "Self-attention does not need O(n²) memory", without splitting the keys).
///
/// Our own kernels keep no scores, in f32 on the CPU, in f32 and f16 on GPUs; the budget is for other types, and for devices
/// on which ours are wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AttentionBudget {
    /// Bytes; at least one query is always processed.
    pub score_bytes: u64,
    /// Whether to take burn's products in chunks also where a kernel of our own would keep no scores.
    pub in_chunks: bool,
}

impl Default for AttentionBudget {
    /// 256 MiB, small beside the weights and large enough to keep a GPU busy.
    fn default() -> Self {
        Self { score_bytes: 256 << 20, in_chunks: false }
    }
}

impl AttentionBudget {
    /// A budget for a device whose buffers hold at most `max_buffer` bytes.
    ///
    /// A quarter of a buffer, since softmax keeps several copies of the scores alive.
    pub fn for_buffer(max_buffer: u64) -> Self {
        let score_bytes = (max_buffer / 4).min(Self::default().score_bytes).max(1 << 20);
        Self { score_bytes, in_chunks: false }
    }

    /// Burn's products, of so many bytes of scores.
    pub fn in_chunks(score_bytes: u64) -> Self {
        Self { score_bytes, in_chunks: true }
    }

    fn queries(self, batch: usize, heads: usize, keys: usize) -> usize {
        let row = 4 * batch as u64 * heads as u64 * keys as u64;
        (self.score_bytes / row.max(1)).max(1) as usize
    }
}

/// Scaled dot-product attention, `softmax(q·kᵀ / √d) · v`.
///
/// # Shapes
/// - `query`: `[batch, heads, queries, d]`
/// - `key`, `value`: `[batch, heads, keys, d]`
/// - output: `[batch, heads, queries, d]`
///
/// The softmax is computed in f32 whatever the tensors' type.
pub fn attention(query: Tensor<4>, key: Tensor<4>, value: Tensor<4>, budget: AttentionBudget) -> Tensor<4> {
    if budget.in_chunks {
        return chunked(query, key, value, budget);
    }
    let done = on_host(&query, &key, &value).or_else(|| gpu::attention::attention(&query, &key, &value));
    if let Some(done) = done {
        return done;
    }
    // Other types on the CPU: burn's own keeps a strip of the scores only. On wgpu it writes all of them out.
    if is_host(&query.device()) {
        return module::attention(query, key, value, None, None, AttentionModuleOptions::default());
    }
    chunked(query, key, value, budget)
}

/// The CPU's own; the output is a view of `[batch, queries, heads · d]`, where the next layer wants it.
fn on_host(query: &Tensor<4>, key: &Tensor<4>, value: &Tensor<4>) -> Option<Tensor<4>> {
    let [batch, heads, queries, d] = query.dims();
    let keys = key.dims()[2];
    let sizes = Sizes { heads, queries, keys, d };
    let [q, k, v] = [Host::of(query)?, Host::of(key)?, Host::of(value)?];
    let of = |host: &'_ Host| -> [usize; 4] { host.strides() };
    let mut out = vec![0.0; batch * heads * queries * d];
    blocked(
        Heads { values: q.values(), strides: of(&q) },
        Heads { values: k.values(), strides: of(&k) },
        Heads { values: v.values(), strides: of(&v) },
        sizes,
        &mut out,
    );
    Some(tensor(out, [batch, queries, heads, d], &query.device()).swap_dims(1, 2))
}

fn chunked(query: Tensor<4>, key: Tensor<4>, value: Tensor<4>, budget: AttentionBudget) -> Tensor<4> {
    let [batch, heads, queries, d] = query.dims();
    let keys = key.dims()[2];
    let chunk = budget.queries(batch, heads, keys);
    // Scaling the smaller operand once is cheaper than scaling every chunk's scores.
    let query = query.mul_scalar(1.0 / (d as f64).sqrt());
    let key = key.swap_dims(2, 3);
    if chunk >= queries {
        return scores_times_value(query, key, value);
    }
    let parts = (0..queries)
        .step_by(chunk)
        .map(|start| {
            let length = chunk.min(queries - start);
            scores_times_value(query.clone().narrow(2, start, length), key.clone(), value.clone())
        })
        .collect();
    Tensor::cat(parts, 2)
}

fn scores_times_value(query: Tensor<4>, key_t: Tensor<4>, value: Tensor<4>) -> Tensor<4> {
    let dtype = query.dtype();
    let scores = query.matmul(key_t);
    let weights = softmax(scores.cast(burn::tensor::FloatDType::F32), 3);
    weights.cast(dtype).matmul(value)
}
