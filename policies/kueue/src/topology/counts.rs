//! How many pods and slices each domain has room for.

use alloc::vec;
use alloc::vec::Vec;

use foretell_framework::spec::{TaintEffect, Toleration};

use crate::ids::ResourceId;

use super::failure::{Excluded, LimitingResource};
use super::plan::Plan;
use super::request::PodShape;
use super::snapshot::{LeafNode, Remaining, TopologySnapshot};

/// What a domain has room for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Counts {
    /// Pods.
    pub(super) pods: i64,
    /// Pods beside a leader; as many as without one where there is no room for a leader.
    pub(super) pods_with_leader: i64,
    /// Slices; none below the level of slices.
    pub(super) slices: i64,
    /// Slices beside a leader.
    pub(super) slices_with_leader: i64,
    /// Whether there is room for a leader.
    pub(super) takes_leader: bool,
    /// Sum over its nodes with room of the weights of preferred node affinity.
    pub(super) affinity: i64,
}

/// Counts of all domains, by index, and why leaves have no room.
pub(super) fn count(
    snapshot: &TopologySnapshot,
    plan: &Plan<'_>,
    remaining: &Remaining,
) -> (Vec<Counts>, Excluded) {
    let mut counts = vec![Counts::default(); snapshot.len()];
    let lowest = snapshot.levels().len().saturating_sub(1);
    let first_leaf = snapshot.first_leaf();
    let mut excluded = Excluded { leaves: snapshot.range(lowest).len() as u32, ..Excluded::default() };
    for domain in snapshot.range(lowest) {
        let leaf = domain - first_leaf;
        let of_leaf = count_leaf(snapshot, plan, leaf, remaining.of(leaf), &mut excluded);
        counts[domain] = with_slices(plan, lowest, of_leaf, 0, 0);
    }
    for level in (0..lowest).rev() {
        for domain in snapshot.range(level) {
            counts[domain] = sum_of_children(snapshot, plan, level, domain, &counts);
        }
    }
    (counts, excluded)
}

/// Counts of a domain from those of its children.
pub(super) fn sum_of_children(
    snapshot: &TopologySnapshot,
    plan: &Plan<'_>,
    level: usize,
    domain: usize,
    counts: &[Counts],
) -> Counts {
    let children = &counts[snapshot.children(domain)];
    let mut sum = Counts::default();
    // The leader goes where it costs the fewest.
    let (mut pods_lost, mut slices_lost) = (i64::MAX, i64::MAX);
    for child in children {
        sum.pods += child.pods;
        sum.slices += child.slices;
        sum.affinity += child.affinity;
        if child.takes_leader {
            sum.takes_leader = true;
            pods_lost = pods_lost.min(child.pods - child.pods_with_leader);
            slices_lost = slices_lost.min(child.slices - child.slices_with_leader);
        }
    }
    let (pods_lost, slices_lost) = if sum.takes_leader { (pods_lost, slices_lost) } else { (0, 0) };
    sum.pods_with_leader = sum.pods - pods_lost;
    with_slices(plan, level, sum, sum.slices, sum.slices - slices_lost)
}

/// Fills in slices: those of the children above the level of slices, as many as pods make up at it. Pods that make up
/// no slice of an inner layer are none.
const fn with_slices(plan: &Plan<'_>, level: usize, counts: Counts, slices: i64, with_leader: i64) -> Counts {
    let mut counts = counts;
    if level > plan.slice_level {
        let size = plan.inner_size(level);
        counts.pods -= counts.pods % size;
        counts.pods_with_leader -= counts.pods_with_leader % size;
        (counts.slices, counts.slices_with_leader) = (0, 0);
    } else if level == plan.slice_level {
        counts.slices = counts.pods / plan.slice_size;
        counts.slices_with_leader = counts.pods_with_leader / plan.slice_size;
    } else {
        (counts.slices, counts.slices_with_leader) = (slices, with_leader);
    }
    counts
}

fn count_leaf(
    snapshot: &TopologySnapshot,
    plan: &Plan<'_>,
    leaf: usize,
    remaining: &[i64],
    excluded: &mut Excluded,
) -> Counts {
    let node = snapshot.node(leaf);
    let admits =
        |shape: &PodShape| node.map_or(Admits::Yes, |node| admits(node, shape, snapshot.tolerations()));
    let (mut pods, mut affinity) = (0, 0);
    match admits(plan.workers) {
        Admits::Yes => {
            let limiting;
            (pods, limiting) = fitting(&plan.workers.requests, remaining, None);
            if pods == 0 {
                excluded.add_resource(limiting);
            } else if let Some(node) = node.filter(|_| plan.respects_affinity) {
                affinity = preference(node, plan.workers);
            }
        }
        Admits::NotTaints => excluded.by_taints += 1,
        Admits::NotAffinity => excluded.by_affinity += 1,
    }
    let mut counts = Counts { pods, pods_with_leader: pods, affinity, ..Counts::default() };
    if let Some(leader) = plan.leader
        && matches!(admits(leader), Admits::Yes)
        && fitting(&leader.requests, remaining, None).0 > 0
    {
        counts.takes_leader = true;
        let beside = || fitting(&plan.workers.requests, remaining, Some(leader)).0;
        counts.pods_with_leader = if pods == 0 { 0 } else { beside() };
    }
    counts
}

enum Admits {
    Yes,
    NotTaints,
    NotAffinity,
}

fn admits(node: &LeafNode, shape: &PodShape, of_flavor: &[Toleration]) -> Admits {
    let is_tolerated =
        |taint| shape.tolerations.iter().chain(of_flavor).any(|toleration| toleration.tolerates(taint));
    let mut binding = node.taints.iter().filter(|taint| taint.effect != TaintEffect::PreferNoSchedule);
    if !binding.all(is_tolerated) {
        return Admits::NotTaints;
    }
    let selected = shape.node_selector.iter().all(|(key, value)| node.labels.get(key) == Some(value));
    if selected && shape.node_affinity.matches(&node.name, &node.labels) {
        Admits::Yes
    } else {
        Admits::NotAffinity
    }
}

/// Sum of the weights of preferred terms that a node matches.
fn preference(node: &LeafNode, shape: &PodShape) -> i64 {
    let terms = shape.node_affinity.preferred.iter();
    terms
        .filter(|(_, term)| term.matches(&node.name, &node.labels))
        .map(|&(weight, _)| i64::from(weight))
        .sum()
}

/// How many pods fit into what a leaf has left, beside one other if there is one, and what allows no more.
fn fitting(
    requests: &[(ResourceId, i64)],
    remaining: &[i64],
    beside: Option<&PodShape>,
) -> (i64, LimitingResource) {
    let taken = |resource: ResourceId| {
        let other = beside.into_iter().flat_map(|shape| &shape.requests);
        other.filter(|&&(known, _)| known == resource).map(|&(_, amount)| amount).sum::<i64>()
    };
    let mut best = ((remaining[0] - i64::from(beside.is_some())).max(0), LimitingResource::Pods);
    for &(resource, amount) in requests.iter().filter(|&&(_, amount)| amount > 0) {
        let left = remaining.get(1 + resource.index()).copied().unwrap_or(0) - taken(resource);
        let fit = left.max(0) / amount;
        if fit < best.0 {
            best = (fit, LimitingResource::Resource(resource));
        }
    }
    best
}
