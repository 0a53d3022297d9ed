//! What a run leaves behind: one record per job, a timeline, and the figures computed from them.
//!
//! Plain data with public fields: `reports` owns how they are written.

use foretell_framework::{EvictionReason, Time};

use super::{Communication, CommunicationSummary, EvictionOutcome, FaultResult, FaultSummary};

/// How a job's life ended, or where it stood when the run ended.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum JobStatus {
    /// Ran for its whole duration.
    Completed,
    /// Ran for its whole duration; the trace says that it ended in failure. Or pods of it failed more often than it survives.
    Failed,
    /// Ran for its whole duration; the trace says that its user killed it.
    Cancelled,
    /// Still running at the end of the run.
    Running,
    /// Still waiting at the end of the run.
    Queued,
    /// Could never be placed on this cluster, or was dropped by a policy that does not retry.
    NeverPlaced,
}

/// One job, from submission to its end.
#[derive(Clone, PartialEq, Debug)]
pub struct JobResult {
    /// The trace's own name of the job.
    pub id: Box<str>,
    /// Index into [`RunResult::queues`].
    pub queue: u32,
    /// Index into [`RunResult::users`].
    pub user: u32,
    /// Number of tasks (pods).
    pub tasks: u32,
    /// How many of them it needs to run.
    pub min_tasks: u32,
    /// GPUs of each task, of the role that has the most; 0 for CPU-only jobs.
    pub gpus_per_task: u32,
    /// Thousandths of each of those GPUs (1000 = whole GPUs).
    pub gpu_milli: u32,
    /// GPU request of the whole job, in thousandths of a GPU.
    pub gpu_milli_total: u64,
    /// When it was submitted.
    pub submit: Time,
    /// How long it runs with the pods that it asks for and undisturbed; `None` runs for ever.
    pub duration: Option<Time>,
    /// When enough of its tasks had been placed and it began to run, the first time.
    pub start: Option<Time>,
    /// When it ended.
    pub finish: Option<Time>,
    /// How it ended.
    pub status: JobStatus,
    /// Why it waits or was never placed, for jobs that do not run and have not ended; why it failed by itself.
    pub reason: Option<Box<str>>,
    /// When it should have ended, if it has a deadline.
    pub deadline: Option<Time>,
    /// How often a policy evicted pods of it, but for those that it let go to go on with fewer.
    pub evictions: u32,
    /// How often it went on with more or fewer pods while it ran.
    pub resizes: u32,
    /// What it held while it ran, up to the end of the run: thousandths of a GPU times nanoseconds.
    pub gpu_held: u128,
    /// Of that, work that was lost when it was stopped or failed, and what its restarts, its checkpoints, and not noticing
    /// failures took.
    pub gpu_lost: u128,
    /// What communication did to it, if it says what its steps take and began to run.
    pub communication: Option<Box<Communication>>,
    /// How often a failure interrupted it while it ran.
    pub failures: u32,
}

/// Run times below this count as this, so that a job of a second that waited a minute does not rule a mean.
const SLOWDOWN_BOUND_S: f64 = 10.0;

impl JobResult {
    /// Queueing delay: from submission to start.
    pub fn queue_delay(&self) -> Option<Time> {
        self.start.map(|start| start.since(self.submit))
    }

    /// Bounded slowdown: how many times as long it took as it would have alone, where both are at least ten seconds
    /// (Feitelson's bound), at least 1.
    pub fn slowdown(&self) -> Option<f64> {
        let (took_s, alone_s) = (self.completion_time()?.as_s(), self.duration?.as_s());
        Some((took_s / alone_s.max(SLOWDOWN_BOUND_S)).max(1.0))
    }

    /// Whether it ended by its deadline; `None` if it has none.
    pub fn met_deadline(&self) -> Option<bool> {
        self.deadline.map(|deadline| self.finish.is_some_and(|finish| finish <= deadline))
    }

    /// Job completion time: from submission to the end.
    pub fn completion_time(&self) -> Option<Time> {
        self.finish.map(|finish| finish.since(self.submit))
    }
}

/// Pods of one job that a policy evicted together.
#[derive(Clone, PartialEq, Debug)]
pub struct EvictionResult {
    /// When it took effect.
    pub time: Time,
    /// Index of the job in [`RunResult::jobs`].
    pub job: u64,
    /// The node of the first of the pods.
    pub node: Box<str>,
    /// How many pods were told to stop.
    pub pods: u32,
    /// Why.
    pub reason: EvictionReason,
    /// Index of the job for which room is made, if it is for one.
    pub beneficiary: Option<u64>,
    /// What became of the job.
    pub outcome: EvictionOutcome,
}

/// The cluster's state over one interval of the timeline. All values are those that hold from `time` on (a step
/// function sampled at regular instants), not means over the interval.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub struct TimelineRow {
    /// The instant of the sample.
    pub time: Time,
    /// Thousandths of GPUs in healthy devices.
    pub gpu_capacity_milli: u64,
    /// Thousandths of GPUs held by pods.
    pub gpu_allocated_milli: u64,
    /// Thousandths of GPUs held by pods of running jobs.
    pub gpu_utilised_milli: u64,
    /// Thousandths of GPUs held by pods that have started and wait for the rest of their gang.
    pub gpu_partial_milli: u64,
    /// Idle GPU that a task drawn from the typical workload cannot use, expected value (FGD's measure), in
    /// thousandths of a GPU.
    pub gpu_fragmented_milli: f64,
    /// Idle GPU that no typical task at all can use, in thousandths of a GPU.
    pub gpu_stranded_milli: f64,
    /// Thousandths of GPUs requested by everything submitted up to now, whether placed, finished or not.
    pub gpu_arrived_milli: u64,
    /// Jobs that wait.
    pub jobs_queued: u64,
    /// Jobs that run.
    pub jobs_running: u64,
}

/// Mean and percentiles of a set of durations, in seconds. A percentile is the nearest-rank value: an element of
/// the set, never an interpolation. All zero for an empty set.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub struct Distribution {
    /// Size of the set.
    pub count: u64,
    /// Arithmetic mean.
    pub mean_s: f64,
    /// Median.
    pub p50_s: f64,
    /// 90th percentile.
    pub p90_s: f64,
    /// 99th percentile.
    pub p99_s: f64,
    /// Largest value.
    pub max_s: f64,
}

/// Jobs by how they ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct JobCounts {
    /// All that were submitted.
    pub submitted: u64,
    /// See [`JobStatus::Completed`].
    pub completed: u64,
    /// See [`JobStatus::Failed`].
    pub failed: u64,
    /// See [`JobStatus::Cancelled`].
    pub cancelled: u64,
    /// See [`JobStatus::Running`].
    pub running: u64,
    /// See [`JobStatus::Queued`].
    pub queued: u64,
    /// See [`JobStatus::NeverPlaced`].
    pub never_placed: u64,
}

/// The figures of the jobs of one queue (virtual cluster) or one user.
#[derive(Clone, PartialEq, Debug)]
pub struct GroupSummary {
    /// The queue's or user's name.
    pub name: String,
    /// Its jobs.
    pub jobs: JobCounts,
    /// GPU-seconds that its jobs held while they ran, up to the end of the run.
    pub gpu_s: f64,
    /// From submission to start, over jobs that started.
    pub queue_delay: Distribution,
    /// From submission to end, over jobs that ended.
    pub completion_time: Distribution,
}

/// How jobs fared against having the cluster for themselves.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub struct Fairness {
    /// Mean of the jobs' bounded slowdowns ([`JobResult::slowdown`]; finish-time ratio), over jobs that ended.
    pub slowdown_mean: f64,
    /// 99th percentile of them, nearest rank.
    pub slowdown_p99: f64,
    /// Jain's index of their speeds, the inverse of slowdown: 1 if all jobs are slowed alike, 1/n if one has it all.
    pub jain: f64,
}

/// What a capacity planner wants to know of a run.
#[derive(Clone, PartialEq, Debug)]
pub struct RunSummary {
    /// The policy that decided.
    pub policy: String,
    /// The seed of every random stream.
    pub seed: u64,
    /// Nodes of the cluster.
    pub nodes: u64,
    /// Healthy GPUs of the cluster.
    pub gpus: u64,
    /// Jobs by how they ended.
    pub jobs: JobCounts,
    /// From the first submission to the last end of a job; zero if no job ended.
    pub makespan: Time,
    /// GPU-seconds allocated to pods ÷ GPU-seconds of healthy capacity, 0..1. This and the other means are over the
    /// run: from the first submission to the last submission, start or end of a job.
    pub gpu_allocation: f64,
    /// GPU-seconds of running jobs ÷ GPU-seconds of healthy capacity, 0..1, over the run.
    pub gpu_utilisation: f64,
    /// The same without work that was lost to evictions and without restarts, 0..1.
    pub gpu_goodput: f64,
    /// GPU-seconds of work lost when jobs were stopped or failed, of restarts, of standing still for checkpoints, and held
    /// until failures were noticed.
    pub gpu_lost_s: f64,
    /// GPU-seconds held by pods that had started and waited for the rest of their gang.
    pub gpu_partial_s: f64,
    /// How often pods of a job were evicted.
    pub evictions: u64,
    /// How often a job went on with more or fewer pods.
    pub resizes: u64,
    /// Jobs with a deadline.
    pub deadlines: u64,
    /// How many of them ended in time.
    pub deadlines_met: u64,
    /// The largest allocation at any instant, 0..1 of healthy capacity.
    pub gpu_allocation_peak: f64,
    /// Fragmented GPU ÷ healthy capacity, mean over the run, 0..1.
    pub gpu_fragmentation: f64,
    /// Stranded GPU ÷ healthy capacity, mean over the run, 0..1.
    pub gpu_stranded: f64,
    /// Mean number of waiting jobs over the run.
    pub queue_length_mean: f64,
    /// Largest number of waiting jobs.
    pub queue_length_max: u64,
    /// From submission to start, over jobs that started.
    pub queue_delay: Distribution,
    /// From submission to end, over jobs that ended.
    pub completion_time: Distribution,
    /// How evenly jobs fared; zero if none ended.
    pub fairness: Fairness,
    /// What communication did to jobs; `None` if none says what its steps take.
    pub communication: Option<CommunicationSummary>,
    /// The same per size of job in GPUs, smallest first.
    pub by_size: Vec<GroupSummary>,
    /// The same per queue (virtual cluster), in order of name.
    pub by_queue: Vec<GroupSummary>,
    /// The same per user, in order of GPU time, most first.
    pub by_user: Vec<GroupSummary>,
    /// Why jobs were never placed, still wait or failed by themselves: reason and number of jobs, most frequent first.
    pub reasons: Vec<(String, u64)>,
    /// What jobs waited for: reason and GPU-seconds (GPUs that waiting jobs asked for, times how long), most first. The sum
    /// is exact up to the end of the run, the shares are an estimate. Empty where nobody was asked.
    pub waits: Vec<(String, f64)>,
    /// What failures and checkpoints cost; `None` where nothing fails and checkpoints take no time.
    pub faults: Option<FaultSummary>,
    /// Events that the engine processed.
    pub events: u64,
    /// Scheduling cycles that the policy ran.
    pub cycles: u64,
}

/// Everything that one policy's run leaves behind.
#[derive(Clone, PartialEq, Debug)]
pub struct RunResult {
    /// Names of queues, indexed by [`JobResult::queue`].
    pub queues: Vec<String>,
    /// Names of users, indexed by [`JobResult::user`].
    pub users: Vec<String>,
    /// Jobs in order of submission.
    pub jobs: Vec<JobResult>,
    /// Samples in order of time.
    pub timeline: Vec<TimelineRow>,
    /// Evictions in order of time.
    pub evictions: Vec<EvictionResult>,
    /// Faults in order of time.
    pub faults: Vec<FaultResult>,
    /// The figures.
    pub summary: RunSummary,
    /// Whether the policy drew at random.
    pub has_drawn: bool,
}
