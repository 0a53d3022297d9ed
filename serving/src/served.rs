//! What became of a service: for reports.

use crate::engine::{Outcome, Rejection};
use crate::metrics::{Objective, Recorder, Summary};

/// A replica that served.
#[derive(Clone, PartialEq, Debug)]
pub struct ServedBy {
    /// Its number, from 0.
    pub replica: u32,
    /// Seconds from the beginning until it served.
    pub ready_s: f64,
    /// The model of its GPUs.
    pub gpu: String,
    /// How many of them.
    pub gpus: u32,
    /// Blocks of keys and values.
    pub blocks: u64,
    /// Tokens of a block.
    pub block_tokens: u32,
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
    /// What was promised.
    pub objective: Objective,
    /// What it came to.
    pub summary: Summary,
    /// All that was recorded, replicas together.
    pub recorder: Recorder,
    /// Requests that are done, with the place of their replica in [`Self::replicas`], in the order of requests.
    pub outcomes: Vec<(u32, Outcome)>,
    /// Requests that got nothing, and why.
    pub rejected: Vec<(u32, Rejection)>,
    /// Replicas that served.
    pub replicas: Vec<ServedBy>,
    /// Share of the GPUs' peak of operations that the model's own took, over the whole time.
    pub mfu: f64,
    /// Share of their memory bandwidth that weights, keys and values took, over the whole time.
    pub bandwidth_use: f64,
}
