//! What it costs a job to start again.

use alloc::vec::Vec;

use crate::time::Time;

/// How long a stopped job computes nothing when it starts again, by its size: loading the checkpoint, setting up the
/// processes.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct RestartCost {
    /// Of jobs to which no step applies.
    pub base: Time,
    /// Of jobs of more than so many GPUs; the last step that applies counts.
    pub above_gpus: Vec<(u32, Time)>,
}

impl RestartCost {
    /// The same for every job.
    pub const fn of_every_job(cost: Time) -> Self {
        Self { base: cost, above_gpus: Vec::new() }
    }

    /// Of a job that asks for so many thousandths of GPUs.
    pub fn of(&self, gpu_milli: u64) -> Time {
        let applies = |&&(gpus, _): &&(u32, Time)| gpu_milli > u64::from(gpus) * 1000;
        self.above_gpus.iter().rfind(applies).map_or(self.base, |&(_, cost)| cost)
    }
}
