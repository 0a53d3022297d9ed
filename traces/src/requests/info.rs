//! What a trace of requests is like, in one pass.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use crate::error::TraceError;
use crate::info::{Gaps, Moments};
use crate::requests::record::{RequestRecord, SECOND_NS};

/// Statistics of requests. Memory grows with the number of sessions, models, blocks and different lengths.
#[derive(Debug, Clone, PartialEq)]
pub struct RequestInfo {
    /// Number of requests.
    pub requests: u64,
    /// First arrival in nanoseconds; 0 without requests.
    pub first_arrival_ns: u64,
    /// Last arrival in nanoseconds; 0 without requests.
    pub last_arrival_ns: u64,
    /// Lengths of prompts; `None` without requests.
    pub prompt: Option<TokenCounts>,
    /// Lengths of answers; `None` without requests.
    pub output: Option<TokenCounts>,
    /// Times between arrivals; `None` for fewer than two requests.
    pub gaps: Option<Gaps>,
    /// Number of sessions; requests without one are not counted.
    pub sessions: u64,
    /// Requests by model, most first; the only one is `""`.
    pub models: Vec<(Box<str>, u64)>,
    /// Prefixes that prompts share; `None` where no request says.
    pub blocks: Option<BlockInfo>,
}

/// Lengths in tokens, all exact. A quantile `q` is the least length that a share `q` of the requests do not exceed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TokenCounts {
    /// Sum over all requests.
    pub total: u64,
    /// Mean.
    pub mean: f64,
    /// Median.
    pub p50: u32,
    /// 90th percentile.
    pub p90: u32,
    /// 99th percentile.
    pub p99: u32,
    /// Longest.
    pub max: u32,
}

/// What a prefix cache without limit would find.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct BlockInfo {
    /// Blocks of all prompts.
    pub blocks: u64,
    /// Of those, the ones in an earlier prompt or known answer of the same model, as are all before them in their prompt.
    pub hits: u64,
}

impl BlockInfo {
    /// Hits over blocks; 0 without blocks.
    pub fn hit_rate(&self) -> f64 {
        if self.blocks == 0 { 0.0 } else { self.hits as f64 / self.blocks as f64 }
    }
}

/// How often each length was seen.
#[derive(Default)]
struct Histogram {
    counts: BTreeMap<u32, u64>,
}

impl Histogram {
    fn add(&mut self, tokens: u32) {
        *self.counts.entry(tokens).or_default() += 1;
    }

    fn counts(&self) -> Option<TokenCounts> {
        let (&max, _) = self.counts.last_key_value()?;
        let requests: u64 = self.counts.values().sum();
        let total = self.counts.iter().map(|(&tokens, &count)| u64::from(tokens) * count).sum();
        let quantile = |percent: u64| {
            let rank = (requests * percent).div_ceil(100);
            let mut below = 0;
            let reached = self.counts.iter().find(|&(_, &count)| {
                below += count;
                below >= rank
            });
            reached.map_or(max, |(&tokens, _)| tokens)
        };
        let (p50, p90, p99) = (quantile(50), quantile(90), quantile(99));
        Some(TokenCounts { total, mean: total as f64 / requests as f64, p50, p90, p99, max })
    }
}

impl RequestInfo {
    /// Takes the statistics of requests in order of arrival; the first error ends it.
    pub fn of(requests: impl Iterator<Item = Result<RequestRecord, TraceError>>) -> Result<Self, TraceError> {
        let (mut prompts, mut outputs) = (Histogram::default(), Histogram::default());
        let mut gaps = Moments::default();
        let mut sessions = BTreeSet::new();
        let mut models: BTreeMap<Box<str>, u64> = BTreeMap::new();
        let mut caches = Caches::default();
        let (mut count, mut first_arrival_ns, mut last_arrival_ns) = (0, 0, 0);
        for request in requests {
            let request = request?;
            if count == 0 {
                first_arrival_ns = request.arrival_ns;
            } else {
                gaps.add((request.arrival_ns - last_arrival_ns) as f64 / SECOND_NS as f64);
            }
            count += 1;
            last_arrival_ns = request.arrival_ns;
            prompts.add(request.prompt_tokens);
            outputs.add(request.output_tokens);
            sessions.extend(request.session);
            caches.add(&request);
            *models.entry(request.model).or_default() += 1;
        }
        let mut models: Vec<_> = models.into_iter().collect();
        // Ties in the order of names.
        models.sort_by_key(|&(_, requests)| std::cmp::Reverse(requests));
        Ok(Self {
            requests: count,
            first_arrival_ns,
            last_arrival_ns,
            prompt: prompts.counts(),
            output: outputs.counts(),
            gaps: gaps.gaps(),
            sessions: sessions.len() as u64,
            models,
            blocks: (!caches.seen.is_empty()).then_some(caches.info),
        })
    }

    /// From the first arrival to the last, in seconds.
    pub fn span_s(&self) -> f64 {
        (self.last_arrival_ns - self.first_arrival_ns) as f64 / SECOND_NS as f64
    }

    /// Requests per second: one less than there are over the span. `None` if the span is 0.
    pub fn rate_per_s(&self) -> Option<f64> {
        self.gaps.filter(|gaps| gaps.mean_s > 0.0).map(|gaps| gaps.mean_s.recip())
    }
}

/// All blocks so far, by model and size of block: only those alike can be shared.
#[derive(Default)]
struct Caches {
    seen: BTreeMap<(Box<str>, u32), HashSet<u64>>,
    info: BlockInfo,
}

impl Caches {
    fn add(&mut self, request: &RequestRecord) {
        if request.block_tokens == 0 {
            return;
        }
        let seen = self.seen.entry((request.model.clone(), request.block_tokens)).or_default();
        let blocks = &request.prompt_blocks;
        self.info.blocks += blocks.len() as u64;
        self.info.hits += blocks.iter().take_while(|block| seen.contains(block)).count() as u64;
        seen.extend(blocks);
        seen.extend(&request.output_blocks);
    }
}
