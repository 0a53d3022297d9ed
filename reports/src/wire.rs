//! The JSON documents of a run directory: `summary.json` and `manifest.json`.
//!
//! Domain types do not serialise; these types are the format, and `docs/outputs.md` documents them.

use foretell_sim::log::{
    CommunicationSummary, Distribution, FaultSummary, GroupSummary, JobCounts, RunSummary,
};
use serde::{Deserialize, Serialize};

/// Version of the layout and of the documents; it grows when a reader of the previous one would be misled.
pub const FORMAT_VERSION: u32 = 1;

/// Marks a `manifest.json` as foretell's.
pub(crate) const FORMAT_NAME: &str = "foretell-run";

/// What identifies a run; the caller's half of [`ManifestFile`].
///
/// Two runs of the same scenario, seed and version are to give the same bytes wherever they are written, so
/// `command` should leave out what only says where results go or how fast (`--out`, thread counts).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Manifest {
    /// Version of foretell.
    pub foretell_version: String,
    /// The scenario's name.
    pub scenario: String,
    /// BLAKE3 of the resolved scenario's text, in hexadecimal.
    pub scenario_blake3: String,
    /// The seed of every random stream.
    pub seed: u64,
    /// The command line, one argument per element.
    pub command: Vec<String>,
    /// What was run, as a scenario file: overrides and defaults included.
    pub scenario_text: String,
}

/// `manifest.json`: what was run, with what, and which files came of it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ManifestFile {
    /// Always `foretell-run`.
    pub format: String,
    /// See [`FORMAT_VERSION`].
    pub format_version: u32,
    /// Version of foretell.
    pub foretell_version: String,
    /// The scenario's name.
    pub scenario: String,
    /// BLAKE3 of the resolved scenario's text, in hexadecimal.
    pub scenario_blake3: String,
    /// The seed of every random stream.
    pub seed: u64,
    /// The command line, one argument per element.
    pub command: Vec<String>,
    /// The policies, in the order in which they were asked for.
    pub policies: Vec<PolicyRecord>,
    /// Every file of the directory but this one, sorted, with `/` between folders.
    pub files: Vec<String>,
}

/// Where a policy's own files lie.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct PolicyRecord {
    /// The policy's name.
    pub policy: String,
    /// Its directory.
    pub directory: String,
}

/// `summary.json`: the figures of every policy.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct SummaryFile {
    /// See [`FORMAT_VERSION`].
    pub format_version: u32,
    /// One per policy and seed: policies in the order in which they were asked for, seeds from the lowest.
    pub runs: Vec<RunRecord>,
}

/// See [`RunSummary`], field by field.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the wire form of RunSummary, which documents each")]
pub struct RunRecord {
    pub policy: String,
    pub seed: u64,
    pub nodes: u64,
    pub gpus: u64,
    pub jobs: JobCountsRecord,
    pub makespan_s: f64,
    pub gpu_allocation: f64,
    pub gpu_utilisation: f64,
    pub gpu_goodput: f64,
    pub gpu_lost_s: f64,
    pub gpu_partial_s: f64,
    pub evictions: u64,
    pub resizes: u64,
    pub deadlines: u64,
    pub deadlines_met: u64,
    pub gpu_allocation_peak: f64,
    pub gpu_fragmentation: f64,
    pub gpu_stranded: f64,
    pub queue_length_mean: f64,
    pub queue_length_max: u64,
    pub queue_delay: DistributionRecord,
    pub completion_time: DistributionRecord,
    pub slowdown_mean: f64,
    pub slowdown_p99: f64,
    pub fairness_jain: f64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub communication: Option<CommunicationRecord>,
    pub by_size: Vec<GroupRecord>,
    pub by_queue: Vec<GroupRecord>,
    pub by_user: Vec<GroupRecord>,
    pub reasons: Vec<ReasonRecord>,
    pub waits: Vec<WaitRecord>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub faults: Option<FaultsRecord>,
    pub events: u64,
    pub cycles: u64,
}

/// See [`CommunicationSummary`].
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the wire form of CommunicationSummary, which documents each")]
pub struct CommunicationRecord {
    pub jobs: u64,
    pub step_slowdown_mean: f64,
    pub step_slowdown_p99: f64,
    pub held_back: f64,
    pub leaf_bytes: u128,
    pub spine_bytes: u128,
}

/// See [`JobCounts`].
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the wire form of JobCounts, which documents each")]
pub struct JobCountsRecord {
    pub submitted: u64,
    pub completed: u64,
    pub failed: u64,
    pub cancelled: u64,
    pub running: u64,
    pub queued: u64,
    pub never_placed: u64,
}

/// See [`Distribution`].
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the wire form of Distribution, which documents each")]
pub struct DistributionRecord {
    pub count: u64,
    pub mean_s: f64,
    pub p50_s: f64,
    pub p90_s: f64,
    pub p99_s: f64,
    pub max_s: f64,
}

/// See [`GroupSummary`].
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the wire form of GroupSummary, which documents each")]
pub struct GroupRecord {
    pub name: String,
    pub jobs: JobCountsRecord,
    pub gpu_s: f64,
    pub queue_delay: DistributionRecord,
    pub completion_time: DistributionRecord,
}

/// Why jobs were never placed or still wait.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ReasonRecord {
    /// The reason.
    pub reason: String,
    /// Jobs with this reason.
    pub jobs: u64,
}

/// What jobs waited for.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct WaitRecord {
    /// The reason.
    pub reason: String,
    /// GPU-seconds waited for it.
    pub gpu_s: f64,
}

/// See [`FaultSummary`].
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the wire form of FaultSummary, which documents each")]
pub struct FaultsRecord {
    pub by_kind: Vec<FaultKindRecord>,
    pub interruptions: u64,
    pub jobs_given_up: u64,
    pub gpu_broken_s: f64,
    pub gpu_rework_s: f64,
    pub gpu_unnoticed_s: f64,
    pub gpu_stopped_s: f64,
    pub gpu_restarts_s: f64,
    pub gpu_checkpoints_s: f64,
    pub gpu_slow_s: f64,
    pub effective_time_ratio: f64,
}

/// Faults of a kind.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct FaultKindRecord {
    /// The kind.
    pub kind: String,
    /// How many struck.
    pub faults: u64,
    /// How often one interrupted a running job.
    pub interruptions: u64,
}

impl SummaryFile {
    /// The document of these runs.
    pub fn new<'a>(runs: impl IntoIterator<Item = &'a RunSummary>) -> Self {
        Self { format_version: FORMAT_VERSION, runs: runs.into_iter().map(RunRecord::from).collect() }
    }
}

impl From<&RunSummary> for RunRecord {
    fn from(run: &RunSummary) -> Self {
        Self {
            policy: run.policy.clone(),
            seed: run.seed,
            nodes: run.nodes,
            gpus: run.gpus,
            jobs: run.jobs.into(),
            makespan_s: run.makespan.as_s(),
            gpu_allocation: run.gpu_allocation,
            gpu_utilisation: run.gpu_utilisation,
            gpu_goodput: run.gpu_goodput,
            gpu_lost_s: run.gpu_lost_s,
            gpu_partial_s: run.gpu_partial_s,
            evictions: run.evictions,
            resizes: run.resizes,
            deadlines: run.deadlines,
            deadlines_met: run.deadlines_met,
            gpu_allocation_peak: run.gpu_allocation_peak,
            gpu_fragmentation: run.gpu_fragmentation,
            gpu_stranded: run.gpu_stranded,
            queue_length_mean: run.queue_length_mean,
            queue_length_max: run.queue_length_max,
            queue_delay: run.queue_delay.into(),
            completion_time: run.completion_time.into(),
            slowdown_mean: run.fairness.slowdown_mean,
            slowdown_p99: run.fairness.slowdown_p99,
            fairness_jain: run.fairness.jain,
            communication: run.communication.map(CommunicationRecord::from),
            by_size: run.by_size.iter().map(GroupRecord::from).collect(),
            by_queue: run.by_queue.iter().map(GroupRecord::from).collect(),
            by_user: run.by_user.iter().map(GroupRecord::from).collect(),
            reasons: run
                .reasons
                .iter()
                .map(|(reason, jobs)| ReasonRecord { reason: reason.clone(), jobs: *jobs })
                .collect(),
            waits: run
                .waits
                .iter()
                .map(|(reason, gpu_s)| WaitRecord { reason: reason.clone(), gpu_s: *gpu_s })
                .collect(),
            faults: run.faults.as_ref().map(FaultsRecord::from),
            events: run.events,
            cycles: run.cycles,
        }
    }
}

impl From<CommunicationSummary> for CommunicationRecord {
    fn from(communication: CommunicationSummary) -> Self {
        let CommunicationSummary { jobs, slowdown_mean, slowdown_p99, held_back, leaf_bytes, spine_bytes } =
            communication;
        Self {
            jobs,
            step_slowdown_mean: slowdown_mean,
            step_slowdown_p99: slowdown_p99,
            held_back,
            leaf_bytes,
            spine_bytes,
        }
    }
}

impl From<&FaultSummary> for FaultsRecord {
    fn from(faults: &FaultSummary) -> Self {
        let by_kind = faults.by_kind.iter().map(|of_kind| FaultKindRecord {
            kind: of_kind.kind.name().to_owned(),
            faults: of_kind.faults,
            interruptions: of_kind.interruptions,
        });
        Self {
            by_kind: by_kind.collect(),
            interruptions: faults.interruptions,
            jobs_given_up: faults.jobs_given_up,
            gpu_broken_s: faults.gpu_broken_s,
            gpu_rework_s: faults.gpu_rework_s,
            gpu_unnoticed_s: faults.gpu_unnoticed_s,
            gpu_stopped_s: faults.gpu_stopped_s,
            gpu_restarts_s: faults.gpu_restarts_s,
            gpu_checkpoints_s: faults.gpu_checkpoints_s,
            gpu_slow_s: faults.gpu_slow_s,
            effective_time_ratio: faults.effective_time_ratio,
        }
    }
}

impl From<JobCounts> for JobCountsRecord {
    fn from(jobs: JobCounts) -> Self {
        let JobCounts { submitted, completed, failed, cancelled, running, queued, never_placed } = jobs;
        Self { submitted, completed, failed, cancelled, running, queued, never_placed }
    }
}

impl From<Distribution> for DistributionRecord {
    fn from(distribution: Distribution) -> Self {
        let Distribution { count, mean_s, p50_s, p90_s, p99_s, max_s } = distribution;
        Self { count, mean_s, p50_s, p90_s, p99_s, max_s }
    }
}

impl From<&GroupSummary> for GroupRecord {
    fn from(group: &GroupSummary) -> Self {
        Self {
            name: group.name.clone(),
            jobs: group.jobs.into(),
            gpu_s: group.gpu_s,
            queue_delay: group.queue_delay.into(),
            completion_time: group.completion_time.into(),
        }
    }
}
