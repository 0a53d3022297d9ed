//! Taking as few of some domains as will do.

use alloc::vec::Vec;
use core::cmp::Ordering;

use super::counts::Counts;

/// What a domain is given.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Piece {
    /// The domain.
    pub(super) domain: usize,
    /// Pods, the leader apart.
    pub(super) pods: i64,
    /// Whether the leader is among them.
    pub(super) has_leader: bool,
}

/// What room is measured in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Measure {
    /// Slices: at the level of slices and above.
    Slices,
    /// Pods: below it.
    Pods,
}

/// How domains are taken.
#[derive(Clone, Copy, Debug)]
pub(super) struct Taking<'a> {
    pub(super) counts: &'a [Counts],
    /// Domains with the least room first; otherwise those with the most, and as the last one the fullest.
    pub(super) least_free: bool,
    pub(super) measure: Measure,
    /// Pods per unit of room.
    pub(super) unit: i64,
}

impl Taking<'_> {
    /// What a domain has room for.
    pub(super) fn room(&self, domain: usize) -> i64 {
        let counts = &self.counts[domain];
        if self.measure == Measure::Slices { counts.slices } else { counts.pods }
    }

    /// What a domain has room for beside a leader.
    pub(super) fn room_with_leader(&self, domain: usize) -> i64 {
        let counts = &self.counts[domain];
        if self.measure == Measure::Slices { counts.slices_with_leader } else { counts.pods_with_leader }
    }

    fn direction(&self, a: i64, b: i64) -> Ordering {
        if self.least_free { a.cmp(&b) } else { b.cmp(&a) }
    }

    /// By preference, room, fewer odd pods, name. Below the level of slices there are none, so that those with the
    /// fewest pods come first.
    pub(super) fn sort(&self, domains: &mut [usize]) {
        domains.sort_by(|&a, &b| {
            let (left, right) = (&self.counts[a], &self.counts[b]);
            (right.affinity.cmp(&left.affinity))
                .then_with(|| self.direction(left.slices, right.slices))
                .then_with(|| left.pods.cmp(&right.pods))
                .then_with(|| a.cmp(&b))
        });
    }

    /// The same beside a leader, those with room for one first.
    pub(super) fn sort_for_leader(&self, domains: &mut [usize]) {
        domains.sort_by(|&a, &b| {
            let (left, right) = (&self.counts[a], &self.counts[b]);
            (right.takes_leader.cmp(&left.takes_leader))
                .then_with(|| right.affinity.cmp(&left.affinity))
                .then_with(|| self.direction(left.slices_with_leader, right.slices_with_leader))
                .then_with(|| left.pods_with_leader.cmp(&right.pods_with_leader))
                .then_with(|| a.cmp(&b))
        });
    }

    /// Of sorted domains the position of the one that all fit into, the fullest of those of equal preference, the first
    /// of equals. `None` if the first of them is too small.
    fn best_fit(&self, sorted: &[usize], wanted: i64, has_leader: bool) -> Option<usize> {
        let room = |domain| if has_leader { self.room_with_leader(domain) } else { self.room(domain) };
        let &first = sorted.first()?;
        let fits =
            |domain: usize| room(domain) >= wanted && (!has_leader || self.counts[domain].takes_leader);
        if !fits(first) {
            return None;
        }
        let alike = |&&domain: &&usize| self.counts[domain].affinity == self.counts[first].affinity;
        let candidates = sorted.iter().take_while(alike).enumerate().filter(|&(_, &domain)| fits(domain));
        candidates.min_by_key(|&(_, &domain)| room(domain)).map(|(position, _)| position)
    }

    /// The one domain for all, if there is one: by best fit one of those that come first, by least room the first that
    /// is large enough. Where others than those that come first will do, `looks_further`.
    pub(super) fn single(
        &self,
        domains: &[usize],
        wanted: i64,
        has_leader: bool,
        looks_further: bool,
    ) -> Option<usize> {
        let mut sorted = domains.to_vec();
        self.sort_for_leader(&mut sorted);
        let fits = |&domain: &usize| {
            self.room_with_leader(domain) >= wanted && (!has_leader || self.counts[domain].takes_leader)
        };
        if self.least_free {
            return sorted.into_iter().find(fits);
        }
        let from = if looks_further { sorted.iter().position(fits)? } else { 0 };
        self.best_fit(&sorted[from..], wanted, has_leader).map(|position| sorted[from + position])
    }

    /// As few domains as will do. `Err` says how many units fit.
    pub(super) fn take(&self, domains: &[usize], pods: i64, has_leader: bool) -> Result<Vec<Piece>, i64> {
        let wanted = pods / self.unit;
        let mut rest = domains.to_vec();
        let mut pieces = Vec::new();
        let mut left = wanted;
        if has_leader {
            self.sort_for_leader(&mut rest);
            let domain = rest.remove(self.leader_position(&rest, wanted)?);
            let units = self.room_with_leader(domain).min(left);
            left -= units;
            pieces.push(Piece { domain, pods: units * self.unit, has_leader });
        }
        rest.retain(|&domain| self.room(domain) > 0);
        self.sort(&mut rest);
        for position in 0..rest.len() {
            if left == 0 {
                break;
            }
            let best = if self.least_free { None } else { self.best_fit(&rest[position..], left, false) };
            let domain = rest[position + best.unwrap_or(0)];
            let units = self.room(domain).min(left);
            left -= units;
            pieces.push(Piece { domain, pods: units * self.unit, has_leader: false });
        }
        if left > 0 { Err(wanted - left) } else { Ok(pieces) }
    }

    /// Of domains sorted for a leader the position of the one that it goes to: the one that all fit into, else the first
    /// that leaves enough room for the workers.
    pub(super) fn leader_position(&self, sorted: &[usize], wanted: i64) -> Result<usize, i64> {
        if !self.least_free
            && let Some(position) = self.best_fit(sorted, wanted, true)
        {
            return Ok(position);
        }
        let room: i64 = sorted.iter().map(|&domain| self.room(domain)).sum();
        let beside = |domain: usize| room - self.room(domain) + self.room_with_leader(domain);
        let mut most = 0;
        for (position, &domain) in sorted.iter().enumerate() {
            if self.counts[domain].takes_leader {
                if beside(domain) >= wanted {
                    return Ok(position);
                }
                most = most.max(beside(domain));
            }
        }
        Err(most)
    }
}
