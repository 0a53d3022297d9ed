//! Classical preemption: by priority, and by what queues borrow.
//!
//! Candidates are of three kinds: those of queues over which the incoming workload has an advantage in the tree (it fits
//! in the quota of a subtree that they borrow from), those of other queues, and those of its own queue.

use alloc::vec::Vec;

use super::order::compare;
use super::{Attempt, PreemptionReason, Target, minimise, put_back};
use crate::ids::{NodeId, QueueId, WorkloadId};
use crate::model::Victims;
use crate::snapshot::Snapshot;

/// Why a candidate may be displaced.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Claim {
    /// It is of the same queue.
    WithinQueue,
    /// The incoming workload fits in quota that the candidate borrows.
    Advantage,
    /// Its queue borrows, and the incoming workload does not.
    WithoutBorrowing,
    /// Its priority is so low that the incoming workload may even borrow.
    WhileBorrowing,
}

#[derive(Clone, Copy, Debug)]
struct Candidate {
    workload: WorkloadId,
    queue: QueueId,
    claim: Claim,
    /// The lowest cohort that contains the incoming workload and the candidate.
    common: Option<NodeId>,
}

impl Claim {
    const fn reason(self) -> PreemptionReason {
        match self {
            Self::WithinQueue => PreemptionReason::InClusterQueue,
            Self::Advantage | Self::WithoutBorrowing => PreemptionReason::InCohortReclamation,
            Self::WhileBorrowing => PreemptionReason::InCohortReclaimWhileBorrowing,
        }
    }
}

pub(super) fn targets(snapshot: &mut Snapshot<'_>, attempt: &Attempt<'_>) -> Vec<Target> {
    let preemption = snapshot.model.queues[attempt.queue.index()].preemption;
    let own = of_queue(snapshot, attempt, attempt.queue, None, false);
    let (advantage, others) = of_cohorts(snapshot, attempt);
    let may_not_borrow = preemption.while_borrowing.is_none();
    let tries: &[bool] = if (advantage.is_empty() && others.is_empty())
        || (may_not_borrow && !is_under_nominal(snapshot, attempt))
    {
        &[true]
    } else if may_not_borrow && advantage.is_empty() {
        &[false, true]
    } else {
        &[true, false]
    };

    // Those on their way out go first, whatever their kind.
    let mut kinds = [advantage, others, own];
    for kind in &mut kinds {
        kind.sort_by(|a, b| compare(snapshot, attempt.queue, a.workload, b.workload));
    }
    let is_evicted = |candidate: &&Candidate| snapshot.workload(candidate.workload).evicted;
    let evicted = kinds.iter().flatten().filter(is_evicted);
    let rest = kinds.iter().flatten().filter(|candidate| !is_evicted(candidate));
    let candidates: Vec<Candidate> = evicted.chain(rest).copied().collect();

    for &may_borrow in tries {
        let mut targets = Vec::new();
        for candidate in &candidates {
            if !is_valid(snapshot, attempt, candidate, may_borrow) {
                continue;
            }
            snapshot.remove(candidate.workload);
            targets.push(Target { workload: candidate.workload, reason: candidate.claim.reason() });
            if attempt.fits(snapshot, may_borrow) {
                return minimise(snapshot, targets, |snapshot| attempt.fits(snapshot, may_borrow));
            }
        }
        put_back(snapshot, &targets);
    }
    Vec::new()
}

/// Whether the queue uses less than it has of all that is contested.
fn is_under_nominal(snapshot: &Snapshot<'_>, attempt: &Attempt<'_>) -> bool {
    let node = attempt.queue.node();
    attempt
        .contested
        .iter()
        .all(|&cell| snapshot.tree.usage(node, cell) < snapshot.tree.quota(node, cell).nominal)
}

/// Whether a candidate may still be displaced, given those displaced before it.
fn is_valid(snapshot: &Snapshot<'_>, attempt: &Attempt<'_>, candidate: &Candidate, may_borrow: bool) -> bool {
    if candidate.queue == attempt.queue {
        return true;
    }
    if may_borrow && candidate.claim == Claim::WithoutBorrowing {
        return false;
    }
    let node = candidate.queue.node();
    let below = snapshot.tree.ancestors(node).take_while(|&cohort| Some(cohort) != candidate.common);
    !core::iter::once(node).chain(below).any(|node| attempt.is_within_nominal(snapshot, node))
}

/// Candidates of other queues: those over which there is an advantage, and the rest.
fn of_cohorts(snapshot: &Snapshot<'_>, attempt: &Attempt<'_>) -> (Vec<Candidate>, Vec<Candidate>) {
    let (mut advantage, mut others) = (Vec::new(), Vec::new());
    let tree = &snapshot.tree;
    let own = attempt.queue.node();
    if snapshot.model.queues[attempt.queue.index()].preemption.reclaim == Victims::Never {
        return (advantage, others);
    }
    let (mut has_advantage, mut remaining) = tree.fit_in_subtree(own, attempt.usage);
    let mut previous = own;
    for cohort in tree.ancestors(own) {
        let found = if has_advantage { &mut advantage } else { &mut others };
        of_subtree(
            snapshot,
            attempt,
            cohort,
            Branch { root: cohort, skipped: previous, has_advantage },
            found,
        );
        let (fits, rest) = tree.fit_in_subtree(cohort, &remaining);
        has_advantage |= fits;
        remaining = rest;
        previous = cohort;
    }
    (advantage, others)
}

#[derive(Clone, Copy)]
struct Branch {
    root: NodeId,
    /// The part of the branch that has been visited.
    skipped: NodeId,
    has_advantage: bool,
}

/// Adds the candidates below a cohort, leaving out what borrows nothing.
fn of_subtree(
    snapshot: &Snapshot<'_>,
    attempt: &Attempt<'_>,
    cohort: NodeId,
    branch: Branch,
    found: &mut Vec<Candidate>,
) {
    for &child in snapshot.tree.cohorts(cohort) {
        if child != branch.skipped && !attempt.is_within_nominal(snapshot, child) {
            of_subtree(snapshot, attempt, child, branch, found);
        }
    }
    for &queue in snapshot.tree.queues(cohort) {
        if queue != attempt.queue && !attempt.is_within_nominal(snapshot, queue.node()) {
            found.extend(of_queue(snapshot, attempt, queue, Some(branch.root), branch.has_advantage));
        }
    }
}

fn of_queue(
    snapshot: &Snapshot<'_>,
    attempt: &Attempt<'_>,
    queue: QueueId,
    common: Option<NodeId>,
    has_advantage: bool,
) -> Vec<Candidate> {
    let candidate = |&workload: &WorkloadId| {
        let claim = claim(snapshot, attempt, workload, has_advantage)?;
        Some(Candidate { workload, queue, claim, common })
    };
    snapshot.holders(queue).iter().filter_map(candidate).collect()
}

fn claim(
    snapshot: &Snapshot<'_>,
    attempt: &Attempt<'_>,
    id: WorkloadId,
    has_advantage: bool,
) -> Option<Claim> {
    let (own, other) = (snapshot.workload(attempt.id), snapshot.workload(id));
    let preemption = snapshot.model.queues[attempt.queue.index()].preemption;
    if id == attempt.id || !other.uses(attempt.contested) {
        return None;
    }
    let is_own = other.queue == Some(attempt.queue);
    let policy = if is_own { preemption.within_queue } else { preemption.reclaim };
    if !attempt.may_displace(snapshot, id, policy) {
        return None;
    }
    if is_own {
        return Some(Claim::WithinQueue);
    }
    if has_advantage {
        return Some(Claim::Advantage);
    }
    let is_low = |threshold: Option<i32>| {
        other.priority < own.priority && threshold.is_none_or(|threshold| other.priority <= threshold)
    };
    match preemption.while_borrowing {
        Some(while_borrowing) if is_low(while_borrowing.threshold) => Some(Claim::WhileBorrowing),
        _ => Some(Claim::WithoutBorrowing),
    }
}
