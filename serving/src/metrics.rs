//! What users of a model server feel, and what its GPUs do meanwhile.

use std::sync::Arc;

use foretell_serving_policies::State;
use serde::Serialize;

use crate::batch::Batch;
use crate::engine::{Iterations, Observer, Outcome, Steps};
use crate::latencies::Latencies;
use crate::model::work::{Work, WorkLaw};
use crate::outcomes::Outcomes;
use crate::power::Drawing;

/// Intervals of a timeline at most; beyond, pairs of them become one.
const MOST_INTERVALS: usize = 1024;

/// Nanoseconds of an interval at first.
const FIRST_INTERVAL_NS: u64 = 100_000_000;

/// An interval of a timeline; sums over time are in nanoseconds times what is counted.
#[derive(Clone, Copy, PartialEq, Default, Debug)]
pub struct Interval {
    /// Time in which something was computed.
    pub busy_ns: f64,
    /// Sequences that run, over time.
    pub running: f64,
    /// Requests that wait to be taken for the first time, over time.
    pub waiting: f64,
    /// Blocks held, over time.
    pub blocks: f64,
    /// Tokens read in.
    pub prefill_tokens: f64,
    /// Tokens generated.
    pub output_tokens: f64,
    /// Requests that gave up their memory.
    pub preemptions: f64,
}

impl Interval {
    fn add(&mut self, other: &Self, share: f64) {
        self.busy_ns += share * other.busy_ns;
        self.running += share * other.running;
        self.waiting += share * other.waiting;
        self.blocks += share * other.blocks;
        self.prefill_tokens += share * other.prefill_tokens;
        self.output_tokens += share * other.output_tokens;
        self.preemptions += share * other.preemptions;
    }
}

/// Sums over all iterations.
#[derive(Clone, Copy, PartialEq, Default, Debug, Serialize)]
pub struct Totals {
    /// Iterations.
    pub iterations: u64,
    /// Time in which iterations were under way.
    pub busy_ns: f64,
    /// Tokens computed, those that were computed again among them.
    pub computed_tokens: u64,
    /// Tokens generated.
    pub output_tokens: u64,
    /// What the model had to do, where it is known.
    pub work: Work,
    /// Blocks held, over time, while iterations were under way, and the tokens in them.
    pub blocks_ns: f64,
    /// See there.
    pub held_tokens_ns: f64,
    /// Blocks that there are, over the same time.
    pub capacity_blocks_ns: f64,
    /// The largest share of a replica's blocks held at once.
    pub peak_share: f64,
    /// How often requests gave up their memory.
    pub preemptions: u64,
    /// Joules of GPUs while iterations were under way, where it is known what they draw.
    #[serde(skip)]
    pub busy_j: f64,
}

/// Listens to one replica.
#[derive(Clone, Debug)]
pub struct Recorder {
    /// Requests that it answered.
    pub answered: u64,
    /// Those of them that kept what is promised, where that is counted.
    pub kept: u64,
    /// Time from one token of a request to the next, unless its fleet keeps that for all.
    pub inter_token: Latencies,
    /// Sums.
    pub totals: Totals,
    /// The course of time.
    pub timeline: Vec<Interval>,
    /// Nanoseconds of one interval of it.
    pub interval_ns: u64,
    /// When the last iteration ended.
    pub last_ns: u64,
    /// What iterations have to do, where it is known.
    work: Option<Arc<WorkLaw>>,
    /// What the GPUs of an engine draw, where it is known.
    drawing: Option<Drawing>,
    /// What is promised, where it is counted who keeps it.
    promised: Option<Box<Objective>>,
}

impl Default for Recorder {
    fn default() -> Self {
        Self {
            answered: 0,
            kept: 0,
            inter_token: Latencies::default(),
            totals: Totals::default(),
            timeline: Vec::new(),
            interval_ns: FIRST_INTERVAL_NS,
            last_ns: 0,
            work: None,
            drawing: None,
            promised: None,
        }
    }
}

impl Recorder {
    /// Listens to a replica, and counts what it has to do by this law.
    pub fn of(work: Arc<WorkLaw>) -> Self {
        Self { work: Some(work), ..Self::default() }
    }

    /// Also counts what the GPUs of an engine draw, if that is known.
    #[must_use]
    pub fn drawing(self, drawing: Option<Drawing>) -> Self {
        Self { drawing, ..self }
    }

    /// Also counts who keeps what is promised.
    #[must_use]
    pub fn promising(self, objective: Objective) -> Self {
        Self { promised: Some(Box::new(objective)), ..self }
    }

    /// Makes room for an instant.
    #[inline]
    fn reach(&mut self, now_ns: u64) {
        if now_ns >= self.timeline.len() as u64 * self.interval_ns {
            self.reach_further(now_ns);
        }
    }

    fn reach_further(&mut self, now_ns: u64) {
        while now_ns / self.interval_ns >= MOST_INTERVALS as u64 {
            self.coarsen();
        }
        let needed = (now_ns / self.interval_ns) as usize + 1;
        if self.timeline.len() < needed {
            self.timeline.resize(needed, Interval::default());
        }
    }

    fn coarsen(&mut self) {
        self.interval_ns *= 2;
        self.timeline = self
            .timeline
            .chunks(2)
            .map(|pair| {
                let mut sum = pair[0];
                if let Some(second) = pair.get(1) {
                    sum.add(second, 1.0);
                }
                sum
            })
            .collect();
    }

    /// Spreads sums evenly over a span.
    fn spread(&mut self, start_ns: u64, end_ns: u64, sums: &Interval) {
        self.reach(end_ns);
        let first = start_ns.min(end_ns) / self.interval_ns;
        if start_ns < end_ns && end_ns <= (first + 1) * self.interval_ns {
            self.timeline[first as usize].add(sums, 1.0);
            return;
        }
        if start_ns >= end_ns {
            self.timeline[(end_ns / self.interval_ns) as usize].add(sums, 1.0);
            return;
        }
        let length = (end_ns - start_ns) as f64;
        let mut from_ns = start_ns;
        while from_ns < end_ns {
            let index = from_ns / self.interval_ns;
            let until_ns = end_ns.min((index + 1) * self.interval_ns);
            self.timeline[index as usize].add(sums, (until_ns - from_ns) as f64 / length);
            from_ns = until_ns;
        }
    }

    /// Puts what another replica did beside this.
    pub fn merge(&mut self, mut other: Self) {
        while self.interval_ns < other.interval_ns {
            self.coarsen();
        }
        while other.interval_ns < self.interval_ns {
            other.coarsen();
        }
        if self.timeline.len() < other.timeline.len() {
            self.timeline.resize(other.timeline.len(), Interval::default());
        }
        for (mine, theirs) in self.timeline.iter_mut().zip(&other.timeline) {
            mine.add(theirs, 1.0);
        }
        self.answered += other.answered;
        self.kept += other.kept;
        self.last_ns = self.last_ns.max(other.last_ns);
        self.inter_token.merge(&other.inter_token);
        let (mine, theirs) = (&mut self.totals, other.totals);
        mine.iterations += theirs.iterations;
        mine.busy_ns += theirs.busy_ns;
        mine.computed_tokens += theirs.computed_tokens;
        mine.output_tokens += theirs.output_tokens;
        mine.work.flops += theirs.work.flops;
        mine.work.bytes += theirs.work.bytes;
        mine.blocks_ns += theirs.blocks_ns;
        mine.held_tokens_ns += theirs.held_tokens_ns;
        mine.capacity_blocks_ns += theirs.capacity_blocks_ns;
        mine.peak_share = mine.peak_share.max(theirs.peak_share);
        mine.preemptions += theirs.preemptions;
        mine.busy_j += theirs.busy_j;
    }
}

impl Observer for Recorder {
    fn inter_token(&mut self, latency_ns: u64, tokens: u32) {
        self.inter_token.add(latency_ns, tokens);
    }

    fn inter_tokens(&mut self, steps: &Steps<'_>, tokens: u32) {
        self.inter_token.add_steps(steps, tokens);
    }

    fn preempted(&mut self, _request: u32, now_ns: u64) {
        self.totals.preemptions += 1;
        self.reach(now_ns);
        self.timeline[(now_ns / self.interval_ns) as usize].preemptions += 1.0;
    }

    fn finished(&mut self, outcome: &Outcome) {
        // Who was taken at once did not wait.
        if outcome.scheduled_ns > outcome.arrival_ns {
            let waiting = (outcome.scheduled_ns - outcome.arrival_ns) as f64;
            let sums = Interval { waiting, ..Interval::default() };
            self.spread(outcome.arrival_ns, outcome.scheduled_ns, &sums);
        }
        self.answered += 1;
        if let Some(objective) = &self.promised {
            self.kept += u64::from(outcome.meets(objective));
        }
    }

    fn iterations(&mut self, iterations: &Iterations<'_>, state: &State) {
        let Iterations { end_ns, since_ns, count, batch, generated_tokens, before, after, .. } = *iterations;
        let length = (end_ns - since_ns) as f64;
        let count_f = f64::from(count);
        let chunk_tokens = batch.chunk_tokens();
        // Those that decode have a token more of context in each further iteration; work is linear in it.
        let context = batch.decode_context_tokens + u64::from(batch.decodes) * u64::from(count - 1) / 2;
        if let Some(law) = &self.work {
            let work = law.of(&Batch { decode_context_tokens: context, ..batch });
            self.totals.work.flops += count_f * work.flops;
            self.totals.work.bytes += count_f * work.bytes;
            if let Some(drawing) = &self.drawing {
                let work = Work { flops: count_f * work.flops, bytes: count_f * work.bytes };
                self.totals.busy_j += drawing.busy_j(work, length / NS_PER_S);
            }
        }
        // Blocks and tokens grow evenly over a row.
        let used = f64::midpoint(f64::from(before.used_blocks), f64::from(after.used_blocks));
        let held = f64::midpoint(before.held_tokens as f64, after.held_tokens as f64);
        let total_blocks = f64::from(state.blocks.total_blocks());
        self.last_ns = self.last_ns.max(end_ns);
        let totals = &mut self.totals;
        totals.iterations += u64::from(count);
        totals.busy_ns += length;
        totals.computed_tokens += u64::from(count) * u64::from(batch.tokens());
        totals.output_tokens += generated_tokens;
        totals.blocks_ns += length * used;
        totals.held_tokens_ns += length * held;
        totals.capacity_blocks_ns += length * total_blocks;
        totals.peak_share = totals.peak_share.max(f64::from(after.used_blocks) / total_blocks);
        let sums = Interval {
            busy_ns: length,
            running: length * state.running.len() as f64,
            waiting: 0.0,
            blocks: length * used,
            prefill_tokens: f64::from(chunk_tokens),
            output_tokens: generated_tokens as f64,
            preemptions: 0.0,
        };
        self.spread(since_ns, end_ns, &sums);
    }
}

/// How a figure is spread over requests or tokens.
#[derive(Clone, Copy, PartialEq, Default, Debug, Serialize)]
pub struct Spread {
    /// How many.
    pub count: u64,
    /// Mean.
    pub mean: f64,
    /// Median.
    pub p50: f64,
    /// Nine of ten are no more.
    pub p90: f64,
    /// Nineteen of twenty are no more.
    pub p95: f64,
    /// 99 of 100 are no more.
    pub p99: f64,
    /// The most.
    pub max: f64,
}

impl Spread {
    /// Of values; percentiles lie on the line between the two nearest values, as `NumPy` has it.
    pub fn of(mut values: Vec<f64>) -> Self {
        values.sort_unstable_by(f64::total_cmp);
        let Some(&max) = values.last() else { return Self::default() };
        let at = |share: f64| {
            let place = share * (values.len() - 1) as f64;
            let (below, above) = (values[place.floor() as usize], values[place.ceil() as usize]);
            below + (place - place.floor()) * (above - below)
        };
        Self {
            count: values.len() as u64,
            mean: values.iter().sum::<f64>() / values.len() as f64,
            p50: at(0.5),
            p90: at(0.9),
            p95: at(0.95),
            p99: at(0.99),
            max,
        }
    }

    /// Of times, in seconds; percentiles are the least that so many do not exceed.
    pub fn of_latencies(latencies: &Latencies) -> Self {
        let count = latencies.count();
        if count == 0 {
            return Self::default();
        }
        let at = |share: f64| {
            let wanted = (share * count as f64).ceil().max(1.0) as u64;
            let mut seen = 0;
            let found = latencies.iter().find(|&(_, count)| {
                seen += count;
                seen >= wanted
            });
            found.map_or(latencies.max_ns(), |(latency_ns, _)| latency_ns) as f64 / NS_PER_S
        };
        Self {
            count,
            mean: latencies.sum_ns() as f64 / count as f64 / NS_PER_S,
            p50: at(0.5),
            p90: at(0.9),
            p95: at(0.95),
            p99: at(0.99),
            max: latencies.max_ns() as f64 / NS_PER_S,
        }
    }
}

/// What is promised to users; what is not said is not promised.
#[derive(Clone, Copy, PartialEq, Default, Debug, Serialize)]
pub struct Objective {
    /// Time to the first token.
    pub ttft_s: Option<f64>,
    /// Mean time of a further token.
    pub tpot_s: Option<f64>,
    /// Time to the last token.
    pub e2e_s: Option<f64>,
}

const NS_PER_S: f64 = 1e9;

impl Outcome {
    /// Seconds from arrival to when it was first taken.
    pub fn queue_s(&self) -> f64 {
        (self.scheduled_ns - self.arrival_ns) as f64 / NS_PER_S
    }

    /// Time to first token: seconds from arrival to the first token.
    pub fn ttft_s(&self) -> f64 {
        (self.first_token_ns - self.arrival_ns) as f64 / NS_PER_S
    }

    /// Time per output token: seconds from the first to the last token, by the tokens after the first. None for one token.
    pub fn tpot_s(&self) -> Option<f64> {
        let further = f64::from(self.output_tokens.checked_sub(1).filter(|&further| further > 0)?);
        Some((self.last_token_ns - self.first_token_ns) as f64 / NS_PER_S / further)
    }

    /// End to end: seconds from arrival to the last token.
    pub fn e2e_s(&self) -> f64 {
        (self.last_token_ns - self.arrival_ns) as f64 / NS_PER_S
    }

    /// Whether all that is promised was kept.
    pub fn meets(&self, objective: &Objective) -> bool {
        let within = |value: f64, most: Option<f64>| most.is_none_or(|most| value <= most);
        within(self.ttft_s(), objective.ttft_s)
            && self.tpot_s().is_none_or(|tpot_s| within(tpot_s, objective.tpot_s))
            && within(self.e2e_s(), objective.e2e_s)
    }
}

/// What a service comes to.
#[derive(Clone, PartialEq, Default, Debug, Serialize)]
pub struct Summary {
    /// Requests done.
    pub requests: u64,
    /// Requests that got nothing.
    pub rejected: u64,
    /// From the first arrival to the last token, be it one that nobody waits for any more.
    pub duration_s: f64,
    /// Seconds to be taken.
    pub queue_s: Spread,
    /// Seconds to the first token.
    pub ttft_s: Spread,
    /// Seconds of a further token, request by request.
    pub tpot_s: Spread,
    /// Seconds from one token to the next, token by token.
    pub itl_s: Spread,
    /// Seconds to the last token.
    pub e2e_s: Spread,
    /// Share of requests (rejected ones count) for which all that is promised was kept.
    pub slo_attainment: f64,
    /// The same a second.
    pub goodput_per_s: f64,
    /// Requests done a second.
    pub requests_per_s: f64,
    /// Tokens generated a second.
    pub output_tokens_per_s: f64,
    /// Tokens submitted a second.
    pub prompt_tokens_per_s: f64,
    /// Share of the time in which something is computed, by replica.
    pub busy_share: f64,
    /// Requests that run, on average over time, of all replicas.
    pub running: f64,
    /// Requests that wait, likewise.
    pub waiting: f64,
    /// Share of blocks held, on average while busy.
    pub kv_use: f64,
    /// The same at the most, of the replica that was fullest.
    pub kv_peak: f64,
    /// Share of the room in blocks held in which there is no token, while busy.
    pub kv_waste: f64,
    /// Share of prompts that was found in the cache.
    pub prefix_hit_rate: f64,
    /// How often requests gave up their memory.
    pub preemptions: u64,
    /// Sums over iterations.
    pub totals: Totals,
}

/// What [`Summary::new`] must know beside what was recorded.
#[derive(Clone, Copy, PartialEq, Default, Debug)]
pub struct Capacity {
    /// Engines, on average over time: replicas, or with data-parallel attention their ranks.
    pub engines: f64,
    /// Tokens of a block.
    pub block_tokens: u32,
    /// Tokens of prompts that were looked for in caches, and those that were found.
    pub prefix_tokens: (u64, u64),
}

impl Summary {
    /// Of what was recorded, and of what became of requests, with the places of their replicas.
    pub fn new(
        recorder: &Recorder,
        outcomes: &Outcomes,
        capacity: &Capacity,
        objective: &Objective,
        rejected: u64,
    ) -> Self {
        let done = outcomes.len() as u64;
        let outcomes = outcomes.iter().map(|(_, outcome)| outcome);
        let of = |value: fn(&Outcome) -> f64| {
            let mut values = Vec::with_capacity(done as usize);
            values.extend(outcomes.clone().map(|one| value(&one)));
            Spread::of(values)
        };
        let first_ns = outcomes.clone().map(|one| one.arrival_ns).min().unwrap_or(0);
        let last_ns = recorder.last_ns;
        let duration_s = last_ns.saturating_sub(first_ns) as f64 / NS_PER_S;
        let per_s = |count: f64| if duration_s > 0.0 { count / duration_s } else { 0.0 };
        let share = |part: f64, whole: f64| if whole > 0.0 { part / whole } else { 0.0 };
        let kept = outcomes.clone().filter(|one| one.meets(objective)).count() as f64;
        let totals = recorder.totals;
        let sum = |of: fn(&Interval) -> f64| recorder.timeline.iter().map(of).sum::<f64>();
        let prompt_tokens: u64 = outcomes.clone().map(|one| u64::from(one.prompt_tokens)).sum();
        let span_ns = duration_s * NS_PER_S;
        Self {
            requests: done,
            rejected,
            duration_s,
            queue_s: of(Outcome::queue_s),
            ttft_s: of(Outcome::ttft_s),
            tpot_s: Spread::of(outcomes.clone().filter_map(|one| one.tpot_s()).collect()),
            itl_s: Spread::of_latencies(&recorder.inter_token),
            e2e_s: of(Outcome::e2e_s),
            slo_attainment: share(kept, done as f64 + rejected as f64),
            goodput_per_s: per_s(kept),
            requests_per_s: per_s(done as f64),
            output_tokens_per_s: per_s(totals.output_tokens as f64),
            prompt_tokens_per_s: per_s(prompt_tokens as f64),
            busy_share: share(totals.busy_ns, span_ns * capacity.engines),
            running: share(sum(|interval| interval.running), span_ns),
            waiting: share(sum(|interval| interval.waiting), span_ns),
            kv_use: share(totals.blocks_ns, totals.capacity_blocks_ns),
            kv_peak: totals.peak_share,
            kv_waste: share(
                totals.blocks_ns * f64::from(capacity.block_tokens) - totals.held_tokens_ns,
                totals.blocks_ns * f64::from(capacity.block_tokens),
            ),
            prefix_hit_rate: share(capacity.prefix_tokens.1 as f64, capacity.prefix_tokens.0 as f64),
            preemptions: totals.preemptions,
            totals,
        }
    }
}
