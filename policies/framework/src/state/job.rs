//! Jobs (pod groups) and tasks (pods).

use alloc::boxed::Box;
use alloc::vec::Vec;

use crate::gpu::GpuSet;
use crate::id::{ClassId, JobId, NodeId, QueueId, ShapeId, TaskId};
use crate::time::Time;

/// What a driver says of a job when it submits it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct JobSpec {
    /// The driver's own number for the job: it increases with submission, so it also breaks ties of order.
    pub sequence: u64,
    /// The queue that it waits in.
    pub queue: QueueId,
    /// Larger goes first.
    pub priority: i32,
    /// When it was submitted.
    pub submitted: Time,
    /// How long it is expected to run, for policies that are told.
    pub expected_duration: Option<Time>,
    /// Tasks that must be placed before it can run.
    pub min_member: u32,
    /// Its tasks: class and number.
    pub tasks: Box<[(ClassId, u32)]>,
}

/// A job.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Job {
    /// What the driver said of it.
    pub spec: JobSpec,
    /// Jobs of one shape are interchangeable to placement.
    pub shape: ShapeId,
    pub(super) tasks: Vec<TaskId>,
    pub(super) placed: u32,
}

impl Job {
    /// Its tasks, in order of rank.
    pub fn tasks(&self) -> &[TaskId] {
        &self.tasks
    }

    /// How many of its tasks are placed.
    pub const fn placed(&self) -> u32 {
        self.placed
    }

    /// Whether enough tasks are placed for it to run.
    pub const fn is_ready(&self) -> bool {
        self.placed >= self.spec.min_member
    }

    /// Whether every task is placed.
    pub const fn is_complete(&self) -> bool {
        self.placed as usize == self.tasks.len()
    }
}

/// A task.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Task {
    /// The job that it belongs to.
    pub job: JobId,
    /// Its position among the job's tasks.
    pub rank: u32,
    /// Its requests and constraints.
    pub class: ClassId,
    pub(super) placement: Option<Placement>,
}

impl Task {
    /// Where it is, if it is placed.
    pub const fn placement(&self) -> Option<&Placement> {
        self.placement.as_ref()
    }
}

/// Where a task is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Placement {
    /// The node.
    pub node: NodeId,
    /// Its devices on that node.
    pub gpus: GpuSet,
    /// Thousandths that it holds of each of them.
    pub gpu_milli: u32,
    /// Its position in the node's list of tasks.
    pub(super) slot: u32,
}

impl Placement {
    /// Its position in [`Node::tasks`](super::Node::tasks).
    pub const fn slot(&self) -> usize {
        self.slot as usize
    }
}
