//! Who leaves when a namespace asks for its own: `CapacityScheduling`'s preemption.

use alloc::vec::Vec;
use core::cmp::Reverse;

use foretell_default::{Candidate, select_candidate, split_by_budgets};
use foretell_framework::{
    ClusterState, EvictionReason, NodeId, Plugins, Reason, Rejection, TaskGate, TaskId, TaskStatus, Time,
    Transaction,
};

use crate::elastic::{Amounts, ElasticQuotas};

/// Lets tasks in as elastic quotas allow, and takes back what was lent.
///
/// A task that would take its namespace over its minimum displaces less important tasks of its own namespace; one that
/// stays within it displaces tasks of namespaces that hold more than their minimum, of whatever priority. A task of a
/// namespace without quota displaces less important tasks of such namespaces.
#[derive(Default)]
pub struct ElasticQuotaGate;

impl TaskGate for ElasticQuotaGate {
    fn name(&self) -> &'static str {
        "CapacityScheduling"
    }

    fn admit(&mut self, state: &ClusterState, task: TaskId) -> Result<(), Reason> {
        if state.objects().elastic_quotas.is_empty() {
            return Ok(());
        }
        ElasticQuotas::new(state).admit(state, task)
    }

    fn make_room(
        &mut self,
        transaction: &mut Transaction<'_>,
        plugins: &mut Plugins,
        task: TaskId,
        now: Time,
    ) -> Option<NodeId> {
        let verdicts = plugins.diagnose(transaction, task);
        let state = transaction.state();
        let quotas = ElasticQuotas::new(state);
        if !is_eligible(state, &quotas, task, |node| {
            verdicts.get(node.index()).copied().flatten().is_some_and(Rejection::is_unresolvable)
        }) {
            return None;
        }
        let resolvable =
            |node: &NodeId| verdicts[node.index()].is_none_or(|verdict| !verdict.is_unresolvable());
        let nodes: Vec<_> = state.node_ids().filter(resolvable).collect();
        let mut passes = |transaction: &mut Transaction<'_>, node| {
            plugins.passes_beside_nominated(transaction, task, node) && {
                let state = transaction.state();
                state.task_spec(task).is_some_and(|spec| plugins.filter_node(state, spec, node).is_ok())
            }
        };
        let candidates: Vec<_> = nodes
            .into_iter()
            .filter_map(|node| victims_on_node(transaction, &quotas, task, node, now, &mut passes))
            .collect();
        let chosen = &candidates[select_candidate(transaction.state(), &candidates, now)?];
        for &victim in &chosen.victims {
            // One that was told to leave already needs no telling.
            let _ = transaction.evict(victim, EvictionReason::Reclaimed, Some(task));
        }
        transaction.nominate(task, Some(chosen.node)).is_ok().then_some(chosen.node)
    }
}

/// Whether a task may displace others now. One for which room is being made waits until those that were told to leave for
/// its sake have left, unless its node is out of the question.
fn is_eligible(
    state: &ClusterState,
    quotas: &ElasticQuotas,
    task: TaskId,
    is_unresolvable: impl Fn(NodeId) -> bool,
) -> bool {
    let Some(entry) = state.task(task) else { return false };
    let spec = state.class_spec(entry.class);
    if spec.never_preempts {
        return false;
    }
    let Some(node) = entry.nominated() else { return true };
    if is_unresolvable(node) {
        return true;
    }
    let own = quotas.of(&spec.namespace);
    let over_min = own.is_some_and(|own| {
        let (asked, _) = quotas.with_nominated(state, task);
        quotas.over_min_with(own, &asked)
    });
    !state.node(node).tasks().iter().filter_map(|&placed| state.task(placed)).any(|placed| {
        if placed.status() != TaskStatus::Releasing {
            return false;
        }
        let namespace = &state.class_spec(placed.class).namespace;
        let less_important = placed.details.priority < entry.details.priority;
        match (own, quotas.of(namespace)) {
            (None, None) => less_important,
            (Some(_), Some(_)) if *namespace == spec.namespace => less_important,
            (Some(_), Some(other)) => !over_min && quotas.over_min(other),
            _ => false,
        }
    })
}

/// The tasks that would have to leave a node, `None` if that would not help. `passes` says whether the task could go to the
/// node in the state of the transaction, which is left as it was.
pub fn victims_on_node(
    transaction: &mut Transaction<'_>,
    quotas: &ElasticQuotas,
    task: TaskId,
    node: NodeId,
    now: Time,
    passes: &mut dyn FnMut(&mut Transaction<'_>, NodeId) -> bool,
) -> Option<Candidate> {
    let savepoint = transaction.savepoint();
    let candidate = search(transaction, quotas.clone(), task, node, now, passes);
    transaction.rollback_to(savepoint);
    candidate
}

fn search(
    transaction: &mut Transaction<'_>,
    mut quotas: ElasticQuotas,
    task: TaskId,
    node: NodeId,
    now: Time,
    passes: &mut dyn FnMut(&mut Transaction<'_>, NodeId) -> bool,
) -> Option<Candidate> {
    let state = transaction.state();
    let entry = state.task(task)?;
    let (spec, priority) = (state.class_spec(entry.class).clone(), entry.details.priority);
    let request = Amounts::of_task(state, &spec);
    let (own, all) = quotas.with_nominated(state, task);
    let over_min = quotas.of(&spec.namespace).map(|quota| quotas.over_min_with(quota, &own));
    let mut placed = state.node(node).tasks().to_vec();
    placed.sort_unstable_by_key(|&placed| Reverse(importance(state, placed, now)));
    // With the devices that each holds.
    let mut potential = Vec::new();
    for victim in placed {
        let state = transaction.state();
        let victim_spec = state.task_spec(victim)?.clone();
        let less_important = state.task(victim)?.details.priority < priority;
        let same = victim_spec.namespace == spec.namespace;
        let may_leave = match (over_min, quotas.of(&victim_spec.namespace)) {
            (Some(true), Some(_)) => same && less_important,
            (Some(false), Some(theirs)) => !same && quotas.over_min(theirs),
            (None, None) => less_important,
            _ => false,
        };
        if may_leave {
            let gpus = state.task(victim)?.placement().map(|placement| placement.gpus);
            transaction.remove(victim).ok()?;
            quotas.remove(transaction.state(), &victim_spec);
            potential.push((victim, gpus));
        }
    }
    if potential.is_empty() || !passes(transaction, node) {
        return None;
    }
    let over = |quotas: &ElasticQuotas, own: &Amounts, all: &Amounts| {
        quotas.of(&spec.namespace).is_some_and(|quota| {
            quotas.over_max_with(quota, own).is_some() || quotas.over_sum_of_min_with(all).is_some()
        })
    };
    if over(&quotas, &request, &request) {
        return None;
    }
    // The most important come back first, those whose budgets would be violated before all others.
    potential.reverse();
    let tasks: Vec<_> = potential.iter().map(|&(victim, _)| victim).collect();
    let (violating, safe) = split_by_budgets(transaction.state(), &tasks);
    let mut victims = Vec::new();
    let mut budget_violations = 0;
    for (position, &victim) in violating.iter().chain(&safe).enumerate() {
        let savepoint = transaction.savepoint();
        let gpus = potential.iter().find(|&&(other, _)| other == victim).and_then(|&(_, gpus)| gpus);
        transaction.assume(victim, node, gpus).ok()?;
        let victim_spec = transaction.state().task_spec(victim)?.clone();
        quotas.add(transaction.state(), &victim_spec);
        let fits = passes(transaction, node);
        if !fits || over(&quotas, &own, &all) {
            transaction.rollback_to(savepoint);
            quotas.remove(transaction.state(), &victim_spec);
            victims.push(victim);
            budget_violations += usize::from(!fits && position < violating.len());
        }
    }
    victims.sort_unstable_by_key(|&victim| importance(transaction.state(), victim, now));
    (!victims.is_empty()).then_some(Candidate { node, victims, budget_violations })
}

/// The most important first: higher priority, then the earlier start.
fn importance(state: &ClusterState, task: TaskId, now: Time) -> (Reverse<i32>, Time, TaskId) {
    let details = state.task(task).map(|task| &task.details);
    let priority = details.map_or(0, |details| details.priority);
    (Reverse(priority), details.and_then(|details| details.started).unwrap_or(now), task)
}
