//! Cases of kube-scheduler.

use super::{Case, Outcome};

/// Runs a case.
pub(super) fn run(case: &Case) -> Outcome {
    match case.kind.as_str() {
        "FilterCase" | "ScoreCase" | "PreemptionCase" | "QueueingCase" | "SchedulingCase" => {
            Outcome::unsupported("not yet")
        }
        _ => Outcome::unsupported("unknown kind of case"),
    }
}
