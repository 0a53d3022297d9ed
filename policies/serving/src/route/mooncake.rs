//! Whoever gives the first token first, copying what others have cached where that is much.

use super::recent::CacheIndex;
use super::tournament::Tournament;
use super::{
    Arrival, Caches, Candidates, Load, Rejection, Routed, Router, RouterError, check_parameters, saved_tokens,
};

/// How [`MooncakeRouter`] estimates and decides.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct MooncakeOptions {
    /// How many times what a replica has cached another must have, for it to copy the rest from there instead of computing it. 2.
    pub balancing_threshold: f64,
    /// What copying takes, however little. 0.
    pub transfer_ns: f64,
    /// What copying a block takes beside.
    pub transfer_ns_per_block: f64,
    /// What computing a token of a prompt takes.
    pub prefill_ns_per_token: f64,
    /// What a token takes for each that it attends to, on average: a prompt of n tokens, k of them cached, has (n² - k²) / 2 such pairs. 0.
    pub prefill_ns_per_pair: f64,
    /// What an iteration takes that gives each request that runs its next token. 0.
    pub decode_ns: f64,
    /// What it takes for each such request beside. 0.
    pub decode_ns_per_request: f64,
    /// What it takes for each token that they hold beside. 0.
    pub decode_ns_per_token: f64,
    /// When the first token must be there. No limit.
    pub first_token_limit_ns: Option<u64>,
    /// How long each further token may take. No limit.
    pub token_limit_ns: Option<u64>,
    /// Who is asked for what it has cached.
    pub candidates: Candidates,
}

impl MooncakeOptions {
    /// The others as they are set where nothing is said.
    pub fn new(prefill_ns_per_token: f64, transfer_ns_per_block: f64) -> Self {
        Self {
            balancing_threshold: 2.0,
            transfer_ns: 0.0,
            transfer_ns_per_block,
            prefill_ns_per_token,
            prefill_ns_per_pair: 0.0,
            decode_ns: 0.0,
            decode_ns_per_request: 0.0,
            decode_ns_per_token: 0.0,
            first_token_limit_ns: None,
            token_limit_ns: None,
            candidates: Candidates::default(),
        }
    }

    /// Until a prompt is read in of which so many tokens are there.
    fn prefill_ns(&self, arrival: &Arrival<'_>, cached_tokens: u64) -> f64 {
        let (prompt_tokens, cached_tokens) = (f64::from(arrival.prompt_tokens), cached_tokens as f64);
        let pairs = (prompt_tokens * prompt_tokens - cached_tokens * cached_tokens) / 2.0;
        self.prefill_ns_per_token * (prompt_tokens - cached_tokens) + self.prefill_ns_per_pair * pairs
    }

    /// Until its first token, on a replica that has `own` blocks of it, while another has `most`.
    fn choice(&self, arrival: &Arrival<'_>, replica: usize, load: &Load, own: u32, most: u32) -> Choice {
        let queue_ns = self.prefill_ns_per_token * load.prefill_tokens as f64;
        let copies = f64::from(most) > self.balancing_threshold * f64::from(own);
        let copied_blocks = if copies { most - own } else { 0 };
        let transfer_ns = self.transfer_ns + self.transfer_ns_per_block * f64::from(copied_blocks);
        let prefill_ns = self.prefill_ns(arrival, saved_tokens(arrival, own + copied_blocks));
        let first_token_ns = if copies { transfer_ns } else { 0.0 } + queue_ns + prefill_ns;
        Choice { first_token_ns, prefill_tokens: load.prefill_tokens, replica, copied_blocks }
    }

    /// Between tokens, once a replica's requests and this one have been read in.
    fn token_ns(&self, arrival: &Arrival<'_>, load: &Load) -> f64 {
        self.decode_ns
            + self.decode_ns_per_request * (f64::from(load.outstanding()) + 1.0)
            + self.decode_ns_per_token * (load.tokens as f64 + f64::from(arrival.prompt_tokens))
    }
}

/// What comes of sending a request to a replica.
#[derive(Clone, Copy, Debug)]
struct Choice {
    first_token_ns: f64,
    prefill_tokens: u64,
    replica: usize,
    copied_blocks: u32,
}

impl Choice {
    /// Sooner; of as soon with fewer tokens before it; of these the first.
    fn is_better_than(&self, other: &Self) -> bool {
        self.first_token_ns
            .total_cmp(&other.first_token_ns)
            .then(self.prefill_tokens.cmp(&other.prefill_tokens))
            .then(self.replica.cmp(&other.replica))
            .is_lt()
    }
}

/// Mooncake's choice of who reads a prompt in (Qin et al., FAST 2025, Algorithm 1): each replica's time to the first token is estimated from
/// what waits there, what it has cached, and what copying takes from whoever has most cached, which is done where that is more than a threshold
/// times its own. The soonest gets the request; it is turned away if that is too late, or if its tokens would come too slowly there.
#[derive(Clone, Debug)]
pub struct MooncakeRouter {
    options: MooncakeOptions,
    /// By tokens that are still to be computed.
    tournament: Tournament,
    index: CacheIndex,
}

impl MooncakeRouter {
    /// One that decides so.
    pub fn new(options: MooncakeOptions) -> Result<Self, RouterError> {
        check_parameters(&[
            ("balancing_threshold", options.balancing_threshold, 1.0),
            ("transfer_ns", options.transfer_ns, 0.0),
            ("transfer_ns_per_block", options.transfer_ns_per_block, 0.0),
            ("prefill_ns_per_token", options.prefill_ns_per_token, 0.0),
            ("prefill_ns_per_pair", options.prefill_ns_per_pair, 0.0),
            ("decode_ns", options.decode_ns, 0.0),
            ("decode_ns_per_request", options.decode_ns_per_request, 0.0),
            ("decode_ns_per_token", options.decode_ns_per_token, 0.0),
        ])?;
        Ok(Self { options, tournament: Tournament::default(), index: CacheIndex::new(options.candidates) })
    }
}

impl Router for MooncakeRouter {
    fn changed(&mut self, replica: usize, load: &Load) {
        self.tournament.set(replica, load.open.then_some(load.prefill_tokens));
    }

    fn route(&mut self, arrival: &Arrival<'_>, loads: &[Load], caches: &dyn Caches) -> Routed {
        let options = self.options;
        let found = self.index.find(arrival, loads, caches);
        let mut source = None;
        for &(replica, blocks) in found {
            if source.is_none_or(|(_, most)| blocks > most) {
                source = Some((replica, blocks));
            }
        }
        let most = source.map_or(0, |(_, most)| most);
        // Of those who have nothing cached the one with the least to do is the soonest.
        for &(replica, _) in found {
            self.tournament.set(replica, None);
        }
        let other = self.tournament.nth(0);
        for &(replica, _) in found {
            self.tournament.set(replica, Some(loads[replica].prefill_tokens));
        }
        let choices = found.iter().copied().chain(other.map(|replica| (replica, 0)));
        let choices =
            choices.map(|(replica, own)| options.choice(arrival, replica, &loads[replica], own, most));
        let best = choices.reduce(|best, next| if next.is_better_than(&best) { next } else { best });
        let Some(best) = best else { return Routed::Unavailable };
        if options.first_token_limit_ns.is_some_and(|limit_ns| best.first_token_ns > limit_ns as f64) {
            return Routed::Rejected(Rejection::TimeToFirstToken);
        }
        let token_ns = options.token_ns(arrival, &loads[best.replica]);
        if options.token_limit_ns.is_some_and(|limit_ns| token_ns > limit_ns as f64) {
            return Routed::Rejected(Rejection::TimeBetweenTokens);
        }
        self.index.sent(arrival, best.replica);
        // Whoever was forgotten may have something nevertheless: it copies no more than it lacks.
        let from = source.filter(|_| best.copied_blocks > 0).and_then(|(source, most)| {
            let lacks_blocks = most.saturating_sub(caches.cached_blocks(best.replica, arrival));
            (lacks_blocks > 0).then_some((source, lacks_blocks))
        });
        Routed::To { replica: best.replica, from }
    }
}
