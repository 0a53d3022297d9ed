//! All that can ever happen in a simulation.

use foretell_framework::{JobId, TaskId};

use crate::engine::Classed;

/// An event, nested by the subsystem that handles it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Event {
    /// Handled by the platform.
    Job(JobEvent),
    /// Handled by the platform.
    Fault(FaultEvent),
    /// Handled by the scheduler.
    Scheduler(SchedulerEvent),
    /// Handled by the network.
    Network(NetworkEvent),
    /// Handled by whoever creates jobs beside the workload.
    Controller(ControllerEvent),
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
    /// It is time for a running job to take a checkpoint on storage that others use.
    CheckpointDue(JobId),
    /// A checkpoint on storage that others use, or a part of one, was written or read.
    CheckpointMoved,
    /// Jobs that share GPUs have other neighbours on them.
    NeighboursChanged,
}

/// What happens to what jobs run on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FaultEvent {
    /// The next fault that was drawn strikes.
    Struck,
    /// A fault strikes that the scenario lists, at this place.
    Scheduled(u32),
    /// A job notices that pods of it have failed.
    Noticed {
        /// The job.
        job: JobId,
        /// The attempt that failed.
        attempt: u32,
    },
    /// A node is found to be slow while a job is on it.
    Found {
        /// The node's index.
        node: u32,
        /// The job.
        job: JobId,
        /// The attempt that was on it.
        attempt: u32,
    },
    /// What broke works again: the fault at this place among all that struck.
    Repaired(u32),
}

/// What happens in the scheduler.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SchedulerEvent {
    /// A scheduling cycle.
    Cycle,
}

/// What happens beside the workload.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ControllerEvent {
    /// The controller creates and deletes jobs.
    Acts,
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
            Self::Job(
                JobEvent::Finished(_)
                | JobEvent::PhaseBegan(_)
                | JobEvent::CheckpointDue(_)
                | JobEvent::CheckpointMoved,
            )
            | Self::Network(NetworkEvent::LinksChanged { .. }) => 0,
            Self::Job(JobEvent::Evicted { .. }) | Self::Fault(FaultEvent::Noticed { .. }) => 1,
            Self::Job(JobEvent::Left(_)) | Self::Fault(FaultEvent::Repaired(_)) => 2,
            Self::Job(JobEvent::Bound { .. }) => 3,
            Self::Fault(FaultEvent::Struck | FaultEvent::Scheduled(_) | FaultEvent::Found { .. }) => 4,
            Self::Job(JobEvent::Submitted) | Self::Controller(_) => 5,
            Self::Scheduler(SchedulerEvent::Cycle) => 6,
            // When all flows and jobs of the instant have begun and ended.
            Self::Network(NetworkEvent::RatesChanged) | Self::Job(JobEvent::NeighboursChanged) => 7,
        }
    }
}
