//! Routers by what a scenario says of them.

use foretell_serving::metrics::Objective;
use foretell_serving::policies::route::{
    Candidates, KvAware, KvAwareOptions, LeastOutstanding, MooncakeOptions, MooncakeRouter, PowerOfTwo,
    QueuedTokens, Random, RoundRobin, Router, RouterError, ScorerWeights, SessionAffinity,
    ShortestQueueByTokens, Ties, Weighted,
};

use super::Service;
use super::replica::Blueprint;
use crate::file::RouterFile;

/// What a router that looks ahead goes by.
#[derive(Clone, Copy, PartialEq, Default, Debug)]
pub(crate) struct Estimates {
    prefill_ns_per_token: f64,
    prefill_ns_per_pair: f64,
    decode_ns: f64,
    decode_ns_per_request: f64,
    decode_ns_per_token: f64,
    transfer_ns: f64,
    transfer_ns_per_block: f64,
    objective: Objective,
}

/// Sequences and tokens at which it is looked how long an iteration takes that generates.
const SEQUENCES: u32 = 32;
const CONTEXT_TOKENS: u32 = 2000;

impl Estimates {
    /// Of a service by what iterations take on GPUs of one kind: lines through iterations of a batch's tokens, without and with eight times as many
    /// before them, and of one sequence and 32, with 2,000 tokens and 4,000.
    pub(super) fn of(service: &Service, blueprint: &Blueprint, copied_bytes_per_s: f64) -> Self {
        let tokens = service.engine.max_batched_tokens;
        let count = f64::from(tokens);
        let first_ns = blueprint.chunk_ns(tokens, 0);
        let later_ns = blueprint.chunk_ns(tokens, 8 * tokens);
        let pair_ns = ((later_ns - first_ns) / (8.0 * count * count)).max(0.0);
        let one_ns = blueprint.decode_ns(1, CONTEXT_TOKENS);
        let some_ns = blueprint.decode_ns(SEQUENCES, CONTEXT_TOKENS);
        let longer_ns = blueprint.decode_ns(SEQUENCES, 2 * CONTEXT_TOKENS);
        let context = f64::from(CONTEXT_TOKENS);
        let token_ns = ((longer_ns - some_ns) / (f64::from(SEQUENCES) * context)).max(0.0);
        let others = f64::from(SEQUENCES - 1);
        let request_ns = ((some_ns - one_ns) / others - token_ns * context).max(0.0);
        let apart = service.disaggregation.as_ref();
        let transfer = apart.map_or_else(Default::default, |apart| apart.transfer);
        Self {
            prefill_ns_per_token: (first_ns / count - pair_ns * count / 2.0).max(0.0),
            prefill_ns_per_pair: pair_ns,
            decode_ns: (one_ns - request_ns - token_ns * context).max(0.0),
            decode_ns_per_request: request_ns,
            decode_ns_per_token: token_ns,
            transfer_ns: transfer.latency_us * 1e3,
            transfer_ns_per_block: service.block_bytes() / copied_bytes_per_s * 1e9,
            // Where prefill and decode are apart, whoever reads a prompt in does not know how fast its answer will come.
            objective: Objective {
                tpot_s: service.objective.tpot_s.filter(|_| apart.is_none()),
                ..service.objective
            },
        }
    }
}

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
            Self::Mooncake { .. } => "mooncake",
            Self::Weighted { .. } => "weighted",
        }
    }

    /// Whether it may have beginnings of prompts copied from one replica to another.
    pub(crate) const fn copies(&self) -> bool {
        matches!(self, Self::Mooncake { .. })
    }

    /// The router, for replicas with blocks of so many tokens, which take about so long.
    pub(crate) fn build(
        &self,
        block_tokens: u32,
        estimates: &Estimates,
    ) -> Result<Box<dyn Router + Send>, RouterError> {
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
            Self::Mooncake { balancing_threshold, early_rejection } => {
                let within = |limit_s: Option<f64>| {
                    limit_s.filter(|_| early_rejection).map(|limit_s| (limit_s * 1e9).round() as u64)
                };
                Box::new(MooncakeRouter::new(MooncakeOptions {
                    balancing_threshold,
                    transfer_ns: estimates.transfer_ns,
                    prefill_ns_per_pair: estimates.prefill_ns_per_pair,
                    decode_ns: estimates.decode_ns,
                    decode_ns_per_request: estimates.decode_ns_per_request,
                    decode_ns_per_token: estimates.decode_ns_per_token,
                    first_token_limit_ns: within(estimates.objective.ttft_s),
                    token_limit_ns: within(estimates.objective.tpot_s),
                    ..MooncakeOptions::new(estimates.prefill_ns_per_token, estimates.transfer_ns_per_block)
                })?)
            }
            Self::Weighted { queue, kv_utilisation, prefix, running, lora } => {
                let weights = ScorerWeights { queue, kv_utilisation, prefix, running, lora };
                Box::new(Weighted::new(weights, Candidates::default())?)
            }
        })
    }
}
