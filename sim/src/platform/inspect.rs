//! Looking into a run while it goes on.

use foretell_framework::{ClassId, ClusterState, JobId, Reason, Rejection, Time};
use slotmap::SecondaryMap;

use super::lifecycle::LiveJob;
use super::scheduler::Scheduler;
use crate::log::Record;

/// Someone who looks into a run, with the policy at hand to be asked. To look and to ask changes nothing.
pub trait Inspector {
    /// `inspection` is what holds from `from` to `to`; the last time, `to` is [`Time::MAX`].
    fn inspect(&mut self, from: Time, to: Time, inspection: &mut Inspection<'_>);

    /// Something happened; see [`crate::log::Observer::record`].
    fn record(&mut self, now: Time, record: &Record<'_>, state: &ClusterState);
}

/// A cluster under a policy, at an instant.
pub struct Inspection<'a> {
    pub(super) now: Time,
    pub(super) state: &'a mut ClusterState,
    pub(super) scheduler: &'a mut Scheduler,
    pub(super) jobs: &'a SecondaryMap<JobId, LiveJob>,
}

/// How far a job has come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct JobProgress {
    /// Whether it runs.
    pub running: bool,
    /// When it will be done if nothing changes; `None` for never, and while it waits.
    pub finishes: Option<Time>,
    /// GPU work that would be lost if it were stopped now: thousandths of a GPU times nanoseconds.
    pub at_stake: u128,
    /// How often it was stopped.
    pub restarts: u32,
}

impl Inspection<'_> {
    /// The time.
    pub const fn now(&self) -> Time {
        self.now
    }

    /// The cluster.
    pub const fn state(&self) -> &ClusterState {
        self.state
    }

    /// Why a job waits.
    pub fn explain(&mut self, job: JobId) -> Reason {
        self.scheduler.explain(self.now, self.state, job)
    }

    /// Why each node cannot take a class of tasks; `None` for those that can.
    pub fn verdicts(&mut self, class: ClassId) -> Vec<Option<Rejection>> {
        self.scheduler.profile.verdicts(self.state, class)
    }

    /// How far a job has come, or will have come at an instant until which nothing else happens; `None` for one that is
    /// gone.
    pub fn progress(&self, job: JobId, at: Time) -> Option<JobProgress> {
        Some(self.jobs.get(job)?.progress(at.max(self.now)))
    }
}
