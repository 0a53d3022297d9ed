//! Preemption within a queue, consolidation, and the end of gangs that have lost their minimum.

use alloc::collections::BTreeSet;
use alloc::vec;
use alloc::vec::Vec;

use foretell_framework::{EvictionReason, Time};

use crate::cycle::Cycle;
use crate::solve::{Fate, InVain, Rule, Search};
use crate::turns::Candidates;

impl Cycle<'_> {
    /// Lets jobs stop others of lower priority in their own queue.
    pub(crate) fn preempt(&mut self) {
        let below = |cycle: &Self, job: usize| {
            let entry = &cycle.model.jobs[job];
            Candidates::Below(entry.queue, entry.priority)
        };
        let must_move = vec![false; self.model.queues.len()];
        let mut in_vain = InVain::default();
        let mut turns = self.turns(false, |cycle, _, job| below(cycle, job).are_any(&cycle.model));
        while let Some(job) = turns.pop(&self.model, |job| {
            in_vain.covers(&self.model, job) || !below(self, job).are_any(&self.model)
        }) {
            let search = Search {
                job,
                candidates: below(self, job),
                is_protected: |cycle, _, victim| !cycle.may_be_preempted(victim),
                max_victims: usize::MAX,
                held_before: &[],
                must_move: &must_move,
            };
            self.make_room(&search, EvictionReason::Preempted, |_, _, _| true, &mut in_vain);
        }
    }

    /// Moves tasks of any queue so that a job finds room, if all of them find other places.
    pub(crate) fn consolidate(&mut self) {
        // What cannot be taken back must not bring unrest to others.
        let must_move = vec![true; self.model.queues.len()];
        let may_move = |cycle: &Self, job: usize| cycle.model.jobs[job].is_preemptible;
        let mut in_vain = InVain::default();
        let mut turns =
            self.turns(false, |cycle, lane, job| may_move(cycle, job) && cycle.model.has_spare(&lane.asked));
        while let Some(job) = turns.pop(&self.model, |job| {
            !may_move(self, job)
                || in_vain.covers(&self.model, job)
                || !self.model.has_spare(&self.model.asked(job))
        }) {
            let search = Search {
                job,
                candidates: Candidates::Others(job),
                is_protected: |_, _, _| false,
                max_victims: self.config.max_consolidation_victims,
                held_before: &[],
                must_move: &must_move,
            };
            let all_moved = |_: &Cycle<'_>, _: &Search<'_>, fate: &Fate| fate.stopped.is_empty();
            self.make_room(&search, EvictionReason::Consolidated, all_moved, &mut in_vain);
        }
    }

    fn make_room(&mut self, search: &Search<'_>, reason: EvictionReason, rule: Rule, in_vain: &mut InVain) {
        if self.solve(search, rule) {
            self.decide(Some((reason, Some(search.job))));
        } else {
            in_vain.add(&mut self.model, search.job);
        }
    }

    /// Stops what is left of gangs that have run without their minimum for too long.
    pub(crate) fn evict_stale_gangs(&mut self) {
        let Some(grace) = self.config.staleness_grace else { return };
        // Those that were stale, and those that may have become so in this cycle.
        let jobs: BTreeSet<usize> = self.model.stale.union(&self.model.decided).copied().collect();
        for job in jobs {
            let entry = &self.model.jobs[job];
            let active: Vec<usize> = entry
                .tasks
                .iter()
                .copied()
                .filter(|&task| self.model.tasks[task].place.status.is_active())
                .collect();
            // One that is found without its minimum now has been so since now, as far as is known.
            let since = entry.stale_since.unwrap_or(self.model.now);
            if !self.model.is_stale(job) || self.model.now.since(since) < grace {
                continue;
            }
            for task in active {
                self.model.evict(task);
            }
            self.decide(Some((EvictionReason::GangTimedOut, None)));
        }
    }

    // ---- Protection of young jobs

    /// Whether a job has run long enough for its own queue: the nearest ancestor that says how long counts.
    fn may_be_preempted(&self, job: usize) -> bool {
        let mut lineage = self.model.lineage(self.model.jobs[job].queue);
        let least = lineage.find_map(|queue| self.model.queues[queue].preempt_min_runtime);
        self.is_old_enough(job, least)
    }

    /// Whether a job has run long enough for a queue that reclaims: the highest ancestor that they do not share, or the
    /// nearest above it, says how long.
    pub(crate) fn may_be_reclaimed(&self, job: usize, claimant: usize) -> bool {
        let own: Vec<usize> = self.model.lineage(self.model.jobs[job].queue).collect();
        let shared: Vec<usize> = self.model.lineage(claimant).collect();
        let first_own = own.iter().rposition(|queue| !shared.contains(queue)).unwrap_or(0);
        let least = own[first_own..].iter().find_map(|&queue| self.model.queues[queue].reclaim_min_runtime);
        self.is_old_enough(job, least)
    }

    fn is_old_enough(&self, job: usize, least: Option<Time>) -> bool {
        let started = self.model.jobs[job].last_start;
        least.zip(started).is_none_or(|(least, started)| self.model.now.since(started) >= least)
    }
}
