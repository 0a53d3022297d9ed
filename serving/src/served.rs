//! What became of a service: for reports.

use crate::adapters::AdapterTotals;
use crate::engine::Outcome;
use crate::fleet::{Refused, Tries};
use crate::metrics::{Objective, Recorder, Spread, Summary};
use crate::outcomes::Outcomes;

/// What a replica does of requests.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// All.
    #[default]
    Whole,
    /// It reads prompts in.
    Prefill,
    /// It generates answers.
    Decode,
    /// All, as the new version of the service.
    Canary,
}

impl Role {
    /// As it is written; nothing of one that does all.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Whole => "",
            Self::Prefill => "prefill",
            Self::Decode => "decode",
            Self::Canary => "canary",
        }
    }
}

/// What was handed from replicas that read prompts in to those that generate answers.
#[derive(Clone, Copy, PartialEq, Debug, serde::Serialize)]
pub struct HandOvers {
    /// Requests.
    pub requests: u64,
    /// Bytes of keys and values that were moved.
    pub bytes: f64,
    /// From when a prompt was read in until there was room for the answer, seconds, on average.
    pub room_s: f64,
    /// From then until keys and values were there, seconds, on average.
    pub transfer_s: f64,
}

/// Beginnings of prompts that were copied from one replica's cache to another's.
#[derive(Clone, Copy, PartialEq, Debug, serde::Serialize)]
pub struct Copies {
    /// How many.
    pub requests: u64,
    /// Bytes of keys and values.
    pub bytes: f64,
    /// Seconds until they were there, on average.
    pub transfer_s: f64,
}

/// Adapters that were asked for, or models of which each replica has several.
#[derive(Clone, PartialEq, Debug)]
pub struct AdaptersServed {
    /// What they did to replicas.
    pub totals: AdapterTotals,
    /// Whether they are models.
    pub are_models: bool,
    /// Their names, by number less one.
    pub names: Vec<String>,
    /// The adapter of each request, from 1; 0 for none.
    pub of_requests: Vec<u32>,
}

impl AdaptersServed {
    /// The adapter of a request; 0 for none.
    pub fn of(&self, request: u32) -> u32 {
        self.of_requests.get(request as usize).copied().unwrap_or(0)
    }

    /// The name of an adapter; nothing where there is none.
    pub fn name(&self, adapter: u32) -> &str {
        let name = (adapter as usize).checked_sub(1).and_then(|place| self.names.get(place));
        name.map_or("", String::as_str)
    }
}

/// A job of requests with a deadline.
#[derive(Clone, PartialEq, Default, Debug, serde::Serialize)]
pub struct BatchServed {
    /// Its name.
    pub name: String,
    /// When it was submitted, seconds from the beginning.
    pub submit_s: f64,
    /// When it had to be done, likewise.
    pub deadline_s: f64,
    /// Its requests.
    pub requests: u64,
    /// Those that were answered.
    pub answered: u64,
    /// Those that got nothing.
    pub refused: u64,
    /// When the last answer was there, likewise.
    pub last_s: f64,
    /// Tokens of prompts that were answered.
    pub prompt_tokens: u64,
    /// Tokens of the answers.
    pub output_tokens: u64,
}

impl BatchServed {
    /// One of its requests was answered.
    pub fn answered(&mut self, outcome: &Outcome) {
        self.answered += 1;
        self.last_s = self.last_s.max(outcome.last_token_ns as f64 / 1e9);
        self.prompt_tokens += u64::from(outcome.prompt_tokens);
        self.output_tokens += u64::from(outcome.output_tokens);
    }

    /// Whether all of it was answered in time.
    pub fn is_met(&self) -> bool {
        self.answered == self.requests && self.last_s <= self.deadline_s
    }
}

/// What became of requests with an adapter.
#[derive(Clone, Copy, PartialEq, Default, Debug)]
pub struct AdapterServed {
    /// Its number, from 1; 0 for requests without one.
    pub adapter: u32,
    /// Requests that arrived.
    pub requests: u64,
    /// Those that were answered.
    pub done: u64,
    /// Those that kept all that is promised.
    pub kept: u64,
    /// Seconds to the first token.
    pub ttft_s: Spread,
    /// Seconds to the last token.
    pub e2e_s: Spread,
}

/// A replica that served.
#[derive(Clone, PartialEq, Debug)]
pub struct ServedBy {
    /// Its number, from 0.
    pub replica: u32,
    /// Seconds from the beginning until its pods ran.
    pub placed_s: f64,
    /// Seconds from the beginning until it served.
    pub ready_s: f64,
    /// Seconds from the beginning until it went: it was scaled in, evicted, or failed. None if it stayed.
    pub until_s: Option<f64>,
    /// The model of its GPUs.
    pub gpu: String,
    /// How many of them.
    pub gpus: u32,
    /// Dollars for an hour of one of them, where they are known.
    pub price_per_gpu_hour: Option<f64>,
    /// Blocks of keys and values.
    pub blocks: u64,
    /// Tokens of a block.
    pub block_tokens: u32,
    /// What it does.
    pub role: Role,
    /// Requests that it answered; of one that reads prompts in, those that it handed over as well.
    pub requests: u64,
    /// Seconds in which it computed.
    pub busy_s: f64,
    /// Joules of its GPUs, from when it was placed until it went or the last token was there. None where it is not known what they draw.
    pub energy_j: Option<f64>,
}

/// A new version of a service got another part of the requests.
#[derive(Clone, PartialEq, Debug, serde::Serialize)]
pub struct RolloutEvent {
    /// When, seconds from the beginning.
    pub at_s: f64,
    /// Per cent of the requests that it gets since.
    pub percent: u32,
    /// Why.
    pub reason: String,
}

/// A service was given more or fewer replicas.
#[derive(Clone, PartialEq, Debug)]
pub struct ScalingEvent {
    /// When, seconds from the beginning.
    pub at_s: f64,
    /// What those do that came or went.
    pub role: Role,
    /// Replicas asked for before.
    pub from: u32,
    /// Replicas asked for since.
    pub to: u32,
    /// Why.
    pub reason: String,
}

/// What became of a service.
#[derive(Clone, Debug)]
pub struct Served {
    /// Its name.
    pub service: String,
    /// Its model.
    pub model: String,
    /// Its batcher.
    pub batcher: String,
    /// Its router.
    pub router: String,
    /// What was promised.
    pub objective: Objective,
    /// What it came to.
    pub summary: Summary,
    /// What became of clients' tries.
    pub tries: Tries,
    /// All that was recorded, replicas together, but for outcomes.
    pub recorder: Recorder,
    /// Requests that are done, with the place of their replica in [`Self::replicas`], in the order of requests.
    pub outcomes: Outcomes,
    /// Requests that got nothing, in their order.
    pub refused: Vec<Refused>,
    /// Replicas that served.
    pub replicas: Vec<ServedBy>,
    /// What was handed over, where prompts are read in by some replicas and answers generated by others.
    pub handed_over: Option<HandOvers>,
    /// What was copied, where the router has things copied.
    pub copied: Option<Copies>,
    /// Adapters, where requests ask for them.
    pub adapters: Option<AdaptersServed>,
    /// Jobs of requests with a deadline.
    pub batches: Vec<BatchServed>,
    /// The job of each request, from 1; 0 for none. Nothing where there are no jobs.
    pub job_of: Vec<u32>,
    /// What its autoscaler decided.
    pub scaling: Vec<ScalingEvent>,
    /// Parts of the requests that a new version got.
    pub rollout: Vec<RolloutEvent>,
    /// Share of the GPUs' peak of operations that the model's own took, over the whole time.
    pub mfu: f64,
    /// Share of their memory bandwidth that weights, keys and values took, over the whole time.
    pub bandwidth_use: f64,
}

impl Served {
    /// Whether a request is of a job: nobody waits for it, and what is promised is not promised to it.
    pub fn is_of_job(&self, request: u32) -> bool {
        self.job_of.get(request as usize).is_some_and(|&job| job > 0)
    }

    /// What became of requests by adapter, from 0, which is none; nothing where there are no adapters.
    pub fn by_adapter(&self) -> Vec<AdapterServed> {
        let Some(adapters) = &self.adapters else { return Vec::new() };
        let empty = |adapter| AdapterServed { adapter, ..AdapterServed::default() };
        let mut all: Vec<AdapterServed> = (0..=adapters.names.len() as u32).map(empty).collect();
        for &adapter in &adapters.of_requests {
            if let Some(of) = all.get_mut(adapter as usize) {
                of.requests += 1;
            }
        }
        let mut times = vec![(Vec::new(), Vec::new()); all.len()];
        for (_, outcome) in self.outcomes.iter() {
            let place = adapters.of(outcome.request) as usize;
            if let (Some(of), Some((ttft_s, e2e_s))) = (all.get_mut(place), times.get_mut(place)) {
                of.done += 1;
                of.kept += u64::from(outcome.meets(&self.objective));
                ttft_s.push(outcome.ttft_s());
                e2e_s.push(outcome.e2e_s());
            }
        }
        for (of, (ttft_s, e2e_s)) in all.iter_mut().zip(times) {
            (of.ttft_s, of.e2e_s) = (Spread::of(ttft_s), Spread::of(e2e_s));
        }
        all
    }
}
