//! Volcano's weighted scores, worked by hand.

use foretell_framework::{GPU_RESOURCE, PerResource};
use foretell_packing::{Preference, ResourceStrategyFit, ScarceResources, WeightedBinpack};
use foretell_testkit::{cluster, node, task_spec};

#[track_caller]
fn close(got: f64, expected: f64, what: &str) {
    assert!((got - expected).abs() < 1e-9, "{what}: expected {expected}, got {got}");
}

fn weights<T: Copy>(list: &[(&str, T)]) -> PerResource<T> {
    PerResource::new(list.iter().map(|&(name, value)| (name.into(), value)), GPU_RESOURCE)
}

#[test]
fn binpack_is_the_weighted_mean_of_how_full_the_node_would_be() {
    let binpack =
        WeightedBinpack { resources: weights(&[("cpu", 1), ("memory", 2), (GPU_RESOURCE, 5)]), weight: 10 };
    let check = |a: &str, task: &str, expected: f64| {
        let mut state = cluster(&format!("a: {a}"));
        let spec = task_spec(&mut state, task);
        close(binpack.node_score(&state, &spec, node(&state, "a")), expected, &format!("{task} on {a}"));
    };
    // (1 * 4/8 + 2 * 2/8 + 5 * 1/4) / 8 = 2.25 / 8
    check("4xA100 cpu=8 mem=8Gi", "1gpu cpu=4 mem=2Gi", 281.25);
    // What is used counts: (1 * 6/8 + 5 * 3/4) / 6 = 4.5 / 6
    check("4xA100 cpu=8 mem=8Gi | 2gpu cpu=2", "1gpu cpu=4", 750.0);
    // One resource that does not fit, and the node is worth nothing.
    check("4xA100 cpu=8 mem=8Gi", "1gpu cpu=9", 0.0);
    // A resource that the node does not have counts as empty: (1 * 4/8 + 5 * 0) / 6
    check("cpu=8", "1gpu cpu=4", 1000.0 * 0.5 / 6.0);
    // A resource without a weight does not count.
    check("cpu=8 rdma/nic=4", "cpu=4 rdma/nic=4", 500.0);
    check("cpu=8", "", 0.0);
}

#[test]
fn strategies_pack_one_resource_and_spread_another() {
    let fit = ResourceStrategyFit {
        resources: weights(&[(GPU_RESOURCE, (Preference::Most, 3)), ("cpu", (Preference::Least, 1))]),
        weight: 2,
        scarce: None,
    };
    let check = |a: &str, task: &str, expected: f64| {
        let mut state = cluster(&format!("a: {a}"));
        let spec = task_spec(&mut state, task);
        close(fit.node_score(&state, &spec, node(&state, "a")), expected, &format!("{task} on {a}"));
    };
    // (3 * 2/4 + 1 * 6/8) / 4 = 2.25 / 4
    check("4xA100 cpu=8", "2gpu cpu=2", 112.5);
    check("4xA100 cpu=8", "cpu=2", 150.0);
    check("4xA100 cpu=8", "5gpu cpu=2", 0.0);
}

#[test]
fn scarce_resources_are_kept_for_those_who_ask() {
    let fit = ResourceStrategyFit {
        resources: weights(&[]),
        weight: 1,
        scarce: Some(ScarceResources {
            resources: weights(&[("fpga/card", 3), (GPU_RESOURCE, 1)]),
            weight: 4,
        }),
    };
    let check = |a: &str, task: &str, expected: f64| {
        let mut state = cluster(&format!("a: {a}\nother: fpga/card=1"));
        let spec = task_spec(&mut state, task);
        close(fit.node_score(&state, &spec, node(&state, "a")), expected, &format!("{task} on {a}"));
    };
    check("cpu=8", "cpu=2", 400.0);
    check("4xA100 cpu=8", "cpu=2", 300.0);
    check("4xA100 cpu=8 fpga/card=1", "cpu=2", 0.0);
    // Too small even when empty.
    check("cpu=8", "cpu=9", 0.0);
    check("cpu=8", "1gpu", 0.0);
}
