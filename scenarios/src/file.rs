//! What a person writes: the scenario file, field by field.
//!
//! The doc comments here are the descriptions in the JSON schema, and what `docs/scenarios.md` explains at length.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::catalog::default_max_pods;
use crate::units::ByteSize;

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
    /// The nodes.
    pub cluster: ClusterFile,
    /// The jobs.
    pub workload: WorkloadFile,
    /// The policies and how they run.
    pub scheduler: SchedulerFile,
    /// What evicting a job costs.
    #[serde(default)]
    pub preemption: PreemptionFile,
    /// What is measured.
    #[serde(default)]
    pub metrics: MetricsFile,
    /// Where a run stops at the latest.
    #[serde(default)]
    pub budget: BudgetFile,
}

fn default_seed() -> u64 {
    42
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
}

/// The jobs: exactly one of `trace` and `synthetic`.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WorkloadFile {
    /// Jobs read from a file.
    pub trace: Option<JobTraceFile>,
    /// Jobs drawn from distributions.
    pub synthetic: Option<SyntheticFile>,
    /// Which nodes the jobs of a queue may use.
    #[serde(default)]
    pub queue_nodes: QueueNodes,
}

/// Which nodes the jobs of a queue may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum QueueNodes {
    /// All nodes.
    #[default]
    Any,
    /// The nodes of the virtual cluster of the same name.
    VirtualCluster,
}

/// Jobs read from a file.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct JobTraceFile {
    /// Format of the file.
    #[serde(default)]
    pub format: JobTraceFormat,
    /// The file, plain or `.gz`; `data:` at the start stands for the public data folder.
    #[schemars(length(min = 1))]
    pub path: String,
    /// Take only this many jobs, the first in submit order.
    #[schemars(range(min = 1))]
    pub limit_jobs: Option<u64>,
    /// Skip jobs submitted before this time in the trace; the run starts then. At 0 it starts with the first job.
    #[serde(default)]
    #[schemars(range(min = 0))]
    pub from_s: f64,
    /// Skip jobs submitted at or after this time since the start of the trace.
    #[schemars(range(min = 0))]
    pub to_s: Option<f64>,
    /// Jobs never finish, as in studies of packing: what is placed stays.
    #[serde(default)]
    pub arrivals_only: bool,
    /// Jobs come this many times as fast as in the trace; run times stay. So the offered load is this many times the
    /// trace's.
    #[serde(default = "unit_weight")]
    #[schemars(extend("exclusiveMinimum" = 0))]
    pub rate_factor: f64,
}

/// Format of a job trace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum JobTraceFormat {
    /// Told from the header of the file.
    #[default]
    Auto,
    /// foretell's own CSV.
    Canonical,
    /// Pods of Alibaba's GPU cluster trace of 2023.
    Openb,
    /// The derivative of Microsoft's Philly trace with one row per job.
    Philly,
}

/// Jobs drawn from distributions. Without a preset, `sizes` and `duration` are needed.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SyntheticFile {
    /// Start from the composition of a published trace; fields given here replace the preset's.
    pub preset: Option<PresetName>,
    /// Number of jobs.
    #[schemars(range(min = 1))]
    pub jobs: u64,
    /// Offered GPU work as a share of the cluster's GPUs: 1 keeps all GPUs busy. This or `rate_per_hour`.
    #[schemars(extend("exclusiveMinimum" = 0))]
    pub load: Option<f64>,
    /// Mean number of jobs that arrive per hour. This or `load`.
    #[schemars(extend("exclusiveMinimum" = 0))]
    pub rate_per_hour: Option<f64>,
    /// How arrivals spread over time; `poisson` if absent.
    pub arrival: Option<ArrivalFile>,
    /// What jobs ask for; one entry is drawn per job.
    #[schemars(length(min = 1))]
    pub sizes: Option<Vec<SizeFile>>,
    /// How long jobs run.
    pub duration: Option<DurationFile>,
    /// Queues that jobs go to; the default queue if absent.
    #[schemars(length(min = 1))]
    pub queues: Option<Vec<QueueFile>>,
    /// Whether each queue has arrivals of its own, at its share of the rate, so that its bursts are its own; else a burst
    /// hits all queues together.
    #[serde(default)]
    pub own_arrivals: bool,
    /// Who submits; no user names if absent.
    pub users: Option<UsersFile>,
}

/// A published trace whose composition a synthetic workload can start from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum PresetName {
    /// Alibaba's GPU cluster trace of 2023.
    Openb,
    /// Microsoft's Philly.
    Philly,
}

/// How arrivals spread over time; their mean rate comes from `load` or `rate_per_hour`.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(tag = "process", rename_all = "snake_case", deny_unknown_fields)]
pub enum ArrivalFile {
    /// Independent arrivals.
    Poisson {},
    /// Bursty arrivals: Gamma-distributed gaps.
    Gamma {
        /// Standard deviation of the gap divided by its mean: 1 is Poisson, above 1 bursty.
        #[schemars(range(min = 0.01, max = 100))]
        coefficient_of_variation: f64,
    },
    /// Independent arrivals at a rate that follows the time of day.
    Diurnal {
        /// Rate at the peak divided by the rate at the trough.
        #[schemars(range(min = 1, max = 1e6))]
        peak_to_trough: f64,
        /// Time of the first peak.
        #[serde(default = "default_peak_s")]
        peak_s: f64,
        /// Length of a period.
        #[serde(default = "default_period_s")]
        #[schemars(extend("exclusiveMinimum" = 0))]
        period_s: f64,
    },
}

fn default_peak_s() -> f64 {
    43_200.0
}

fn default_period_s() -> f64 {
    86_400.0
}

/// A kind of job: a gang of equal tasks.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SizeFile {
    /// Relative frequency among the sizes; they need not sum to 1.
    #[schemars(extend("exclusiveMinimum" = 0))]
    pub weight: f64,
    /// Number of tasks, placed all or none.
    #[serde(default = "one")]
    #[schemars(range(min = 1, max = 100_000))]
    pub tasks: u32,
    /// GPUs of each task; 0 for a job without GPUs.
    #[schemars(range(max = 64))]
    pub gpus_per_task: u32,
    /// Thousandths of each GPU; below 1000 the job shares its GPU.
    #[serde(default = "whole_gpu_milli")]
    #[schemars(range(min = 1, max = 1000))]
    pub gpu_milli: u32,
    /// CPUs of each task.
    #[serde(default)]
    #[schemars(range(min = 0, max = 100_000))]
    pub cpus_per_task: f64,
    /// Memory of each task.
    #[serde(default = "no_memory")]
    pub memory_per_task: ByteSize,
    /// GPU models that the job accepts; any if empty.
    #[serde(default)]
    pub gpu_models: Vec<String>,
    /// How long jobs of this size run, where it differs from the workload's `duration`.
    pub duration: Option<DurationFile>,
}

fn one() -> u32 {
    1
}

fn whole_gpu_milli() -> u32 {
    1000
}

fn no_memory() -> ByteSize {
    ByteSize(0)
}

/// How long jobs run.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(tag = "law", rename_all = "snake_case", deny_unknown_fields)]
pub enum DurationFile {
    /// Always the same.
    Fixed {
        /// The run time.
        #[schemars(range(min = 0))]
        value_s: f64,
    },
    /// Exponential.
    Exponential {
        /// Mean, before `min_s` and `max_s`.
        #[schemars(extend("exclusiveMinimum" = 0))]
        mean_s: f64,
        /// Shorter draws become this.
        #[serde(default)]
        #[schemars(range(min = 0))]
        min_s: f64,
        /// Longer draws become this; no bound if absent.
        #[schemars(range(min = 0))]
        max_s: Option<f64>,
    },
    /// Log-normal: the logarithm of the run time is normal.
    LogNormal {
        /// Median.
        #[schemars(extend("exclusiveMinimum" = 0))]
        median_s: f64,
        /// Standard deviation of the natural logarithm.
        #[schemars(range(min = 0, max = 10))]
        sigma: f64,
        /// Shorter draws become this.
        #[serde(default)]
        #[schemars(range(min = 0))]
        min_s: f64,
        /// Longer draws become this; no bound if absent.
        #[schemars(range(min = 0))]
        max_s: Option<f64>,
    },
    /// Log-uniform: the logarithm of the run time is uniform.
    LogUniform {
        /// Shortest.
        #[schemars(extend("exclusiveMinimum" = 0))]
        min_s: f64,
        /// Longest.
        #[schemars(extend("exclusiveMinimum" = 0))]
        max_s: f64,
    },
    /// One of several laws, drawn by weight.
    Mixture {
        /// The laws.
        #[schemars(length(min = 1))]
        components: Vec<ComponentFile>,
        /// Shorter draws become this.
        #[serde(default)]
        #[schemars(range(min = 0))]
        min_s: f64,
        /// Longer draws become this; no bound if absent.
        #[schemars(range(min = 0))]
        max_s: Option<f64>,
    },
}

/// A law in a mixture.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(tag = "law", rename_all = "snake_case", deny_unknown_fields)]
pub enum ComponentFile {
    /// Always the same.
    Fixed {
        /// Relative frequency among the components.
        #[schemars(extend("exclusiveMinimum" = 0))]
        weight: f64,
        /// The run time.
        #[schemars(range(min = 0))]
        value_s: f64,
    },
    /// Exponential.
    Exponential {
        /// Relative frequency among the components.
        #[schemars(extend("exclusiveMinimum" = 0))]
        weight: f64,
        /// Mean.
        #[schemars(extend("exclusiveMinimum" = 0))]
        mean_s: f64,
    },
    /// Log-normal.
    LogNormal {
        /// Relative frequency among the components.
        #[schemars(extend("exclusiveMinimum" = 0))]
        weight: f64,
        /// Median.
        #[schemars(extend("exclusiveMinimum" = 0))]
        median_s: f64,
        /// Standard deviation of the natural logarithm.
        #[schemars(range(min = 0, max = 10))]
        sigma: f64,
    },
    /// Log-uniform.
    LogUniform {
        /// Relative frequency among the components.
        #[schemars(extend("exclusiveMinimum" = 0))]
        weight: f64,
        /// Shortest.
        #[schemars(extend("exclusiveMinimum" = 0))]
        min_s: f64,
        /// Longest.
        #[schemars(extend("exclusiveMinimum" = 0))]
        max_s: f64,
    },
}

/// A queue and its share of jobs.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct QueueFile {
    /// Name of the queue.
    #[schemars(length(min = 1))]
    pub name: String,
    /// Relative frequency among the queues.
    #[serde(default = "unit_weight")]
    #[schemars(extend("exclusiveMinimum" = 0))]
    pub weight: f64,
}

fn unit_weight() -> f64 {
    1.0
}

/// Users named `user-0`, `user-1` and so on.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct UsersFile {
    /// Number of users.
    #[schemars(range(max = 1_000_000))]
    pub count: u32,
    /// Skew: user k submits in proportion to (k + 1)^-exponent, so 0 makes all alike.
    #[serde(default = "unit_weight")]
    #[schemars(range(min = 0, max = 10))]
    pub zipf_exponent: f64,
}

/// The policies and how they run.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SchedulerFile {
    /// Policies to compare; each runs on the same jobs.
    #[schemars(length(min = 1))]
    pub policies: Vec<String>,
    /// Time between two scheduling cycles; 0 runs one whenever something changed.
    #[serde(default)]
    #[schemars(range(min = 0))]
    pub cycle_period_s: f64,
    /// Time from the start of a cycle until its decisions take effect.
    #[serde(default)]
    #[schemars(range(min = 0))]
    pub decision_latency_s: f64,
    /// What becomes of a job that does not fit when it is tried.
    #[serde(default)]
    pub retry: Retry,
}

/// What becomes of a job that does not fit when it is tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Retry {
    /// It waits and is tried again.
    #[default]
    Always,
    /// It is dropped, as in the FGD study.
    Never,
}

/// What evicting a job costs.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct PreemptionFile {
    /// Time between two checkpoints of a job: what it did since the last one is lost. 0 saves all when it is told to stop;
    /// if absent there are no checkpoints, and it starts from the beginning.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub checkpoint_interval_s: Option<f64>,
    /// Time that a job which starts again holds its GPUs before it computes.
    #[schemars(range(min = 0))]
    pub restart_cost_s: f64,
    /// Time from being told to stop until a pod has left its node.
    #[schemars(range(min = 0))]
    pub termination_grace_s: f64,
}

impl Default for PreemptionFile {
    fn default() -> Self {
        // Kubernetes' `terminationGracePeriodSeconds`.
        Self { checkpoint_interval_s: None, restart_cost_s: 0.0, termination_grace_s: 30.0 }
    }
}

/// What is measured.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct MetricsFile {
    /// Time between two points of the timeline; a thousandth of the run if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("exclusiveMinimum" = 0))]
    pub timeline_interval_s: Option<f64>,
    /// Share of tasks, the most frequent shapes first, that fragmentation is measured against.
    #[schemars(range(max = 1), extend("exclusiveMinimum" = 0))]
    pub typical_share: f64,
}

impl Default for MetricsFile {
    fn default() -> Self {
        Self { timeline_interval_s: None, typical_share: 0.95 }
    }
}

/// Where a run stops at the latest, with an error that names the limit.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct BudgetFile {
    /// Events handled.
    #[schemars(range(min = 1))]
    pub max_events: u64,
    /// Simulated time.
    #[schemars(extend("exclusiveMinimum" = 0))]
    pub max_simulated_s: f64,
    /// Time on the clock of the machine that runs it.
    #[schemars(extend("exclusiveMinimum" = 0))]
    pub max_wall_s: f64,
    /// Jobs waiting at once.
    #[schemars(range(min = 1))]
    pub max_queued_jobs: u64,
}

impl Default for BudgetFile {
    fn default() -> Self {
        Self {
            max_events: 1_000_000_000,
            // Ten years: beyond every public trace, well within 64-bit nanoseconds.
            max_simulated_s: 315_360_000.0,
            max_wall_s: 3_600.0,
            max_queued_jobs: 1_000_000,
        }
    }
}
