//! Checkpoints on storage that jobs share.

use std::sync::Arc;

use foretell_sim::framework::{NodeId, RestartCost, Time};
use foretell_sim::log::RunResult;
use foretell_sim::platform::{
    CheckpointCost, CheckpointSize, Checkpoints, Config, FailurePolicy, FaultKind, Faults, Place,
    PreemptionCost, ScheduledFault, SizedBytes, Storage, Submission,
};
use proptest::prelude::*;

use crate::fixtures::{Deaf, cluster, job, observe_stored, profile};

const GB: u64 = 1_000_000_000;

/// Of 20 GB every 10 s of computing; 3 s to start again, no grace, failures that are noticed after 5 s.
fn config(fault_s: &[f64]) -> Config {
    let size = Some(SizedBytes { base: 20 * GB, per_gpu: 0 });
    let preemption = PreemptionCost {
        checkpoints: Checkpoints::Every(Time::from_s(10.0)),
        checkpoint_cost: CheckpointCost { size, ..CheckpointCost::default() },
        restart_cost: RestartCost::of_every_job(Time::from_s(3.0)),
        resize_cost: Time::ZERO,
        termination_grace: Time::ZERO,
    };
    let fault = |&at_s: &f64| ScheduledFault {
        at: Time::from_s(at_s),
        place: Place::Node(NodeId::new(0)),
        kind: FaultKind::Software,
        device: None,
        duration: None,
    };
    let scheduled = fault_s.iter().map(fault).collect();
    let failing = Faults { scheduled, detection: Time::from_s(5.0), ..Faults::default() };
    Config { preemption, faults: Some(failing), ..Config::default() }
}

/// Writes 10 GB/s in all, reads 5 GB/s.
const STORAGE: Storage =
    Storage { write_bytes_per_s: 10 * GB, read_bytes_per_s: 5 * GB, node_bytes_per_s: None };

fn run(gpus: &[u32], jobs: &[Submission], config: Config, storage: Storage) -> RunResult {
    let profile = profile("fifo-skip+spread", jobs);
    observe_stored(&cluster(gpus), jobs, profile, (config, Some(storage)), &mut Deaf).unwrap()
}

/// When jobs end, to the microsecond.
fn ends(result: &RunResult) -> Vec<f64> {
    result.jobs.iter().map(|job| (job.finish.unwrap().as_s() * 1e6).round() / 1e6).collect()
}

#[test]
fn who_writes_at_the_same_time_shares() {
    let at = |submits_s: &[f64]| {
        let jobs: Vec<Submission> = submits_s.iter().map(|&submit_s| job(submit_s, 100.0, 1, 1)).collect();
        ends(&run(&[1, 1], &jobs, config(&[]), STORAGE))
    };
    // Alone each takes 2 s, nine times.
    assert_eq!(at(&[0.0]), [118.0]);
    // Two at once take 4 s.
    assert_eq!(at(&[0.0, 0.0]), [136.0, 136.0]);
    // One computes while the other writes.
    assert_eq!(at(&[0.0, 6.0]), [118.0, 124.0]);
    // Alone for a second, then two at half the rate for two, then the other alone: 3 s each, every time.
    assert_eq!(at(&[0.0, 1.0]), [127.0, 128.0]);
}

#[test]
fn nodes_and_jobs_have_limits_of_their_own() {
    let mut jobs = [job(0.0, 100.0, 2, 1)];
    let of_nodes = Storage { node_bytes_per_s: Some(4 * GB), ..STORAGE };
    // 8 GB/s from two nodes: 2.5 s.
    assert_eq!(ends(&run(&[1, 1], &jobs, config(&[]), of_nodes)), [122.5]);
    // On one node 5 s.
    assert_eq!(ends(&run(&[2], &jobs, config(&[]), of_nodes)), [145.0]);
    // A job that knows its states, of which one GPU writes all, likewise.
    let mut own = config(&[]);
    own.preemption.checkpoint_cost.size = None;
    jobs[0].checkpoint = Some(CheckpointSize { bytes: 20 * GB, writers: 1 });
    assert_eq!(ends(&run(&[1, 1], &jobs, own.clone(), of_nodes)), [145.0]);
    jobs[0].checkpoint = Some(CheckpointSize { bytes: 20 * GB, writers: 2 });
    assert_eq!(ends(&run(&[1, 1], &jobs, own, of_nodes)), [122.5]);
    // What a job writes at: 4 s.
    let mut slow = config(&[]);
    slow.preemption.checkpoint_cost.write_bytes_per_s = 5 * GB;
    assert_eq!(ends(&run(&[1, 1], &jobs, slow, STORAGE)), [136.0]);
    // By nodes: 20 GB/s for two, 10 for one, of twice as much and as much. 2 s each.
    let mut by_gpus = config(&[]);
    by_gpus.preemption.checkpoint_cost.size = Some(SizedBytes { base: 0, per_gpu: 20 * GB });
    let jobs = [job(0.0, 100.0, 2, 1), job(0.0, 100.0, 1, 1)];
    let storage = Storage { write_bytes_per_s: 30 * GB, ..STORAGE };
    assert_eq!(ends(&run(&[1, 1, 1], &jobs, by_gpus, storage)), [118.0, 118.0]);
}

#[test]
fn who_goes_on_meanwhile_stands_still_for_a_part() {
    let mut half = config(&[]);
    half.preemption.checkpoint_cost.stall_millionths = 500_000;
    // A second of 2 s; beside another 2 of 4.
    assert_eq!(ends(&run(&[1], &[job(0.0, 100.0, 1, 1)], half.clone(), STORAGE)), [109.0]);
    let jobs = [job(0.0, 100.0, 1, 1), job(0.0, 100.0, 1, 1)];
    assert_eq!(ends(&run(&[1, 1], &jobs, half.clone(), STORAGE)), [118.0, 118.0]);
    // The next is not taken before one is written: every 6 s of computing, and 6 s of standing still. Sixteen of them.
    half.preemption.checkpoint_cost.size = Some(SizedBytes { base: 120 * GB, per_gpu: 0 });
    half.preemption.checkpoints = Checkpoints::Every(Time::from_s(1.0));
    assert_eq!(ends(&run(&[1], &[job(0.0, 100.0, 1, 1)], half, STORAGE)), [196.0]);
}

#[test]
fn reading_takes_as_long_as_there_is_to_read() {
    let fails = |at_s: f64| {
        let result = run(&[1], &[job(0.0, 100.0, 1, 1)], config(&[at_s]), STORAGE);
        let faults = result.summary.faults.as_ref().unwrap();
        let lost =
            [faults.gpu_rework_s, faults.gpu_unnoticed_s, faults.gpu_restarts_s, faults.gpu_checkpoints_s];
        (ends(&result)[0], lost.map(|gpu_s| (gpu_s * 1e6).round() / 1e6))
    };
    // Computes to 10, 22 and 34 s, writes for 2 s each. From 39 s on it reads for 4 s, starts for 3 and has 80 s to go, with seven
    // checkpoints.
    assert_eq!(fails(34.0), (140.0, [10.0, 5.0, 7.0, 18.0]));
    // While it writes: that one is lost.
    assert_eq!(fails(35.0), (141.0, [10.0, 5.0, 7.0, 19.0]));
    assert_eq!(fails(36.0), (130.0, [0.0, 5.0, 7.0, 18.0]));
    // Two that read at the same time take twice as long.
    let jobs = [job(0.0, 100.0, 1, 1), job(0.0, 100.0, 1, 1)];
    let faults = config(&[34.0]);
    let mut both = faults.clone();
    let scheduled = &mut both.faults.as_mut().unwrap().scheduled;
    scheduled.push(ScheduledFault { place: Place::Node(NodeId::new(1)), ..scheduled[0] });
    let read_s = |config| {
        let result = run(&[1, 1], &jobs, config, Storage { write_bytes_per_s: 20 * GB, ..STORAGE });
        result.summary.faults.unwrap().gpu_restarts_s
    };
    assert_eq!((read_s(faults), read_s(both)), (7.0, 22.0));
}

/// What is written when a job ends or fails holds nobody up any more.
#[test]
fn who_ends_leaves_the_storage_to_others() {
    // The second takes its first checkpoint at 14 s, beside the first's from 10 s on that would last to 20 s; the first fails at 15 s.
    let mut slow = config(&[15.0]);
    slow.preemption.checkpoint_cost.size = Some(SizedBytes { base: 100 * GB, per_gpu: 0 });
    slow.faults.as_mut().unwrap().policy.max_retries = Some(0);
    let mut jobs = [job(0.0, 100.0, 1, 1), job(4.0, 15.0, 1, 1)];
    jobs[0].on_failure = Some(Arc::new(FailurePolicy { max_retries: Some(0), ..FailurePolicy::default() }));
    // 5 GB in a second beside it, 95 GB at 10 GB/s: until 24.5 s, and 5 s of work.
    assert_eq!(ends(&run(&[1, 1], &jobs, slow, STORAGE))[1..], [29.5]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    /// Storage with room for all is as if each had its own.
    #[test]
    fn room_for_all_is_as_if_alone(
        sizes in prop::collection::vec((0_u32..30, 1_u32..100, 1_u32..4, 1_u32..3, any::<bool>()), 1..16),
        policy in prop::sample::select(vec!["fifo+binpack", "srtf+binpack", "gang", "las+binpack", "elasticflow"]),
        faults_at in prop::collection::vec((1_u32..200, 0_usize..3), 0..6),
        interval_s in 1_u32..12,
        stall_millionths in prop::sample::select(vec![1_000_000, 300_000, 0]),
        resize_s in prop::sample::select(vec![0.0, 0.75]),
    ) {
        let mut clock_s = 0.0;
        let jobs: Vec<Submission> = sizes.iter().map(|&(gap, duration, tasks, gpus, elastic)| {
            clock_s += f64::from(gap);
            let mut submission = job(clock_s, f64::from(duration), tasks, gpus);
            if elastic {
                submission.roles[0].minimum = 1;
            }
            submission
        }).collect();
        let mut config = config(&[]);
        let scheduled = &mut config.faults.as_mut().unwrap().scheduled;
        *scheduled = faults_at.iter().map(|&(at_s, node)| ScheduledFault {
            at: Time::from_s(f64::from(at_s)),
            place: Place::Node(NodeId::new(node)),
            kind: FaultKind::Software,
            device: None,
            duration: None,
        }).collect();
        scheduled.sort_by_key(|fault| fault.at);
        let preemption = &mut config.preemption;
        preemption.checkpoints = Checkpoints::Every(Time::from_s(f64::from(interval_s)));
        preemption.resize_cost = Time::from_s(resize_s);
        let cost = &mut preemption.checkpoint_cost;
        cost.size = Some(SizedBytes { base: 2 * GB, per_gpu: 0 });
        (cost.write_bytes_per_s, cost.read_bytes_per_s) = (GB, 2 * GB);
        cost.stall_millionths = stall_millionths;
        let all = Storage { write_bytes_per_s: 1000 * GB, read_bytes_per_s: 1000 * GB, node_bytes_per_s: None };
        let [alone, stored] = [None, Some(all)].map(|storage| {
            let profile = profile(policy, &jobs);
            observe_stored(&cluster(&[4, 2, 2]), &jobs, profile, (config.clone(), storage), &mut Deaf).unwrap()
        });
        let told = |result: &RunResult| -> Vec<_> {
            result.jobs.iter().map(|job| (job.start, job.finish, job.gpu_lost, job.failures)).collect()
        };
        prop_assert_eq!(told(&alone), told(&stored));
    }
}
