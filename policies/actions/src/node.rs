//! The node for a task.

use alloc::vec::Vec;

use foretell_framework::{ClassId, ClusterState, NodeId, PlacementError, Plugins, Statement, TaskId};

/// Where a task goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Site {
    /// It fits now.
    Idle(NodeId),
    /// It will fit when others that were told to stop have left.
    Future(NodeId),
}

/// The node for a task, among these if any are named: first that to which the session before nominated it, then the
/// best of those where it fits now, then the best of those where it will fit.
pub(crate) fn find(statement: &mut Statement<'_>, task: TaskId, nodes: Option<&[NodeId]>) -> Option<Site> {
    let former = statement.former_nomination(task);
    let (state, plugins, random) = statement.parts();
    let class = state.task(task)?.class;
    if let Some(node) = former
        && nodes.is_none_or(|nodes| nodes.contains(&node))
        && plugins.filter_node(state, state.class_spec(class), node).is_ok()
        && plugins.tiers().filter_node(state, task, node).is_ok()
    {
        return Some(Site::Idle(node));
    }
    let judged = plugins.tiers().judges_nodes(state, task);
    if nodes.is_none() && !judged {
        if let Some(node) = plugins.choose_node(state, class, random) {
            return Some(Site::Idle(node));
        }
    } else {
        let all: Vec<NodeId> = if nodes.is_none() { state.node_ids().collect() } else { Vec::new() };
        let among = nodes.unwrap_or(&all);
        if let Some(node) = best_among(state, plugins, task, class, among, judged) {
            return Some(Site::Idle(node));
        }
    }
    let state = statement.state();
    let is_releasing = |&node: &NodeId| state.node(node).releasing_tasks() > 0;
    let mut candidates: Vec<NodeId> = match nodes {
        Some(nodes) => nodes.iter().copied().filter(is_releasing).collect(),
        None => state.node_ids().filter(is_releasing).collect(),
    };
    candidates.retain(|&node| statement.fits_future(task, node));
    by_score(statement, task, &candidates).first().copied().map(Site::Future)
}

/// The best of some nodes where a task fits now, the first among equals.
fn best_among(
    state: &ClusterState,
    plugins: &mut Plugins,
    task: TaskId,
    class: ClassId,
    nodes: &[NodeId],
    judged: bool,
) -> Option<NodeId> {
    let (mut candidates, mut totals) = plugins.rank_among(state, class, nodes);
    if judged {
        let ranked = candidates.into_iter().zip(totals);
        (candidates, totals) =
            ranked.filter(|&(node, _)| plugins.tiers().filter_node(state, task, node).is_ok()).unzip();
        if candidates.len() > 1 {
            plugins.tiers().score_nodes(state, task, &candidates, &mut totals);
        }
    }
    let best = totals.iter().max()?;
    totals.iter().position(|total| total == best).map(|position| candidates[position])
}

/// Candidates from the highest score down, in their order among equals.
pub(crate) fn by_score(statement: &mut Statement<'_>, task: TaskId, candidates: &[NodeId]) -> Vec<NodeId> {
    if candidates.len() < 2 {
        return candidates.to_vec();
    }
    let (state, plugins, _) = statement.parts();
    let Some(class) = state.task(task).map(|task| task.class) else { return Vec::new() };
    let mut totals = plugins.total_scores(state, class, candidates);
    plugins.tiers().score_nodes(state, task, candidates, &mut totals);
    let mut scored: Vec<_> = totals.into_iter().zip(candidates.iter().copied()).collect();
    scored.sort_by_key(|&(total, _)| core::cmp::Reverse(total));
    scored.into_iter().map(|(_, node)| node).collect()
}

/// Puts a task where it goes.
pub(crate) fn take(statement: &mut Statement<'_>, task: TaskId, site: Site) -> Result<(), PlacementError> {
    match site {
        Site::Idle(node) => statement.allocate(task, node),
        Site::Future(node) => statement.pipeline(task, node),
    }
}
