//! Runs to report on: one small enough to check by hand, and a queue simulated on a pool of GPUs for the plots.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use foretell_framework::{EvictionReason, Time};
use foretell_reports::Manifest;
use foretell_sim::log::{
    Distribution, EvictionOutcome, EvictionResult, FailureResult, Fairness, FaultResult, FaultSummary,
    GroupSummary, JobCounts, JobResult, JobStatus, KindSummary, RunResult, RunSummary, TimelineRow,
};
use foretell_sim::platform::{FailureOutcome, FaultKind};

pub(crate) fn manifest() -> Manifest {
    Manifest {
        foretell_version: "0.1.0".to_owned(),
        scenario: "two teams & one cluster".to_owned(),
        scenario_blake3: "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262".to_owned(),
        seed: 7,
        scenario_text: "version = 1\nname = \"two teams & one cluster\"\n".to_owned(),
        command: ["foretell", "run", "scenario.toml"].map(str::to_owned).to_vec(),
    }
}

pub(crate) fn job(
    id: &str,
    gpus: u32,
    submit_s: f64,
    start_s: Option<f64>,
    finish_s: Option<f64>,
) -> JobResult {
    JobResult {
        id: id.into(),
        queue: 0,
        user: 0,
        tasks: 1,
        min_tasks: 1,
        gpus_per_task: gpus,
        gpu_milli: 1000,
        gpu_milli_total: u64::from(gpus) * 1000,
        submit: Time::from_s(submit_s),
        duration: None,
        start: start_s.map(Time::from_s),
        finish: finish_s.map(Time::from_s),
        status: match (start_s, finish_s) {
            (_, Some(_)) => JobStatus::Completed,
            (Some(_), None) => JobStatus::Running,
            (None, None) => JobStatus::Queued,
        },
        reason: None,
        deadline: None,
        evictions: 0,
        resizes: 0,
        gpu_held: 0,
        gpu_lost: 0,
        communication: None,
        failures: 0,
    }
}

/// Five jobs on 8 GPUs, few enough to check by hand. Its summary is that of a larger run.
pub(crate) fn tiny_run() -> RunResult {
    let shared = JobResult {
        gpu_milli: 250,
        gpu_milli_total: 250,
        queue: 1,
        user: 1,
        status: JobStatus::Failed,
        ..job("b \"shared\", small", 1, 1.5, Some(1.5), Some(61.5))
    };
    let preempted = JobResult {
        deadline: Some(Time::from_s(160.5)),
        evictions: 1,
        resizes: 2,
        gpu_held: 700_000_000_000_001,
        gpu_lost: 80_000_000_000_000,
        ..job("a", 8, 0.0, Some(61.5), Some(161.5))
    };
    let large = JobResult {
        tasks: 4,
        min_tasks: 2,
        gpus_per_task: 8,
        gpu_milli_total: 32_000,
        status: JobStatus::NeverPlaced,
        reason: Some("needs 32 GPUs, the cluster has 8".into()),
        ..job("d", 8, 20.0, None, None)
    };
    let row = |time_s, allocated, fragmented, queued, running| TimelineRow {
        time: Time::from_s(time_s),
        gpu_capacity_milli: 8000,
        gpu_allocated_milli: allocated,
        gpu_utilised_milli: allocated,
        gpu_partial_milli: allocated / 100,
        gpu_fragmented_milli: fragmented,
        gpu_stranded_milli: fragmented / 2.0,
        gpu_arrived_milli: 8250,
        jobs_queued: queued,
        jobs_running: running,
    };
    RunResult {
        queues: vec!["research".to_owned(), "prod, eu".to_owned()],
        users: vec!["alice".to_owned(), "bob".to_owned()],
        jobs: vec![
            preempted,
            shared,
            job("c", 2, 10.000_000_001, Some(161.5), None),
            large,
            JobResult { reason: Some("no free GPU".into()), ..job("e", 8, 30.0, None, None) },
        ],
        timeline: vec![
            row(0.0, 0, 0.0, 1, 0),
            row(60.0, 250, 750.125_000_4, 2, 1),
            row(120.0, 8000, 0.0, 2, 1),
            row(161.5, 2000, 1.0 / 3.0, 1, 1),
        ],
        faults: Vec::new(),
        evictions: vec![
            EvictionResult {
                time: Time::from_s(75.25),
                job: 0,
                node: "node-0".into(),
                pods: 1,
                reason: EvictionReason::Reclaimed,
                beneficiary: Some(1),
                outcome: EvictionOutcome::Stops { lost: 80_000_000_000_000 },
            },
            EvictionResult {
                time: Time::from_s(80.0),
                job: 2,
                node: "node, 1".into(),
                pods: 2,
                reason: EvictionReason::Consolidated,
                beneficiary: None,
                outcome: EvictionOutcome::GoesOn { pods: 3 },
            },
        ],
        summary: summary("fifo+fgd"),
        has_drawn: false,
    }
}

pub(crate) fn times(count: u64, mean_s: f64) -> Distribution {
    Distribution {
        count,
        mean_s,
        p50_s: mean_s / 7.0,
        p90_s: mean_s * 2.5,
        p99_s: mean_s * 9.0,
        max_s: mean_s * 31.0,
    }
}

/// Figures of the size of a month on a real cluster.
pub(crate) fn summary(policy: &str) -> RunSummary {
    let jobs = JobCounts {
        submitted: 82_247,
        completed: 60_001,
        failed: 12_345,
        cancelled: 9_000,
        running: 401,
        queued: 488,
        never_placed: 12,
    };
    let group = |index: u32, name: &str| GroupSummary {
        name: name.to_owned(),
        jobs: JobCounts { submitted: 9_000 / u64::from(index + 1), queued: 7, ..JobCounts::default() },
        gpu_s: 4.2e9 / f64::from(index + 1),
        queue_delay: times(9_000 / u64::from(index + 1), 1_900.0 * f64::from(index)),
        completion_time: times(9_000 / u64::from(index + 1), 40_000.0 + 900.0 * f64::from(index)),
    };
    let queues = ["vc-7f04ca", "vc-795a4c", "vc-a-name-that-is-far-too-long-for-its-column"];
    RunSummary {
        policy: policy.to_owned(),
        seed: 42,
        nodes: 1_213,
        gpus: 6_212,
        jobs,
        makespan: Time::from_s(149.3 * 86_400.0),
        gpu_allocation: 0.8421,
        gpu_utilisation: 0.8389,
        gpu_goodput: 0.8231,
        gpu_lost_s: 1.25e9,
        gpu_partial_s: 3.5e7,
        evictions: 1_234,
        resizes: 0,
        deadlines: 0,
        deadlines_met: 0,
        gpu_allocation_peak: 0.9987,
        gpu_fragmentation: 0.0412,
        gpu_stranded: 0.0081,
        queue_length_mean: 123.456,
        queue_length_max: 4_321,
        queue_delay: times(81_747, 5_432.1),
        completion_time: times(81_346, 54_321.0),
        fairness: Fairness { slowdown_mean: 3.21, slowdown_p99: 45.6, jain: 0.789 },
        communication: None,
        by_size: ["up to 1 GPU", "2 to 8 GPUs"]
            .iter()
            .enumerate()
            .map(|(index, name)| group(index as u32, name))
            .collect(),
        by_queue: queues.iter().enumerate().map(|(index, name)| group(index as u32, name)).collect(),
        by_user: (0..20).map(|index| group(index, &format!("user-{index:02}"))).collect(),
        reasons: vec![
            ("0/1213 nodes: 900 without a free GPU, 300 of another GPU model, 13 cordoned".to_owned(), 488),
            ("needs 64 GPUs on one node, the largest has 8".to_owned(), 12),
        ],
        waits: vec![
            ("not enough nodes have room for the whole gang".to_owned(), 3.6e8),
            ("behind the head of its queue".to_owned(), 1.2e8),
        ],
        faults: None,
        events: 1_234_567,
        cycles: 98_765,
    }
}

/// What failed in a month on many GPUs.
pub(crate) fn faults() -> FaultSummary {
    let of_kind = |(kind, faults): (FaultKind, u64)| KindSummary { kind, faults, interruptions: faults / 2 };
    FaultSummary {
        by_kind: FaultKind::ALL.into_iter().zip([53, 1_250, 7, 36, 57]).map(of_kind).collect(),
        interruptions: 700,
        jobs_given_up: 3,
        gpu_broken_s: 9.3e6,
        gpu_rework_s: 7.8e8,
        gpu_unnoticed_s: 3.9e8,
        gpu_stopped_s: 0.0,
        gpu_restarts_s: 1.9e9,
        gpu_checkpoints_s: 8.2e8,
        gpu_slow_s: 1.0e6,
        effective_time_ratio: 0.945,
    }
}

/// The tiny run, in which two things failed: one under a job that held more GPU time than 64 bits of nanoseconds count.
pub(crate) fn failing_run() -> RunResult {
    let mut run = tiny_run();
    run.summary.faults = Some(faults());
    run.jobs[0] = JobResult { failures: 2, gpu_held: 75_000_000_000_500_000_000_000, ..run.jobs[0].clone() };
    let fault = |time_s, kind, device, jobs| FaultResult {
        time: Time::from_s(time_s),
        kind,
        node: "n, 1".into(),
        device,
        repair: Time::from_s(60.5),
        jobs,
    };
    let hit =
        |job, outcome| FailureResult { job, noticed: Time::from_s(130.0), pods: 2, lost: 1_500, outcome };
    run.faults = vec![
        fault(100.25, FaultKind::Gpu, Some(7), Vec::new()),
        fault(
            120.0,
            FaultKind::Node,
            None,
            vec![hit(0, FailureOutcome::Restarts), hit(1, FailureOutcome::GivesUp)],
        ),
    ];
    run
}

pub(crate) const POLICIES: [&str; 6] = [
    "fifo+random",
    "fifo+dot-product",
    "fifo+gpu-clustering",
    "fifo+gpu-packing",
    "fifo+best-fit",
    "fifo+fgd",
];

/// Six policies that differ.
pub(crate) fn summaries() -> Vec<RunSummary> {
    let run = |(index, policy): (usize, &&str)| {
        let step = index as f64;
        let mut run = summary(policy);
        run.gpu_allocation -= 0.01 * step;
        run.gpu_fragmentation *= 1.0 + step;
        run.queue_delay = times(81_747, 5_432.1 * (6.0 - step));
        run.completion_time = times(81_346, 54_321.0 + 1_000.0 * (6.0 - step));
        run.jobs.never_placed += [5, 0, 3, 0, 1_234, 2][index];
        run.makespan = Time::from_s((149.3 + step) * 86_400.0);
        run
    };
    POLICIES.iter().enumerate().map(run).collect()
}

/// Draws that are the same everywhere.
struct Draws(u64);

impl Draws {
    /// Uniform in 0..1.
    fn next(&mut self) -> f64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 11) as f64 / (1u64 << 53) as f64
    }
}

/// `jobs` jobs on a pool of 512 GPUs, first come first served or shortest first, sampled every `sample_s` seconds.
/// `arrival_s` is the mean time between arrivals: about 110 s is full load.
pub(crate) fn pool_run(
    policy: &str,
    jobs: usize,
    arrival_s: f64,
    shortest_first: bool,
    sample_s: f64,
) -> RunResult {
    const POOL: u32 = 512;
    let mut draws = Draws(jobs as u64);
    let mut submit_s = 0.0;
    let mut records = Vec::new();
    let mut durations_s = Vec::new();
    for index in 0..jobs {
        let day = 1.0 + 0.8 * (submit_s / 86_400.0 * std::f64::consts::TAU).sin();
        submit_s += -arrival_s / day * draws.next().max(1e-9).ln();
        let gpus = [1, 1, 1, 2, 4, 8, 8, 16, 64][(draws.next() * 9.0) as usize];
        durations_s.push((60.0 * (draws.next() * 8.0).exp()).round());
        records.push(job(&format!("job-{index}"), gpus, submit_s, None, None));
    }
    let (mut free, mut next, mut now_s, mut sample) = (POOL, 0, 0.0, 0.0);
    let mut running: BinaryHeap<Reverse<(Time, usize)>> = BinaryHeap::new();
    let mut waiting: Vec<usize> = Vec::new();
    let mut timeline = Vec::new();
    let mut arrived = 0;
    while next < jobs || !running.is_empty() {
        let arrival = records.get(next).map_or(Time::MAX, |job| job.submit);
        let end = running.peek().map_or(Time::MAX, |Reverse((end, _))| *end);
        let until_s: f64 = arrival.min(end).as_s();
        while sample < until_s {
            let allocated = u64::from(POOL - free) * 1000;
            let wasted = f64::from(free) * 1000.0 * (0.2 + 0.6 * (now_s / 40_000.0_f64).sin().powi(2));
            timeline.push(TimelineRow {
                time: Time::from_s(sample),
                gpu_capacity_milli: u64::from(POOL) * 1000,
                gpu_allocated_milli: allocated,
                gpu_utilised_milli: allocated,
                gpu_partial_milli: 0,
                gpu_fragmented_milli: if policy.contains("fgd") { wasted * 0.5 } else { wasted },
                gpu_stranded_milli: wasted * 0.1,
                gpu_arrived_milli: arrived,
                jobs_queued: waiting.len() as u64,
                jobs_running: running.len() as u64,
            });
            sample += sample_s;
        }
        now_s = until_s;
        if arrival <= end {
            arrived += records[next].gpu_milli_total;
            waiting.push(next);
            next += 1;
        } else if let Some(Reverse((end, index))) = running.pop() {
            free += records[index].gpus_per_task;
            records[index].finish = Some(end);
            records[index].status = JobStatus::Completed;
        }
        if shortest_first {
            waiting.sort_by(|a, b| durations_s[*a].total_cmp(&durations_s[*b]).then(a.cmp(b)));
        }
        while let Some(&index) = waiting.first() {
            if records[index].gpus_per_task > free {
                break;
            }
            waiting.remove(0);
            free -= records[index].gpus_per_task;
            records[index].start = Some(Time::from_s(now_s));
            running.push(Reverse((Time::from_s(now_s + durations_s[index]), index)));
        }
    }
    let mut result = tiny_run();
    result.summary = RunSummary { policy: policy.to_owned(), ..summary(policy) };
    result.summary.jobs =
        JobCounts { submitted: jobs as u64, completed: jobs as u64, ..JobCounts::default() };
    result.jobs = records;
    result.timeline = timeline;
    result
}
