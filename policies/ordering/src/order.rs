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

/// Higher priority plus age first: every so much waiting counts as one point of priority.
///
/// All jobs age alike, so who goes first of two never changes, and the key can be of the submission alone: of the
/// instant at which the job would have to be submitted to stand where it stands with no priority.
pub struct Aging {
    /// Waiting that is worth one point.
    pub per_point: Time,
}

impl Aging {
    /// An hour.
    pub const DEFAULT_PER_POINT: Time = Time::from_nanos(3_600_000_000_000);
}

impl OrderJobs for Aging {
    fn name(&self) -> &'static str {
        "Aging"
    }

    fn key(&self, job: &JobSpec) -> u64 {
        let points = i128::from(job.priority) * i128::from(self.per_point.as_nanos());
        let as_if = i128::from(job.submitted.as_nanos()) - points;
        let as_if = as_if.clamp(i128::from(i64::MIN), i128::from(i64::MAX));
        (as_if - i128::from(i64::MIN)) as u64
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
