//! A thousand replicas of a model server behind a KV-aware router: what a request costs, all of its iterations included.
//!
//! `cargo bench --bench fleet`, with the number of requests after `--` if not 300,000: 1,800,000 are an hour, 43,200,000 a day. The figures are kept in
//! `benches/RESULTS.md`.

#![expect(clippy::print_stdout, reason = "a bench says what it measured")]

use std::sync::Arc;
use std::time::Instant;

use foretell_serving::fleet::{Fleet, FleetOptions, Recorded};
use foretell_serving::metrics::Recorder;
use foretell_serving::model::Model;
use foretell_serving::model::weights::Parallelism;
use foretell_serving::model::work::WorkLaw;
use foretell_serving::options::Options;
use foretell_serving::policies::route::{KvAware, KvAwareOptions, mixed};
use foretell_serving::policies::{Batcher, BlockPool, State, Vllm};
use foretell_serving::{AnalyticLaw, Arrivals, Calibration, Engine, Link, LinkKind, Outcome, Request};

const REPLICAS: usize = 1000;
const BLOCK_TOKENS: u32 = 16;
const BLOCKS: u32 = 28_419;

/// Nanoseconds from one request to the next, on average: 500 a second.
const BETWEEN_NS: f64 = 2e6;

/// Poisson arrivals of log-normal lengths, drawn as they come.
struct Drawn {
    left: u32,
    next: Option<Request<'static>>,
    draws: u64,
}

impl Drawn {
    fn new(requests: u32) -> Self {
        let mut drawn = Self { left: requests, next: None, draws: 0 };
        drawn.draw(0, 0);
        drawn
    }

    /// Between 0 and 1.
    fn uniform(&mut self) -> f64 {
        self.draws += 1;
        (mixed(self.draws) >> 11) as f64 / (1_u64 << 53) as f64
    }

    fn length(&mut self, median: f64, deviation: f64, most: f64) -> u32 {
        let radius = (-2.0 * (1.0 - self.uniform()).ln()).sqrt();
        let normal = radius * (std::f64::consts::TAU * self.uniform()).cos();
        (median * (deviation * normal).exp()).round().clamp(1.0, most) as u32
    }

    fn draw(&mut self, index: u32, after_ns: u64) {
        self.next = (index < self.left).then(|| {
            let gap_ns = -BETWEEN_NS * (1.0 - self.uniform()).ln();
            let (prompt_tokens, output_tokens) =
                (self.length(800.0, 0.8, 8192.0), self.length(200.0, 0.7, 4096.0));
            Request {
                index,
                arrival_ns: after_ns + gap_ns as u64,
                prompt_tokens,
                output_tokens,
                limit_tokens: output_tokens,
                priority: 0,
                adapter: 0,
                block_keys: &[],
            }
        });
    }
}

impl Arrivals for Drawn {
    fn next_ns(&mut self) -> Option<u64> {
        self.next.as_ref().map(|next| next.arrival_ns)
    }

    fn take(&mut self) -> Option<Request<'_>> {
        let taken = self.next.take()?;
        self.draw(taken.index + 1, taken.arrival_ns);
        Some(taken)
    }
}

fn main() {
    let requests = std::env::args().find_map(|argument| argument.parse().ok()).unwrap_or(300_000);
    let start = Instant::now();
    let model = Model::named("llama-3.1-8b").expect("it is in the catalogue");
    let calibration = Calibration::named("h100").expect("it is there");
    let options = Options { max_sequences: 256, max_tokens: 8192, ..Options::default() };
    let law = AnalyticLaw::new(
        &model,
        Parallelism::default(),
        &calibration,
        &Link::additive(LinkKind::NvLink, 450e9, 1e-6),
        &options,
    );
    let law = Arc::new(law.expect("one GPU has room"));
    let work = Arc::new(WorkLaw::new(&model, 2.0, 2.0));
    let router = KvAware::new(KvAwareOptions::default()).expect("defaults are valid");
    let fleet: Fleet<Engine<Arc<AnalyticLaw>>, Drawn, Recorder> =
        Fleet::new(Box::new(router), Drawn::new(requests), FleetOptions::default());
    let mut fleet = fleet.recording();
    for _ in 0..REPLICAS {
        let pool = BlockPool::with_prefix_cache(BLOCKS, BLOCK_TOKENS);
        let batcher: Box<dyn Batcher + Send> = Box::new(Vllm { max_batched_tokens: 8192, ..Vllm::default() });
        let engine = Engine::new(Arc::clone(&law), batcher, State::new(pool));
        fleet.add(engine, Recorder::of(Arc::clone(&work)), 0, 0);
    }
    fleet.run_until(u64::MAX);
    fleet.close();
    let parts = fleet.into_parts();
    let (mut iterations, mut tokens, mut checked) = (0, 0, 0_u64);
    for recorder in &parts.observers {
        iterations += recorder.totals.iterations;
        tokens += recorder.totals.output_tokens;
        for sum in [recorder.totals.busy_ns, recorder.totals.work.flops, recorder.totals.held_tokens_ns] {
            checked = mixed(checked ^ sum.to_bits());
        }
    }
    let Recorded { outcomes, inter_token } = &parts.recorded;
    for (replica, one) in outcomes.iter() {
        let Outcome { request, scheduled_ns, first_token_ns, last_token_ns, .. } = one;
        for part in [u64::from(replica), u64::from(request), scheduled_ns, first_token_ns, last_token_ns] {
            checked = mixed(checked ^ part);
        }
    }
    for (latency_ns, count) in inter_token.iter() {
        checked = mixed(checked ^ mixed(latency_ns ^ mixed(count)));
    }
    checked = mixed(checked ^ inter_token.sum_ns() as u64 ^ inter_token.max_ns());
    let elapsed_s = start.elapsed().as_secs_f64();
    println!(
        "{} requests, {iterations} iterations, {tokens} tokens in {elapsed_s:.2} s: {:.2} us a request (results {checked:016x})",
        parts.tries.answered,
        1e6 * elapsed_s / f64::from(requests),
    );
}
