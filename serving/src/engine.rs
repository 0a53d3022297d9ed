//! An engine: one replica of a model that batches requests, iteration by iteration.

use std::collections::VecDeque;

use foretell_serving_policies::route::Load;
use foretell_serving_policies::{Batcher, BlockPool, HandOver, Plan, Sequence, Slot, State};

use crate::batch::{Batch, Chunk, Line, StepLaw};
use crate::speculation::Speculation;

pub use crate::observer::{Iterations, Observer, Occupancy, Outcome};

mod adapters;
mod cancel;
mod drafts;
mod ends;
mod fetches;
mod hand_over;
mod request;
mod rows;
mod steps;

use ends::{Ends, Reached, Until};

pub use cancel::Cancelled;
pub use fetches::TierLink;
pub use hand_over::{Handed, Part, Wanted};
pub use request::{Rejection, Request};
pub use steps::Steps;

/// What is remembered of a sequence beside what a batcher sees.
#[derive(Clone, Copy, Debug)]
struct Timing {
    scheduled_ns: u64,
    first_token_ns: u64,
    last_token_ns: u64,
    cached_tokens: u32,
    preemptions: u32,
    /// When it was first passed over for its adapter.
    held_back_ns: u64,
}

/// An instant that has not come.
const NEVER: u64 = u64::MAX;

impl Timing {
    const NONE: Self = Self {
        scheduled_ns: NEVER,
        first_token_ns: NEVER,
        last_token_ns: NEVER,
        cached_tokens: 0,
        preemptions: 0,
        held_back_ns: NEVER,
    };
}

/// A batch under way: one iteration, or many of which each computes a token of each sequence.
#[derive(Clone, Default, Debug)]
pub(crate) struct UnderWay {
    plan: Plan,
    chunks: Vec<Chunk>,
    sampled: u32,
    decode_tokens: u32,
    context_tokens: u64,
    /// What adapters add to each iteration, and what was loaded before the first.
    adapters_ns: f64,
    loads_ns: f64,
    start_ns: u64,
    /// When iterations end.
    ends: Ends,
}

impl UnderWay {
    /// What it computes.
    pub(crate) fn batch(&self) -> Batch<'_> {
        Batch {
            decodes: self.plan.decodes.len() as u32,
            decode_tokens: self.decode_tokens,
            decode_context_tokens: self.context_tokens,
            chunks: &self.chunks,
            sampled: self.sampled,
        }
    }

    /// Makes it one iteration of so many nanoseconds.
    pub(crate) fn ends_after(&mut self, now_ns: u64, step_ns: f64) {
        self.ends.one(now_ns, step_ns);
    }
}

/// A replica of a model, with its batcher and the law of its steps.
///
/// Iterations are events, yet not one by one. While sequences decode and nothing changes, iterations follow one another by the law alone: the k-th since
/// the last change ends at that instant plus the rounded sum of k steps, whether somebody looks after each of them or not. An arrival that may change the
/// next batch cuts the row after the iteration that is under way.
pub struct Engine<L, B: ?Sized = dyn Batcher + Send> {
    law: L,
    state: State,
    timings: Vec<Timing>,
    under_way: VecDeque<Box<UnderWay>>,
    /// Ended batches, whose memory is used again.
    #[expect(clippy::vec_box, reason = "they come from the queue and go back into it as they are")]
    spare: Vec<Box<UnderWay>>,
    /// When each stage of the pipeline has nothing left to do.
    stages_free_ns: Vec<f64>,
    /// Where the sequences that decode have come to since they are the same, and how many they are.
    unchanged: Option<(Reached, usize)>,
    /// Until when it has told what it did.
    told_until_ns: u64,
    /// No more than one iteration at a time.
    one_by_one: bool,
    /// Kept to spare their allocation.
    crossings: Vec<(u32, u32)>,
    latencies_ns: Vec<u64>,
    speculation: Option<Speculation>,
    adapting: Option<Box<adapters::Adapting>>,
    fetches: fetches::Fetches,
    handing: hand_over::Handing,
    batcher: Box<B>,
}

impl<L: StepLaw, B: Batcher + ?Sized> Engine<L, B> {
    /// An engine that has nothing to do.
    pub fn new(law: L, batcher: Box<B>, state: State) -> Self {
        let stages = law.stages();
        Self {
            law,
            state,
            timings: Vec::new(),
            under_way: VecDeque::new(),
            spare: Vec::new(),
            stages_free_ns: vec![0.0; stages],
            unchanged: None,
            told_until_ns: 0,
            one_by_one: false,
            crossings: Vec::new(),
            latencies_ns: Vec::new(),
            speculation: None,
            adapting: None,
            fetches: fetches::Fetches::default(),
            handing: hand_over::Handing::default(),
            batcher,
        }
    }

    /// The same engine, which looks after each iteration: slower, to the same end.
    #[must_use]
    pub const fn one_by_one(mut self) -> Self {
        self.one_by_one = true;
        self
    }

    /// The same engine, which decodes speculatively. Its iterations are carried out one by one: what comes after the next is drawn.
    #[must_use]
    pub const fn speculating(mut self, speculation: Speculation) -> Self {
        self.state.decode_tokens = speculation.decode_tokens();
        self.speculation = Some(speculation);
        self
    }

    /// What its iterations take.
    pub const fn law(&self) -> &L {
        &self.law
    }

    /// Its requests and memory.
    pub const fn state(&self) -> &State {
        &self.state
    }

    /// Requests that it has and are not done, or not yet read by another replica.
    pub fn requests(&self) -> usize {
        self.state.waiting.len() + self.state.running.len() + self.handing.kept()
    }

    /// Once nothing is under way: those that no batch takes.
    pub fn left_over(&self) -> impl Iterator<Item = (u32, Rejection)> + '_ {
        let State { waiting, running, .. } = &self.state;
        let slots = self.under_way.is_empty().then(|| waiting.iter().chain(running));
        slots.into_iter().flatten().map(|&slot| {
            let sequence = &self.state.sequences[slot];
            (sequence.request, Rejection::NeverTaken { tokens: sequence.tokens() })
        })
    }

    /// Those that it has and are not done.
    pub fn unfinished(&self) -> impl Iterator<Item = u32> + '_ {
        let State { sequences, waiting, running, .. } = &self.state;
        waiting.iter().chain(running).map(|&slot| sequences[slot].request)
    }

    /// What routers know of it.
    pub fn load(&self) -> Load {
        let State { sequences, waiting, running, blocks, .. } = &self.state;
        let counted = |slots: &mut dyn Iterator<Item = &Slot>| {
            slots.fold((0, 0), |(tokens, prefill_tokens), &slot| {
                let sequence = &sequences[slot];
                let of_prompt = u64::from(sequence.prefill_tokens());
                (tokens + u64::from(sequence.tokens()), prefill_tokens + of_prompt)
            })
        };
        debug_assert_eq!(counted(&mut waiting.iter()), (waiting.tokens(), waiting.prefill_tokens()));
        let (tokens, prefill_tokens) = counted(&mut running.iter());
        Load {
            waiting: waiting.len() as u32,
            running: running.len() as u32,
            used_blocks: blocks.used_blocks(),
            total_blocks: blocks.total_blocks(),
            tokens: tokens + waiting.tokens(),
            prefill_tokens: prefill_tokens + waiting.prefill_tokens(),
            ..Load::default()
        }
    }

    /// When it must be told to [`Self::advance`]. None if it has nothing to do until something arrives.
    pub fn next_ns(&self) -> Option<u64> {
        let end_ns = self.under_way.front().map(|first| first.ends.last_end_ns());
        // With all stages taken nothing can begin when contents come.
        match self.fetches.next_ns() {
            Some(done_ns) if self.under_way.len() < self.stages_free_ns.len() => {
                Some(end_ns.map_or(done_ns, |end_ns| end_ns.min(done_ns)))
            }
            _ => end_ns,
        }
    }

    /// Takes a request in, to be considered with the next batch.
    pub fn enqueue(&mut self, request: &Request<'_>) -> Result<(), Rejection> {
        self.enqueue_part(request, Part::ALL)
    }

    /// The same with a part of a request.
    pub fn enqueue_part(&mut self, request: &Request<'_>, part: Part) -> Result<(), Rejection> {
        let slot = self.state.sequences.insert(self.sequence(request, part)?);
        self.timings.resize(self.state.sequences.capacity(), Timing::NONE);
        self.timings[slot.index()] = part.timing();
        self.state.blocks.set_keys(slot, request.block_keys);
        self.batcher.enqueue(&mut self.state, slot);
        Ok(())
    }

    /// Whether it would take a part of a request in.
    pub fn check(&self, request: &Request<'_>, part: Part) -> Result<(), Rejection> {
        self.sequence(request, part).map(drop)
    }

    /// Gets other memory for keys and values, with nothing in it. Nobody may hold any.
    pub(crate) fn forget(&mut self, blocks: BlockPool) {
        self.state.blocks = blocks;
    }

    fn sequence(&self, request: &Request<'_>, part: Part) -> Result<Sequence, Rejection> {
        let (prompt_tokens, output_tokens) = (request.prompt_tokens.max(1), request.output_tokens.max(1));
        let generated_tokens = part.generated_tokens();
        let sequence = Sequence {
            arrival_ns: request.arrival_ns,
            request: request.index,
            priority: request.priority,
            adapter: request.adapter,
            limit_tokens: request.limit_tokens.max(output_tokens),
            generated_tokens,
            decoding: generated_tokens > 0,
            hand_over: part.hand_over(prompt_tokens),
            ..Sequence::new(prompt_tokens, output_tokens)
        };
        // Its last iteration may draft beyond its end.
        let drafted = sequence.end_tokens().saturating_add(self.state.decode_tokens - 1);
        let tokens = drafted.min(sequence.most_tokens());
        let blocks = &self.state.blocks;
        if blocks.blocks_for(tokens) > blocks.total_blocks() {
            let cache_tokens = u64::from(blocks.total_blocks()) * u64::from(blocks.block_tokens());
            return Err(Rejection::TooLong { tokens, cache_tokens });
        }
        if !self.batcher.can_take(&self.state, &sequence) {
            return Err(Rejection::NeverTaken { tokens });
        }
        Ok(sequence)
    }

    /// Considers those that were taken in. Whatever ends by `now_ns` must have been advanced over. Nothing else arrives before `horizon_ns`, as far as
    /// is known.
    pub fn begin(&mut self, now_ns: u64, horizon_ns: u64, observer: &mut impl Observer) {
        if self.under_way.len() < self.stages_free_ns.len() {
            self.dispatch(now_ns, horizon_ns, observer);
        } else if self.under_way.front().is_some_and(|row| row.plan.heeds_arrivals) {
            self.cut_row(now_ns);
        }
    }

    /// Ends a row of iterations with the one that is under way.
    fn cut_row(&mut self, now_ns: u64) {
        if let Some(row) = self.under_way.front_mut() {
            row.ends.cut(now_ns);
        }
    }

    /// Carries out what ends at [`Self::next_ns`], and begins what can be begun then. Nothing may arrive before `horizon_ns`.
    pub fn advance(&mut self, horizon_ns: u64, observer: &mut impl Observer) {
        let Some(now_ns) = self.next_ns() else { return };
        if self.under_way.front().is_some_and(|first| first.ends.last_end_ns() <= now_ns)
            && let Some(ended) = self.under_way.pop_front()
        {
            self.conclude(ended, observer);
        }
        self.dispatch(now_ns, horizon_ns, observer);
    }

    /// Marks what a batch has computed, and lets go those that are done.
    pub(crate) fn conclude(&mut self, mut ended: Box<UnderWay>, observer: &mut impl Observer) {
        let now_ns = ended.ends.last_end_ns();
        let count = ended.ends.count();
        ended.plan.repeats = count;
        let generated_tokens = self.generated_tokens(&ended);
        let before = Occupancy::of(&self.state);
        let repeats = ended.plan.chunks.is_empty() && self.speculation.is_none();
        self.unchanged = repeats.then(|| (ended.ends.reached(), ended.plan.decodes.len()));
        let mut done = std::mem::take(&mut ended.plan.done);
        self.credit_decodes(&ended, &mut done, observer);
        self.credit_chunks(&ended, now_ns, &mut done, observer);
        ended.plan.done = done;
        self.count_adapters(&ended);
        let after = Occupancy::of(&self.state);
        let (start_ns, batch) = (ended.start_ns, ended.batch());
        let since_ns = start_ns.max(self.told_until_ns);
        self.told_until_ns = now_ns;
        observer.iterations(
            &Iterations { start_ns, end_ns: now_ns, since_ns, count, batch, generated_tokens, before, after },
            &self.state,
        );
        self.batcher.conclude(&mut self.state, &ended.plan);
        self.let_go(&ended.plan, observer);
        ended.plan.clear();
        self.spare.push(ended);
    }

    /// Marks what those that decode have computed, and who is done.
    fn credit_decodes(&mut self, ended: &UnderWay, done: &mut Vec<Slot>, observer: &mut impl Observer) {
        if self.speculation.is_some() {
            self.credit_drafts(ended, done, observer);
            return;
        }
        let count = ended.ends.count();
        let first_ns = ended.ends.end_ns(0);
        let last_ns = ended.ends.last_end_ns();
        if count > 1 {
            self.take_blocks(&ended.plan, count);
        }
        self.state.blocks.fill(ended.plan.decodes.len() as u64 * u64::from(count));
        // Most have their last token from the same iteration.
        let (mut latency_ns, mut alike) = (0, 0);
        for &slot in &ended.plan.decodes {
            let sequence = &mut self.state.sequences[slot];
            sequence.computed_tokens += count;
            sequence.generated_tokens += count;
            sequence.in_flight = false;
            if sequence.remaining_tokens() == 0 {
                done.push(slot);
            }
            let timing = &mut self.timings[slot.index()];
            let since_ns = first_ns - timing.last_token_ns;
            timing.last_token_ns = last_ns;
            if since_ns != latency_ns && alike > 0 {
                observer.inter_token(latency_ns, alike);
                alike = 0;
            }
            (latency_ns, alike) = (since_ns, alike + 1);
        }
        if alike > 0 {
            observer.inter_token(latency_ns, alike);
        }
        let decodes = ended.plan.decodes.len() as u32;
        if count > 1 {
            observer.inter_tokens(&ended.ends.steps(&mut self.latencies_ns), decodes);
        }
    }

    /// Marks what was read in, and who is done.
    fn credit_chunks(
        &mut self,
        ended: &UnderWay,
        now_ns: u64,
        done: &mut Vec<Slot>,
        observer: &mut impl Observer,
    ) {
        for chunk in &ended.plan.chunks {
            let sequence = &mut self.state.sequences[chunk.slot];
            sequence.computed_tokens += chunk.tokens;
            self.state.blocks.fill(u64::from(chunk.tokens));
            sequence.in_flight = false;
            if sequence.uncomputed_tokens() > 0 {
                continue;
            }
            sequence.generated_tokens += 1;
            sequence.decoding = true;
            if sequence.remaining_tokens() == 0 {
                done.push(chunk.slot);
            }
            let timing = &mut self.timings[chunk.slot.index()];
            if sequence.generated_tokens == 1 {
                timing.first_token_ns = now_ns;
            } else {
                observer.inter_token(now_ns - timing.last_token_ns, 1);
            }
            timing.last_token_ns = now_ns;
        }
    }

    /// Tells of those that are done, and forgets those that hold no memory any more.
    fn let_go(&mut self, plan: &Plan, observer: &mut impl Observer) {
        for &slot in &plan.done {
            let sequence = self.state.sequences[slot];
            self.unchanged = None;
            let timing = self.timings[slot.index()];
            observer.finished(&Outcome {
                request: sequence.request,
                arrival_ns: sequence.arrival_ns,
                scheduled_ns: timing.scheduled_ns,
                first_token_ns: timing.first_token_ns,
                last_token_ns: timing.last_token_ns,
                prompt_tokens: sequence.prompt_tokens,
                output_tokens: sequence.output_tokens,
                cached_tokens: timing.cached_tokens,
                preemptions: timing.preemptions,
            });
            if sequence.blocks == 0 {
                self.state.sequences.remove(slot);
            } else if sequence.hand_over == HandOver::Keeps {
                self.handing.keep(sequence.request, slot);
            }
        }
        while let Some(slot) = self.state.released.pop() {
            // Those of this very plan are gone already.
            if !plan.slots().any(|planned| planned == slot) {
                self.state.sequences.remove(slot);
            }
        }
    }

    /// Begins batches as long as the first stage of the pipeline takes them.
    fn dispatch(&mut self, now_ns: u64, horizon_ns: u64, observer: &mut impl Observer) {
        while self.under_way.len() < self.stages_free_ns.len() {
            let Some(mut next) = self.prepare(now_ns, observer) else { return };
            if self.stages_free_ns.len() > 1 {
                self.pass_stages(&mut next, now_ns);
            } else {
                self.row(&mut next, now_ns, horizon_ns);
            }
            self.under_way.push_back(next);
        }
    }

    /// The next batch, of which it is not yet known when it ends.
    pub(crate) fn prepare(&mut self, now_ns: u64, observer: &mut impl Observer) -> Option<Box<UnderWay>> {
        self.end_fetches(now_ns);
        if self.state.running.is_empty() && self.state.waiting.is_empty() {
            return None;
        }
        let mut next = self.spare.pop().unwrap_or_default();
        loop {
            self.batcher.compose(&mut self.state, &mut next.plan);
            self.begin_fetches(now_ns);
            self.begin_loads(now_ns);
            let preempted = self.note_preempted(now_ns, observer);
            if !next.plan.is_empty() {
                break;
            }
            // All had to give up their memory, which there is now enough of to begin anew; no batch under way will be the occasion.
            if !preempted || !self.under_way.is_empty() {
                self.spare.push(next);
                return None;
            }
        }
        self.describe(&mut next, now_ns);
        Some(next)
    }

    /// Tells of those that gave up their memory; whether there were any.
    fn note_preempted(&mut self, now_ns: u64, observer: &mut impl Observer) -> bool {
        if self.state.preempted.is_empty() {
            return false;
        }
        for slot in self.state.preempted.drain(..) {
            self.timings[slot.index()].preemptions += 1;
            self.unchanged = None;
            observer.preempted(self.state.sequences[slot].request, now_ns);
        }
        true
    }

    /// What a batch computes.
    fn describe(&mut self, next: &mut UnderWay, now_ns: u64) {
        next.chunks.clear();
        next.ends.clear();
        next.start_ns = now_ns;
        next.context_tokens =
            next.plan.decodes.iter().map(|&slot| u64::from(self.state.sequences[slot].computed_tokens)).sum();
        next.decode_tokens = self.state.decode_tokens;
        next.sampled = next.decode_tokens * next.plan.decodes.len() as u32;
        for chunk in &next.plan.chunks {
            let sequence = &self.state.sequences[chunk.slot];
            next.sampled += u32::from(sequence.uncomputed_tokens() == chunk.tokens);
            next.chunks.push(Chunk { tokens: chunk.tokens, context_tokens: sequence.computed_tokens });
            let timing = &mut self.timings[chunk.slot.index()];
            if timing.scheduled_ns == NEVER {
                timing.scheduled_ns = now_ns;
                timing.cached_tokens = sequence.computed_tokens;
            }
        }
        self.weigh_adapters(next, now_ns);
    }

    /// When a batch leaves the last stage: batches pass each stage in the order in which they entered the first.
    fn pass_stages(&mut self, next: &mut UnderWay, now_ns: u64) {
        for slot in next.plan.slots() {
            self.state.sequences[slot].in_flight = true;
        }
        let batch = next.batch();
        let stages = self.stages_free_ns.len();
        let mut at_ns = now_ns as f64;
        for (stage, free_ns) in self.stages_free_ns.iter_mut().enumerate() {
            at_ns = at_ns.max(*free_ns) + self.law.stage_ns(&batch, stage);
            *free_ns = at_ns;
        }
        if let (Some(drafts), Some(free_ns)) = (self.speculation, self.stages_free_ns.last_mut()) {
            let whole_ns = (0..stages).map(|stage| self.law.stage_ns(&batch, stage)).sum::<f64>();
            at_ns += drafts.added_ns(batch.decodes, whole_ns);
            *free_ns = at_ns;
        }
        next.ends_after(now_ns, at_ns - now_ns as f64);
    }

    /// When the iterations of a row end.
    fn row(&mut self, next: &mut UnderWay, now_ns: u64, horizon_ns: u64) {
        let decodes = next.plan.decodes.len();
        if !next.plan.chunks.is_empty() || self.speculation.is_some() || next.loads_ns > 0.0 {
            let batch = next.batch();
            let step_ns = self.with_drafts_ns(&batch, self.law.stage_ns(&batch, 0) + next.adapters_ns);
            next.ends_after(now_ns, step_ns + next.loads_ns);
            return;
        }
        let from = match self.unchanged {
            Some((reached, before)) if before == decodes => reached,
            _ => Reached::origin(now_ns),
        };
        let most = if self.one_by_one { 1 } else { next.plan.repeats };
        let mut instant_ns = if next.plan.heeds_arrivals { horizon_ns } else { u64::MAX };
        if let Some(done_ns) = self.fetches.next_ns() {
            // Whoever waits for contents is looked at with the first batch that begins when they are there.
            instant_ns = instant_ns.min(done_ns.saturating_sub(1));
        }
        let (sequences, context_tokens, added_ns) = (decodes as u32, next.context_tokens, next.adapters_ns);
        let line = || {
            let line = self.law.decode_line(sequences, context_tokens)?;
            Some(Line { first_ns: line.first_ns + added_ns, ..line })
        };
        let step_ns = |iteration| {
            let context_tokens = context_tokens + u64::from(sequences) * u64::from(iteration);
            self.law.decode_ns(sequences, context_tokens) + added_ns
        };
        next.ends.follow(from, Until { most, instant_ns }, line, step_ns);
    }
}
