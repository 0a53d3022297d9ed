//! Cases of Volcano.

mod plugin;
mod scheduling;

use super::{Case, Outcome};

/// Runs a case.
pub(super) fn run(case: &Case) -> Outcome {
    match case.kind.as_str() {
        "SchedulingCase" => scheduling::run(case),
        "PluginCase" if case.expect("backfillOrder").is_array() => scheduling::backfill_order(case),
        "PluginCase" => plugin::run(case),
        _ => Outcome::unsupported("unknown kind of case"),
    }
}
