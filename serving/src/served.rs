//! What became of a service: for reports.

use crate::engine::Outcome;
use crate::fleet::{Refusal, Tries};
use crate::metrics::{Objective, Recorder, Summary};

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
    /// Blocks of keys and values.
    pub blocks: u64,
    /// Tokens of a block.
    pub block_tokens: u32,
    /// Requests that it answered.
    pub requests: u64,
    /// Seconds in which it computed.
    pub busy_s: f64,
}

/// A service was given more or fewer replicas.
#[derive(Clone, PartialEq, Debug)]
pub struct ScalingEvent {
    /// When, seconds from the beginning.
    pub at_s: f64,
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
    /// All that was recorded, replicas together.
    pub recorder: Recorder,
    /// Requests that are done, with the place of their replica in [`Self::replicas`], in the order of requests.
    pub outcomes: Vec<(u32, Outcome)>,
    /// Requests that got nothing, and why.
    pub refused: Vec<(u32, Refusal)>,
    /// Replicas that served.
    pub replicas: Vec<ServedBy>,
    /// What its autoscaler decided.
    pub scaling: Vec<ScalingEvent>,
    /// Share of the GPUs' peak of operations that the model's own took, over the whole time.
    pub mfu: f64,
    /// Share of their memory bandwidth that weights, keys and values took, over the whole time.
    pub bandwidth_use: f64,
}
