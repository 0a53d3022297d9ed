//! Scores between 0 and 1, weighted and summed.

use alloc::vec::Vec;

use crate::adapters::AdapterAt;

use super::draws::Draws;
use super::recent::CacheIndex;
use super::{Arrival, Caches, Candidates, Load, Routed, Router, RouterError, check_parameters};

/// What scores weigh.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct ScorerWeights {
    /// Few requests that wait: how far from the most to the fewest of all that are open; 1 where all have as many. 2.
    pub queue: f64,
    /// Part of the blocks that is not in use. 0.
    pub kv_utilisation: f64,
    /// Part of the request's blocks that is cached. 3.
    pub prefix: f64,
    /// Few requests that run, as for those that wait. 0.
    pub running: f64,
    /// The request's adapter: 1 where it is on the GPUs, 0.8 where there is room for it, 0.6 where others wait for it, else 0, as the `lora-affinity` scorer of the
    /// Gateway API inference extension has it (from memory; there, 1 is for adapters of requests that run). For requests without an adapter all have 0. 0.
    pub lora: f64,
}

impl Default for ScorerWeights {
    /// Those that Red Hat's distribution of llm-d sets.
    fn default() -> Self {
        Self { queue: 2.0, kv_utilisation: 0.0, prefix: 3.0, running: 0.0, lora: 0.0 }
    }
}

impl ScorerWeights {
    /// Those of BLIS's example for llm-d with exact prefixes: 2 for the prefix, 1 for the queue, 1 for the utilisation.
    pub const BLIS: Self = Self { queue: 1.0, kv_utilisation: 1.0, prefix: 2.0, running: 0.0, lora: 0.0 };
}

/// llm-d's endpoint picker: the open replica with the greatest weighted sum of scores, any of them if several have it. It looks at all replicas.
#[derive(Clone, Debug)]
pub struct Weighted {
    weights: ScorerWeights,
    index: CacheIndex,
    /// Who has the greatest score.
    best: Vec<usize>,
}

impl Weighted {
    /// One with these weights, which asks those for what they have cached.
    pub fn new(weights: ScorerWeights, candidates: Candidates) -> Result<Self, RouterError> {
        check_parameters(&[
            ("queue", weights.queue, 0.0),
            ("kv_utilisation", weights.kv_utilisation, 0.0),
            ("prefix", weights.prefix, 0.0),
            ("running", weights.running, 0.0),
            ("lora", weights.lora, 0.0),
        ])?;
        Ok(Self { weights, index: CacheIndex::new(candidates), best: Vec::new() })
    }
}

impl Router for Weighted {
    fn route(&mut self, arrival: &Arrival<'_>, loads: &[Load], caches: &dyn Caches) -> Routed {
        let open = || loads.iter().filter(|load| load.open);
        let waiting = Range::of(open().map(|load| load.waiting));
        let running = Range::of(open().map(|load| load.running));
        let mut found: &[(usize, u32)] = &[];
        if self.weights.prefix > 0.0 {
            found = self.index.find(arrival, loads, caches);
        }
        let heeds_adapter = self.weights.lora > 0.0 && arrival.adapter > 0;
        let mut found = found.iter().peekable();
        let mut greatest = f64::NEG_INFINITY;
        self.best.clear();
        for (replica, load) in loads.iter().enumerate().filter(|(_, load)| load.open) {
            let hit_blocks = found.next_if(|&&(other, _)| other == replica).map_or(0, |&(_, blocks)| blocks);
            let score = self.weights.queue * waiting.score(load.waiting)
                + self.weights.kv_utilisation * (1.0 - part(load.used_blocks, load.total_blocks))
                + self.weights.prefix * part(hit_blocks, arrival.block_keys.len() as u32)
                + self.weights.running * running.score(load.running)
                + if heeds_adapter {
                    self.weights.lora * near(caches.adapter(replica, arrival))
                } else {
                    0.0
                };
            if score > greatest {
                greatest = score;
                self.best.clear();
            }
            if score >= greatest {
                self.best.push(replica);
            }
        }
        let nth = Draws::new(arrival.random).below(self.best.len() as u64) as usize;
        let replica = self.best.get(nth).copied();
        if let Some(replica) = replica {
            self.index.sent(arrival, replica);
        }
        Routed::plain(replica)
    }
}

/// The score of a replica for an adapter.
const fn near(adapter: AdapterAt) -> f64 {
    match adapter {
        AdapterAt::Loaded => 1.0,
        AdapterAt::Room => 0.8,
        AdapterAt::Waiting => 0.6,
        AdapterAt::Absent => 0.0,
    }
}

fn part(part: u32, whole: u32) -> f64 {
    if whole == 0 { 0.0 } else { f64::from(part.min(whole)) / f64::from(whole) }
}

/// The fewest and the most.
#[derive(Clone, Copy, Debug)]
struct Range {
    least: u32,
    most: u32,
}

impl Range {
    fn of(counts: impl Iterator<Item = u32>) -> Self {
        counts.fold(Self { least: u32::MAX, most: 0 }, |range, count| Self {
            least: range.least.min(count),
            most: range.most.max(count),
        })
    }

    /// 1 for the fewest, 0 for the most.
    fn score(self, count: u32) -> f64 {
        if self.most > self.least { part(self.most - count, self.most - self.least) } else { 1.0 }
    }
}
