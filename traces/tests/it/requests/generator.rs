//! Generated requests follow the laws that they were asked for.

use std::sync::Arc;

use foretell_traces::generate::Arrival;
use foretell_traces::requests::generate::{
    CountLaw, LengthsLaw, MmppState, RequestArrival, RequestGeneratorConfig, Target,
};
use foretell_traces::requests::record::MAX_TOKENS;
use foretell_traces::requests::{Lengths, RequestGenerator, RequestInfo, RequestRecord};
use proptest::prelude::*;

const REQUESTS: usize = 200_000;

pub(super) fn target(max_model_tokens: u32) -> Target {
    Target { model: String::new(), priority: 0, max_model_tokens }
}

fn base() -> RequestGeneratorConfig {
    let lengths = LengthsLaw::Independent {
        prompt: CountLaw::Constant { count: 100 },
        output: CountLaw::Uniform { min: 10, max: 30 },
    };
    RequestGeneratorConfig { arrival: RequestArrival::poisson(5.0), lengths, target: target(MAX_TOKENS) }
}

fn generate(config: &RequestGeneratorConfig, seed: u64, requests: usize) -> Vec<RequestRecord> {
    RequestGenerator::new(config, seed).unwrap().take(requests).collect()
}

fn assert_close(value: f64, expected: f64, tolerance: f64, what: &str) {
    assert!((value / expected - 1.0).abs() <= tolerance, "{what}: {value}, expected {expected}");
}

fn mmpp(states: &[(f64, f64)]) -> RequestArrival {
    let state = |&(rate_per_s, mean_sojourn_s)| MmppState { rate_per_s, mean_sojourn_s };
    RequestArrival::Mmpp { states: states.iter().map(state).collect() }
}

fn arrivals(arrival: RequestArrival) -> Vec<RequestRecord> {
    let requests = generate(&RequestGeneratorConfig { arrival, ..base() }, 3, REQUESTS);
    assert!(requests.is_sorted_by_key(|request| request.arrival_ns));
    requests
}

#[test]
fn arrivals_have_the_rate_and_the_variation_of_their_law() {
    let check = |arrival: RequestArrival, rate_per_s: f64, variation: f64| {
        let what = format!("{arrival:?}");
        assert_close(arrival.rate_per_s(), rate_per_s, 1e-12, &what);
        let info = RequestInfo::of(arrivals(arrival).into_iter().map(Ok)).unwrap();
        assert_close(info.rate_per_s().unwrap(), rate_per_s, 0.03, &format!("rate of {what}"));
        let measured = info.gaps.unwrap().coefficient_of_variation;
        assert!(
            (measured - variation).abs() < 0.03 * variation + 1e-4,
            "variation of {what}: {measured}, expected {variation}"
        );
    };
    check(RequestArrival::Constant { rate_per_s: 4.0 }, 4.0, 0.0);
    check(RequestArrival::poisson(5.0), 5.0, 1.0);
    let gamma = Arrival::Gamma { rate_per_s: 2.0, coefficient_of_variation: 2.5 };
    check(RequestArrival::Law(gamma), 2.0, 2.5);
    check(mmpp(&[(3.0, 1.0), (3.0, 2.0)]), 3.0, 1.0);
    // On for 1 s, off for 3 s: an interrupted Poisson process, whose squared variation is
    // 1 + 2 rate off_rate / (on_rate + off_rate)^2 with on_rate = 1/3 and off_rate = 1.
    check(mmpp(&[(20.0, 1.0), (0.0, 3.0)]), 5.0, (1.0 + 2.0 * 20.0 / (4.0_f64 / 3.0).powi(2)).sqrt());
    check(RequestArrival::Profile { rates_per_s: vec![7.0], period_s: 10.0 }, 7.0, 1.0);
    let scaled = mmpp(&[(1.0, 1.0), (7.0, 1.0)]).with_rate_per_s(2.0);
    assert_eq!(scaled, mmpp(&[(0.5, 1.0), (3.5, 1.0)]));
}

/// The variance of counts over their mean, in windows that are long against the states.
#[test]
fn bursts_are_as_strong_as_those_of_the_process() {
    // 1 + 2 a b (r - s)^2 / ((a + b)^2 (r b + s a)) for rates r, s and rates a, b of leaving their states
    // (Fischer and Meier-Hellstern, 1993).
    let (r, s, a, b) = (20.0_f64, 2.0, 1.0_f64, 0.5);
    let expected = 1.0 + 2.0 * a * b * (r - s).powi(2) / ((a + b).powi(2) * (r * b + s * a));
    let window_ns = 100_000_000_000;
    let requests = arrivals(mmpp(&[(r, 1.0 / a), (s, 1.0 / b)]));
    let windows = requests.last().unwrap().arrival_ns / window_ns;
    let mut counts = vec![0.0_f64; windows as usize];
    for request in &requests {
        if let Some(count) = counts.get_mut((request.arrival_ns / window_ns) as usize) {
            *count += 1.0;
        }
    }
    let mean = counts.iter().sum::<f64>() / windows as f64;
    let variance = counts.iter().map(|count| (count - mean).powi(2)).sum::<f64>() / windows as f64;
    assert_close(variance / mean, expected, 0.2, "dispersion of counts");
}

#[test]
fn profiles_repeat_themselves() {
    let rates_per_s = vec![1.0, 0.0, 4.0, 3.0];
    let requests = arrivals(RequestArrival::Profile { rates_per_s, period_s: 40.0 });
    let mut counts = [0.0; 4];
    for request in &requests {
        counts[(request.arrival_ns / 10_000_000_000 % 4) as usize] += 1.0;
    }
    for (count, share) in counts.into_iter().zip([0.125, 0.0, 0.5, 0.375]) {
        assert!((count / REQUESTS as f64 - share).abs() < 0.01, "{counts:?}");
    }
}

#[test]
fn lengths_follow_their_law() {
    let check = |law: CountLaw, mean: f64, p50: u32, p90: u32| {
        let what = format!("{law:?}");
        let output = CountLaw::Constant { count: 1 };
        let lengths = LengthsLaw::Independent { prompt: law, output };
        let requests = generate(&RequestGeneratorConfig { lengths, ..base() }, 9, REQUESTS);
        let prompt = RequestInfo::of(requests.into_iter().map(Ok)).unwrap().prompt.unwrap();
        assert_close(prompt.mean, mean, 0.02, &format!("mean of {what}"));
        assert_close(prompt.p50.into(), p50.into(), 0.02, &format!("median of {what}"));
        assert_close(prompt.p90.into(), p90.into(), 0.03, &format!("p90 of {what}"));
    };
    check(CountLaw::Constant { count: 7 }, 7.0, 7, 7);
    check(CountLaw::Uniform { min: 101, max: 300 }, 200.5, 200, 280);
    let sigma = 0.8_f64;
    let law = CountLaw::LogNormal { median: 992.0, sigma, min: 1, max: MAX_TOKENS };
    let p90 = (992.0 * (1.281_551_6 * sigma).exp()) as u32;
    check(law, 992.0 * (sigma * sigma / 2.0).exp(), 992, p90);
    check(CountLaw::log_normal_p90(400.0, 1600.0), 400.0 * (1.0817_f64.powi(2) / 2.0).exp(), 400, 1600);
    // The sigma of this p99 is 0.7.
    let p99 = 400.0 * (0.7 * 2.326_347_9_f64).exp();
    check(
        CountLaw::log_normal_p99(400.0, p99),
        400.0 * 0.245_f64.exp(),
        400,
        (400.0 * 0.897_086_f64.exp()) as u32,
    );
    // 1, 2, .. 10 with weights 1/k over 7381/2520: half of them are at most 2, nine in ten at most 8.
    check(CountLaw::Zipf { min: 101, max: 110, exponent: 1.0 }, 100.0 + 10.0 * 2520.0 / 7381.0, 102, 108);
    check(CountLaw::Empirical { counts: [10, 20, 20, 90].into() }, 35.0, 20, 90);
}

#[test]
fn the_model_bounds_both_lengths() {
    let lengths = LengthsLaw::Independent {
        prompt: CountLaw::Uniform { min: 1, max: 200 },
        output: CountLaw::Uniform { min: 1, max: 200 },
    };
    let requests = generate(
        &RequestGeneratorConfig { lengths: lengths.clone(), target: target(100), ..base() },
        1,
        1000,
    );
    let whole = generate(&RequestGeneratorConfig { lengths, ..base() }, 1, 1000);
    for (request, whole) in requests.iter().zip(whole) {
        assert_eq!(request.prompt_tokens, whole.prompt_tokens.min(99));
        assert_eq!(request.output_tokens, whole.output_tokens.min(100 - request.prompt_tokens));
    }
}

#[test]
fn lengths_of_a_trace() {
    let trace: Arc<[Lengths]> =
        (1..=3).map(|prompt_tokens| Lengths { prompt_tokens, output_tokens: prompt_tokens * 10 }).collect();
    let prompts = |drawn| -> Vec<u32> {
        let lengths = LengthsLaw::Trace { lengths: Arc::clone(&trace), drawn };
        let requests = generate(&RequestGeneratorConfig { lengths, ..base() }, 2, 3000);
        assert!(requests.iter().all(|request| request.output_tokens == request.prompt_tokens * 10));
        requests.iter().map(|request| request.prompt_tokens).collect()
    };
    assert_eq!(prompts(false)[..7], [1, 2, 3, 1, 2, 3, 1]);
    let drawn = prompts(true);
    for tokens in 1..=3 {
        let share = drawn.iter().filter(|&&drawn| drawn == tokens).count() as f64 / 3000.0;
        assert!((share - 1.0 / 3.0).abs() < 0.04, "share of {tokens}: {share}");
    }
}

#[test]
fn requests_name_whom_they_ask() {
    let target = Target { model: "chat".into(), priority: -3, max_model_tokens: 4096 };
    let requests = generate(&RequestGeneratorConfig { target, ..base() }, 1, 10);
    assert!(requests.iter().all(|request| (&*request.model, request.priority) == ("chat", -3)));
}

#[test]
fn the_generator_stops_before_times_that_no_trace_may_have() {
    let config = RequestGeneratorConfig { arrival: RequestArrival::poisson(1e-8), ..base() };
    let requests: Vec<_> = RequestGenerator::new(&config, 1).unwrap().collect();
    // 40 on average.
    assert!((10..100).contains(&requests.len()), "{} requests", requests.len());
}

#[test]
fn what_cannot_be_used_is_named() {
    let check = |config: RequestGeneratorConfig, expected: &str| {
        let error = RequestGenerator::new(&config, 1).err().map(|error| error.to_string());
        assert_eq!(error.as_deref(), Some(expected));
    };
    let of_arrival = |arrival| RequestGeneratorConfig { arrival, ..base() };
    let of_prompt = |prompt| {
        let lengths = LengthsLaw::Independent { prompt, output: CountLaw::Constant { count: 1 } };
        RequestGeneratorConfig { lengths, ..base() }
    };
    check(
        of_arrival(RequestArrival::Constant { rate_per_s: f64::NAN }),
        "generator: arrival.rate_per_s: expected a number from 0.000000001 to 1000000000, got NaN",
    );
    check(of_arrival(mmpp(&[(1.0, 1.0)])), "generator: arrival.states: expected 2 to 100000 states, got 1");
    check(
        of_arrival(mmpp(&[(1.0, 1.0), (-1.0, 1.0)])),
        "generator: arrival.states[1].rate_per_s: expected a number from 0 to 1000000000, got -1",
    );
    check(
        of_arrival(mmpp(&[(0.0, 1.0), (0.0, 1.0)])),
        "generator: arrival.states: expected at least 0.000001 arrivals on average while all states pass once, got 0",
    );
    check(
        of_arrival(RequestArrival::Profile { rates_per_s: vec![0.0; 24], period_s: 86_400.0 }),
        "generator: arrival.rates_per_s: expected rates of which the mean is at least 0.000001 of the highest, got 0",
    );
    check(
        of_prompt(CountLaw::Uniform { min: 5, max: 4 }),
        "generator: lengths.prompt.max: expected a whole number from 5 to 67108864, got 4",
    );
    check(
        of_prompt(CountLaw::Empirical { counts: [3, 0].into() }),
        "generator: lengths.prompt.counts[1]: expected a whole number from 1 to 67108864, got 0",
    );
    check(
        of_prompt(CountLaw::log_normal_p90(0.0, 10.0)),
        "generator: lengths.prompt.median: expected a number from 0.001 to 67108864, got 0",
    );
    check(
        RequestGeneratorConfig { target: target(1), ..base() },
        "generator: max_model_tokens: expected a whole number from 2 to 67108864, got 1",
    );
}

proptest! {
    #[test]
    fn the_same_seed_gives_the_same_requests(seed: u64) {
        let requests = generate(&base(), seed, 100);
        prop_assert_eq!(&requests, &generate(&base(), seed, 100));
        prop_assert_ne!(&requests, &generate(&base(), seed.wrapping_add(1), 100));
        for request in &requests {
            prop_assert_eq!(request.check(), Ok(()));
        }
    }

    #[test]
    fn a_change_of_one_law_leaves_the_other_draws_alone(seed: u64) {
        let requests = generate(&base(), seed, 100);
        let slower = generate(&RequestGeneratorConfig { arrival: RequestArrival::Constant { rate_per_s: 1.0 }, ..base() }, seed, 100);
        let lengths = LengthsLaw::Independent {
            prompt: CountLaw::log_normal_p90(50.0, 200.0),
            output: CountLaw::Uniform { min: 10, max: 30 },
        };
        let longer = generate(&RequestGeneratorConfig { lengths, ..base() }, seed, 100);
        for (index, request) in requests.iter().enumerate() {
            prop_assert_eq!(request.lengths(), slower[index].lengths());
            prop_assert_eq!(request.arrival_ns, longer[index].arrival_ns);
            prop_assert_eq!(request.output_tokens, longer[index].output_tokens);
        }
    }
}
