//! The life of jobs: submitted, queued, bound, run, finished.

mod scheduler;
mod simulation;

use foretell_framework::{TaskSpec, Time};

pub use simulation::{Config, Counts, Retry, Simulation, SimulationError};

use crate::log::JobStatus;

/// A job as the workload brings it.
#[derive(Clone, PartialEq, Debug)]
pub struct Submission {
    /// The trace's own name of the job.
    pub id: Box<str>,
    /// Who submitted it; empty if the trace does not say.
    pub user: Box<str>,
    /// The queue (virtual cluster) that it waits in.
    pub queue: Box<str>,
    /// When.
    pub submit: Time,
    /// How long it runs once all its pods have started; `None` runs for ever.
    pub duration: Option<Time>,
    /// Number of pods, all of which it needs.
    pub tasks: u32,
    /// What each pod asks for.
    pub spec: TaskSpec,
    /// Larger goes first.
    pub priority: i32,
    /// How the trace says that it ended: completed, failed or cancelled.
    pub end: JobStatus,
}

impl Submission {
    /// GPU request of the whole job, in thousandths of a GPU.
    pub const fn gpu_milli_total(&self) -> u64 {
        self.tasks as u64 * self.spec.gpus.total_milli()
    }
}
