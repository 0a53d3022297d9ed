//! Models that take turns on the GPUs of a replica, as written.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::is_default;

/// Several models on each replica, of which one at a time is in memory of its GPUs.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SwapFile {
    /// Models beside `model`, which is there from the beginning. Requests ask for one of all; where they come from a trace, its column `model` says for which.
    #[schemars(length(min = 1, max = 1000))]
    pub models: Vec<String>,
    /// How much more often those are asked for that are named first: 0 all alike, 1 the classic law of Zipf.
    #[serde(default, skip_serializing_if = "is_default")]
    #[schemars(range(min = 0, max = 10))]
    pub zipf_exponent: f64,
    /// For how long a model serves whoever comes while others are waited for.
    #[serde(default = "default_turn")]
    #[schemars(range(min = 0))]
    pub turn_s: f64,
    /// Models whose weights memory of the host keeps: those used last. All if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1001))]
    pub host_models: Option<u32>,
    /// From memory of the host to each GPU, 10^9 bytes a second.
    #[serde(default = "default_host")]
    #[schemars(extend("exclusiveMinimum" = 0))]
    pub host_gb_per_s: f64,
    /// From storage to memory of the host, 10^9 bytes a second.
    #[serde(default = "default_storage")]
    #[schemars(extend("exclusiveMinimum" = 0))]
    pub storage_gb_per_s: f64,
    /// What a change takes beside moving weights.
    #[serde(default, skip_serializing_if = "is_default")]
    #[schemars(range(min = 0))]
    pub start_s: f64,
}

fn default_turn() -> f64 {
    10.0
}

fn default_host() -> f64 {
    20.0
}

fn default_storage() -> f64 {
    2.0
}
