//! Which of several replicas of a model server gets a request.
//!
//! A fleet keeps a [`Load`] of each replica, tells its [`Router`] by [`Router::changed`] whenever one has changed, and asks by
//! [`Router::route`] where a request goes. Routers that follow what replicas have in their caches ask them through [`Caches`].

mod affinity;
mod canary;
mod draws;
mod kv_aware;
mod least;
mod mooncake;
mod pool;
mod recent;
mod simple;
mod tournament;
mod weighted;

use core::fmt;

use crate::adapters::AdapterAt;

pub use affinity::SessionAffinity;
pub use canary::Canary;
pub use draws::{GOLDEN, mixed};
pub use kv_aware::{ActiveBlocks, KvAware, KvAwareOptions};
pub use least::{LeastOutstanding, QueuedTokens, ShortestQueueByTokens, Ties};
pub use mooncake::{MooncakeOptions, MooncakeRouter};
pub use pool::Pool;
pub use recent::Candidates;
pub use simple::{PowerOfTwo, Random, RoundRobin};
pub use tournament::Tournament;
pub use weighted::{ScorerWeights, Weighted};

/// What a router knows of a replica.
#[derive(Clone, Copy, PartialEq, Default, Debug)]
pub struct Load {
    /// Whether it takes requests: it is ready and does not drain.
    pub open: bool,
    /// Requests that wait.
    pub waiting: u32,
    /// Requests that run.
    pub running: u32,
    /// Tokens of prompts that are still to be computed.
    pub prefill_tokens: u64,
    /// Tokens that its requests hold or will hold once read in: prompts, and what was generated so far.
    pub tokens: u64,
    /// Blocks of keys and values in use.
    pub used_blocks: u32,
    /// All of its blocks.
    pub total_blocks: u32,
    /// What it serves, where a service has several kinds (a canary, the arms of a test); 0 for all where it has one.
    pub variant: u32,
}

impl Load {
    /// Requests that wait or run.
    pub const fn outstanding(&self) -> u32 {
        self.waiting.saturating_add(self.running)
    }
}

/// A request to be routed.
#[derive(Clone, Copy, Debug)]
pub struct Arrival<'a> {
    /// The caller's index.
    pub index: u32,
    /// When it arrives.
    pub now_ns: u64,
    /// Tokens of its prompt.
    pub prompt_tokens: u32,
    /// Tokens of answer that it asks for at most.
    pub limit_tokens: u32,
    /// A key for each block of tokens from its beginning: keys are equal where contents are, from the beginning on.
    pub block_keys: &'a [u64],
    /// Tokens of such a block.
    pub block_tokens: u32,
    /// The conversation or user that it belongs to; 0 if none is known.
    pub session: u64,
    /// The adapter that it needs, from 1; 0 where it needs none.
    pub adapter: u32,
    /// 64 random bits, drawn by whoever asks. All chance of a decision comes from them.
    pub random: u64,
}

/// What replicas have at hand.
pub trait Caches {
    /// Blocks of the request's beginning that a replica has, exactly.
    fn cached_blocks(&self, replica: usize, arrival: &Arrival<'_>) -> u32;

    /// How near the request's adapter is at a replica.
    fn adapter(&self, replica: usize, arrival: &Arrival<'_>) -> AdapterAt {
        let _ = (replica, arrival);
        AdapterAt::Absent
    }
}

/// Replicas that cache nothing.
#[derive(Clone, Copy, Default, Debug)]
pub struct NoCaches;

impl Caches for NoCaches {
    fn cached_blocks(&self, _replica: usize, _arrival: &Arrival<'_>) -> u32 {
        0
    }
}

/// What becomes of a request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Routed {
    /// A replica gets it.
    To {
        /// Which.
        replica: usize,
        /// Another replica, from which that one first copies so many blocks: those of the request's beginning that it lacks and the other has.
        from: Option<(usize, u32)>,
    },
    /// It is turned away.
    Rejected(Rejection),
    /// Nobody is open: it waits until somebody is.
    Unavailable,
}

impl Routed {
    /// A replica gets it as it is, or nobody is open.
    const fn plain(replica: Option<usize>) -> Self {
        match replica {
            Some(replica) => Self::To { replica, from: None },
            None => Self::Unavailable,
        }
    }
}

/// Why a request is turned away.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Rejection {
    /// Its first token would come too late.
    TimeToFirstToken,
    /// The tokens after it would come too slowly.
    TimeBetweenTokens,
}

/// Who decides where requests go.
pub trait Router {
    /// A replica's load has changed. To be called for each replica when it first opens, and after whatever changes its load: a request that was
    /// enqueued or completed, work done, opening and closing. Routers that keep an index know only what was said here.
    fn changed(&mut self, replica: usize, load: &Load) {
        let _ = (replica, load);
    }

    /// From now on variants get other parts of the requests, in their order. A router that knows of no variants does not heed it.
    fn set_weights(&mut self, weights: &[u32]) {
        let _ = weights;
    }

    /// Where a request goes. `loads` are those of all replicas, as they were last told by [`Self::changed`].
    fn route(&mut self, arrival: &Arrival<'_>, loads: &[Load], caches: &dyn Caches) -> Routed;
}

/// Why there is no such router.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum RouterError {
    /// A parameter must be finite and at least as much.
    Parameter {
        /// Which.
        name: &'static str,
        /// What it is.
        value: f64,
        /// What it must at least be.
        least: f64,
    },
    /// All weights are 0, or there are none.
    NoWeights,
    /// A variant has two weights.
    VariantTwice(u32),
}

impl fmt::Display for RouterError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Parameter { name, value, least } => {
                write!(formatter, "`{name}` is {value}, but must be finite and at least {least}")
            }
            Self::NoWeights => write!(formatter, "no weight is more than 0"),
            Self::VariantTwice(variant) => write!(formatter, "variant {variant} has two weights"),
        }
    }
}

impl core::error::Error for RouterError {}

/// That parameters are finite and no less than they may be.
fn check_parameters(parameters: &[(&'static str, f64, f64)]) -> Result<(), RouterError> {
    let wrong = parameters.iter().find(|(_, value, least)| !(value.is_finite() && value >= least));
    match wrong {
        Some(&(name, value, least)) => Err(RouterError::Parameter { name, value, least }),
        None => Ok(()),
    }
}

/// Tokens of a request's prompt that so many cached blocks spare.
fn saved_tokens(arrival: &Arrival<'_>, blocks: u32) -> u64 {
    (u64::from(blocks) * u64::from(arrival.block_tokens)).min(u64::from(arrival.prompt_tokens))
}
