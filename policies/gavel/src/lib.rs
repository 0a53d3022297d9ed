//! Gavel (OSDI'20): scheduling of training jobs over GPUs of several types.
//!
//! A policy decides which share of the time a job, or a pair of jobs that share GPUs, spends on each type of GPU
//! ([`Policy`] to [`Allocation`]). The [`Mechanism`] then runs rounds such that the time received follows the shares.
//!
//! ```text
//!   jobs, workers, throughputs ──► View ──► Policy ──► Allocation ──► Mechanism ──► who runs where in this round
//!                                             │                           ▲
//!                                       LinearProgram ──► Solver          └── how long each ran
//! ```
//!
//! Policies state a [`LinearProgram`] and are handed the [`Solver`]: solvers need std, policies do not.
#![no_std]

extern crate alloc;
#[cfg(test)]
extern crate std;

mod fairness;
mod fifo;
mod finish_time;
mod gandiva;
mod makespan;
mod mechanism;
mod program;
mod shares;
mod throughput;
mod view;

pub use fairness::{MaxMinFairness, MaxMinFairnessPerf};
pub use fifo::{Fifo, FifoMode};
pub use finish_time::FinishTimeFairnessPerf;
pub use gandiva::Gandiva;
pub use makespan::MinTotalDuration;
pub use mechanism::{Mechanism, Placement};
pub use program::{LinearProgram, Relation, Row, Solver};
pub use throughput::{Isolated, MaxSumThroughput};
pub use view::{Allocation, JobId, JobView, PairThroughputs, Policy, Share, Unit, View};
