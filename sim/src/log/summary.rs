//! From the jobs and integrals of a run to its figures.

use foretell_framework::{Time, WHOLE_GPU_MILLI};

use super::{
    CommunicationSummary, Distribution, Fairness, GroupSummary, JobCounts, JobResult, JobStatus, RunSummary,
    TimelineRow,
};
use crate::platform::Counts;

/// Integrals over time of what the timeline shows, exact: thousandths of GPUs (or jobs) times nanoseconds.
#[derive(Clone, Copy, Default)]
pub(super) struct Integrals {
    capacity: u128,
    allocated: u128,
    utilised: u128,
    partial: u128,
    stranded: u128,
    queued: u128,
    /// Of devices that are broken.
    pub(super) broken: u128,
    /// In millionths of a thousandth of a GPU times nanoseconds.
    fragmented: u128,
    elapsed: u128,
    allocation_peak: f64,
    queued_max: u64,
}

const FRAGMENTED_UNITS: f64 = 1e6;

impl Integrals {
    /// `row` held for `span`.
    pub(super) fn add(&mut self, span: Time, row: &TimelineRow) {
        let nanos = u128::from(span.as_nanos());
        self.elapsed += nanos;
        self.capacity += u128::from(row.gpu_capacity_milli) * nanos;
        self.allocated += u128::from(row.gpu_allocated_milli) * nanos;
        self.utilised += u128::from(row.gpu_utilised_milli) * nanos;
        self.partial += u128::from(row.gpu_partial_milli) * nanos;
        self.stranded += row.gpu_stranded_milli as u128 * nanos;
        self.fragmented += (row.gpu_fragmented_milli * FRAGMENTED_UNITS).round() as u128 * nanos;
        self.queued += u128::from(row.jobs_queued) * nanos;
        if row.gpu_capacity_milli > 0 {
            let allocation = row.gpu_allocated_milli as f64 / row.gpu_capacity_milli as f64;
            self.allocation_peak = self.allocation_peak.max(allocation);
        }
        self.queued_max = self.queued_max.max(row.jobs_queued);
    }

    fn of_capacity(&self, integral: u128, units: f64) -> f64 {
        if self.capacity == 0 { 0.0 } else { integral as f64 / units / self.capacity as f64 }
    }
}

/// What a summary says of the run itself.
pub(super) struct Run<'a> {
    pub(super) policy: &'a str,
    pub(super) seed: u64,
    pub(super) nodes: u64,
    pub(super) gpus: u64,
    pub(super) counts: Counts,
    pub(super) reasons: Vec<(String, u64)>,
    pub(super) waits: Vec<(String, f64)>,
}

pub(super) fn summarise(
    run: Run<'_>,
    makespan: Time,
    integrals: &Integrals,
    jobs: &[JobResult],
    queues: &[String],
    users: &[String],
) -> RunSummary {
    let all = Group::of(jobs.iter());
    let met = jobs.iter().filter_map(JobResult::met_deadline);
    let lost = jobs.iter().map(|job| job.gpu_lost).sum();
    let mut by_queue = groups(jobs, queues, |job| job.queue);
    by_queue.sort_by(|group, other| group.name.cmp(&other.name));
    let sizes = SIZES.map(|(name, _)| name.to_owned());
    let by_size = groups(jobs, &sizes, |job| {
        let fits = |(_, most): &(&str, u64)| job.gpu_milli_total <= most * u64::from(WHOLE_GPU_MILLI);
        SIZES.iter().position(fits).unwrap_or(SIZES.len() - 1) as u32
    });
    let by_size = by_size.into_iter().filter(|group| group.jobs.submitted > 0).collect();
    let mut by_user = groups(jobs, users, |job| job.user);
    by_user.sort_by(|group, other| {
        other.gpu_s.total_cmp(&group.gpu_s).then_with(|| group.name.cmp(&other.name))
    });
    RunSummary {
        policy: run.policy.to_owned(),
        seed: run.seed,
        nodes: run.nodes,
        gpus: run.gpus,
        jobs: all.counts,
        makespan,
        gpu_allocation: integrals.of_capacity(integrals.allocated, 1.0),
        gpu_utilisation: integrals.of_capacity(integrals.utilised, 1.0),
        gpu_goodput: integrals.of_capacity(integrals.utilised.saturating_sub(lost), 1.0),
        gpu_lost_s: gpu_s(lost),
        gpu_partial_s: gpu_s(integrals.partial),
        evictions: jobs.iter().map(|job| u64::from(job.evictions)).sum(),
        resizes: jobs.iter().map(|job| u64::from(job.resizes)).sum(),
        deadlines: met.clone().count() as u64,
        deadlines_met: met.filter(|&met| met).count() as u64,
        gpu_allocation_peak: integrals.allocation_peak,
        gpu_fragmentation: integrals.of_capacity(integrals.fragmented, FRAGMENTED_UNITS),
        gpu_stranded: integrals.of_capacity(integrals.stranded, 1.0),
        queue_length_mean: if integrals.elapsed == 0 {
            0.0
        } else {
            integrals.queued as f64 / integrals.elapsed as f64
        },
        queue_length_max: integrals.queued_max,
        queue_delay: distribution(all.queue_delays),
        completion_time: distribution(all.completion_times),
        fairness: fairness(jobs),
        communication: CommunicationSummary::of(jobs),
        by_size,
        by_queue,
        by_user,
        reasons: run.reasons,
        waits: run.waits,
        faults: None,
        events: run.counts.events,
        cycles: run.counts.cycles,
    }
}

#[derive(Default)]
struct Group {
    counts: JobCounts,
    gpu_milli_nanos: u128,
    queue_delays: Vec<Time>,
    completion_times: Vec<Time>,
}

impl Group {
    fn of<'a>(jobs: impl Iterator<Item = &'a JobResult>) -> Self {
        let mut group = Self::default();
        jobs.for_each(|job| group.add(job));
        group
    }

    fn add(&mut self, job: &JobResult) {
        self.counts.submitted += 1;
        *match job.status {
            JobStatus::Completed => &mut self.counts.completed,
            JobStatus::Failed => &mut self.counts.failed,
            JobStatus::Cancelled => &mut self.counts.cancelled,
            JobStatus::Running => &mut self.counts.running,
            JobStatus::Queued => &mut self.counts.queued,
            JobStatus::NeverPlaced => &mut self.counts.never_placed,
        } += 1;
        self.queue_delays.extend(job.queue_delay());
        self.completion_times.extend(job.completion_time());
        self.gpu_milli_nanos += job.gpu_held;
    }
}

/// Sizes of jobs: what one node mostly holds, and what it does not. With the most GPUs of each.
const SIZES: [(&str, u64); 3] =
    [("up to 1 GPU", 1), ("2 to 8 GPUs", 8), ("more than 8 GPUs", u64::MAX / 1000)];

fn fairness(jobs: &[JobResult]) -> Fairness {
    let mut slowdowns: Vec<f64> = jobs.iter().filter_map(JobResult::slowdown).collect();
    slowdowns.sort_by(f64::total_cmp);
    let count = slowdowns.len();
    if count == 0 {
        return Fairness::default();
    }
    let speeds = || slowdowns.iter().map(|slowdown| 1.0 / slowdown);
    let (sum, squares) = (speeds().sum::<f64>(), speeds().map(|speed| speed * speed).sum::<f64>());
    Fairness {
        slowdown_mean: slowdowns.iter().sum::<f64>() / count as f64,
        slowdown_p99: slowdowns[(count * 99).div_ceil(100) - 1],
        jain: sum * sum / (count as f64 * squares),
    }
}

/// Thousandths of a GPU times nanoseconds in GPU-seconds.
fn gpu_s(milli_nanos: u128) -> f64 {
    milli_nanos as f64 / 1e12
}

/// One summary per name that occurs.
fn groups(jobs: &[JobResult], names: &[String], group_of: impl Fn(&JobResult) -> u32) -> Vec<GroupSummary> {
    let mut groups: Vec<Group> = names.iter().map(|_| Group::default()).collect();
    for job in jobs {
        groups[group_of(job) as usize].add(job);
    }
    let summaries = names.iter().zip(groups).map(|(name, group)| GroupSummary {
        name: name.clone(),
        jobs: group.counts,
        gpu_s: gpu_s(group.gpu_milli_nanos),
        queue_delay: distribution(group.queue_delays),
        completion_time: distribution(group.completion_times),
    });
    summaries.collect()
}

/// Nearest-rank percentiles: the smallest value that at least the given share of values do not exceed.
fn distribution(mut values: Vec<Time>) -> Distribution {
    values.sort_unstable();
    let (Some(max), count) = (values.last(), values.len()) else { return Distribution::default() };
    let percentile = |percent: usize| values[(count * percent).div_ceil(100).max(1) - 1].as_s();
    let sum: u128 = values.iter().map(|value| u128::from(value.as_nanos())).sum();
    Distribution {
        count: count as u64,
        mean_s: sum as f64 / count as f64 / 1e9,
        p50_s: percentile(50),
        p90_s: percentile(90),
        p99_s: percentile(99),
        max_s: max.as_s(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fairness_of_two_jobs_by_hand() {
        let job = |submit_s: f64, duration_s: f64, finish_s: f64| JobResult {
            id: "".into(),
            queue: 0,
            user: 0,
            tasks: 1,
            min_tasks: 1,
            gpus_per_task: 1,
            gpu_milli: 1000,
            gpu_milli_total: 1000,
            submit: Time::from_s(submit_s),
            duration: Some(Time::from_s(duration_s)),
            start: None,
            finish: Some(Time::from_s(finish_s)),
            status: JobStatus::Completed,
            reason: None,
            deadline: None,
            evictions: 0,
            resizes: 0,
            gpu_held: 0,
            gpu_lost: 0,
            communication: None,
            failures: 0,
        };
        // Slowed 4 times; and a job of one second that took twenty, which counts as one of ten.
        let got = fairness(&[job(0.0, 100.0, 400.0), job(5.0, 1.0, 25.0)]);
        assert_eq!(
            got,
            Fairness { slowdown_mean: 3.0, slowdown_p99: 4.0, jain: 0.75 * 0.75 / (2.0 * 0.3125) }
        );
        assert_eq!(fairness(&[]), Fairness::default());
    }

    #[test]
    fn percentiles_are_elements_by_nearest_rank() {
        for (values, expected) in [
            (vec![], [0.0; 5]),
            (vec![3.0], [3.0; 5]),
            (vec![4.0, 1.0], [2.5, 1.0, 4.0, 4.0, 4.0]),
            ((1..=100).rev().map(f64::from).collect(), [50.5, 50.0, 90.0, 99.0, 100.0]),
            ((1..=101).map(f64::from).collect(), [51.0, 51.0, 91.0, 100.0, 101.0]),
        ] {
            let got = distribution(values.iter().map(|&value| Time::from_s(value)).collect());
            let got_values = [got.mean_s, got.p50_s, got.p90_s, got.p99_s, got.max_s];
            assert_eq!((got.count, got_values), (values.len() as u64, expected));
        }
    }
}
