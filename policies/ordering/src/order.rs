use foretell_framework::state::JobSpec;
use foretell_framework::{OrderJobs, Time};

/// Higher priority first.
pub struct PriorityFirst;

impl OrderJobs for PriorityFirst {
    fn name(&self) -> &'static str {
        "PriorityFirst"
    }

    fn key(&self, job: &JobSpec) -> u64 {
        (i64::from(i32::MAX) - i64::from(job.priority)).cast_unsigned()
    }
}

/// Earlier submission first.
pub struct FirstInFirstOut;

impl OrderJobs for FirstInFirstOut {
    fn name(&self) -> &'static str {
        "FirstInFirstOut"
    }

    fn key(&self, job: &JobSpec) -> u64 {
        job.submitted.as_nanos()
    }
}

/// Shorter expected duration first; jobs of unknown duration last.
pub struct ShortestJobFirst;

impl OrderJobs for ShortestJobFirst {
    fn name(&self) -> &'static str {
        "ShortestJobFirst"
    }

    fn key(&self, job: &JobSpec) -> u64 {
        job.expected_duration.unwrap_or(Time::MAX).as_nanos()
    }
}
