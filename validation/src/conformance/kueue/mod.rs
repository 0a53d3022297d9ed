//! Cases of Kueue.

use super::{Case, Outcome};

/// Runs a case.
pub(super) fn run(_: &Case) -> Outcome {
    Outcome::unsupported("belongs to a later release")
}
