//! How a scenario is run and measured, as written.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::is_default;
use crate::units::ByteSize;

/// The policies and how they run.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SchedulerFile {
    /// The one policy to run: a name as in `policies`, or the path of a scheduler's configuration file. This or
    /// `policies`.
    pub profile: Option<String>,
    /// Policies to compare, built-in ones or `profiles` by name; each runs on the same jobs. This or `profile`.
    #[serde(default)]
    #[schemars(length(min = 1))]
    pub policies: Vec<String>,
    /// Policies described by configurations of real schedulers.
    #[serde(default)]
    pub profiles: Vec<ProfileFile>,
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
    /// Who chooses the GPUs on the chosen node.
    #[serde(default)]
    pub gpu_choice: GpuChoice,
    /// Jobs behind the head of each queue that `easy` and `conservative` look at; 500 if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub backfill_depth: Option<u32>,
    /// Waiting that `aging` counts as one point of priority; an hour if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("exclusiveMinimum" = 0))]
    pub aging_per_point_s: Option<f64>,
    /// How far off the durations are that policies are told: the standard deviation of the natural logarithm of estimated
    /// over true duration. 0 tells the truth.
    #[serde(default)]
    #[schemars(range(min = 0))]
    pub estimate_error: f64,
    /// Parameters of policies that order jobs by what they have had.
    #[serde(default)]
    pub ordering: OrderingFile,
}

/// Parameters of policies that order jobs by what they have had, and of those that divide GPUs among elastic jobs.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct OrderingFile {
    /// `las`: how often running jobs are compared with waiting ones.
    #[schemars(extend("exclusiveMinimum" = 0))]
    pub quantum_s: f64,
    /// `tiresias`, `gittins`: the GPU-seconds at which a job leaves each queue for the next, ascending; there is one queue
    /// more than limits.
    pub queue_limits_gpu_s: Vec<u64>,
    /// `tiresias`, `gittins`: a job that has waited this many times as long as it has run returns to the first queue; 0
    /// returns none.
    pub promote_after: u64,
    /// `themis`: how long GPUs are given for.
    #[serde(skip_serializing_if = "is_default_lease")]
    #[schemars(extend("exclusiveMinimum" = 0))]
    pub lease_s: f64,
    /// `optimus`, `pollux`, `sia` and those of Gavel: how often GPUs are divided anew. `kai`: least time between two cycles.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("exclusiveMinimum" = 0))]
    pub interval_s: Option<f64>,
    /// `elasticflow`: what becomes of jobs whose deadline cannot be met.
    #[serde(skip_serializing_if = "is_default")]
    pub late_jobs: LateJobs,
    /// `gavel-cost`: what an hour of a GPU costs, by model, in any currency.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub gpu_cost_per_h: BTreeMap<String, f64>,
    /// `kai`: how what queues had in the past lowers what they get; not at all if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub past_usage: Option<PastUsageFile>,
}

/// How what queues had in the past lowers what they get of what nobody deserves (KAI-Scheduler's time-based fair share).
#[derive(Debug, Clone, Copy, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PastUsageFile {
    /// How much the past counts (`kValue`).
    #[schemars(range(min = 0))]
    pub factor: f64,
    /// After how long what was held counts half; all of the window counts alike if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("exclusiveMinimum" = 0))]
    pub half_life_s: Option<f64>,
    /// How far back anything counts.
    #[serde(default = "week_s")]
    #[schemars(extend("exclusiveMinimum" = 0))]
    pub window_s: f64,
}

const fn week_s() -> f64 {
    604_800.0
}

/// What becomes of jobs whose deadline cannot be met.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum LateJobs {
    /// They run on what is left, as jobs without a deadline do.
    #[default]
    BestEffort,
    /// They do not run.
    TurnedAway,
}

/// The lease of the paper.
const DEFAULT_LEASE_S: f64 = 1_200.0;

/// A scenario that leaves it out keeps its digest.
#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
fn is_default_lease(lease_s: &f64) -> bool {
    lease_s.total_cmp(&DEFAULT_LEASE_S).is_eq()
}

impl Default for OrderingFile {
    fn default() -> Self {
        // Gavel's round; the limits of Tiresias' published simulator.
        Self {
            quantum_s: 360.0,
            queue_limits_gpu_s: vec![3250, 7200],
            promote_after: 0,
            lease_s: DEFAULT_LEASE_S,
            interval_s: None,
            late_jobs: LateJobs::default(),
            gpu_cost_per_h: BTreeMap::new(),
            past_usage: None,
        }
    }
}

/// A policy described by a `volcano-scheduler.conf`, a `KubeSchedulerConfiguration` or a `slurm.conf`, in a file or in place.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ProfileFile {
    /// Name, by which `policies` refers to it; must differ from the built-in ones.
    #[schemars(length(min = 1))]
    pub name: String,
    /// The configuration file. This or `config`.
    pub file: Option<String>,
    /// The configuration as text. This or `file`.
    pub config: Option<String>,
}

/// Who chooses the GPUs on the chosen node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum GpuChoice {
    /// Each policy in its own way.
    #[default]
    Policy,
    /// The links between the GPUs, under every policy.
    Interconnect,
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
    /// What checkpoints take. No time if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub checkpoint: Option<CheckpointFile>,
    /// Time that a job which starts again holds its GPUs before it computes, beside reading its checkpoint.
    #[schemars(range(min = 0))]
    pub restart_cost_s: f64,
    /// The same for larger jobs, in ascending order of size; the last step that applies counts.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub restart_cost_by_gpus: Vec<RestartStepFile>,
    /// Time that an elastic job computes nothing when tasks join or leave it while it runs. Above 0 it saves all it did
    /// when that happens, as if it were stopped and started again.
    #[serde(skip_serializing_if = "is_default")]
    #[schemars(range(min = 0))]
    pub resize_cost_s: f64,
    /// Time from being told to stop until a pod has left its node.
    #[schemars(range(min = 0))]
    pub termination_grace_s: f64,
}

impl Default for PreemptionFile {
    fn default() -> Self {
        // Kubernetes' `terminationGracePeriodSeconds`.
        Self {
            checkpoint_interval_s: None,
            checkpoint: None,
            restart_cost_s: 0.0,
            restart_cost_by_gpus: Vec::new(),
            resize_cost_s: 0.0,
            termination_grace_s: 30.0,
        }
    }
}

/// What checkpoints take.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct CheckpointFile {
    /// When they are taken, instead of at `checkpoint_interval_s`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub interval: Option<CheckpointInterval>,
    /// Mean time between evictions of a job that `interval` reckons with, beside failures; none if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("exclusiveMinimum" = 0))]
    pub mean_time_between_evictions_s: Option<f64>,
    /// Size of a job's checkpoint for each of its GPUs. If this and `size_per_job` are absent, the states of the model that it trains.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size_per_gpu: Option<ByteSize>,
    /// Size of a job's checkpoint whatever its GPUs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size_per_job: Option<ByteSize>,
    /// What a job's checkpoint is written at, in 10^9 bytes a second; with `cluster.storage` at most, and no bound if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("exclusiveMinimum" = 0))]
    pub write_gb_per_s: Option<f64>,
    /// What it is read at when the job starts again, likewise; as it is written if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("exclusiveMinimum" = 0))]
    pub read_gb_per_s: Option<f64>,
    /// For what part of the writing the job stands still: 1 all the time, less if it goes on meanwhile.
    #[schemars(range(min = 0, max = 1))]
    pub stall_fraction: f64,
}

impl Default for CheckpointFile {
    fn default() -> Self {
        Self {
            interval: None,
            mean_time_between_evictions_s: None,
            size_per_gpu: None,
            size_per_job: None,
            write_gb_per_s: None,
            read_gb_per_s: None,
            stall_fraction: 1.0,
        }
    }
}

/// When checkpoints are taken: at the interval that loses least, for each job, by what one costs and the mean time between
/// interruptions on the job's nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum CheckpointInterval {
    /// Young 1974: the square root of twice the product of the two.
    Young,
    /// Daly 2006: of higher order, for checkpoints that take long.
    Daly,
}

/// What jobs of more than some size pay to start again.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RestartStepFile {
    /// Jobs of more GPUs than this.
    pub above: u32,
    /// Time that such a job holds its GPUs before it computes again.
    #[schemars(range(min = 0))]
    pub cost_s: f64,
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
    /// Whether to find out what jobs wait for, by asking the policy after some cycles.
    #[serde(skip_serializing_if = "is_true")]
    pub wait_reasons: bool,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes what it might skip by reference")]
fn is_true(value: &bool) -> bool {
    *value
}

impl Default for MetricsFile {
    fn default() -> Self {
        Self { timeline_interval_s: None, typical_share: 0.95, wait_reasons: true }
    }
}

/// Where a run stops at the latest, with an error that names the limit.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct BudgetFile {
    /// Events handled.
    #[schemars(range(min = 1))]
    pub max_events: u64,
    /// Events at one simulated instant: a run that goes round there for ever ends.
    #[schemars(range(min = 1))]
    pub max_events_at_instant: u64,
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
            max_events_at_instant: 10_000_000,
            // Ten years: beyond every public trace, well within 64-bit nanoseconds.
            max_simulated_s: 315_360_000.0,
            max_wall_s: 3_600.0,
            max_queued_jobs: 1_000_000,
        }
    }
}
