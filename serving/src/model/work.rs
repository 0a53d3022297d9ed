//! What an iteration has to do, whatever it is run on.

use serde::Serialize;

use super::{Attention, Experts, Model};
use crate::batch::Batch;
use crate::layer::activated;

/// Operations and bytes of an iteration of a replica, on all its GPUs together.
#[derive(Clone, Copy, PartialEq, Default, Debug, Serialize)]
pub struct Work {
    /// Operations, of products and of attention as far as it looks back. Against the peak of all GPUs and the time: model FLOPs utilisation.
    pub flops: f64,
    /// Bytes that have to be read once: weights (of experts that have a token), keys and values. Against the peak of memory bandwidth and the
    /// time: its utilisation.
    pub bytes: f64,
}

/// What iterations of a model have to do: what depends on the model alone is reckoned once.
#[derive(Clone, PartialEq, Debug)]
pub struct WorkLaw {
    /// Weights that a token passes.
    by_token: f64,
    /// Weights that an iteration reads, but for experts that only some tokens pass.
    by_iteration: f64,
    /// Layers with experts, weights that all their tokens pass, and of one expert.
    sparse: f64,
    shared: f64,
    one_expert: f64,
    experts: Option<Experts>,
    vocabulary: f64,
    per_pair: f64,
    /// Layers that attend to all, those with a window, and how many tokens that has.
    full: f64,
    windowed: f64,
    window: f64,
    weight_bytes: f64,
    cached_bytes: f64,
}

impl WorkLaw {
    /// Of a model of which a weight has `weight_bytes` and a number of the KV cache `cache_number_bytes`.
    pub fn new(model: &Model, weight_bytes: f64, cache_number_bytes: f64) -> Self {
        let parts = model.parameters();
        let (dense, sparse) = parts.layers;
        let by_iteration = (dense + sparse) * parts.attention + dense * parts.dense;
        let windowed = model.window.map_or(0.0, |window| f64::from(window.layers));
        let per_pair = match model.attention {
            Attention::Grouped { head_size, .. } => 4 * model.heads * head_size,
            Attention::Latent { plain_size, rotated_size, value_size, .. } => {
                2 * model.heads * (plain_size + rotated_size + value_size)
            }
        };
        Self {
            by_token: by_iteration + sparse * (parts.shared + parts.active * parts.one_expert),
            by_iteration,
            sparse,
            shared: parts.shared,
            one_expert: parts.one_expert,
            experts: model.experts,
            // The projection on the vocabulary is the embedding where there is none of its own.
            vocabulary: f64::from(model.vocabulary) * f64::from(model.width),
            per_pair: f64::from(per_pair),
            full: f64::from(model.layers) - windowed,
            windowed,
            window: model.window.map_or(0.0, |window| f64::from(window.tokens)),
            weight_bytes,
            cached_bytes: f64::from(model.cached_numbers()) * cache_number_bytes,
        }
    }

    /// What an iteration has to do.
    pub fn of(&self, batch: &Batch<'_>) -> Work {
        let tokens = f64::from(batch.tokens());
        if tokens <= 0.0 {
            return Work::default();
        }
        let read = self.experts.map_or(0.0, |experts| activated(experts, tokens)) * self.one_expert;
        let by_iteration = self.by_iteration + self.sparse * (self.shared + read);
        // Keys that queries see, and tokens whose keys and values are read, in layers with a window and in those without.
        let seen = |window: f64| {
            let decodes = f64::from(batch.decodes);
            let context = (batch.decode_context_tokens as f64 + decodes).min(window * decodes);
            let (mut pairs, mut cached) = (context, context);
            for chunk in batch.chunks {
                let (own, before) = (f64::from(chunk.tokens), f64::from(chunk.context_tokens));
                pairs += own * (before + 0.5 * (own + 1.0)).min(window);
                cached += (before + own).min(window);
            }
            (pairs, cached)
        };
        let (all_pairs, all_cached) = seen(f64::INFINITY);
        let (mut pairs, mut cached) = (self.full * all_pairs, self.full * all_cached);
        if self.windowed > 0.0 {
            let (near_pairs, near_cached) = seen(self.window);
            pairs += self.windowed * near_pairs;
            cached += self.windowed * near_cached;
        }
        Work {
            flops: 2.0 * (self.by_token * tokens + self.vocabulary * f64::from(batch.sampled))
                + self.per_pair * pairs,
            bytes: self.weight_bytes * by_iteration
                + if batch.sampled > 0 { 2.0 * self.vocabulary } else { 0.0 }
                + self.cached_bytes * cached,
        }
    }
}

impl Model {
    /// What an iteration has to do, where a weight has `weight_bytes` and a number of the KV cache `cache_number_bytes`: [`WorkLaw`] once.
    pub fn work(&self, batch: &Batch<'_>, weight_bytes: f64, cache_number_bytes: f64) -> Work {
        WorkLaw::new(self, weight_bytes, cache_number_bytes).of(batch)
    }
}
