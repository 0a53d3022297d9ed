//! What an iteration has to do, whatever it is run on.

use serde::Serialize;

use super::{Attention, Model};
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

impl Model {
    /// What an iteration has to do, where a weight has `weight_bytes` and a number of the KV cache `cache_number_bytes`.
    pub fn work(&self, batch: &Batch<'_>, weight_bytes: f64, cache_number_bytes: f64) -> Work {
        let parts = self.parameters();
        let tokens = f64::from(batch.tokens());
        if tokens <= 0.0 {
            return Work::default();
        }
        let (dense, sparse) = parts.layers;
        // The projection on the vocabulary is the embedding where there is none of its own.
        let vocabulary = f64::from(self.vocabulary) * f64::from(self.width);
        let by_token = (dense + sparse) * parts.attention
            + dense * parts.dense
            + sparse * (parts.shared + parts.active * parts.one_expert);
        let read = self.experts.map_or(0.0, |experts| activated(experts, tokens)) * parts.one_expert;
        let by_iteration =
            (dense + sparse) * parts.attention + dense * parts.dense + sparse * (parts.shared + read);
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
        let windowed = self.window.map_or(0.0, |window| f64::from(window.layers));
        let full = f64::from(self.layers) - windowed;
        let (all_pairs, all_cached) = seen(f64::INFINITY);
        let (near_pairs, near_cached) = seen(self.window.map_or(0.0, |window| f64::from(window.tokens)));
        let per_pair = match self.attention {
            Attention::Grouped { head_size, .. } => 4 * self.heads * head_size,
            Attention::Latent { plain_size, rotated_size, value_size, .. } => {
                2 * self.heads * (plain_size + rotated_size + value_size)
            }
        };
        let pairs = full * all_pairs + windowed * near_pairs;
        let cached = full * all_cached + windowed * near_cached;
        Work {
            flops: 2.0 * (by_token * tokens + vocabulary * f64::from(batch.sampled))
                + f64::from(per_pair) * pairs,
            bytes: weight_bytes * by_iteration
                + if batch.sampled > 0 { 2.0 * vocabulary } else { 0.0 }
                + f64::from(self.cached_numbers()) * cache_number_bytes * cached,
        }
    }
}
