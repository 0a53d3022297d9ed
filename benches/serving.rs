//! One engine that is never idle: iterations of a model server, counted one by one.
//!
//! `cargo bench --bench serving`; the figures are kept in `benches/RESULTS.md`.

#![expect(clippy::print_stdout, reason = "a bench says what it counted")]

use std::hint::black_box;
use std::time::Duration;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use foretell_serving::engine::Iterations;
use foretell_serving::policies::{BlockPool, State, Vllm};
use foretell_serving::{Batch, Engine, Line, Observer, Request, StepLaw, replay};

const REQUESTS: u32 = 20_000;
const BLOCK_TOKENS: u32 = 16;

/// Memory for about 137 of the requests below at once, of 256 that the engine would take.
const BLOCKS: u32 = 14_000;

/// Roughly Llama-3-70B on four H100: weights are read, then so much for a token, and so much for a token of context.
struct Law;

impl StepLaw for Law {
    fn stage_ns(&self, batch: &Batch<'_>, _stage: usize) -> f64 {
        let context: u64 = batch.chunks.iter().map(|chunk| u64::from(chunk.context_tokens)).sum();
        1.2e7 + 4.5e4 * f64::from(batch.tokens()) + 24.0 * (batch.decode_context_tokens + context) as f64
    }

    fn decode_ns(&self, decodes: u32, decode_context_tokens: u64) -> f64 {
        1.2e7 + 4.5e4 * f64::from(decodes) + 24.0 * decode_context_tokens as f64
    }

    fn decode_line(&self, decodes: u32, decode_context_tokens: u64) -> Option<Line> {
        let first_ns = self.decode_ns(decodes, decode_context_tokens);
        Some(Line { first_ns, growth_ns: 24.0 * f64::from(decodes), count: u32::MAX })
    }
}

#[derive(Default)]
struct Count {
    iterations: u64,
    rows: u64,
    tokens: u64,
    requests: u32,
}

impl Observer for Count {
    fn finished(&mut self, _: &foretell_serving::Outcome) {
        self.requests += 1;
    }

    fn iterations(&mut self, iterations: &Iterations<'_>, _: &State) {
        self.iterations += u64::from(iterations.count);
        self.rows += 1;
        self.tokens += iterations.generated_tokens;
    }
}

/// Draws of `SplitMix64`, as uniform numbers between 0 and 1.
fn uniform(state: &mut u64) -> f64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut of = *state;
    of = (of ^ (of >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    of = (of ^ (of >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    ((of ^ (of >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
}

/// A lognormal length.
fn length(state: &mut u64, median: f64, deviation: f64, most: f64) -> u32 {
    let radius = (-2.0 * (1.0 - uniform(state)).ln()).sqrt();
    let normal = radius * (std::f64::consts::TAU * uniform(state)).cos();
    (median * (deviation * normal).exp()).round().clamp(1.0, most) as u32
}

/// Lengths of requests, and what their blocks contain: every fourth begins like 63 others.
fn requests() -> Vec<(u32, u32, Vec<u64>)> {
    let mut state = 42;
    (0..REQUESTS)
        .map(|index| {
            let prompt = length(&mut state, 992.0, 0.8, 8192.0);
            let output = length(&mut state, 200.0, 0.8, 4096.0);
            let shared = if index % 4 == 0 { 32 } else { 0 };
            let key = |block: u32| {
                let of = if block < shared { u64::from(index / 256) } else { 1_000_000 + u64::from(index) };
                of << 20 | u64::from(block)
            };
            (prompt, output, (0..prompt / BLOCK_TOKENS).map(key).collect())
        })
        .collect()
}

fn run(requests: &[(u32, u32, Vec<u64>)], pool: BlockPool) -> Count {
    let mut engines = [Engine::new(Law, Box::new(Vllm::default()), State::new(pool))];
    let requests = requests.iter().zip(0..).map(|((prompt_tokens, output_tokens, keys), index)| Request {
        index,
        arrival_ns: 0,
        prompt_tokens: *prompt_tokens,
        output_tokens: *output_tokens,
        limit_tokens: *output_tokens,
        priority: 0,
        adapter: 0,
        block_keys: keys,
    });
    let mut counts = [Count::default()];
    let rejected = replay(&mut engines, requests, |_, _| 0, &mut counts);
    assert!(rejected.is_empty(), "all fit");
    let [count] = counts;
    assert_eq!(count.requests, REQUESTS);
    count
}

/// How memory is made.
type Pool = fn(u32, u32) -> BlockPool;

fn saturated(criterion: &mut Criterion) {
    let requests = requests();
    let mut group = criterion.benchmark_group("saturated");
    group.sample_size(10).warm_up_time(Duration::from_secs(1)).measurement_time(Duration::from_secs(4));
    for (name, pool) in
        [("vllm", BlockPool::new as Pool), ("vllm with a prefix cache", BlockPool::with_prefix_cache as Pool)]
    {
        let once = run(&requests, pool(BLOCKS, BLOCK_TOKENS));
        println!("{name}: {} iterations in {} rows, {} tokens", once.iterations, once.rows, once.tokens);
        group.throughput(Throughput::Elements(once.iterations));
        group.bench_function(name, |bencher| {
            bencher.iter(|| black_box(run(&requests, pool(BLOCKS, BLOCK_TOKENS)).tokens));
        });
    }
    group.finish();
}

criterion_group!(benches, saturated);
criterion_main!(benches);
