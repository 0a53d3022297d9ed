//! Servers of classical models: worked out by hand, and for any load.

use foretell_serving::Series;
use foretell_serving::classical::{
    BatchLaw, ClassicalError, ClassicalObserver, ClassicalOutcome, ClassicalRequest, ClassicalServer,
    Execution, Fate, Instances, Roofline, replay_classical,
};
use foretell_serving::policies::{DynamicBatching, DynamicBatchingError, QueuePolicy};
use proptest::prelude::*;

#[derive(Default)]
struct Seen {
    outcomes: Vec<ClassicalOutcome>,
    executions: Vec<Execution>,
}

impl ClassicalObserver for Seen {
    fn finished(&mut self, outcome: &ClassicalOutcome) {
        self.outcomes.push(*outcome);
    }

    fn executed(&mut self, execution: &Execution) {
        self.executions.push(*execution);
    }
}

/// A batch takes 10 ns and 2 ns an item.
fn law() -> BatchLaw {
    BatchLaw::Measured(Series::new(vec![(1.0, 12e-9), (101.0, 212e-9)]))
}

/// Requests of one item at these instants: each `[arrived, dispatched, answered, items of its batch]`, or the instant of its refusal alone.
fn check(instances: Instances, batching: DynamicBatching, arrivals: &[u64], expected: &[&[u64]]) {
    let mut server = [ClassicalServer::new(law(), instances, batching).expect("a right configuration")];
    let requests = arrivals.iter().zip(0..).map(|(&arrival_ns, index)| ClassicalRequest {
        index,
        arrival_ns,
        items: 1,
        ..ClassicalRequest::default()
    });
    let mut seen = Seen::default();
    assert_eq!(replay_classical(&mut server, requests, |_, _| 0, &mut seen), []);
    assert_eq!((server[0].requests(), server[0].busy_instances()), (0, 0));
    seen.outcomes.sort_by_key(|outcome| outcome.request);
    let found: Vec<Vec<u64>> = seen
        .outcomes
        .iter()
        .map(|outcome| match outcome.fate {
            Fate::Served { dispatched_ns, batch_items, .. } => {
                vec![outcome.arrival_ns, dispatched_ns, outcome.finished_ns, u64::from(batch_items)]
            }
            Fate::TimedOut => vec![outcome.finished_ns],
        })
        .collect();
    assert_eq!(found, expected);
}

const ALONE: Instances = Instances { gpus: 1, per_gpu: 1, idle_share: 0.0 };

#[test]
fn an_instance_executes_a_batch_at_a_time() {
    check(
        ALONE,
        DynamicBatching::up_to(2),
        &[0, 1, 2, 3, 50],
        &[&[0, 0, 12, 1], &[1, 12, 26, 2], &[2, 12, 26, 2], &[3, 26, 38, 1], &[50, 50, 62, 1]],
    );
}

#[test]
fn an_idle_instance_waits_for_a_fuller_batch() {
    let batching = DynamicBatching { max_queue_delay_ns: 5, ..DynamicBatching::up_to(2) };
    check(ALONE, batching, &[0, 3, 40], &[&[0, 3, 17, 2], &[3, 3, 17, 2], &[40, 45, 57, 1]]);
}

#[test]
fn a_busy_server_tells_late_who_waited_too_long() {
    let policy = QueuePolicy { default_timeout_ns: 5, ..QueuePolicy::default() };
    let batching = DynamicBatching { default_queue_policy: policy, ..DynamicBatching::up_to(1) };
    check(ALONE, batching, &[0, 1, 9], &[&[0, 0, 12, 1], &[12], &[9, 12, 24, 1]]);
}

#[test]
fn instances_of_a_gpu_share_it() {
    let one_by_one = DynamicBatching::up_to(1);
    let two = Instances { per_gpu: 2, ..ALONE };
    // The first has done 6 of its 12 when the second comes, then both go half as fast: 12 for its other 6. The second has 6 left then.
    check(two, one_by_one.clone(), &[0, 6], &[&[0, 0, 18, 1], &[6, 6, 24, 1]]);
    // Whoever leaves half of the time to others is not slowed down by one.
    let idle = Instances { idle_share: 0.5, ..two };
    check(idle, one_by_one.clone(), &[0, 6], &[&[0, 0, 12, 1], &[6, 6, 18, 1]]);
    // Of four that want half of the GPU each gets a quarter.
    let four = Instances { per_gpu: 4, ..idle };
    let all: &[u64] = &[0, 0, 24, 1];
    check(four, one_by_one.clone(), &[0; 4], &[all; 4]);
    // Another GPU is somebody else's.
    let apart = Instances { gpus: 2, per_gpu: 1, ..ALONE };
    check(apart, one_by_one, &[0, 6, 7], &[&[0, 0, 12, 1], &[6, 6, 18, 1], &[7, 12, 24, 1]]);
}

#[test]
fn batches_go_where_the_fewest_are_busy() {
    let instances = Instances { gpus: 2, per_gpu: 2, idle_share: 0.0 };
    let mut server = [ClassicalServer::new(law(), instances, DynamicBatching::up_to(1)).expect("right")];
    let requests = (0..3).map(|index| ClassicalRequest { index, items: 1, ..ClassicalRequest::default() });
    let mut seen = Seen::default();
    replay_classical(&mut server, requests, |_, _| 0, &mut seen);
    let mut gpus: Vec<(u32, u64)> = seen.executions.iter().map(|run| (run.gpu, run.end_ns)).collect();
    gpus.sort_unstable();
    assert_eq!(gpus, [(0, 24), (0, 24), (1, 12)]);
}

#[test]
fn answers_keep_the_order_of_requests() {
    // The first batch has 24 ns to go, the second 12.
    let arrivals = [(0, 7), (1, 1)];
    let check = |preserve_ordering, expected: &[(u32, u64, u64)]| {
        let batching = DynamicBatching { preserve_ordering, ..DynamicBatching::up_to(7) };
        let apart = Instances { gpus: 2, ..ALONE };
        let mut server = [ClassicalServer::new(law(), apart, batching).expect("right")];
        let requests = arrivals.iter().zip(0..).map(|(&(arrival_ns, items), index)| ClassicalRequest {
            index,
            arrival_ns,
            items,
            ..ClassicalRequest::default()
        });
        let mut seen = Seen::default();
        replay_classical(&mut server, requests, |_, _| 0, &mut seen);
        let found: Vec<(u32, u64, u64)> = seen
            .outcomes
            .iter()
            .map(|outcome| {
                let Fate::Served { executed_ns, .. } = outcome.fate else { panic!("nobody waits") };
                (outcome.request, executed_ns, outcome.finished_ns)
            })
            .collect();
        assert_eq!(found, expected);
    };
    check(false, &[(1, 13, 13), (0, 24, 24)]);
    check(true, &[(0, 24, 24), (1, 13, 24)]);
}

#[test]
fn a_roofline_has_two_slopes() {
    // 2 GFLOP and 4 MB an item, 100 MB of weights; 10 TFLOP/s, 100 GB/s; half a millisecond apart from that.
    let law = BatchLaw::Roofline(Roofline {
        item_flops: 2e9,
        item_bytes: 4e6,
        weight_bytes: 100e6,
        flops_per_s: 10e12,
        bytes_per_s: 100e9,
        overhead_s: 0.5e-3,
    });
    // 1.04 ms of bytes against 0.2 of operations; 3.56 against 12.8.
    for (items, expected_s) in [(1, 1.54e-3), (64, 13.3e-3)] {
        assert!((law.seconds(items) - expected_s).abs() < 1e-12, "{items} items");
    }
}

#[test]
fn impossible_servers_are_refused() {
    let check = |instances, batching: u32, expected: ClassicalError| {
        let server = ClassicalServer::new(law(), instances, DynamicBatching::up_to(batching));
        assert_eq!(server.err(), Some(expected));
    };
    check(Instances { gpus: 0, ..ALONE }, 1, ClassicalError::NoInstance);
    check(Instances { per_gpu: 0, ..ALONE }, 1, ClassicalError::NoInstance);
    check(Instances { idle_share: 1.5, ..ALONE }, 1, ClassicalError::IdleShare(1.5));
    check(ALONE, 0, ClassicalError::Batching(DynamicBatchingError::NoBatchSize));
}

proptest! {
    /// Whatever arrives: everybody is answered once, no batch is faster than alone or slower than with all instances busy, and no GPU does more than there is time for.
    #[test]
    fn gpus_do_no_more_than_they_can(
        gpus in 1_u32..3,
        per_gpu in 1_u32..5,
        idle_share in 0.0_f64..1.0,
        preserve_ordering in any::<bool>(),
        max_batch_size in 1_u32..9,
        max_queue_delay_ns in 0_u64..30_000,
        arrivals in prop::collection::vec((0_u64..20_000, 1_u32..9), 1..80),
    ) {
        let batching = DynamicBatching {
            max_queue_delay_ns,
            preserve_ordering,
            ..DynamicBatching::up_to(max_batch_size)
        };
        let law = BatchLaw::Measured(Series::new(vec![(1.0, 12e-6), (101.0, 212e-6)]));
        let instances = Instances { gpus, per_gpu, idle_share };
        let mut server = [ClassicalServer::new(law.clone(), instances, batching).expect("right")];
        let mut arrival_ns = 0;
        let requests: Vec<ClassicalRequest> = arrivals.iter().zip(0..).map(|(&(gap_ns, items), index)| {
            arrival_ns += gap_ns;
            let items = items.min(max_batch_size);
            ClassicalRequest { index, arrival_ns, items, ..ClassicalRequest::default() }
        }).collect();
        let mut seen = Seen::default();
        let refused = replay_classical(&mut server, requests.iter().copied(), |_, _| 0, &mut seen);
        prop_assert!(refused.is_empty());
        prop_assert_eq!(server[0].requests(), 0);
        let mut answered: Vec<u32> = seen.outcomes.iter().map(|outcome| outcome.request).collect();
        if preserve_ordering {
            prop_assert!(answered.is_sorted());
        }
        answered.sort_unstable();
        prop_assert!(answered.iter().copied().eq(0..requests.len() as u32));
        let slowest = (f64::from(per_gpu) * (1.0 - idle_share)).max(1.0);
        for run in &seen.executions {
            prop_assert!(run.items <= max_batch_size);
            let alone_ns = law.seconds(run.items) * 1e9;
            let took_ns = (run.end_ns - run.start_ns) as f64;
            prop_assert!(took_ns >= alone_ns - 20.0 && took_ns <= alone_ns * slowest + 20.0, "{took_ns}");
        }
        for gpu in 0..gpus {
            let mut runs: Vec<&Execution> = seen.executions.iter().filter(|run| run.gpu == gpu).collect();
            runs.sort_by_key(|run| run.start_ns);
            for (at, first) in runs.iter().enumerate() {
                let overlapping = runs[..at].iter().filter(|run| run.end_ns > first.start_ns).count();
                prop_assert!(overlapping < per_gpu as usize);
                // All that begins from here on and has ended by some instant.
                let (mut work_ns, mut end_ns) = (0.0, 0);
                for run in &runs[at..] {
                    work_ns += run.gpu_ns;
                    end_ns = end_ns.max(run.end_ns);
                    prop_assert!(work_ns <= (end_ns - first.start_ns) as f64 + runs.len() as f64);
                }
            }
        }
    }
}
