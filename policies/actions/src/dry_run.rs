//! Preemption that tries every node before it chooses one, as kube-scheduler's does (Volcano's topology-aware
//! preemption).

use alloc::vec::Vec;
use core::cmp::Reverse;

use foretell_framework::state::DisruptionBudget;
use foretell_framework::{ClusterState, EvictionReason, NodeId, Statement, TaskId, Time};

use crate::candidates;
use crate::preempt::{Scope, fits, is_candidate};

/// A node and the tasks that would have to leave it.
struct Candidate {
    node: NodeId,
    victims: Vec<TaskId>,
    budget_violations: usize,
}

/// Makes room for a task on the node where that costs least, and nominates it there.
pub(crate) fn preempt(
    statement: &mut Statement<'_>,
    task: TaskId,
    scope: Scope<'_>,
    nodes: &[NodeId],
) -> bool {
    let candidates = nodes.iter().filter_map(|&node| try_node(statement, task, scope, node));
    let candidates: Vec<Candidate> = candidates.collect();
    let state = statement.state();
    // Of equals the first.
    let Some(Candidate { node, victims, .. }) =
        candidates.into_iter().min_by_key(|candidate| cost(state, candidate))
    else {
        return false;
    };
    for victim in victims {
        // A victim is placed, so this cannot fail.
        let _evicted = statement.evict(victim, EvictionReason::Preempted, Some(task));
    }
    statement.pipeline(task, node).is_ok()
}

/// Fewest violated budgets, then the lowest priority of the most important victim, then the lowest sum of priorities,
/// then the fewest victims, then the latest start of the most important victims.
fn cost(state: &ClusterState, candidate: &Candidate) -> (usize, i32, i64, usize, Reverse<Option<Time>>) {
    let victims = || candidate.victims.iter().filter_map(|&victim| state.task(victim));
    let highest = victims().map(|victim| victim.details.priority).max().unwrap_or(i32::MIN);
    // As kube-scheduler: priorities are lifted so that a negative one counts for more than none.
    let lift = i64::from(i32::MAX) + 1;
    let sum = victims().map(|victim| i64::from(victim.details.priority) + lift).sum();
    let important = victims().filter(|victim| victim.details.priority == highest);
    let start = important.map(|victim| victim.details.started.unwrap_or(Time::MAX)).min();
    (candidate.budget_violations, highest, sum, candidate.victims.len(), Reverse(start))
}

/// Takes all possible victims off a node, then puts back as many as can stay, the most important first, and of those
/// whose budget would be violated before the others.
fn try_node(
    statement: &mut Statement<'_>,
    task: TaskId,
    scope: Scope<'_>,
    node: NodeId,
) -> Option<Candidate> {
    let tasks = candidates::tasks_of(statement, node, task, |state, candidate| {
        is_candidate(statement, state, task, scope, candidate)
    });
    let state = statement.state();
    let mut victims = statement.plugins().tiers().preemptable(state, task, &tasks);
    if victims.is_empty() || !candidates::would_fit(state, task, node, &victims) {
        return None;
    }
    victims.sort_by_key(|&victim| {
        let details = state.task(victim).map(|victim| &victim.details);
        let start = details.and_then(|details| details.started);
        (Reverse(details.map(|details| details.priority)), start.unwrap_or(Time::MAX))
    });
    let (violating, others) = split_by_budget(state, &victims);
    let start = statement.savepoint();
    let evict = |statement: &mut Statement<'_>, stay: &[TaskId]| {
        for &victim in victims.iter().filter(|victim| !stay.contains(victim)) {
            // A victim is placed, so this cannot fail.
            let _evicted = statement.evict(victim, EvictionReason::Preempted, Some(task));
        }
    };
    let works = |statement: &mut Statement<'_>, stay: &[TaskId]| {
        evict(statement, stay);
        let works = fits(statement, task, node);
        statement.rollback_to(start);
        works
    };
    if !works(statement, &[]) {
        return None;
    }
    let mut stay = Vec::new();
    let mut budget_violations = 0;
    let order = violating.iter().map(|&victim| (victim, 1)).chain(others.iter().map(|&victim| (victim, 0)));
    for (victim, violations) in order {
        stay.push(victim);
        if !works(statement, &stay) {
            stay.pop();
            budget_violations += violations;
        }
    }
    victims.retain(|victim| !stay.contains(victim));
    Some(Candidate { node, victims, budget_violations })
}

/// Those whose eviction would violate a disruption budget, if they were evicted in this order, and the others.
fn split_by_budget(state: &ClusterState, victims: &[TaskId]) -> (Vec<TaskId>, Vec<TaskId>) {
    let budgets = &state.objects().disruption_budgets;
    let mut allowed: Vec<i32> = budgets.iter().map(|budget| budget.disruptions_allowed).collect();
    victims.iter().partition(|&&victim| {
        let mut violates = false;
        for (budget, allowed) in budgets.iter().zip(&mut allowed) {
            if protects(state, budget, victim) {
                *allowed -= 1;
                violates |= *allowed < 0;
            }
        }
        violates
    })
}

fn protects(state: &ClusterState, budget: &DisruptionBudget, task: TaskId) -> bool {
    let (Some(task), Some(spec)) = (state.task(task), state.task_spec(task)) else { return false };
    let selector = budget.selector.as_ref().filter(|selector| !selector.requirements.is_empty());
    *budget.namespace == *spec.namespace
        && !spec.labels.is_empty()
        && selector.is_some_and(|selector| selector.matches(&spec.labels))
        && !budget.disrupted_tasks.contains(&task.details.name)
}
