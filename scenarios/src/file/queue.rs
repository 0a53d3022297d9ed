//! Queues and what they are entitled to, as written.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::faults::OnFailureFile;
use crate::units::ByteSize;

/// A queue of the cluster and what it is entitled to. Policies without a notion of queues' shares take no notice.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ClusterQueueFile {
    /// Name, by which jobs go to it.
    #[schemars(length(min = 1))]
    pub name: String,
    /// The queue that contains it; a queue of the top level if absent.
    #[schemars(length(min = 1))]
    pub parent: Option<String>,
    /// Its share of what is to be shared, relative to its siblings.
    #[serde(default = "one")]
    #[schemars(range(min = 1))]
    pub weight: u32,
    /// Larger goes first.
    #[serde(default)]
    pub priority: i32,
    /// The most that it may hold; no bound if absent.
    pub capability: Option<AmountFile>,
    /// What it should have when all ask for theirs; beyond is borrowed.
    pub deserved: Option<AmountFile>,
    /// What is kept for it even if it does not ask.
    pub guarantee: Option<AmountFile>,
    /// Whether others may take back what it borrowed.
    #[serde(default = "yes")]
    pub reclaimable: bool,
}

fn one() -> u32 {
    1
}

fn yes() -> bool {
    true
}

/// An amount of resources; what is not named is open.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AmountFile {
    /// GPUs.
    #[schemars(range(min = 0, max = 1_000_000_000))]
    pub gpus: Option<f64>,
    /// CPUs.
    #[schemars(range(min = 0, max = 1_000_000_000))]
    pub cpus: Option<f64>,
    /// Memory.
    pub memory: Option<ByteSize>,
}

/// How close together the tasks of a job must or should be.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NetworkTopologyFile {
    /// Whether it must be so, or should.
    pub mode: TopologyMode,
    /// The highest tier of a domain that still holds all of them, by its name in `cluster.topology`; the highest of all if
    /// absent.
    #[schemars(length(min = 1))]
    pub highest_tier: Option<String>,
}

/// Whether a network topology is a demand or a wish.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum TopologyMode {
    /// A demand: the job waits until a domain has room for it.
    Hard,
    /// A wish.
    Soft,
}

/// A tier of the network: which nodes are close to each other.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TierFile {
    /// Name of the tier, such as `leaf`.
    #[schemars(length(min = 1))]
    pub name: String,
    /// Nodes of one domain of the tier: this many neighbours in the order of the cluster.
    #[schemars(range(min = 1))]
    pub nodes: u32,
}

/// Pods of a job beside its tasks, without GPUs: parameter servers, a launcher.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RoleFile {
    /// Name of the role, such as `ps`. The job's own tasks are its `worker`s.
    #[schemars(length(min = 1))]
    pub name: String,
    /// Number of pods, all of which the job needs.
    #[schemars(range(min = 1, max = 100_000))]
    pub tasks: u32,
    /// CPUs of each.
    #[serde(default)]
    #[schemars(range(min = 0, max = 100_000))]
    pub cpus_per_task: f64,
    /// Memory of each.
    #[serde(default = "no_memory")]
    pub memory_per_task: ByteSize,
    /// What the job does when one of these fails; as when any of its pods does if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub on_failure: Option<OnFailureFile>,
    /// How many failures of these the job survives, beside its `max_retries`; no bound of their own if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_retries: Option<u32>,
}

fn no_memory() -> ByteSize {
    ByteSize(0)
}
