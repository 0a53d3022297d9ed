//! A transaction of which the plugins of the tiers are told.

use alloc::vec::Vec;

use rand::Rng;

use crate::gpu::GpuSet;
use crate::id::{NodeId, TaskId};
use crate::plugins::Plugins;
use crate::session::{EvictionReason, Savepoint, Session, Transaction};
use crate::state::{ClusterState, PlacementError};
use crate::tier::room::FutureRoom;
use crate::time::Time;

/// What happens together or not at all (Volcano's `Statement`): a [`Transaction`], and plugins whose sums move with it.
/// Dropped without [`Self::commit`] or [`Self::keep`], state and plugins are as before.
pub struct Statement<'a> {
    /// `None` only when it was committed.
    transaction: Option<Transaction<'a>>,
    plugins: &'a mut Plugins,
    random: &'a mut dyn Rng,
    now: Time,
    events: Vec<Event>,
}

/// What plugins were told.
struct Event {
    task: TaskId,
    kind: EventKind,
    before: Savepoint,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum EventKind {
    Allocated,
    Pipelined,
    Evicted,
}

/// A point of a statement to which it can be rolled back.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct StatementSavepoint {
    changes: Savepoint,
    events: usize,
}

impl<'a> Statement<'a> {
    /// Begins.
    pub fn begin(session: &'a mut Session<'_>, plugins: &'a mut Plugins) -> Self {
        let now = session.now;
        let (transaction, random) = session.begin();
        Self { transaction: Some(transaction), plugins, random, now, events: Vec::new() }
    }

    fn transaction(&mut self) -> &mut Transaction<'a> {
        self.transaction.as_mut().expect("it ends with its commit")
    }

    /// The state with the changes of this statement.
    pub const fn state(&self) -> &ClusterState {
        self.transaction.as_ref().expect("it ends with its commit").state()
    }

    /// The time of the session.
    pub const fn now(&self) -> Time {
        self.now
    }

    /// Where the session before nominated a task.
    pub fn former_nomination(&self, task: TaskId) -> Option<NodeId> {
        self.transaction.as_ref().and_then(|transaction| transaction.former_nomination(task))
    }

    /// The plugins.
    pub const fn plugins(&self) -> &Plugins {
        self.plugins
    }

    /// The state, and beside it the plugins, for those that keep what they compute.
    pub const fn parts(&mut self) -> (&ClusterState, &mut Plugins, &mut dyn Rng) {
        let state = self.transaction.as_ref().expect("it ends with its commit").state();
        (state, self.plugins, self.random)
    }

    /// Places a waiting task on a node, on the devices that the profile picks.
    pub fn allocate(&mut self, task: TaskId, node: NodeId) -> Result<(), PlacementError> {
        let (state, plugins, random) = self.parts();
        let class = state.task(task).ok_or(PlacementError::UnknownTask)?.class;
        let gpus = plugins.pick_gpus(state, class, node, random);
        self.allocate_on(task, node, gpus)
    }

    /// Places a waiting task on devices of a node.
    pub fn allocate_on(&mut self, task: TaskId, node: NodeId, gpus: GpuSet) -> Result<(), PlacementError> {
        let before = self.transaction().savepoint();
        self.transaction().place(task, node, gpus)?;
        self.plugins.tiers_mut().placed.insert(task, ());
        self.tell(task, EventKind::Allocated, before);
        Ok(())
    }

    /// Nominates a waiting task to a node where room is being made.
    pub fn pipeline(&mut self, task: TaskId, node: NodeId) -> Result<(), PlacementError> {
        let before = self.transaction().savepoint();
        self.transaction().nominate(task, Some(node))?;
        self.tell(task, EventKind::Pipelined, before);
        Ok(())
    }

    /// Tells a placed task to stop, for the sake of `beneficiary` if it is for one.
    pub fn evict(
        &mut self,
        task: TaskId,
        reason: EvictionReason,
        beneficiary: Option<TaskId>,
    ) -> Result<(), PlacementError> {
        let before = self.transaction().savepoint();
        self.transaction().evict(task, reason, beneficiary)?;
        self.plugins.tiers_mut().evicted.insert(task, ());
        self.tell(task, EventKind::Evicted, before);
        Ok(())
    }

    fn tell(&mut self, task: TaskId, kind: EventKind, before: Savepoint) {
        self.events.push(Event { task, kind, before });
        let state = self.transaction.as_ref().expect("it ends with its commit").state();
        match kind {
            EventKind::Allocated | EventKind::Pipelined => self.plugins.tiers_mut().on_allocate(state, task),
            EventKind::Evicted => self.plugins.tiers_mut().on_deallocate(state, task),
        }
    }

    /// Whether a node will take a task when those that were told to stop are gone: it has room by then, and passes the
    /// filters, which look past those that were told so in this session.
    pub fn fits_future(&mut self, task: TaskId, node: NodeId) -> bool {
        let state = self.state();
        let Some(class) = state.task(task).map(|task| task.class) else { return false };
        let tiers = self.plugins.tiers();
        let fits = FutureRoom::of(state, node).fits(state.class_spec(class));
        if !fits || tiers.filter_node(state, task, node).is_err() {
            return false;
        }
        let entry = state.node(node);
        let gone: Vec<TaskId> = if entry.releasing_tasks() > 0 {
            entry.tasks().iter().copied().filter(|&task| tiers.evicted_in_session(task)).collect()
        } else {
            Vec::new()
        };
        let passes = |state: &ClusterState, plugins: &mut Plugins| {
            plugins.filter_apart_from_resources(state, class, node).is_ok()
        };
        if gone.is_empty() {
            let (state, plugins, _) = self.parts();
            return passes(state, plugins);
        }
        self.without(&gone, |state, plugins, _| passes(state, plugins))
    }

    /// Looks at the state as it would be if some tasks had left their nodes for good. Plugins of the tiers are not told.
    pub fn without<R>(
        &mut self,
        tasks: &[TaskId],
        look: impl FnOnce(&ClusterState, &mut Plugins, &mut dyn Rng) -> R,
    ) -> R {
        let before = self.transaction().savepoint();
        for &task in tasks {
            // One that is gone already is not in the way.
            let _gone = self.transaction().remove(task);
        }
        let (state, plugins, random) = self.parts();
        let result = look(state, plugins, random);
        self.transaction().rollback_to(before);
        result
    }

    /// Whether nothing happened.
    pub const fn is_empty(&self) -> bool {
        self.events.is_empty()
    }

    /// How many tasks were placed, nominated or evicted.
    pub const fn changes(&self) -> u32 {
        self.events.len() as u32
    }

    /// The tasks that were evicted, in order.
    pub fn evicted(&self) -> impl Iterator<Item = TaskId> {
        self.events.iter().filter(|event| event.kind == EventKind::Evicted).map(|event| event.task)
    }

    /// The present point.
    pub fn savepoint(&self) -> StatementSavepoint {
        let changes = self.transaction.as_ref().expect("it ends with its commit").savepoint();
        StatementSavepoint { changes, events: self.events.len() }
    }

    /// Undoes everything since the point, latest first.
    pub fn rollback_to(&mut self, savepoint: StatementSavepoint) {
        while self.events.len() > savepoint.events {
            let Some(Event { task, kind, before }) = self.events.pop() else { break };
            let Some(transaction) = &mut self.transaction else { break };
            transaction.rollback_to(before);
            let (state, tiers) = (transaction.state(), self.plugins.tiers_mut());
            match kind {
                EventKind::Allocated => {
                    tiers.placed.remove(task);
                    tiers.on_deallocate(state, task);
                }
                EventKind::Pipelined => tiers.on_deallocate(state, task),
                EventKind::Evicted => {
                    tiers.evicted.remove(task);
                    tiers.on_allocate(state, task);
                }
            }
        }
        self.transaction().rollback_to(savepoint.changes);
    }

    /// Undoes everything.
    pub fn rollback_all(&mut self) {
        let changes = self.transaction().start();
        self.rollback_to(StatementSavepoint { changes, events: 0 });
    }

    /// Makes the changes last and turns them into decisions.
    pub fn commit(mut self) {
        if let Some(transaction) = self.transaction.take() {
            transaction.commit();
        }
    }

    /// Makes the changes last until the session ends, so that no other job takes what this one waits for. Nominations
    /// become decisions; placements do not, and are taken back at the end.
    pub fn keep(mut self) {
        if let Some(transaction) = self.transaction.take() {
            transaction.keep();
        }
    }
}

impl Drop for Statement<'_> {
    fn drop(&mut self) {
        if self.transaction.is_some() {
            self.rollback_all();
        }
    }
}
