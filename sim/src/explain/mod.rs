//! Why a job waits, who is in its way, what a node's failure would take down: found by looking into a run.

mod job;
mod node;

pub use job::{
    Drain, EventKind, ExplainJob, Holder, JobEvent, JobExplanation, JobIdentity, Snapshot, Standing, Wait,
};
pub use node::{Casualty, CasualtyOutcome, ExplainNode, NodeExplanation};

use foretell_framework::Reason;

/// Names of jobs, by sequence number.
#[derive(Default)]
struct JobNames(Vec<Box<str>>);

impl JobNames {
    fn of(&self, sequence: u64) -> &str {
        usize::try_from(sequence).ok().and_then(|index| self.0.get(index)).map_or("?", |name| name)
    }

    /// A reason, with jobs called by their names.
    fn describe(&self, reason: &Reason) -> String {
        match reason {
            Reason::BehindHead { head } => format!("behind job {}, the head of its queue", self.of(*head)),
            reason => reason.to_string(),
        }
    }
}
