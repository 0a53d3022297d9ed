//! A model that is served: its sizes, read from the `config.json` that comes with its weights.
//!
//! - [`config`]: from `config.json` as Hugging Face's libraries write it.
//! - [`catalog`]: common models, embedded.
//! - [`weights`]: parameters, bytes of weights and of keys and values on each GPU.
//! - [`work`]: operations and bytes of an iteration, by which use of the hardware is told.

pub mod catalog;
pub mod config;
pub mod weights;
pub mod work;

use thiserror::Error;

/// What is wrong with the description of a model. Every variant names the field.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
pub enum ModelError {
    /// Not JSON, or not an object.
    #[error("config.json: {0}")]
    Json(String),
    /// A field that must be there.
    #[error("config.json: `{field}` is missing")]
    Missing {
        /// Its name, and the other names under which it is looked for.
        field: &'static str,
    },
    /// A field of the wrong kind.
    #[error("config.json: `{field}` should be {expected}, found {found}")]
    Field {
        /// Its name.
        field: &'static str,
        /// What was expected.
        expected: &'static str,
        /// What is there, as JSON.
        found: String,
    },
    /// Fields that contradict each other.
    #[error("config.json: `{field}` {why}")]
    Contradiction {
        /// The field.
        field: &'static str,
        /// What is wrong with it.
        why: String,
    },
    /// No such model in the catalogue.
    #[error("no model `{name}` in the catalogue; it has {known}")]
    Unknown {
        /// What was asked for.
        name: String,
        /// Names that there are.
        known: String,
    },
    /// A model that cannot be split as asked.
    #[error("`{field}` = {value} {why}")]
    Parallelism {
        /// Which kind of parallelism.
        field: &'static str,
        /// How many.
        value: u32,
        /// Why it cannot be.
        why: String,
    },
}

/// How a layer attends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Attention {
    /// Keys and values of their own for every head, or for each group of query heads.
    Grouped {
        /// Heads of keys and values.
        kv_heads: u32,
        /// Numbers of a head.
        head_size: u32,
    },
    /// Multi-head latent attention (`DeepSeek` V2, 2024): keys and values are kept as one compressed vector for each token.
    Latent {
        /// Rank of the compressed queries; `None` where queries are not compressed.
        query_rank: Option<u32>,
        /// Rank of the compressed keys and values.
        kv_rank: u32,
        /// Numbers of a head that carry no position.
        plain_size: u32,
        /// Numbers of a head that carry the position; those of keys are shared by all heads.
        rotated_size: u32,
        /// Numbers of a value.
        value_size: u32,
    },
}

/// A window beyond which some layers do not attend.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Window {
    /// Tokens.
    pub tokens: u32,
    /// Layers that have it; the others attend to all.
    pub layers: u32,
}

/// A mixture of experts in place of a feed-forward network.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Experts {
    /// Experts of a layer that a router chooses from.
    pub count: u32,
    /// Those chosen for each token.
    pub active: u32,
    /// Width inside an expert.
    pub width: u32,
    /// Width of what every token passes besides (all shared experts together), 0 if none.
    pub shared_width: u32,
    /// Layers with experts; the others have a feed-forward network.
    pub layers: u32,
}

/// Where a model has biases.
#[expect(clippy::struct_excessive_bools, reason = "each says of one place whether it has them")]
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Biases {
    /// At the projections to queries, keys and values.
    pub queries_keys_values: bool,
    /// At the projection out of attention.
    pub output: bool,
    /// In the feed-forward network.
    pub feed_forward: bool,
    /// In the norms (layer norms; `RMSNorm` has none).
    pub norms: bool,
}

/// A transformer that is served.
#[derive(Clone, PartialEq, Debug)]
pub struct Model {
    /// Its name.
    pub name: String,
    /// Its architecture, as `model_type` calls it.
    pub architecture: String,
    /// Layers.
    pub layers: u32,
    /// Width of the residual stream.
    pub width: u32,
    /// Query heads.
    pub heads: u32,
    /// How it attends.
    pub attention: Attention,
    /// Whether queries and keys pass a norm.
    pub query_key_norm: bool,
    /// A window on some layers or all.
    pub window: Option<Window>,
    /// Width of the feed-forward network.
    pub ffn_width: u32,
    /// Three matrices in the feed-forward network in place of two.
    pub gated: bool,
    /// Experts of some layers or all.
    pub experts: Option<Experts>,
    /// Norms of a layer (one where attention and the feed-forward network run side by side).
    pub norms: u32,
    /// Where it has biases.
    pub biases: Biases,
    /// Size of the vocabulary.
    pub vocabulary: u32,
    /// The projection on the vocabulary is the embedding.
    pub tied: bool,
    /// Positions with an embedding of their own; 0 where they are rotated in or a bias of the scores.
    pub positions: u32,
    /// Tokens of a sequence at most, as the model states it.
    pub context_tokens: u32,
}

impl Model {
    /// Numbers that a token puts in memory in a layer, on all GPUs together if nothing is copied: keys and values, or the latent.
    pub const fn cached_numbers(&self) -> u32 {
        match self.attention {
            Attention::Grouped { kv_heads, head_size } => 2 * kv_heads * head_size,
            Attention::Latent { kv_rank, rotated_size, .. } => kv_rank + rotated_size,
        }
    }

    /// Layers with experts.
    pub const fn expert_layers(&self) -> u32 {
        match self.experts {
            Some(experts) => experts.layers,
            None => 0,
        }
    }
}
