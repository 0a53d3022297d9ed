//! The law of iterations of a model on GPUs.
//!
//! What depends on the number of tokens alone (products, norms, collectives) is tabulated once, and so is what depends on the number of
//! sequences that are sampled; attention is reckoned for each batch.

use std::sync::atomic::{AtomicU64, Ordering};

use thiserror::Error;

use crate::attention::{AttentionLaw, Shape};
use crate::batch::{Batch, Chunk, Line, StepLaw};
use crate::calibration::{Calibration, CalibrationError};
use crate::curve::Curve;
use crate::layer::Layer;
use crate::link::Links;
use crate::model::weights::Parallelism;
use crate::model::{Model, ModelError};
use crate::options::{Compilation, EAGER_STEP_US, Options};
use crate::tables::{AttentionRows, Measured};

/// Why there is no law.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
pub enum LawError {
    /// The model cannot be split so.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// The calibration lacks something.
    #[error(transparent)]
    Calibration(#[from] CalibrationError),
}

/// One stage.
#[derive(Clone, Debug)]
struct Stage {
    /// Nanoseconds by tokens of the replica.
    tokens: Curve,
    /// Nanoseconds of experts by tokens of all replicas that share them; none where a replica has its experts to itself (then they are in
    /// `tokens`).
    group: Option<Curve>,
    /// Nanoseconds by sequences sampled.
    sampled: Curve,
    /// Layers that attend to all, and those with a window.
    layers: (f64, f64),
    /// Nanoseconds of attention by sequences that decode, without what their context adds.
    decode_base: Curve,
    /// Measured attention, for all layers that attend to all.
    measured: Option<AttentionRows>,
    /// The least that an iteration takes.
    floor_ns: f64,
    /// What was reckoned of a prompt that is read in whole and alone, by its tokens.
    alone: Memo,
}

/// Values of a function of a whole number that were reckoned, as bits; 0 for those that were not. Whoever reckons one gets the same bits, so that it does not
/// matter who is first.
#[derive(Debug)]
struct Memo(Box<[AtomicU64]>);

impl Memo {
    fn new(last: u32) -> Self {
        Self((0..=last).map(|_| AtomicU64::new(0)).collect())
    }

    fn get_or(&self, of: u32, value: impl FnOnce() -> f64) -> f64 {
        let Some(kept) = self.0.get(of as usize) else { return value() };
        match kept.load(Ordering::Relaxed) {
            0 => {
                let value = value();
                kept.store(value.to_bits(), Ordering::Relaxed);
                value
            }
            bits => f64::from_bits(bits),
        }
    }
}

impl Clone for Memo {
    /// With nothing in it.
    fn clone(&self) -> Self {
        Self::new(self.0.len() as u32 - 1)
    }
}

/// The law of iterations of a model on GPUs.
#[derive(Clone, Debug)]
pub struct AnalyticLaw {
    stages: Vec<Stage>,
    attention: AttentionLaw,
    /// Nanoseconds for each token of context, for all layers of a stage that attend to all, is this times their number.
    context_ns: f64,
    window: f64,
    sequence_ns: f64,
    data: u32,
}

impl AnalyticLaw {
    /// The law of a model that is spread over GPUs with this calibration, joined by these links.
    pub fn new(
        model: &Model,
        parallelism: Parallelism,
        calibration: &Calibration,
        links: impl Into<Links>,
        options: &Options,
    ) -> Result<Self, LawError> {
        Self::with_measured(model, parallelism, calibration, links, options, &Measured::default())
    }

    /// The same with what was measured of this very model and tensor parallelism in place of the law, as far as it goes.
    pub fn with_measured(
        model: &Model,
        parallelism: Parallelism,
        calibration: &Calibration,
        links: impl Into<Links>,
        options: &Options,
        measured: &Measured,
    ) -> Result<Self, LawError> {
        parallelism.check(model)?;
        let shape = Shape::new(model, parallelism.tensor, options.cache_number_bytes);
        let attention = AttentionLaw::new(calibration, shape, options)?;
        let layer = Layer::new(model, parallelism, calibration, links.into(), options, measured)?;
        let cut = parallelism.stage_layers(model);
        let mut first = 0;
        let mut stages = Vec::with_capacity(cut.len());
        for (index, &layers) in cut.iter().enumerate() {
            let (is_first, is_last) = (index == 0, index + 1 == cut.len());
            let dense_layers = model.layers - model.expert_layers();
            let dense = dense_layers.saturating_sub(first).min(layers);
            first += layers;
            // Layers with a window are taken to be spread evenly.
            let windowed = model.window.map_or(0, |window| window.layers);
            let windowed = f64::from(layers) * f64::from(windowed) / f64::from(model.layers);
            let full = f64::from(layers) - windowed;
            let sparse = f64::from(layers - dense);
            let of_tokens = |tokens: u32| {
                if tokens == 0 {
                    return options.step_overhead_us * 1e3;
                }
                let tokens = padded(tokens, options.compilation);
                let mut seconds =
                    f64::from(layers) * layer.around_s(tokens) + f64::from(dense) * layer.dense_s(tokens);
                if sparse > 0.0 {
                    seconds += sparse * layer.router_s(tokens);
                }
                if is_first {
                    seconds += layer.embedding_s(tokens);
                }
                seconds += if is_last { layer.last_s(tokens) } else { layer.send_s(tokens) };
                seconds * 1e9 + options.step_overhead_us * 1e3
            };
            let of_group = |tokens: u32| {
                if tokens == 0 {
                    return 0.0;
                }
                sparse * layer.experts_s(padded(tokens, options.compilation)) * 1e9
            };
            let together = options.max_tokens.saturating_mul(parallelism.data);
            let mut tokens = Curve::new(options.max_tokens, of_tokens);
            let mut group = None;
            if sparse > 0.0 && parallelism.data > 1 {
                group = Some(Curve::new(together, of_group));
            } else if sparse > 0.0 {
                tokens = tokens.plus(&Curve::new(options.max_tokens, of_group));
            }
            let sampled = |sequences: u32| {
                if sequences == 0 || !is_last { 0.0 } else { layer.sampled_s(sequences) * 1e9 }
            };
            let decode_base = |decodes: u32| (full + windowed) * attention.decode_base_s(decodes) * 1e9;
            let floor_us = match options.compilation {
                Compilation::Eager => {
                    f64::from(layers) * options.layer_launch_us + if is_first { EAGER_STEP_US } else { 0.0 }
                }
                Compilation::Graphs | Compilation::TensorRt => 0.0,
            };
            let grid = measured.attention.as_ref();
            stages.push(Stage {
                tokens,
                group,
                sampled: Curve::new(options.max_sequences, sampled),
                layers: (full, windowed),
                decode_base: Curve::new(options.max_sequences, decode_base),
                measured: grid.map(|grid| AttentionRows::new(grid, full * 1e9, options.max_sequences)),
                floor_ns: floor_us * 1e3,
                alone: Memo::new(options.max_tokens),
            });
        }
        Ok(Self {
            stages,
            context_ns: attention.decode_token_s() * 1e9,
            attention,
            window: model.window.map_or(f64::INFINITY, |window| f64::from(window.tokens)),
            sequence_ns: options.sequence_overhead_us * 1e3,
            data: parallelism.data,
        })
    }

    /// The law of attention, of one layer.
    pub const fn attention(&self) -> &AttentionLaw {
        &self.attention
    }

    /// Nanoseconds of all but attention, of sequences that decode.
    #[inline]
    fn around_decodes_ns(&self, stage: &Stage, decodes: u32) -> f64 {
        let ns = stage.tokens.at(decodes) + stage.sampled.at(decodes) + self.sequence_ns * f64::from(decodes);
        match &stage.group {
            Some(group) => ns + group.at(decodes * self.data),
            None => ns,
        }
    }

    /// Tokens of context that are read by sequences that decode, in all layers.
    #[inline]
    fn seen_tokens(&self, stage: &Stage, decodes: u32, context_tokens: u64) -> f64 {
        let (full, windowed) = stage.layers;
        // Signed numbers are the cheaper to convert.
        let context = context_tokens as i64 as f64;
        let seen = full * context;
        if windowed > 0.0 { seen + windowed * context.min(self.window * f64::from(decodes)) } else { seen }
    }

    /// Nanoseconds of attention of a batch without chunks.
    #[inline]
    fn decode_attention_ns(&self, stage: &Stage, decodes: u32, context: u64) -> f64 {
        if decodes == 0 {
            return 0.0;
        }
        if let Some(rows) = &stage.measured {
            let windowed = stage.layers.1;
            let context = context as f64;
            let within = context.min(self.window * f64::from(decodes));
            let rest = if windowed > 0.0 { windowed * self.window_ns(decodes, within) } else { 0.0 };
            return rows.decode_ns(decodes, context / f64::from(decodes)) + rest;
        }
        stage.decode_base.at(decodes) + self.context_ns * self.seen_tokens(stage, decodes, context)
    }

    fn window_ns(&self, decodes: u32, within: f64) -> f64 {
        self.attention.decode_base_s(decodes) * 1e9 + self.context_ns * within
    }

    /// Nanoseconds of attention of a batch with chunks.
    fn chunks_attention_ns(&self, stage: &Stage, batch: &Batch<'_>) -> f64 {
        let (full, windowed) = stage.layers;
        let context = batch.decode_context_tokens as f64;
        let seconds = |window| self.attention.chunks_s(batch.chunks, batch.decodes, context, window);
        let mut ns = match &stage.measured {
            Some(rows) => {
                let (as_one, tokens, before) = combined(batch.chunks);
                let mean = if batch.decodes == 0 { 0.0 } else { context / f64::from(batch.decodes) };
                let mut ns = rows.chunks_ns(tokens, before, f64::from(batch.decodes), mean);
                if batch.chunks.len() > 1 {
                    // Measured is one chunk: several are to it as the law has it.
                    let one = self.attention.chunks_s(&[as_one], batch.decodes, context, f64::INFINITY);
                    ns *= seconds(f64::INFINITY) / one;
                }
                ns
            }
            None => full * seconds(f64::INFINITY) * 1e9,
        };
        if windowed > 0.0 {
            ns += windowed * seconds(self.window) * 1e9;
        }
        ns
    }

    fn reckoned_stage_ns(&self, stage: &Stage, batch: &Batch<'_>, group_tokens: u32) -> f64 {
        let tokens = batch.tokens();
        let sequences = batch.decodes + batch.chunks.len() as u32;
        let mut ns = stage.tokens.at(tokens)
            + stage.sampled.at(batch.sampled)
            + self.sequence_ns * f64::from(sequences);
        if let Some(group) = &stage.group {
            ns += group.at(group_tokens);
        }
        ns += if batch.chunks.is_empty() {
            self.decode_attention_ns(stage, batch.decodes, batch.decode_context_tokens)
        } else {
            self.chunks_attention_ns(stage, batch)
        };
        ns.max(stage.floor_ns)
    }
}

/// One chunk that computes as much attention as all: as many tokens, and the context with which pairs of queries and keys are as many
/// (none, where even that is more). Then its tokens and its context.
fn combined(chunks: &[Chunk]) -> (Chunk, f64, f64) {
    if let [one] = chunks {
        return (*one, f64::from(one.tokens), f64::from(one.context_tokens));
    }
    let (mut tokens, mut pairs) = (0.0, 0.0);
    for chunk in chunks {
        let own = f64::from(chunk.tokens);
        tokens += own;
        pairs += own * (f64::from(chunk.context_tokens) + 0.5 * own);
    }
    let before = libm::floor((pairs / tokens - 0.5 * tokens).max(0.0));
    (Chunk { tokens: tokens as u32, context_tokens: before as u32 }, tokens, before)
}

/// Tokens that are computed where graphs were captured for some numbers only, as vLLM has them by default: 1, 2, 4, every 8 up to 256,
/// every 16 up to 512.
/// At least one token.
fn padded(tokens: u32, compilation: Compilation) -> u32 {
    match tokens {
        _ if compilation == Compilation::Eager => tokens,
        0..=4 => tokens.next_power_of_two(),
        5..=256 => tokens.next_multiple_of(8),
        257..=512 => tokens.next_multiple_of(16),
        _ => tokens,
    }
}

impl StepLaw for AnalyticLaw {
    fn stages(&self) -> usize {
        self.stages.len()
    }

    fn stage_ns(&self, batch: &Batch<'_>, stage: usize) -> f64 {
        self.grouped_stage_ns(batch, stage, batch.tokens() * self.data)
    }

    fn grouped_stage_ns(&self, batch: &Batch<'_>, stage: usize, group_tokens: u32) -> f64 {
        let Some(stage) = self.stages.get(stage) else { return 0.0 };
        match *batch.chunks {
            [Chunk { tokens, context_tokens: 0 }]
                if (batch.decodes, batch.sampled) == (0, 1) && stage.group.is_none() =>
            {
                stage.alone.get_or(tokens, || self.reckoned_stage_ns(stage, batch, group_tokens))
            }
            _ => self.reckoned_stage_ns(stage, batch, group_tokens),
        }
    }

    #[inline]
    fn decode_ns(&self, decodes: u32, decode_context_tokens: u64) -> f64 {
        let Some(stage) = self.stages.first() else { return 0.0 };
        let around_ns = self.around_decodes_ns(stage, decodes);
        (around_ns + self.decode_attention_ns(stage, decodes, decode_context_tokens)).max(stage.floor_ns)
    }

    fn decode_line(&self, decodes: u32, decode_context_tokens: u64) -> Option<Line> {
        let stage = self.stages.first().filter(|stage| decodes > 0 && stage.measured.is_none())?;
        let (full, windowed) = stage.layers;
        // In how many iterations no more than so much is added, each adding as much.
        let within = |more: f64, each: f64| {
            if more < each * f64::from(u32::MAX) { (more / each) as u32 + 1 } else { u32::MAX }
        };
        let sequences = f64::from(decodes);
        let context = decode_context_tokens as i64 as f64;
        let (mut grown, mut count) = (full, u32::MAX);
        // As long as the windows of all are not full, layers that have one read more too.
        let left = self.window * sequences - context;
        if windowed > 0.0 && left > 0.0 {
            (grown, count) = (full + windowed, within(left, sequences));
        }
        let attention_ns = stage.decode_base.at(decodes)
            + self.context_ns * self.seen_tokens(stage, decodes, decode_context_tokens);
        let first_ns = self.around_decodes_ns(stage, decodes) + attention_ns;
        let growth_ns = self.context_ns * grown * sequences;
        if first_ns >= stage.floor_ns {
            return Some(Line { first_ns, growth_ns, count });
        }
        let below = within(stage.floor_ns - first_ns, growth_ns).min(count);
        Some(Line { first_ns: stage.floor_ns, growth_ns: 0.0, count: below })
    }
}
