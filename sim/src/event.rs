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
    /// Handled by the network.
    Network(NetworkEvent),
}

/// What happens to jobs and their pods. An `attempt` is the number of times that the job was stopped before: what was
/// decided for an earlier attempt has no effect on a later one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum JobEvent {
    /// The next job of the workload arrives.
    Submitted,
    /// A pod starts on its node.
    Bound {
        /// The pod.
        task: TaskId,
        /// The attempt that it belongs to.
        attempt: u32,
    },
    /// A pod is told to stop.
    Evicted {
        /// The pod.
        task: TaskId,
        /// The attempt that it belongs to.
        attempt: u32,
    },
    /// A pod that was told to stop has left its node.
    Left(TaskId),
    /// A running job comes to a part of its work in which it scales otherwise.
    PhaseBegan(JobId),
    /// A job has done its work.
    Finished(JobId),
}

/// What happens in the scheduler.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SchedulerEvent {
    /// A scheduling cycle.
    Cycle,
}

/// What happens in the network between nodes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NetworkEvent {
    /// Links fail, lose capacity or come back, as planned.
    LinksChanged {
        /// The place of the first of them in the order of all such changes.
        from: u32,
    },
    /// Running jobs have other shares of the links than before.
    RatesChanged,
}

impl Classed for Event {
    /// The order of events at one instant is load-bearing: what ends makes room first, then what arrives is queued,
    /// and one cycle decides with all of that in view.
    fn class(&self) -> u8 {
        match self {
            Self::Job(JobEvent::Finished(_) | JobEvent::PhaseBegan(_))
            | Self::Network(NetworkEvent::LinksChanged { .. }) => 0,
            Self::Job(JobEvent::Evicted { .. }) => 1,
            Self::Job(JobEvent::Left(_)) => 2,
            Self::Job(JobEvent::Bound { .. }) => 3,
            Self::Job(JobEvent::Submitted) => 4,
            Self::Scheduler(SchedulerEvent::Cycle) => 5,
            // When all flows of the instant have begun and ended.
            Self::Network(NetworkEvent::RatesChanged) => 6,
        }
    }
}
