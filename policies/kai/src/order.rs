//! In which order queues, jobs and tasks have their turn.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
use core::cmp::{Ordering, Reverse};

use crate::model::{Amounts, Model, add};

/// How much worse a queue without a share is off for what it holds, as a part of the cluster.
const NO_SHARE_PENALTY: f64 = 1000.0;

/// Whether a job lacks its minimum, has it, or has more.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Fill {
    Below,
    Exact,
    Above,
}

/// Jobs of a queue in order: priority, fill, age, and the job.
pub(crate) type JobKey = (Reverse<i32>, Fill, u64, usize);

/// A few jobs by queue, of which one is taken at a time.
pub(crate) struct JobsByQueue(BTreeMap<usize, BTreeSet<JobKey>>);

impl JobsByQueue {
    pub(crate) fn new(model: &Model, jobs: impl IntoIterator<Item = usize>) -> Self {
        let mut queue = Self(BTreeMap::new());
        for job in jobs {
            queue.push(model, job);
        }
        queue
    }

    /// Adds a job.
    pub(crate) fn push(&mut self, model: &Model, job: usize) {
        self.0.entry(model.jobs[job].queue).or_default().insert(model.job_key(job, None));
    }

    /// Takes the job whose turn it is.
    pub(crate) fn pop(&mut self, model: &Model) -> Option<usize> {
        let job = self.best(model, &model.roots)?;
        let queue = model.jobs[job].queue;
        if let Some(leaf) = self.0.get_mut(&queue) {
            // It is the first in its order.
            leaf.pop_first();
            if leaf.is_empty() {
                self.0.remove(&queue);
            }
        }
        Some(job)
    }

    /// The best job below some sibling queues.
    fn best(&self, model: &Model, siblings: &[usize]) -> Option<usize> {
        let mut best: Option<(usize, usize)> = None;
        for &queue in siblings {
            let own = self.0.get(&queue).and_then(|leaf| leaf.first().map(|&(.., job)| job));
            let Some(job) = own.or_else(|| self.best(model, &model.queues[queue].children)) else { continue };
            let side = |(queue, job): (usize, usize)| {
                let held = model.queues[queue].allocated;
                let mut with_job = held;
                add(&mut with_job, &model.sum(&model.tasks_to_allocate(job, true)));
                (queue, held, with_job)
            };
            if best.is_none_or(|best| model.compare_queues(side((queue, job)), side(best)).is_lt()) {
                best = Some((queue, job));
            }
        }
        best.map(|(_, job)| job)
    }
}

impl Model {
    /// Where a job stands in its queue; with `rest`, as if it held no other tasks.
    pub(crate) fn job_key(&self, job: usize, rest: Option<&Vec<usize>>) -> JobKey {
        let entry = &self.jobs[job];
        (Reverse(entry.priority), self.fill(job, rest), entry.sequence, job)
    }

    fn fill(&self, job: usize, rest: Option<&Vec<usize>>) -> Fill {
        let sets = self.jobs[job].pod_sets.iter().map(|set| {
            let counted = set.tasks.iter().filter(|task| rest.is_none_or(|rest| rest.contains(task)));
            let active = counted.filter(|&&task| self.tasks[task].place.status.is_active()).count();
            match active.cmp(&set.min_member) {
                Ordering::Less => Fill::Below,
                Ordering::Equal => Fill::Exact,
                Ordering::Greater => Fill::Above,
            }
        });
        let sets: Vec<Fill> = sets.collect();
        if sets.contains(&Fill::Below) {
            Fill::Below
        } else if sets.contains(&Fill::Above) {
            Fill::Above
        } else {
            Fill::Exact
        }
    }

    /// Which of two sibling queues goes first: each with what it holds, and what it would hold with its next job.
    pub(crate) fn compare_queues(
        &self,
        left: (usize, Amounts, Amounts),
        right: (usize, Amounts, Amounts),
    ) -> Ordering {
        let (left_queue, right_queue) = (&self.queues[left.0], &self.queues[right.0]);
        let exceeds_deserved = |(queue, _, with_job): &(usize, Amounts, Amounts)| {
            let queue = &self.queues[*queue];
            (0..3).any(|resource| queue.deserved[resource].is_some_and(|share| with_job[resource] > share))
        };
        let by_share = |amounts: fn(&(usize, Amounts, Amounts)) -> &Amounts| {
            let share = |side: &(usize, Amounts, Amounts)| self.dominant_share(side.0, amounts(side));
            share(&left).partial_cmp(&share(&right)).unwrap_or(Ordering::Equal)
        };
        right_queue
            .priority
            .cmp(&left_queue.priority)
            .then_with(|| exceeds_deserved(&left).cmp(&exceeds_deserved(&right)))
            .then_with(|| by_share(|side| &side.2))
            .then_with(|| by_share(|side| &side.1))
            .then_with(|| left.0.cmp(&right.0))
    }

    /// The largest part that a queue holds of its share of any resource.
    fn dominant_share(&self, queue: usize, held: &Amounts) -> f64 {
        let mut dominant: f64 = 0.0;
        for (resource, &held) in held.iter().enumerate() {
            let total = self.total[resource] as f64;
            let share = match self.queues[queue].allocatable_share(resource) {
                None => total,
                Some(share) => share as f64,
            };
            let part = if held <= 0 {
                0.0
            } else if share > 0.0 {
                held as f64 / share
            } else {
                held as f64 / total.max(1.0) * NO_SHARE_PENALTY
            };
            dominant = dominant.max(part);
        }
        dominant
    }

    // ---- Tasks of a job

    /// The parts of a job in the order in which they are filled: those that lack their minimum, then those that have the
    /// smallest part of it.
    fn ordered_pod_sets(&self, job: usize) -> Vec<usize> {
        let sets = &self.jobs[job].pod_sets;
        let key = |&position: &usize| {
            let (set, used) = (&sets[position], self.used(&sets[position].tasks));
            let filled = (used * 1_000_000).checked_div(set.min_member).unwrap_or(usize::MAX);
            (used >= set.min_member, filled, set.name.clone())
        };
        let mut order: Vec<usize> = (0..sets.len()).collect();
        order.sort_by_key(key);
        order
    }

    /// The tasks to place next: what parts lack of their minimum or, if none lacks any, one more.
    pub(crate) fn tasks_to_allocate(&self, job: usize, in_trial: bool) -> Vec<usize> {
        let order = self.ordered_pod_sets(job);
        let sets = &self.jobs[job].pod_sets;
        let has_minimum = order.iter().all(|&set| self.used(&sets[set].tasks) >= sets[set].min_member);
        let mut chosen = Vec::new();
        for set in order {
            let set = &sets[set];
            let lacking = set.min_member.saturating_sub(self.used(&set.tasks));
            let waiting = set.tasks.iter().copied().filter(|&task| self.tasks[task].is_waiting(in_trial));
            if has_minimum {
                chosen.extend(waiting.take(1));
                if !chosen.is_empty() {
                    break;
                }
            } else {
                chosen.extend(waiting.take(lacking));
            }
        }
        chosen
    }

    /// Whether a job could reach its minimum with the tasks that it has.
    pub(crate) fn is_ready(&self, job: usize) -> bool {
        let could = |&&task: &&usize| {
            let status = self.tasks[task].place.status;
            status.is_used() || status == crate::model::Status::Pending
        };
        self.jobs[job].pod_sets.iter().all(|set| set.tasks.iter().filter(could).count() >= set.min_member)
    }

    /// The tasks of a victim to stop next, of those that are left, and those that are left then: one at a time above the
    /// minimum, then all, or none if it keeps its minimum.
    pub(crate) fn tasks_to_evict(
        &self,
        job: usize,
        rest: &[usize],
        keeps_minimum: bool,
    ) -> (Vec<usize>, Vec<usize>) {
        let sets = &self.jobs[job].pod_sets;
        let is_left = |task: &usize| rest.contains(task) && self.tasks[*task].place.status.is_active();
        for set in self.ordered_pod_sets(job).into_iter().rev() {
            let left: Vec<usize> = sets[set].tasks.iter().copied().filter(is_left).collect();
            if left.len() > sets[set].min_member
                && let Some(&last) = left.last()
            {
                let others = rest.iter().copied().filter(|&task| task != last);
                return (alloc::vec![last], others.filter(is_left).collect());
            }
        }
        let all = rest.iter().copied().filter(|task| !keeps_minimum && is_left(task));
        (all.collect(), Vec::new())
    }
}
