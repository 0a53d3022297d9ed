//! How many blocks of keys and values fit beside a model.

use crate::model::Model;
use crate::model::weights::Parallelism;

/// Share of a GPU's nominal memory that programs see: 23.6 of 24 GiB on an RTX 4090, 79.2 of 80 on an A100 (as `PyTorch` reports; from memory).
pub const VISIBLE_SHARE: f64 = 0.985;

/// What lies on a GPU beside weights, keys and values.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Beside {
    /// Of the activations of the largest iteration, as the engine measures them when it starts.
    pub activation_bytes: f64,
    /// Outside the framework's allocator: the context, buffers of collectives.
    pub other_bytes: f64,
}

impl Beside {
    /// Nothing.
    pub const NOTHING: Self = Self { activation_bytes: 0.0, other_bytes: 0.0 };

    /// An estimate for an iteration of `max_tokens`: the widest intermediate results of one layer in 16 bits, and logits of `max_sequences` in 16 and,
    /// twice, in 32 bits, as sampling needs them; 0.15 GiB outside the allocator, 0.6 where GPUs talk to one another (inference-sim's figures).
    pub fn estimate(model: &Model, parallelism: Parallelism, max_tokens: u32, max_sequences: u32) -> Self {
        let (tokens, sequences) = (f64::from(max_tokens), f64::from(max_sequences));
        let width = f64::from(model.width);
        // A token passes through all of its experts; copies of the tokens of other replicas are there too.
        let inner = model.experts.map_or_else(
            || f64::from(model.ffn_width) / f64::from(parallelism.tensor),
            |experts| {
                let each = f64::from(experts.width) / f64::from(parallelism.tensor);
                f64::from(parallelism.data) * f64::from(experts.active) * (each + width / 3.0)
            },
        );
        let hidden = 2.0 * tokens * (3.0 * inner + 4.0 * width);
        let logits = sequences * f64::from(model.vocabulary) * (2.0 + 4.0 + 4.0);
        let gib = 1024.0_f64.powi(3);
        let other_gib = if parallelism.gpus() > 1 { 0.6 } else { 0.15 };
        Self { activation_bytes: hidden.max(logits), other_bytes: other_gib * gib }
    }
}

/// Blocks that fit, as vLLM counts: `utilization` of the visible memory, less weights and what else there is, by the bytes of a block on the GPU that holds most.
/// None if the weights alone are too large.
#[expect(clippy::too_many_arguments, reason = "each is a number of its own")]
pub fn blocks(
    model: &Model,
    parallelism: Parallelism,
    memory_bytes: f64,
    utilization: f64,
    beside: Beside,
    weight_bytes: f64,
    cache_number_bytes: f64,
    block_tokens: u32,
) -> Option<u32> {
    let free = memory_bytes * utilization
        - model.weight_bytes(parallelism, weight_bytes)
        - beside.activation_bytes
        - beside.other_bytes;
    let block = f64::from(block_tokens) * model.kv_bytes_per_token(parallelism, cache_number_bytes);
    let blocks = (free / block).floor();
    (blocks >= 1.0).then_some(blocks as u32)
}
