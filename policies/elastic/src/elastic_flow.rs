//! ElasticFlow (Gu and others, ASPLOS'23): jobs are admitted if their deadlines can be met, and get what meets them.

use alloc::collections::BTreeMap;
use alloc::vec;
use alloc::vec::Vec;
use core::cmp::Reverse;

use foretell_framework::Time;

use crate::divide::{Divide, ElasticJob, give_minima};

/// What becomes of jobs whose deadline cannot be met.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum LateJobs {
    /// They run on what is left, as jobs without a deadline do.
    #[default]
    BestEffort,
    /// They do not run.
    TurnedAway,
}

/// Jobs run on powers of two of tasks (and on their minimum). A job with a deadline is admitted when it arrives, if its
/// deadline and those of all admitted before can be met; that is seen by filling the time to come, in order of deadlines, with
/// the smallest number of tasks on which each meets its own: its minimum satisfactory share. Each gets that share; jobs
/// without a deadline get their minimum, in order of priority and submission. What is left goes, step by step, to where
/// it saves most GPU time later for what it takes now.
///
/// As in the paper but for this: time is not cut into slots, a share lasts until its job is done; speeds and what is left
/// are told, not profiled; what growing and shrinking costs is not planned for; and nodes are chosen by the placement, not
/// by buddies with migration. The measure by which spare GPUs are given is our reading of the paper's marginal return.
pub struct ElasticFlow {
    late: LateJobs,
    /// By number of the job: whether it was admitted.
    verdicts: BTreeMap<u64, bool>,
}

impl ElasticFlow {
    /// With this fate for jobs whose deadline cannot be met.
    pub const fn new(late: LateJobs) -> Self {
        Self { late, verdicts: BTreeMap::new() }
    }
}

/// GPUs that are free over the time to come: until when, and thousandths; the last lasts for ever.
struct Future {
    spans: Vec<(Time, u64)>,
}

/// What a job does with what is free.
struct Share {
    /// Tasks now.
    tasks: u32,
    /// Tasks in each span of the future up to its end, which cuts the last.
    uses: Vec<u32>,
    end: Time,
}

impl Future {
    /// What a job does that takes at most `level` tasks of what is free. `None` if it never ends.
    fn share(&self, job: &ElasticJob, sizes: &[u32], level: u32, now: Time) -> Option<Share> {
        let (mut left, mut from) = (job.left?, now);
        let mut uses = Vec::new();
        for &(until, free_milli) in &self.spans {
            let fits = |&&size: &&u32| size <= level && job.gpus(size) <= free_milli;
            let size = sizes.iter().rfind(fits).copied().unwrap_or(0);
            let speed = u128::from(job.speed(size));
            uses.push(size);
            if let Some(nanos) = (left + speed.saturating_sub(1)).checked_div(speed)
                && nanos <= u128::from(until.since(from).as_nanos())
            {
                let end = from + Time::from_nanos(nanos as u64);
                return Some(Share { tasks: uses[0], uses, end });
            }
            left = left.saturating_sub(speed * u128::from(until.since(from).as_nanos()));
            from = until;
        }
        None
    }

    /// Takes a share off.
    fn take(&mut self, job: &ElasticJob, share: &Share) {
        let last = share.uses.len() - 1;
        let (until, free_milli) = self.spans[last];
        if share.end < until {
            self.spans.insert(last, (share.end, free_milli));
        }
        for ((_, free_milli), &size) in self.spans.iter_mut().zip(&share.uses) {
            *free_milli -= job.gpus(size);
        }
    }
}

/// The numbers of tasks that a job may have: its minimum, and powers of two.
fn sizes(job: &ElasticJob) -> Vec<u32> {
    let powers = (0..u32::BITS - 1).map(|power| 1 << power);
    let powers = powers.filter(|&size| size > job.min_tasks && size <= job.max_tasks);
    core::iter::once(job.min_tasks).chain(powers).collect()
}

/// The GPUs that jobs with deadlines get, by index, and whether all deadlines are met. `jobs` are in order of deadlines.
fn fill(jobs: &[(usize, &ElasticJob)], gpu_milli: u64, now: Time) -> (Vec<(usize, u32)>, bool) {
    let mut future = Future { spans: vec![(Time::MAX, gpu_milli)] };
    let (mut targets, mut all_met) = (Vec::new(), true);
    for &(index, job) in jobs {
        let sizes = sizes(job);
        let deadline = job.deadline.unwrap_or(Time::MAX);
        let shares = sizes.iter().filter_map(|&level| future.share(job, &sizes, level, now));
        let mut latest = None;
        let met = shares.into_iter().find_map(|share| {
            if share.end <= deadline {
                return Some(share);
            }
            latest = Some(share);
            None
        });
        all_met &= met.is_some();
        // Who cannot be in time any more is to be as little late as may be.
        if let Some(share) = met.or(latest) {
            future.take(job, &share);
            targets.push((index, share.tasks));
        }
    }
    (targets, all_met)
}

/// GPU time that a job saves later on its minimum, for each that it takes now to go from `tasks` to `next`, in millionths.
fn marginal_return(job: &ElasticJob, tasks: u32, next: u32) -> u128 {
    let gained = u128::from(job.speed(next).saturating_sub(job.speed(tasks)));
    let slowest = u128::from(job.speed(job.min_tasks)) * u128::from(next - tasks);
    (gained * u128::from(job.min_tasks) * 1_000_000).checked_div(slowest).unwrap_or(0)
}

impl Divide for ElasticFlow {
    fn name(&self) -> &'static str {
        "ElasticFlow"
    }

    fn divide(&mut self, jobs: &[ElasticJob], gpu_milli: u64, now: Time) -> Vec<u32> {
        // Who must keep what it has takes part in nothing else.
        let mut free_milli = gpu_milli;
        let mut targets = vec![0; jobs.len()];
        for (index, job) in jobs.iter().enumerate().filter(|(_, job)| job.keeps()) {
            free_milli = free_milli.saturating_sub(job.gpus(job.tasks));
            targets[index] = job.tasks;
        }

        let mut admitted: Vec<(usize, &ElasticJob)> = Vec::new();
        let in_order = |list: &mut Vec<(usize, &ElasticJob)>| {
            list.sort_by_key(|&(_, job)| (job.deadline, job.sequence));
        };
        let known = |job: &ElasticJob| self.verdicts.get(&job.sequence) == Some(&true);
        admitted.extend(jobs.iter().enumerate().filter(|(_, job)| known(job) && !job.keeps()));
        in_order(&mut admitted);
        for (index, job) in jobs.iter().enumerate() {
            if job.deadline.is_none() || job.keeps() || self.verdicts.contains_key(&job.sequence) {
                continue;
            }
            let mut trial = admitted.clone();
            trial.push((index, job));
            in_order(&mut trial);
            let (_, all_met) = fill(&trial, free_milli, now);
            if all_met {
                admitted = trial;
            }
            self.verdicts.insert(job.sequence, all_met);
        }

        let (shares, _) = fill(&admitted, free_milli, now);
        for (index, tasks) in shares {
            targets[index] = tasks;
            free_milli -= jobs[index].gpus(tasks);
        }
        // Jobs that no deadline speaks for get their minimum.
        let is_other = |job: &ElasticJob| {
            let is_admitted = self.verdicts.get(&job.sequence) == Some(&true);
            !job.keeps() && !is_admitted && !self.turns_away(job.sequence)
        };
        give_minima(jobs, is_other, &mut targets, &mut free_milli);
        spread_spare(jobs, &mut targets, free_milli);
        targets
    }

    fn turns_away(&self, sequence: u64) -> bool {
        self.late == LateJobs::TurnedAway && self.verdicts.get(&sequence) == Some(&false)
    }

    fn ended(&mut self, sequence: u64) {
        self.verdicts.remove(&sequence);
    }
}

/// Gives what is left, step by step, to where it returns most.
fn spread_spare(jobs: &[ElasticJob], targets: &mut [u32], mut free_milli: u64) {
    let sizes: Vec<Vec<u32>> = jobs.iter().map(sizes).collect();
    loop {
        let next = jobs.iter().enumerate().filter_map(|(index, job)| {
            let tasks = targets[index];
            let next = *sizes[index].iter().find(|&&size| size > tasks)?;
            let fits = tasks > 0 && !job.keeps() && job.gpus(next - tasks) <= free_milli;
            let value = marginal_return(job, tasks, next);
            (fits && value > 0).then_some((value, Reverse(index), next))
        });
        let Some((_, Reverse(index), next)) = next.max() else { return };
        free_milli -= jobs[index].gpus(next - targets[index]);
        targets[index] = next;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::divide::tests::job;

    fn linear(max_tasks: u64) -> Vec<u64> {
        (1..=max_tasks).map(|tasks| tasks * 1_000_000).collect()
    }

    /// A job that takes so many seconds on one GPU, and as much less on more.
    fn due(sequence: u64, left_s: u64, deadline_s: u64) -> ElasticJob {
        let job = job(sequence, 1, 4, left_s, linear(4));
        ElasticJob { deadline: Some(Time::from_nanos(deadline_s * 1_000_000_000)), ..job }
    }

    #[track_caller]
    fn check(late: LateJobs, jobs: &[ElasticJob], gpus: u64, expected: &[u32], turned_away: &[u64]) {
        let mut policy = ElasticFlow::new(late);
        assert_eq!(policy.divide(jobs, gpus * 1000, Time::ZERO), expected);
        let away: Vec<u64> =
            jobs.iter().map(|job| job.sequence).filter(|&job| policy.turns_away(job)).collect();
        assert_eq!(away, turned_away);
    }

    #[test]
    fn shares_are_the_smallest_that_meet_the_deadlines() {
        // One GPU each would do for the second, two for the first.
        let jobs = [due(0, 100, 50), due(1, 100, 100)];
        check(LateJobs::TurnedAway, &jobs, 3, &[2, 1], &[]);
        // With two GPUs the second waits until the first is done, and then has both.
        check(LateJobs::TurnedAway, &jobs, 2, &[2, 0], &[]);
        // A third that is due before it would be late itself or make it late.
        let more = [jobs[0].clone(), jobs[1].clone(), due(2, 20, 70)];
        check(LateJobs::TurnedAway, &more, 2, &[2, 0, 0], &[2]);
        // Who runs on what is left gets nothing here.
        check(LateJobs::BestEffort, &more, 2, &[2, 0, 0], &[]);
        // With three it goes ahead of the second, which then needs two.
        check(LateJobs::TurnedAway, &more, 3, &[2, 0, 1], &[]);
        // Four GPUs are enough for all.
        check(LateJobs::TurnedAway, &more, 4, &[2, 1, 1], &[]);
    }

    #[test]
    fn who_is_admitted_stays_admitted() {
        let mut policy = ElasticFlow::new(LateJobs::TurnedAway);
        let mut jobs = vec![due(0, 100, 100)];
        assert_eq!(policy.divide(&jobs, 1000, Time::ZERO), [1]);
        // It has done nothing for a while: it is late whatever happens, but it goes on.
        jobs.push(due(1, 10, 60));
        let now = Time::from_nanos(50_000_000_000);
        assert_eq!(policy.divide(&jobs, 1000, now), [1, 0]);
        assert!(policy.turns_away(1) && !policy.turns_away(0));
    }

    #[test]
    fn spare_gpus_go_where_they_save_most() {
        // Both need one GPU; the first gains more from a second, the second from a third and fourth.
        let mut jobs = [due(0, 100, 1000), due(1, 100, 1000)];
        jobs[0].speeds = vec![1_000_000, 1_900_000, 2_000_000, 2_200_000];
        jobs[1].speeds = vec![1_000_000, 1_800_000, 2_600_000, 3_400_000];
        check(LateJobs::BestEffort, &jobs, 2, &[1, 1], &[]);
        check(LateJobs::BestEffort, &jobs, 3, &[2, 1], &[]);
        check(LateJobs::BestEffort, &jobs, 4, &[2, 2], &[]);
        // Three are no power of two.
        check(LateJobs::BestEffort, &jobs, 5, &[2, 2], &[]);
        check(LateJobs::BestEffort, &jobs, 6, &[2, 4], &[]);
        // A job without a deadline comes after those that have one, and before what is spare.
        let mut jobs = [job(0, 2, 4, 100, linear(4)), due(1, 100, 1000)];
        check(LateJobs::BestEffort, &jobs, 2, &[0, 2], &[]);
        check(LateJobs::BestEffort, &jobs, 3, &[2, 1], &[]);
        // Who must keep what it has does.
        (jobs[0].is_protected, jobs[0].tasks) = (true, 3);
        check(LateJobs::BestEffort, &jobs, 4, &[3, 1], &[]);
    }
}
