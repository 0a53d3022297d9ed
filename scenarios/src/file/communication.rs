//! What jobs communicate, as written.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::units::ByteSize;

/// What the steps of jobs with several GPUs communicate: their speed then follows where they are placed.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CommunicationFile {
    /// When jobs that share links of `cluster.fabric` communicate.
    #[serde(default)]
    pub phases: CommunicationPhases,
    /// Kinds of jobs; one is drawn per job.
    #[schemars(length(min = 1))]
    pub classes: Vec<CommunicationClassFile>,
}

/// When jobs that share links communicate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum CommunicationPhases {
    /// Each finds the gaps of the others: a lower bound of contention.
    #[default]
    Interleaved,
    /// All communicate at the same time: an upper bound.
    Synchronised,
}

/// A kind of jobs: what their steps are made of. Exactly one of `share` and `bytes`.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CommunicationClassFile {
    /// What it is called.
    #[schemars(length(min = 1))]
    pub name: String,
    /// Relative frequency among the classes.
    #[serde(default = "unit")]
    #[schemars(extend("exclusiveMinimum" = 0))]
    pub weight: f64,
    /// Computation of a step.
    #[serde(default = "unit")]
    #[schemars(extend("exclusiveMinimum" = 0))]
    pub compute_s: f64,
    /// What communication takes on `reference_nodes` full nodes alone, as a share of that and the computation.
    #[schemars(range(min = 0), extend("exclusiveMaximum" = 1))]
    pub share: Option<f64>,
    /// Full nodes on which communication takes its `share`; 2 if absent.
    #[schemars(range(min = 1, max = 10_000))]
    pub reference_nodes: Option<u32>,
    /// Size of a step's collectives, as nccl-tests counts it: for an all-reduce the size of the gradients.
    pub bytes: Option<ByteSize>,
    /// Share of the computation beside which the job communicates.
    #[serde(default)]
    #[schemars(range(min = 0, max = 1))]
    pub overlap: f64,
    /// What it communicates with.
    #[serde(default)]
    pub collective: CommunicationCollective,
}

/// What steps communicate with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum CommunicationCollective {
    /// All have the sum: data parallelism.
    #[default]
    AllReduce,
    /// All have what all have.
    AllGather,
    /// Each has its part of the sum.
    ReduceScatter,
    /// Each sends to each: experts.
    AllToAll,
}

fn unit() -> f64 {
    1.0
}
