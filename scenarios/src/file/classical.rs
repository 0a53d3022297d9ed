//! Servers of classical models, as written.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{RequestArrivalFile, TrainPrecision, is_default};
use crate::units::ByteSize;

/// A model that answers a request in one execution, served as by Triton: equal replicas, each of which is a pod on a GPU or a share of one.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ClassicalServiceFile {
    /// Name of the service, used in outputs.
    #[schemars(length(min = 1))]
    pub name: String,
    /// Number of replicas. Requests go to them in turn.
    #[serde(default = "one")]
    #[schemars(range(min = 1, max = 100_000))]
    pub replicas: u32,
    /// GPU models that replicas may have; any if empty.
    #[serde(default, skip_serializing_if = "is_default")]
    pub gpu_models: Vec<String>,
    /// What each replica has of a GPU, in thousandths.
    #[serde(default = "whole_gpu_milli", skip_serializing_if = "is_whole_gpu")]
    #[schemars(range(min = 1, max = 1000))]
    pub gpu_milli: u32,
    /// What a batch takes on an instance that has the GPU of its replica to itself.
    pub latency: ClassicalLatencyFile,
    /// Instances of each replica (`instance_group`'s `count`): each executes a batch at a time.
    #[serde(default = "one")]
    #[schemars(range(min = 1, max = 1024))]
    pub instances: u32,
    /// Share of its time in which an instance that is alone leaves its GPU idle, since the host works.
    #[serde(default, skip_serializing_if = "is_default")]
    #[schemars(range(min = 0, max = 1))]
    pub host_share: f64,
    /// Requests of a batch, at most. With 1 there is no batching.
    #[serde(default = "one")]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub max_batch_size: u32,
    /// Sizes that are sent as soon as they can be made; the largest alone if empty.
    #[serde(default, skip_serializing_if = "is_default")]
    pub preferred_batch_sizes: Vec<u32>,
    /// How long a request is held back for a preferred size while an instance is idle.
    #[serde(default, skip_serializing_if = "is_default")]
    #[schemars(range(min = 0, max = 1e12))]
    pub max_queue_delay_us: f64,
    /// Requests that wait on a level of a replica, at most: further ones are refused. No limit if 0.
    #[serde(default, skip_serializing_if = "is_default")]
    #[schemars(range(min = 0, max = 1_000_000_000))]
    pub max_queue_size: u32,
    /// How long a request waits. No limit if 0.
    #[serde(default, skip_serializing_if = "is_default")]
    #[schemars(range(min = 0, max = 1e12))]
    pub timeout_ms: f64,
    /// What happens to one that has waited longer.
    #[serde(default, skip_serializing_if = "is_default")]
    pub timeout_action: TimeoutActionFile,
    /// Levels of priority, the highest first; one if empty.
    #[serde(default, skip_serializing_if = "is_default")]
    pub priorities: Vec<ClassicalPriorityFile>,
    /// Time from when a replica is placed until it serves.
    #[serde(default, skip_serializing_if = "is_default")]
    #[schemars(range(min = 0))]
    pub startup_s: f64,
    /// CPUs of each pod.
    #[serde(default = "default_cpus")]
    #[schemars(range(min = 0, max = 1e6))]
    pub cpus: f64,
    /// Memory of each pod.
    #[serde(default = "default_memory")]
    pub memory: ByteSize,
    /// The queue of its pods.
    #[serde(default, skip_serializing_if = "is_default")]
    pub queue: String,
    /// The priority of its pods.
    #[serde(default, skip_serializing_if = "is_default")]
    pub priority: i32,
    /// Where requests come from; only from stages of pipelines if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requests: Option<ClassicalRequestsFile>,
    /// What is promised.
    #[serde(default, skip_serializing_if = "is_default")]
    pub slo: ClassicalSloFile,
}

fn one() -> u32 {
    1
}

const WHOLE_GPU_MILLI: u32 = 1000;

fn whole_gpu_milli() -> u32 {
    WHOLE_GPU_MILLI
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
fn is_whole_gpu(milli: &u32) -> bool {
    *milli == WHOLE_GPU_MILLI
}

fn default_cpus() -> f64 {
    4.0
}

fn default_memory() -> ByteSize {
    ByteSize(16 << 30)
}

/// What a batch takes.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(tag = "law", rename_all = "snake_case", deny_unknown_fields)]
pub enum ClassicalLatencyFile {
    /// As measured on what a replica has of a GPU: lines between the points, the last continued.
    Measured {
        /// Larger batches later.
        points: Vec<LatencyPointFile>,
    },
    /// Reckoned by the peaks of the GPU: operations or bytes, whichever takes longer, and what is apart from that.
    Roofline {
        /// Operations of a request.
        #[schemars(range(min = 0))]
        flops_per_item: f64,
        /// Bytes that a batch moves whatever its size.
        #[serde(default, skip_serializing_if = "is_default")]
        #[schemars(range(min = 0))]
        weight_bytes: f64,
        /// Bytes that a request moves: activations.
        #[serde(default, skip_serializing_if = "is_default")]
        #[schemars(range(min = 0))]
        io_bytes_per_item: f64,
        /// Numbers to compute with: which of the GPU's peaks counts.
        #[serde(default = "fp16")]
        precision: TrainPrecision,
        /// Share of both peaks that kernels reach.
        #[schemars(range(min = 0.001, max = 1))]
        efficiency: f64,
        /// Time of a batch apart from that: launches, copies from and to the host.
        #[serde(default, skip_serializing_if = "is_default")]
        #[schemars(range(min = 0, max = 1e12))]
        overhead_us: f64,
    },
}

fn fp16() -> TrainPrecision {
    TrainPrecision::Fp16
}

/// A point of a measured curve.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LatencyPointFile {
    /// Requests of the batch.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub batch: u32,
    /// What it took.
    #[schemars(extend("exclusiveMinimum" = 0))]
    pub latency_ms: f64,
}

/// What happens to a request that has waited too long.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum TimeoutActionFile {
    /// It is refused.
    #[default]
    Reject,
    /// It goes behind all others of its level, and waits there as long as it takes.
    Delay,
}

/// A level of priority; what it does not say of waiting is as the service has it.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ClassicalPriorityFile {
    /// How many requests are of it, beside those of the other levels.
    #[schemars(range(min = 0))]
    pub weight: f64,
    /// Requests of it that wait, at most. No limit if 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 1_000_000_000))]
    pub max_queue_size: Option<u32>,
    /// How long they wait. No limit if 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 1e12))]
    pub timeout_ms: Option<f64>,
    /// What happens then.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout_action: Option<TimeoutActionFile>,
}

/// Requests that arrive whatever becomes of the others.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ClassicalRequestsFile {
    /// When they arrive.
    pub arrival: RequestArrivalFile,
    /// How many.
    #[schemars(range(min = 1, max = 1_000_000_000))]
    pub count: u64,
}

/// What is promised to users; what is not said is not promised.
#[derive(Debug, Clone, Copy, PartialEq, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ClassicalSloFile {
    /// Time from when a request arrives to its answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub latency_s: Option<f64>,
}
