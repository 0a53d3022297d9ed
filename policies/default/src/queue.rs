//! kube-scheduler's queues: pods that may be tried, and pods that wait for something to change.
//!
//! Pods that failed together and are alike (one class, one priority, no room made for them) stay alike: if the first of them still
//! fits nowhere, neither do the others. They are kept as one [`Cohort`] and fail as one, so thousands of
//! pending pods cost as much as there are kinds of them.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
use core::cmp::Reverse;

use foretell_framework::{
    ClassId, ClusterState, Job, JobId, PlacementError, Stamp, TaskId, TaskStatus, Time,
};

use crate::backoff::{Backoff, flush_time};
use crate::rejecting::PluginSet;

/// A pod in a queue. Pods of equal priority and timestamp go in order of submission, then of rank.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct Pod {
    job_sequence: u64,
    rank: u32,
    pub(crate) task: TaskId,
}

/// Pods of one class and priority with the same timestamp and number of failures; at least one.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Cohort {
    pub(crate) class: ClassId,
    pub(crate) priority: i32,
    /// When they failed last; before that, when they were submitted.
    pub(crate) timestamp: Time,
    pub(crate) failures: u32,
    /// The plugins that rejected nodes for it when it failed last.
    pub(crate) rejected_by: PluginSet,
    /// The pod, where room is being made for it: such a pod is like no other.
    pub(crate) nominated: Option<TaskId>,
    pub(crate) pods: BTreeSet<Pod>,
}

/// What tells apart cohorts of one class and priority.
pub(crate) type CohortKey = (Time, u32, PluginSet, Option<TaskId>);

/// A failed attempt.
#[derive(Clone, Copy)]
pub(crate) struct Failure {
    pub(crate) now: Time,
    pub(crate) backoff: Backoff,
    pub(crate) rejected_by: PluginSet,
}

impl Cohort {
    fn fail(&mut self, failure: Failure) {
        self.timestamp = failure.now;
        self.failures = failure.backoff.count(self.failures);
        self.rejected_by = failure.rejected_by;
    }

    /// Cohorts of one pool with equal keys are alike.
    pub(crate) const fn key(&self) -> CohortKey {
        (self.timestamp, self.failures, self.rejected_by, self.nominated)
    }

    /// Takes the first pod out, as a cohort of its own.
    pub(crate) fn split_first(&mut self) -> Option<Self> {
        let pod = self.pods.pop_first()?;
        Some(Self { pods: BTreeSet::from([pod]), ..*self })
    }

    /// Takes over the pods of a cohort that is alike.
    fn absorb(&mut self, other: &mut Self) {
        // Fewer into more: a pod moves at most log n times over all merges.
        if other.pods.len() > self.pods.len() {
            core::mem::swap(&mut other.pods, &mut self.pods);
        }
        self.pods.extend(&other.pods);
    }
}

/// `PrioritySort`: higher priority first, then the earlier entry into the queue.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct PrioritySort {
    priority: Reverse<i32>,
    timestamp: Time,
}

impl PrioritySort {
    /// Of a pod of this priority that entered the queue, the last time, at `timestamp`. Smaller goes first.
    pub const fn new(priority: i32, timestamp: Time) -> Self {
        Self { priority: Reverse(priority), timestamp }
    }
}

/// When a cohort is tried. The order of the fields is the order of the queue: pods that do not back off first
/// (activeQ before backoffQ), then by priority and so on.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct Turn {
    backing_off_until: Option<Time>,
    sort: PrioritySort,
    head: Pod,
}

/// Pods of one class and priority in the unschedulable pool.
#[derive(Default)]
pub(crate) struct Pool {
    /// In order of their keys, none alike.
    pub(crate) cohorts: Vec<Cohort>,
    /// The state in which the class was last found to fit nowhere.
    pub(crate) tried: Stamp,
    /// What the state refused, if a plugin chose an illegal placement.
    pub(crate) illegal: Option<PlacementError>,
}

impl Pool {
    /// Adds a cohort whose first pod failed.
    pub(crate) fn park(&mut self, mut cohort: Cohort, failure: Failure) {
        cohort.fail(failure);
        let position = self.cohorts.partition_point(|other| other.key() < cohort.key());
        match self.cohorts.get_mut(position) {
            Some(other) if other.key() == cohort.key() => other.absorb(&mut cohort),
            _ => self.cohorts.insert(position, cohort),
        }
    }

    /// Lets those cohorts fail that `fails` picks.
    pub(crate) fn fail(&mut self, failure: Failure, fails: impl Fn(&Cohort) -> bool) {
        self.cohorts.iter_mut().filter(|cohort| fails(cohort)).for_each(|cohort| cohort.fail(failure));
        if self.cohorts.len() > 1 {
            self.cohorts.sort_unstable_by_key(Cohort::key);
            self.cohorts.dedup_by(|later, kept| {
                let alike = later.key() == kept.key();
                if alike {
                    kept.absorb(later);
                }
                alike
            });
        }
    }

    /// When the first of its pods leaves without any event.
    pub(crate) fn flush_time(&self) -> Option<Time> {
        self.cohorts.iter().map(|cohort| flush_time(cohort.timestamp)).min()
    }
}

/// The queues.
pub(crate) struct SchedulingQueue {
    pub(crate) backoff: Backoff,
    /// activeQ and, behind it, backoffQ.
    turns: BTreeMap<Turn, Cohort>,
    /// The unschedulable pool.
    pub(crate) pools: BTreeMap<(ClassId, i32), Pool>,
}

impl SchedulingQueue {
    pub(crate) const fn new(backoff: Backoff) -> Self {
        Self { backoff, turns: BTreeMap::new(), pools: BTreeMap::new() }
    }

    /// Queues a new job's pods.
    pub(crate) fn add(&mut self, state: &ClusterState, id: JobId) {
        let Some(job) = state.job(id) else { return };
        for cohort in new_cohorts(state, job) {
            self.queue_cohort(cohort, job.spec.submitted);
        }
    }

    /// Queues a pod that lost its place, or was held back, as if it were new.
    pub(crate) fn add_again(&mut self, state: &ClusterState, task: TaskId, now: Time) {
        let Some(entry) = state.task(task).filter(|task| task.status() == TaskStatus::Waiting) else {
            return;
        };
        let Some(job) = state.job(entry.job).filter(|_| !entry.details.gated) else { return };
        let pod = Pod { job_sequence: job.spec.sequence, rank: entry.rank, task };
        let cohort = Cohort {
            class: entry.class,
            priority: entry.details.priority,
            timestamp: now,
            failures: 0,
            rejected_by: PluginSet::default(),
            nominated: None,
            pods: BTreeSet::from([pod]),
        };
        self.queue_cohort(cohort, now);
    }

    /// Removes what waits of a job that is about to go. Pods that were not tried yet are dropped when their
    /// turn comes.
    pub(crate) fn remove(&mut self, state: &ClusterState, id: JobId) {
        let Some(job) = state.job(id).filter(|job| !job.is_complete()) else { return };
        for gone in new_cohorts(state, job) {
            let key = (gone.class, gone.priority);
            let Some(pool) = self.pools.get_mut(&key) else { continue };
            pool.cohorts.retain_mut(|cohort| {
                gone.pods.iter().for_each(|pod| {
                    cohort.pods.remove(pod);
                });
                !cohort.pods.is_empty()
            });
            if pool.cohorts.is_empty() {
                self.pools.remove(&key);
            }
        }
    }

    /// Where the first pod of a job that is not placed waits in the unschedulable pool.
    pub(crate) fn find(&self, state: &ClusterState, job: &Job) -> Option<(&Pool, &Cohort)> {
        let waiting = new_cohorts(state, job).next()?;
        let pool = self.pools.get(&(waiting.class, waiting.priority))?;
        let first = waiting.pods.first()?;
        Some((pool, pool.cohorts.iter().find(|cohort| cohort.pods.contains(first))?))
    }

    /// Puts a cohort into activeQ, or into backoffQ if it is still backing off at `now`.
    pub(crate) fn queue_cohort(&mut self, cohort: Cohort, now: Time) {
        if let Some(turn) = self.turn(&cohort, now) {
            self.turns.insert(turn, cohort);
        }
    }

    fn turn(&self, cohort: &Cohort, now: Time) -> Option<Turn> {
        Some(Turn {
            backing_off_until: self.backoff.backing_off_until(cohort.timestamp, cohort.failures, now),
            sort: PrioritySort::new(cohort.priority, cohort.timestamp),
            head: *cohort.pods.first()?,
        })
    }

    /// The cohort whose first pod is to be tried. A pod that backs off is popped before its time once no
    /// other is left (`SchedulerPopFromBackoffQ`).
    pub(crate) fn pop(&mut self) -> Option<Cohort> {
        self.turns.pop_first().map(|(_, cohort)| cohort)
    }

    /// Gives back a popped cohort whose first pods were placed: `None` if another one goes before it now, or
    /// if it is empty.
    pub(crate) fn keep_turn(&mut self, cohort: Cohort, now: Time) -> Option<Cohort> {
        let turn = self.turn(&cohort, now)?;
        if self.turns.first_key_value().is_none_or(|(next, _)| turn < *next) {
            return Some(cohort);
        }
        self.turns.insert(turn, cohort);
        None
    }
}

/// The pods of a job that wait and are not held back, as they are queued at first: one cohort for each class and priority.
fn new_cohorts(state: &ClusterState, job: &Job) -> impl Iterator<Item = Cohort> {
    let mut rank = 0;
    let kind = |task: TaskId| state.task(task).map(|task| (task.class, task.details.priority));
    job.tasks().chunk_by(move |&one, &other| kind(one) == kind(other)).filter_map(move |tasks| {
        let job_sequence = job.spec.sequence;
        let ranks = rank..;
        rank += tasks.len() as u32;
        let waits = |task: TaskId| {
            let task = state.task(task);
            task.is_some_and(|task| task.status() == TaskStatus::Waiting && !task.details.gated)
        };
        let pods: BTreeSet<_> = ranks
            .zip(tasks)
            .filter(|&(_, &task)| waits(task))
            .map(|(rank, &task)| Pod { job_sequence, rank, task })
            .collect();
        let (class, priority) = kind(*tasks.first()?)?;
        let timestamp = job.spec.submitted;
        (!pods.is_empty()).then_some(Cohort {
            class,
            priority,
            timestamp,
            failures: 0,
            rejected_by: PluginSet::default(),
            nominated: None,
            pods,
        })
    })
}
