//! The order in which entries of a cycle are decided about.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::cmp::Ordering;

use super::{CycleConfig, Entry};
use crate::ids::{NodeId, QueueId};
use crate::preempt::Preemptor;
use crate::share::Share;
use crate::snapshot::Snapshot;

/// Entries that are left, and how the next is found.
pub(super) struct Order {
    by_shares: bool,
    prefers_non_borrowing: bool,
    /// Without shares, the next last.
    entries: Vec<Entry>,
    is_sorted: bool,
}

/// What an entry is to a cohort: what the child of it that contains the entry's queue would come to.
#[derive(Clone, Copy, Debug)]
struct Claim {
    borrows: bool,
    share: Share,
}

impl Order {
    pub(super) fn new(config: &CycleConfig, entries: Vec<Entry>) -> Self {
        let by_shares = matches!(config.preemptor, Preemptor::Fair(_));
        Self { by_shares, prefers_non_borrowing: config.prefers_non_borrowing, entries, is_sorted: false }
    }

    /// The next entry.
    pub(super) fn next(&mut self, snapshot: &mut Snapshot<'_>) -> Option<Entry> {
        if self.by_shares {
            return self.next_by_shares(snapshot);
        }
        if !self.is_sorted {
            let key = |entry: &Entry| entry.assignment.borrowing();
            self.entries.sort_by(|a, b| {
                let order = key(a).cmp(&key(b)).then_with(|| by_priority_and_age(snapshot, a, b));
                order.reverse()
            });
            self.is_sorted = true;
        }
        self.entries.pop()
    }

    /// A tournament: each cohort sends its best entry up, the root's best is next. Shares are those after admission.
    fn next_by_shares(&mut self, snapshot: &mut Snapshot<'_>) -> Option<Entry> {
        let queue = self.entries.first()?.queue;
        let index = if snapshot.tree.parent(queue.node()).is_none() {
            0
        } else {
            let root = snapshot.tree.root(queue.node());
            let claims = self.claims(snapshot, root);
            self.winner(snapshot, root, &claims).unwrap_or(0)
        };
        Some(self.entries.remove(index))
    }

    /// Per entry below a root and cohort above it, what it is to the cohort.
    fn claims(&self, snapshot: &mut Snapshot<'_>, root: NodeId) -> BTreeMap<(usize, NodeId), Claim> {
        let mut claims = BTreeMap::new();
        for (index, entry) in self.entries.iter().enumerate() {
            if snapshot.tree.root(entry.queue.node()) != root {
                continue;
            }
            let usage = &entry.assignment.usage;
            snapshot.tree.add(entry.queue, usage);
            let tree = &snapshot.tree;
            let mut child = entry.queue.node();
            for cohort in tree.ancestors(child) {
                let borrows = tree.parent(child).is_some() && tree.borrows(child, usage.keys().copied());
                claims.insert((index, cohort), Claim { borrows, share: Share::current(tree, child) });
                child = cohort;
            }
            snapshot.tree.remove(entry.queue, usage);
        }
        claims
    }

    fn winner(
        &self,
        snapshot: &Snapshot<'_>,
        cohort: NodeId,
        claims: &BTreeMap<(usize, NodeId), Claim>,
    ) -> Option<usize> {
        let tree = &snapshot.tree;
        let of_cohorts =
            tree.cohorts(cohort).iter().filter_map(|&child| self.winner(snapshot, child, claims));
        let of_queue = |&queue: &QueueId| self.entries.iter().position(|entry| entry.queue == queue);
        let of_queues = tree.queues(cohort).iter().filter_map(of_queue);
        of_cohorts.chain(of_queues).reduce(|best, other| {
            let (a, b) = (&claims[&(other, cohort)], &claims[&(best, cohort)]);
            let borrows =
                if self.prefers_non_borrowing { a.borrows.cmp(&b.borrows) } else { Ordering::Equal };
            let order = borrows
                .then_with(|| a.share.compare(&b.share))
                .then_with(|| by_priority_and_age(snapshot, &self.entries[other], &self.entries[best]));
            if order == Ordering::Less { other } else { best }
        })
    }
}

/// Larger priority first, then those that wait longer.
fn by_priority_and_age(snapshot: &Snapshot<'_>, a: &Entry, b: &Entry) -> Ordering {
    let [first, second] = [a, b].map(|entry| snapshot.workload(entry.workload));
    second
        .priority
        .cmp(&first.priority)
        .then_with(|| first.queued.cmp(&second.queued))
        .then_with(|| a.workload.cmp(&b.workload))
}
