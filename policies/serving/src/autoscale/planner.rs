//! A planner that knows what replicas can do within latencies.

use alloc::vec;
use alloc::vec::Vec;

use super::forecast::{Predictor, Series};
use super::window::Laps;
use super::{Autoscaler, Bounds, Decision, Observed, Reason, ceiling, nanoseconds, rate};

/// What the replicas of a service do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Both prompts and output: its shares of both add up.
    Aggregated,
    /// Prompts only.
    Prefill,
    /// Output only.
    Decode,
}

/// Parameters of [`SlaPlanner`].
#[derive(Clone, Debug, PartialEq)]
pub struct Planner {
    /// Fewest and most replicas: 1 and no limit.
    pub bounds: Bounds,
    /// Time between ticks: 180.
    pub adjustment_interval_s: f64,
    /// What the replicas do: both.
    pub role: Role,
    /// Tokens of prompts per second that a replica takes at the objective for the time to first token: 10000, to be measured.
    pub prefill_tokens_per_s: f64,
    /// Times per output token in seconds, rising, and the tokens per second that a replica generates at them: one point, 0.05 and 1000, to be measured.
    pub decode_profile: Vec<(f64, f64)>,
    /// Objective for the time per output token: 0.05.
    pub tpot_objective_s: f64,
    /// Time to first token that the profile promises: 0.5.
    pub expected_ttft_s: f64,
    /// Time per output token that it promises: 0.05.
    pub expected_tpot_s: f64,
    /// Whether what is seen of latencies corrects the plan: yes.
    pub corrections: bool,
    /// How load is predicted: it stays as it is.
    pub predictor: Predictor,
}

impl Default for Planner {
    fn default() -> Self {
        Self {
            bounds: Bounds { min_replicas: 1, max_replicas: u32::MAX },
            adjustment_interval_s: 180.0,
            role: Role::Aggregated,
            prefill_tokens_per_s: 10_000.0,
            decode_profile: vec![(0.05, 1000.0)],
            tpot_objective_s: 0.05,
            expected_ttft_s: 0.5,
            expected_tpot_s: 0.05,
            corrections: true,
            predictor: Predictor::Constant,
        }
    }
}

/// Dynamo's planner in its throughput mode: predicted tokens per second over what a replica was measured to take within the objectives.
#[derive(Clone, Debug)]
pub struct SlaPlanner {
    parameters: Planner,
    laps: Laps,
    prompt: Series,
    output: Series,
    /// Time to first token over what was expected; the latest known.
    prefill_correction: f64,
    decode_correction: f64,
}

impl SlaPlanner {
    /// For a new service.
    pub fn new(parameters: Planner) -> Self {
        Self {
            laps: Laps::new(nanoseconds(parameters.adjustment_interval_s)),
            prompt: Series::new(parameters.predictor.clone()),
            output: Series::new(parameters.predictor.clone()),
            prefill_correction: 1.0,
            decode_correction: 1.0,
            parameters,
        }
    }

    /// Tokens per second that a replica generates at the most within a time per output token: between the points of the profile on a line, and
    /// beyond its ends as at the ends.
    fn decode_tokens_per_s(&self, tpot_s: f64) -> f64 {
        let profile = &self.parameters.decode_profile;
        let next = profile.iter().position(|point| point.0 > tpot_s).unwrap_or(profile.len());
        match (next.checked_sub(1).and_then(|before| profile.get(before)), profile.get(next)) {
            (Some(&(from_s, from)), Some(&(to_s, to))) => {
                from + (to - from) * (tpot_s - from_s) / (to_s - from_s)
            }
            (Some(&(_, tokens_per_s)), None) | (None, Some(&(_, tokens_per_s))) => tokens_per_s,
            (None, None) => 0.0,
        }
    }
}

impl Autoscaler for SlaPlanner {
    fn period_ns(&self) -> u64 {
        nanoseconds(self.parameters.adjustment_interval_s)
    }

    fn decide(&mut self, observed: &Observed) -> Decision {
        let elapsed_ns = self.laps.lap_ns(observed.now_ns);
        let prompt_tokens_per_s = self.prompt.next(rate(observed.prompt_tokens, elapsed_ns));
        let output_tokens_per_s = self.output.next(rate(observed.output_tokens, elapsed_ns));
        let parameters = &self.parameters;
        if parameters.corrections {
            if let Some(ttft_s) = observed.ttft_s {
                self.prefill_correction = ttft_s / parameters.expected_ttft_s;
            }
            if let Some(tpot_s) = observed.tpot_s {
                self.decode_correction = tpot_s / parameters.expected_tpot_s;
            }
        }

        // Long waits do not make a prompt cost more: only a prefix cache, which shortens them, corrects the need for prefill.
        let prefill =
            share(prompt_tokens_per_s * self.prefill_correction.min(1.0), parameters.prefill_tokens_per_s);
        let within_s = parameters.tpot_objective_s / self.decode_correction;
        let decode = share(output_tokens_per_s, self.decode_tokens_per_s(within_s));
        let replicas = match parameters.role {
            Role::Aggregated => prefill + decode,
            Role::Prefill => prefill,
            Role::Decode => decode,
        };
        let reason = Reason::Planned { prompt_tokens_per_s, output_tokens_per_s };
        parameters.bounds.apply(ceiling(replicas), reason)
    }
}

/// How many replicas a load takes: none without load, whatever they can do.
fn share(load: f64, capacity: f64) -> f64 {
    if load > 0.0 { load / capacity } else { 0.0 }
}
