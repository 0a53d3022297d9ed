//! Reservations, as written.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Nodes or GPUs that are kept over a window of time. Honoured by all policies of the form ORDER+PLACEMENT.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ReservationFile {
    /// Name.
    #[schemars(length(min = 1))]
    pub name: String,
    /// When the window opens.
    #[serde(default)]
    #[schemars(range(min = 0))]
    pub start_s: f64,
    /// How long it stays open.
    #[schemars(extend("exclusiveMinimum" = 0))]
    pub duration_s: f64,
    /// Names of the nodes that are kept. This or `gpus`.
    #[serde(default)]
    pub nodes: Vec<String>,
    /// Number of GPUs that are kept, on the last nodes of the cluster. This or `nodes`.
    #[schemars(range(min = 1))]
    pub gpus: Option<u32>,
    /// Queues whose jobs may use what is kept.
    #[serde(default)]
    pub queues: Vec<String>,
    /// Users whose jobs may use what is kept.
    #[serde(default)]
    pub users: Vec<String>,
}
