//! Routers that follow what replicas have in their caches.

use std::cell::RefCell;

use foretell_serving_policies::{
    ActiveBlocks, AdapterAt, Arrival, Caches, Candidates, KvAware, KvAwareOptions, Load, MooncakeOptions,
    MooncakeRouter, NoCaches, Rejection, Routed, Router, RouterError, ScorerWeights, Weighted,
};

use super::{CLOSED, Have, arrival, assert_shares, holding, prompt, replica, to, told};

const KEYS: [u64; 10] = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10];

fn dynamo(overlap_weight: f64) -> KvAwareOptions {
    KvAwareOptions { overlap_weight, candidates: Candidates::All, ..KvAwareOptions::default() }
}

fn kv_aware(options: KvAwareOptions) -> KvAware {
    KvAware::new(options).unwrap_or_else(|error| panic!("{error}"))
}

/// Which replicas get 64 requests.
fn chosen(router: &mut dyn Router, loads: &[Load], arrival: &Arrival<'_>, have: &[u32]) -> Vec<usize> {
    told(router, loads);
    let answer = (0..64).map(|random| router.route(&Arrival { random, ..*arrival }, loads, &Have(have)));
    let mut chosen: Vec<usize> = answer.map(replica).collect();
    chosen.sort_unstable();
    chosen.dedup();
    chosen
}

#[test]
fn dynamo_weighs_blocks_to_compute_and_blocks_to_hold() {
    // A request of 10 blocks. The first has it all cached, but holds 20 blocks; the second has to read 10 in and holds them; the third is idle.
    let loads = [holding(0, 320), holding(160, 160), holding(0, 0)];
    let have = [10, 0, 0];
    let request = prompt(&KEYS, 16, 160, 0, 0);
    let check = |overlap_weight: f64, costs: [f64; 3], expected: &[usize]| {
        let options = dynamo(overlap_weight);
        for at in 0..3 {
            let cost = options.cost_blocks(&loads[at], &request, have[at]);
            assert!((cost - costs[at]).abs() < 1e-12, "{at}: {cost} is not {}", costs[at]);
        }
        assert_eq!(chosen(&mut kv_aware(options), &loads, &request, &have), expected, "{overlap_weight}");
    };
    check(1.0, [30.0, 40.0, 20.0], &[2]);
    check(2.0, [30.0, 60.0, 30.0], &[0, 2]);
    check(3.0, [30.0, 80.0, 40.0], &[0]);
    check(0.0, [30.0, 20.0, 10.0], &[2]);
}

#[test]
fn blocks_that_are_held_may_be_those_in_use() {
    let loads = [
        Load { used_blocks: 9, ..holding(0, 0) },
        Load { used_blocks: 4, ..holding(0, 320) },
        Load { used_blocks: 1, ..holding(48, 320) },
    ];
    let request = prompt(&KEYS, 16, 160, 0, 0);
    let used = KvAwareOptions { active_blocks: ActiveBlocks::Used, ..dynamo(1.0) };
    // 9, 4, and 3 to be read in + 1.
    assert_eq!(chosen(&mut kv_aware(used), &loads, &request, &[0, 0, 0]), [1, 2]);
    assert_eq!(chosen(&mut kv_aware(used), &loads, &request, &[6, 0, 0]), [0]);
    assert_eq!(chosen(&mut kv_aware(dynamo(1.0)), &loads, &request, &[0, 0, 0]), [0]);
}

#[test]
fn no_more_is_saved_than_the_prompt_has() {
    // 10 blocks of 16 tokens, of which the last is not full.
    let request = prompt(&KEYS, 16, 150, 0, 0);
    let cost = dynamo(1.0).cost_blocks(&holding(0, 0), &request, 10);
    assert!((cost - 150.0 / 16.0).abs() < 1e-12, "{cost}");
}

#[test]
fn warm_draws_follow_the_softmax() {
    // Costs less the request's own are 0, 8 and 16 blocks: 0, 1/2 and 1 of the distance.
    let loads = [holding(0, 0), CLOSED, holding(0, 128), holding(128, 128)];
    let request = prompt(&KEYS, 16, 160, 0, 0);
    let check = |temperature: f64| {
        let mut router = kv_aware(KvAwareOptions { temperature, ..dynamo(1.0) });
        told(&mut router, &loads);
        let mut counts = [0; 4];
        for random in 0..20_000 {
            counts[replica(router.route(&Arrival { random, ..request }, &loads, &NoCaches))] += 1;
        }
        let weights = [1.0, 0.0, (-0.5 / temperature).exp(), (-1.0 / temperature).exp()];
        let sum: f64 = weights.iter().sum();
        assert_shares(&counts, &weights.map(|weight| weight / sum));
    };
    check(1.0);
    check(0.3);
    // A whole prompt of 160 tokens saves what the second has to hold.
    let mut router = kv_aware(KvAwareOptions { temperature: 0.01, ..dynamo(1.0) });
    assert_eq!(chosen(&mut router, &loads, &request, &[0, 10, 10, 0]), [2]);
}

/// Who was asked, of replicas that all have a block.
#[derive(Default)]
struct Asked(RefCell<Vec<usize>>);

impl Caches for Asked {
    fn cached_blocks(&self, replica: usize, _arrival: &Arrival<'_>) -> u32 {
        self.0.borrow_mut().push(replica);
        1
    }
}

#[test]
fn only_those_that_may_have_something_are_asked() {
    let mut loads = [holding(0, 0); 40];
    let candidates = Candidates::Recent { beginnings: 2 };
    let mut router = kv_aware(KvAwareOptions { candidates, ..KvAwareOptions::default() });
    told(&mut router, &loads);
    // Sends a request with a beginning where there is room, and says who was asked.
    let mut send = |key: u64, replica: Option<usize>| {
        let asked = Asked::default();
        for (other, load) in loads.iter_mut().enumerate() {
            load.tokens = if replica.is_none_or(|replica| replica == other) { 0 } else { 10_000 };
            router.changed(other, load);
        }
        let answer = router.route(&prompt(&[key], 16, 16, 0, 0), &loads, &asked);
        assert!(replica.is_none_or(|replica| answer == to(replica)), "{replica:?} {answer:?}");
        let mut asked = asked.0.into_inner();
        asked.sort_unstable();
        asked
    };
    assert_eq!(send(1, Some(5)), []);
    assert_eq!(send(1, Some(7)), [5]);
    assert_eq!(send(1, Some(5)), [5, 7]);
    // Two beginnings are remembered; the one that nobody asked for since is forgotten.
    assert_eq!(send(2, Some(1)), []);
    assert_eq!(send(3, Some(2)), []);
    assert_eq!(send(1, None), [5, 7]);
    assert_eq!(send(2, Some(1)), []);
    // Of 20 replicas the last 16 are asked.
    (0..20).for_each(|at| drop(send(1, Some(20 + at))));
    assert_eq!(send(1, None), (24..40).collect::<Vec<_>>());
}

/// What replicas were sent, and have for good.
#[derive(Default)]
struct Sent(std::collections::BTreeSet<(usize, u64)>);

impl Caches for Sent {
    fn cached_blocks(&self, replica: usize, arrival: &Arrival<'_>) -> u32 {
        arrival.block_keys.iter().take_while(|&&key| self.0.contains(&(replica, key))).count() as u32
    }
}

#[test]
fn a_conversation_is_found_though_thousands_begin_alike() {
    // 300 conversations, all of which begin with the same 8 blocks, on 64 replicas, of which the last 16 are remembered by their beginning. At its
    // second and third turn each finds who has all that was said.
    let mut router = kv_aware(KvAwareOptions { overlap_weight: 100.0, ..KvAwareOptions::default() });
    let mut loads = vec![holding(0, 0); 64];
    told(&mut router, &loads);
    let mut sent = Sent::default();
    let mut homes = Vec::new();
    for turn in 1..4_u64 {
        for conversation in 0..300_u64 {
            let own = (0..4 * turn).map(|block| 1000 + 100 * conversation + block);
            let keys: Vec<u64> = (0..8).chain(own).collect();
            let tokens = 16 * keys.len() as u32;
            // Whoever has nothing else to do gets the first turn.
            if turn == 1 {
                let home = conversation as usize % 64;
                for (replica, load) in loads.iter_mut().enumerate() {
                    *load = holding(if replica == home { 0 } else { 1_000_000 }, 0);
                }
                told(&mut router, &loads);
            }
            let at = replica(router.route(&prompt(&keys, 16, tokens, 0, conversation), &loads, &sent));
            sent.0.extend(keys.iter().map(|&key| (at, key)));
            if turn == 1 {
                homes.push(at);
                continue;
            }
            assert_eq!(at, homes[conversation as usize], "turn {turn} of {conversation}");
        }
        loads.fill(holding(0, 0));
        told(&mut router, &loads);
    }
    homes.sort_unstable();
    homes.dedup();
    assert_eq!(homes.len(), 64);
}

#[test]
fn kv_aware_takes_no_nonsense() {
    let check = |options: KvAwareOptions, name: &'static str, value: f64, least: f64| {
        assert_eq!(KvAware::new(options).err(), Some(RouterError::Parameter { name, value, least }));
    };
    let with = KvAwareOptions::default;
    check(KvAwareOptions { overlap_weight: -1.0, ..with() }, "overlap_weight", -1.0, 0.0);
    check(KvAwareOptions { temperature: f64::INFINITY, ..with() }, "temperature", f64::INFINITY, 0.0);
    check(KvAwareOptions { block_tokens: 0, ..with() }, "block_tokens", 0.0, 1.0);
}

#[test]
fn scores_are_weighted_and_summed() {
    let of = |waiting: u32, running: u32, used_blocks: u32| Load {
        waiting,
        running,
        used_blocks,
        ..holding(0, 0)
    };
    // Queues score 1, 1/2, 0; memory 0.5, 0.8, 1; those that run 0, 3/4, 1.
    let loads = [of(0, 8, 50), of(2, 2, 20), of(4, 0, 0)];
    let request = prompt(&KEYS[..4], 16, 64, 0, 0);
    let check = |weights: ScorerWeights, have: [u32; 3], expected: &[usize]| {
        let Ok(mut router) = Weighted::new(weights, Candidates::All) else { panic!("{weights:?}") };
        assert_eq!(chosen(&mut router, &loads, &request, &have), expected, "{weights:?} {have:?}");
    };
    // 2, 1, and 3 or 3/4 for 4 or 1 of 4 blocks.
    check(ScorerWeights::default(), [0, 0, 4], &[2]);
    check(ScorerWeights::default(), [0, 0, 1], &[0]);
    // 1.5, 1.3, and 3 or 1.5.
    check(ScorerWeights::BLIS, [0, 0, 4], &[2]);
    check(ScorerWeights::BLIS, [0, 0, 1], &[0, 2]);
    let alone = ScorerWeights { queue: 0.0, kv_utilisation: 0.0, prefix: 0.0, running: 0.0, lora: 0.0 };
    check(ScorerWeights { kv_utilisation: 1.0, ..alone }, [4, 0, 0], &[2]);
    check(ScorerWeights { kv_utilisation: 1.0, running: 1.0, queue: 1.0, ..alone }, [4, 0, 0], &[1]);
    check(alone, [4, 0, 0], &[0, 1, 2]);
    // Where all are alike, all score 1.
    let Ok(mut router) = Weighted::new(ScorerWeights::default(), Candidates::All) else { panic!() };
    assert_eq!(chosen(&mut router, &[of(3, 1, 7), CLOSED, of(3, 1, 7)], &request, &[0, 4, 0]), [0, 2]);
    assert_eq!(router.route(&request, &[CLOSED], &NoCaches), Routed::Unavailable);
}

/// How near the adapter of any request is at each replica.
struct Near([AdapterAt; 4]);

impl Caches for Near {
    fn cached_blocks(&self, _replica: usize, _arrival: &Arrival<'_>) -> u32 {
        0
    }

    fn adapter(&self, replica: usize, _arrival: &Arrival<'_>) -> AdapterAt {
        self.0[replica]
    }
}

#[test]
fn an_adapter_draws_its_requests() {
    use AdapterAt::{Absent, Loaded, Room, Waiting};
    let queues = [4, 0, 1, 4].map(|waiting| Load { waiting, ..holding(0, 0) });
    let check = |queue: f64, adapter: u32, near: [AdapterAt; 4], expected: usize| {
        let weights = ScorerWeights { queue, prefix: 0.0, lora: 2.0, ..ScorerWeights::default() };
        let Ok(mut router) = Weighted::new(weights, Candidates::All) else { panic!("{weights:?}") };
        let request = Arrival { adapter, ..arrival(0, 0) };
        let to = router.route(&request, &queues, &Near(near));
        assert_eq!(to, Routed::To { replica: expected, from: None }, "{near:?}");
    };
    // Queues score 0, 1, 3/4, 0.
    check(0.0, 7, [Loaded, Room, Waiting, Absent], 0);
    check(0.0, 7, [Absent, Room, Waiting, Absent], 1);
    check(0.0, 7, [Absent, Absent, Waiting, Absent], 2);
    // 2 against 1.6 and 0.39.
    check(0.39, 7, [Loaded, Room, Absent, Absent], 0);
    check(0.41, 7, [Loaded, Room, Absent, Absent], 1);
    // Who needs no adapter goes by queues alone.
    check(0.1, 0, [Loaded, Absent, Loaded, Loaded], 1);
}

fn mooncake() -> MooncakeOptions {
    MooncakeOptions {
        transfer_ns: 5_000.0,
        candidates: Candidates::All,
        ..MooncakeOptions::new(1_000.0, 10_000.0)
    }
}

/// 1,000 tokens in 10 blocks; the first has 8 of them and is busy, the second has nothing, the third has 5.
fn check_mooncake(options: MooncakeOptions, expected: Routed) {
    let loads = [
        holding(5_000, 9_000),
        Load { running: 9, ..holding(0, 20_000) },
        Load { running: 4, waiting: 1, ..holding(0, 10_000) },
        CLOSED,
    ];
    let Ok(mut router) = MooncakeRouter::new(options) else { panic!("{options:?}") };
    told(&mut router, &loads);
    let request = prompt(&KEYS, 100, 1_000, 0, 0);
    for _ in 0..2 {
        assert_eq!(router.route(&request, &loads, &Have(&[8, 0, 5, 10])), expected, "{options:?}");
    }
}

#[test]
fn mooncake_copies_where_that_is_much_and_computes_else() {
    let copied = |replica: usize, blocks: u32| Routed::To { replica, from: Some((0, blocks)) };
    // First tokens after 5,200 us (5,000 of them wait); 5 + 80 + 200; 500 (8 is no more than twice 5).
    check_mooncake(mooncake(), copied(1, 8));
    // 5 + 480 + 200 against 500.
    check_mooncake(MooncakeOptions { transfer_ns_per_block: 60_000.0, ..mooncake() }, to(2));
    // 5 + 30 + 200 against 285.
    check_mooncake(MooncakeOptions { balancing_threshold: 1.5, ..mooncake() }, copied(2, 3));
    // Pairs are (10^6 - 640,000) / 2 and (10^6 - 250,000) / 2: 180 and 375 us more.
    let pairs = MooncakeOptions { prefill_ns_per_pair: 1.0, ..mooncake() };
    check_mooncake(MooncakeOptions { first_token_limit_ns: Some(465_000), ..pairs }, copied(1, 8));
    let late = Routed::Rejected(Rejection::TimeToFirstToken);
    check_mooncake(MooncakeOptions { first_token_limit_ns: Some(464_999), ..pairs }, late);
}

#[test]
fn who_has_something_of_a_prompt_is_not_taken_for_one_who_has_nothing() {
    // The third has least to do, but computes 5 blocks in 500 us; had it nothing it would copy 8 and be done in 285. The second is in 385.
    let loads = [holding(5_000, 0), holding(100, 0), holding(0, 0)];
    let Ok(mut router) = MooncakeRouter::new(mooncake()) else { panic!() };
    told(&mut router, &loads);
    let request = prompt(&KEYS, 100, 1_000, 0, 0);
    let answer = router.route(&request, &loads, &Have(&[8, 0, 5]));
    assert_eq!(answer, Routed::To { replica: 1, from: Some((0, 8)) });
    // Nor is it forgotten afterwards.
    assert_eq!(router.route(&request, &loads, &NoCaches), to(2));
}

#[test]
fn mooncake_turns_away_what_would_be_late() {
    let third = MooncakeOptions { balancing_threshold: 1.5, ..mooncake() };
    let goes = Routed::To { replica: 2, from: Some((0, 3)) };
    check_mooncake(MooncakeOptions { first_token_limit_ns: Some(235_000), ..third }, goes);
    let late = Routed::Rejected(Rejection::TimeToFirstToken);
    check_mooncake(MooncakeOptions { first_token_limit_ns: Some(234_999), ..third }, late);
    // 1,000 us, 6 requests of 100 us, 11,000 tokens of 10 ns.
    let decode =
        MooncakeOptions { decode_ns: 1e6, decode_ns_per_request: 1e5, decode_ns_per_token: 10.0, ..third };
    check_mooncake(MooncakeOptions { token_limit_ns: Some(1_710_000), ..decode }, goes);
    let slow = Routed::Rejected(Rejection::TimeBetweenTokens);
    check_mooncake(MooncakeOptions { token_limit_ns: Some(1_709_999), ..decode }, slow);
    let refused = MooncakeRouter::new(MooncakeOptions { balancing_threshold: 0.5, ..mooncake() }).err();
    assert_eq!(refused, Some(RouterError::Parameter { name: "balancing_threshold", value: 0.5, least: 1.0 }));
    let Ok(mut router) = MooncakeRouter::new(mooncake()) else { panic!() };
    assert_eq!(router.route(&prompt(&KEYS, 100, 1_000, 0, 0), &[CLOSED], &NoCaches), Routed::Unavailable);
}
