//! Taking back what other queues hold beyond their share.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use foretell_framework::EvictionReason;

use crate::cycle::Cycle;
use crate::model::{Amounts, add, subtract};
use crate::solve::{Fate, InVain, Search};
use crate::turns::Candidates;

impl Cycle<'_> {
    /// Lets jobs of queues that are below their share take from others.
    pub(crate) fn reclaim(&mut self) {
        let mut in_vain = InVain::default();
        // What others give up may let a queue claim in its turn.
        let mut turns = self.turns(true, |cycle, lane, job| cycle.can_reclaim(job, &lane.asked));
        while let Some(job) = turns.pop(&self.model, |job| {
            in_vain.covers(&self.model, job) || !self.can_reclaim(job, &self.model.asked(job))
        }) {
            let queue = self.model.jobs[job].queue;
            let held_before: Vec<Amounts> = self.model.queues.iter().map(|queue| queue.allocated).collect();
            let must_move: Vec<bool> = (0..self.model.queues.len())
                .map(|other| {
                    let (taker, giver) = self.where_paths_part(queue, other);
                    // The less is asked for and the more is left, the more may be taken.
                    !may_take(self, &[0; 3], taker, giver, &held_before[giver], &held_before)
                })
                .collect();
            let search = Search {
                job,
                must_move: &must_move,
                candidates: Candidates::OutOf(queue),
                is_protected: |cycle, search, victim| {
                    !cycle.may_be_reclaimed(victim, cycle.model.jobs[search.job].queue)
                },
                max_victims: usize::MAX,
                held_before: &held_before,
            };
            if self.solve(&search, reclaim_is_fair) {
                self.decide(Some((EvictionReason::Reclaimed, Some(job))));
            } else {
                in_vain.add(&mut self.model, job);
            }
        }
    }

    /// Whether a job stays within the fair share of its queue, and what cannot be taken back within what it and those that
    /// contain it deserve. Whether these stay within their share depends on who gives.
    fn can_reclaim(&self, job: usize, asked: &Amounts) -> bool {
        let is_preemptible = self.model.jobs[job].is_preemptible;
        let own = self.model.jobs[job].queue;
        self.model.lineage(own).all(|index| {
            let queue = &self.model.queues[index];
            (0..3).filter(|&resource| asked[resource] > 0).all(|resource| {
                let held = queue.allocated[resource] + asked[resource];
                let for_good = queue.allocated_for_good[resource] + asked[resource];
                (index != own || held <= queue.fair_share[resource])
                    && (is_preemptible
                        || queue.deserved[resource].is_none_or(|deserved| for_good <= deserved))
            })
        })
    }

    /// The ancestors of two queues, or they themselves, where their paths from the root part.
    fn where_paths_part(&self, left: usize, right: usize) -> (usize, usize) {
        let line = |queue| self.model.lineage(queue).collect::<Vec<usize>>();
        let (left_line, right_line) = (line(left), line(right));
        let pairs = left_line.iter().rev().zip(right_line.iter().rev());
        let mut parted = pairs.skip_while(|(left, right)| left == right);
        parted.next().map_or((left, right), |(&left, &right)| (left, right))
    }

    /// What each victim gives up, piece by piece: what is above its minimum one by one, then its minimum as a whole.
    fn pieces(&self, victims: &[usize]) -> BTreeMap<usize, Vec<Amounts>> {
        let mut jobs: Vec<(usize, Vec<usize>)> = Vec::new();
        for &victim in victims {
            let job = self.model.tasks[victim].job;
            match jobs.iter_mut().find(|(known, _)| *known == job) {
                Some((_, tasks)) => tasks.push(victim),
                None => jobs.push((job, [victim].into_iter().collect())),
            }
        }
        let mut pieces: BTreeMap<usize, Vec<Amounts>> = BTreeMap::new();
        for (job, tasks) in jobs {
            let entry = &self.model.jobs[job];
            let mut core = Vec::new();
            let of_queue = pieces.entry(entry.queue).or_default();
            for (position, set) in entry.pod_sets.iter().enumerate() {
                let own = tasks.iter().filter(|&&task| self.model.tasks[task].pod_set == position);
                for (index, &task) in own.enumerate() {
                    if index < set.min_member {
                        core.push(task);
                    } else {
                        of_queue.push(self.model.tasks[task].amounts);
                    }
                }
            }
            if !core.is_empty() {
                of_queue.push(self.model.sum(&core));
            }
        }
        pieces
    }
}

/// Whether what is taken from each queue may be taken, and who takes it stays no fuller than those who give.
pub(crate) fn reclaim_is_fair(cycle: &Cycle<'_>, search: &Search<'_>, fate: &Fate) -> bool {
    let model = &cycle.model;
    let claimant = model.jobs[search.job].queue;
    let placed = |&task: &usize| model.tasks[task].place != model.tasks[task].decided;
    let tasks: Vec<usize> = model.jobs[search.job].tasks.iter().copied().filter(placed).collect();
    let asked = model.sum(&tasks);
    let mut remaining: BTreeMap<usize, Amounts> = BTreeMap::new();
    let mut involved = asked.map(|amount| amount > 0);
    let victims: Vec<usize> = if cycle.config.allows_consolidating_reclaim {
        fate.stopped.clone()
    } else {
        fate.stopped.iter().chain(&fate.moved).copied().collect()
    };
    for (queue, pieces) in cycle.pieces(&victims) {
        let (taker, giver) = cycle.where_paths_part(claimant, queue);
        for piece in pieces {
            let left = *remaining.entry(giver).or_insert(search.held_before[giver]);
            if !may_take(cycle, &asked, taker, giver, &left, search.held_before) {
                return false;
            }
            for (resource, amount) in piece.iter().enumerate() {
                involved[resource] |= *amount > 0;
            }
            for queue in model.lineage(queue) {
                let left = remaining.entry(queue).or_insert(search.held_before[queue]);
                subtract(left, &piece);
            }
        }
    }
    stays_within_bounds(cycle, claimant, &asked, &remaining, involved, search)
}

/// Whether a queue may take from another that has `left` so far: from what is above its share, or, as long as the taker
/// stays within what it deserves, from what is above what the giver deserves.
fn may_take(
    cycle: &Cycle<'_>,
    asked: &Amounts,
    taker: usize,
    giver: usize,
    left: &Amounts,
    held_before: &[Amounts],
) -> bool {
    let (taking, giving) = (&cycle.model.queues[taker], &cycle.model.queues[giver]);
    let exceeds = |bound: Option<i64>, amount: i64| bound.is_some_and(|bound| amount > bound);
    let above_share = (0..3).any(|resource| exceeds(giving.allocatable_share(resource), left[resource]));
    let within_deserved = (0..3)
        .all(|resource| !exceeds(taking.deserved[resource], held_before[taker][resource] + asked[resource]));
    let above_deserved = (0..3).any(|resource| exceeds(giving.deserved[resource], left[resource]));
    above_share || (within_deserved && above_deserved)
}

/// Whether the claimant and its ancestors end no fuller of their share than the siblings that gave.
fn stays_within_bounds(
    cycle: &Cycle<'_>,
    claimant: usize,
    asked: &Amounts,
    remaining: &BTreeMap<usize, Amounts>,
    involved: [bool; 3],
    search: &Search<'_>,
) -> bool {
    let model = &cycle.model;
    model.lineage(claimant).all(|queue| {
        let entry = &model.queues[queue];
        let mut held = remaining.get(&queue).copied().unwrap_or(search.held_before[queue]);
        add(&mut held, asked);
        let within_deserved = (0..3)
            .filter(|&resource| involved[resource])
            .all(|resource| entry.deserved[resource].is_none_or(|deserved| held[resource] <= deserved));
        let siblings = model.queues.iter().enumerate().filter(|&(other, sibling)| {
            other != queue && sibling.parent == entry.parent && remaining.contains_key(&other)
        });
        within_deserved
            || siblings.into_iter().all(|(other, sibling)| {
                (0..3).filter(|&resource| involved[resource]).all(|resource| {
                    let full = |held: i64, share: i64| {
                        if held <= 0 { 0.0 } else { held as f64 / (share as f64).max(f64::MIN_POSITIVE) }
                    };
                    let own = full(held[resource], entry.fair_share[resource]);
                    let theirs = full(remaining[&other][resource], sibling.fair_share[resource]);
                    own <= 1.0 || own * cycle.config.saturation_multiplier <= theirs
                })
            })
    })
}
