//! What failed in a run, and what that cost.

use foretell_framework::{ClusterState, Time};

use super::JobResult;
use crate::platform::{Failure, FailureOutcome, Fault, FaultKind, Losses};

/// A fault that struck, and the jobs that it hit.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FaultResult {
    /// When.
    pub time: Time,
    /// What.
    pub kind: FaultKind,
    /// The node; the switch, or the two that a link joins, where it is a part of the fabric.
    pub node: Box<str>,
    /// Which of its GPUs.
    pub device: Option<u32>,
    /// How long until it was repaired; zero where there was nothing to repair.
    pub repair: Time,
    /// Jobs of which it hit pods, as they noticed.
    pub jobs: Vec<FailureResult>,
}

/// What a fault meant to a job.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FailureResult {
    /// Index of the job in [`super::RunResult::jobs`].
    pub job: u64,
    /// When it noticed.
    pub noticed: Time,
    /// Pods that failed, by this fault or by others until it noticed.
    pub pods: u32,
    /// The work that this lost: thousandths of a GPU times nanoseconds.
    pub lost: u128,
    /// What became of the job.
    pub outcome: FailureOutcome,
}

/// What failures and checkpoints cost in a run.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct FaultSummary {
    /// By kind, in the order of [`FaultKind::ALL`]; kinds of parts of the fabric that never struck are left out.
    pub by_kind: Vec<KindSummary>,
    /// How often a failure interrupted a running job.
    pub interruptions: u64,
    /// Jobs that ended as failed because of failures.
    pub jobs_given_up: u64,
    /// GPU-seconds of devices that were broken, over the run.
    pub gpu_broken_s: f64,
    /// GPU-seconds of work that was lost to failures: done since the last checkpoint.
    pub gpu_rework_s: f64,
    /// GPU-seconds held from failures until they were noticed.
    pub gpu_unnoticed_s: f64,
    /// GPU-seconds of work that was lost when jobs were told to stop.
    pub gpu_stopped_s: f64,
    /// GPU-seconds of starting again.
    pub gpu_restarts_s: f64,
    /// GPU-seconds of standing still for checkpoints.
    pub gpu_checkpoints_s: f64,
    /// GPU-seconds of waiting for nodes that are slow.
    pub gpu_slow_s: f64,
    /// Effective training time ratio: work that is kept ÷ GPUs times the time from a job's first start to its end (or the
    /// run's), waiting for a restart included. Over jobs with GPUs that are not elastic; 1 if there are none.
    pub effective_time_ratio: f64,
}

/// Faults of a kind.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct KindSummary {
    /// The kind.
    pub kind: FaultKind,
    /// How many struck.
    pub faults: u64,
    /// How often one interrupted a running job.
    pub interruptions: u64,
}

/// Counts failures while a run goes on.
#[derive(Default)]
pub(super) struct FaultTally {
    pub(super) faults: Vec<FaultResult>,
    losses: Losses,
}

impl FaultTally {
    pub(super) fn struck(&mut self, now: Time, fault: &Fault, state: &ClusterState) {
        self.faults.push(FaultResult {
            time: now,
            kind: fault.kind,
            node: fault.place_name(state),
            device: fault.device,
            repair: fault.repair,
            jobs: Vec::new(),
        });
    }

    pub(super) fn noticed(&mut self, now: Time, job: u64, failure: &Failure, state: &ClusterState) {
        let Failure { struck, fault, pods, lost, outcome } = *failure;
        let node = fault.place_name(state);
        let is_it = |result: &&mut FaultResult| {
            result.time == struck && result.kind == fault.kind && result.node == node
        };
        // Those of the last minutes are at the end.
        if let Some(result) = self.faults.iter_mut().rev().find(is_it) {
            result.jobs.push(FailureResult { job, noticed: now, pods, lost, outcome });
        }
    }

    pub(super) const fn lost(&mut self, losses: &Losses) {
        let all = &mut self.losses;
        all.stopped += losses.stopped;
        all.failed += losses.failed;
        all.unnoticed += losses.unnoticed;
        all.restarts += losses.restarts;
        all.checkpoints += losses.checkpoints;
        all.slow += losses.slow;
    }

    /// The figures of a run that ended at `end`, in which so many thousandths of GPUs times nanoseconds were broken.
    pub(super) fn summary(&self, broken: u128, jobs: &[JobResult], end: Time) -> FaultSummary {
        let gpu_s = |milli_nanos: u128| milli_nanos as f64 / 1e12;
        let outcomes = || self.faults.iter().flat_map(|fault| &fault.jobs).map(|job| job.outcome);
        let interrupts = |outcome: &FailureOutcome| *outcome != FailureOutcome::DidNotRun;
        let by_kind = FaultKind::ALL.map(|kind| {
            let faults = || self.faults.iter().filter(|fault| fault.kind == kind);
            let outcomes = faults().flat_map(|fault| &fault.jobs).map(|job| job.outcome);
            KindSummary {
                kind,
                faults: faults().count() as u64,
                interruptions: outcomes.filter(interrupts).count() as u64,
            }
        });
        // Of the fabric only what struck.
        let is_told = |of_kind: &KindSummary| !of_kind.kind.is_of_fabric() || of_kind.faults > 0;
        FaultSummary {
            by_kind: by_kind.into_iter().filter(is_told).collect(),
            interruptions: outcomes().filter(interrupts).count() as u64,
            jobs_given_up: outcomes().filter(|&outcome| outcome == FailureOutcome::GivesUp).count() as u64,
            gpu_broken_s: gpu_s(broken),
            gpu_rework_s: gpu_s(self.losses.failed),
            gpu_unnoticed_s: gpu_s(self.losses.unnoticed),
            gpu_stopped_s: gpu_s(self.losses.stopped),
            gpu_restarts_s: gpu_s(self.losses.restarts),
            gpu_checkpoints_s: gpu_s(self.losses.checkpoints),
            gpu_slow_s: gpu_s(self.losses.slow),
            effective_time_ratio: effective_time_ratio(jobs, end),
        }
    }
}

fn effective_time_ratio(jobs: &[JobResult], end: Time) -> f64 {
    let (mut kept, mut spent) = (0_u128, 0_u128);
    for job in jobs.iter().filter(|job| job.min_tasks == job.tasks) {
        let Some(start) = job.start else { continue };
        let span = job.finish.unwrap_or(end).since(start);
        spent += u128::from(job.gpu_milli_total) * u128::from(span.as_nanos());
        kept += job.gpu_held.saturating_sub(job.gpu_lost);
    }
    if spent == 0 { 1.0 } else { kept as f64 / spent as f64 }
}
