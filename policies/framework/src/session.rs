//! One scheduling cycle: the state, the time, a source of randomness, and the decisions that come out.

use alloc::vec::Vec;

use rand::Rng;

use crate::gpu::GpuSet;
use crate::id::{NodeId, TaskId};
use crate::recency::Stamp;
use crate::state::{ClusterState, Placement, PlacementError};
use crate::time::Time;

/// Why a task is evicted.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum EvictionReason {
    /// To make room for a task of higher priority.
    Preempted,
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
    /// Stop the task.
    Evict {
        /// The task.
        task: TaskId,
        /// Why.
        reason: EvictionReason,
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
    Placed(TaskId),
    /// With [`ClusterState::released`] before the eviction.
    Evicted(TaskId, Placement, EvictionReason, Stamp),
}

impl Change {
    const fn task(&self) -> TaskId {
        match *self {
            Self::Placed(task) | Self::Evicted(task, ..) => task,
        }
    }
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
        self.state.apply_placement(task, node, gpus);
        self.log.push(Change::Placed(task));
        Ok(())
    }

    /// Takes a placed task off its node; what it held is free at once.
    pub fn evict(&mut self, task: TaskId, reason: EvictionReason) -> Result<(), PlacementError> {
        if self.state.task(task).is_none() {
            return Err(PlacementError::UnknownTask);
        }
        let released = self.state.released();
        let placement = self.state.unplace(task).ok_or(PlacementError::NotPlaced)?;
        self.log.push(Change::Evicted(task, placement, reason, released));
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
                Some(Change::Placed(task)) => {
                    // Taking back what this transaction did releases nothing to anyone.
                    let released = self.state.released();
                    self.state.unplace(task);
                    self.state.set_released(released);
                }
                Some(Change::Evicted(task, placement, _, released)) => {
                    self.state.restore(task, &placement);
                    self.state.set_released(released);
                }
                None => break,
            }
        }
    }

    /// Makes the changes last and turns them into decisions: the net effect, one eviction and one binding of a task
    /// at the most.
    pub fn commit(self) {
        let log = core::mem::take(self.log);
        let evicts = log.iter().any(|change| matches!(change, Change::Evicted(..)));
        for (position, change) in log.iter().enumerate() {
            let task = change.task();
            let touches = |changes: &[Change]| evicts && changes.iter().any(|change| change.task() == task);
            match *change {
                // Only what ran before the transaction can be stopped.
                Change::Evicted(_, _, reason, _) if !touches(&log[..position]) => {
                    self.decisions.push(Decision::Evict { task, reason });
                }
                Change::Placed(_) if !touches(&log[position + 1..]) => {
                    let placement = self.state.task(task).and_then(|task| task.placement());
                    if let Some(&Placement { node, gpus, .. }) = placement {
                        self.decisions.push(Decision::Bind { task, node, gpus });
                    }
                }
                Change::Evicted(..) | Change::Placed(_) => {}
            }
        }
        // Nothing is left to roll back; the buffer serves the next transaction.
        *self.log = log;
        self.log.clear();
    }
}

impl Drop for Transaction<'_> {
    fn drop(&mut self) {
        self.rollback_to(Savepoint { changes: 0 });
    }
}
