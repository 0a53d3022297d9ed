//! The dry run on nodes, and the choice among what it finds.

use alloc::vec::Vec;
use core::cmp::Reverse;

use foretell_framework::{ClusterState, NodeId, TaskId, Time, Transaction};

use super::budgets::split_by_budgets;

/// A node where displacing tasks would make room.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Candidate {
    /// The node.
    pub node: NodeId,
    /// The tasks to displace, most important first; at least one.
    pub victims: Vec<TaskId>,
    /// How many of them are protected by a budget that has no room left.
    pub budget_violations: usize,
}

/// The search for candidates.
#[derive(Clone, Copy, Debug)]
pub struct DryRun {
    /// The task for which room is to be made.
    pub task: TaskId,
    /// The search stops at so many candidates, if one of them violates no budget.
    pub wanted: usize,
    /// The time: tasks that have not started count as starting now.
    pub now: Time,
}

/// The most important first: higher priority, then the earlier start.
type Importance = (Reverse<i32>, Time, TaskId);

impl DryRun {
    /// Candidates among nodes, which are tried in order from an offset on, those that violate no budget first. `passes`
    /// says whether the task could go to a node in the state of the transaction, which is left as it was.
    pub fn run(
        &self,
        transaction: &mut Transaction<'_>,
        nodes: &[NodeId],
        offset: usize,
        passes: &mut dyn FnMut(&mut Transaction<'_>, NodeId) -> bool,
    ) -> Vec<Candidate> {
        let (mut safe, mut violating) = (Vec::new(), Vec::new());
        let offset = offset.checked_rem(nodes.len()).unwrap_or(0);
        for &node in nodes[offset..].iter().chain(&nodes[..offset]) {
            let savepoint = transaction.savepoint();
            let candidate = self.on_node(transaction, node, passes);
            transaction.rollback_to(savepoint);
            let Some(candidate) = candidate else { continue };
            // Each list is full at what is wanted; what comes then is lost.
            let list = if candidate.budget_violations == 0 { &mut safe } else { &mut violating };
            if list.len() < self.wanted {
                list.push(candidate);
            }
            if !safe.is_empty() && safe.len() + violating.len() >= self.wanted {
                break;
            }
        }
        safe.append(&mut violating);
        safe
    }

    fn on_node(
        &self,
        transaction: &mut Transaction<'_>,
        node: NodeId,
        passes: &mut dyn FnMut(&mut Transaction<'_>, NodeId) -> bool,
    ) -> Option<Candidate> {
        let state = transaction.state();
        let priority = state.task(self.task)?.details.priority;
        let lower =
            |&placed: &TaskId| state.task(placed).is_some_and(|placed| placed.details.priority < priority);
        let mut lower: Vec<_> = state.node(node).tasks().iter().copied().filter(lower).collect();
        if lower.is_empty() {
            return None;
        }
        lower.sort_unstable_by_key(|&placed| importance(state, placed, self.now));
        let devices: Vec<_> = lower
            .iter()
            .map(|&placed| state.task(placed)?.placement())
            .map(|placement| placement.map(|placement| placement.gpus))
            .collect();
        for &placed in &lower {
            transaction.remove(placed).ok()?;
        }
        if !passes(transaction, node) {
            return None;
        }
        let (violating, safe) = split_by_budgets(transaction.state(), &lower);
        let mut budget_violations = 0;
        let mut victims = Vec::new();
        for (position, &placed) in violating.iter().chain(&safe).enumerate() {
            let savepoint = transaction.savepoint();
            let gpus = lower.iter().position(|&other| other == placed).and_then(|index| devices[index]);
            transaction.assume(placed, node, gpus).ok()?;
            if !passes(transaction, node) {
                transaction.rollback_to(savepoint);
                victims.push(placed);
                budget_violations += usize::from(position < violating.len());
            }
        }
        victims.sort_unstable_by_key(|&placed| importance(transaction.state(), placed, self.now));
        (!victims.is_empty()).then_some(Candidate { node, victims, budget_violations })
    }
}

fn importance(state: &ClusterState, task: TaskId, now: Time) -> Importance {
    let details = state.task(task).map(|task| &task.details);
    let priority = details.map_or(0, |details| details.priority);
    (Reverse(priority), details.and_then(|details| details.started).unwrap_or(now), task)
}

/// The position of the candidate that hurts least: fewest violations of budgets, then the lowest priority of its most
/// important victim, the smallest sum of priorities, the fewest victims, the latest start among its most important
/// victims; then the first.
pub fn select_candidate(state: &ClusterState, candidates: &[Candidate], now: Time) -> Option<usize> {
    let harm = |candidate: &Candidate| {
        let priority = |task: TaskId| state.task(task).map_or(0, |task| task.details.priority);
        let priorities = || candidate.victims.iter().map(|&victim| priority(victim));
        let highest = priorities().max().unwrap_or(i32::MIN);
        // Shifted to be positive, so that more victims are never better.
        let sum: i64 = priorities().map(|priority| i64::from(priority) + (1 << 31)).sum();
        let most_important = candidate.victims.iter().filter(|&&victim| priority(victim) == highest);
        let start =
            |&victim: &TaskId| state.task(victim).and_then(|victim| victim.details.started).unwrap_or(now);
        let earliest_start = most_important.map(start).min().unwrap_or(now);
        (candidate.budget_violations, highest, sum, candidate.victims.len(), Reverse(earliest_start))
    };
    (0..candidates.len()).min_by_key(|&position| harm(&candidates[position]))
}
