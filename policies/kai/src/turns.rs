//! Whose turn it is: waiting jobs from the best of the neediest queue on, victims the other way round.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
use core::cmp::Ordering;

use crate::lanes::Lane;
use crate::model::{Amounts, Model, add, subtract};
use crate::order::JobKey;

/// Jobs that wait, of which one is taken at a time.
///
/// Jobs that would be passed over have their turn all the same, because what the head of a queue asks for has a say in the
/// order of queues; but of one lane they do so together, and without being looked at.
pub(crate) struct Turns {
    queues: BTreeMap<usize, QueueTurns>,
    /// How many of [`Waiting::unsettled`](crate::lanes::Waiting::unsettled) have been seen.
    followed: usize,
}

/// The jobs of a queue that have not had their turn.
#[derive(Default)]
struct QueueTurns {
    /// By lane, the first.
    lanes: Vec<(usize, Option<JobKey>)>,
    /// Those that changed since the verb began, at the place that they had, and those that come again.
    changed: BTreeSet<JobKey>,
}

/// The job of a key.
const fn job_of(key: JobKey) -> usize {
    key.3
}

impl QueueTurns {
    /// The first job, and the position of its lane.
    fn head(&self) -> Option<(JobKey, Option<usize>)> {
        let lanes = self.lanes.iter().enumerate();
        let settled = lanes.filter_map(|(position, &(_, key))| Some((key?, Some(position))));
        settled.chain(self.changed.first().map(|&key| (key, None))).min()
    }
}

impl Turns {
    /// All jobs that wait. `is_open` says of which lanes some may be taken; no lane that is not may become so later, or
    /// `may_open`.
    pub(crate) fn new(model: &Model, may_open: bool, is_open: impl Fn(&Lane, usize) -> bool) -> Self {
        let first = |jobs: &BTreeSet<JobKey>| jobs.first().copied();
        let opens = |(lane, jobs): (&usize, &BTreeSet<JobKey>)| {
            first(jobs).is_some_and(|key| is_open(&model.waiting.lanes[*lane], job_of(key)))
        };
        let open: BTreeSet<usize> = model
            .waiting
            .by_queue
            .iter()
            .filter(|(_, lanes)| lanes.iter().any(opens))
            .map(|(&queue, _)| queue)
            .collect();
        let mut turns = Self { queues: BTreeMap::new(), followed: model.waiting.unsettled.len() };
        // Among the jobs of a single queue there is one order, whoever is passed over.
        let alone = (open.len() == 1 && !may_open).then_some(()).and(open.first());
        let roots: BTreeSet<Option<usize>> = open.iter().map(|&queue| model.lineage(queue).last()).collect();
        for (&queue, lanes) in &model.waiting.by_queue {
            let is_in = match alone {
                Some(&alone) => queue == alone,
                // Queues under other roots do not change the order of these.
                None if !may_open => roots.contains(&model.lineage(queue).last()),
                None => !open.is_empty(),
            };
            if !is_in {
                continue;
            }
            let lanes = lanes.iter().filter(|&lane| alone.is_none() || opens(lane));
            let lanes = lanes.map(|(&lane, jobs)| (lane, first(jobs))).collect();
            turns.queues.insert(queue, QueueTurns { lanes, changed: BTreeSet::new() });
        }
        turns
    }

    /// Takes the job whose turn it is. `is_passed_over` says which are passed over; those of a lane that come next are, too.
    pub(crate) fn pop(&mut self, model: &Model, is_passed_over: impl Fn(usize) -> bool) -> Option<usize> {
        self.follow(model);
        loop {
            let (queue, (key, position)) = self.best(model, &model.roots)?;
            let entry = self.queues.get_mut(&queue)?;
            let job = job_of(key);
            let moves_on = is_passed_over(job);
            match position {
                Some(position) => {
                    let lane = core::mem::take(&mut entry.lanes[position].1).map(|_| entry.lanes[position].0);
                    // Behind this job, or at the first of another lane.
                    let from = if moves_on { entry.head().map(|(key, _)| key) } else { Some(successor(key)) };
                    let next = from.zip(lane).and_then(|(from, lane)| first_from(model, queue, lane, from));
                    entry.lanes[position].1 = next;
                }
                None => {
                    entry.changed.remove(&key);
                }
            }
            if !moves_on {
                return Some(job);
            }
        }
    }

    /// Adds a job that comes again.
    pub(crate) fn push(&mut self, model: &Model, job: usize) {
        self.follow(model);
        let queue = self.queues.entry(model.jobs[job].queue).or_default();
        queue.changed.insert(model.job_key(job, None));
    }

    /// Keeps jobs that were decided upon at their places.
    fn follow(&mut self, model: &Model) {
        let unsettled = &model.waiting.unsettled;
        for &(job, lane, key) in &unsettled[self.followed..] {
            let queue = model.jobs[job].queue;
            let Some(entry) = self.queues.get_mut(&queue) else { continue };
            let Some((_, next)) = entry.lanes.iter_mut().find(|(known, _)| *known == lane) else { continue };
            if next.is_some_and(|next| next <= key) {
                entry.changed.insert(key);
            }
            if *next == Some(key) {
                *next = first_from(model, queue, lane, key);
            }
        }
        self.followed = unsettled.len();
    }

    /// The best job below some sibling queues.
    fn best(&self, model: &Model, siblings: &[usize]) -> Option<(usize, (JobKey, Option<usize>))> {
        let mut best: Option<(usize, usize, (JobKey, Option<usize>))> = None;
        for &sibling in siblings {
            let own = self.queues.get(&sibling).and_then(QueueTurns::head).map(|first| (sibling, first));
            let found = own.or_else(|| self.best(model, &model.queues[sibling].children));
            let Some((queue, first)) = found else { continue };
            let side = |queue: usize, (key, _): (JobKey, Option<usize>)| {
                let held = model.queues[queue].allocated;
                let mut with_job = held;
                add(&mut with_job, &model.asked(job_of(key)));
                (queue, held, with_job)
            };
            let goes_first = best.is_none_or(|(best, _, best_first)| {
                model.compare_queues(side(sibling, first), side(best, best_first)) == Ordering::Less
            });
            if goes_first {
                best = Some((sibling, queue, first));
            }
        }
        best.map(|(_, queue, first)| (queue, first))
    }
}

/// The key right behind another.
const fn successor((priority, fill, sequence, job): JobKey) -> JobKey {
    (priority, fill, sequence, job + 1)
}

fn first_from(model: &Model, queue: usize, lane: usize, from: JobKey) -> Option<JobKey> {
    model.waiting.by_queue.get(&queue)?.get(&lane)?.range(from..).next().copied()
}

/// Who may be a victim.
#[derive(Clone, Copy)]
pub(crate) enum Candidates {
    /// Jobs of a queue below a priority.
    Below(usize, i32),
    /// Jobs of other queues than this one.
    OutOf(usize),
    /// All other jobs than this one.
    Others(usize),
}

impl Candidates {
    /// The last of a queue that is one, before a key if there is one.
    pub(crate) fn last(self, model: &Model, queue: usize, before: Option<JobKey>) -> Option<JobKey> {
        let jobs = &model.victims[queue];
        let mut keys = match before {
            Some(before) => jobs.range(..before),
            None => jobs.range(..),
        };
        match self {
            Self::Below(own, _) if own != queue => None,
            Self::OutOf(own) if own == queue => None,
            // Priorities only grow from here on.
            Self::Below(_, priority) => keys.next_back().copied().filter(|(own, ..)| own.0 < priority),
            Self::OutOf(_) => keys.next_back().copied(),
            Self::Others(job) => keys.rfind(|&&key| job_of(key) != job).copied(),
        }
    }

    /// Whether there is any.
    pub(crate) fn are_any(self, model: &Model) -> bool {
        (0..model.queues.len()).any(|queue| self.last(model, queue, None).is_some())
    }
}

/// Victims, of which one is taken at a time.
pub(crate) struct Victims {
    candidates: Candidates,
    /// By queue, the last that has not been taken.
    queues: Vec<Option<JobKey>>,
    /// Those that were taken in part.
    again: BTreeMap<usize, BTreeSet<JobKey>>,
    /// The tasks that are left of them.
    rest: BTreeMap<usize, Vec<usize>>,
    /// What victims taken so far come to, by queue.
    taken: BTreeMap<usize, Amounts>,
}

impl Victims {
    pub(crate) fn new(model: &Model, candidates: Candidates) -> Self {
        let queues = (0..model.queues.len()).map(|queue| candidates.last(model, queue, None)).collect();
        let (again, rest, taken) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        Self { candidates, queues, again, rest, taken }
    }

    /// Adds a victim again, with the tasks of it that are left.
    pub(crate) fn push_rest(&mut self, model: &Model, job: usize, rest: Vec<usize>) {
        let key = model.job_key(job, Some(&rest));
        self.rest.insert(job, rest);
        self.again.entry(model.jobs[job].queue).or_default().insert(key);
    }

    /// The tasks of a victim that have not been taken yet.
    pub(crate) fn rest_of(&self, model: &Model, job: usize) -> Vec<usize> {
        self.rest.get(&job).cloned().unwrap_or_else(|| model.jobs[job].tasks.clone())
    }

    /// Takes the victim whose turn it is.
    pub(crate) fn pop(&mut self, model: &Model) -> Option<usize> {
        let (queue, key) = self.worst(model, &model.roots)?;
        if self.queues[queue] == Some(key) {
            self.queues[queue] = self.candidates.last(model, queue, Some(key));
        } else if let Some(again) = self.again.get_mut(&queue) {
            again.remove(&key);
        }
        Some(job_of(key))
    }

    /// Counts tasks as taken from a queue.
    pub(crate) fn take(&mut self, model: &Model, queue: usize, tasks: &[usize]) {
        let amounts = model.sum(tasks);
        for queue in model.lineage(queue) {
            add(self.taken.entry(queue).or_default(), &amounts);
        }
    }

    /// The first victim below some sibling queues, with its queue.
    fn worst(&self, model: &Model, siblings: &[usize]) -> Option<(usize, JobKey)> {
        let mut worst: Option<(usize, (usize, JobKey))> = None;
        for &sibling in siblings {
            let again = self.again.get(&sibling).and_then(|again| again.last().copied());
            let own = self.queues[sibling].max(again).map(|key| (sibling, key));
            let found = own.or_else(|| self.worst(model, &model.queues[sibling].children));
            let Some(found) = found else { continue };
            let side = |queue: usize| {
                let mut held = model.queues[queue].allocated;
                if let Some(taken) = self.taken.get(&queue) {
                    subtract(&mut held, taken);
                }
                (queue, held, held)
            };
            let goes_first = worst.is_none_or(|(worst, _)| {
                model.compare_queues(side(sibling), side(worst)) == Ordering::Greater
            });
            if goes_first {
                worst = Some((sibling, found));
            }
        }
        worst.map(|(_, found)| found)
    }
}
