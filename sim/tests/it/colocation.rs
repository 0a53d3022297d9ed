//! Jobs that share GPUs and slow each other.

use foretell_sim::platform::{Colocation, Config, Submission};
use proptest::prelude::*;

use crate::fixtures::{cluster, job, share, simulate};

/// Of two classes: the first at half speed beside itself and at 0.8 beside the second, which is at 0.25 beside the first.
fn table(weights: [f64; 2]) -> Config {
    let speeds = vec![vec![500_000, 800_000], vec![250_000, 1_000_000]];
    Config { colocation: Some(Colocation { weights: weights.to_vec(), speeds }), ..Config::default() }
}

fn finishes(gpus: &[u32], jobs: &[Submission], config: Config) -> Vec<f64> {
    let result = simulate(&cluster(gpus), jobs, "fifo-skip+binpack", config).unwrap();
    result.jobs.iter().map(|job| job.finish.unwrap().as_s()).collect()
}

#[track_caller]
fn check(gpus: &[u32], jobs: &[Submission], config: Config, expected: &[f64]) {
    let got = finishes(gpus, jobs, config);
    let is_close = got.iter().zip(expected).all(|(got, expected)| (got - expected).abs() < 1e-3);
    assert!(is_close && got.len() == expected.len(), "{got:?}, expected {expected:?}");
}

#[test]
fn jobs_on_one_gpu_slow_each_other_while_both_run() {
    let first = || table([1.0, 0.0]);
    let (one, other) = (share(0.0, 100.0, 500), share(20.0, 100.0, 500));
    // Without a table nobody is slowed.
    check(&[1], &[one.clone(), other.clone()], Config::default(), &[100.0, 120.0]);
    // 20 s alone, 160 s at half speed; the second does 80 s of its work meanwhile, and the rest alone.
    check(&[1], &[one.clone(), other.clone()], first(), &[180.0, 200.0]);
    // The second class does not mind itself.
    check(&[1], &[one.clone(), other.clone()], table([0.0, 1.0]), &[100.0, 120.0]);
    // On GPUs of their own.
    check(&[2], &[share(0.0, 100.0, 600), share(20.0, 100.0, 600)], first(), &[100.0, 120.0]);
    // Whole GPUs have no neighbours.
    check(&[2], &[job(0.0, 100.0, 1, 1), one.clone()], first(), &[100.0, 100.0]);
    // Three: a quarter each, all end together.
    let three = [0.0, 0.0, 0.0].map(|at_s| share(at_s, 100.0, 300));
    check(&[1], &three, first(), &[400.0, 400.0, 400.0]);
    // One that waits slows nobody: it comes when the first two have gone.
    let waits = [share(0.0, 100.0, 500), share(0.0, 100.0, 500), share(10.0, 100.0, 600)];
    check(&[1], &waits, first(), &[200.0, 200.0, 300.0]);
}

proptest! {
    /// Nobody ends before it would alone, nobody is slower than beside all others at once, and the same seed gives the same run.
    #[test]
    fn neighbours_slow_within_bounds(
        seed in 0_u64..100,
        sizes in prop::collection::vec((0_u32..50, 1_u32..100, prop::sample::select(vec![200_u32, 300, 500])), 1..12),
    ) {
        let jobs: Vec<Submission> = sizes
            .iter()
            .scan(0, |at, &(gap, duration, milli)| {
                *at += gap;
                Some(share(f64::from(*at), f64::from(duration), milli))
            })
            .collect();
        let config = || Config { seed, ..table([1.0, 1.0]) };
        let result = simulate(&cluster(&[1, 1]), &jobs, "fifo-skip+binpack", config()).unwrap();
        for (job, &(_, duration, _)) in result.jobs.iter().zip(&sizes) {
            let took_s = (job.finish.unwrap().since(job.start.unwrap())).as_s();
            let alone_s = f64::from(duration);
            // At most four others fit beside it.
            prop_assert!(took_s > alone_s - 1e-6 && took_s < alone_s * 256.0 + 1e-3, "{took_s} s for {alone_s} s");
        }
        prop_assert_eq!(simulate(&cluster(&[1, 1]), &jobs, "fifo-skip+binpack", config()).unwrap(), result);
    }
}
