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

mod fifo;
mod mechanism;
mod program;
mod view;

pub use fifo::{Fifo, FifoMode};
pub use mechanism::{Mechanism, Placement};
pub use program::{LinearProgram, Relation, Row, Solver};
pub use view::{Allocation, JobId, JobView, PairThroughputs, Policy, Share, Unit, View};
