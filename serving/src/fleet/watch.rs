//! What autoscalers look at.

use crate::engine::{Iterations, Outcome};

/// Variants that replicas of a fleet may have.
pub const VARIANTS: usize = 2;

/// What a fleet did over a while.
#[derive(Clone, Copy, PartialEq, Default, Debug)]
pub struct Watched {
    /// How long.
    pub length_ns: u64,
    /// Requests in the fleet, over time.
    pub requests_ns: f64,
    /// Requests that arrived.
    pub arrivals: u64,
    /// Tokens of their prompts.
    pub prompt_tokens: u64,
    /// Tokens generated.
    pub output_tokens: u64,
    /// Time in which replicas computed, of each variant.
    pub busy_ns: [u64; VARIANTS],
    /// Requests answered, and the sum of their times to the first token.
    pub answered: u64,
    /// See there; seconds.
    pub ttft_s: f64,
    /// Those of them with more than one token, and the sum of their times per output token.
    pub answered_at_length: u64,
    /// See there; seconds.
    pub tpot_s: f64,
    changed_ns: u64,
    /// Requests in the fleet.
    requests: u32,
}

impl Watched {
    /// Requests in the fleet now.
    pub const fn requests(&self) -> u32 {
        self.requests
    }

    fn pass(&mut self, now_ns: u64) {
        let now_ns = now_ns.max(self.changed_ns);
        self.requests_ns += f64::from(self.requests) * (now_ns - self.changed_ns) as f64;
        self.changed_ns = now_ns;
    }

    pub(super) fn comes(&mut self, now_ns: u64) {
        self.pass(now_ns);
        self.requests += 1;
    }

    pub(super) fn leaves(&mut self, now_ns: u64) {
        self.pass(now_ns);
        self.requests = self.requests.saturating_sub(1);
    }

    pub(super) fn arrived(&mut self, prompt_tokens: u32) {
        self.arrivals += 1;
        self.prompt_tokens += u64::from(prompt_tokens);
    }

    pub(super) fn answered(&mut self, outcome: &Outcome) {
        self.answered += 1;
        self.ttft_s += outcome.ttft_s();
        if let Some(tpot_s) = outcome.tpot_s() {
            self.answered_at_length += 1;
            self.tpot_s += tpot_s;
        }
    }

    pub(super) fn computed(&mut self, iterations: &Iterations<'_>, variant: u32) {
        self.busy_ns[variant as usize % VARIANTS] += iterations.end_ns - iterations.since_ns;
        self.output_tokens += iterations.generated_tokens;
    }

    /// What was seen since an earlier time.
    pub(super) fn since(&mut self, before: &Self, now_ns: u64) -> Self {
        self.pass(now_ns);
        Self {
            length_ns: self.changed_ns - before.changed_ns,
            requests_ns: self.requests_ns - before.requests_ns,
            arrivals: self.arrivals - before.arrivals,
            prompt_tokens: self.prompt_tokens - before.prompt_tokens,
            output_tokens: self.output_tokens - before.output_tokens,
            busy_ns: std::array::from_fn(|variant| self.busy_ns[variant] - before.busy_ns[variant]),
            answered: self.answered - before.answered,
            ttft_s: self.ttft_s - before.ttft_s,
            answered_at_length: self.answered_at_length - before.answered_at_length,
            tpot_s: self.tpot_s - before.tpot_s,
            changed_ns: self.changed_ns,
            requests: self.requests,
        }
    }
}
