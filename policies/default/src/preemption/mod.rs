//! `DefaultPreemption`: room for a task that fits nowhere is made by displacing tasks of lower priority.
//!
//! ```text
//!   nodes rejected for what they hold ──► dry run on each, from an offset on, until there are enough candidates
//!                                              │ all lower tasks off; does it fit? back on, most important first
//!                                              ▼
//!                          the candidate that hurts least ──► victims are evicted, the node is nominated
//! ```

mod budgets;
mod candidates;

use alloc::vec::Vec;

use foretell_framework::{
    ClusterState, EvictionReason, NodeId, Plugins, Rejection, TaskId, TaskStatus, Time, Transaction,
};
use rand::{Rng, RngExt};

pub use budgets::split_by_budgets;
pub use candidates::{Candidate, DryRun, select_candidate};

/// Arguments of `DefaultPreemption`: how many candidates to look for among the nodes where displacing may help.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PreemptionConfig {
    /// Percentage of those nodes.
    pub min_candidate_nodes_percentage: u32,
    /// But at least so many.
    pub min_candidate_nodes_absolute: u32,
}

impl Default for PreemptionConfig {
    fn default() -> Self {
        Self { min_candidate_nodes_percentage: 10, min_candidate_nodes_absolute: 100 }
    }
}

impl PreemptionConfig {
    /// Candidates to look for among so many nodes.
    pub fn candidates(&self, nodes: usize) -> usize {
        let share = nodes * self.min_candidate_nodes_percentage as usize / 100;
        share.max(self.min_candidate_nodes_absolute as usize).min(nodes)
    }
}

/// Whether a task of this priority could displace any task at all.
pub(crate) fn may_displace(state: &ClusterState, priority: i32) -> bool {
    state.lowest_priority_on_nodes().is_some_and(|lowest| lowest < priority)
}

/// Whether a task may displace others now, given why each node rejected it. One for which room is being made already
/// waits until those that were told to leave have left, unless its node is out of the question by now.
pub fn is_eligible(state: &ClusterState, task: TaskId, verdicts: &[Option<Rejection>]) -> bool {
    let Some(entry) = state.task(task) else { return false };
    if state.class_spec(entry.class).never_preempts {
        return false;
    }
    let Some(node) = entry.nominated() else { return true };
    if verdicts.get(node.index()).copied().flatten().is_some_and(Rejection::is_unresolvable) {
        return true;
    }
    let mut placed = state.node(node).tasks().iter().filter_map(|&placed| state.task(placed));
    !placed.any(|placed| {
        placed.status() == TaskStatus::Releasing && placed.details.priority < entry.details.priority
    })
}

/// Makes room for a waiting task that no node takes, if that can be done: evicts tasks and nominates the node. Returns the
/// node. A task for which no room can be made loses its nomination.
pub fn preempt(
    config: &PreemptionConfig,
    plugins: &mut Plugins,
    transaction: &mut Transaction<'_>,
    random: &mut dyn Rng,
    task: TaskId,
    now: Time,
) -> Option<NodeId> {
    let state = transaction.state();
    let priority = state.task(task)?.details.priority;
    if !may_displace(state, priority) {
        return clear_nomination(transaction, task);
    }
    let verdicts = plugins.diagnose(transaction, task);
    if !is_eligible(transaction.state(), task, &verdicts) {
        return None;
    }
    let resolvable =
        |&node: &NodeId| verdicts[node.index()].is_some_and(|verdict| !verdict.is_unresolvable());
    let potential: Vec<_> = transaction.state().node_ids().filter(resolvable).collect();
    if potential.is_empty() {
        return clear_nomination(transaction, task);
    }
    let offset = if potential.len() == 1 { 0 } else { random.random_range(0..potential.len()) };
    let dry_run = DryRun { task, wanted: config.candidates(potential.len()), now };
    let candidates = dry_run.run(transaction, &potential, offset, &mut |transaction, node| {
        plugins.passes_beside_nominated(transaction, task, node) && {
            let state = transaction.state();
            state.task_spec(task).is_some_and(|spec| plugins.filter_node(state, spec, node).is_ok())
        }
    });
    let Some(chosen) = select_candidate(transaction.state(), &candidates, now) else {
        return clear_nomination(transaction, task);
    };
    let Candidate { node, victims, .. } = &candidates[chosen];
    for &victim in victims {
        // One that was told to leave already needs no telling.
        let _ = transaction.evict(victim, EvictionReason::Preempted, Some(task));
    }
    let nominated = transaction.state().node(*node).nominated().to_vec();
    for other in nominated {
        if transaction.state().task(other).is_some_and(|other| other.details.priority < priority) {
            let _ = transaction.nominate(other, None);
        }
    }
    transaction.nominate(task, Some(*node)).is_ok().then_some(*node)
}

fn clear_nomination(transaction: &mut Transaction<'_>, task: TaskId) -> Option<NodeId> {
    if transaction.state().task(task).is_some_and(|task| task.nominated().is_some()) {
        let _ = transaction.nominate(task, None);
    }
    None
}

#[cfg(test)]
mod tests;
