//! Which flavors a workload would use, and what it would take: quota that is free, or that others would have to give up.
//!
//! Per resource group the flavors are tried in order. Of a flavor the worst resource counts. The search stops at the first
//! flavor that is good enough for the queue's fungibility; else the best one seen is taken.

use alloc::collections::BTreeMap;
use alloc::vec;
use alloc::vec::Vec;
use core::cmp::Ordering;

use crate::ids::{Cell, FlavorId, QueueId, ResourceId, WorkloadId};
use crate::model::{Fungibility, PodSet, ResourceGroup, Search, Victims, Workload};
use crate::place::{self, Domains};
use crate::snapshot::Snapshot;
use crate::tree::Amounts;

/// What it takes to use a flavor, from worst to best.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Mode {
    /// More than there is even if nobody else used any.
    NoFit,
    /// Others would have to give up quota.
    Preempt,
    /// Nothing: the quota is free.
    Fit,
}

/// What preemption could do for a resource of a flavor.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Possibility {
    /// Nothing: there is nobody to displace.
    NoCandidates,
    /// Displacing workloads of the queue itself, at least.
    Preempt,
    /// Displacing only workloads of other queues.
    Reclaim,
}

/// Says what preemption could do.
pub trait Oracle {
    /// Whom an amount of a cell would displace, and how far up the tree of cohorts it would borrow after that.
    fn ask(
        &self,
        snapshot: &mut Snapshot<'_>,
        workload: WorkloadId,
        cell: Cell,
        amount: i64,
    ) -> (Possibility, u32);
}

/// What an assignment depends on beside quotas.
pub struct Context<'a> {
    /// Whether shares are kept fair; then queues that reclaim may also do so while they borrow.
    pub fair_sharing: bool,
    /// Says what preemption could do.
    pub oracle: &'a dyn Oracle,
}

/// The flavor of one resource of a pod set.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Choice {
    /// The flavor.
    pub flavor: FlavorId,
    /// What it takes.
    pub mode: Mode,
    /// How far up the tree of cohorts it borrows: 0 is not at all.
    pub borrowing: u32,
    /// The flavor in the order of its group from which to go on if this one comes to nothing; `None` if it was the last.
    pub next: Option<usize>,
}

/// The flavors of a pod set.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct PodSetChoice {
    /// How many pods.
    pub count: u32,
    /// The flavor of each resource.
    pub choices: BTreeMap<ResourceId, Choice>,
    /// What all its pods together request.
    pub requests: BTreeMap<ResourceId, i64>,
    /// Whether no flavor can be found for some resource, or no domain even in an empty topology.
    pub is_hopeless: bool,
    /// Where its pods go, if they are assigned by topology.
    pub domains: Option<Domains>,
}

impl PodSetChoice {
    /// What it takes: that of its worst resource.
    pub fn mode(&self) -> Mode {
        if self.is_hopeless {
            return Mode::NoFit;
        }
        self.choices.values().map(|choice| choice.mode).min().unwrap_or(Mode::Fit)
    }
}

/// The flavors of a workload. Of one that does not fit, the pod sets up to the first that has none.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Assignment {
    /// By pod set.
    pub pod_sets: Vec<PodSetChoice>,
    /// What it would use.
    pub usage: Amounts,
}

impl Assignment {
    /// What it takes: that of its worst pod set.
    pub fn mode(&self) -> Mode {
        self.pod_sets.iter().map(PodSetChoice::mode).min().unwrap_or(Mode::Fit)
    }

    /// How far up the tree of cohorts it borrows: 0 is not at all.
    pub fn borrowing(&self) -> u32 {
        self.choices().map(|(_, choice)| choice.borrowing).max().unwrap_or(0)
    }

    fn choices(&self) -> impl Iterator<Item = (ResourceId, &Choice)> {
        self.pod_sets.iter().flat_map(|set| set.choices.iter().map(|(&resource, choice)| (resource, choice)))
    }

    /// Says where pods go.
    pub(crate) fn set_domains(&mut self, domains: Vec<(usize, Domains)>) {
        for (index, domains) in domains {
            self.pod_sets[index].domains = Some(domains);
        }
    }

    /// The cells of which others would have to give up quota.
    pub fn contested(&self, snapshot: &Snapshot<'_>) -> Vec<Cell> {
        let contested = self.choices().filter(|(_, choice)| choice.mode == Mode::Preempt);
        let mut cells: Vec<_> =
            contested.map(|(resource, choice)| snapshot.tree.cell(choice.flavor, resource)).collect();
        cells.sort_unstable();
        cells.dedup();
        cells
    }

    /// Whether the search stopped before the last flavor, so that another attempt may find more.
    pub fn has_untried_flavors(&self) -> bool {
        self.choices().any(|(_, choice)| choice.next.is_some())
    }

    /// Where another attempt goes on, per pod set and resource.
    pub fn cursor(&self) -> Cursor {
        let of_set = |set: &PodSetChoice| {
            let next = set.choices.iter().map(|(&resource, choice)| (resource, choice.next.unwrap_or(0)));
            next.collect()
        };
        self.pod_sets.iter().map(of_set).collect()
    }
}

/// Where the search for flavors goes on, per pod set and resource.
pub type Cursor = Vec<BTreeMap<ResourceId, usize>>;

/// What a flavor takes, and how far it borrows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Grade {
    rank: Rank,
    borrowing: u32,
}

/// [`Mode`] with the degrees of preemption told apart.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Rank {
    NoFit,
    NoCandidates,
    Preempt,
    Reclaim,
    Fit,
}

impl Rank {
    const fn mode(self) -> Mode {
        match self {
            Self::NoFit => Mode::NoFit,
            Self::NoCandidates | Self::Preempt | Self::Reclaim => Mode::Preempt,
            Self::Fit => Mode::Fit,
        }
    }
}

impl Grade {
    const BEST: Self = Self { rank: Rank::Fit, borrowing: 0 };
    const WORST: Self = Self { rank: Rank::NoFit, borrowing: u32::MAX };

    fn is_better(self, other: Self, fungibility: Fungibility) -> bool {
        if self.rank == Rank::NoFit || other.rank == Rank::NoFit {
            return self.rank != Rank::NoFit;
        }
        let rank = self.rank.cmp(&other.rank);
        let borrowing = other.borrowing.cmp(&self.borrowing);
        let order = if fungibility.prefers_preemption { borrowing.then(rank) } else { rank.then(borrowing) };
        order == Ordering::Greater
    }

    /// Whether the search may stop here.
    fn suffices(self, fungibility: Fungibility) -> bool {
        let may_borrow = self.borrowing == 0 || fungibility.when_can_borrow == Search::MayStop;
        match self.rank {
            Rank::Fit => may_borrow,
            Rank::Preempt | Rank::Reclaim => may_borrow && fungibility.when_can_preempt == Search::MayStop,
            Rank::NoCandidates | Rank::NoFit => false,
        }
    }
}

/// Finds flavors for a workload, with other numbers of pods if they are given.
pub fn assign(
    snapshot: &mut Snapshot<'_>,
    id: WorkloadId,
    counts: Option<&[u32]>,
    cursor: Option<&Cursor>,
    context: &Context<'_>,
) -> Assignment {
    let workload = snapshot.workload(id);
    let Some(queue) = workload.queue else { return Assignment::default() };
    let mut assignment = Assignment::default();
    for (index, set) in workload.pod_sets.iter().enumerate() {
        let count = counts.map_or(set.count, |counts| counts[index]);
        let requests = requests(snapshot, queue, set, count);
        assignment.pod_sets.push(PodSetChoice { count, requests, ..PodSetChoice::default() });
    }
    let mut is_done = vec![false; workload.pod_sets.len()];
    for (first, set) in workload.pod_sets.iter().enumerate() {
        if is_done[first] {
            continue;
        }
        let group = &set.topology.group;
        let is_member = |&(index, other): &(usize, &PodSet)| {
            index == first || (index > first && group.is_some() && other.topology.group == *group)
        };
        let members: Vec<_> =
            workload.pod_sets.iter().enumerate().filter(is_member).map(|(index, _)| index).collect();
        let mut total = BTreeMap::new();
        for &index in &members {
            is_done[index] = true;
            for (&resource, &amount) in &assignment.pod_sets[index].requests {
                *total.entry(resource).or_insert(0) += amount;
            }
        }
        let used = &assignment.usage;
        let found =
            FlavorSearch { snapshot, queue, id, context, used, members: &members, cursor }.flavors(&total);
        let Some(found) = found else {
            for index in members {
                assignment.pod_sets[index].is_hopeless = true;
            }
            break;
        };
        for index in members {
            let set = &mut assignment.pod_sets[index];
            for (&resource, &amount) in &set.requests {
                let Some(&choice) = found.get(&resource) else { continue };
                set.choices.insert(resource, choice);
                *assignment.usage.entry(snapshot.tree.cell(choice.flavor, resource)).or_default() += amount;
            }
        }
    }
    place_pods(snapshot, workload, &mut assignment);
    assignment
}

/// Finds domains for the pod sets that are assigned by topology. Those that find none now need others to go, and those
/// that would find none even then do not fit.
fn place_pods(snapshot: &Snapshot<'_>, workload: &Workload, assignment: &mut Assignment) {
    if assignment.mode() == Mode::Fit {
        match place::find(snapshot, workload, assignment, false) {
            Ok(domains) => assignment.set_domains(domains),
            Err(sets) => {
                for index in sets {
                    for choice in assignment.pod_sets[index].choices.values_mut() {
                        choice.mode = Mode::Preempt;
                    }
                }
            }
        }
    }
    if assignment.mode() == Mode::Preempt
        && let Err(sets) = place::find(snapshot, workload, assignment, true)
    {
        for index in sets {
            assignment.pod_sets[index].is_hopeless = true;
        }
    }
}

/// What some pods of a set request together. Each is one pod too, where the queue has a quota of pods.
fn requests(snapshot: &Snapshot<'_>, queue: QueueId, set: &PodSet, count: u32) -> BTreeMap<ResourceId, i64> {
    let count = i64::from(count);
    let mut requests: BTreeMap<_, _> = set
        .shape
        .requests
        .iter()
        .map(|&(resource, amount)| (resource, amount.saturating_mul(count)))
        .collect();
    let pods = snapshot.model.pods;
    if let Some(pods) = pods.filter(|&pods| snapshot.model.queues[queue.index()].group_of(pods).is_some()) {
        requests.insert(pods, count);
    }
    requests
}

/// The search for flavors of pod sets that get the same ones.
struct FlavorSearch<'a, 'b> {
    snapshot: &'a mut Snapshot<'b>,
    queue: QueueId,
    id: WorkloadId,
    context: &'a Context<'a>,
    /// What pod sets before these would use.
    used: &'a Amounts,
    members: &'a [usize],
    cursor: Option<&'a Cursor>,
}

impl FlavorSearch<'_, '_> {
    /// The flavor of every resource; `None` if there is none for some.
    fn flavors(&mut self, requests: &BTreeMap<ResourceId, i64>) -> Option<BTreeMap<ResourceId, Choice>> {
        let mut found: BTreeMap<ResourceId, Choice> = BTreeMap::new();
        for (&resource, &amount) in requests {
            if found.contains_key(&resource) {
                continue;
            }
            let Some(group) = self.snapshot.model.queues[self.queue.index()].group_of(resource) else {
                // What is not asked for needs no quota.
                if amount == 0 {
                    continue;
                }
                return None;
            };
            let covered: BTreeMap<_, _> =
                requests.iter().filter(|(other, _)| group.resources.contains(other)).collect();
            let choices = self.of_group(group, resource, &covered);
            if choices.is_empty() {
                return None;
            }
            found.extend(choices);
        }
        Some(found)
    }

    /// The best flavor of a group for resources that it covers; none if none fits.
    fn of_group(
        &mut self,
        group: &ResourceGroup,
        resource: ResourceId,
        requests: &BTreeMap<&ResourceId, &i64>,
    ) -> BTreeMap<ResourceId, Choice> {
        let snapshot = &*self.snapshot;
        let (model, workload) = (snapshot.model, snapshot.workload(self.id));
        let fungibility = model.queues[self.queue.index()].fungibility;
        let sets = self.members.iter().map(|&index| &workload.pod_sets[index]);
        let start = self.cursor.and_then(|cursor| cursor.get(self.members[0])?.get(&resource).copied());
        let mut best = (Grade::WORST, BTreeMap::new());
        let mut next = None;
        for (position, &flavor) in group.flavors.iter().enumerate().skip(start.unwrap_or(0)) {
            next = Some(position + 1).filter(|&next| next < group.flavors.len());
            if !sets.clone().all(|set| model.admits(self.queue, flavor, set)) {
                continue;
            }
            let mut worst = Grade::BEST;
            let mut choices = BTreeMap::new();
            for (&&resource, &&amount) in requests {
                let cell = self.snapshot.tree.cell(flavor, resource);
                let grade = self.grade(cell, amount);
                if worst.is_better(grade, fungibility) {
                    worst = grade;
                }
                if worst.rank == Rank::NoFit {
                    break;
                }
                let Grade { rank, borrowing } = grade;
                choices.insert(resource, Choice { flavor, mode: rank.mode(), borrowing, next: None });
            }
            let suffices = worst.suffices(fungibility);
            if suffices || worst.is_better(best.0, fungibility) {
                best = (worst, choices);
            }
            if suffices {
                break;
            }
        }
        let (_, mut choices) = best;
        for choice in choices.values_mut() {
            choice.next = next;
        }
        choices
    }

    /// What an amount of a cell takes.
    fn grade(&mut self, cell: Cell, amount: i64) -> Grade {
        let tree = &self.snapshot.tree;
        let node = self.queue.node();
        let amount = amount.saturating_add(self.used.get(&cell).copied().unwrap_or(0));
        if amount > tree.potentially_available(node, cell) {
            return Grade { rank: Rank::NoFit, borrowing: 0 };
        }
        let (borrowing, may_reclaim) = tree.height_of_fit(self.queue, cell, amount);
        if amount <= tree.available(node, cell).max(0) {
            return Grade { rank: Rank::Fit, borrowing };
        }
        let nominal = tree.quota(node, cell).nominal;
        if amount > nominal && !may_reclaim && !self.may_preempt_while_borrowing() {
            return Grade { rank: Rank::NoFit, borrowing };
        }
        let (possibility, borrowing) = self.context.oracle.ask(self.snapshot, self.id, cell, amount);
        let rank = match possibility {
            Possibility::NoCandidates => Rank::NoCandidates,
            Possibility::Preempt => Rank::Preempt,
            Possibility::Reclaim => Rank::Reclaim,
        };
        Grade { rank, borrowing }
    }

    fn may_preempt_while_borrowing(&self) -> bool {
        let preemption = &self.snapshot.model.queues[self.queue.index()].preemption;
        preemption.while_borrowing.is_some()
            || (self.context.fair_sharing && preemption.reclaim != Victims::Never)
    }
}
