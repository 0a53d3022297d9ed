//! What a person writes: the scenario file, field by field.
//!
//! The doc comments here are the descriptions in the JSON schema, and what `docs/scenarios.md` explains at length.

mod autoscaler;
mod batch;
mod classical;
mod colocation;
mod communication;
mod disaggregation;
mod fabric;
mod faults;
mod fleet;
mod lora;
mod pipeline;
mod queue;
mod reservation;
mod rollout;
mod run;
mod service;
mod storage;
mod swap;
mod workload;

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::catalog::default_max_pods;
use crate::units::ByteSize;

pub use autoscaler::{AutoscalerFile, DecodePointFile, KedaFile, MetricFile, TimetableRowFile};
pub use batch::BatchFile;
pub use classical::{
    ClassicalLatencyFile, ClassicalPriorityFile, ClassicalRequestsFile, ClassicalServiceFile,
    ClassicalSloFile, LatencyPointFile, TimeoutActionFile,
};
pub use colocation::{ColocationClassFile, ColocationFile, ColocationPairFile};
pub use communication::{
    CommunicationClassFile, CommunicationCollective, CommunicationFile, CommunicationPhases, TrainFile,
    TrainPrecision, TrainRecompute,
};
pub use disaggregation::{DecodeFile, DisaggregationFile, KvStoreFile, TransferFile};
pub use fabric::{DegradedLinkFile, FabricFile, FabricRouting, FabricShape};
pub use faults::{
    BlockFile, DeviceRateFile, FaultKindFile, FaultPreset, FaultRateFile, FaultsFile, NodeCheckFile,
    OnFailureFile, RepairSpreadFile, RoleFailureFile, ScheduledFaultFile, StragglersFile,
};
pub use fleet::{AdmissionFile, RouterFile};
pub use lora::{LoraFile, LoraLoadingFile, LoraTargetsFile};
pub use pipeline::{PipelineFile, StageFile};
pub use queue::{AmountFile, ClusterQueueFile, NetworkTopologyFile, RoleFile, TierFile, TopologyMode};
pub use reservation::ReservationFile;
pub use rollout::{RollbackFile, RolloutFile, RolloutStepFile, VersionFile};
pub use run::{
    BudgetFile, CheckpointFile, CheckpointInterval, GpuChoice, LateJobs, MetricsFile, OrderingFile,
    PastUsageFile, PreemptionFile, ProfileFile, RestartStepFile, Retry, SchedulerFile,
};
pub use service::{
    BatcherFile, CapacityFile, ClosedUsersFile, CompilationFile, CountFile, EngineFile, KvCacheFile,
    KvTierFile, MmppStateFile, RequestArrivalFile, RequestTraceFile, RequestsFile, ServiceFile, SessionsFile,
    SloFile, SpeculationFile, SyntheticRequestsFile, WeightsFile,
};
pub use storage::StorageFile;
pub use swap::SwapFile;
pub use workload::{
    ArrivalFile, ComponentFile, DeadlineFile, DurationFile, JobTraceFile, JobTraceFormat, PhaseFile,
    PresetName, QueueFile, QueueNodes, ScalingFile, SizeFile, SyntheticFile, UsersFile, WorkloadFile,
};

/// A scenario: a cluster, a workload, and how to schedule and measure it.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(title = "foretell scenario")]
pub struct ScenarioFile {
    /// Version of the format: 1.
    #[schemars(range(min = 1, max = 1))]
    pub version: u32,
    /// Name of the scenario, used in outputs.
    #[schemars(length(min = 1))]
    pub name: String,
    /// What the scenario is for, in a sentence or two.
    #[serde(default)]
    pub description: String,
    /// Seed of every random stream.
    #[serde(default = "default_seed")]
    pub seed: u64,
    /// How many seeds each policy runs with, from `seed` on.
    #[serde(default = "one_seed", skip_serializing_if = "is_one_seed")]
    #[schemars(range(min = 1, max = 1000))]
    pub seeds: u64,
    /// The nodes.
    pub cluster: ClusterFile,
    /// The jobs. None if absent, where there are services.
    #[serde(default, skip_serializing_if = "is_default")]
    pub workload: WorkloadFile,
    /// Models that are served.
    #[serde(default, skip_serializing_if = "is_default")]
    pub service: Vec<ServiceFile>,
    /// Models that answer a request in one execution, and are served.
    #[serde(default, skip_serializing_if = "is_default")]
    pub classical_service: Vec<ClassicalServiceFile>,
    /// Requests that go through several of them, one stage after another.
    #[serde(default, skip_serializing_if = "is_default")]
    pub pipeline: Vec<PipelineFile>,
    /// Queues and what they are entitled to. Jobs of other queues go to a queue that is entitled to nothing.
    #[serde(default, skip_serializing_if = "is_default")]
    pub queue: Vec<ClusterQueueFile>,
    /// Nodes and GPUs that are kept over windows of time.
    #[serde(default, skip_serializing_if = "is_default")]
    pub reservation: Vec<ReservationFile>,
    /// The policies and how they run.
    pub scheduler: SchedulerFile,
    /// What evicting a job costs.
    #[serde(default, skip_serializing_if = "is_default")]
    pub preemption: PreemptionFile,
    /// What fails. Nothing if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub faults: Option<FaultsFile>,
    /// What is measured.
    #[serde(default)]
    pub metrics: MetricsFile,
    /// Where a run stops at the latest.
    #[serde(default)]
    pub budget: BudgetFile,
}

/// Sections that say nothing are left out of what was written, so that a scenario keeps its digest as sections are added.
fn is_default<T: Default + PartialEq>(section: &T) -> bool {
    *section == T::default()
}

fn default_seed() -> u64 {
    42
}

fn one_seed() -> u64 {
    1
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
fn is_one_seed(seeds: &u64) -> bool {
    *seeds == one_seed()
}

/// The nodes of the cluster: groups of equal nodes, a node list, or both.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ClusterFile {
    /// Groups of equal nodes.
    #[serde(default)]
    pub nodes: Vec<NodeGroupFile>,
    /// A published node list.
    pub trace: Option<NodeTraceFile>,
    /// Node types of this scenario, beside those of the catalogue.
    #[serde(default)]
    pub node_types: Vec<NodeTypeFile>,
    /// Tiers of the network, lowest first: which nodes are close to each other.
    #[serde(default, skip_serializing_if = "is_default")]
    pub topology: Vec<TierFile>,
    /// The network between nodes.
    #[serde(default, skip_serializing_if = "is_default")]
    pub fabric: Option<FabricFile>,
    /// Storage that checkpoints of all jobs share; each is written and read as if it were alone if absent.
    #[serde(default, skip_serializing_if = "is_default")]
    pub storage: Option<StorageFile>,
    /// Names of nodes that take no tasks.
    #[serde(default, skip_serializing_if = "is_default")]
    pub blocked_nodes: Vec<String>,
}

/// A group of equal nodes.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NodeGroupFile {
    /// Node type, of the catalogue or of `cluster.node_types`.
    #[serde(rename = "type")]
    pub node_type: String,
    /// Number of nodes.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub count: u32,
    /// Start of the nodes' names, before `-0000`; the node type if absent.
    #[schemars(length(min = 1))]
    pub name_prefix: Option<String>,
    /// Labels of every node.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// Taints of every node.
    #[serde(default)]
    pub taints: Vec<TaintFile>,
    /// Zone of every node: its label `topology.kubernetes.io/zone`.
    #[schemars(length(min = 1))]
    pub zone: Option<String>,
    /// Virtual cluster that owns the nodes; shared by all if absent.
    #[schemars(length(min = 1))]
    pub virtual_cluster: Option<String>,
    /// What a GPU of these nodes costs an hour, in dollars; not known if absent.
    #[serde(default, skip_serializing_if = "is_default")]
    #[schemars(range(min = 0))]
    pub price_per_gpu_hour: Option<f64>,
}

/// A taint keeps jobs that do not tolerate it off a node.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TaintFile {
    /// Key.
    #[schemars(length(min = 1))]
    pub key: String,
    /// Value.
    #[serde(default)]
    pub value: String,
    /// What it does.
    pub effect: TaintEffect,
}

/// What a taint does to jobs that do not tolerate it. Names as in Kubernetes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Deserialize, Serialize, JsonSchema)]
pub enum TaintEffect {
    /// Keeps them off.
    NoSchedule,
    /// Makes the node less welcome.
    PreferNoSchedule,
    /// Keeps them off and evicts those already there.
    NoExecute,
}

/// A published node list.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NodeTraceFile {
    /// Format of the list.
    pub format: NodeTraceFormat,
    /// The file; `data:` at the start stands for the public data folder.
    #[schemars(length(min = 1))]
    pub path: String,
    /// Node type of every node, for a list that does not describe them; for Philly `philly-8` if absent.
    pub node_type: Option<String>,
}

/// Format of a node list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum NodeTraceFormat {
    /// Alibaba's GPU cluster trace of 2023: one row per node with CPU, memory, GPUs and model.
    Openb,
    /// Microsoft's Philly: one row per virtual cluster with its number of nodes.
    Philly,
}

/// A node type of this scenario.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NodeTypeFile {
    /// Name, by which `cluster.nodes` refers to it.
    #[schemars(length(min = 1))]
    pub name: String,
    /// CPUs as Kubernetes counts them: hardware threads.
    #[schemars(range(min = 1, max = 100_000))]
    pub cpus: u32,
    /// Host memory.
    pub memory: ByteSize,
    /// Most pods (tasks) at once.
    #[serde(default = "default_max_pods")]
    #[schemars(range(min = 1))]
    pub max_pods: u32,
    /// GPU model of the catalogue; needed where `gpus` is above 0.
    pub gpu: Option<String>,
    /// Number of GPUs.
    #[serde(default)]
    #[schemars(range(max = 64))]
    pub gpus: u32,
    /// Where GPUs and network cards hang in the PCIe tree, such as `0 1 nic0, 2 3 nic1 | 4 5 nic2, 6 7 nic3`.
    pub pcie: Option<String>,
    /// NVLinks between GPUs, `all:12` or `0-1:1 0-2:2`; needs `pcie`.
    pub nvlinks: Option<String>,
    /// Number of network cards for traffic between nodes; needs `nic_gbit_per_s`.
    #[serde(default, skip_serializing_if = "is_default")]
    #[schemars(range(min = 1, max = 256))]
    pub nics: Option<u32>,
    /// Rate of each card in one direction.
    #[serde(default, skip_serializing_if = "is_default")]
    #[schemars(extend("exclusiveMinimum" = 0))]
    pub nic_gbit_per_s: Option<f64>,
    /// What the cards are on, such as `infiniband` or `roce`.
    #[serde(default, skip_serializing_if = "is_default")]
    pub network: Option<String>,
}
