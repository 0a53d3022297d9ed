//! Balanced placement: of a preferred level the fewest domains, and among what is below them as even a spread as room
//! allows.
//!
//! Siblings of the requested level are looked at together. What is balanced are their children, or they themselves
//! where slices are of the requested level. The *threshold* is how many slices every domain that is used gets at least:
//! domains with less room are pruned, the fewest siblings that still have room for all are chosen, and slices beyond the
//! threshold fill domains in order.

use alloc::vec::Vec;

use super::counts::{Counts, sum_of_children};
use super::optimal::fewest;
use super::plan::Plan;
use super::snapshot::TopologySnapshot;
use super::take::{Measure, Piece, Taking};

/// The level of the domains that are balanced, and what each is given; `None` if it cannot be done so.
pub(super) fn place(
    snapshot: &TopologySnapshot,
    plan: &Plan<'_>,
    counts: &[Counts],
) -> Option<(usize, Vec<Piece>)> {
    let mut pruned = counts.to_vec();
    let best = best_siblings(snapshot, plan, counts, &mut pruned)?;
    let (level, candidates) = if plan.level < plan.slice_level {
        let spread = |domain: usize| entropy(&pruned[snapshot.children(domain)]);
        let chosen = fewest(taking(plan, &pruned), plan, &best.siblings, spread)?;
        let below = chosen.into_iter().flat_map(|domain| snapshot.children(domain));
        (plan.level + 1, below.collect())
    } else {
        (plan.level, best.siblings)
    };
    spread(plan, &pruned, &candidates, best.threshold).map(|pieces| (level, pieces))
}

struct Siblings {
    siblings: Vec<usize>,
    threshold: i64,
}

/// The siblings that allow the highest threshold, of several those of which the fewest are needed. `pruned` is then
/// counts without what is below their threshold.
fn best_siblings(
    snapshot: &TopologySnapshot,
    plan: &Plan<'_>,
    counts: &[Counts],
    pruned: &mut [Counts],
) -> Option<Siblings> {
    let mut best: Option<(usize, Siblings)> = None;
    let families: Vec<Vec<usize>> = match plan.level.checked_sub(1) {
        None => alloc::vec![snapshot.range(0).collect()],
        Some(above) => snapshot.range(above).map(|domain| snapshot.children(domain).collect()).collect(),
    };
    for siblings in families {
        let balances_children = plan.level < plan.slice_level;
        let targets: Vec<usize> = if balances_children {
            siblings.iter().flat_map(|&domain| snapshot.children(domain)).collect()
        } else {
            siblings.clone()
        };
        let Some(greedy) = greedy(taking(plan, counts), plan, &targets) else { continue };
        let threshold = greedy.threshold(plan);
        if threshold == 0 || best.as_ref().is_some_and(|(_, best)| threshold < best.threshold) {
            continue;
        }
        for &target in &targets {
            prune(&mut pruned[target], threshold);
        }
        if balances_children {
            for &domain in &siblings {
                pruned[domain] = sum_of_children(snapshot, plan, plan.level, domain, pruned);
            }
        }
        let Some(left) = self::greedy(taking(plan, pruned), plan, &siblings) else { continue };
        let is_better =
            best.as_ref().is_none_or(|(domains, best)| threshold > best.threshold || left.domains < *domains);
        if is_better {
            best = Some((left.domains, Siblings { siblings, threshold }));
        }
    }
    best.map(|(_, siblings)| siblings)
}

/// What the fewest domains are if the largest are taken first.
pub(super) struct Greedy {
    /// How many domains.
    pub(super) domains: usize,
    /// The least room of those used, beside a leader if it is there.
    smallest: i64,
}

impl Greedy {
    /// What each domain can be given at least if as many share slices evenly.
    fn threshold(&self, plan: &Plan<'_>) -> i64 {
        let share = plan.slices().checked_div(self.domains as i64).unwrap_or(0);
        share.min(self.smallest)
    }
}

/// Takes the largest domains first, that of the leader before all. `None` if all together have too little room.
pub(super) fn greedy(taking: Taking<'_>, plan: &Plan<'_>, domains: &[usize]) -> Option<Greedy> {
    let mut rest = domains.to_vec();
    let mut left = plan.slices();
    let mut found = Greedy { domains: 0, smallest: i64::MAX };
    let mut take = |room: i64, left: &mut i64| {
        *left -= room;
        found.domains += 1;
        found.smallest = found.smallest.min(room);
    };
    if plan.has_leader() {
        taking.sort_for_leader(&mut rest);
        let position = leader_position(taking, &rest, left)?;
        take(taking.room_with_leader(rest.remove(position)), &mut left);
    }
    taking.sort(&mut rest);
    for domain in rest {
        if left <= 0 {
            break;
        }
        // Preferred affinity may put domains without room first.
        if taking.room(domain) > 0 {
            take(taking.room(domain), &mut left);
        }
    }
    (left <= 0).then_some(found)
}

/// The first domain for the leader that leaves enough room for the workers.
fn leader_position(taking: Taking<'_>, sorted: &[usize], slices: i64) -> Option<usize> {
    let room: i64 = sorted.iter().map(|&domain| taking.room(domain)).sum();
    let leaves_enough =
        |domain: usize| room - taking.room(domain) + taking.room_with_leader(domain) >= slices;
    sorted.iter().position(|&domain| taking.counts[domain].takes_leader && leaves_enough(domain))
}

/// Leaves nothing of a domain with less room than the threshold, and no leader to one that has less beside it.
fn prune(counts: &mut Counts, threshold: i64) {
    if counts.slices < threshold {
        *counts = Counts { affinity: counts.affinity, ..Counts::default() };
    } else if counts.slices_with_leader < threshold {
        counts.takes_leader = false;
        counts.slices_with_leader = counts.slices;
        counts.pods_with_leader = counts.pods;
    }
}

/// Gives each of the fewest domains its threshold, and the rest in order.
fn spread(plan: &Plan<'_>, counts: &[Counts], candidates: &[usize], threshold: i64) -> Option<Vec<Piece>> {
    let taking = taking(plan, counts);
    let mut domains = fewest(taking, plan, candidates, |_| 0.0)?;
    let mut extra = plan.slices() - domains.len() as i64 * threshold;
    if extra < 0 {
        return None;
    }
    let mut pieces = Vec::new();
    let mut give = |domain: usize, room: i64, has_leader: bool| {
        let beyond = (room - threshold).clamp(0, extra);
        extra -= beyond;
        pieces.push(Piece { domain, pods: (threshold + beyond) * plan.slice_size, has_leader });
    };
    if plan.has_leader() {
        taking.sort_for_leader(&mut domains);
        let leader = domains.remove(leader_position(taking, &domains, plan.slices())?);
        give(leader, taking.room_with_leader(leader), true);
    }
    taking.sort(&mut domains);
    for domain in domains {
        give(domain, taking.room(domain), false);
    }
    (extra == 0).then_some(pieces)
}

const fn taking<'a>(plan: &Plan<'_>, counts: &'a [Counts]) -> Taking<'a> {
    Taking { counts, least_free: false, measure: Measure::Slices, unit: plan.slice_size }
}

/// How evenly room is spread over domains, in bits.
fn entropy(counts: &[Counts]) -> f64 {
    let total: i64 = counts.iter().map(|counts| counts.slices).sum();
    let shares = counts.iter().map(|counts| counts.slices as f64 / total as f64);
    shares.filter(|&share| share > 0.0).map(|share| -share * libm::log2(share)).sum()
}
