//! Where requests go among 1,000 replicas.
//!
//! `cargo bench --bench routing`; the figures are kept in `benches/RESULTS.md`.

use std::hint::black_box;
use std::time::Duration;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use foretell_serving::policies::route::{
    Arrival, Caches, Candidates, KvAware, KvAwareOptions, LeastOutstanding, Load, Routed, Router,
    ScorerWeights, SessionAffinity, ShortestQueueByTokens, Ties, Weighted, mixed,
};

const REPLICAS: usize = 1000;

/// Requests that are under way: each one that comes sees off the one that came so many before.
const UNDER_WAY: usize = 20_000;

/// Prompts that begin differently.
const BEGINNINGS: u64 = 200_000;

const BLOCKS: usize = 8;

/// Every eighth replica has five blocks of a prompt.
struct Eighth;

impl Caches for Eighth {
    fn cached_blocks(&self, replica: usize, arrival: &Arrival<'_>) -> u32 {
        if (replica as u64 ^ arrival.block_keys[0]).is_multiple_of(8) { 5 } else { 0 }
    }
}

/// Replicas and what they are at.
struct Fleet {
    router: Box<dyn Router>,
    loads: Vec<Load>,
    /// Whose request ends next, and its tokens.
    under_way: Vec<Option<(usize, u32)>>,
    arrived: u64,
}

impl Fleet {
    fn new(mut router: Box<dyn Router>) -> Self {
        let loads = vec![Load { open: true, total_blocks: 4000, ..Load::default() }; REPLICAS];
        for (replica, load) in loads.iter().enumerate() {
            router.changed(replica, load);
        }
        Self { router, loads, under_way: vec![None; UNDER_WAY], arrived: 0 }
    }

    /// A request comes, and another ends.
    fn step(&mut self) -> usize {
        let random = mixed(self.arrived.wrapping_add(1));
        let beginning = (random >> 20) % BEGINNINGS;
        let keys: [u64; BLOCKS] = std::array::from_fn(|block| mixed(beginning * 8 + block as u64 + 1));
        let tokens = 200 + (random % 1000) as u32;
        let arrival = Arrival {
            index: self.arrived as u32,
            now_ns: self.arrived,
            prompt_tokens: tokens,
            limit_tokens: 100,
            block_keys: &keys,
            block_tokens: 16,
            session: random | 1,
            adapter: 0,
            random,
        };
        let Routed::To { replica, .. } = self.router.route(&arrival, &self.loads, &Eighth) else { return 0 };
        let place = self.arrived as usize % UNDER_WAY;
        self.arrived += 1;
        if let Some((other, ended)) = self.under_way[place].replace((replica, tokens)) {
            let load = &mut self.loads[other];
            load.running -= 1;
            load.tokens -= u64::from(ended);
            load.prefill_tokens -= u64::from(ended);
            self.router.changed(other, load);
        }
        let load = &mut self.loads[replica];
        load.running += 1;
        load.tokens += u64::from(tokens);
        load.prefill_tokens += u64::from(tokens);
        self.router.changed(replica, load);
        replica
    }
}

fn routing(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("routing");
    group.sample_size(10).warm_up_time(Duration::from_secs(1)).measurement_time(Duration::from_secs(3));
    group.throughput(Throughput::Elements(1));
    let routers: [(&str, Box<dyn Router>); 5] = [
        ("least-outstanding", Box::new(LeastOutstanding::new(Ties::InTurn))),
        ("shortest-queue", Box::new(ShortestQueueByTokens::default())),
        ("kv-aware", Box::new(KvAware::new(KvAwareOptions::default()).expect("a router"))),
        (
            "weighted",
            Box::new(Weighted::new(ScorerWeights::default(), Candidates::default()).expect("a router")),
        ),
        ("session-affinity", Box::new(SessionAffinity::default())),
    ];
    for (name, router) in routers {
        let mut fleet = Fleet::new(router);
        // Until as many are under way as will be.
        for _ in 0..2 * UNDER_WAY {
            fleet.step();
        }
        group.bench_function(name, |bencher| bencher.iter(|| black_box(fleet.step())));
    }
    group.finish();
}

criterion_group!(benches, routing);
criterion_main!(benches);
