//! What an iteration of an engine computes, and what that takes.

use std::sync::Arc;

use crate::engine::Decoding;

/// Tokens of one sequence that an iteration reads in (prefill), all of it or a chunk.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Chunk {
    /// Tokens computed now, at least one.
    pub tokens: u32,
    /// Tokens of the sequence whose keys and values are in memory already; the chunk attends to them.
    pub context_tokens: u32,
}

/// What one iteration computes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Batch<'a> {
    /// Sequences that decode.
    pub decodes: u32,
    /// Tokens that each of them computes: one, or with speculative decoding those that were drafted too. Their context is read once for all.
    pub decode_tokens: u32,
    /// Tokens whose keys and values the decoding sequences have in memory, all together, before this iteration.
    pub decode_context_tokens: u64,
    /// Sequences that read tokens in.
    pub chunks: &'a [Chunk],
    /// Tokens whose successors are sampled: those of sequences that decode, and the last of those whose last chunk this is.
    pub sampled: u32,
}

impl Default for Batch<'_> {
    fn default() -> Self {
        Self { decodes: 0, decode_tokens: 1, decode_context_tokens: 0, chunks: &[], sampled: 0 }
    }
}

impl Batch<'_> {
    /// Tokens computed.
    pub fn tokens(&self) -> u32 {
        self.decoded_tokens() + self.chunk_tokens()
    }

    /// Tokens computed by those that decode.
    pub const fn decoded_tokens(&self) -> u32 {
        self.decodes * self.decode_tokens
    }

    /// Tokens read in.
    pub fn chunk_tokens(&self) -> u32 {
        self.chunks.iter().map(|chunk| chunk.tokens).sum()
    }
}

/// What iterations take on the GPUs of one replica.
pub trait StepLaw {
    /// How many stages an iteration passes, one after another (pipeline parallelism).
    fn stages(&self) -> usize {
        1
    }

    /// Nanoseconds of a batch in one stage, what is sent to the next stage included.
    fn stage_ns(&self, batch: &Batch<'_>, stage: usize) -> f64;

    /// The same where replicas share their experts (data-parallel attention): `group_tokens` are computed by all of them at once, this batch
    /// included. They go in step: an iteration of the group takes the longest of its batches. A law without shared experts ignores it.
    fn grouped_stage_ns(&self, batch: &Batch<'_>, stage: usize, group_tokens: u32) -> f64 {
        let _ = group_tokens;
        self.stage_ns(batch, stage)
    }

    /// Nanoseconds of an iteration in which `decodes` sequences decode and nothing is read in, in the only stage. Iterations by the thousand are
    /// reckoned by it: an implementation should keep at hand what depends on `decodes` alone. Must equal [`Self::stage_ns`] to the bit.
    fn decode_ns(&self, decodes: u32, decode_context_tokens: u64) -> f64 {
        self.stage_ns(&Batch { decodes, decode_context_tokens, sampled: decodes, ..Batch::default() }, 0)
    }

    /// When the iterations of a row end in which the same sequences decode, until `most` have or one ends after `until_ns`: for each the time since the
    /// sequences changed, not rounded.
    fn decode_row(&self, from: Decoding, most: u32, until_ns: f64, elapsed_ns: &mut Vec<f64>) {
        sum_steps(from, most, until_ns, elapsed_ns, |context_tokens| {
            self.decode_ns(from.sequences, context_tokens)
        });
    }
}

/// Iterations that are reckoned at once.
const AT_ONCE: u32 = 64;

/// [`StepLaw::decode_row`] where `step_ns` says what an iteration takes with so much context.
#[inline]
pub(crate) fn sum_steps(
    from: Decoding,
    most: u32,
    until_ns: f64,
    elapsed_ns: &mut Vec<f64>,
    step_ns: impl Fn(u64) -> f64,
) {
    let Decoding { sequences, mut context_tokens, elapsed_ns: mut elapsed } = from;
    let mut left = most;
    while left > 0 {
        let count = left.min(AT_ONCE);
        left -= count;
        let known = elapsed_ns.len();
        elapsed_ns.extend((0..count).map(|_| {
            elapsed += step_ns(context_tokens);
            context_tokens += u64::from(sequences);
            elapsed
        }));
        if elapsed > until_ns {
            let before = elapsed_ns[known..].partition_point(|&end| end <= until_ns);
            elapsed_ns.truncate(known + before + 1);
            return;
        }
    }
}

/// Replicas of one kind share what their iterations take.
impl<L: StepLaw + ?Sized> StepLaw for Arc<L> {
    fn stages(&self) -> usize {
        (**self).stages()
    }

    fn stage_ns(&self, batch: &Batch<'_>, stage: usize) -> f64 {
        (**self).stage_ns(batch, stage)
    }

    fn grouped_stage_ns(&self, batch: &Batch<'_>, stage: usize, group_tokens: u32) -> f64 {
        (**self).grouped_stage_ns(batch, stage, group_tokens)
    }

    fn decode_ns(&self, decodes: u32, decode_context_tokens: u64) -> f64 {
        (**self).decode_ns(decodes, decode_context_tokens)
    }

    fn decode_row(&self, from: Decoding, most: u32, until_ns: f64, elapsed_ns: &mut Vec<f64>) {
        (**self).decode_row(from, most, until_ns, elapsed_ns);
    }
}
