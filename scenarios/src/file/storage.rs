//! Storage that all jobs share, as written.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Storage that all jobs write their checkpoints to and read them from. Rates are in 10^9 bytes a second.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct StorageFile {
    /// What all together write at.
    #[schemars(extend("exclusiveMinimum" = 0, "maximum" = 1e9))]
    pub write_gb_per_s: f64,
    /// What all together read at; as they write if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("exclusiveMinimum" = 0, "maximum" = 1e9))]
    pub read_gb_per_s: Option<f64>,
    /// What a node writes or reads at, at most; no bound if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("exclusiveMinimum" = 0, "maximum" = 1e9))]
    pub node_gb_per_s: Option<f64>,
}
