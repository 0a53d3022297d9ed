//! Engines: whatever the batcher, nobody can tell whether they look after every iteration.

use foretell_serving::adapters::{AdapterLaw, AdapterLinks, AdapterShape, AdapterTargets, AdapterTotals};
use foretell_serving::engine::{Iterations, Occupancy, Steps};
use foretell_serving::metrics::Recorder;
use foretell_serving::policies::{
    Adapters, Batcher, BlockPool, Capacity, LightLlm, Limits, Orca, Order, PrefixCache, Reservation, Sarathi,
    Slot, State, Static, TensorRtLlm, Vllm, VllmV0,
};
use foretell_serving::{
    Batch, Calibration, Cancelled, Engine, Line, Model, Observer, Outcome, Parallelism, Request, Speculation,
    StepLaw, TierLink, replay,
};
use proptest::prelude::*;

/// A law with fractions of nanoseconds everywhere, of one stage or more.
#[derive(Clone, Copy)]
struct Law {
    stages: usize,
    fixed_ns: f64,
    token_ns: f64,
    context_ns: f64,
    /// For how many iterations a line is said to hold; none is said if 0.
    line: u32,
}

impl StepLaw for Law {
    fn stages(&self) -> usize {
        self.stages
    }

    fn stage_ns(&self, batch: &Batch<'_>, stage: usize) -> f64 {
        let context: u64 = batch.chunks.iter().map(|chunk| u64::from(chunk.context_tokens)).sum();
        self.fixed_ns
            + self.token_ns * f64::from(batch.tokens())
            + self.context_ns * (batch.decode_context_tokens + context) as f64
            + stage as f64
    }

    fn decode_line(&self, decodes: u32, decode_context_tokens: u64) -> Option<Line> {
        let first_ns = self.decode_ns(decodes, decode_context_tokens);
        let growth_ns = self.context_ns * f64::from(decodes);
        (self.line > 0).then_some(Line { first_ns, growth_ns, count: self.line })
    }
}

const BLOCKS: u32 = 40;
const BLOCK_TOKENS: u32 = 4;

/// All batchers, by number.
fn batcher(number: usize, stages: u32) -> Box<dyn Batcher + Send> {
    let limits = Limits::of_stages(8, stages, 1);
    let vllm = Vllm { max_sequences: 6, max_batched_tokens: 24, ..Vllm::default() };
    let tensorrt = TensorRtLlm { max_sequences: 6, max_batched_tokens: 24, ..TensorRtLlm::default() };
    match number {
        0 => Box::new(vllm),
        1 => Box::new(Vllm { order: Order::Priority, watermark_blocks: 2, ..vllm }),
        2 => Box::new(Vllm { long_prefill_tokens: 7, whole_prompt_must_fit: false, ..vllm }),
        3 => Box::new(Sarathi::new(limits, 24)),
        4 => Box::new(VllmV0::new(limits, 80)),
        5 => Box::new(Orca::new(limits, Reservation::Longest(80))),
        6 => Box::new(Static::new(limits, Reservation::Limit)),
        7 => Box::new(LightLlm::new(limits, 80, 5)),
        8 => Box::new(tensorrt),
        9 => Box::new(TensorRtLlm { capacity: Capacity::MaxUtilization, ..tensorrt }),
        10 => Box::new(TensorRtLlm { capacity: Capacity::StaticBatch, ..tensorrt }),
        11 => Box::new(Orca::new(limits, Reservation::PowerOfTwo)),
        _ => Box::new(Orca::new(limits, Reservation::Oracle)),
    }
}

const BATCHERS: usize = 13;

/// What of a run must not depend on how it is carried out.
#[derive(Default, PartialEq, Debug)]
struct Seen {
    outcomes: Vec<Outcome>,
    preempted: Vec<(u32, u64)>,
    latencies: Vec<u64>,
    iterations: u64,
    computed_tokens: u64,
    generated_tokens: u64,
    blocks_in_use: u32,
    hit_tokens: u64,
    tier_blocks: Vec<(u64, u64)>,
    adapters: AdapterTotals,
}

impl Observer for Seen {
    fn finished(&mut self, outcome: &Outcome) {
        self.outcomes.push(*outcome);
    }

    fn preempted(&mut self, request: u32, now_ns: u64) {
        self.preempted.push((request, now_ns));
    }

    fn inter_token(&mut self, latency_ns: u64, tokens: u32) {
        self.latencies.extend((0..tokens).map(|_| latency_ns));
    }

    fn iterations(&mut self, iterations: &Iterations<'_>, state: &State) {
        // What is counted step by step against what sequences have now. With drafts and on stages some compute what counts later.
        let held = |slot: &Slot| &state.sequences[*slot];
        let holders = state.running.iter().chain(state.waiting.iter()).map(held);
        let (mut room, mut filled) = (0, 0);
        for sequence in holders {
            room += u64::from(sequence.blocks * BLOCK_TOKENS);
            filled += u64::from(sequence.computed_tokens);
        }
        assert_eq!(state.blocks.unfilled_tokens(), room - filled);
        assert_eq!(iterations.after, Occupancy::of(state));
        assert!(iterations.before.used_blocks <= iterations.after.used_blocks);
        let computed = u64::from(iterations.count) * u64::from(iterations.batch.tokens());
        let rejected = iterations.batch.decode_tokens > 1;
        let added = iterations.after.held_tokens - iterations.before.held_tokens;
        assert!(added == computed || (rejected && added < computed), "{iterations:?}");
        self.iterations += u64::from(iterations.count);
        self.generated_tokens += iterations.generated_tokens;
        self.computed_tokens += u64::from(iterations.count) * u64::from(iterations.batch.tokens());
    }
}

/// A request: milliseconds after the one before, prompt, output, priority, and whose beginning it shares.
type Wanted = (u32, u32, u32, i32, u64);

/// What requests are run on.
#[derive(Clone, Copy)]
struct Setting {
    batcher: usize,
    law: Law,
    prefixes: bool,
    drafts: Option<Speculation>,
    /// Blocks of two tiers below, and nanoseconds for each block that is read from them.
    tiers: Option<(u32, u32, f64)>,
    /// Adapters on the GPU and on the host, and whether others go on while one is loaded. A request has one of five, or none.
    adapters: Option<(u32, u32, bool)>,
}

impl Setting {
    fn new(batcher: usize, law: Law, prefixes: bool) -> Self {
        Self { batcher, law, prefixes, drafts: None, tiers: None, adapters: None }
    }
}

fn run(setting: Setting, wanted: &[Wanted], one_by_one: bool) -> Seen {
    looked_at(setting, wanted, one_by_one).seen
}

/// A run as it is seen here, and as it is recorded for reports.
#[derive(Default)]
struct Looking {
    seen: Seen,
    recorder: Recorder,
}

impl Observer for Looking {
    fn finished(&mut self, outcome: &Outcome) {
        self.seen.finished(outcome);
        self.recorder.finished(outcome);
    }

    fn preempted(&mut self, request: u32, now_ns: u64) {
        self.seen.preempted(request, now_ns);
        self.recorder.preempted(request, now_ns);
    }

    fn inter_token(&mut self, latency_ns: u64, tokens: u32) {
        self.seen.inter_token(latency_ns, tokens);
        self.recorder.inter_token(latency_ns, tokens);
    }

    fn inter_tokens(&mut self, steps: &Steps<'_>, tokens: u32) {
        for at in 0..steps.len() {
            self.seen.inter_token(steps.latency_ns(at), tokens);
        }
        self.recorder.inter_tokens(steps, tokens);
    }

    fn iterations(&mut self, iterations: &Iterations<'_>, state: &State) {
        self.seen.iterations(iterations, state);
        self.recorder.iterations(iterations, state);
    }
}

fn looked_at(setting: Setting, wanted: &[Wanted], one_by_one: bool) -> Looking {
    let Setting { batcher: number, law, prefixes, drafts, tiers, adapters } = setting;
    let keys: Vec<Vec<u64>> = wanted
        .iter()
        .enumerate()
        .map(|(index, &(_, prompt, _, _, group))| {
            // Two blocks are of the group, further ones of the request.
            let key =
                |block: u64| if block < 2 { group * 10 + block } else { 1_000 * (index as u64 + 1) + block };
            (0..u64::from(prompt / BLOCK_TOKENS)).map(key).collect()
        })
        .collect();
    let mut arrival_ns = 0;
    let requests: Vec<Request<'_>> = wanted
        .iter()
        .enumerate()
        .map(|(index, &(gap_ms, prompt_tokens, output_tokens, priority, _))| {
            arrival_ns += u64::from(gap_ms) * 1_000_000;
            Request {
                index: index as u32,
                arrival_ns,
                prompt_tokens,
                output_tokens,
                limit_tokens: output_tokens + 3,
                priority,
                adapter: if adapters.is_some() { (prompt_tokens + 3 * output_tokens) % 6 } else { 0 },
                block_keys: &keys[index],
            }
        })
        .collect();
    let pool = if prefixes {
        BlockPool::with_prefix_cache(BLOCKS, BLOCK_TOKENS)
    } else {
        BlockPool::new(BLOCKS, BLOCK_TOKENS)
    };
    let (pool, links) = match tiers {
        Some((near, far, block_ns)) => {
            let link = TierLink { latency_ns: 1e5, block_ns, exposed_share: 1.0 };
            (pool.with_tiers(&[near, far]), vec![link, TierLink { exposed_share: 0.5, ..link }])
        }
        None => (pool, Vec::new()),
    };
    let mut state = State::new(pool);
    if let Some((gpu, host, overlapped)) = adapters {
        state.adapters = Adapters::new(gpu, host);
        if overlapped {
            state.adapters = state.adapters.overlapped();
        }
    }
    let engine = Engine::new(law, batcher(number, law.stages as u32), state).reading_over(links);
    let engine = if adapters.is_some() { engine.adapting(adapter_law()) } else { engine };
    let engine = match drafts {
        Some(drafts) => engine.speculating(drafts),
        None => engine,
    };
    let mut replicas = [if one_by_one { engine.one_by_one() } else { engine }];
    let mut observers = [Looking::default()];
    let rejected = replay(&mut replicas, requests, |_, _| 0, &mut observers);
    let [Looking { mut seen, recorder }] = observers;
    assert!(rejected.is_empty(), "{rejected:?}");
    let state = replicas[0].state();
    assert_eq!(state.running.len() + state.waiting.len(), 0, "batcher {number} leaves nobody behind");
    seen.blocks_in_use = state.blocks.total_blocks() - state.blocks.free_blocks();
    let tiers = state.blocks.prefix_cache().map_or(&[][..], PrefixCache::tiers);
    seen.tier_blocks = tiers.iter().map(|tier| (tier.hit_blocks(), tier.stored_blocks())).collect();
    seen.hit_tokens = state.prefix_hit_tokens;
    seen.adapters = replicas[0].adapter_totals();
    Looking { seen, recorder }
}

/// Adapters of rank 8 of Llama 3.1 8B on an A100, read at 10 and 1 GB/s.
fn adapter_law() -> AdapterLaw {
    let model = Model::named("llama-3.1-8b").unwrap_or_else(|error| panic!("{error}"));
    let calibration = Calibration::named("a100").unwrap_or_else(|error| panic!("{error}"));
    let shape = AdapterShape::new(&model, Parallelism::default(), 8, AdapterTargets::All);
    let links =
        AdapterLinks { host_bytes_per_s: 1e10, storage_bytes_per_s: 1e9, storage_latency_ns: 12_345.0 };
    AdapterLaw::new(shape, Parallelism::default(), &calibration, links)
        .unwrap_or_else(|error| panic!("{error}"))
}

fn wanted() -> impl Strategy<Value = Vec<Wanted>> {
    prop::collection::vec((0_u32..40, 1_u32..30, 1_u32..40, 0_i32..3, 0_u64..3), 1..25)
}

proptest! {
    /// Jumping over iterations changes nothing: not a nanosecond, not a block.
    #[test]
    fn jumping_equals_looking_after_every_iteration(
        number in 0..BATCHERS,
        stages in 1_usize..4,
        prefixes in any::<bool>(),
        fixed_ns in 1e5_f64..5e6,
        token_ns in 0.0_f64..1e5,
        context_ns in prop_oneof![Just(0.0), 0.0_f64..3.0, 0.0_f64..3e3],
        line in 0_u32..12,
        wanted in wanted(),
    ) {
        let law = Law { stages, fixed_ns, token_ns, context_ns, line };
        let setting = Setting::new(number, law, prefixes);
        let jumping = looked_at(setting, &wanted, false);
        let looking = looked_at(setting, &wanted, true);
        prop_assert_eq!(&jumping.seen, &looking.seen);
        prop_assert_eq!(&jumping.recorder.inter_token, &looking.recorder.inter_token);
        prop_assert_eq!(jumping.seen.blocks_in_use, 0);
        // What is recorded of a row is what is recorded of its iterations, but for blocks, which grow by whole ones.
        let (row, each) = (jumping.recorder.totals, looking.recorder.totals);
        prop_assert_eq!(row.iterations, each.iterations);
        prop_assert_eq!(row.output_tokens, each.output_tokens);
        prop_assert!((row.busy_ns - each.busy_ns).abs() <= 1e-9 * each.busy_ns);
        prop_assert!((row.peak_share - each.peak_share).abs() < 1e-12);
        let count = f64::from(BLOCKS);
        for of in [row, each] {
            prop_assert!(of.blocks_ns <= of.capacity_blocks_ns * (1.0 + 1e-9));
            prop_assert!(of.held_tokens_ns <= of.blocks_ns * f64::from(BLOCK_TOKENS) * (1.0 + 1e-9));
            prop_assert!((of.capacity_blocks_ns - of.busy_ns * count).abs() <= 1e-6 * of.busy_ns * count);
        }
        // Time counts once, however many batches are under way.
        let last_ns = jumping.seen.outcomes.iter().map(|one| one.last_token_ns).max().unwrap_or(0);
        prop_assert!(row.busy_ns <= last_ns as f64 * (1.0 + 1e-9));
        // Who waits waits as long as its outcome says (Little's law).
        let waited: f64 = jumping.seen.outcomes.iter().map(|one| (one.scheduled_ns - one.arrival_ns) as f64).sum();
        let over_time: f64 = jumping.recorder.timeline.iter().map(|interval| interval.waiting).sum();
        prop_assert!((waited - over_time).abs() <= 1e-6 * waited.max(1.0));
    }

    /// The same where sequences have adapters, which are loaded while others go on or not.
    #[test]
    fn jumping_equals_looking_with_adapters(
        number in 0_usize..3,
        prefixes in any::<bool>(),
        overlapped in any::<bool>(),
        gpu in 1_u32..4,
        host in 1_u32..5,
        wanted in wanted(),
    ) {
        let law = Law { stages: 1, fixed_ns: 1e6, token_ns: 1e4, context_ns: 10.0, line: 5 };
        let adapters = Some((gpu, host, overlapped));
        let setting = Setting { adapters, ..Setting::new(number, law, prefixes) };
        let mut jumping = run(setting, &wanted, false);
        let mut looking = run(setting, &wanted, true);
        let (of_rows, of_each) = (&mut jumping.adapters.products_ns, &mut looking.adapters.products_ns);
        prop_assert!((*of_rows - *of_each).abs() <= 1e-9 * *of_each);
        (*of_rows, *of_each) = (0.0, 0.0);
        prop_assert_eq!(&jumping, &looking);
        // Each adapter that somebody has comes from storage first.
        let mut needed: Vec<u32> = wanted.iter().map(|one| (one.1 + 3 * one.2) % 6).filter(|&one| one > 0).collect();
        needed.sort_unstable();
        needed.dedup();
        prop_assert!(jumping.adapters.loads_from_storage >= needed.len() as u64);
    }

    /// Requests that no batch could ever hold are turned away at the door, and stop nobody.
    #[test]
    fn nobody_is_lost(number in 0..BATCHERS, stages in 1_usize..3, lengths in prop::collection::vec((1_u32..200, 1_u32..60), 1..20)) {
        let law = Law { stages, fixed_ns: 1e6, token_ns: 1e4, context_ns: 10.0, line: 0 };
        let engine = Engine::new(law, batcher(number, stages as u32), State::new(BlockPool::new(BLOCKS, BLOCK_TOKENS)));
        let requests = lengths.iter().zip(0..).map(|(&(prompt_tokens, output_tokens), index)| Request {
            index,
            arrival_ns: u64::from(index / 3) * 5_000_000,
            prompt_tokens,
            output_tokens,
            limit_tokens: output_tokens,
            priority: 0,
            adapter: 0,
            block_keys: &[],
        });
        let (mut replicas, mut observers) = ([engine], [Seen::default()]);
        let rejected = replay(&mut replicas, requests, |_, _| 0, &mut observers);
        prop_assert_eq!(observers[0].outcomes.len() + rejected.len(), lengths.len());
        prop_assert_eq!(replicas[0].state().blocks.used_blocks(), 0);
        // All were turned away when they came: nobody is left over.
        prop_assert_eq!(replicas[0].left_over().count(), 0);
    }

    /// Whoever is cancelled, whenever it is, is gone for good and takes nothing from the others, who get all of their tokens.
    #[test]
    fn nothing_is_left_of_those_who_are_cancelled(
        number in 0..BATCHERS,
        stages in 1_usize..3,
        prefixes in any::<bool>(),
        wanted in wanted(),
        cancelled in prop::collection::vec((0_usize..25, 0_u64..400), 0..10),
    ) {
        let law = Law { stages, fixed_ns: 1e6, token_ns: 1e4, context_ns: 10.0, line: 5 };
        let pool = if prefixes { BlockPool::with_prefix_cache(BLOCKS, BLOCK_TOKENS) } else { BlockPool::new(BLOCKS, BLOCK_TOKENS) };
        let mut engine = Engine::new(law, batcher(number, stages as u32), State::new(pool));
        let mut seen = Seen::default();
        let mut at_ms = 0;
        // What comes from outside: requests, and who is cancelled.
        let mut events: Vec<(u64, Option<usize>, usize)> = Vec::new();
        for (index, &(gap_ms, ..)) in wanted.iter().enumerate() {
            at_ms += u64::from(gap_ms);
            events.push((at_ms, None, index));
        }
        events.extend(cancelled.iter().map(|&(whom, at_ms)| (at_ms, Some(whom), 0)));
        events.sort_by_key(|&(at_ms, ..)| at_ms);
        let (mut gone, mut cut): (Vec<u32>, Vec<u32>) = (Vec::new(), Vec::new());
        for (at_ms, whom, index) in events {
            let now_ns = at_ms * 1_000_000;
            while engine.next_ns().is_some_and(|next_ns| next_ns <= now_ns) {
                engine.advance(u64::MAX, &mut seen);
            }
            if let Some(whom) = whom {
                match engine.cancel(whom as u32, now_ns) {
                    Some(Cancelled::AtOnce) => gone.push(whom as u32),
                    Some(Cancelled::Soon) => cut.push(whom as u32),
                    None => {}
                }
            } else {
                let (_, prompt_tokens, output_tokens, priority, group) = wanted[index];
                let keys: Vec<u64> = (0..u64::from(prompt_tokens / BLOCK_TOKENS)).map(|block| group * 100 + block).collect();
                let request = Request {
                    index: index as u32, arrival_ns: now_ns, prompt_tokens, output_tokens, limit_tokens: output_tokens, priority, block_keys: &keys, adapter: 0,
                };
                engine.enqueue(&request).unwrap();
            }
            engine.begin(now_ns, u64::MAX, &mut seen);
        }
        while engine.next_ns().is_some() {
            engine.advance(u64::MAX, &mut seen);
        }
        prop_assert_eq!(engine.requests(), 0);
        prop_assert_eq!(engine.state().blocks.used_blocks(), 0);
        let mut ended: Vec<u32> = seen.outcomes.iter().map(|one| one.request).chain(gone).collect();
        ended.sort_unstable();
        prop_assert_eq!(ended, (0..wanted.len() as u32).collect::<Vec<_>>());
        for outcome in &seen.outcomes {
            let output = wanted[outcome.request as usize].2;
            let is_cut = cut.contains(&outcome.request);
            prop_assert!(outcome.output_tokens == output || (is_cut && (1..output).contains(&outcome.output_tokens)));
        }
    }

    /// Every request gets its tokens, each once; what is computed is what was asked for and what had to be computed again.
    #[test]
    fn every_token_is_generated_once(
        number in 0..BATCHERS,
        stages in 1_usize..3,
        prefixes in any::<bool>(),
        wanted in wanted(),
    ) {
        let law = Law { stages, fixed_ns: 1e6, token_ns: 1e4, context_ns: 10.0, line: 0 };
        let seen = run(Setting::new(number, law, prefixes), &wanted, false);
        prop_assert_eq!(seen.outcomes.len(), wanted.len());
        let output: u32 = wanted.iter().map(|&(_, _, output, ..)| output).sum();
        prop_assert_eq!(seen.latencies.len(), output as usize - wanted.len(), "all but the first tokens");
        prop_assert_eq!(seen.generated_tokens, u64::from(output));
        for outcome in &seen.outcomes {
            prop_assert!(outcome.arrival_ns <= outcome.scheduled_ns);
            prop_assert!(outcome.scheduled_ns < outcome.first_token_ns);
            prop_assert!(outcome.first_token_ns <= outcome.last_token_ns);
        }
        let asked: u64 = wanted.iter().map(|&(_, prompt, output, ..)| u64::from(prompt + output - 1)).sum();
        if seen.preempted.is_empty() {
            prop_assert_eq!(seen.computed_tokens + seen.hit_tokens, asked);
        } else {
            prop_assert!(seen.computed_tokens + seen.hit_tokens >= asked);
        }
    }

    /// Whatever is drafted and accepted: every token is generated once, all memory is given back, and luck does not depend on how one looks.
    #[test]
    fn drafts_change_no_answers(
        number in 0..BATCHERS,
        stages in 1_usize..3,
        prefixes in any::<bool>(),
        draft_tokens in 1_u32..7,
        acceptance in 0.0_f64..1.0,
        wanted in wanted(),
    ) {
        let law = Law { stages, fixed_ns: 1e6, token_ns: 1e4, context_ns: 10.0, line: 0 };
        let drafts = Speculation { draft_tokens, acceptance, draft_ns: 1e5, draft_share: 0.1, seed: 7 };
        let setting = Setting { drafts: Some(drafts), ..Setting::new(number, law, prefixes) };
        let seen = run(setting, &wanted, false);
        prop_assert_eq!(seen.outcomes.len(), wanted.len());
        let output: u32 = wanted.iter().map(|&(_, _, output, ..)| output).sum();
        prop_assert_eq!(seen.latencies.len(), output as usize - wanted.len(), "all but the first tokens");
        prop_assert_eq!(seen.generated_tokens, u64::from(output));
        prop_assert_eq!(seen.blocks_in_use, 0);
        prop_assert_eq!(&seen, &run(setting, &wanted, true));
    }

    /// With memory below the GPU's: nobody is lost who waits for contents, and it does not matter who looks when.
    #[test]
    fn contents_from_below_are_waited_for(
        number in 0_usize..3,
        stages in 1_usize..4,
        near in 0_u32..30,
        far in 0_u32..90,
        block_ns in prop_oneof![Just(0.0), 1e4_f64..3e7],
        wanted in wanted(),
    ) {
        let law = Law { stages, fixed_ns: 1e6, token_ns: 1e4, context_ns: 10.0, line: 0 };
        let setting = Setting { tiers: Some((near, far, block_ns)), ..Setting::new(number, law, true) };
        let seen = run(setting, &wanted, false);
        prop_assert_eq!(seen.outcomes.len(), wanted.len());
        prop_assert_eq!(seen.blocks_in_use, 0);
        prop_assert_eq!(&seen, &run(setting, &wanted, true));
        let asked: u64 = wanted.iter().map(|&(_, prompt, output, ..)| u64::from(prompt + output - 1)).sum();
        let from_below: u64 = seen.tier_blocks.iter().map(|&(hits, _)| hits).sum();
        let got = seen.computed_tokens + seen.hit_tokens + from_below * u64::from(BLOCK_TOKENS);
        if seen.preempted.is_empty() {
            // Who had to give up what it had read reads it again.
            prop_assert!(got >= asked);
        }
    }
}
