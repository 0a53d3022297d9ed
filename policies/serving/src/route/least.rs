//! Whoever has the least to do.

use super::draws::Draws;
use super::tournament::Tournament;
use super::{Arrival, Caches, Load, Routed, Router};

/// Who gets a request of several that have as little to do.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum Ties {
    /// The first of them, as Vidur does.
    #[default]
    Lowest,
    /// The first of them after the one that got the last request.
    InTurn,
    /// Any of them, all alike.
    Random,
}

/// Who has the least key.
#[derive(Clone, Default, Debug)]
struct Least {
    tournament: Tournament,
    ties: Ties,
    next: usize,
}

impl Least {
    fn route(&mut self, arrival: &Arrival<'_>) -> Routed {
        let Some((_, count)) = self.tournament.least() else { return Routed::Unavailable };
        let nth = match self.ties {
            Ties::Lowest => 0,
            Ties::InTurn => self.tournament.before(self.next) % count,
            Ties::Random => Draws::new(arrival.random).below(u64::from(count)) as u32,
        };
        let replica = self.tournament.nth(nth);
        self.next = replica.map_or(0, |replica| replica + 1);
        Routed::plain(replica)
    }
}

/// Whoever has the fewest requests that wait or run.
#[derive(Clone, Default, Debug)]
pub struct LeastOutstanding(Least);

impl LeastOutstanding {
    /// With ties broken so.
    pub fn new(ties: Ties) -> Self {
        Self(Least { ties, ..Least::default() })
    }
}

impl Router for LeastOutstanding {
    fn changed(&mut self, replica: usize, load: &Load) {
        self.0.tournament.set(replica, load.open.then_some(u64::from(load.outstanding())));
    }

    fn route(&mut self, arrival: &Arrival<'_>, _loads: &[Load], _caches: &dyn Caches) -> Routed {
        self.0.route(arrival)
    }
}

/// Which tokens make a queue long.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum QueuedTokens {
    /// All that requests hold or will hold ([`Load::tokens`]).
    #[default]
    All,
    /// Those of prompts that are still to be computed ([`Load::prefill_tokens`]).
    Prefill,
}

/// Whoever has the fewest tokens: join the shortest queue, as Splitwise (Patel et al., ISCA 2024) does in its pools.
#[derive(Clone, Default, Debug)]
pub struct ShortestQueueByTokens {
    least: Least,
    queued: QueuedTokens,
}

impl ShortestQueueByTokens {
    /// Which tokens count, and how ties are broken.
    pub fn new(queued: QueuedTokens, ties: Ties) -> Self {
        Self { least: Least { ties, ..Least::default() }, queued }
    }
}

impl Router for ShortestQueueByTokens {
    fn changed(&mut self, replica: usize, load: &Load) {
        let tokens = match self.queued {
            QueuedTokens::All => load.tokens,
            QueuedTokens::Prefill => load.prefill_tokens,
        };
        self.least.tournament.set(replica, load.open.then_some(tokens));
    }

    fn route(&mut self, arrival: &Arrival<'_>, _loads: &[Load], _caches: &dyn Caches) -> Routed {
        self.least.route(arrival)
    }
}
