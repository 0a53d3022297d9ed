//! One scheduling cycle: the state, the time, a source of randomness, and the decisions that come out.

use alloc::vec::Vec;

use rand::Rng;

use crate::gpu::GpuSet;
use crate::id::JobId;
use crate::id::{NodeId, TaskId};
use crate::recency::Stamp;
use crate::state::{ClusterState, JobPhase, Placement, PlacementError, Task, TaskStatus};
use crate::time::Time;

/// Why a task is evicted.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum EvictionReason {
    /// To make room for a task of higher priority.
    Preempted,
    /// Its queue held more than it deserves while another went short.
    Reclaimed,
    /// To move it elsewhere, so that free capacity comes together.
    Consolidated,
    /// The part of its gang that was placed waited too long for the rest.
    GangTimedOut,
    /// The window in which its node was lent has closed.
    NodeRevoked,
}

/// What a policy decided, in the order in which it decided. The driver carries it out.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Decision {
    /// Start the task on these devices of this node.
    Bind {
        /// The task.
        task: TaskId,
        /// Its node.
        node: NodeId,
        /// Its devices.
        gpus: GpuSet,
    },
    /// Stop the task. It is being released; the driver says when it has left its node.
    Evict {
        /// The task.
        task: TaskId,
        /// Why.
        reason: EvictionReason,
        /// The task for which room is made, if it is for one.
        beneficiary: Option<TaskId>,
    },
    /// Room is being made for the task on a node, or (`None`) no longer.
    Nominate {
        /// The task.
        task: TaskId,
        /// The node.
        node: Option<NodeId>,
    },
}

/// What a scheduling cycle works with. Everything that a policy may know comes through here.
pub struct Session<'a> {
    state: &'a mut ClusterState,
    /// The time of the cycle.
    pub now: Time,
    /// The only randomness that a policy has; the driver seeds it.
    pub random: &'a mut dyn Rng,
    decisions: &'a mut Vec<Decision>,
    /// When the policy wants the next cycle even if nothing happens until then.
    pub wake_at: Option<Time>,
    log: Vec<Change>,
}

impl<'a> Session<'a> {
    /// A cycle at `now`; its decisions are appended to `decisions`.
    pub const fn new(
        state: &'a mut ClusterState,
        now: Time,
        random: &'a mut dyn Rng,
        decisions: &'a mut Vec<Decision>,
    ) -> Self {
        Self { state, now, random, decisions, wake_at: None, log: Vec::new() }
    }

    /// The state as it is now, with everything committed so far.
    pub const fn state(&self) -> &ClusterState {
        self.state
    }

    /// Says where a job stands in the queue's admission. It is no change of placement: no transaction undoes it.
    pub fn set_job_phase(&mut self, job: JobId, phase: JobPhase) {
        self.state.set_job_phase(job, phase);
    }

    /// Asks for a cycle at `time` at the latest.
    pub fn wake_by(&mut self, time: Time) {
        self.wake_at = Some(self.wake_at.map_or(time, |earlier| earlier.min(time)));
    }

    /// Begins a transaction, and hands out the source of randomness beside it.
    pub fn begin(&mut self) -> (Transaction<'_>, &mut dyn Rng) {
        let transaction = Transaction { state: self.state, decisions: self.decisions, log: &mut self.log };
        (transaction, self.random)
    }
}

enum Change {
    /// With the nomination before.
    Placed(TaskId, Option<NodeId>),
    /// With its state before.
    Evicted(TaskId, TaskStatus, EvictionReason, Option<TaskId>),
    /// With the nomination before.
    Nominated(TaskId, Option<NodeId>),
    /// With the nomination before.
    Assumed(TaskId, Option<NodeId>),
    /// With its place and state before, and [`ClusterState::released`] before.
    Removed(TaskId, Placement, TaskStatus, Stamp),
}

/// A point of a transaction to which it can be rolled back.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Savepoint {
    changes: usize,
}

/// Changes of placement that happen together or not at all. Dropped without [`Transaction::commit`], everything is
/// as before.
pub struct Transaction<'a> {
    state: &'a mut ClusterState,
    decisions: &'a mut Vec<Decision>,
    log: &'a mut Vec<Change>,
}

impl Transaction<'_> {
    /// The state with the changes of this transaction.
    pub const fn state(&self) -> &ClusterState {
        self.state
    }

    /// Places a waiting task on devices of a node.
    pub fn place(&mut self, task: TaskId, node: NodeId, gpus: GpuSet) -> Result<(), PlacementError> {
        self.state.check_placement(task, node, gpus)?;
        let nominated = self.state.task(task).and_then(Task::nominated);
        self.state.apply_placement(task, node, gpus);
        self.log.push(Change::Placed(task, nominated));
        Ok(())
    }

    /// Tells a placed task to stop, for the sake of `beneficiary` if it is for one. What it holds is not free until the
    /// driver says that it is gone.
    pub fn evict(
        &mut self,
        task: TaskId,
        reason: EvictionReason,
        beneficiary: Option<TaskId>,
    ) -> Result<(), PlacementError> {
        if self.state.task(task).is_none() {
            return Err(PlacementError::UnknownTask);
        }
        let status = self.state.mark_releasing(task).ok_or(PlacementError::NotPlaced)?;
        self.log.push(Change::Evicted(task, status, reason, beneficiary));
        Ok(())
    }

    /// Says that room is being made for a waiting task on a node, or no longer.
    pub fn nominate(&mut self, task: TaskId, node: Option<NodeId>) -> Result<(), PlacementError> {
        let entry = self.state.task(task).ok_or(PlacementError::UnknownTask)?;
        if entry.status() != TaskStatus::Waiting {
            return Err(PlacementError::AlreadyPlaced);
        }
        let before = self.state.set_nomination(task, node);
        self.log.push(Change::Nominated(task, before));
        Ok(())
    }

    /// Takes a task off its node as if it were gone, to see what would fit then. A trial only: it must be rolled back,
    /// and a transaction that still holds one when it commits undoes it first, and all that came after.
    pub fn remove(&mut self, task: TaskId) -> Result<(), PlacementError> {
        let entry = self.state.task(task).ok_or(PlacementError::UnknownTask)?;
        let (status, released) = (entry.status(), self.state.released());
        let placement = self.state.unplace(task, TaskStatus::Waiting).ok_or(PlacementError::NotPlaced)?;
        self.log.push(Change::Removed(task, placement, status, released));
        Ok(())
    }

    /// Puts a waiting task on a node even if it does not fit there, to see what would fit beside it; devices are chosen
    /// if none are given. A trial only, like [`Self::remove`].
    pub fn assume(&mut self, task: TaskId, node: NodeId, gpus: Option<GpuSet>) -> Result<(), PlacementError> {
        let entry = self.state.task(task).ok_or(PlacementError::UnknownTask)?;
        if entry.status() != TaskStatus::Waiting {
            return Err(PlacementError::AlreadyPlaced);
        }
        let nominated = entry.nominated();
        self.state.observe_task(task, node, gpus, TaskStatus::Bound);
        self.log.push(Change::Assumed(task, nominated));
        Ok(())
    }

    /// The present point.
    pub const fn savepoint(&self) -> Savepoint {
        Savepoint { changes: self.log.len() }
    }

    /// Undoes everything since the point, latest first.
    pub fn rollback_to(&mut self, savepoint: Savepoint) {
        while self.log.len() > savepoint.changes {
            match self.log.pop() {
                Some(Change::Placed(task, nominated) | Change::Assumed(task, nominated)) => {
                    // Taking back what this transaction did releases nothing to anyone.
                    let released = self.state.released();
                    self.state.unplace(task, TaskStatus::Waiting);
                    self.state.set_released(released);
                    self.state.set_nomination(task, nominated);
                }
                Some(Change::Evicted(task, status, ..)) => self.state.unmark_releasing(task, status),
                Some(Change::Nominated(task, before)) => {
                    self.state.set_nomination(task, before);
                }
                Some(Change::Removed(task, placement, status, released)) => {
                    self.state.restore(task, &placement, status);
                    self.state.set_released(released);
                }
                None => break,
            }
        }
    }

    /// Makes the changes last and turns them into decisions, in their order.
    pub fn commit(mut self) {
        let is_trial = |change: &Change| matches!(change, Change::Removed(..) | Change::Assumed(..));
        if let Some(trial) = self.log.iter().position(is_trial) {
            self.rollback_to(Savepoint { changes: trial });
        }
        for change in self.log.iter() {
            self.decisions.push(match *change {
                Change::Evicted(task, _, reason, beneficiary) => {
                    Decision::Evict { task, reason, beneficiary }
                }
                Change::Nominated(task, _) => {
                    let node = self.state.task(task).and_then(Task::nominated);
                    Decision::Nominate { task, node }
                }
                Change::Placed(task, _) => {
                    let placement = self.state.task(task).and_then(Task::placement);
                    let Some(&Placement { node, gpus, .. }) = placement else { continue };
                    Decision::Bind { task, node, gpus }
                }
                Change::Removed(..) | Change::Assumed(..) => continue,
            });
        }
        // Nothing is left to roll back; the buffer serves the next transaction.
        self.log.clear();
    }
}

impl Drop for Transaction<'_> {
    fn drop(&mut self) {
        self.rollback_to(Savepoint { changes: 0 });
    }
}
