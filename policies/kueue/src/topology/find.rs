//! The way from requests to domains.

use alloc::vec::Vec;

use super::balanced;
use super::counts::{Counts, count};
use super::failure::{Excluded, Failure, FailureReason, Unit};
use super::plan::{Plan, Strictness, workers_and_leader};
use super::request::{PodSetRequest, TopologyGates};
use super::snapshot::{LeafId, TopologySnapshot};
use super::take::{Measure, Piece, Taking};

/// How to assign.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct AssignOptions {
    /// Feature gates.
    pub gates: TopologyGates,
    /// As if no workload were admitted.
    pub assumes_empty: bool,
}

/// Where the pods of a set go.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub struct PodSetAssignment {
    /// Leaves and how many pods go to each, in order of the leaves' values.
    pub domains: Vec<(LeafId, u32)>,
}

/// Domains for all pod sets of a workload, one assignment for each of them; or why there are none, of the first sets for
/// which there are none.
pub fn assign(
    snapshot: &TopologySnapshot,
    pod_sets: &[PodSetRequest<'_>],
    options: AssignOptions,
) -> Result<Vec<PodSetAssignment>, Failure> {
    let mut remaining = snapshot.remaining(options.assumes_empty);
    let mut assignments = alloc::vec![PodSetAssignment::default(); pod_sets.len()];
    for members in groups(pod_sets) {
        let group: Vec<PodSetRequest<'_>> = members.iter().map(|&index| pod_sets[index]).collect();
        let pieces = Plan::new(snapshot, &group, options.gates).and_then(|plan| {
            let (counts, excluded) = count(snapshot, &plan, &remaining);
            Finder { snapshot, plan: &plan, counts, excluded }.find(options.gates)
        });
        let mut pieces = pieces.map_err(|reason| Failure { pod_sets: members.clone(), reason })?;
        pieces.sort_by_key(|piece| piece.domain);
        let Some((workers, leader)) = workers_and_leader(&group) else { continue };
        for piece in pieces {
            let leaf = LeafId::new(piece.domain - snapshot.first_leaf());
            let leader = leader.filter(|_| piece.has_leader).map(|leader| (leader, 1));
            let workers = (piece.pods > 0).then_some((workers, piece.pods as u32));
            for (position, pods) in leader.into_iter().chain(workers) {
                remaining.take(leaf, group[position].shape, pods);
                assignments[members[position]].domains.push((leaf, pods));
            }
        }
    }
    Ok(assignments)
}

/// Positions of the pod sets of each group, in order of its first; a set without a group is one of its own.
fn groups(pod_sets: &[PodSetRequest<'_>]) -> Vec<Vec<usize>> {
    let mut groups: Vec<Vec<usize>> = Vec::new();
    for (index, pod_set) in pod_sets.iter().enumerate() {
        let name = &pod_set.topology.group;
        let known =
            groups.iter_mut().find(|group| name.is_some() && pod_sets[group[0]].topology.group == *name);
        match known {
            Some(group) => group.push(index),
            None => groups.push(alloc::vec![index]),
        }
    }
    groups
}

struct Finder<'a> {
    snapshot: &'a TopologySnapshot,
    plan: &'a Plan<'a>,
    counts: Vec<Counts>,
    excluded: Excluded,
}

impl Finder<'_> {
    /// What each leaf is given.
    fn find(self, gates: TopologyGates) -> Result<Vec<Piece>, FailureReason> {
        let plan = self.plan;
        if gates.balanced_placement
            && plan.strictness == Strictness::Preferred
            && let Some((level, pieces)) = balanced::place(self.snapshot, plan, &self.counts)
            && let Ok(pieces) = self.descend_by_parent(level, pieces)
        {
            return Ok(pieces);
        }
        let (level, pieces) = self.level_that_fits()?;
        let (level, pieces) = self.descend_freely(level, pieces).map_err(|fits| self.no_room(fits))?;
        self.descend_by_parent(level, pieces).map_err(|fits| self.no_room(fits))
    }

    /// The domains to start from, and their level.
    fn level_that_fits(&self) -> Result<(usize, Vec<Piece>), FailureReason> {
        let plan = self.plan;
        let taking = self.taking(Measure::Slices);
        let is_required = plan.strictness == Strictness::Required;
        let mut level = plan.level;
        loop {
            let domains: Vec<usize> = self.snapshot.range(level).collect();
            if domains.is_empty() {
                let label = self.snapshot.levels().get(level);
                return Err(FailureReason::NoDomains(label.cloned().unwrap_or_default()));
            }
            let single = taking.single(&domains, plan.slices(), plan.has_leader(), is_required);
            if let Some(domain) = single {
                let piece = Piece { domain, pods: plan.pods, has_leader: plan.has_leader() };
                return Ok((level, alloc::vec![piece]));
            }
            if is_required {
                let can_lead = domains.iter().any(|&domain| self.counts[domain].takes_leader);
                let able = domains.iter().filter(|&&domain| self.counts[domain].takes_leader == can_lead);
                let most = able.map(|&domain| taking.room_with_leader(domain)).max();
                return Err(self.no_room(most.unwrap_or(0)));
            }
            if level == 0 || plan.strictness == Strictness::Unconstrained {
                let pieces = taking.take(&domains, plan.pods, plan.has_leader());
                return pieces.map(|pieces| (level, pieces)).map_err(|fits| self.no_room(fits));
            }
            level -= 1;
        }
    }

    /// Down to the level of slices: which of the domains within those chosen get how many is decided anew at each level.
    fn descend_freely(&self, mut level: usize, mut pieces: Vec<Piece>) -> Result<(usize, Vec<Piece>), i64> {
        let taking = self.taking(Measure::Slices);
        while level < self.plan.slice_level {
            let children: Vec<usize> =
                pieces.iter().flat_map(|piece| self.snapshot.children(piece.domain)).collect();
            pieces = taking.take(&children, self.plan.pods, self.plan.has_leader())?;
            level += 1;
        }
        Ok((level, pieces))
    }

    /// Down to the leaves: each domain divides what it was given.
    fn descend_by_parent(&self, mut level: usize, mut pieces: Vec<Piece>) -> Result<Vec<Piece>, i64> {
        while level + 1 < self.snapshot.levels().len() {
            let measure = if level < self.plan.slice_level { Measure::Slices } else { Measure::Pods };
            let taking = self.taking(measure);
            let mut lower = Vec::new();
            for piece in &pieces {
                let children: Vec<usize> = self.snapshot.children(piece.domain).collect();
                lower.extend(taking.take(&children, piece.pods, piece.has_leader)?);
            }
            pieces = lower;
            level += 1;
        }
        Ok(pieces)
    }

    fn taking(&self, measure: Measure) -> Taking<'_> {
        let unit = if measure == Measure::Slices { self.plan.slice_size } else { 1 };
        Taking { counts: &self.counts, least_free: self.plan.least_free, measure, unit }
    }

    fn no_room(&self, fits: i64) -> FailureReason {
        let unit = if self.plan.slice_size > 1 { Unit::Slice } else { Unit::Pod };
        let (fits, of) = (fits as u32, self.plan.slices() as u32);
        FailureReason::NoRoom { fits, of, unit, excluded: self.excluded.clone() }
    }
}
