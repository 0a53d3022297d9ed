//! Routers by what a scenario says of them.

use foretell_serving::policies::route::{
    Candidates, KvAware, KvAwareOptions, LeastOutstanding, PowerOfTwo, QueuedTokens, Random, RoundRobin,
    Router, RouterError, ScorerWeights, SessionAffinity, ShortestQueueByTokens, Ties, Weighted,
};

use crate::file::RouterFile;

impl RouterFile {
    /// As it is written.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::RoundRobin => "round-robin",
            Self::Random => "random",
            Self::LeastOutstanding => "least-outstanding",
            Self::ShortestQueue => "shortest-queue",
            Self::PowerOfTwo => "power-of-two",
            Self::SessionAffinity { .. } => "session-affinity",
            Self::KvAware { .. } => "kv-aware",
            Self::Weighted { .. } => "weighted",
        }
    }

    /// The router, for replicas with blocks of so many tokens.
    pub(crate) fn build(&self, block_tokens: u32) -> Result<Box<dyn Router + Send>, RouterError> {
        Ok(match *self {
            Self::RoundRobin => Box::new(RoundRobin::default()),
            Self::Random => Box::new(Random),
            Self::LeastOutstanding => Box::new(LeastOutstanding::new(Ties::InTurn)),
            Self::ShortestQueue => {
                Box::new(ShortestQueueByTokens::new(QueuedTokens::default(), Ties::InTurn))
            }
            Self::PowerOfTwo => Box::new(PowerOfTwo),
            Self::SessionAffinity { bound } => Box::new(SessionAffinity::new(bound)?),
            Self::KvAware { overlap_weight, temperature } => Box::new(KvAware::new(KvAwareOptions {
                overlap_weight,
                temperature,
                block_tokens,
                ..KvAwareOptions::default()
            })?),
            Self::Weighted { queue, kv_utilisation, prefix, running } => {
                let weights = ScorerWeights { queue, kv_utilisation, prefix, running };
                Box::new(Weighted::new(weights, Candidates::default())?)
            }
        })
    }
}
