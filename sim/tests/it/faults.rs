//! What breaks, and what becomes of the jobs on it.

use std::sync::Arc;

use foretell_sim::framework::{ClusterState, NodeId, RestartCost, Time};
use foretell_sim::log::{JobResult, JobStatus, Observer, Record, RunResult};
use foretell_sim::platform::{
    BlockRule, CheckpointCost, Checkpoints, Config, FailureOutcome, FailurePolicy, FaultKind, FaultRate,
    Faults, NodeCheck, OnFailure, Place, PreemptionCost, Repair, RepairSpread, RolePolicy, ScheduledFault,
    SizedBytes, Storage, Stragglers, Submission,
};
use foretell_testkit::check_invariants;
use proptest::prelude::*;

use crate::fixtures::{cluster, job, observe_stored, profile, share, simulate};

fn at(at_s: f64, node: usize, kind: FaultKind, duration_s: f64) -> ScheduledFault {
    let (at, duration) = (Time::from_s(at_s), Some(Time::from_s(duration_s)));
    ScheduledFault { at, place: Place::Node(NodeId::new(node)), kind, device: None, duration }
}

/// Faults at given times, noticed after 5 s; checkpoints every 10 s, 3 s to start again, no grace.
fn config(scheduled: &[ScheduledFault], on_failure: OnFailure) -> Config {
    let preemption = PreemptionCost {
        checkpoints: Checkpoints::Every(Time::from_s(10.0)),
        checkpoint_cost: CheckpointCost::default(),
        restart_cost: RestartCost::of_every_job(Time::from_s(3.0)),
        resize_cost: Time::ZERO,
        termination_grace: Time::ZERO,
    };
    let policy = FailurePolicy { on_failure, ..FailurePolicy::default() };
    let detection = Time::from_s(5.0);
    let faults = Faults { scheduled: scheduled.to_vec(), detection, policy, ..Faults::default() };
    Config { preemption, faults: Some(faults), ..Config::default() }
}

/// When jobs end, the GPU-seconds that they lost, and how often they failed.
fn ends(result: &RunResult) -> Vec<(f64, f64, u32)> {
    let end = |job: &JobResult| (job.finish.unwrap().as_s(), job.gpu_lost as f64 / 1e12, job.failures);
    result.jobs.iter().map(end).collect()
}

#[track_caller]
fn check(nodes: &[u32], jobs: &[Submission], config: Config, expected: &[(f64, f64, u32)]) -> RunResult {
    let result = simulate(&cluster(nodes), jobs, "fifo-skip+binpack", config).unwrap();
    assert_eq!(ends(&result), expected);
    result
}

#[test]
fn a_gang_whose_node_fails_goes_back_to_its_checkpoint() {
    let gang = [job(0.0, 100.0, 2, 1)];
    let fault = [at(34.0, 0, FaultKind::Node, 60.0)];
    let config = || config(&fault, OnFailure::RestartJob);
    // 4 s of work, 5 s until it notices, 3 s to start again, on two GPUs: at 39 s on the third node, or when the first is
    // repaired.
    let result = check(&[1, 1, 1], &gang, config(), &[(112.0, 24.0, 1)]);
    let faults = result.summary.faults.as_ref().unwrap();
    assert_eq!((faults.gpu_rework_s, faults.gpu_unnoticed_s, faults.gpu_restarts_s), (8.0, 10.0, 6.0));
    assert!((faults.effective_time_ratio - 100.0 / 112.0).abs() < 1e-9);
    assert_eq!((faults.interruptions, faults.gpu_broken_s), (1, 60.0));
    let [fault] = &result.faults[..] else { panic!("{:?}", result.faults) };
    assert_eq!((fault.time.as_s(), fault.repair.as_s(), &*fault.node), (34.0, 60.0, "node-0"));
    assert_eq!((fault.jobs[0].noticed.as_s(), fault.jobs[0].pods), (39.0, 1));
    assert_eq!(fault.jobs[0].outcome, FailureOutcome::Restarts);
    let result = check(&[1, 1], &gang, config(), &[(167.0, 24.0, 1)]);
    // What broke is not there to be allocated.
    let faults = result.summary.faults.unwrap();
    assert!((faults.effective_time_ratio - 100.0 / 167.0).abs() < 1e-9);
    assert!(result.summary.gpu_allocation_peak <= 1.0);
    let capacity = |at_s: f64| {
        let row = result.timeline.iter().rfind(|row| row.time <= Time::from_s(at_s)).unwrap();
        row.gpu_capacity_milli
    };
    assert_eq!([20.0, 36.0, 50.0, 120.0].map(capacity), [2000, 2000, 1000, 2000]);
}

#[test]
fn each_kind_hits_what_it_says() {
    // On node 0 a gang's first pod and a job of its own, on node 1 the gang's second pod.
    let jobs = [job(0.0, 100.0, 2, 2), job(0.0, 100.0, 1, 1), job(50.0, 10.0, 1, 1)];
    let run = |kind, device, expected: &[(f64, f64, u32)]| {
        let fault = ScheduledFault { device, ..at(20.0, 0, kind, 50.0) };
        check(&[4, 2], &jobs, config(&[fault], OnFailure::RestartJob), expected)
    };
    // The third job fits beside the others. Of the gang 5 s until it notices and 3 s to start, on four GPUs.
    let gang = (108.0, 32.0, 1);
    // All of node 0: the gang starts again at 70 s, and the others go to node 1 meanwhile.
    run(FaultKind::Node, None, &[(153.0, 32.0, 1), (108.0, 8.0, 1), (60.0, 0.0, 0)]);
    // One of the gang's GPUs: it starts again on the one that nobody has, and the third job has the one that was repaired.
    run(FaultKind::Gpu, Some(1), &[gang, (100.0, 0.0, 0), (80.0, 0.0, 0)]);
    // A GPU that nobody has.
    run(FaultKind::Gpu, Some(3), &[(100.0, 0.0, 0), (100.0, 0.0, 0), (80.0, 0.0, 0)]);
    // The network: who is alone on the node goes on, and nobody joins it.
    for kind in [FaultKind::Nic, FaultKind::Link] {
        run(kind, None, &[(153.0, 32.0, 1), (100.0, 0.0, 0), (60.0, 0.0, 0)]);
    }
    // A process crashes, and its job starts again at once.
    run(FaultKind::Software, None, &[gang, (100.0, 0.0, 0), (60.0, 0.0, 0)]);
}

#[test]
fn jobs_do_about_failures_what_they_say() {
    let elastic = |on_failure, max_retries| {
        let mut gang = job(0.0, 100.0, 2, 1);
        gang.roles[0].minimum = 1;
        gang.on_failure =
            Some(Arc::new(FailurePolicy { on_failure, max_retries, ..FailurePolicy::default() }));
        [gang]
    };
    let run = |jobs: &[Submission], expected| {
        let faults = [at(34.0, 0, FaultKind::Node, 1000.0)];
        check(&[1, 1], jobs, config(&faults, OnFailure::Fail), &[expected])
    };
    let outcome = |result: &RunResult| (result.jobs[0].status, result.faults[0].jobs[0].outcome);
    // With one pod from 42 s on: 70 s of two are 140 of one.
    let result = run(&elastic(OnFailure::RestartPod, None), (182.0, 21.0, 1));
    assert_eq!(outcome(&result), (JobStatus::Completed, FailureOutcome::GoesOn { pods: 1 }));
    let result = run(&elastic(OnFailure::RestartJob, Some(1)), (182.0, 21.0, 1));
    assert_eq!(outcome(&result), (JobStatus::Completed, FailureOutcome::Restarts));
    let result = run(&elastic(OnFailure::RestartJob, Some(0)), (39.0, 18.0, 1));
    assert_eq!(outcome(&result), (JobStatus::Failed, FailureOutcome::GivesUp));
    assert_eq!((result.summary.jobs.failed, result.summary.faults.unwrap().jobs_given_up), (1, 1));
    // As the run has it.
    let mut gang = elastic(OnFailure::RestartJob, None);
    gang[0].on_failure = None;
    assert_eq!(outcome(&run(&gang, (39.0, 18.0, 1))).1, FailureOutcome::GivesUp);
}

#[test]
fn roles_may_differ() {
    let server = foretell_sim::framework::TaskSpec { role: "ps".into(), ..crate::fixtures::pod(0) };
    let worker = foretell_sim::framework::TaskSpec { role: "worker".into(), ..crate::fixtures::pod(1) };
    let mut jobs = [job(0.0, 100.0, 1, 0)];
    jobs[0].roles = vec![
        foretell_sim::platform::Role::gang(1, server),
        foretell_sim::platform::Role { count: 2, minimum: 1, spec: worker },
    ];
    let worker = RolePolicy { role: "worker".into(), on_failure: OnFailure::RestartPod, max_retries: None };
    let roles = vec![worker];
    jobs[0].on_failure =
        Some(Arc::new(FailurePolicy { on_failure: OnFailure::Fail, roles, max_retries: None }));
    let outcome = |node| {
        let config = config(&[at(34.0, node, FaultKind::Node, 1000.0)], OnFailure::RestartJob);
        let result = simulate(&cluster(&[0, 1, 1]), &jobs, "fifo+spread", config).unwrap();
        result.faults[0].jobs.first().map(|job| job.outcome)
    };
    let outcomes: Vec<_> = (0..3).map(outcome).collect();
    // One node has the server, with or without a worker: that ends it.
    assert!(outcomes.contains(&Some(FailureOutcome::GivesUp)), "{outcomes:?}");
    assert!(outcomes.contains(&Some(FailureOutcome::GoesOn { pods: 2 })), "{outcomes:?}");
}

/// Failures are counted for all pods, and for those of a role that has a bound. By hand as in `jobs_do_about_failures_what_they_say`.
#[test]
fn roles_may_have_bounds_of_their_own() {
    let of = |on_failure, retries| RolePolicy { role: "worker".into(), on_failure, max_retries: retries };
    for (max_retries, role, expected) in [
        (None, of(OnFailure::RestartJob, None), JobStatus::Completed),
        (None, of(OnFailure::RestartJob, Some(2)), JobStatus::Completed),
        (None, of(OnFailure::RestartJob, Some(1)), JobStatus::Failed),
        (Some(1), of(OnFailure::RestartJob, Some(2)), JobStatus::Failed),
        (None, of(OnFailure::Fail, None), JobStatus::Failed),
        // A role that the job does not have.
        (None, RolePolicy { role: "ps".into(), ..of(OnFailure::Fail, Some(0)) }, JobStatus::Completed),
    ] {
        let mut jobs = [job(0.0, 100.0, 1, 1)];
        let policy = FailurePolicy { max_retries, roles: vec![role], ..FailurePolicy::default() };
        jobs[0].on_failure = Some(Arc::new(policy.clone()));
        let faults = [at(20.0, 0, FaultKind::Software, 0.0), at(50.0, 0, FaultKind::Software, 0.0)];
        let run =
            |jobs: &[Submission], config| simulate(&cluster(&[1]), jobs, "fifo+binpack", config).unwrap();
        let result = run(&jobs, config(&faults, OnFailure::RestartJob));
        assert_eq!(result.jobs[0].status, expected, "{policy:?}");
        // As the run has it.
        jobs[0].on_failure = None;
        let mut config = config(&faults, OnFailure::RestartJob);
        config.faults.as_mut().unwrap().policy = policy.clone();
        assert_eq!(run(&jobs, config).jobs[0].status, expected, "{policy:?} as the run has it");
    }
}

#[test]
fn a_second_fault_before_the_first_is_noticed_is_the_same_failure() {
    let faults = [at(34.0, 0, FaultKind::Node, 1.0), at(36.0, 1, FaultKind::Node, 60.0)];
    let jobs = [job(0.0, 100.0, 2, 1)];
    let result = check(&[1, 1, 1], &jobs, config(&faults, OnFailure::RestartJob), &[(112.0, 24.0, 1)]);
    assert_eq!(result.faults[0].jobs[0].pods, 2);
    assert!(result.faults[1].jobs.is_empty());
}

#[test]
fn pods_that_wait_for_their_gang_are_taken_off_at_once() {
    // Half of the gang is there at 0 s, under a policy that starts pods one by one.
    let jobs = [job(0.0, 50.0, 1, 1), job(1.0, 10.0, 2, 1)];
    let faults = [at(20.0, 1, FaultKind::Node, 10.0)];
    let result =
        simulate(&cluster(&[1, 1]), &jobs, "default", config(&faults, OnFailure::RestartJob)).unwrap();
    assert_eq!(result.faults[0].jobs[0].outcome, FailureOutcome::DidNotRun);
    assert_eq!(ends(&result), [(50.0, 0.0, 0), (60.0, 0.0, 0)]);
    assert_eq!(result.summary.faults.unwrap().interruptions, 0);
    // 1 to 20 s, and 30 to 50 s.
    assert!((result.summary.gpu_partial_s - 39.0).abs() < 1e-6, "{}", result.summary.gpu_partial_s);
}

/// Failures so many times in a thousand node-days, of every kind.
fn rates(per_1000_node_days: [f64; 5], repair_s: f64) -> [FaultRate; 5] {
    let repair = Repair { mean: Time::from_s(repair_s), spread: RepairSpread::Exponential };
    per_1000_node_days.map(|of_kind| FaultRate { per_node_s: of_kind / 86.4e6, repair })
}

#[test]
fn a_run_ends_although_parts_fail_for_ever() {
    // One job that ends, one that never does, and one for which there is no room beside that.
    let mut endless = job(0.0, 1.0, 1, 1);
    endless.duration = None;
    let jobs = [endless, job(0.0, 86_400.0, 1, 1), job(0.0, 60.0, 2, 1)];
    let faults = Faults { rates: rates([0.0, 0.0, 0.0, 0.0, 1e4], 60.0), ..Faults::default() };
    let config = Config { faults: Some(faults), ..config(&[], OnFailure::RestartJob) };
    let result = simulate(&cluster(&[1, 1]), &jobs, "fifo+binpack", config).unwrap();
    let status = |job: &JobResult| job.status;
    let expected = [JobStatus::Running, JobStatus::Completed, JobStatus::Queued];
    assert!(result.jobs.iter().map(status).eq(expected), "{:?}", result.jobs);
    assert!(result.faults.len() > 10);
    assert!(result.faults.last().unwrap().time > result.jobs[1].finish.unwrap());
}

#[test]
fn a_job_is_interrupted_as_often_as_its_nodes_fail() {
    // On 32 nodes for 100 days, with 20 failures a thousand node-days: 64.
    let jobs = [job(0.0, 100.0 * 86_400.0, 32, 8)];
    let faults = Faults { rates: rates([4.0; 5], 60.0), ..Faults::default() };
    let mut interruptions = 0.0;
    let mut days = 0.0;
    for seed in 0..20 {
        let config = Config { seed, faults: Some(faults.clone()), ..config(&[], OnFailure::RestartJob) };
        let result = simulate(&cluster(&[8; 40]), &jobs, "fifo+binpack", config).unwrap();
        interruptions += f64::from(result.jobs[0].failures);
        days += result.jobs[0].finish.unwrap().as_s() / 86_400.0;
    }
    let expected = days * 32.0 * 20.0 / 1000.0;
    assert!((interruptions - expected).abs() < 3.0 * expected.sqrt(), "{interruptions}, not {expected}");
}

#[test]
fn youngs_interval_follows_the_nodes_of_the_job() {
    // 10 s each, one failure in 20,000 s: every sqrt(2 * 10 * 20,000) = 632.5 s of computing.
    let mut config = config(&[at(10_000.0, 0, FaultKind::Node, 60.0)], OnFailure::RestartJob);
    let per_node_s = 1.0 / 40_000.0;
    let repair = Repair::default();
    config.preemption.checkpoints = Checkpoints::Young;
    let cost = &mut config.preemption.checkpoint_cost;
    cost.size = Some(SizedBytes { base: 0, per_gpu: 35_000_000_000 });
    (cost.write_bytes_per_s, cost.read_bytes_per_s) = (7_000_000_000, 10_000_000_000);
    let faults = config.faults.as_mut().unwrap();
    faults.rates[FaultKind::Software as usize] = FaultRate { per_node_s, repair };
    // No software fault before the end with this seed.
    config.seed = (0..100)
        .find(|&seed| {
            let config = Config { seed, ..config.clone() };
            let result = simulate(&cluster(&[1, 1]), &[job(0.0, 12_000.0, 2, 1)], "fifo+binpack", config);
            result.unwrap().faults.len() == 1
        })
        .unwrap();
    let result = simulate(&cluster(&[1, 1]), &[job(0.0, 12_000.0, 2, 1)], "fifo+binpack", config).unwrap();
    let faults = result.summary.faults.unwrap();
    // Fifteen of 642.456 s are safe at 9,636.8 s: 363.2 s of two GPUs are lost.
    let interval = (2.0_f64 * 10.0 * 20_000.0).sqrt();
    let rework = 2.0 * (10_000.0 - 15.0 * (interval + 10.0));
    assert!((faults.gpu_rework_s - rework).abs() < 1e-3, "{} not {rework}", faults.gpu_rework_s);
    assert!((faults.gpu_restarts_s - 20.0).abs() < 1e-6);
    // Fifteen before, and as many as whole intervals are left but for one at the very end.
    let left = ((12_000.0 - 15.0 * interval) / interval).floor();
    assert!((faults.gpu_checkpoints_s - 20.0 * (15.0 + left)).abs() < 1e-6, "{}", faults.gpu_checkpoints_s);
}

#[test]
fn a_spare_serves_until_the_repair() {
    // Three nodes of which one is held back, for a gang of two: it starts again at once, twice.
    let faults = [at(34.0, 0, FaultKind::Node, 30.0), at(80.0, 1, FaultKind::Node, 30.0)];
    let jobs = [job(0.0, 100.0, 2, 1), job(1.0, 1.0, 1, 1)];
    let run = |spares, expected: &[(f64, f64, u32)]| {
        let mut config = config(&faults, OnFailure::RestartJob);
        config.faults.as_mut().unwrap().spares = spares;
        check(&[1, 1, 1], &jobs, config, expected)
    };
    // 30 s are safe when it fails at 34 s; it computes again from 42 s; 60 s are safe at 80 s; again from 88 s. With a spare
    // there is room for the second job only when that is opened.
    run(1, &[(128.0, 56.0, 2), (35.0, 0.0, 0)]);
    run(0, &[(128.0, 56.0, 2), (2.0, 0.0, 0)]);
}

#[test]
fn a_node_that_fails_too_often_is_taken_out() {
    let faults = [at(10.0, 0, FaultKind::Node, 1.0), at(30.0, 0, FaultKind::Gpu, 1.0)];
    let run = |failures| {
        let mut config = config(&faults, OnFailure::RestartJob);
        let window = Time::from_s(60.0);
        config.faults.as_mut().unwrap().block = Some(BlockRule { failures, window });
        simulate(&cluster(&[1]), &[job(0.0, 5.0, 1, 1), job(40.0, 5.0, 1, 1)], "fifo+binpack", config)
            .unwrap()
    };
    assert_eq!(run(3).jobs[1].status, JobStatus::Completed);
    let result = run(2);
    assert_eq!(result.jobs[1].status, JobStatus::Queued);
    assert_eq!(result.timeline.last().unwrap().gpu_capacity_milli, 0);
}

#[test]
fn a_gang_waits_for_its_slowest_node_until_that_is_found() {
    let stragglers = |detection_s: Option<f64>, catches: Option<f64>| {
        let mut config = config(&[], OnFailure::RestartJob);
        let faults = config.faults.as_mut().unwrap();
        faults.stragglers = Some(Stragglers {
            share: 0.5,
            speed_millionths: 500_000,
            detection: detection_s.map(Time::from_s),
        });
        faults.rates[FaultKind::Node as usize].repair.mean = Time::from_s(1.0);
        faults.check = catches.map(|catches| NodeCheck { time: Time::from_s(2.0), catches });
        config
    };
    // A seed under which one of two nodes is slow.
    let is_half = |seed: &u64| {
        let ends = [1, 2].map(|tasks| {
            let config = Config { seed: *seed, ..stragglers(None, None) };
            let result = simulate(&cluster(&[1, 1]), &[job(0.0, 100.0, tasks, 1)], "fifo+binpack", config);
            result.unwrap().jobs[0].finish.unwrap()
        });
        ends == [100.0, 200.0].map(Time::from_s)
    };
    let seed = (0..100).find(is_half).unwrap();
    let run = |config, expected| {
        let config = Config { seed, ..config };
        check(&[1, 1], &[job(0.0, 100.0, 2, 1)], config, &[expected])
    };
    // Half of the time of both GPUs is for nothing.
    let result = run(stragglers(None, None), (200.0, 200.0, 0));
    let faults = result.summary.faults.unwrap();
    assert_eq!((faults.gpu_slow_s, faults.effective_time_ratio), (200.0, 0.5));
    // Found after 40 s: 20 s of work are safe. 5 s until it notices, 3 s to start, 80 s of work.
    let result = run(stragglers(Some(40.0), None), (128.0, 56.0, 1));
    assert!((result.summary.faults.unwrap().gpu_slow_s - 40.0).abs() < 1e-9);
    // Found by the check, which is made twice.
    run(stragglers(None, Some(1.0)), (2.0 + 5.0 + 3.0 + 2.0 + 100.0, 24.0, 1));
    run(stragglers(None, Some(0.0)), (202.0, 204.0, 0));
}

/// Watches a run: the state is sound, and nothing new begins on what is broken.
struct Watch;

impl Observer for Watch {
    fn advance(&mut self, _from: Time, _to: Time, state: &ClusterState) {
        check_invariants(state).unwrap();
    }

    fn record(&mut self, _now: Time, record: &Record<'_>, state: &ClusterState) {
        if let Record::PodBound { node, gpus, .. } = *record {
            assert!(gpus.iter().all(|device| state.is_gpu_healthy(node, device)), "{record:?}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// What a job held while it ran is its work and what it lost, whatever breaks when, under any policy.
    #[test]
    fn work_is_conserved_over_failures(
        sizes in prop::collection::vec((0_u32..30, 1_u32..300, 1_u32..4, 0_u32..3, any::<bool>(), 0_u32..4), 1..25),
        policy in prop::sample::select(vec![
            "fifo+binpack", "fifo-skip+spread", "default", "srtf+binpack", "easy+binpack", "gang", "drf-reclaim",
            "las+binpack", "tiresias+binpack", "conservative+binpack", "kueue", "kai", "slurm", "optimus", "elasticflow",
        ]),
        per_1000_node_days in prop::array::uniform5(0.0..3e5_f64),
        repair_s in 1.0..1000.0_f64,
        latency_s in prop::sample::select(vec![0.0, 0.0, 0.5]),
        checkpoint in prop::option::of(prop::sample::select(vec![0.0, 3.0, -1.0])),
        write_s in prop::sample::select(vec![0.0, 1.0]),
        stall_millionths in prop::sample::select(vec![1_000_000, 300_000]),
        detection_s in prop::sample::select(vec![0.0, 4.0]),
        grace_s in prop::sample::select(vec![0.0, 1.5]),
        resize_s in prop::sample::select(vec![0.0, 0.75]),
        spares in 0_u32..2,
        slow_share in prop::sample::select(vec![0.0, 0.5]),
        check in prop::option::of(0.0..1.0_f64),
        storage in prop::option::of(prop::sample::select(vec![1_u64 << 29, 1 << 31])),
        seed in any::<u64>(),
    ) {
        let mut clock_s = 0.0;
        let actions = [OnFailure::RestartJob, OnFailure::RestartPod, OnFailure::Fail];
        let jobs: Vec<Submission> = sizes.iter().map(|&(gap, duration, tasks, gpus, elastic, action)| {
            clock_s += f64::from(gap);
            let mut submission = job(clock_s, f64::from(duration), tasks, gpus);
            if gpus == 2 && tasks == 1 {
                submission = share(clock_s, f64::from(duration), 300);
            }
            if elastic {
                submission.roles[0].minimum = 1;
            }
            // Those that never end would make the run as long.
            let policy = |&on_failure| FailurePolicy { on_failure, max_retries: Some(5), ..FailurePolicy::default() };
            let policy = actions.get(action as usize).map(policy);
            submission.on_failure = Some(Arc::new(policy.unwrap_or(FailurePolicy { max_retries: Some(2), ..FailurePolicy::default() })));
            submission
        }).collect();
        let mut config = config(&[], OnFailure::RestartJob);
        let faults = config.faults.as_mut().unwrap();
        faults.rates = rates(per_1000_node_days, repair_s);
        faults.detection = Time::from_s(detection_s);
        faults.spares = spares;
        let detection = Some(Time::from_s(20.0));
        faults.stragglers = Some(Stragglers { share: slow_share, speed_millionths: 700_000, detection });
        faults.check = check.map(|catches| NodeCheck { time: Time::from_s(1.5), catches });
        let preemption = &mut config.preemption;
        preemption.checkpoints = match checkpoint {
            None => Checkpoints::Never,
            Some(interval_s) if interval_s < 0.0 => Checkpoints::Young,
            Some(interval_s) => Checkpoints::Every(Time::from_s(interval_s)),
        };
        preemption.checkpoint_cost.size = (write_s > 0.0).then_some(SizedBytes { base: 1 << 30, per_gpu: 0 });
        preemption.checkpoint_cost.write_bytes_per_s = 1 << 30;
        preemption.checkpoint_cost.stall_millionths = stall_millionths;
        preemption.termination_grace = Time::from_s(grace_s);
        preemption.resize_cost = Time::from_s(resize_s);
        let config = Config { seed, decision_latency: Time::from_s(latency_s), ..config };
        // What one job writes at, two write at together, or half of that.
        let storage = storage.map(|bytes_per_s| Storage {
            write_bytes_per_s: bytes_per_s,
            read_bytes_per_s: bytes_per_s,
            node_bytes_per_s: Some(1 << 30),
        });
        let nodes = cluster(&[4, 2, 2, 0]);
        let result = observe_stored(&nodes, &jobs, profile(policy, &jobs), (config, storage), &mut Watch).unwrap();
        let (mut lost, mut failures) = (0, 0);
        for (job, submission) in result.jobs.iter().zip(&jobs) {
            lost += job.gpu_lost;
            failures += u64::from(job.failures);
            prop_assert!(job.gpu_lost <= job.gpu_held, "{:?}", job);
            if job.status != JobStatus::Completed {
                continue;
            }
            let work = u128::from(submission.gpu_milli_total()) * u128::from(submission.duration.unwrap().as_nanos());
            // An elastic job ends on the nanosecond after its work is done.
            let rounding = u128::from(submission.gpu_milli_total());
            let kept = job.gpu_held - job.gpu_lost;
            prop_assert!(kept >= work && kept < work + rounding.max(1), "{} of {}", kept, work);
        }
        let faults = result.summary.faults.as_ref().unwrap();
        let parts = faults.gpu_rework_s + faults.gpu_unnoticed_s + faults.gpu_stopped_s + faults.gpu_restarts_s
            + faults.gpu_checkpoints_s + faults.gpu_slow_s;
        prop_assert!((parts - lost as f64 / 1e12).abs() < 1e-6);
        prop_assert_eq!(faults.interruptions, failures);
        prop_assert_eq!(faults.by_kind.iter().map(|kind| kind.faults).sum::<u64>(), result.faults.len() as u64);
        prop_assert!(result.summary.gpu_allocation_peak <= 1.0);
    }
}
