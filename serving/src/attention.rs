//! What attention takes in its three regimes.
//!
//! - *Decode*: every sequence reads its keys and values once, split over the multiprocessors. `o + c (sequences x kv heads / SMs) + bytes /
//!   (bw eb)`: linear in the context, so that iterations without change can be summed.
//! - *Prefill* and *mixed*, one call for chunks and for sequences that decode. A block of 128 query rows walks along all keys of its sequence alone;
//!   that a sequence which decodes fills one row of 128, for every query head by itself, makes it far dearer than in a pure decode batch (measured: 1.66
//!   times for 128 sequences of 1,024 tokens on an RTX PRO 6000). With `W` the work of all blocks spread evenly (operations of whole tiles, bytes,
//!   and a cost for each block) and `w` the walk of the longest sequence: `(W^p + w^p)^(1/p) + o`.

use crate::batch::{Batch, Chunk};
use crate::calibration::{Calibration, CalibrationError, Constants, Family};
use crate::link::norm;
use crate::model::{Attention, Model};
use crate::options::{AttentionKernels, Options};

/// Query rows of a tile.
const TILE: u32 = 128;

/// Size of a head for which shares of the peak are stated.
const HEAD_SIZE: f64 = 128.0;

/// The softmax of a score takes as long as this much more of a head: fitted on heads of 64 and of 128 on an H100, where those of 64 reach 0.66 of
/// the operations a second (without it the law is off 16 % there, with it 12 %).
const SOFTMAX_SIZE: f64 = 139.0;

/// What attention of a layer does on one GPU, for each token of query and of context.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Shape {
    /// Operations of a query token with a key, in a chunk; those of the softmax count as operations of tensor cores that take as long.
    pub flops_chunk: f64,
    /// The same of a token that decodes (more where the latent is used as it is).
    pub flops_decode: f64,
    /// Bytes of keys and values of a token.
    pub cached_bytes: f64,
    /// Bytes of a query token, in and out.
    pub query_bytes: f64,
    /// Query heads.
    pub heads: f64,
    /// Heads of keys and values.
    pub kv_heads: f64,
    /// Whether the latent is kept, so that decoding may be bound by operations.
    pub latent: bool,
}

impl Shape {
    /// Of so many heads on a GPU.
    pub fn grouped(heads: f64, kv_heads: f64, head_size: f64, cache_number_bytes: f64) -> Self {
        Self {
            flops_chunk: 4.0 * heads * HEAD_SIZE * (head_size + SOFTMAX_SIZE) / (HEAD_SIZE + SOFTMAX_SIZE),
            flops_decode: 4.0 * heads * head_size,
            cached_bytes: 2.0 * kv_heads * head_size * cache_number_bytes,
            query_bytes: 4.0 * heads * head_size,
            heads,
            kv_heads,
            latent: false,
        }
    }

    /// Of a model under tensor parallelism.
    pub fn new(model: &Model, tensor: u32, cache_number_bytes: f64) -> Self {
        let heads = f64::from(model.heads.div_ceil(tensor));
        let cached_bytes = model.cached_numbers_per_gpu(tensor) * cache_number_bytes;
        match model.attention {
            Attention::Grouped { kv_heads, head_size } => Self::grouped(
                heads,
                f64::from((kv_heads / tensor).max(1)),
                f64::from(head_size),
                cache_number_bytes,
            ),
            Attention::Latent { kv_rank, plain_size, rotated_size, value_size, .. } => Self {
                flops_chunk: 2.0 * heads * f64::from(plain_size + rotated_size + value_size),
                flops_decode: 2.0 * heads * f64::from(2 * kv_rank + rotated_size),
                cached_bytes,
                query_bytes: 2.0 * heads * f64::from(plain_size + rotated_size + value_size),
                heads,
                kv_heads: 1.0,
                latent: true,
            },
        }
    }
}

/// What a call with chunks does.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct ChunkWork {
    /// Operations of whole tiles, of the chunks.
    pub flops: f64,
    /// Pairs of a query and a key, of the chunks, later keys included.
    pub pairs: f64,
    /// Bytes, of what decodes too.
    pub bytes: f64,
    /// Tokens of the longest sequence.
    pub longest: f64,
}

impl ChunkWork {
    /// Of chunks together with sequences that decode and have `context` tokens in memory altogether, none attending beyond `window`.
    pub fn new(shape: &Shape, chunks: &[Chunk], decodes: u32, context: f64, window: f64) -> Self {
        // Each query head of a sequence that decodes is a block by itself and reads the keys that it shares with others again.
        let reads = shape.cached_bytes * shape.heads / shape.kv_heads;
        let mut work = Self { flops: 0.0, pairs: 0.0, bytes: context * reads, longest: 0.0 };
        if decodes > 0 {
            work.longest = context / f64::from(decodes);
        }
        for chunk in chunks {
            let (tokens, before) = (f64::from(chunk.tokens), f64::from(chunk.context_tokens));
            let rows = f64::from(chunk.tokens.next_multiple_of(TILE));
            let keys = (before + 0.5 * tokens).min(window);
            let within = before.min(window);
            work.flops += shape.flops_chunk * rows * (keys + 0.5 * f64::from(TILE));
            work.pairs += tokens * (before + tokens).min(window);
            work.bytes += (tokens + within) * shape.cached_bytes + tokens * shape.query_bytes;
            work.longest = work.longest.max(tokens + within);
        }
        work
    }
}

/// The law of a layer's attention on a GPU.
#[derive(Clone, PartialEq, Debug)]
pub struct AttentionLaw {
    shape: Shape,
    decode: Constants,
    prefill: Constants,
    mixed: Constants,
    peak_flops: f64,
    bytes_per_s: f64,
    multiprocessors: f64,
    kernels: AttentionKernels,
    /// Seconds for each token of context that sequences which decode have together.
    decode_token_s: f64,
}

impl AttentionLaw {
    /// Takes the constants from a calibration.
    pub fn new(calibration: &Calibration, shape: Shape, options: &Options) -> Result<Self, CalibrationError> {
        let device = &calibration.device;
        // Engines call a kernel of its own for sequences that decode from the latent.
        let kernels = match options.attention {
            AttentionKernels::OneCall if shape.latent => AttentionKernels::TwoCalls,
            other => other,
        };
        let of = |family| calibration.of(family).cloned();
        let (decode, prefill) = (of(Family::AttentionDecode)?, of(Family::AttentionPrefill)?);
        let moved = shape.cached_bytes / (device.memory_bytes_per_s * decode.bandwidth_share);
        let computed = shape.flops_decode / (device.flops_16bit * prefill.flops_share);
        let mut decode_token_s = if shape.latent { moved.max(computed) } else { moved };
        if kernels == AttentionKernels::Unfused {
            // Scores and their softmax, written and read in turn.
            decode_token_s += score_bytes(shape.heads) / device.memory_bytes_per_s;
        }
        Ok(Self {
            shape,
            decode,
            prefill,
            mixed: of(Family::AttentionMixed)?,
            peak_flops: device.flops_16bit,
            bytes_per_s: device.memory_bytes_per_s,
            multiprocessors: f64::from(device.multiprocessors),
            kernels,
            decode_token_s,
        })
    }

    /// Seconds of a batch, of which no sequence attends beyond `window` tokens.
    pub fn seconds(&self, batch: &Batch<'_>, window: f64) -> f64 {
        if batch.chunks.is_empty() {
            let context = (batch.decode_context_tokens as f64).min(window * f64::from(batch.decodes));
            return self.decode_base_s(batch.decodes) + self.decode_token_s * context;
        }
        self.chunks_s(batch.chunks, batch.decodes, batch.decode_context_tokens as f64, window)
    }

    /// Seconds of an iteration in which so many sequences decode, without what their context adds.
    pub fn decode_base_s(&self, decodes: u32) -> f64 {
        if decodes == 0 {
            return 0.0;
        }
        let calls = if self.kernels == AttentionKernels::Unfused { 3.0 } else { 1.0 };
        let blocks = f64::from(decodes) * self.shape.kv_heads / self.multiprocessors;
        (calls * self.decode.overhead_us + self.decode.block_us * blocks) * 1e-6
    }

    /// Seconds that a token of context adds to it.
    pub const fn decode_token_s(&self) -> f64 {
        self.decode_token_s
    }

    /// Seconds of a call with chunks.
    pub fn chunks_s(&self, chunks: &[Chunk], decodes: u32, context: f64, window: f64) -> f64 {
        if self.kernels == AttentionKernels::TwoCalls && decodes > 0 {
            let decode =
                self.decode_base_s(decodes) + self.decode_token_s * context.min(window * f64::from(decodes));
            return decode + self.chunks_s(chunks, 0, 0.0, window);
        }
        let constants = if decodes == 0 { &self.prefill } else { &self.mixed };
        let decoding = f64::from(decodes);
        let context = context.min(window * decoding);
        let ChunkWork { flops, pairs, bytes, longest } =
            ChunkWork::new(&self.shape, chunks, decodes, context, window);
        if self.kernels == AttentionKernels::Unfused {
            // No tiles: operations as they are, at what prefill reaches, and scores in memory.
            let scores = (pairs + context) * score_bytes(self.shape.heads);
            let flops = self.shape.flops_chunk * (pairs + context);
            return flops / (self.peak_flops * self.prefill.flops_share)
                + (bytes + scores) / self.bytes_per_s
                + 3e-6 * self.decode.overhead_us;
        }
        let blocks = decoding * self.shape.heads / self.multiprocessors;
        let work = flops / (self.peak_flops * constants.flops_share)
            + bytes / (self.bytes_per_s * constants.bandwidth_share)
            + constants.block_us * 1e-6 * blocks;
        norm(work, longest * constants.walk_ns * 1e-9, constants.power) + constants.overhead_us * 1e-6
    }
}

/// Bytes moved for a score of every head where scores are kept in memory: written and read before the softmax and after it.
fn score_bytes(heads: f64) -> f64 {
    heads * 4.0 * 2.0
}
