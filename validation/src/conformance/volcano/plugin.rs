//! Cases that ask one plugin.

use crate::conformance::{Case, Outcome};

/// Runs a case.
pub(super) fn run(_case: &Case) -> Outcome {
    Outcome::unsupported("not yet")
}
