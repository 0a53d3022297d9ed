//! Which nodes the tasks of an elastic job go to, and which it lets go of.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::cmp::Reverse;

use foretell_framework::{
    ClusterState, JobId, NodeId, PlaceFailure, Plugins, TaskId, TaskStatus, Transaction,
};
use rand::Rng;

/// How nodes are chosen for tasks that a job is to have more.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum Placing {
    /// Each task for itself, by the scores.
    #[default]
    ByScores,
    /// Where the job is already; else all on the fullest node that holds them; else as many as fit on the emptiest, and so
    /// on. With powers of two on nodes of powers of two this leaves holes as buddies do, but moves nobody.
    Together,
}

impl Placing {
    /// Places up to `count` waiting tasks with GPUs of a job. Returns how many.
    pub(crate) fn place(
        self,
        transaction: &mut Transaction<'_>,
        plugins: &mut Plugins,
        random: &mut dyn Rng,
        job: JobId,
        count: u32,
    ) -> u32 {
        let mut placed = 0;
        for task in waiting(transaction.state(), job, true) {
            if placed == count {
                break;
            }
            let done = match self {
                Self::ByScores => plugins.place(transaction, task, random).is_ok(),
                Self::Together => place_together(transaction, plugins, random, task, count - placed),
            };
            if !done {
                break;
            }
            placed += 1;
        }
        placed
    }
}

/// The tasks of a job with or without GPUs that stand somewhere, in order of rank.
fn tasks(
    state: &ClusterState,
    job: JobId,
    with_gpus: bool,
    status: TaskStatus,
) -> impl Iterator<Item = TaskId> {
    let all = state.job(job).map_or(&[][..], |job| job.tasks());
    let wanted = move |&&task: &&TaskId| {
        state.task(task).is_some_and(|entry| {
            entry.status() == status && (state.class_spec(entry.class).gpus.count > 0) == with_gpus
        })
    };
    all.iter().filter(wanted).copied()
}

/// The tasks of a job with or without GPUs that have a place and keep it: those that run, then those that are to.
pub(crate) fn placed(state: &ClusterState, job: JobId, with_gpus: bool) -> impl Iterator<Item = TaskId> {
    let statuses = [TaskStatus::Running, TaskStatus::Bound];
    statuses.into_iter().flat_map(move |status| tasks(state, job, with_gpus, status))
}

/// How many tasks with GPUs a job has and keeps.
pub(crate) fn held(state: &ClusterState, job: JobId) -> u32 {
    placed(state, job, true).count() as u32
}

/// Those that wait, listed so that they can be placed.
fn waiting(state: &ClusterState, job: JobId, with_gpus: bool) -> Vec<TaskId> {
    tasks(state, job, with_gpus, TaskStatus::Waiting).collect()
}

/// Places waiting tasks with GPUs of a job on these nodes, until it has so many on each. Returns how many.
pub(crate) fn place_on(
    transaction: &mut Transaction<'_>,
    plugins: &mut Plugins,
    random: &mut dyn Rng,
    job: JobId,
    wanted: &[(NodeId, u32)],
) -> u32 {
    let has = nodes_of(transaction.state(), job);
    let mut waiting = waiting(transaction.state(), job, true).into_iter();
    let mut placed = 0;
    for &(node, count) in wanted {
        for _ in has.get(&node).copied().unwrap_or(0)..count {
            let Some(task) = waiting.next() else { return placed };
            let state = transaction.state();
            let Some(class) = state.task(task).map(|task| task.class) else { break };
            if plugins.filter_node(state, state.class_spec(class), node).is_err() {
                break;
            }
            let gpus = plugins.pick_gpus(state, class, node, random);
            if transaction.place(task, node, gpus).is_err() {
                break;
            }
            placed += 1;
        }
    }
    placed
}

/// Tasks of a job that are where they are not wanted, the last ones first.
pub(crate) fn not_wanted(state: &ClusterState, job: JobId, wanted: &[(NodeId, u32)]) -> Vec<TaskId> {
    let mut keeps: BTreeMap<NodeId, u32> = wanted.iter().copied().collect();
    let mut placed: Vec<TaskId> = placed(state, job, true).collect();
    placed.retain(|&task| {
        let node = state.task(task).and_then(|task| task.placement()).map(|placement| placement.node);
        match node.and_then(|node| keeps.get_mut(&node)).filter(|left| **left > 0) {
            Some(left) => {
                *left -= 1;
                false
            }
            None => true,
        }
    });
    placed.reverse();
    placed
}

/// Places the waiting tasks without GPUs. Whether all of them have a place.
pub(crate) fn place_others(
    transaction: &mut Transaction<'_>,
    plugins: &mut Plugins,
    random: &mut dyn Rng,
    job: JobId,
) -> Result<(), PlaceFailure> {
    waiting(transaction.state(), job, false)
        .into_iter()
        .try_for_each(|task| plugins.place(transaction, task, random).map(|_| ()))
}

fn place_together(
    transaction: &mut Transaction<'_>,
    plugins: &mut Plugins,
    random: &mut dyn Rng,
    task: TaskId,
    count: u32,
) -> bool {
    let state = transaction.state();
    let Some((class, job)) = state.task(task).map(|task| (task.class, task.job)) else { return false };
    let each_milli = state.class_spec(class).gpus.total_milli();
    let (wanted_milli, own) = (each_milli * u64::from(count), nodes_of(state, job));
    let key = |node: &NodeId| {
        let free_milli = state.node(*node).gpu_free_milli();
        let holds_all = free_milli >= wanted_milli;
        let room = if holds_all { free_milli } else { u64::MAX - free_milli };
        (Reverse(own.get(node).copied().unwrap_or(0)), !holds_all, room, *node)
    };
    let Some(node) = plugins.ranking(state, class).feasible_from(0).min_by_key(key) else { return false };
    let gpus = plugins.pick_gpus(state, class, node, random);
    transaction.place(task, node, gpus).is_ok()
}

/// Tasks of a job with GPUs on each node.
pub(crate) fn nodes_of(state: &ClusterState, job: JobId) -> BTreeMap<NodeId, u32> {
    let mut nodes = BTreeMap::new();
    for task in placed(state, job, true) {
        if let Some(placement) = state.task(task).and_then(|task| task.placement()) {
            *nodes.entry(placement.node).or_default() += 1;
        }
    }
    nodes
}

/// Which tasks a job lets go of: those on the nodes where it has the fewest, the last ones first.
pub(crate) fn let_go(state: &ClusterState, job: JobId, count: u32) -> Vec<TaskId> {
    let nodes = nodes_of(state, job);
    let mut placed: Vec<TaskId> = placed(state, job, true).collect();
    placed.sort_by_key(|&task| {
        let entry = state.task(task);
        let node = entry.and_then(|entry| entry.placement()).map(|placement| placement.node);
        let rank = entry.map_or(0, |entry| entry.rank);
        (node.and_then(|node| nodes.get(&node).copied()), Reverse(node), Reverse(rank))
    });
    placed.truncate(count as usize);
    placed
}
