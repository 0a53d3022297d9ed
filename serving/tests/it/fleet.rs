//! Fleets: nobody is lost, nobody is answered twice, and queues are as long as theory has them.

use foretell_serving::fleet::{Parts, Refused, Tries};
use foretell_serving::policies::route::{
    KvAware, KvAwareOptions, LeastOutstanding, RoundRobin, Router, Ties,
};
use foretell_serving::policies::{BlockPool, State, Vllm};
use foretell_serving::{
    Arrivals, Batch, Engine, Fleet, FleetOptions, Observer, Outcome, Request, StepLaw, replay,
};
use proptest::prelude::*;
use rand::rngs::ChaCha8Rng;
use rand::{RngExt, SeedableRng};

/// So many nanoseconds for each token that is generated or read in.
#[derive(Clone, Copy)]
pub(super) struct Law(f64);

impl StepLaw for Law {
    fn stages(&self) -> usize {
        1
    }

    fn stage_ns(&self, batch: &Batch<'_>, _stage: usize) -> f64 {
        self.0 * f64::from(batch.decodes.max(1)) + self.0 / 8.0 * f64::from(batch.tokens())
    }
}

pub(super) type Replica = Engine<Law>;

pub(super) fn replica(token_ns: f64, max_sequences: u32, blocks: u32) -> Replica {
    let vllm = Vllm { max_sequences, max_batched_tokens: 64, ..Vllm::default() };
    Engine::new(Law(token_ns), Box::new(vllm), State::new(BlockPool::with_prefix_cache(blocks, 4)))
}

/// Requests in their order.
pub(super) struct Listed(std::vec::IntoIter<(u64, u32, u32)>, u32);

impl Listed {
    pub(super) fn of(requests: &[(u64, u32, u32)]) -> Self {
        Self(Vec::from(requests).into_iter(), 0)
    }
}

impl Arrivals for Listed {
    fn next_ns(&mut self) -> Option<u64> {
        self.0.as_slice().first().map(|&(at_ns, ..)| at_ns)
    }

    fn take(&mut self) -> Option<Request<'_>> {
        let (arrival_ns, prompt_tokens, output_tokens) = self.0.next()?;
        let index = self.1;
        self.1 += 1;
        Some(request(index, arrival_ns, prompt_tokens, output_tokens))
    }
}

fn request(index: u32, arrival_ns: u64, prompt_tokens: u32, output_tokens: u32) -> Request<'static> {
    const KEYS: [u64; 4] = [11, 12, 13, 14];
    Request {
        index,
        arrival_ns,
        prompt_tokens,
        output_tokens,
        limit_tokens: output_tokens,
        priority: 0,
        adapter: 0,
        block_keys: &KEYS[..(index as usize % 5).min(4)],
    }
}

#[derive(Default)]
pub(super) struct Seen(pub(super) Vec<Outcome>);

impl Observer for Seen {
    fn finished(&mut self, outcome: &Outcome) {
        self.0.push(*outcome);
    }
}

fn fleet(
    router: Box<dyn Router + Send>,
    requests: &[(u64, u32, u32)],
    options: FleetOptions,
) -> Fleet<Replica, Listed, Seen> {
    Fleet::new(router, Listed::of(requests), options)
}

pub(super) fn requests() -> impl Strategy<Value = Vec<(u64, u32, u32)>> {
    prop::collection::vec((0_u64..20_000, 1_u32..40, 1_u32..30), 1..60).prop_map(|wanted| {
        let mut at_ns = 0;
        wanted
            .into_iter()
            .map(|(gap_ns, prompt, output)| {
                at_ns += gap_ns;
                (at_ns, prompt, output)
            })
            .collect()
    })
}

/// What is done to a fleet at an instant.
#[derive(Clone, Copy, Debug)]
pub(super) enum Blow {
    Lose(usize),
    Drain(usize),
    Add(u64),
}

pub(super) fn blows() -> impl Strategy<Value = Vec<(u64, Blow)>> {
    let blow = prop_oneof![
        (0_usize..6).prop_map(Blow::Lose),
        (0_usize..6).prop_map(Blow::Drain),
        (0_u64..100_000).prop_map(Blow::Add),
    ];
    prop::collection::vec((0_u64..40_000, blow), 0..8)
}

/// What became of requests, in their order, and of those that got nothing.
struct Ended {
    outcomes: Vec<Outcome>,
    refused: Vec<Refused>,
    tries: Tries,
}

fn end(fleet: Fleet<Replica, Listed, Seen>) -> Ended {
    let Parts { observers, refused, tries, .. } = fleet.into_parts();
    let mut outcomes: Vec<Outcome> = observers.into_iter().flat_map(|seen| seen.0).collect();
    outcomes.sort_by_key(|one| one.request);
    Ended { outcomes, refused, tries }
}

proptest! {
    /// A fleet to which nothing happens is its replicas, each for itself.
    #[test]
    fn a_quiet_fleet_is_its_replicas(requests in requests(), count in 1_usize..4) {
        let mut fleet = fleet(Box::new(RoundRobin::default()), &requests, FleetOptions::default());
        for _ in 0..count {
            fleet.add(replica(1000.0, 8, 64), Seen::default(), 0, 0);
        }
        fleet.run_until(u64::MAX);
        let Ended { outcomes, refused, .. } = end(fleet);
        prop_assert!(refused.is_empty());
        let mut replicas: Vec<Replica> = (0..count).map(|_| replica(1000.0, 8, 64)).collect();
        let mut observers: Vec<Seen> = (0..count).map(|_| Seen::default()).collect();
        let listed = requests.iter().zip(0..).map(|(&(at_ns, prompt, output), index)| request(index, at_ns, prompt, output));
        let mut turn = 0;
        let in_turn = |_: &[Replica], _: &Request<'_>| {
            turn += 1;
            (turn - 1) % count
        };
        replay(&mut replicas, listed, in_turn, &mut observers);
        let mut expected: Vec<Outcome> = observers.into_iter().flat_map(|one| one.0).collect();
        expected.sort_by_key(|one| one.request);
        prop_assert_eq!(outcomes, expected);
    }

    /// Whatever happens to replicas, each request is answered or refused, once.
    #[test]
    fn requests_are_conserved(
        requests in requests(),
        blows in blows(),
        max_outstanding in prop_oneof![Just(u32::MAX), 1_u32..5],
        max_queued in prop_oneof![Just(u32::MAX), 0_u32..10],
        timeout_ns in prop::option::of(1_000_u64..400_000),
        retries in 0_u32..4,
        aware in any::<bool>(),
        cancels in any::<bool>(),
    ) {
        let options = FleetOptions {
            cancels, max_outstanding, max_queued, timeout_ns, retries, block_tokens: 4, backoff_ns: 3_000, ..FleetOptions::default()
        };
        let router: Box<dyn Router + Send> = if aware {
            Box::new(KvAware::new(KvAwareOptions { block_tokens: 4, ..KvAwareOptions::default() }).unwrap())
        } else {
            Box::new(LeastOutstanding::new(Ties::default()))
        };
        let mut fleet = fleet(router, &requests, options);
        fleet.add(replica(1000.0, 8, 64), Seen::default(), 500, 0);
        fleet.add(replica(2000.0, 8, 30), Seen::default(), 9_000, 0);
        let mut at_ns = 0;
        for (gap_ns, blow) in blows {
            at_ns += gap_ns;
            fleet.run_until(at_ns);
            match blow {
                Blow::Lose(index) => fleet.lose(index),
                Blow::Drain(index) => fleet.drain(index),
                Blow::Add(wait_ns) => {
                    fleet.add(replica(1500.0, 8, 64), Seen::default(), at_ns + wait_ns, 0);
                }
            }
        }
        fleet.run_until(u64::MAX);
        fleet.close();
        prop_assert!(!fleet.is_busy());
        prop_assert_eq!(fleet.watch(0).requests(), 0);
        let Ended { outcomes, refused, tries } = end(fleet);
        let mut seen: Vec<u32> = outcomes.iter().map(|one| one.request).chain(refused.iter().map(|one| one.request)).collect();
        seen.sort_unstable();
        prop_assert_eq!(seen, (0..requests.len() as u32).collect::<Vec<_>>());
        prop_assert_eq!(tries.answered, outcomes.len() as u64);
        prop_assert_eq!(tries.refused, refused.len() as u64);
        prop_assert!(tries.cancelled + tries.wasted <= tries.given_up);
        prop_assert!(tries.cancelled == 0 || cancels);
        for outcome in outcomes {
            let (arrival_ns, prompt_tokens, output_tokens) = requests[outcome.request as usize];
            prop_assert_eq!(outcome.arrival_ns, arrival_ns);
            prop_assert_eq!((outcome.prompt_tokens, outcome.output_tokens), (prompt_tokens, output_tokens));
            prop_assert!(outcome.last_token_ns > arrival_ns);
        }
    }
}

/// Seconds that requests wait on average at `servers` that each have one at a time, and what [`Fleet::watch`] says of how many are there.
fn waited(servers: usize, rate_per_s: f64, output: impl Fn(&mut ChaCha8Rng) -> u32) -> (f64, f64, f64) {
    let mut random = ChaCha8Rng::seed_from_u64(7);
    let mut at_s = 0.0_f64;
    let count = 300_000;
    let requests: Vec<(u64, u32, u32)> = (0..count)
        .map(|_| {
            at_s -= f64::ln(1.0 - random.random::<f64>()) / rate_per_s;
            ((at_s * 1e9) as u64, 1, output(&mut random))
        })
        .collect();
    let options = FleetOptions { max_outstanding: 1, ..FleetOptions::default() };
    let mut fleet = fleet(Box::new(RoundRobin::default()), &requests, options);
    for _ in 0..servers {
        // 1 ms a token, its iteration's share of tokens among it.
        fleet.add(replica(1e6 / 1.125, 1, 2000), Seen::default(), 0, 0);
    }
    fleet.run_until(requests[count - 1].0);
    let watched = fleet.watch(0);
    let in_fleet = watched.requests_ns / watched.length_ns as f64;
    fleet.run_until(u64::MAX);
    let outcomes = end(fleet).outcomes;
    let mean = |of: fn(&Outcome) -> f64| outcomes.iter().map(of).sum::<f64>() / outcomes.len() as f64;
    (mean(Outcome::queue_s), mean(Outcome::e2e_s), in_fleet)
}

/// Erlang's C formula: the share of arrivals that wait.
fn erlang_c(servers: u32, load: f64) -> f64 {
    let mut term = 1.0;
    let mut sum = 0.0;
    for k in 0..servers {
        sum += term;
        term *= load / f64::from(k + 1);
    }
    let last = term / (1.0 - load / f64::from(servers));
    last / (sum + last)
}

#[test]
fn queues_are_as_long_as_theory_says() {
    // Many short tokens: lengths of answers are all but exponential.
    let exponential = |mean: f64| {
        move |random: &mut ChaCha8Rng| (-f64::ln(1.0 - random.random::<f64>()) * mean).round().max(1.0) as u32
    };
    let check =
        |what: &str, (waited_s, e2e_s, in_fleet): (f64, f64, f64), rate_per_s: f64, expected_s: f64| {
            let off = waited_s / expected_s - 1.0;
            assert!(off.abs() < 0.03, "{what}: {waited_s} s, theory has {expected_s} s");
            // Little's law.
            let little = in_fleet / (rate_per_s * e2e_s) - 1.0;
            assert!(little.abs() < 0.005, "{what}: {in_fleet} are there, of {rate_per_s}/s for {e2e_s} s");
        };
    // M/M/1 at 80 %: a service of 0.2 s waits 0.8 / (1 - 0.8) of it.
    check("M/M/1", waited(1, 4.0, exponential(200.0)), 4.0, 0.8);
    // M/D/1: half of that (Pollaczek-Khinchine).
    check("M/D/1", waited(1, 4.0, |_| 200), 4.0, 0.4);
    // M/M/4 at 80 %: those that wait do so for a service of 0.2 s over 4 (1 - 0.8).
    check("M/M/4", waited(4, 16.0, exponential(200.0)), 16.0, erlang_c(4, 3.2) * 0.2 / (4.0 * 0.2));
    // M/G/1 with two lengths: 50 tokens for three of four, 650 for the fourth.
    let two = |random: &mut ChaCha8Rng| if random.random::<f64>() < 0.75 { 50 } else { 650 };
    let (mean_s, square) = (0.2, 0.75 * 0.05 * 0.05 + 0.25 * 0.65 * 0.65);
    check("M/G/1", waited(1, 4.0, two), 4.0, 4.0 * square / (2.0 * (1.0 - 4.0 * mean_s)));
}

#[test]
fn a_client_that_gives_up_tries_again_and_what_it_left_is_computed_for_nobody() {
    // 10 ms a token: the second of two requests is done after 40 ms, its client waits for 35. Its second try, at 35 + 10 ms, finds the replica free.
    let requests = [(0, 1, 2), (0, 1, 2)];
    let options = FleetOptions {
        timeout_ns: Some(35_000_000),
        retries: 1,
        backoff_ns: 10_000_000,
        ..FleetOptions::default()
    };
    let mut fleet = fleet(Box::new(RoundRobin::default()), &requests, options);
    fleet.add(replica(1e7 / 1.125, 1, 64), Seen::default(), 0, 0);
    fleet.run_until(u64::MAX);
    let Ended { outcomes, refused, tries } = end(fleet);
    assert!(refused.is_empty());
    let expected = Tries { arrived: 2, answered: 2, retried: 1, given_up: 1, wasted: 1, ..Tries::default() };
    assert_eq!(tries, expected);
    let ends: Vec<u64> = outcomes.iter().map(|one| one.last_token_ns).collect();
    assert_eq!(ends, [20_000_000, 65_000_000]);
    assert_eq!(outcomes[1].arrival_ns, 0);
}

#[test]
fn what_a_client_gave_up_is_computed_no_more() {
    // 10 ms a token, of one request at a time; both clients wait for 35 ms. The first is answered in 20 ms, the second would be after 70: it is stopped
    // with the iteration that ends at 40. The third waits, and is forgotten: its second try comes to an empty replica.
    let requests = [(0, 1, 2), (0, 1, 5), (0, 1, 5)];
    let options = FleetOptions {
        timeout_ns: Some(35_000_000),
        cancels: true,
        retries: 1,
        backoff_ns: 100_000_000,
        ..FleetOptions::default()
    };
    let mut fleet = fleet(Box::new(RoundRobin::default()), &requests, options);
    fleet.add(replica(1e7 / 1.125, 1, 64), Seen::default(), 0, 0);
    fleet.run_until(36_000_000);
    assert_eq!(fleet.loads()[0].waiting, 0);
    assert_eq!(fleet.loads()[0].running, 1);
    fleet.run_until(41_000_000);
    assert_eq!((fleet.loads()[0].running, fleet.loads()[0].used_blocks), (0, 0));
    fleet.run_until(u64::MAX);
    let Ended { outcomes, refused, tries } = end(fleet);
    // Both come again at 135 ms, and the last of them is in vain.
    assert_eq!(outcomes.iter().map(|one| one.request).collect::<Vec<_>>(), [0]);
    assert_eq!(refused.len(), 2);
    let expected = Tries {
        arrived: 3,
        answered: 1,
        refused: 2,
        retried: 2,
        given_up: 4,
        cancelled: 4,
        ..Tries::default()
    };
    assert_eq!(tries, expected);
}

#[test]
fn who_drains_ends_what_it_has_and_who_is_lost_does_not() {
    // 10 ms a token. At 15 ms one replica drains, and is empty at 30 ms; the other is lost at 12 ms, and its request begins anew on the third.
    let requests = [(0, 1, 3), (0, 1, 3)];
    let options = FleetOptions { retries: 1, backoff_ns: 0, ..FleetOptions::default() };
    let mut fleet = fleet(Box::new(RoundRobin::default()), &requests, options);
    for ready_ns in [0, 0, 1_000_000] {
        fleet.add(replica(1e7 / 1.125, 1, 64), Seen::default(), ready_ns, 0);
    }
    fleet.run_until(12_000_000);
    fleet.lose(1);
    fleet.run_until(15_000_000);
    fleet.drain(0);
    assert_eq!(fleet.next_of_draining_ns(), Some(30_000_000));
    fleet.run_until(29_999_999);
    assert!(fleet.take_drained().is_empty());
    fleet.run_until(30_000_000);
    assert_eq!(fleet.take_drained(), [0]);
    fleet.run_until(u64::MAX);
    let outcomes = end(fleet).outcomes;
    let ends: Vec<u64> = outcomes.iter().map(|one| one.last_token_ns).collect();
    assert_eq!(ends, [30_000_000, 42_000_000]);
}
