//! What a policy sees, and what it answers.

use alloc::vec;
use alloc::vec::Vec;

use crate::Solver;

/// A job, by its place in the order of arrival.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Hash)]
pub struct JobId(pub u32);

/// What is placed as one: a job alone, or two jobs that share the same GPUs.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Hash)]
pub struct Unit {
    /// The job, or the earlier of two.
    pub first: JobId,
    /// The later of two.
    pub second: Option<JobId>,
}

impl Unit {
    /// A job alone.
    pub fn single(job: JobId) -> Self {
        Self { first: job, second: None }
    }

    /// Two jobs, in either order.
    pub fn pair(one: JobId, other: JobId) -> Self {
        Self { first: one.min(other), second: Some(one.max(other)) }
    }

    /// Its one or two jobs.
    pub fn jobs(self) -> impl Iterator<Item = JobId> {
        [Some(self.first), self.second].into_iter().flatten()
    }
}

/// An active job.
#[derive(Clone, PartialEq, Debug)]
pub struct JobView {
    /// Which.
    pub id: JobId,
    /// Jobs of one class have the same throughputs, alone and in pairs, and the same number of GPUs.
    pub class: usize,
    /// Number of GPUs.
    pub scale_factor: u32,
    /// Share of the cluster that it is due relative to others'.
    pub weight: f64,
    /// Steps per second alone, per type of GPU; zero where it cannot run.
    pub throughputs: Vec<f64>,
    /// Steps left.
    pub steps_remaining: f64,
    /// Seconds since its arrival.
    pub elapsed_s: f64,
}

/// Measured throughputs of two jobs that share GPUs.
pub trait PairThroughputs {
    /// Steps per second of a job of either class when both share GPUs of this type; zeros where they do not fit.
    fn together(&self, one: usize, other: usize, gpu_type: usize) -> (f64, f64);
}

/// What a policy sees.
#[derive(Clone, Copy)]
pub struct View<'a> {
    /// Active jobs, in order of arrival.
    pub jobs: &'a [JobView],
    /// Number of GPUs per type.
    pub workers: &'a [u32],
    /// Throughputs of pairs.
    pub pairs: &'a dyn PairThroughputs,
}

/// The share of its time that a unit is to spend on each type of GPU.
#[derive(Clone, PartialEq, Debug)]
pub struct Share {
    /// The unit.
    pub unit: Unit,
    /// Between 0 and 1 per type.
    pub fractions: Vec<f64>,
}

/// What a policy answers: units without a share are due none.
pub type Allocation = Vec<Share>;

impl Share {
    /// A unit that spends all its time on one type.
    pub fn whole(unit: Unit, gpu_type: usize, types: usize) -> Self {
        let mut fractions = vec![0.0; types];
        fractions[gpu_type] = 1.0;
        Self { unit, fractions }
    }
}

/// Divides the time of the GPUs.
pub trait Policy {
    /// The shares of the active jobs. `draw(n)` is a random number below `n`.
    fn allocate(
        &mut self,
        view: &View<'_>,
        solver: &mut dyn Solver,
        draw: &mut dyn FnMut(usize) -> usize,
    ) -> Allocation;

    /// Whether types of GPU are offered in random order in each round, rather than in the order given. Gavel does so
    /// for policies that do not know throughputs.
    fn shuffles_types(&self) -> bool {
        false
    }

    /// Whether jobs without a share stay out even where GPUs are idle. Gavel does so under FIFO.
    fn keeps_idle(&self) -> bool {
        false
    }
}
