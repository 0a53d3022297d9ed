//! Policies that say how many tasks each job runs on, or on which type of GPU, and change it as jobs come and go.
//!
//! [`Elastic`] keeps track of jobs, asks a [`Divide`] how many tasks each is to have, lets go of those that are too many and
//! places those that are missing. GPUs are counted, not placed: what a job is due and finds no nodes for is kept for it.
#![no_std]

extern crate alloc;
#[cfg(test)]
extern crate std;

mod action;
mod divide;
mod elastic_flow;
mod goodput;
mod optimus;
mod place;
mod rounds;
mod tracked;

pub use action::{Cadence, Elastic, ResizeCosts};
pub use divide::{Divide, ElasticJob, NodesOfType, give_minima};
pub use elastic_flow::{ElasticFlow, LateJobs};
pub use goodput::ByGoodput;
pub use optimus::Optimus;
pub use place::Placing;
pub use rounds::{ByRounds, GavelObjective};
