//! What fleets leave.

use foretell_serving_policies::route::Rejection as RouterRejection;

use super::HandedOver;
use crate::adapters::AdapterTotals;
use crate::engine::Rejection;
use crate::latencies::Latencies;
use crate::outcomes::Outcomes;

/// Why a request got nothing of a fleet.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Refusal {
    /// No replica could ever serve it.
    #[error(transparent)]
    Replica(#[from] Rejection),
    /// Too many waited before it.
    #[error("the queue before the replicas was full")]
    QueueFull,
    /// The router foresaw that it would be served too late.
    #[error("turned away early: its first token would have come too late")]
    FirstTokenTooLate,
    /// The router foresaw that its tokens would come too slowly.
    #[error("turned away early: its tokens would have come too slowly")]
    TokensTooSlow,
    /// Its client gave up.
    #[error("its client gave up waiting")]
    TimedOut,
    /// Its replica was lost.
    #[error("its replica was lost")]
    ReplicaLost,
    /// The fleet had no replica until the end.
    #[error("no replica was there to serve it")]
    NoReplica,
}

impl From<RouterRejection> for Refusal {
    fn from(why: RouterRejection) -> Self {
        match why {
            RouterRejection::TimeToFirstToken => Self::FirstTokenTooLate,
            RouterRejection::TimeBetweenTokens => Self::TokensTooSlow,
        }
    }
}

/// A request that got nothing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Refused {
    /// Its index.
    pub request: u32,
    /// When it arrived, at its first try.
    pub arrival_ns: u64,
    /// Why.
    pub why: Refusal,
}

/// What became of clients' tries.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, serde::Serialize)]
pub struct Tries {
    /// Requests that arrived.
    pub arrived: u64,
    /// Requests that were answered.
    pub answered: u64,
    /// Requests that got nothing in the end.
    pub refused: u64,
    /// Further tries.
    pub retried: u64,
    /// Tries that clients gave up.
    pub given_up: u64,
    /// Tries that their replica stopped computing when they were given up.
    pub cancelled: u64,
    /// Answers that nobody waited for any more.
    pub wasted: u64,
    /// Tries that were lost with their replica.
    pub lost: u64,
}

/// What is kept of a fleet that was told to.
#[derive(Clone, Default, Debug)]
pub struct Recorded {
    /// What became of requests, by the replicas that answered them.
    pub outcomes: Outcomes,
    /// Times from one token of a request to the next.
    pub inter_token: Latencies,
}

/// What a fleet leaves.
#[derive(Clone, Debug)]
pub struct Parts<A, O> {
    /// Whom each replica told what it did, in the order in which they were added.
    pub observers: Vec<O>,
    /// What was kept of all together; nothing unless that was wanted ([`super::Fleet::recording`]).
    pub recorded: Recorded,
    /// How many prompts each read in and handed over.
    pub read_in: Vec<u64>,
    /// Tokens of prompts that were looked for in caches, and those that were found.
    pub prefix_tokens: (u64, u64),
    /// What adapters did to replicas.
    pub adapters: AdapterTotals,
    /// Where requests came from.
    pub arrivals: A,
    /// Requests that got nothing.
    pub refused: Vec<Refused>,
    /// What became of clients' tries.
    pub tries: Tries,
    /// What was handed from one replica to another.
    pub handed_over: HandedOver,
}
