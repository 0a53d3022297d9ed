//! Cases of scheduler-plugins: coscheduling and elastic quota.

use super::{Case, Outcome};

/// Runs a case.
pub(super) fn run(_case: &Case) -> Outcome {
    Outcome::unsupported("not yet")
}
