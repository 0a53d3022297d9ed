//! Metrics, computed while the run goes on from its records and from the state between them.

use std::sync::Arc;

use foretell_framework::{ClusterState, EvictionReason, Reason, Time, TypicalTasks, WHOLE_GPU_MILLI};
use rustc_hash::FxHashMap;

use super::faults::FaultTally;
use super::fragmentation::FragmentationIndex;
use super::summary::{self, Integrals};
use super::timeline::{Sampling, Timeline};
use super::{
    EvictionOutcome, EvictionResult, JobResult, JobStatus, Observer, Pace, Record, RunResult, TimelineRow,
};
use crate::platform::{Counts, FailureOutcome, Role, Submission};

/// Collects what a [`RunResult`] holds.
pub struct Metrics {
    fragmentation: FragmentationIndex,
    timeline: Timeline,
    queues: Names,
    users: Names,
    jobs: Vec<JobResult>,
    integrals: Integrals,
    /// The integrals up to the last submission, start or end of a job: what a policy does by itself after that is no
    /// part of the run.
    measured: Integrals,
    last_event: Time,
    now: TimelineRow,
    first_submit: Option<Time>,
    last_end: Option<Time>,
    reasons: FxHashMap<&'static str, u64>,
    /// Why jobs that have not ended will fail by themselves.
    defects: FxHashMap<u64, Arc<str>>,
    /// What running jobs hold, and since when.
    running: FxHashMap<u64, Held>,
    /// By job: since when, and how, one that runs steps that says so.
    paces: Vec<Option<(Time, Pace)>>,
    evictions: Vec<EvictionResult>,
    /// Where anything fails or checkpoints take time.
    faults: Option<FaultTally>,
    /// Thousandths of GPUs of the cluster when none was broken.
    gpu_whole_milli: u64,
    waits: FxHashMap<&'static str, u128>,
}

/// What is said of jobs that failed by themselves, in the list of reasons.
const DEFECT: &str = "failed by itself: out of memory";

/// GPUs of a running job from an instant on.
#[derive(Clone, Copy)]
struct Held {
    since: Time,
    gpu_milli: u64,
}

impl Held {
    fn until(self, end: Time) -> u128 {
        u128::from(self.gpu_milli) * u128::from(end.since(self.since).as_nanos())
    }
}

impl Metrics {
    /// Metrics of a run whose fragmentation is measured by these typical tasks.
    pub fn new(typical: Arc<TypicalTasks>, sampling: Sampling) -> Self {
        Self {
            fragmentation: FragmentationIndex::new(typical),
            timeline: Timeline::new(sampling),
            queues: Names::default(),
            users: Names::default(),
            jobs: Vec::new(),
            integrals: Integrals::default(),
            measured: Integrals::default(),
            last_event: Time::ZERO,
            now: TimelineRow::default(),
            first_submit: None,
            last_end: None,
            reasons: FxHashMap::default(),
            defects: FxHashMap::default(),
            running: FxHashMap::default(),
            paces: Vec::new(),
            evictions: Vec::new(),
            faults: None,
            gpu_whole_milli: 0,
            waits: FxHashMap::default(),
        }
    }

    /// The result of the run that has ended.
    pub fn finish(mut self, policy: &str, seed: u64, nodes: u64, gpus: u64, counts: Counts) -> RunResult {
        // A run in which nothing happened has not looked at the cluster.
        if self.gpu_whole_milli == 0 {
            self.now.gpu_capacity_milli = gpus * u64::from(WHOLE_GPU_MILLI);
        }
        let (end, now) = (self.last_event, self.now);
        self.timeline.sample_until(end + Time::from_nanos(1), |time| TimelineRow { time, ..now });
        self.timeline.rows.retain(|row| row.time <= end);
        let still_running: Vec<_> = std::mem::take(&mut self.running).into_iter().collect();
        for (job, held) in still_running {
            self.job(job).gpu_held += held.until(end);
        }
        for job in 0..self.paces.len() as u64 {
            self.paced(end, job, None);
        }
        let mut reasons: Vec<_> =
            self.reasons.into_iter().map(|(kind, jobs)| (kind.to_owned(), jobs)).collect();
        reasons.sort_by(|(kind, jobs), (other_kind, other_jobs)| (other_jobs, kind).cmp(&(jobs, other_kind)));
        let mut waits: Vec<_> =
            self.waits.into_iter().map(|(kind, waited)| (kind.to_owned(), waited as f64 / 1e12)).collect();
        waits.sort_by(|(kind, waited), (other_kind, other)| {
            other.total_cmp(waited).then(kind.cmp(other_kind))
        });
        let (queues, users) = (self.queues.names, self.users.names);
        let has_drawn = counts.has_drawn;
        let run = summary::Run { policy, seed, nodes, gpus, counts, reasons, waits };
        let first_submit = self.first_submit.unwrap_or(end);
        let makespan = self.last_end.map_or(Time::ZERO, |last_end| last_end.since(first_submit));
        let mut summary = summary::summarise(run, makespan, &self.measured, &self.jobs, &queues, &users);
        let faults = self.faults.map_or_else(Vec::new, |tally| {
            summary.faults = Some(tally.summary(self.measured.broken, &self.jobs, end));
            tally.faults
        });
        let (timeline, evictions) = (self.timeline.rows, self.evictions);
        RunResult { queues, users, jobs: self.jobs, timeline, evictions, faults, summary, has_drawn }
    }

    /// A job was submitted, started, resized, stopped or ended.
    const fn measure_until(&mut self, now: Time) {
        self.last_event = now;
        self.measured = self.integrals;
    }

    fn job(&mut self, job: u64) -> &mut JobResult {
        &mut self.jobs[job as usize]
    }

    /// A job stops holding what it held while it ran.
    fn holds_no_more(&mut self, now: Time, job: u64) {
        if let Some(held) = self.running.remove(&job) {
            self.job(job).gpu_held += held.until(now);
        }
    }

    fn submitted(&mut self, now: Time, submission: &Submission) {
        self.first_submit.get_or_insert(now);
        self.measure_until(now);
        self.now.gpu_arrived_milli += submission.gpu_milli_total();
        self.now.jobs_queued += 1;
        let by_gpus = |role: &&Role| role.spec.gpus.total_milli();
        let largest = submission.roles.iter().rev().max_by_key(by_gpus);
        let gpus = largest.map(|role| role.spec.gpus).unwrap_or_default();
        if let Some(defect) = &submission.defect {
            self.defects.insert(self.jobs.len() as u64, Arc::clone(defect));
        }
        self.jobs.push(JobResult {
            id: submission.id.clone(),
            queue: self.queues.index(&submission.queue),
            user: self.users.index(&submission.user),
            tasks: submission.tasks(),
            min_tasks: submission.min_member(),
            gpus_per_task: gpus.count,
            gpu_milli: gpus.milli,
            gpu_milli_total: submission.gpu_milli_total(),
            submit: now,
            duration: submission.duration,
            start: None,
            finish: None,
            status: JobStatus::Queued,
            reason: None,
            deadline: submission.deadline,
            evictions: 0,
            resizes: 0,
            gpu_held: 0,
            gpu_lost: 0,
            failures: 0,
            communication: None,
        });
    }

    /// A job steps otherwise from now on, or no more.
    fn paced(&mut self, now: Time, job: u64, pace: Option<Pace>) {
        let at = job as usize;
        if self.paces.len() <= at && pace.is_some() {
            self.paces.resize(at + 1, None);
        }
        let Some(held) = self.paces.get_mut(at) else { return };
        let before = std::mem::replace(held, pace.map(|pace| (now, pace)));
        if before.is_none() && pace.is_none() {
            return;
        }
        let communication = self.job(job).communication.get_or_insert_default();
        if let Some((since, pace)) = before {
            communication.add(now.since(since), pace);
        }
    }

    fn left_waiting(&mut self, job: u64, status: JobStatus, reason: &Reason) {
        let text = match reason {
            Reason::BehindHead { head } => {
                format!("behind job {}, the head of its queue", self.job(*head).id)
            }
            reason => reason.to_string(),
        };
        *self.reasons.entry(reason.kind()).or_default() += 1;
        let result = self.job(job);
        result.status = status;
        result.reason = Some(text.into());
    }
}

impl Observer for Metrics {
    fn advance(&mut self, from: Time, to: Time, state: &ClusterState) {
        self.fragmentation.refresh(state);
        self.now.gpu_allocated_milli = state.gpu_allocated_milli();
        // What broke under a pod is held until the pod is gone, and counts as long.
        self.now.gpu_capacity_milli = state.gpu_capacity_milli().max(self.now.gpu_allocated_milli);
        self.gpu_whole_milli = self.gpu_whole_milli.max(state.gpu_capacity_milli());
        self.now.gpu_fragmented_milli = self.fragmentation.expected_milli();
        self.now.gpu_stranded_milli = self.fragmentation.stranded_milli() as f64;
        let now = self.now;
        self.timeline.sample_until(to, |time| TimelineRow { time, ..now });
        if self.first_submit.is_some() {
            self.integrals.add(to.since(from), &now);
            self.integrals.broken += u128::from(self.gpu_whole_milli - state.gpu_capacity_milli())
                * u128::from(to.since(from).as_nanos());
        }
    }

    fn record(&mut self, now: Time, record: &Record<'_>, state: &ClusterState) {
        match *record {
            Record::JobSubmitted { submission, .. } => self.submitted(now, submission),
            Record::PodBound { gpu_milli, .. } => self.now.gpu_partial_milli += gpu_milli,
            Record::PodStopped { gpu_milli, .. } => self.now.gpu_partial_milli -= gpu_milli,
            Record::JobStarted { job, gpu_milli } => {
                self.measure_until(now);
                let result = self.job(job);
                result.start.get_or_insert(now);
                result.status = JobStatus::Running;
                self.now.jobs_queued -= 1;
                self.now.jobs_running += 1;
                self.now.gpu_partial_milli -= gpu_milli;
                self.now.gpu_utilised_milli += gpu_milli;
                self.running.insert(job, Held { since: now, gpu_milli });
            }
            Record::JobResized { job, from_gpu_milli, to_gpu_milli } => {
                self.measure_until(now);
                // Pods that come or go together are one change, and none if the job starts with them.
                let is_new = self.running.get(&job).is_some_and(|held| held.since < now);
                self.job(job).resizes += u32::from(is_new);
                self.holds_no_more(now, job);
                self.running.insert(job, Held { since: now, gpu_milli: to_gpu_milli });
                self.now.gpu_utilised_milli = self.now.gpu_utilised_milli - from_gpu_milli + to_gpu_milli;
                // Pods that join a running job waited for nobody.
                self.now.gpu_partial_milli -= to_gpu_milli.saturating_sub(from_gpu_milli);
            }
            Record::JobPaced { job, pace } => self.paced(now, job, Some(pace)),
            Record::JobFinished { job, status, gpu_milli, lost } => {
                self.paced(now, job, None);
                self.holds_no_more(now, job);
                let defect = self.defects.remove(&job).filter(|_| status == JobStatus::Failed);
                if defect.is_some() {
                    *self.reasons.entry(DEFECT).or_default() += 1;
                }
                let result = self.job(job);
                if let Some(defect) = defect {
                    result.reason = Some((*defect).into());
                }
                result.finish = Some(now);
                result.status = status;
                result.gpu_lost = lost;
                self.now.jobs_running -= 1;
                self.now.gpu_utilised_milli -= gpu_milli;
                self.last_end = Some(now);
                self.measure_until(now);
            }
            // It was asked to go on with fewer, and does: that is counted as a resize.
            Record::JobEvicted { eviction, outcome: EvictionOutcome::GoesOn { .. }, .. }
                if eviction.reason == EvictionReason::Shrunk => {}
            Record::JobEvicted { job, eviction, outcome } => {
                self.job(job).evictions += 1;
                self.evictions.push(EvictionResult {
                    time: now,
                    job,
                    node: state.node(eviction.node).spec.name.clone(),
                    pods: eviction.pods,
                    reason: eviction.reason,
                    beneficiary: eviction.beneficiary,
                    outcome,
                });
            }
            Record::JobStopped { job, gpu_milli, lost } => {
                self.paced(now, job, None);
                self.measure_until(now);
                self.holds_no_more(now, job);
                let result = self.job(job);
                result.status = JobStatus::Queued;
                result.gpu_lost = lost;
                self.now.jobs_running -= 1;
                self.now.jobs_queued += 1;
                self.now.gpu_utilised_milli -= gpu_milli;
            }
            Record::JobNeverPlaced { job, reason, gpu_milli } => {
                self.now.jobs_queued -= 1;
                self.now.gpu_partial_milli -= gpu_milli;
                self.left_waiting(job, JobStatus::NeverPlaced, reason);
            }
            Record::JobWithdrawn { job, gpu_milli } => {
                self.now.jobs_queued -= 1;
                self.now.gpu_partial_milli -= gpu_milli;
                let result = self.job(job);
                result.status = JobStatus::Cancelled;
                result.reason = Some("no longer wanted".into());
            }
            Record::JobLeftRunning { job, lost } => self.job(job).gpu_lost = lost,
            Record::JobLeftQueued { job, reason } => self.left_waiting(job, JobStatus::Queued, reason),
            Record::Waited { kind, gpu_time } => *self.waits.entry(kind).or_default() += gpu_time,
            Record::PartFailed { fault } => {
                self.faults.get_or_insert_default().struck(now, fault, state);
            }
            Record::JobFailed { job, failure } => {
                if failure.outcome != FailureOutcome::DidNotRun {
                    self.job(job).failures += 1;
                }
                self.faults.get_or_insert_default().noticed(now, job, failure, state);
            }
            Record::JobLosses { losses, .. } => self.faults.get_or_insert_default().lost(losses),
            Record::PartRepaired { .. } | Record::CycleEnded => {}
        }
    }
}

/// Names in order of first sight.
#[derive(Default)]
struct Names {
    names: Vec<String>,
    indices: FxHashMap<Box<str>, u32>,
}

impl Names {
    fn index(&mut self, name: &str) -> u32 {
        if let Some(&index) = self.indices.get(name) {
            return index;
        }
        let index = self.names.len() as u32;
        self.names.push(name.to_owned());
        self.indices.insert(name.into(), index);
        index
    }
}
