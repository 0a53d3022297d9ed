//! Cases of the division between queues.

use foretell_kai::division::{Claim, Claimant, divide, divide_over_quota};
use serde_json::Value;

use crate::conformance::{Case, Outcome};

const RESOURCES: [&str; 3] = ["gpu", "cpu", "memory"];

/// Runs a case.
pub(super) fn run(case: &Case) -> Outcome {
    let mode = case.text("/mode").unwrap_or("");
    let mut queues: Vec<(&str, &Value)> = case
        .get("/queues")
        .as_object()
        .into_iter()
        .flatten()
        .map(|(name, queue)| (name.as_str(), queue))
        .collect();
    queues.sort_by_key(|(_, queue)| {
        (queue["creationOrder"].as_u64().unwrap_or(0), queue["uid"].as_str().unwrap_or("").to_owned())
    });
    let usage_factor = case.get("/k").as_f64().unwrap_or(0.0);
    let (mut expected, mut got) = (Vec::new(), Vec::new());
    for resource in RESOURCES {
        if mode != "all-resources" && case.text("/resource") != Some(resource) {
            continue;
        }
        let total = if mode == "all-resources" { &case.get("/total")[resource] } else { case.get("/total") };
        let mut claimants: Vec<Claimant> =
            queues.iter().enumerate().map(|(order, (_, queue))| claimant(queue, resource, order)).collect();
        let divide = if mode == "over-quota-only" { divide_over_quota } else { divide };
        let left = divide(total.as_f64().unwrap_or(0.0), usage_factor, &mut claimants);
        for ((name, _), claimant) in queues.iter().zip(&claimants) {
            if let Some(share) = case.expect("fairShare")[*name][resource].as_f64() {
                expected.push(format!("{name} {share} {resource}"));
                got.push(format!("{name} {} {resource}", claimant.share));
            }
        }
        if let Some(remaining) = case.expect("remaining").as_f64() {
            expected.push(format!("{remaining} {resource} left"));
            got.push(format!("{left} {resource} left"));
        }
    }
    Outcome::compare(expected.join(", "), got.join(", "))
}

fn claimant(queue: &Value, resource: &str, order: usize) -> Claimant {
    let amounts = &queue[resource];
    let amount = |name: &str| amounts[name].as_f64().unwrap_or(0.0);
    // -1 stands for everything.
    let bounded = |name: &str| Some(amount(name)).filter(|&amount| amount >= 0.0);
    Claimant {
        priority: queue["priority"].as_i64().unwrap_or(0) as i32,
        order,
        claim: Claim {
            deserved: bounded("deserved"),
            limit: bounded("maxAllowed"),
            over_quota_weight: amount("overQuotaWeight"),
            request: amount("request"),
            usage: amount("usage"),
        },
        share: amount("fairShareBefore"),
    }
}
