//! The vocabulary of the run log, and who listens to it.

use foretell_framework::{ClusterState, GpuSet, NodeId, Reason, Time};

use super::JobStatus;
use crate::platform::{Eviction, Failure, Fault, Losses, Submission};

/// Something that happened. Jobs are named by their sequence number: the position in order of submission. Amounts of GPU
/// are in thousandths, lost work in thousandths of a GPU times nanoseconds.
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
        /// What it holds of them in all.
        gpu_milli: u64,
    },
    /// Enough pods of a job had started: it runs.
    JobStarted {
        /// The job.
        job: u64,
        /// GPUs of its pods that have started.
        gpu_milli: u64,
    },
    /// A running job goes on with more or fewer pods.
    JobResized {
        /// The job.
        job: u64,
        /// GPUs of its pods before.
        from_gpu_milli: u64,
        /// And now.
        to_gpu_milli: u64,
    },
    /// A running job that says what its steps take goes on at a pace.
    JobPaced {
        /// The job.
        job: u64,
        /// From now on.
        pace: Pace,
    },
    /// A policy told pods of a job to stop.
    JobEvicted {
        /// The job.
        job: u64,
        /// Which, why and for whom.
        eviction: &'a Eviction,
        /// What becomes of the job.
        outcome: EvictionOutcome,
    },
    /// A running job lost pods that it needs: all its pods stop, and it waits again.
    JobStopped {
        /// The job.
        job: u64,
        /// GPUs of its pods that ran.
        gpu_milli: u64,
        /// What it has lost up to now, and its restarts have taken.
        lost: u128,
    },
    /// A pod of a job that does not run was stopped; the others of its gang stay.
    PodStopped {
        /// The job.
        job: u64,
        /// Its GPUs.
        gpu_milli: u64,
    },
    /// A job ended.
    JobFinished {
        /// The job.
        job: u64,
        /// How.
        status: JobStatus,
        /// GPUs of its pods that ran.
        gpu_milli: u64,
        /// What it lost, and its restarts took.
        lost: u128,
    },
    /// A job will never run: too large for the cluster, or dropped where nothing is retried.
    JobNeverPlaced {
        /// The job.
        job: u64,
        /// Why.
        reason: &'a Reason,
        /// GPUs of its pods that had started.
        gpu_milli: u64,
    },
    /// A job that waits is deleted by the controller that created it.
    JobWithdrawn {
        /// The job.
        job: u64,
        /// GPUs of its pods that had started.
        gpu_milli: u64,
    },
    /// The run is over and the job still waits.
    JobLeftQueued {
        /// The job.
        job: u64,
        /// Why.
        reason: &'a Reason,
    },
    /// The run is over and the job still runs.
    JobLeftRunning {
        /// The job.
        job: u64,
        /// What it has lost, and its restarts have taken.
        lost: u128,
    },
    /// Jobs waited, as far as is known, for this.
    Waited {
        /// See [`Reason::kind`].
        kind: &'static str,
        /// Thousandths of GPUs that they asked for times nanoseconds.
        gpu_time: u128,
    },
    /// A part of a node or of the fabric failed, or software on a node.
    PartFailed {
        /// What, where and for how long.
        fault: &'a Fault,
    },
    /// What failed works again.
    PartRepaired {
        /// See [`Self::PartFailed`].
        fault: &'a Fault,
    },
    /// A job noticed that pods of it have failed. What becomes of it is told by records of their own.
    JobFailed {
        /// The job.
        job: u64,
        /// Which pods, why, and what becomes of the job.
        failure: &'a Failure,
    },
    /// What a job that has ended, or stands as it does at the end of the run, lost to what. Told where parts fail or
    /// checkpoints take time.
    JobLosses {
        /// The job.
        job: u64,
        /// Its losses.
        losses: &'a Losses,
    },
    /// A scheduling cycle ended.
    CycleEnded,
}

/// How a running job steps.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Pace {
    /// Its reference step time over the time that a step takes, in millionths.
    pub speed: u64,
    /// Whether what others send holds it back.
    pub is_held_back: bool,
    /// What it sends from leaves up to spines.
    pub leaf_bytes_per_s: u64,
    /// And from spines up to cores.
    pub spine_bytes_per_s: u64,
}

/// What becomes of a job that loses pods.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum EvictionOutcome {
    /// It did not run yet: its gang was not whole.
    DidNotRun,
    /// It goes on with the pods that are left.
    GoesOn {
        /// How many are left.
        pods: u32,
    },
    /// It stops and waits again.
    Stops {
        /// The work that this loses.
        lost: u128,
    },
}

/// Whoever listens to the run log: metrics, recorders, checkers.
pub trait Observer {
    /// Time passes from `from` to `to`, and `state` is what held in between.
    fn advance(&mut self, from: Time, to: Time, state: &ClusterState);

    /// Something happened; `state` is as after it.
    fn record(&mut self, now: Time, record: &Record<'_>, state: &ClusterState);
}
