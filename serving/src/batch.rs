//! What an iteration of an engine computes, and what that takes.

use std::sync::Arc;

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

    /// The same of iterations one after another in which the same sequences decode, from one with so much context on, where that follows a line. Must equal
    /// [`Self::decode_ns`] but for what floating point rounds. None where it follows none: then they are summed one by one.
    fn decode_line(&self, decodes: u32, decode_context_tokens: u64) -> Option<Line> {
        let _ = (decodes, decode_context_tokens);
        None
    }
}

/// What iterations take in which the same sequences decode: each grows by what a further token of context of each of them costs.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Line {
    /// The first.
    pub first_ns: f64,
    /// By how much each takes longer than the one before it; not negative.
    pub growth_ns: f64,
    /// For how many, the first among them, this holds; at least one.
    pub count: u32,
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

    fn decode_line(&self, decodes: u32, decode_context_tokens: u64) -> Option<Line> {
        (**self).decode_line(decodes, decode_context_tokens)
    }
}
