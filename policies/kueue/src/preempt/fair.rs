//! Preemption for fair sharing: the queue with the largest share gives first.

use alloc::vec;
use alloc::vec::Vec;
use core::cmp::Ordering;

use super::order::compare;
use super::{Attempt, PreemptionReason, Target, minimise, put_back};
use crate::ids::{NodeId, QueueId, WorkloadId};
use crate::model::Victims;
use crate::share::Share;
use crate::snapshot::Snapshot;

/// When a workload may be displaced for the sake of even shares.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FairRule {
    /// If the share of the displacing side ends no larger than that of the other side.
    LessThanOrEqualToFinalShare,
    /// If the share of the displacing side ends smaller than what the other side had.
    LessThanInitialShare,
}

impl FairRule {
    fn allows(self, own: &Share, before: &Share, after: &Share) -> bool {
        match self {
            Self::LessThanOrEqualToFinalShare => own.compare(after) != Ordering::Greater,
            Self::LessThanInitialShare => own.compare(before) == Ordering::Less,
        }
    }
}

pub(super) fn targets(snapshot: &mut Snapshot<'_>, attempt: &Attempt<'_>, rules: &[FairRule]) -> Vec<Target> {
    let candidates = candidates(snapshot, attempt);
    let Some((&first, rest)) = rules.split_first() else { return Vec::new() };
    // Shares are compared as if the workload were admitted.
    snapshot.tree.add(attempt.queue, attempt.usage);
    let mut run = Run { snapshot, attempt, targets: Vec::new() };
    let mut passed_over = Vec::new();
    let fits =
        run.first(&candidates, first, &mut passed_over) || (!rest.is_empty() && run.second(&passed_over));
    let targets = run.targets;
    snapshot.tree.remove(attempt.queue, attempt.usage);
    if !fits {
        put_back(snapshot, &targets);
        return Vec::new();
    }
    minimise(snapshot, targets, |snapshot| attempt.fits(snapshot, true))
}

/// Whom the workload may displace, best first.
fn candidates(snapshot: &Snapshot<'_>, attempt: &Attempt<'_>) -> Vec<WorkloadId> {
    let preemption = snapshot.model.queues[attempt.queue.index()].preemption;
    let own = attempt.queue.node();
    let mut found = Vec::new();
    let mut add = |queue: QueueId, policy: Victims| {
        let usable = |&&id: &&WorkloadId| {
            id != attempt.id
                && snapshot.workload(id).uses(attempt.contested)
                && attempt.may_displace(snapshot, id, policy)
        };
        found.extend(snapshot.holders(queue).iter().filter(usable).copied());
    };
    add(attempt.queue, preemption.within_queue);
    if snapshot.tree.parent(own).is_some() {
        let root = snapshot.tree.root(own);
        for queue in snapshot.tree.queue_ids() {
            let node = queue.node();
            if queue != attempt.queue
                && snapshot.tree.root(node) == root
                && !attempt.is_within_nominal(snapshot, node)
            {
                add(queue, preemption.reclaim);
            }
        }
    }
    found.sort_by(|&a, &b| compare(snapshot, attempt.queue, a, b));
    found
}

struct Run<'a, 'b> {
    snapshot: &'a mut Snapshot<'b>,
    attempt: &'a Attempt<'a>,
    targets: Vec<Target>,
}

impl Run<'_, '_> {
    fn displace(&mut self, workload: WorkloadId, reason: PreemptionReason) -> bool {
        self.snapshot.remove(workload);
        self.targets.push(Target { workload, reason });
        let Attempt { queue, usage, .. } = *self.attempt;
        self.snapshot.tree.remove(queue, usage);
        let fits = self.attempt.fits(self.snapshot, true);
        self.snapshot.tree.add(queue, usage);
        fits
    }

    /// Displaces by the first rule. Whether the workload fits in the end.
    fn first(
        &mut self,
        candidates: &[WorkloadId],
        rule: FairRule,
        passed_over: &mut Vec<WorkloadId>,
    ) -> bool {
        let own = self.attempt.queue;
        // What a queue has for itself it takes back from whoever borrows it, whatever the shares are.
        let is_own_quota = self.attempt.is_within_nominal(self.snapshot, own.node());
        let mut offers = Offers::new(self.snapshot, own, candidates);
        while let Some(queue) = offers.next(self.snapshot) {
            if queue == own || is_own_quota {
                let Some(id) = offers.take(queue) else { break };
                let reason = if queue == own {
                    PreemptionReason::InClusterQueue
                } else {
                    PreemptionReason::InCohortReclamation
                };
                if self.displace(id, reason) {
                    return true;
                }
                continue;
            }
            let (mine, theirs) = offers.below_common(self.snapshot, queue);
            let share = |snapshot: &Snapshot<'_>, node| Share::current(&snapshot.tree, node);
            let (new, before) = (share(self.snapshot, mine), share(self.snapshot, theirs));
            while let Some(id) = offers.take(queue) {
                let after = self.snapshot.without([id], |snapshot| share(snapshot, theirs));
                if !rule.allows(&new, &before, &after) {
                    passed_over.push(id);
                    continue;
                }
                if self.displace(id, PreemptionReason::InCohortFairSharing) {
                    return true;
                }
                // Shares have changed: another queue may be next.
                break;
            }
        }
        false
    }

    /// Displaces, by the second rule, what the first passed over: at most one workload per queue.
    fn second(&mut self, candidates: &[WorkloadId]) -> bool {
        let mut offers = Offers::new(self.snapshot, self.attempt.queue, candidates);
        while let Some(queue) = offers.next(self.snapshot) {
            let (mine, theirs) = offers.below_common(self.snapshot, queue);
            let [new, before] = [mine, theirs].map(|node| Share::current(&self.snapshot.tree, node));
            if FairRule::LessThanInitialShare.allows(&new, &before, &before)
                && let Some(id) = offers.take(queue)
                && self.displace(id, PreemptionReason::InCohortFairSharing)
            {
                return true;
            }
            offers.drop_queue(queue);
        }
        false
    }
}

/// Candidates by queue, and the queues in order of share.
struct Offers {
    own: QueueId,
    /// Per queue, the best last.
    candidates: Vec<Vec<WorkloadId>>,
    /// Nodes that have nothing more to give.
    is_pruned: Vec<bool>,
}

impl Offers {
    fn new(snapshot: &Snapshot<'_>, own: QueueId, candidates: &[WorkloadId]) -> Self {
        let mut by_queue = vec![Vec::new(); snapshot.model.queues.len()];
        for &id in candidates.iter().rev() {
            if let Some(queue) = snapshot.workload(id).queue {
                by_queue[queue.index()].push(id);
            }
        }
        let nodes = by_queue.len() + snapshot.tree.cohort_ids().count();
        Self { own, candidates: by_queue, is_pruned: vec![false; nodes] }
    }

    fn take(&mut self, queue: QueueId) -> Option<WorkloadId> {
        self.candidates[queue.index()].pop()
    }

    fn drop_queue(&mut self, queue: QueueId) {
        self.is_pruned[queue.node().index()] = true;
    }

    /// The queue to take from next.
    fn next(&mut self, snapshot: &Snapshot<'_>) -> Option<QueueId> {
        let node = self.own.node();
        let Some(parent) = snapshot.tree.parent(node) else {
            return (!self.candidates[self.own.index()].is_empty()).then_some(self.own);
        };
        let root = snapshot.tree.ancestors(parent).last().unwrap_or(parent);
        while !self.is_pruned[root.index()] {
            if let Some(queue) = self.largest(snapshot, root) {
                return Some(queue);
            }
        }
        None
    }

    /// The queue below a cohort to take from. `None` if something was found to have nothing to give.
    fn largest(&mut self, snapshot: &Snapshot<'_>, cohort: NodeId) -> Option<QueueId> {
        let tree = &snapshot.tree;
        let mut best_queue: Option<(Share, QueueId)> = None;
        for &queue in tree.queues(cohort) {
            if self.is_pruned[queue.node().index()] {
                continue;
            }
            let share = Share::current(tree, queue.node());
            let Some(&offered) =
                self.candidates[queue.index()].last().filter(|_| share.borrowing || queue == self.own)
            else {
                self.drop_queue(queue);
                continue;
            };
            let is_better = best_queue.is_none_or(|(best, other)| {
                let order = share.compare(&best);
                let of_equals = || {
                    let other = self.candidates[other.index()].last();
                    other.map_or(Ordering::Less, |&other| compare(snapshot, self.own, other, offered))
                };
                order.then_with(of_equals) == Ordering::Greater
            });
            if is_better {
                best_queue = Some((share, queue));
            }
        }
        let mut best_cohort: Option<(Share, NodeId)> = None;
        for &child in tree.cohorts(cohort) {
            if self.is_pruned[child.index()] {
                continue;
            }
            let share = Share::current(tree, child);
            if !share.borrowing && !tree.ancestors(self.own.node()).any(|ancestor| ancestor == child) {
                self.is_pruned[child.index()] = true;
            } else if best_cohort.is_none_or(|(best, _)| share.compare(&best) != Ordering::Less) {
                best_cohort = Some((share, child));
            }
        }
        match (best_cohort, best_queue) {
            (None, None) => {
                self.is_pruned[cohort.index()] = true;
                None
            }
            (Some((share, cohort)), queue)
                if queue.is_none_or(|(best, _)| share.compare(&best) != Ordering::Less) =>
            {
                self.largest(snapshot, cohort)
            }
            (_, queue) => queue.map(|(_, queue)| queue),
        }
    }

    /// The children of the lowest cohort around the own queue and another: the one around the own queue, the one around
    /// the other.
    fn below_common(&self, snapshot: &Snapshot<'_>, queue: QueueId) -> (NodeId, NodeId) {
        let tree = &snapshot.tree;
        let path = |queue: QueueId| core::iter::once(queue.node()).chain(tree.ancestors(queue.node()));
        for theirs in path(queue) {
            let Some(common) = tree.parent(theirs) else { break };
            if let Some(mine) = path(self.own).find(|&mine| tree.parent(mine) == Some(common)) {
                return (mine, theirs);
            }
        }
        (self.own.node(), queue.node())
    }
}

/// The order in which queues are offered as victims, if one candidate is taken of each and shares do not change.
pub fn offer_order(snapshot: &Snapshot<'_>, own: QueueId, candidates: &[WorkloadId]) -> Vec<QueueId> {
    let mut sorted = candidates.to_vec();
    sorted.sort_by(|&a, &b| compare(snapshot, own, a, b));
    let mut offers = Offers::new(snapshot, own, &sorted);
    let next = || {
        let queue = offers.next(snapshot)?;
        offers.take(queue).map(|_| queue)
    };
    core::iter::from_fn(next).collect()
}
