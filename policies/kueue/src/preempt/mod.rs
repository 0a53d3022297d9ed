//! Whom a workload displaces.

mod classical;
mod fair;
mod order;

use alloc::vec::Vec;

pub use fair::{FairRule, offer_order};

use crate::assign::{Assignment, Oracle, Possibility};
use crate::ids::{Cell, QueueId, WorkloadId};
use crate::model::Victims;
use crate::place;
use crate::snapshot::Snapshot;
use crate::tree::Amounts;

/// Why a workload is displaced.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum PreemptionReason {
    /// By a workload of its own queue.
    InClusterQueue,
    /// Its queue borrows, and the other takes back its own.
    InCohortReclamation,
    /// Its queue has more than its share.
    InCohortFairSharing,
    /// Its priority is low enough that even one who borrows may displace it.
    InCohortReclaimWhileBorrowing,
}

impl PreemptionReason {
    /// As Kueue says it in the condition of the workload.
    pub const fn name(self) -> &'static str {
        match self {
            Self::InClusterQueue => "InClusterQueue",
            Self::InCohortReclamation => "InCohortReclamation",
            Self::InCohortFairSharing => "InCohortFairSharing",
            Self::InCohortReclaimWhileBorrowing => "InCohortReclaimWhileBorrowing",
        }
    }
}

/// A workload to be displaced.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Target {
    /// The workload.
    pub workload: WorkloadId,
    /// Why.
    pub reason: PreemptionReason,
}

/// How victims are found.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Preemptor {
    /// By priority and by what queues borrow.
    Classical,
    /// So that shares become even, by these rules in turn.
    Fair(Vec<FairRule>),
}

impl Preemptor {
    /// Fair sharing by both rules, as Kueue does unless told otherwise.
    pub fn fair() -> Self {
        Self::Fair(Vec::from([FairRule::LessThanOrEqualToFinalShare, FairRule::LessThanInitialShare]))
    }

    /// The workloads to displace so that an assignment fits; none if it cannot.
    pub fn targets(
        &self,
        snapshot: &mut Snapshot<'_>,
        id: WorkloadId,
        assignment: &Assignment,
    ) -> Vec<Target> {
        let contested = assignment.contested(snapshot);
        self.find(snapshot, id, &contested, &assignment.usage, Some(assignment))
    }

    fn find(
        &self,
        snapshot: &mut Snapshot<'_>,
        id: WorkloadId,
        contested: &[Cell],
        usage: &Amounts,
        assignment: Option<&Assignment>,
    ) -> Vec<Target> {
        let Some(queue) = snapshot.workload(id).queue else { return Vec::new() };
        let attempt = Attempt { id, queue, contested, usage, assignment };
        match self {
            Self::Classical => classical::targets(snapshot, &attempt),
            Self::Fair(rules) => fair::targets(snapshot, &attempt, rules),
        }
    }
}

impl Oracle for Preemptor {
    fn ask(
        &self,
        snapshot: &mut Snapshot<'_>,
        workload: WorkloadId,
        cell: Cell,
        amount: i64,
    ) -> (Possibility, u32) {
        let Some(queue) = snapshot.workload(workload).queue else { return (Possibility::NoCandidates, 0) };
        let targets = self.find(snapshot, workload, &[cell], &Amounts::from([(cell, amount)]), None);
        let ids: Vec<_> = targets.iter().map(|target| target.workload).collect();
        let is_own = |&id: &WorkloadId| snapshot.workload(id).queue == Some(queue);
        let possibility = if ids.is_empty() {
            Possibility::NoCandidates
        } else if ids.iter().any(is_own) {
            Possibility::Preempt
        } else {
            Possibility::Reclaim
        };
        let (borrowing, _) =
            snapshot.without(ids, |snapshot| snapshot.tree.height_of_fit(queue, cell, amount));
        (possibility, borrowing)
    }
}

/// A workload that would displace others.
struct Attempt<'a> {
    id: WorkloadId,
    queue: QueueId,
    /// The cells of which others would have to give up quota.
    contested: &'a [Cell],
    usage: &'a Amounts,
    /// Its pods are to find domains too.
    assignment: Option<&'a Assignment>,
}

impl Attempt<'_> {
    /// Whether it would fit as things stand.
    fn fits(&self, snapshot: &Snapshot<'_>, may_borrow: bool) -> bool {
        let node = self.queue.node();
        let has_quota = self.usage.iter().all(|(&cell, &amount)| {
            (may_borrow || !snapshot.tree.borrows_with(node, cell, amount))
                && amount <= snapshot.tree.available(node, cell).max(0)
        });
        let workload = snapshot.workload(self.id);
        let has_domains =
            |assignment: &Assignment| place::find(snapshot, workload, assignment, false).is_ok();
        has_quota && self.assignment.is_none_or(has_domains)
    }

    /// Whether a policy lets it displace a workload.
    fn may_displace(&self, snapshot: &Snapshot<'_>, id: WorkloadId, victims: Victims) -> bool {
        let (own, other) = (snapshot.workload(self.id), snapshot.workload(id));
        match victims {
            Victims::Never => false,
            Victims::LowerPriority => own.priority > other.priority,
            Victims::LowerOrNewerEqualPriority => {
                own.priority > other.priority || (own.priority == other.priority && own.queued < other.queued)
            }
            Victims::Any => true,
        }
    }

    /// Whether a node and its subtree use no more than they have of what is contested.
    fn is_within_nominal(&self, snapshot: &Snapshot<'_>, node: crate::ids::NodeId) -> bool {
        !snapshot.tree.borrows(node, self.contested.iter().copied())
    }
}

/// Drops the targets without which it fits as well, beginning with the last but one, and puts the usage of all back.
fn minimise(
    snapshot: &mut Snapshot<'_>,
    mut targets: Vec<Target>,
    fits: impl Fn(&Snapshot<'_>) -> bool,
) -> Vec<Target> {
    for index in (0..targets.len().saturating_sub(1)).rev() {
        snapshot.restore(targets[index].workload);
        if fits(snapshot) {
            targets.swap_remove(index);
        } else {
            snapshot.remove(targets[index].workload);
        }
    }
    put_back(snapshot, &targets);
    targets
}

fn put_back(snapshot: &mut Snapshot<'_>, targets: &[Target]) {
    for target in targets {
        snapshot.restore(target.workload);
    }
}
