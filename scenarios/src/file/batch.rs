//! Jobs of requests with a deadline, as written.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::CountFile;

/// Requests that are all there at once, nobody waits for one by one, and have to be done by some time: batch inference.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BatchFile {
    /// What it is called.
    #[schemars(length(min = 1))]
    pub name: String,
    /// When it is submitted.
    #[schemars(range(min = 0))]
    pub submit_s: f64,
    /// How long after that it has to be done.
    #[schemars(extend("exclusiveMinimum" = 0))]
    pub deadline_s: f64,
    /// How many requests.
    #[schemars(range(min = 1, max = 1_000_000_000))]
    pub count: u64,
    /// Tokens of a prompt.
    pub prompt: CountFile,
    /// Tokens of an answer.
    pub output: CountFile,
    /// Higher goes first; requests that are not of a job have 0, unless their trace says otherwise.
    #[serde(default = "low")]
    pub priority: i32,
    /// Requests of it that are in the service at once, at most: the next is sent when one is done. All if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 100_000_000))]
    pub max_outstanding: Option<u32>,
    /// Tokens of prompt and answer together, at most.
    #[serde(default = "default_model_tokens")]
    #[schemars(range(min = 2, max = 10_000_000))]
    pub max_model_tokens: u32,
}

fn low() -> i32 {
    -1
}

fn default_model_tokens() -> u32 {
    32_768
}
