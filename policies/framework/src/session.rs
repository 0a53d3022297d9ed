//! One scheduling cycle: the state, the time, a source of randomness, and the decisions that come out.

use alloc::vec::Vec;

use rand::Rng;

use crate::gpu::GpuSet;
use crate::id::JobId;
use crate::id::{NodeId, TaskId};
use crate::recency::Stamp;
use crate::state::{ClusterState, Job, JobPhase, Placement, PlacementError, Task, TaskStatus};
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
    /// An elastic job is to go on with fewer tasks.
    Shrunk,
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
    /// Placements that last until the end of the session, with the nominations before.
    kept: Vec<(TaskId, Option<NodeId>)>,
    /// Where tasks were nominated before the session, in order of id.
    former_nominations: Vec<(TaskId, NodeId)>,
}

impl<'a> Session<'a> {
    /// A cycle at `now`; its decisions are appended to `decisions`.
    pub const fn new(
        state: &'a mut ClusterState,
        now: Time,
        random: &'a mut dyn Rng,
        decisions: &'a mut Vec<Decision>,
    ) -> Self {
        Self {
            state,
            now,
            random,
            decisions,
            wake_at: None,
            log: Vec::new(),
            kept: Vec::new(),
            former_nominations: Vec::new(),
        }
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
        let Self { state, decisions, log, kept, former_nominations, .. } = self;
        (Transaction { state, decisions, log, kept, former_nominations }, self.random)
    }

    /// Forgets where tasks are nominated, for policies that nominate anew in every cycle;
    /// [`Transaction::former_nomination`] remembers.
    pub fn forget_nominations(&mut self) {
        let nominated = self.state.nodes().iter().flat_map(|node| node.nominated().iter().copied());
        let mut tasks: Vec<TaskId> = nominated.collect();
        tasks.sort_unstable();
        let state = &mut *self.state;
        let former = tasks.into_iter().filter_map(|task| Some((task, state.set_nomination(task, None)?)));
        self.former_nominations = former.collect();
    }

    /// Says of each admitted job where it stands by what its tasks have (Volcano does so when a session closes): it runs
    /// once it has its minimum, and must be let in again when it has lost all of it.
    pub fn update_job_phases(&mut self) {
        let phase = |job: &Job| {
            let ended = job.count(TaskStatus::Succeeded) + job.count(TaskStatus::Failed);
            let has = job.placed() + job.count(TaskStatus::Succeeded);
            match job.spec.phase {
                _ if has >= job.spec.min_member && has > 0 && ended == has => JobPhase::Completed,
                _ if has >= job.spec.min_member => JobPhase::Running,
                JobPhase::Inqueue => JobPhase::Inqueue,
                _ if job.count(TaskStatus::Running) > 0 => JobPhase::Unknown,
                _ => JobPhase::Pending,
            }
        };
        let changed = self.state.jobs().map(|(id, job)| (id, job.spec.phase, phase(job)));
        let changed: Vec<_> = changed.filter(|&(_, before, after)| before != after).collect();
        for (job, _, phase) in changed {
            self.state.set_job_phase(job, phase);
        }
    }

    /// Ends the session: takes back placements that were kept for its length only, and decides that tasks that were
    /// nominated before and are neither placed nor nominated now no longer are.
    pub fn finish(&mut self) {
        for (task, nominated) in core::mem::take(&mut self.kept).into_iter().rev() {
            self.state.take_back(task, nominated);
        }
        for (task, _) in core::mem::take(&mut self.former_nominations) {
            let entry = self.state.task(task);
            if entry.is_some_and(|entry| entry.status() == TaskStatus::Waiting && entry.nominated().is_none())
            {
                self.decisions.push(Decision::Nominate { task, node: None });
            }
        }
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
    kept: &'a mut Vec<(TaskId, Option<NodeId>)>,
    former_nominations: &'a [(TaskId, NodeId)],
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

    /// Says that room is being made for a task on a node, or no longer: for one that waits or, if it is being moved, one
    /// that has been told to stop where it is.
    pub fn nominate(&mut self, task: TaskId, node: Option<NodeId>) -> Result<(), PlacementError> {
        let entry = self.state.task(task).ok_or(PlacementError::UnknownTask)?;
        if !matches!(entry.status(), TaskStatus::Waiting | TaskStatus::Releasing) {
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
                    self.state.take_back(task, nominated);
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

    /// The point at which the transaction began.
    pub const fn start(&self) -> Savepoint {
        Savepoint { changes: 0 }
    }

    /// Where a task was nominated before [`Session::forget_nominations`].
    pub fn former_nomination(&self, task: TaskId) -> Option<NodeId> {
        let found = self.former_nominations.binary_search_by_key(&task, |&(task, _)| task);
        found.ok().map(|position| self.former_nominations[position].1)
    }

    /// Makes the changes last and turns them into decisions, in their order.
    pub fn commit(self) {
        self.end(true);
    }

    /// Makes the changes last, but placements only until the session ends: they take room from others meanwhile, and
    /// become no decisions.
    pub fn keep(self) {
        self.end(false);
    }

    fn end(mut self, placements_last: bool) {
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
                    if node.is_some() && node == self.former_nomination(task) {
                        continue;
                    }
                    Decision::Nominate { task, node }
                }
                Change::Placed(task, nominated) if !placements_last => {
                    self.kept.push((task, nominated));
                    continue;
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
