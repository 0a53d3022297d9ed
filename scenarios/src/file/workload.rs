//! The jobs, as written.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::colocation::ColocationFile;
use super::communication::CommunicationFile;
use super::faults::OnFailureFile;
use super::is_default;
use super::queue::{NetworkTopologyFile, RoleFile};
use crate::units::ByteSize;

/// The jobs: exactly one of `trace` and `synthetic`, or neither where there are services.
#[derive(Debug, Clone, PartialEq, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WorkloadFile {
    /// Jobs read from a file.
    pub trace: Option<JobTraceFile>,
    /// Jobs drawn from distributions.
    pub synthetic: Option<SyntheticFile>,
    /// Which nodes the jobs of a queue may use.
    #[serde(default)]
    pub queue_nodes: QueueNodes,
    /// What the steps of jobs communicate.
    #[serde(default, skip_serializing_if = "is_default")]
    pub communication: Option<CommunicationFile>,
    /// How jobs that share a GPU slow each other.
    #[serde(default, skip_serializing_if = "is_default")]
    pub colocation: Option<ColocationFile>,
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
    /// Slurm's accounting: `sacct --parsable2` with a header.
    Sacct,
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
    /// Number of tasks that the job needs to run: with fewer than it has it is elastic, and runs in proportion. All of them
    /// if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub min_tasks: Option<u32>,
    /// On how many tasks the job may run under policies that choose, and how fast it is then. Under others it has `tasks`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scaling: Option<ScalingFile>,
    /// When the job should be done.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deadline: Option<DeadlineFile>,
    /// Larger goes first.
    #[serde(default, skip_serializing_if = "is_default")]
    pub priority: i32,
    /// Whether it must not displace others, whatever its priority (Kubernetes' `preemptionPolicy: Never`).
    #[serde(default, skip_serializing_if = "is_default")]
    pub never_preempts: bool,
    /// Whether its running tasks may be displaced; left to the policy if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub preemptable: Option<bool>,
    /// What it does when pods of it fail; as `[faults]` says if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub on_failure: Option<OnFailureFile>,
    /// How many failures it survives; as `[faults]` says if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_retries: Option<u32>,
    /// How close together its tasks must or should be.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub network_topology: Option<NetworkTopologyFile>,
    /// Pods beside its tasks, without GPUs.
    #[serde(default, skip_serializing_if = "is_default")]
    pub roles: Vec<RoleFile>,
}

/// How a job scales: at most one of `amdahl`, `communication` and `speeds`; in proportion to its tasks without any.
#[derive(Debug, Clone, PartialEq, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ScalingFile {
    /// The fewest tasks; 1 if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 4096))]
    pub min_tasks: Option<u32>,
    /// The most tasks; as many as it asks for if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 4096))]
    pub max_tasks: Option<u32>,
    /// Share of the time on one task that more tasks do not shorten (Amdahl's law).
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0), extend("exclusiveMaximum" = 1))]
    pub amdahl: Option<f64>,
    /// Share of the time on `tasks` tasks that is communication and takes as long on any number but one.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0), extend("exclusiveMaximum" = 1))]
    pub communication: Option<f64>,
    /// Speeds on one task, two tasks and so on, relative to that on `tasks`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub speeds: Vec<f64>,
    /// What all speeds are multiplied by on several nodes.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(max = 1), extend("exclusiveMinimum" = 0))]
    pub across_nodes: Option<f64>,
    /// What all speeds are multiplied by on GPUs of a model of the catalogue; 1 on models that are not named.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub model_speeds: BTreeMap<String, f64>,
    /// Parts of the work in which it scales otherwise.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub phases: Vec<PhaseFile>,
}

/// How a job scales from some progress on; as [`ScalingFile`].
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PhaseFile {
    /// Share of the work that is done when it begins.
    #[schemars(range(min = 0), extend("exclusiveMaximum" = 1))]
    pub from: f64,
    /// Share of the time on one task that more tasks do not shorten.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0), extend("exclusiveMaximum" = 1))]
    pub amdahl: Option<f64>,
    /// Share of the time on `tasks` tasks that is communication.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0), extend("exclusiveMaximum" = 1))]
    pub communication: Option<f64>,
    /// Speeds on one task, two tasks and so on, relative to that on `tasks` at the start.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub speeds: Vec<f64>,
}

/// When a job should be done: a multiple of its run time after its submission, drawn evenly between two bounds.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DeadlineFile {
    /// The least.
    #[schemars(range(min = 0, max = 1e6))]
    pub min_slack: f64,
    /// The most.
    #[schemars(range(min = 0, max = 1e6))]
    pub max_slack: f64,
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
