//! Whoever has the least to compute and to hold, given what it has cached.

use alloc::vec::Vec;

use super::draws::Draws;
use super::recent::CacheIndex;
use super::tournament::Tournament;
use super::{Arrival, Caches, Candidates, Load, Routed, Router, RouterError, check_parameters, saved_tokens};

/// What counts as blocks that a replica's requests hold.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum ActiveBlocks {
    /// Those for the tokens of all its requests, those that wait too ([`Load::tokens`]): Dynamo's router counts requests from when it sends them.
    #[default]
    Assigned,
    /// Those in use ([`Load::used_blocks`]).
    Used,
}

/// How [`KvAware`] decides.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct KvAwareOptions {
    /// What a block to be computed costs beside a block to be held: 1.
    pub overlap_weight: f64,
    /// How far it leaves the least cost: 0 takes the least, else costs are drawn from by a softmax. 0.
    pub temperature: f64,
    /// Tokens of a replica's blocks: 16.
    pub block_tokens: u32,
    /// What counts as blocks that are held.
    pub active_blocks: ActiveBlocks,
    /// Who is asked for what it has cached.
    pub candidates: Candidates,
}

impl Default for KvAwareOptions {
    fn default() -> Self {
        Self {
            overlap_weight: 1.0,
            temperature: 0.0,
            block_tokens: 16,
            active_blocks: ActiveBlocks::default(),
            candidates: Candidates::default(),
        }
    }
}

impl KvAwareOptions {
    /// What a request costs on a replica, in blocks: `overlap_weight` times those that must be computed, with those that wait there to be, plus
    /// those held there with it.
    pub fn cost_blocks(&self, load: &Load, arrival: &Arrival<'_>, cached_blocks: u32) -> f64 {
        let prompt_tokens = f64::from(arrival.prompt_tokens);
        let tokens = self.cost_tokens(load, saved_tokens(arrival, cached_blocks));
        (tokens + (self.overlap_weight + 1.0) * prompt_tokens) / f64::from(self.block_tokens)
    }

    /// The same in tokens, without what is the same on all replicas: the request's own prompt.
    fn cost_tokens(&self, load: &Load, saved_tokens: u64) -> f64 {
        let held_tokens = match self.active_blocks {
            ActiveBlocks::Assigned => load.tokens,
            ActiveBlocks::Used => u64::from(load.used_blocks) * u64::from(self.block_tokens),
        };
        let prefill_tokens = load.prefill_tokens as f64 - saved_tokens as f64;
        self.overlap_weight * prefill_tokens + held_tokens as f64
    }
}

/// NVIDIA Dynamo's KV router: the replica with the least [`KvAwareOptions::cost_blocks`], any of them if several have it.
///
/// Replicas that have nothing of a request differ by their load alone: the best of them is kept at hand. Only those that may have something are
/// asked.
#[derive(Clone, Debug)]
pub struct KvAware {
    options: KvAwareOptions,
    /// By cost of a request of which nothing is cached.
    tournament: Tournament,
    index: CacheIndex,
    /// Those that have something cached, with the least cost.
    best: Vec<usize>,
    /// Costs of all, where one is drawn by them.
    costs: Vec<(usize, f64)>,
}

impl KvAware {
    /// One that decides so.
    pub fn new(options: KvAwareOptions) -> Result<Self, RouterError> {
        check_parameters(&[
            ("overlap_weight", options.overlap_weight, 0.0),
            ("temperature", options.temperature, 0.0),
            ("block_tokens", f64::from(options.block_tokens), 1.0),
        ])?;
        let index = CacheIndex::new(options.candidates);
        Ok(Self { options, tournament: Tournament::default(), index, best: Vec::new(), costs: Vec::new() })
    }

    /// Of those with the least cost, in their order, one at random.
    fn cheapest(&mut self, arrival: &Arrival<'_>, loads: &[Load], caches: &dyn Caches) -> Option<usize> {
        let (least_without, count_without) = self.tournament.least()?;
        let mut draws = Draws::new(arrival.random);
        let mut least = least_without;
        self.best.clear();
        for &(replica, blocks) in self.index.find(arrival, loads, caches) {
            let cost = ordered(self.options.cost_tokens(&loads[replica], saved_tokens(arrival, blocks)));
            if cost < least {
                least = cost;
                self.best.clear();
            }
            // What is cached makes nothing dearer: whoever is in the tournament's best with this cost is counted there.
            if cost == least && (cost < least_without || self.tournament.key(replica) != Some(cost)) {
                self.best.push(replica);
            }
        }
        if least < least_without {
            let nth = draws.below(self.best.len() as u64) as usize;
            return self.best.get(nth).copied();
        }
        let mut nth = draws.below(self.best.len() as u64 + u64::from(count_without)) as u32;
        for (at, &replica) in self.best.iter().enumerate().rev() {
            let rank = self.tournament.before(replica) + at as u32;
            match nth.cmp(&rank) {
                core::cmp::Ordering::Equal => return Some(replica),
                core::cmp::Ordering::Greater => nth -= 1,
                core::cmp::Ordering::Less => {}
            }
        }
        self.tournament.nth(nth)
    }

    /// One drawn by the softmax of costs, which are divided by the distance from the least to the most.
    fn drawn(&mut self, arrival: &Arrival<'_>, loads: &[Load], caches: &dyn Caches) -> Option<usize> {
        self.costs.clear();
        let mut found = self.index.find(arrival, loads, caches).iter().peekable();
        for (replica, load) in loads.iter().enumerate().filter(|(_, load)| load.open) {
            let blocks = found.next_if(|&&(other, _)| other == replica).map_or(0, |&(_, blocks)| blocks);
            self.costs.push((replica, self.options.cost_tokens(load, saved_tokens(arrival, blocks))));
        }
        let costs = self.costs.iter().map(|&(_, cost)| cost);
        let (least, most) =
            (costs.clone().fold(f64::INFINITY, f64::min), costs.fold(f64::NEG_INFINITY, f64::max));
        let scale = if most > least { (most - least) * self.options.temperature } else { 1.0 };
        let mut sum = 0.0;
        for (_, cost) in &mut self.costs {
            *cost = libm::exp((least - *cost) / scale);
            sum += *cost;
        }
        let mut left = Draws::new(arrival.random).unit() * sum;
        let drawn = self.costs.iter().find(|(_, weight)| {
            left -= weight;
            left < 0.0
        });
        // Rounding may leave a little.
        drawn.or(self.costs.last()).map(|&(replica, _)| replica)
    }
}

impl Router for KvAware {
    fn changed(&mut self, replica: usize, load: &Load) {
        let cost = load.open.then(|| ordered(self.options.cost_tokens(load, 0)));
        self.tournament.set(replica, cost);
    }

    fn route(&mut self, arrival: &Arrival<'_>, loads: &[Load], caches: &dyn Caches) -> Routed {
        let replica = if self.options.temperature > 0.0 {
            self.drawn(arrival, loads, caches)
        } else {
            self.cheapest(arrival, loads, caches)
        };
        if let Some(replica) = replica {
            self.index.sent(arrival, replica);
        }
        Routed::plain(replica)
    }
}

/// An integer that is ordered as the number is.
const fn ordered(number: f64) -> u64 {
    let bits = number.to_bits();
    if bits >> 63 == 1 { !bits } else { bits | 1 << 63 }
}
