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

/// A kind of jobs: what their steps are made of. Exactly one of `share`, `bytes` and `train`.
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
    /// Computation of a step; 1 if absent.
    #[schemars(extend("exclusiveMinimum" = 0))]
    pub compute_s: Option<f64>,
    /// What communication takes on `reference_nodes` full nodes alone, as a share of that and the computation.
    #[schemars(range(min = 0), extend("exclusiveMaximum" = 1))]
    pub share: Option<f64>,
    /// Full nodes on which communication takes its `share`; 2 if absent.
    #[schemars(range(min = 1, max = 10_000))]
    pub reference_nodes: Option<u32>,
    /// Size of a step's collectives, as nccl-tests counts it: for an all-reduce the size of the gradients.
    pub bytes: Option<ByteSize>,
    /// Share of the computation beside which the job communicates; 0 if absent.
    #[schemars(range(min = 0, max = 1))]
    pub overlap: Option<f64>,
    /// What it communicates with; an all-reduce if absent.
    pub collective: Option<CommunicationCollective>,
    /// The model that it trains: its steps follow from that.
    pub train: Option<TrainFile>,
}

/// A model of the catalogue that jobs train.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TrainFile {
    /// Its name: `foretell train models` lists them.
    #[schemars(length(min = 1))]
    pub model: String,
    /// How a job is split over its GPUs, such as `fsdp` or `tp8pp4`; the fastest that fits if absent.
    #[serde(default = "auto")]
    #[schemars(length(min = 1))]
    pub strategy: String,
    /// Sequences or samples that a replica computes at a time; the best that fits if absent.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub micro_batch: Option<u32>,
    /// Sequences or samples of a step for each GPU of the job; 4 Mi tokens for all of them together if absent, 64 samples for each.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub samples_per_gpu: Option<u32>,
    /// Tokens of a sequence; the model's if absent.
    #[schemars(range(min = 1, max = 16_777_216))]
    pub sequence_length: Option<u32>,
    /// Numbers to compute with; BF16 for transformers, FP32 for others if absent.
    pub precision: Option<TrainPrecision>,
    /// What is computed again in the backward pass; the fastest that fits if absent.
    pub recompute: Option<TrainRecompute>,
    /// Steps that a job trains, which is then what its work is; as long as the workload says if neither is there.
    #[schemars(range(min = 1))]
    pub steps: Option<u64>,
    /// The same in tokens, in whole steps.
    #[schemars(range(min = 1))]
    pub tokens: Option<u64>,
}

/// Numbers to compute with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum TrainPrecision {
    /// 32 bits.
    Fp32,
    /// 16 bits with 5 of exponent.
    Fp16,
    /// 16 bits with 8 of exponent.
    Bf16,
    /// Linear layers in 8 bits.
    Fp8,
}

/// What is computed again in the backward pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum TrainRecompute {
    /// Nothing.
    None,
    /// What lies between products.
    Selective,
    /// That, and every second product.
    Alternate,
    /// Every layer.
    Full,
}

fn auto() -> String {
    "auto".to_owned()
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
