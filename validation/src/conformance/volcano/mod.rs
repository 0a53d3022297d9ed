//! Cases of Volcano.

mod plugin;
mod scheduling;

use super::{Case, Outcome};

/// Runs a case.
pub(super) fn run(case: &Case) -> Outcome {
    match case.kind.as_str() {
        "SchedulingCase" => scheduling::run(case),
        "PluginCase" => plugin::run(case),
        _ => Outcome::unsupported("unknown kind of case"),
    }
}
