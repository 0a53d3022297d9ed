//! Cases of KAI-Scheduler.

mod fair_share;

use super::{Case, Outcome};

/// Runs a case.
pub(super) fn run(case: &Case) -> Outcome {
    match case.kind.as_str() {
        "FairShareCase" => fair_share::run(case),
        _ => Outcome::unsupported("belongs to a later release"),
    }
}
