//! Generated jobs follow the laws that they were asked for.

use foretell_traces::generate::{
    Arrival, Duration, DurationLaw, Generator, GeneratorConfig, Preset, Queue, Size, Users,
};
use foretell_traces::{JobRecord, TraceInfo};
use proptest::prelude::*;

const JOBS: usize = 200_000;

fn base() -> GeneratorConfig {
    GeneratorConfig {
        arrival: Arrival::Poisson { rate_per_s: 0.5 },
        sizes: vec![Size::whole_gpus(3.0, 1, 1), Size::whole_gpus(1.0, 2, 8)],
        duration: DurationLaw::Exponential { mean_s: 100.0 }.into(),
        queues: Vec::new(),
        own_arrivals: false,
        users: Users { count: 0, zipf_exponent: 1.0 },
    }
}

fn generate(config: GeneratorConfig, seed: u64, jobs: usize) -> Vec<JobRecord> {
    Generator::new(config, seed).unwrap().take(jobs).collect()
}

fn info(jobs: &[JobRecord]) -> TraceInfo {
    TraceInfo::of(jobs.iter().cloned().map(Ok)).unwrap()
}

fn assert_close(value: f64, expected: f64, tolerance: f64, what: &str) {
    assert!((value / expected - 1.0).abs() <= tolerance, "{what}: {value}, expected {expected}");
}

#[test]
fn run_times_have_the_mean_of_their_law() {
    let laws = [
        DurationLaw::Fixed { seconds: 42.0 },
        DurationLaw::Exponential { mean_s: 300.0 },
        DurationLaw::LogNormal { median_s: 600.0, sigma: 1.0 },
        DurationLaw::LogNormal { median_s: 600.0, sigma: 0.0 },
        DurationLaw::LogUniform { min_s: 10.0, max_s: 10_000.0 },
        DurationLaw::Mixture {
            components: vec![
                (3.0, DurationLaw::Fixed { seconds: 10.0 }),
                (1.0, DurationLaw::Exponential { mean_s: 1000.0 }),
            ],
        },
    ];
    for law in laws {
        for (min_s, max_s) in [(0.0, 4e9), (50.0, 1500.0)] {
            let duration = Duration { law: law.clone(), min_s, max_s };
            let expected = duration.mean_s();
            let jobs = generate(GeneratorConfig { duration, ..base() }, 7, JOBS);
            let mean = jobs.iter().map(|job| job.duration_s).sum::<f64>() / JOBS as f64;
            // Five standard errors of the widest law here, whose deviation is 1.5 times its mean.
            assert_close(mean, expected, 0.02, &format!("mean of {law:?} in {min_s}..{max_s}"));
            assert!(jobs.iter().all(|job| (min_s..=max_s).contains(&job.duration_s)));
        }
    }
}

#[test]
fn arrivals_have_the_rate_and_the_variation_of_their_law() {
    let check = |arrival: Arrival, variation: f64| {
        let gaps = info(&generate(GeneratorConfig { arrival, ..base() }, 3, JOBS)).gaps.unwrap();
        assert_close(gaps.mean_s, 2.0, 0.03, &format!("mean gap of {arrival:?}"));
        assert_close(gaps.coefficient_of_variation, variation, 0.03, &format!("variation of {arrival:?}"));
    };
    let rate_per_s = 0.5;
    check(Arrival::Poisson { rate_per_s }, 1.0);
    check(Arrival::Gamma { rate_per_s, coefficient_of_variation: 3.0 }, 3.0);
    check(Arrival::Gamma { rate_per_s, coefficient_of_variation: 0.3 }, 0.3);
    check(Arrival::Diurnal { rate_per_s, peak_to_trough: 1.0, peak_s: 0.0, period_s: 86_400.0 }, 1.0);
}

/// Queues with arrivals of their own have their share of the rate, the variation of the law and nothing in common.
#[test]
fn queues_may_have_arrivals_of_their_own() {
    let queue = |name: &str, weight| Queue { name: name.into(), weight };
    let arrival = Arrival::Gamma { rate_per_s: 0.5, coefficient_of_variation: 3.0 };
    let queues = vec![queue("small", 1.0), queue("large", 3.0)];
    let config = GeneratorConfig { arrival, queues, own_arrivals: true, ..base() };
    let jobs = generate(config.clone(), 3, JOBS);
    assert!(jobs.is_sorted_by(|one, next| one.submit_s <= next.submit_s));
    let of = |name: &str| {
        let own: Vec<_> = jobs.iter().filter(|job| &*job.queue == name).cloned().collect();
        (own.len() as f64 / JOBS as f64, info(&own).gaps.unwrap())
    };
    for (name, share) in [("small", 0.25), ("large", 0.75)] {
        let (part, gaps) = of(name);
        assert_close(part, share, 0.03, &format!("share of {name}"));
        assert_close(gaps.coefficient_of_variation, 3.0, 0.05, &format!("variation of {name}"));
    }
    // Another queue's weight moves a queue's own arrivals in time, but draws none of its numbers.
    let alone = GeneratorConfig {
        arrival: arrival.with_rate_per_s(0.125),
        queues: vec![queue("small", 1.0)],
        ..config
    };
    let times = |jobs: &[JobRecord]| jobs.iter().map(|job| job.submit_s).take(100).collect::<Vec<_>>();
    let small: Vec<_> = jobs.iter().filter(|job| &*job.queue == "small").cloned().collect();
    assert_eq!(times(&small), times(&generate(alone, 3, 100)));
}

#[test]
fn diurnal_arrivals_peak_when_they_should() {
    let (peak_s, period_s) = (30_000.0, 86_400.0);
    let arrival = Arrival::Diurnal { rate_per_s: 0.5, peak_to_trough: 4.0, peak_s, period_s };
    let jobs = generate(GeneratorConfig { arrival, ..base() }, 5, JOBS);
    // Jobs within an hour of a time of day, on whole days only.
    let days = (jobs.last().unwrap().submit_s / period_s).floor();
    let near = |time_s: f64| {
        let of_day = |job: &&JobRecord| {
            let apart = (job.submit_s - time_s).rem_euclid(period_s);
            job.submit_s < days * period_s && apart.min(period_s - apart) < 3600.0
        };
        jobs.iter().filter(of_day).count() as f64
    };
    // The mean of the cosine over that window is 0.9886.
    let amplitude = 0.6 * 0.9886;
    let expected = (1.0 + amplitude) / (1.0 - amplitude);
    assert_close(near(peak_s) / near(peak_s + period_s / 2.0), expected, 0.06, "peak over trough");
}

#[test]
fn sizes_queues_and_users_are_drawn_by_weight() {
    let queues =
        vec![Queue { name: "large".into(), weight: 9.0 }, Queue { name: "small".into(), weight: 1.0 }];
    let config = GeneratorConfig { queues, users: Users { count: 3, zipf_exponent: 1.0 }, ..base() };
    let jobs = generate(config, 11, JOBS);
    let share =
        |is: &dyn Fn(&JobRecord) -> bool| jobs.iter().filter(|job| is(job)).count() as f64 / JOBS as f64;
    assert_close(share(&|job| job.tasks == 2), 0.25, 0.02, "share of the larger size");
    assert_close(share(&|job| &*job.queue == "large"), 0.9, 0.01, "share of the larger queue");
    // 1, 1/2 and 1/3 over their sum, 11/6.
    for (user, expected) in [("user-0", 6.0 / 11.0), ("user-1", 3.0 / 11.0), ("user-2", 2.0 / 11.0)] {
        assert_close(share(&|job| &*job.user == user), expected, 0.02, user);
    }
}

#[test]
fn gavel_draws_the_published_scale_factors() {
    let jobs = generate(Preset::Gavel.config(), 1, JOBS);
    for (gpus, expected) in [(1, 0.7), (2, 0.1), (4, 0.15), (8, 0.05)] {
        let share = jobs.iter().filter(|job| job.gpus_per_task == gpus).count() as f64 / JOBS as f64;
        assert_close(share, expected, 0.03, &format!("share of jobs of {gpus} GPUs"));
    }
    let long = jobs.iter().filter(|job| job.duration_s >= 60_000.0).count() as f64 / JOBS as f64;
    assert_close(long, 0.2, 0.02, "share of jobs from 1000 minutes");
    let bounds_s = 60.0 * 10.0_f64.powf(1.5) - 0.001..=600_000.0;
    assert!(jobs.iter().all(|job| bounds_s.contains(&job.duration_s)));
}

#[test]
fn rate_for_load_yields_the_load() {
    let mut config = base();
    let (load, gpus) = (0.8, 512);
    config.arrival = config.arrival.with_rate_per_s(config.rate_for_load(load, gpus).unwrap());
    let info = info(&generate(config, 13, JOBS));
    assert_close(info.mean_demanded_gpus().unwrap(), load * gpus as f64, 0.03, "GPUs demanded");
    assert!(base().rate_for_load(0.8, 0).is_err());
    let idle = GeneratorConfig { sizes: vec![Size::whole_gpus(1.0, 1, 0)], ..base() };
    assert!(idle.rate_for_load(0.8, 8).is_err());
}

#[test]
fn presets_are_valid_and_their_jobs_in_order() {
    for preset in Preset::ALL {
        let jobs = generate(preset.config(), 17, 10_000);
        assert_eq!(jobs.len(), 10_000, "jobs of {}", preset.name());
        assert!(jobs.is_sorted_by(|job, next| job.submit_s <= next.submit_s));
        for job in &jobs {
            job.check().unwrap();
        }
    }
}

#[test]
fn the_generator_stops_before_times_that_no_trace_may_have() {
    let config = GeneratorConfig { arrival: Arrival::Poisson { rate_per_s: 1e-8 }, ..base() };
    let jobs: Vec<_> = Generator::new(config, 1).unwrap().collect();
    // 40 on average.
    assert!((10..100).contains(&jobs.len()), "{} jobs", jobs.len());
}

proptest! {
    #[test]
    fn the_same_seed_gives_the_same_jobs(seed: u64) {
        let config = Preset::Openb.config();
        let jobs = generate(config.clone(), seed, 200);
        prop_assert_eq!(&jobs, &generate(config.clone(), seed, 200));
        prop_assert_ne!(&jobs, &generate(config, seed.wrapping_add(1), 200));
    }

    #[test]
    fn a_change_of_one_law_leaves_the_other_draws_alone(seed: u64) {
        let jobs = generate(base(), seed, 200);
        let duration = DurationLaw::LogNormal { median_s: 5.0, sigma: 2.0 }.into();
        let others = generate(GeneratorConfig { duration, ..base() }, seed, 200);
        let queues = vec![Queue { name: "q".into(), weight: 1.0 }];
        let with_queues = generate(GeneratorConfig { queues, ..base() }, seed, 200);
        for (index, job) in jobs.iter().enumerate() {
            let other = JobRecord { duration_s: job.duration_s, ..others[index].clone() };
            prop_assert_eq!(&other, job);
            let other = JobRecord { queue: "".into(), ..with_queues[index].clone() };
            prop_assert_eq!(&other, job);
        }
        prop_assert!(jobs.iter().zip(&others).any(|(a, b)| a.duration_s.to_bits() != b.duration_s.to_bits()));
    }
}

#[test]
fn what_cannot_be_used_is_named() {
    let check = |config: GeneratorConfig, expected: &str| {
        assert_eq!(config.validate().unwrap_err().to_string(), expected);
    };
    let sized = |size: Size| GeneratorConfig { sizes: vec![size], ..base() };
    check(
        GeneratorConfig { sizes: Vec::new(), ..base() },
        "generator: sizes: expected at least one size, got none",
    );
    check(
        sized(Size::whole_gpus(f64::NAN, 1, 1)),
        "generator: sizes[0].weight: expected a number from 0.000000001 to 1000000000000, got NaN",
    );
    check(
        sized(Size::whole_gpus(1.0, 0, 1)),
        "generator: sizes[0].tasks: expected a whole number from 1 to 100000, got 0",
    );
    check(
        GeneratorConfig { arrival: Arrival::Poisson { rate_per_s: 0.0 }, ..base() },
        "generator: arrival.rate_per_s: expected a number from 0.000000001 to 1000000000, got 0",
    );
    let nested =
        DurationLaw::Mixture { components: vec![(1.0, DurationLaw::Mixture { components: Vec::new() })] };
    check(
        GeneratorConfig { duration: nested.into(), ..base() },
        "generator: duration.components[0].components: expected one or more components that are not mixtures \
         themselves, got none",
    );
}
