//! Routers, queues and clients of services, as written.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::is_default;

/// Which replica gets a request.
#[derive(Debug, Clone, Copy, PartialEq, Default, Deserialize, Serialize, JsonSchema)]
#[serde(tag = "policy", rename_all = "kebab-case", deny_unknown_fields)]
pub enum RouterFile {
    /// One after the other.
    #[default]
    RoundRobin,
    /// Any.
    Random,
    /// The one with the fewest requests.
    LeastOutstanding,
    /// The one that holds the fewest tokens (Splitwise).
    ShortestQueue,
    /// The better of two that are drawn.
    PowerOfTwo,
    /// The same for all requests of a conversation.
    SessionAffinity {
        /// How many times the average of requests a replica may have before a conversation goes elsewhere; no bound if absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[schemars(range(min = 1, max = 1e6))]
        bound: Option<f64>,
    },
    /// The one that has least to compute and to hold, what it has cached taken off (NVIDIA Dynamo).
    KvAware {
        /// What a block to be computed counts beside one to be held.
        #[serde(default = "one")]
        #[schemars(range(min = 0, max = 1e6))]
        overlap_weight: f64,
        /// How far it leaves the least cost; 0 takes it.
        #[serde(default, skip_serializing_if = "is_default")]
        #[schemars(range(min = 0, max = 1e6))]
        temperature: f64,
    },
    /// The one that gives the first token first, beginnings copied from other replicas' caches where these have much more (Mooncake). How long
    /// prompts, copies and answers take it estimates by what the model takes on the GPUs.
    Mooncake {
        /// How many times what a replica has cached another must have, for it to copy the rest instead of computing it.
        #[serde(default = "two")]
        #[schemars(range(min = 1, max = 1e9))]
        balancing_threshold: f64,
        /// Whether requests are turned away whose first token would come later than `slo.ttft_s`, or whose others more slowly than `slo.tpot_s`.
        #[serde(default, skip_serializing_if = "is_default")]
        early_rejection: bool,
    },
    /// The greatest sum of weighted scores (llm-d).
    Weighted {
        /// Few that wait.
        #[serde(default = "two")]
        #[schemars(range(min = 0, max = 1e6))]
        queue: f64,
        /// Free blocks.
        #[serde(default, skip_serializing_if = "is_default")]
        #[schemars(range(min = 0, max = 1e6))]
        kv_utilisation: f64,
        /// Cached blocks.
        #[serde(default = "three")]
        #[schemars(range(min = 0, max = 1e6))]
        prefix: f64,
        /// Few that run.
        #[serde(default, skip_serializing_if = "is_default")]
        #[schemars(range(min = 0, max = 1e6))]
        running: f64,
        /// The request's adapter.
        #[serde(default, skip_serializing_if = "is_default")]
        #[schemars(range(min = 0, max = 1e6))]
        lora: f64,
    },
}

fn one() -> f64 {
    1.0
}

fn two() -> f64 {
    2.0
}

fn three() -> f64 {
    3.0
}

/// Who waits where for how long, and what clients do then.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct AdmissionFile {
    /// Requests that a replica has at once, at most: others wait before all of them. No limit if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub max_outstanding: Option<u32>,
    /// Requests that wait before the replicas, at most: others are turned away. No limit if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 100_000_000))]
    pub max_queued: Option<u32>,
    /// How long a client waits for the end of its answer before it gives up. For ever if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("exclusiveMinimum" = 0))]
    pub timeout_s: Option<f64>,
    /// Whether replicas stop computing what its client gave up, as servers do that notice a closed connection.
    pub cancel: bool,
    /// How often a client tries again after it gave up, was turned away or lost its replica.
    #[schemars(range(min = 0, max = 1000))]
    pub retries: u32,
    /// How long it waits before the first further try; twice as long before each one after.
    #[schemars(range(min = 0))]
    pub backoff_s: f64,
}

impl Default for AdmissionFile {
    fn default() -> Self {
        Self {
            max_outstanding: None,
            max_queued: None,
            timeout_s: None,
            cancel: true,
            retries: 3,
            backoff_s: 1.0,
        }
    }
}
