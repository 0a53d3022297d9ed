//! Metrics against a naive recomputation from the list of jobs.

use foretell_sim::framework::Time;
use foretell_sim::log::{Distribution, JobResult, JobStatus};
use foretell_sim::platform::{Config, Retry, Submission};
use proptest::prelude::*;

use crate::fixtures::{cluster, job, share, simulate};

fn submissions() -> impl Strategy<Value = Vec<Submission>> {
    let one = (0_u32..20, 0_u32..50, 1_u32..4, 0_u32..5, 0_u32..3, 0_usize..3);
    prop::collection::vec(one, 0..60).prop_map(|jobs| {
        let mut clock_s = 0.0;
        let submissions =
            jobs.into_iter().enumerate().map(|(index, (gap, duration, tasks, gpus, kind, end))| {
                clock_s += f64::from(gap);
                let duration_s = f64::from(duration) / 2.0;
                let mut submission = if kind == 0 {
                    share(clock_s, duration_s, 130 * (gpus + 1))
                } else {
                    job(clock_s, duration_s, tasks, gpus)
                };
                submission.id = index.to_string().into();
                submission.queue = ["", "research", "services"][end].into();
                submission.end = [JobStatus::Completed, JobStatus::Failed, JobStatus::Cancelled][end];
                submission
            });
        submissions.collect()
    })
}

fn naive_distribution(mut values: Vec<f64>) -> Distribution {
    values.sort_by(f64::total_cmp);
    let count = values.len();
    if count == 0 {
        return Distribution::default();
    }
    // The smallest value that at least this share of the values do not exceed.
    let percentile = |share: f64| {
        let enough = |&&value: &&f64| {
            values.iter().filter(|&&other| other <= value).count() as f64 >= share * count as f64
        };
        *values.iter().find(enough).unwrap()
    };
    Distribution {
        count: count as u64,
        mean_s: values.iter().sum::<f64>() / count as f64,
        p50_s: percentile(0.5),
        p90_s: percentile(0.9),
        p99_s: percentile(0.99),
        max_s: values[count - 1],
    }
}

fn close(a: f64, b: f64) -> bool {
    (a - b).abs() <= 1e-9 * a.abs().max(b.abs()).max(1.0)
}

fn same(a: &Distribution, b: &Distribution) -> bool {
    a.count == b.count
        && [
            (a.mean_s, b.mean_s),
            (a.p50_s, b.p50_s),
            (a.p90_s, b.p90_s),
            (a.p99_s, b.p99_s),
            (a.max_s, b.max_s),
        ]
        .into_iter()
        .all(|(a, b)| close(a, b))
}

/// Thousandths of GPUs held by running jobs at an instant.
fn held_at(jobs: &[JobResult], time: Time) -> u64 {
    let runs = |job: &&JobResult| {
        job.start.is_some_and(|start| start <= time) && job.finish.is_none_or(|finish| finish > time)
    };
    jobs.iter().filter(runs).map(|job| job.gpu_milli_total).sum()
}

fn waiting_at(jobs: &[JobResult], time: Time) -> u64 {
    let waits = |job: &&JobResult| {
        job.status != JobStatus::NeverPlaced
            && job.submit <= time
            && job.start.is_none_or(|start| start > time)
    };
    jobs.iter().filter(waits).count() as u64
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn metrics_equal_a_naive_recomputation(
        jobs in submissions(),
        policy in prop::sample::select(vec!["fifo+binpack", "fifo-skip+fgd", "sjf+spread", "sjf-skip+random", "default"]),
        period_s in prop::sample::select(vec![0.0, 0.0, 7.0]),
        latency_s in prop::sample::select(vec![0.0, 0.0, 0.5]),
        retry in prop::sample::select(vec![Retry::Always, Retry::Always, Retry::Never]),
    ) {
        let cluster = cluster(&[4, 2, 0, 4]);
        let config = Config {
            cycle_period: Time::from_s(period_s),
            decision_latency: Time::from_s(latency_s),
            // With regular cycles a job that is dropped waits for the cycle, which the list of jobs does not tell.
            retry: if period_s > 0.0 { Retry::Always } else { retry },
            ..Config::default()
        };
        // Pods hold GPUs before their job runs: until they have started, and under `default` until the gang is whole.
        let holds_early = latency_s > 0.0 || policy == "default";
        let result = simulate(&cluster, &jobs, policy, config).unwrap();
        let summary = &result.summary;
        let all = &result.jobs;
        prop_assert_eq!(all.len(), jobs.len());

        // Everything that fits the empty cluster runs to its end, for its duration, unless gangs deadlock.
        for (job, submission) in all.iter().zip(&jobs) {
            prop_assert!(job.status != JobStatus::Queued || policy == "default");
            prop_assert_eq!(job.start.is_none(), matches!(job.status, JobStatus::NeverPlaced | JobStatus::Queued));
            prop_assert_eq!(job.reason.is_some(), job.start.is_none());
            if let (Some(start), Some(finish)) = (job.start, job.finish) {
                prop_assert!(start >= job.submit);
                prop_assert_eq!(finish, start + submission.duration.unwrap());
                prop_assert_eq!(job.status, submission.end);
            }
        }

        let seconds = |value: Option<Time>| value.map(Time::as_s);
        let delays: Vec<_> = all.iter().filter_map(|job| seconds(job.queue_delay())).collect();
        let completion: Vec<_> = all.iter().filter_map(|job| seconds(job.completion_time())).collect();
        prop_assert!(same(&summary.queue_delay, &naive_distribution(delays)));
        prop_assert!(same(&summary.completion_time, &naive_distribution(completion)));

        // Integrals, from the instants at which anything changes.
        let first = all.iter().map(|job| job.submit).min().unwrap_or_default();
        let last = all.iter().map(|job| job.finish.unwrap_or(job.submit)).max().unwrap_or_default();
        let last_end = all.iter().filter_map(|job| job.finish).max();
        prop_assert_eq!(summary.makespan, last_end.map_or(Time::ZERO, |end| end.since(first)));
        let mut instants: Vec<Time> =
            all.iter().flat_map(|job| [Some(job.submit), job.start, job.finish]).flatten().collect();
        instants.sort_unstable();
        let (mut held, mut waiting, mut peak, mut longest) = (0.0, 0.0, 0_u64, 0_u64);
        for pair in instants.windows(2) {
            let span_s = pair[1].since(pair[0]).as_s();
            if span_s > 0.0 {
                held += held_at(all, pair[0]) as f64 * span_s;
                waiting += waiting_at(all, pair[0]) as f64 * span_s;
                peak = peak.max(held_at(all, pair[0]));
                longest = longest.max(waiting_at(all, pair[0]));
            }
        }
        let elapsed_s = last.since(first).as_s();
        if elapsed_s > 0.0 {
            let capacity = cluster.gpu_capacity_milli() as f64;
            prop_assert!(close(summary.gpu_utilisation, held / capacity / elapsed_s));
            if holds_early {
                prop_assert!(summary.gpu_allocation >= summary.gpu_utilisation - 1e-9);
                prop_assert!(summary.gpu_allocation_peak >= peak as f64 / capacity - 1e-9);
            } else {
                prop_assert!(close(summary.gpu_allocation, summary.gpu_utilisation));
                prop_assert!(close(summary.gpu_allocation_peak, peak as f64 / capacity));
            }
            prop_assert!(close(summary.queue_length_mean, waiting / elapsed_s));
            prop_assert_eq!(summary.queue_length_max, longest);
        }

        // The timeline tells the state at its instants.
        for row in &result.timeline {
            prop_assert_eq!(row.gpu_utilised_milli, held_at(all, row.time), "at {:?}", row.time);
            prop_assert_eq!(row.jobs_queued, waiting_at(all, row.time), "at {:?}", row.time);
            prop_assert!(row.gpu_fragmented_milli <= (row.gpu_capacity_milli - row.gpu_allocated_milli) as f64 + 1e-3);
            prop_assert!(row.gpu_stranded_milli <= row.gpu_fragmented_milli + 1e-3);
        }

        // Groups partition the jobs.
        for groups in [&summary.by_queue, &summary.by_user] {
            prop_assert_eq!(groups.iter().map(|group| group.jobs.submitted).sum::<u64>(), summary.jobs.submitted);
            prop_assert_eq!(groups.iter().map(|group| group.queue_delay.count).sum::<u64>(), summary.queue_delay.count);
        }
    }

    #[test]
    fn the_same_seed_gives_the_same_run(jobs in submissions(), seed in any::<u64>()) {
        let config = || Config { seed, ..Config::default() };
        let run = || simulate(&cluster(&[4, 2, 4]), &jobs, "fifo+random", config()).unwrap();
        prop_assert_eq!(run(), run());
    }
}
