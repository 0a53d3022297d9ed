//! Noise, batches, step times and the fit.

use foretell_goodput::{
    Batch, BatchLimits, FittedTimes, GradientNoise, MeasuredTimes, Sample, StepTime, StepTimes, best_batch,
    candidate_batches, fit, fixed_batch, restart_factor, timed_batches,
};
use proptest::prelude::*;

const LIMITS: BatchLimits = BatchLimits { initial: 128, largest: 4096, local_least: 32, local_largest: 1024 };

#[test]
fn noise_says_what_a_larger_batch_is_worth() {
    let check = |squared, variance, scale, expected: f64| {
        let gain = GradientNoise { squared, variance }.gain(scale);
        assert!((gain - expected).abs() < 1e-12, "{squared} {variance} {scale}: {gain}");
    };
    // Without noise a larger batch teaches nothing more; with nothing but noise each example counts in full.
    check(1.0, 0.0, 8.0, 1.0);
    check(0.0, 1.0, 8.0, 8.0);
    check(1.0, 1.0, 2.0, 4.0 / 3.0);
    check(0.0, 0.0, 2.0, 1.0);
    check(1.0, 3.0, 1.0, 1.0);
}

#[test]
fn a_total_is_divided_with_as_few_passes_as_fit() {
    let check = |total, gpus, expected: (u32, u32, u32)| {
        let (local, accumulation_steps, total_made) = expected;
        let batch = fixed_batch(total, gpus, &LIMITS);
        assert_eq!(batch, Some(Batch { local, accumulation_steps, total: total_made }), "{total} on {gpus}");
    };
    check(4096, 4, (1024, 0, 4096));
    check(4096, 2, (1024, 1, 4096));
    check(2048, 8, (256, 0, 2048));
    check(128, 1, (128, 0, 128));
    // One GPU makes two passes as soon as it works on more than the initial batch.
    check(256, 1, (128, 1, 256));
    check(1000, 6, (167, 0, 1002));
    check(4096, 12, (341, 0, 4092));
}

proptest! {
    #[test]
    fn candidates_keep_to_the_limits(gpus in 1_u32..200) {
        for batch in candidate_batches(gpus, &LIMITS) {
            prop_assert!((LIMITS.local_least..=LIMITS.local_largest).contains(&batch.local));
            prop_assert!(batch.total <= LIMITS.largest);
            prop_assert_eq!(batch.total, gpus * batch.local * (batch.accumulation_steps + 1));
        }
        prop_assert_eq!(candidate_batches(gpus, &LIMITS).is_empty(), gpus * 32 > 4096);
    }

    #[test]
    fn the_best_batch_beats_every_other(gpus in 1_u32..=32, squared in 0.0..10.0, variance in 0.0..10.0) {
        let times = FITTED;
        let noise = GradientNoise { squared, variance };
        let nodes = gpus.div_ceil(4);
        let batches = timed_batches(&times, &LIMITS, nodes, gpus);
        let (_, best) = best_batch(&batches, &LIMITS, |_| noise).unwrap();
        for batch in candidate_batches(gpus, &LIMITS) {
            let time = times.step_time(nodes, gpus, f64::from(batch.local)).unwrap();
            let per_s = f64::from(batch.total) / time.with_accumulation(batch.accumulation_steps);
            let goodput = per_s * noise.gain(f64::from(batch.total) / 128.0) / (f64::from(batch.total) / 128.0);
            prop_assert!(goodput <= best * (1.0 + 1e-9));
        }
    }

    #[test]
    fn a_restart_costs_less_of_an_older_job(age_s in 0.0..1e6, more_s in 0.0..1e6, restarts in 0_u32..20) {
        let (young, old) = (restart_factor(age_s, restarts, 30.0), restart_factor(age_s + more_s, restarts, 30.0));
        prop_assert!(0.0 < young && young <= old && old <= 1.0);
        prop_assert!(restart_factor(age_s, restarts + 1, 30.0) <= young);
    }
}

#[test]
fn times_are_interpolated_between_measurements() {
    let row = |nodes, gpus, local_batch, compute_s: f64| {
        (nodes, gpus, local_batch, StepTime { compute_s, step_s: 2.0 * compute_s })
    };
    let times = MeasuredTimes::new([
        row(1, 1, 10.0, 1.0),
        row(1, 1, 20.0, 3.0),
        row(1, 4, 10.0, 4.0),
        row(2, 8, 10.0, 8.0),
        // Twice measured: the mean holds.
        row(4, 16, 10.0, 11.0),
        row(4, 16, 10.0, 13.0),
    ]);
    let check = |nodes, gpus, local_batch, expected: f64| {
        let time = times.step_time(nodes, gpus, local_batch).unwrap();
        assert!((time.compute_s - expected).abs() < 1e-12, "{nodes} {gpus} {local_batch}: {time:?}");
        assert!((time.step_s - 2.0 * expected).abs() < 1e-12);
    };
    check(1, 1, 10.0, 1.0);
    check(1, 1, 15.0, 2.0);
    check(1, 1, 5.0, 1.0);
    check(1, 1, 99.0, 3.0);
    check(1, 2, 10.0, 2.0);
    check(3, 12, 10.0, 10.0);
    check(4, 16, 10.0, 12.0);
    check(9, 36, 10.0, 12.0);
    assert_eq!(MeasuredTimes::default().step_time(1, 1, 1.0), None);
}

const FITTED: FittedTimes = FittedTimes {
    alpha_compute_s: 0.02,
    beta_compute_s: 0.001,
    alpha_nodes_s: 0.1,
    beta_nodes_s: 0.004,
    alpha_local_s: 0.02,
    beta_local_s: 0.001,
    gamma: 1.6,
};

#[test]
fn the_fit_finds_the_model_that_made_the_profile() {
    let mut samples = Vec::new();
    for (nodes, gpus) in [(1, 1), (1, 2), (1, 4), (2, 8), (3, 12), (4, 16)] {
        for local_batch in [32.0, 128.0, 512.0] {
            let time = FITTED.step_time(nodes, gpus, local_batch).unwrap();
            samples.push(Sample { nodes, gpus, local_batch, time });
        }
    }
    let fitted = fit(&samples).unwrap();
    for sample in &samples {
        let time = fitted.step_time(sample.nodes, sample.gpus, sample.local_batch).unwrap();
        let error = time.step_s / sample.time.step_s - 1.0;
        assert!(error.abs() < 0.03, "{sample:?}: {time:?}");
    }
    // And beyond the profile.
    let (beyond, truth) =
        (fitted.step_time(6, 24, 256.0).unwrap().step_s, FITTED.step_time(6, 24, 256.0).unwrap().step_s);
    assert!((beyond / truth - 1.0).abs() < 0.05, "{beyond} {truth}");
    assert_eq!(fit(&[]), None);
}
