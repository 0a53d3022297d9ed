//! All that can ever happen in a simulation.

use foretell_framework::{JobId, TaskId};

use crate::engine::Classed;

/// An event, nested by the subsystem that handles it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Event {
    /// Handled by the platform.
    Job(JobEvent),
    /// Handled by the scheduler.
    Scheduler(SchedulerEvent),
}

/// What happens to jobs and their pods.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum JobEvent {
    /// The next job of the workload arrives.
    Submitted,
    /// A pod starts on its node.
    Bound(TaskId),
    /// A pod is stopped; what it did is lost.
    Evicted(TaskId),
    /// A job has run for its whole duration.
    Finished(JobId),
}

/// What happens in the scheduler.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SchedulerEvent {
    /// A scheduling cycle.
    Cycle,
}

impl Classed for Event {
    /// The order of events at one instant is load-bearing: what ends makes room first, then what arrives is queued,
    /// and one cycle decides with all of that in view.
    fn class(&self) -> u8 {
        match self {
            Self::Job(JobEvent::Finished(_)) => 0,
            Self::Job(JobEvent::Evicted(_)) => 1,
            Self::Job(JobEvent::Bound(_)) => 2,
            Self::Job(JobEvent::Submitted) => 3,
            Self::Scheduler(SchedulerEvent::Cycle) => 4,
        }
    }
}
