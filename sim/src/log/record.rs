//! The vocabulary of the run log, and who listens to it.

use foretell_framework::{ClusterState, GpuSet, NodeId, Reason, Time};

use super::JobStatus;
use crate::platform::Submission;

/// Something that happened. Jobs are named by their sequence number: the position in order of submission.
#[derive(Clone, Copy, Debug)]
pub enum Record<'a> {
    /// A job arrived.
    JobSubmitted {
        /// Its sequence number.
        job: u64,
        /// What it asks for.
        submission: &'a Submission,
    },
    /// A pod was bound to a node and holds its devices from now on.
    PodBound {
        /// The job that it belongs to.
        job: u64,
        /// Its rank in the job.
        rank: u32,
        /// The node.
        node: NodeId,
        /// The devices.
        gpus: GpuSet,
    },
    /// A pod was stopped, and with it the whole job, which waits again.
    JobEvicted {
        /// The job.
        job: u64,
        /// Thousandths of GPUs that it held if it ran.
        gpu_milli: u64,
    },
    /// Enough pods of a job had started: it runs.
    JobStarted {
        /// The job.
        job: u64,
        /// Thousandths of GPUs that it holds.
        gpu_milli: u64,
    },
    /// A job ended.
    JobFinished {
        /// The job.
        job: u64,
        /// How.
        status: JobStatus,
        /// Thousandths of GPUs that it held.
        gpu_milli: u64,
    },
    /// A job will never run: too large for the cluster, or dropped where nothing is retried.
    JobNeverPlaced {
        /// The job.
        job: u64,
        /// Why.
        reason: &'a Reason,
    },
    /// The run is over and the job still waits.
    JobLeftQueued {
        /// The job.
        job: u64,
        /// Why.
        reason: &'a Reason,
    },
    /// A scheduling cycle ended.
    CycleEnded,
}

/// Whoever listens to the run log: metrics, recorders, checkers.
pub trait Observer {
    /// Time passes from `from` to `to`, and `state` is what held in between.
    fn advance(&mut self, from: Time, to: Time, state: &ClusterState);

    /// Something happened; `state` is as after it.
    fn record(&mut self, now: Time, record: &Record<'_>, state: &ClusterState);
}
