//! What preempt and reclaim have in common: starving jobs, nodes that could be cleared, victims in order.

use alloc::vec::Vec;

use foretell_framework::{
    ClusterState, FutureRoom, JobId, JobPhase, NodeId, PriorityQueue, QueueId, Rejection, Statement, TaskId,
    TaskStatus, Tiers,
};

/// Admitted jobs that are short of what they need, with their queues, in order of id.
pub(crate) fn starving(state: &ClusterState, tiers: &Tiers) -> Vec<(QueueId, JobId)> {
    state
        .jobs()
        .filter(|&(id, job)| {
            job.spec.phase != JobPhase::Pending
                && job.count(TaskStatus::Waiting) > 0
                && tiers.job_invalid(state, id).is_none()
                && tiers.job_starving(state, id)
        })
        .map(|(id, job)| (job.spec.queue, id))
        .collect()
}

/// Whether a task may be evicted for another's sake: neither it nor its job says no.
pub(crate) fn may_be_evicted(state: &ClusterState, task: TaskId) -> bool {
    const MARK: &str = "volcano.sh/preemptable";
    let Some(task) = state.task(task) else { return false };
    let spec = state.class_spec(task.class);
    let mark = spec.annotations.get(MARK).or_else(|| spec.labels.get(MARK));
    match mark.map(|mark| &**mark) {
        Some("true") => true,
        Some("false") => false,
        _ => state.job(task.job).is_none_or(|job| job.spec.preemptable != Some(false)),
    }
}

/// Whether a node passes the filters for a task, or would if others left.
pub(crate) fn is_clearable(statement: &mut Statement<'_>, task: TaskId, node: NodeId) -> bool {
    let (state, plugins, _) = statement.parts();
    let Some(spec) = state.task_spec(task) else { return false };
    let clearable =
        |verdict: Result<(), Rejection>| verdict.err().is_none_or(|rejection| !rejection.is_unresolvable());
    clearable(plugins.filter_node(state, spec, node))
        && clearable(plugins.tiers().filter_node(state, task, node))
}

/// Those tasks of a node that meet a condition, first those that would be evicted first for `claimant`: plugins that
/// let only some of a job's tasks go then keep the more valuable ones.
pub(crate) fn tasks_of(
    statement: &Statement<'_>,
    node: NodeId,
    claimant: TaskId,
    condition: impl Fn(&ClusterState, TaskId) -> bool,
) -> Vec<TaskId> {
    let (state, tiers) = (statement.state(), statement.plugins().tiers());
    let on_node = state.node(node).tasks().iter().copied();
    let mut tasks: Vec<TaskId> = on_node.filter(|&task| condition(state, task)).collect();
    tasks.sort_by(|&left, &right| tiers.compare_victims(state, left, right, claimant));
    tasks
}

/// Whether a task would have room on a node with all its victims gone (Volcano's `ValidateVictims`).
pub(crate) fn would_fit(state: &ClusterState, task: TaskId, node: NodeId, victims: &[TaskId]) -> bool {
    let mut room = FutureRoom::of(state, node);
    for &victim in victims {
        room.release(victim);
    }
    state.task_spec(task).is_some_and(|spec| room.fits(spec))
}

/// Victims in the order in which they are evicted.
pub(crate) fn in_order(statement: &Statement<'_>, victims: &[TaskId], claimant: TaskId) -> Vec<TaskId> {
    let (state, tiers) = (statement.state(), statement.plugins().tiers());
    let compare = |left, right| tiers.compare_victims(state, left, right, claimant);
    let mut queue = PriorityQueue::default();
    for &victim in victims {
        queue.push(victim, compare);
    }
    core::iter::from_fn(|| queue.pop(compare)).collect()
}
