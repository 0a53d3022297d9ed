//! Cases of KAI-Scheduler.

mod fair_share;
mod scheduling;

use super::{Case, Outcome};

/// Runs a case.
pub(super) fn run(case: &Case) -> Outcome {
    match case.kind.as_str() {
        "FairShareCase" => fair_share::run(case),
        "SchedulingCase" => scheduling::run(case),
        _ => Outcome::unsupported("unknown kind of case"),
    }
}
