//! One cycle of the scheduler: the head of every queue gets its flavors, the heads are put in order, and one after the
//! other is admitted, displaces others, or waits on.

mod order;
mod shrink;

use alloc::collections::BTreeSet;
use alloc::vec;
use alloc::vec::Vec;

use crate::assign::{Assignment, Context, Cursor, Mode, assign};
use crate::ids::{QueueId, WorkloadId};
use crate::model::Model;
use crate::place;
use crate::preempt::{Preemptor, Target};
use crate::snapshot::Snapshot;
use crate::tree::Amounts;

/// How a cycle decides.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CycleConfig {
    /// How victims are found; with fair shares, the order of entries goes by them too.
    pub preemptor: Preemptor,
    /// Whether a workload may be admitted with fewer pods, down to its minimum (`PartialAdmission`).
    pub partial_admission: bool,
    /// Whether, with fair shares, those who borrow nothing of what they ask for go first
    /// (`FairSharingPrioritizeNonBorrowing`).
    pub prefers_non_borrowing: bool,
}

impl Default for CycleConfig {
    fn default() -> Self {
        Self { preemptor: Preemptor::Classical, partial_admission: true, prefers_non_borrowing: true }
    }
}

/// What a cycle made of a head.
#[derive(Clone, PartialEq, Debug)]
pub enum Verdict {
    /// It gets quota.
    Admitted(Assignment),
    /// It waits until those that it displaces are gone.
    Preempting(Vec<Target>),
    /// It waits, and is tried again in the next cycle. Where flavors are left to try, with where to go on.
    Pending(Option<Cursor>),
    /// It waits until something changes.
    Inadmissible,
}

/// A head and what became of it.
#[derive(Clone, PartialEq, Debug)]
pub struct Outcome {
    /// The workload.
    pub workload: WorkloadId,
    /// What became of it.
    pub verdict: Verdict,
}

/// A head with its flavors.
struct Entry {
    workload: WorkloadId,
    queue: QueueId,
    assignment: Assignment,
    targets: Vec<Target>,
}

/// The first of the waiting workloads of every queue: by priority, then by how long they wait.
pub fn heads(
    model: &Model,
    snapshot: &Snapshot<'_>,
    waiting: impl IntoIterator<Item = WorkloadId>,
) -> Vec<WorkloadId> {
    let mut first: Vec<Option<WorkloadId>> = vec![None; model.queues.len()];
    for id in waiting {
        let workload = snapshot.workload(id);
        let Some(queue) = workload.queue.filter(|queue| model.queues[queue.index()].active) else { continue };
        let rank = |id: WorkloadId| {
            let workload = snapshot.workload(id);
            (core::cmp::Reverse(workload.priority), workload.queued, id)
        };
        let head = &mut first[queue.index()];
        if head.is_none_or(|known| rank(id) < rank(known)) {
            *head = Some(id);
        }
    }
    first.into_iter().flatten().collect()
}

/// Decides about the heads. The snapshot ends with the usage of what is admitted, and of what is held free for those
/// that displace others.
pub fn run(
    snapshot: &mut Snapshot<'_>,
    heads: &[(WorkloadId, Option<Cursor>)],
    config: &CycleConfig,
) -> Vec<Outcome> {
    let mut outcomes = Vec::new();
    let mut entries = Vec::new();
    for (id, cursor) in heads {
        let workload = snapshot.workload(*id);
        let Some(queue) = workload.queue else { continue };
        if !snapshot.model.takes(queue, &workload.namespace) {
            outcomes.push(Outcome { workload: *id, verdict: Verdict::Inadmissible });
            continue;
        }
        let (mut assignment, targets) = nominate(snapshot, *id, cursor.as_ref(), config);
        if assignment.mode() == Mode::Preempt {
            // Where its pods go once the others are gone; if nobody is to go, what to keep free for it.
            let gone: Vec<_> = targets.iter().map(|target| target.workload).collect();
            let assumes_empty = gone.is_empty();
            let domains = snapshot
                .without(gone, |snapshot| place::find(snapshot, workload, &assignment, assumes_empty));
            assignment.set_domains(domains.unwrap_or_default());
        }
        entries.push(Entry { workload: *id, queue, assignment, targets });
    }
    let mut displaced = BTreeSet::new();
    let mut queue = order::Order::new(config, entries);
    while let Some(entry) = queue.next(snapshot) {
        let workload = entry.workload;
        let verdict = process(snapshot, entry, &mut displaced);
        outcomes.push(Outcome { workload, verdict });
    }
    outcomes
}

/// The flavors of a workload and whom it displaces, with fewer pods if that is what it takes.
fn nominate(
    snapshot: &mut Snapshot<'_>,
    id: WorkloadId,
    cursor: Option<&Cursor>,
    config: &CycleConfig,
) -> (Assignment, Vec<Target>) {
    let preemptor = &config.preemptor;
    let workload = snapshot.workload(id);
    let context = Context { fair_sharing: matches!(preemptor, Preemptor::Fair(_)), oracle: preemptor };
    let mut attempt = |counts: Option<&[u32]>| {
        let assignment = assign(snapshot, id, counts, cursor, &context);
        let targets = match assignment.mode() {
            Mode::Preempt => preemptor.targets(snapshot, id, &assignment),
            Mode::Fit | Mode::NoFit => Vec::new(),
        };
        let serves = assignment.mode() == Mode::Fit || !targets.is_empty();
        (serves, (assignment, targets))
    };
    let (serves, full) = attempt(None);
    if serves || !config.partial_admission || !workload.can_shrink() {
        return full;
    }
    let fewer = shrink::search(&workload.pod_sets, |counts| {
        let (serves, found) = attempt(Some(counts));
        serves.then_some(found)
    });
    fewer.unwrap_or(full)
}

/// Decides about one entry, given what was decided about those before it.
fn process(snapshot: &mut Snapshot<'_>, entry: Entry, displaced: &mut BTreeSet<WorkloadId>) -> Verdict {
    let Entry { workload, queue, assignment, targets } = entry;
    let leaves = place::uses(snapshot.workload(workload), &assignment);
    let mode = assignment.mode();
    let waits = |assignment: &Assignment| {
        // StrictFIFO keeps its head; else it is set aside unless it has more flavors to try.
        if assignment.has_untried_flavors() {
            Verdict::Pending(Some(assignment.cursor()))
        } else if snapshot.model.queues[queue.index()].strict {
            Verdict::Pending(None)
        } else {
            Verdict::Inadmissible
        }
    };
    if mode == Mode::NoFit {
        return waits(&assignment);
    }
    if mode == Mode::Preempt && targets.is_empty() {
        let verdict = waits(&assignment);
        // What it can be sure to get back later, others may borrow meanwhile; the rest is kept free for it.
        if !snapshot.model.queues[queue.index()].can_always_reclaim() {
            let reserved = reservation(snapshot, queue, &assignment);
            snapshot.tree.add(queue, &reserved);
            snapshot.occupy(&leaves);
        }
        return verdict;
    }
    let ids: Vec<_> = targets.iter().map(|target| target.workload).collect();
    if ids.iter().any(|id| displaced.contains(id)) {
        return Verdict::Pending(None);
    }
    let gone: Vec<_> = displaced.iter().copied().chain(ids.iter().copied()).collect();
    let fits = snapshot.without(gone, |snapshot| {
        let available = |cell| snapshot.tree.available(queue.node(), cell).max(0);
        assignment.usage.iter().all(|(&cell, &amount)| amount <= available(cell))
            && snapshot.has_room(&leaves)
    });
    if !fits {
        return Verdict::Pending(None);
    }
    displaced.extend(ids);
    snapshot.tree.add(queue, &assignment.usage);
    snapshot.occupy(&leaves);
    if mode == Mode::Preempt { Verdict::Preempting(targets) } else { Verdict::Admitted(assignment) }
}

/// What is kept free for a workload that must wait for others to go: what its queue has itself, and what it may borrow if
/// it has to.
fn reservation(snapshot: &Snapshot<'_>, queue: QueueId, assignment: &Assignment) -> Amounts {
    let node = queue.node();
    let borrows = assignment.borrowing() > 0;
    let reserved = |(&cell, &amount): (&crate::ids::Cell, &i64)| {
        let quota = snapshot.tree.quota(node, cell);
        let usage = snapshot.tree.usage(node, cell);
        let amount = match (borrows, quota.borrowing_limit) {
            (true, None) => amount,
            (true, Some(limit)) => amount.min(quota.nominal.saturating_add(limit).saturating_sub(usage)),
            (false, _) => amount.min(quota.nominal.saturating_sub(usage)).max(0),
        };
        (cell, amount)
    };
    assignment.usage.iter().map(reserved).collect()
}
