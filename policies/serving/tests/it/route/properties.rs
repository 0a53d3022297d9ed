//! What holds of all routers.

use std::collections::BTreeSet;

use foretell_serving_policies::{
    Arrival, Caches, Canary, Candidates, KvAware, KvAwareOptions, LeastOutstanding, Load, MooncakeOptions,
    MooncakeRouter, PowerOfTwo, QueuedTokens, Random, RoundRobin, Routed, Router, ScorerWeights,
    SessionAffinity, ShortestQueueByTokens, Ties, Weighted,
};
use proptest::prelude::*;

use super::prompt;

const BLOCK_TOKENS: u32 = 16;

/// Blocks that each replica has.
struct Contents(Vec<BTreeSet<u64>>);

impl Caches for Contents {
    fn cached_blocks(&self, replica: usize, arrival: &Arrival<'_>) -> u32 {
        arrival.block_keys.iter().take_while(|key| self.0[replica].contains(key)).count() as u32
    }
}

/// Something that happens.
#[derive(Clone, Debug)]
enum Event {
    /// A request of a session arrives: so many blocks of one of several beginnings.
    Arrives { beginning: u64, blocks: u64, session: u64, random: u64 },
    /// A replica has done all it had.
    Done(usize),
    /// A replica opens or closes.
    Switched(usize),
    /// A replica forgets a block.
    Evicts(usize, u64),
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        8 => (0_u64..4, 0_u64..6, 0_u64..5, any::<u64>())
            .prop_map(|(beginning, blocks, session, random)| Event::Arrives { beginning, blocks, session, random }),
        2 => (0_usize..12).prop_map(Event::Done),
        1 => (0_usize..12).prop_map(Event::Switched),
        1 => (0_usize..12, 0_u64..60).prop_map(|(replica, key)| Event::Evicts(replica, key)),
    ]
}

/// Routes what arrives, and says where it went; whoever gets a request has its blocks then.
fn follow(router: &mut dyn Router, replicas: usize, events: &[Event]) -> Result<Vec<Routed>, TestCaseError> {
    let mut loads = vec![Load { open: true, total_blocks: 100, ..Load::default() }; replicas];
    for (replica, load) in loads.iter_mut().enumerate() {
        load.variant = replica as u32 % 2;
        router.changed(replica, load);
    }
    let mut contents = Contents(vec![BTreeSet::new(); replicas]);
    let mut trail = Vec::new();
    for event in events {
        let changed = match *event {
            Event::Arrives { beginning, blocks, session, random } => {
                let keys: Vec<u64> = (0..blocks).map(|block| 10 * beginning + block).collect();
                let tokens = blocks as u32 * BLOCK_TOKENS + 5;
                let answer =
                    router.route(&prompt(&keys, BLOCK_TOKENS, tokens, session, random), &loads, &contents);
                trail.push(answer);
                let Routed::To { replica, from } = answer else {
                    let open = loads.iter().any(|load| load.open);
                    prop_assert_eq!(answer == Routed::Unavailable, !open);
                    continue;
                };
                prop_assert!(loads[replica].open, "{} is closed", replica);
                if let Some((source, copied)) = from {
                    prop_assert!(loads[source].open && source != replica && copied > 0);
                    let own = contents.cached_blocks(replica, &prompt(&keys, BLOCK_TOKENS, tokens, 0, 0));
                    let others = contents.cached_blocks(source, &prompt(&keys, BLOCK_TOKENS, tokens, 0, 0));
                    prop_assert_eq!(own + copied, others);
                }
                contents.0[replica].extend(keys);
                let load = &mut loads[replica];
                load.waiting += 1;
                load.prefill_tokens += u64::from(tokens);
                load.tokens += u64::from(tokens);
                load.used_blocks += blocks as u32;
                replica
            }
            Event::Done(replica) if replica < replicas => {
                let Load { open, variant, .. } = loads[replica];
                loads[replica] = Load { open, variant, total_blocks: 100, ..Load::default() };
                replica
            }
            Event::Switched(replica) if replica < replicas => {
                loads[replica].open ^= true;
                replica
            }
            Event::Evicts(replica, key) if replica < replicas => {
                contents.0[replica].remove(&key);
                continue;
            }
            _ => continue,
        };
        router.changed(changed, &loads[changed]);
    }
    Ok(trail)
}

fn boxed<R: Router + Send + 'static, E: std::fmt::Display>(router: Result<R, E>) -> Box<dyn Router + Send> {
    Box::new(router.unwrap_or_else(|error| panic!("{error}")))
}

/// Routers that ask for what is cached.
fn cached(candidates: Candidates) -> Vec<Box<dyn Router + Send>> {
    let kv_aware = KvAwareOptions { candidates, ..KvAwareOptions::default() };
    let mooncake = |balancing_threshold: f64, transfer_ns_per_block: f64| {
        let options = MooncakeOptions::new(1_000.0, transfer_ns_per_block);
        boxed(MooncakeRouter::new(MooncakeOptions { balancing_threshold, candidates, ..options }))
    };
    vec![
        boxed(KvAware::new(kv_aware)),
        boxed(KvAware::new(KvAwareOptions { overlap_weight: 2.5, ..kv_aware })),
        boxed(KvAware::new(KvAwareOptions { overlap_weight: 0.0, ..kv_aware })),
        boxed(KvAware::new(KvAwareOptions { temperature: 0.5, ..kv_aware })),
        boxed(Weighted::new(ScorerWeights::default(), candidates)),
        boxed(Weighted::new(ScorerWeights::BLIS, candidates)),
        mooncake(1.0, 1_000.0),
        mooncake(2.0, 30_000.0),
        mooncake(3.0, 0.0),
    ]
}

fn all() -> Vec<Box<dyn Router + Send>> {
    let mut routers = cached(Candidates::default());
    routers.extend(cached(Candidates::Recent { beginnings: 2 }));
    routers.extend(cached(Candidates::Recent { beginnings: 0 }));
    let limits =
        MooncakeOptions { first_token_limit_ns: Some(300_000), ..MooncakeOptions::new(1_000.0, 1_000.0) };
    routers.push(boxed(MooncakeRouter::new(limits)));
    routers.push(Box::new(RoundRobin::default()));
    routers.push(Box::new(Random));
    routers.push(Box::new(PowerOfTwo));
    for ties in [Ties::Lowest, Ties::InTurn, Ties::Random] {
        routers.push(Box::new(LeastOutstanding::new(ties)));
        routers.push(Box::new(ShortestQueueByTokens::new(QueuedTokens::All, ties)));
    }
    routers.push(boxed(SessionAffinity::new(None)));
    routers.push(boxed(SessionAffinity::new(Some(1.0))));
    let arms = vec![
        (0, 9, boxed(KvAware::new(KvAwareOptions::default()))),
        (1, 1, boxed(SessionAffinity::new(None))),
    ];
    routers.push(boxed(Canary::new(arms, true)));
    routers
}

proptest! {
    #[test]
    fn whoever_gets_a_request_is_open_and_chance_is_all_given(
        replicas in 0_usize..12,
        events in prop::collection::vec(event(), 1..120),
    ) {
        for (mut router, mut again) in all().into_iter().zip(all()) {
            let trail = follow(&mut *router, replicas, &events)?;
            prop_assert_eq!(trail, follow(&mut *again, replicas, &events)?);
        }
    }

    #[test]
    fn asking_those_that_may_have_something_is_as_good_as_asking_all(
        replicas in 1_usize..12,
        events in prop::collection::vec(event(), 1..200),
    ) {
        for (mut some, mut every) in cached(Candidates::default()).into_iter().zip(cached(Candidates::All)) {
            prop_assert_eq!(follow(&mut *some, replicas, &events)?, follow(&mut *every, replicas, &events)?);
        }
    }
}
