//! The run log: what happened, who listens, and the figures computed from it.

mod communication;
mod faults;
mod fragmentation;
mod metrics;
mod record;
mod results;
mod summary;
mod timeline;

pub use communication::{Communication, CommunicationSummary};
pub use faults::{FailureResult, FaultResult, FaultSummary, KindSummary};
pub use fragmentation::FragmentationIndex;
pub use metrics::Metrics;
pub use record::{EvictionOutcome, Observer, Pace, Record};
pub use results::{
    Distribution, EvictionResult, Fairness, GroupSummary, JobCounts, JobResult, JobStatus, RunResult,
    RunSummary, TimelineRow,
};
pub use timeline::Sampling;
