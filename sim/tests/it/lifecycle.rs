//! When jobs start and end, worked out by hand.

use foretell_sim::engine::{Budget, BudgetError};
use foretell_sim::framework::{ClusterState, Time};
use foretell_sim::log::JobStatus;
use foretell_sim::platform::{Config, Retry, SimulationError, Submission};

use crate::fixtures::{cluster, job, share, simulate};

/// Start and end of each job in seconds.
fn times(
    cluster: &ClusterState,
    jobs: &[Submission],
    policy: &str,
    config: Config,
) -> Vec<Option<(f64, f64)>> {
    let result = simulate(cluster, jobs, policy, config).unwrap();
    result.jobs.iter().map(|job| Some((job.start?.as_s(), job.finish?.as_s()))).collect()
}

#[track_caller]
fn check(gpus_per_node: &[u32], jobs: &[Submission], policy: &str, expected: &[Option<(f64, f64)>]) {
    assert_eq!(times(&cluster(gpus_per_node), jobs, policy, Config::default()), expected, "{policy}");
}

#[test]
fn jobs_wait_in_the_order_of_their_policy() {
    // Four GPUs: the first job takes three, so the second (two GPUs) waits; the others would fit beside the first.
    let jobs = [job(0.0, 100.0, 1, 3), job(1.0, 50.0, 1, 2), job(2.0, 10.0, 1, 1), job(3.0, 5.0, 1, 4)];
    let ends = |starts: [f64; 4]| {
        let durations = [100.0, 50.0, 10.0, 5.0];
        starts
            .into_iter()
            .zip(durations)
            .map(|(start, duration)| Some((start, start + duration)))
            .collect::<Vec<_>>()
    };
    check(&[4], &jobs, "fifo+binpack", &ends([0.0, 100.0, 100.0, 150.0]));
    check(&[4], &jobs, "fifo-skip+binpack", &ends([0.0, 100.0, 2.0, 150.0]));
    // Shortest first: at 2 s the job of 10 s is the head and fits; from 3 s on the job of 5 s is.
    check(&[4], &jobs, "sjf+binpack", &ends([0.0, 105.0, 2.0, 100.0]));
    check(&[4], &jobs, "sjf-skip+binpack", &ends([0.0, 105.0, 2.0, 100.0]));
}

#[test]
fn priority_goes_first() {
    let mut jobs = [job(0.0, 10.0, 1, 4), job(1.0, 10.0, 1, 4), job(2.0, 10.0, 1, 4)];
    jobs[2].priority = 1;
    check(&[4], &jobs, "fifo+binpack", &[Some((0.0, 10.0)), Some((20.0, 30.0)), Some((10.0, 20.0))]);
}

#[test]
fn one_queue_does_not_block_another() {
    let mut jobs = [job(0.0, 10.0, 1, 3), job(1.0, 10.0, 1, 2), job(2.0, 10.0, 1, 1)];
    jobs[2].queue = "other".into();
    check(&[4], &jobs, "fifo+binpack", &[Some((0.0, 10.0)), Some((10.0, 20.0)), Some((2.0, 12.0))]);
}

#[test]
fn a_gang_is_placed_whole_or_not_at_all() {
    // The second job needs four GPUs on each of two nodes; one node is busy for 10 s.
    let jobs = [job(0.0, 10.0, 1, 1), job(1.0, 10.0, 2, 4), job(2.0, 1.0, 1, 4)];
    check(&[4, 4], &jobs, "fifo-skip+binpack", &[Some((0.0, 10.0)), Some((10.0, 20.0)), Some((2.0, 3.0))]);
}

#[test]
fn shares_of_a_gpu_fill_it() {
    let jobs = [share(0.0, 10.0, 600), share(0.0, 10.0, 400), share(0.0, 10.0, 500)];
    check(&[1], &jobs, "fifo+binpack", &[Some((0.0, 10.0)), Some((0.0, 10.0)), Some((10.0, 20.0))]);
}

#[test]
fn jobs_that_no_empty_cluster_could_hold_are_told_so() {
    let jobs = [job(0.0, 1.0, 1, 5), job(0.0, 1.0, 3, 4), job(0.0, 1.0, 1, 1)];
    let result = simulate(&cluster(&[4, 4]), &jobs, "fifo+binpack", Config::default()).unwrap();
    let told: Vec<_> =
        result.jobs.iter().map(|job| (job.status, job.reason.as_deref().unwrap_or(""))).collect();
    assert_eq!(
        told,
        [
            (
                JobStatus::NeverPlaced,
                "fits no node even if the cluster were empty (none of 2 nodes: 2 with too few GPUs even when empty)"
            ),
            (JobStatus::NeverPlaced, "larger than the cluster: 3 tasks, an empty cluster holds 2"),
            (JobStatus::Completed, ""),
        ]
    );
    let reasons = [("fits no node even if the cluster were empty", 1), ("larger than the cluster", 1)];
    assert_eq!(result.summary.reasons, reasons.map(|(reason, jobs)| (reason.to_owned(), jobs)));
}

#[test]
fn a_cluster_without_nodes_places_nothing() {
    let result = simulate(&cluster(&[]), &[job(0.0, 1.0, 1, 1)], "fifo+fgd", Config::default()).unwrap();
    assert_eq!(result.summary.jobs.never_placed, 1);
    assert_eq!(result.summary.reasons, [("the cluster has no nodes".to_owned(), 1)]);
    assert!(result.summary.gpu_allocation.abs() < f64::EPSILON);
}

#[test]
fn nothing_submitted_is_an_empty_result() {
    let result = simulate(&cluster(&[1]), &[], "fifo+fgd", Config::default()).unwrap();
    assert_eq!((result.jobs.len(), result.summary.makespan), (0, Time::ZERO));
}

#[test]
fn without_retries_what_does_not_fit_is_dropped() {
    let config = Config { retry: Retry::Never, ..Config::default() };
    let jobs = [job(0.0, 10.0, 1, 1), job(5.0, 10.0, 1, 1), job(10.0, 10.0, 1, 1)];
    for policy in ["fifo+binpack", "fifo-skip+binpack", "default"] {
        let result = simulate(&cluster(&[1]), &jobs, policy, config.clone()).unwrap();
        assert_eq!(result.jobs[1].status, JobStatus::NeverPlaced, "{policy}");
        let reason = result.jobs[1].reason.as_deref();
        assert_eq!(reason, Some("no node has room (none of 1 nodes: 1 short of GPU)"), "{policy}");
        assert_eq!(result.jobs[2].start, Some(Time::from_s(10.0)), "{policy}");
    }
}

#[test]
fn what_stands_behind_a_dropped_job_gets_its_try() {
    let config = Config { retry: Retry::Never, ..Config::default() };
    let jobs = [job(0.0, 100.0, 1, 8), job(10.0, 1.0, 1, 8), job(10.0, 1.0, 1, 1), job(10.0, 1.0, 1, 6)];
    for policy in ["fifo+binpack", "fifo-skip+binpack", "default"] {
        let result = simulate(&cluster(&[8, 4]), &jobs, policy, config.clone()).unwrap();
        let statuses: Vec<_> = result.jobs.iter().map(|job| job.status).collect();
        let expected =
            [JobStatus::Completed, JobStatus::NeverPlaced, JobStatus::Completed, JobStatus::NeverPlaced];
        assert_eq!(statuses, expected, "{policy}");
    }
}

#[test]
fn partial_gangs_deadlock_without_gang_scheduling() {
    // A job holds one of two nodes until 5 s. One pod of the first gang takes the other node at 1 s; at 5 s a pod of the
    // second gang, which has priority but displaces nobody, takes the node that becomes free. Neither gang is ever whole.
    let mut jobs = [job(0.0, 5.0, 1, 8), job(1.0, 10.0, 2, 8), job(2.0, 10.0, 2, 8)];
    jobs[2].priority = 1;
    jobs[2].roles[0].spec.never_preempts = true;
    for cycle_period in [Time::ZERO, Time::from_s(0.5)] {
        let config = Config { cycle_period, ..Config::default() };
        let result = simulate(&cluster(&[8, 8]), &jobs, "default", config).unwrap();
        let statuses: Vec<_> = result.jobs.iter().map(|job| job.status).collect();
        assert_eq!(statuses, [JobStatus::Completed, JobStatus::Queued, JobStatus::Queued]);
        let summary = &result.summary;
        assert_eq!(summary.makespan, Time::from_s(5.0));
        // Of 16 GPUs over 5 s: 8 run throughout, 8 are held from 1 s on by a pod that waits.
        assert!((summary.gpu_utilisation - 0.5).abs() < 1e-9, "{}", summary.gpu_utilisation);
        assert!((summary.gpu_allocation - 0.9).abs() < 1e-9, "{}", summary.gpu_allocation);
        assert!(result.timeline.iter().all(|row| row.time <= Time::from_s(5.0)));
        let reason = result.jobs[2].reason.as_deref().unwrap();
        assert_eq!(reason, "1 of 2 tasks find room; for the next, none of 2 nodes: 2 short of GPU");
        // The same jobs under gang scheduling: one after the other.
        let result = simulate(&cluster(&[8, 8]), &jobs, "fifo+binpack", Config::default()).unwrap();
        assert_eq!(result.summary.jobs.completed, 3);
    }
}

#[test]
fn there_is_one_cycle_per_regular_instant() {
    let jobs = [job(0.0, 0.0, 1, 1), job(0.0, 0.0, 1, 1), job(0.0, 0.0, 1, 1)];
    let config = Config { cycle_period: Time::from_s(5.0), ..Config::default() };
    let expected = [0.0, 5.0, 10.0].map(|time| Some((time, time)));
    assert_eq!(times(&cluster(&[1]), &jobs, "fifo+binpack", config), expected);
}

#[test]
fn jobs_that_never_end_leave_others_waiting_with_a_reason() {
    let mut jobs = [job(0.0, 1.0, 1, 1), job(1.0, 1.0, 1, 1), job(2.0, 1.0, 1, 1)];
    jobs[1].duration = None;
    let result = simulate(&cluster(&[1]), &jobs, "fifo+binpack", Config::default()).unwrap();
    let statuses: Vec<_> = result.jobs.iter().map(|job| job.status).collect();
    assert_eq!(statuses, [JobStatus::Completed, JobStatus::Running, JobStatus::Queued]);
    let reason = result.jobs[2].reason.as_deref();
    assert_eq!(reason, Some("no node has room (none of 1 nodes: 1 short of GPU)"));
}

#[test]
fn those_behind_the_head_are_told_who_it_is() {
    let mut jobs = [job(0.0, 1.0, 1, 3), job(1.0, 1.0, 1, 2), job(2.0, 1.0, 1, 1)];
    jobs[0].duration = None;
    let result = simulate(&cluster(&[4]), &jobs, "fifo+binpack", Config::default()).unwrap();
    assert_eq!(result.jobs[2].reason.as_deref(), Some("behind job job@1, the head of its queue"));
}

#[test]
fn cycles_and_decisions_take_their_time() {
    let jobs = [job(0.5, 10.0, 1, 1), job(7.0, 10.0, 1, 1)];
    let config =
        Config { cycle_period: Time::from_s(5.0), decision_latency: Time::from_s(0.25), ..Config::default() };
    // Submitted at 0.5, decided at 5, running from 5.25; its end at 15.25 is seen at 20.
    let expected = [Some((5.25, 15.25)), Some((20.25, 30.25))];
    assert_eq!(times(&cluster(&[1]), &jobs, "fifo+binpack", config), expected);
}

#[test]
fn budgets_end_a_run_with_an_error() {
    let jobs = [job(0.0, 100.0, 1, 1), job(1.0, 1.0, 1, 1), job(2.0, 1.0, 1, 1)];
    let run = |config| simulate(&cluster(&[1]), &jobs, "fifo+binpack", config).unwrap_err();
    let budget = Budget { events: Some(3), ..Budget::default() };
    let error = run(Config { budget, ..Config::default() });
    assert!(matches!(error, SimulationError::Budget(BudgetError::Events { limit: 3, .. })), "{error}");
    let error = run(Config { max_queued_jobs: Some(1), ..Config::default() });
    assert_eq!(
        error.to_string(),
        "more than 1 jobs wait at 2.000 s: the cluster does not keep up with the workload"
    );
}

#[test]
fn a_workload_out_of_order_is_an_error() {
    let jobs = [job(5.0, 1.0, 1, 1), job(1.0, 1.0, 1, 1)];
    let error = simulate(&cluster(&[1]), &jobs, "fifo+binpack", Config::default()).unwrap_err();
    assert_eq!(error.to_string(), "job job@1 is submitted at 1.000 s, after a job submitted at 5.000 s");
}
