//! The suites behind `foretell validate`: each runs the simulator against published or measured results.
//!
//! A suite runs whatever cases it finds in a folder and returns a [`Report`]; it never prints.

mod archive;
pub mod conformance;
mod error;
mod fit;
pub mod gavel;
pub mod helios;
pub mod nccl;
pub mod openb;
mod queueing;
mod report;
mod rows;
pub mod serving_papers;
pub mod sia;
pub mod throughput;
pub mod tiresias;
pub mod training;
pub mod vidur;
pub mod vllm;

pub use error::{DataError, Error};
pub use report::{Cell, Report, Row};

/// Told how far a suite has come; from several threads.
pub struct Progress<'a> {
    /// Called once, with the number of steps.
    pub begin: &'a (dyn Fn(usize) + Sync),
    /// Called after each step.
    pub step: &'a (dyn Fn() + Sync),
}

impl Progress<'_> {
    fn begin(&self, steps: usize) {
        (self.begin)(steps);
    }

    fn step(&self) {
        (self.step)();
    }
}
