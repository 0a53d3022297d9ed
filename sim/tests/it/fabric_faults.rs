//! Links and switches of the fabric that fail, and what becomes of the jobs that send over them.

use foretell_sim::engine::Budget;
use foretell_sim::fabric::network::{Attachment, Network, NetworkSpec, Routing, Shape, Uplinks, Width};
use foretell_sim::framework::{ClusterState, Time};
use foretell_sim::log::{Metrics, Observer, Record, RunResult, Sampling};
use foretell_sim::platform::{
    Config, FaultKind, FaultRate, Faults, Place, Repair, RepairSpread, ScheduledFault, Simulation, Submission,
};
use foretell_sim::traffic::{Phases, Traffic};
use proptest::prelude::*;

use crate::fixtures::{cluster, profile, typical};
use crate::traffic::stepping_job;

/// Leaves of two nodes with a NIC of 10 GB/s each; two spines, to each of which a leaf sends 5 GB/s.
fn network() -> Network {
    let spines = Uplinks { switches: 2, width: Width::Oversubscription(2.0) };
    let shape = Shape::LeafSpine { attachment: Attachment::ByNode { nodes_per_leaf: 2 }, spines };
    Network::new(&NetworkSpec { nodes: 8, nics_per_node: 1, nic_gb_per_s: 10.0, shape }).unwrap()
}

/// Down from a time on, for so long.
fn down(at_s: f64, kind: FaultKind, number: u32, duration_s: f64) -> ScheduledFault {
    let place = match kind {
        FaultKind::LeafLink => Place::Cable { number, below: number / 2, above: number % 2 },
        _ => Place::Switch(number),
    };
    let duration = Some(Time::from_s(duration_s));
    ScheduledFault { at: Time::from_s(at_s), place, kind, device: None, duration }
}

fn run(jobs: &[Submission], faults: Faults, seed: u64) -> RunResult {
    let mut metrics = Metrics::new(typical(jobs), Sampling::Auto);
    let workload = jobs.iter().cloned().map(Ok::<_, ()>);
    // So many faults that a job never ends are a mistake of the test.
    let budget = Budget { events: Some(1_000_000), ..Budget::default() };
    let config = Config { faults: Some(faults), seed, budget, ..Config::default() };
    let mut deaf = Deaf;
    let mut observers: [&mut dyn Observer; 2] = [&mut metrics, &mut deaf];
    let traffic = Traffic::new(network(), Routing::Adaptive, Phases::Interleaved).unwrap();
    let policy = "fifo+binpack";
    let simulation =
        Simulation::new(config, cluster(&[1; 8]), profile(policy, jobs), workload, &mut observers);
    let counts = simulation.over(traffic).run(&mut |_| ()).unwrap();
    metrics.finish(policy, seed, 8, 8, counts)
}

/// Listens to nothing.
struct Deaf;

impl Observer for Deaf {
    fn advance(&mut self, _from: Time, _to: Time, _state: &ClusterState) {}

    fn record(&mut self, _now: Time, _record: &Record<'_>, _state: &ClusterState) {}
}

fn finishes(result: &RunResult) -> Vec<f64> {
    result.jobs.iter().map(|job| job.finish.unwrap().as_s()).collect()
}

/// Three pods on nodes 0, 1 and 2, of which two boundaries leave a leaf: 100 steps of 2 s while both spines are there.
#[track_caller]
fn check(scheduled: Vec<ScheduledFault>, finish_s: f64) -> RunResult {
    let faults = Faults { scheduled, detection: Time::from_s(5.0), ..Faults::default() };
    let result = run(&[stepping_job(0.0, 100.0, 3, 10.0)], faults, 0);
    let got_s = finishes(&result)[0];
    assert!((got_s - finish_s).abs() < 1e-3, "{got_s} s, expected {finish_s} s");
    result
}

#[test]
fn what_fails_takes_its_bandwidth_until_it_is_repaired() {
    check(vec![], 200.0);
    // 10 steps, 10 of 3 s over the other spine, 80 steps.
    let result = check(vec![down(20.0, FaultKind::LeafLink, 0, 30.0)], 210.0);
    let [fault] = &*result.faults else { panic!("expected one fault") };
    assert_eq!((&*fault.node, fault.kind.name(), fault.jobs.len()), ("leaf-0 to spine-0", "leaf_link", 0));
    let summary = result.summary.faults.unwrap();
    assert_eq!(
        summary.by_kind.last().map(|of_kind| (of_kind.kind, of_kind.faults)),
        Some((FaultKind::LeafLink, 1))
    );
    check(vec![down(20.0, FaultKind::SpineSwitch, 1, 30.0)], 210.0);
    // A link of leaf 3 is nobody's concern.
    check(vec![down(20.0, FaultKind::LeafLink, 6, 30.0)], 200.0);
    // Down for two reasons: 20 steps of 3 s from 20 to 80 s.
    let both = vec![down(20.0, FaultKind::LeafLink, 0, 30.0), down(30.0, FaultKind::SpineSwitch, 0, 50.0)];
    check(both, 220.0);
    // What is down does not fail again: it is repaired when it was to be.
    let twice = vec![down(20.0, FaultKind::LeafLink, 0, 30.0), down(30.0, FaultKind::LeafLink, 0, 500.0)];
    check(twice, 210.0);
    // No way is left: it stands still for 30 s.
    let none = vec![down(20.0, FaultKind::SpineSwitch, 0, 40.0), down(30.0, FaultKind::SpineSwitch, 1, 60.0)];
    // 10 steps, 10 s at 3 s, 30 s of nothing, 30 s at 3 s.
    check(none, 90.0 + 2.0 * (100.0 - 10.0 - 10.0 / 3.0 - 10.0));
}

#[test]
fn a_leaf_that_is_down_cuts_its_nodes_off() {
    // On nodes 0, 1 and 2; on node 3; on nodes 4 and 5 of another leaf.
    let jobs = [
        stepping_job(0.0, 100.0, 3, 10.0),
        stepping_job(0.0, 300.0, 1, 0.0),
        stepping_job(0.0, 100.0, 2, 10.0),
    ];
    let scheduled = vec![down(20.0, FaultKind::LeafSwitch, 1, 1e4)];
    let faults = Faults { scheduled, detection: Time::from_s(5.0), ..Faults::default() };
    let result = run(&jobs, faults, 0);
    // The first notices after 5 s and starts again from nothing on nodes 0, 1 and 6.
    assert_eq!(finishes(&result), [225.0, 300.0, 200.0]);
    assert_eq!(result.jobs.iter().map(|job| job.failures).collect::<Vec<_>>(), [1, 0, 0]);
    let [fault] = &*result.faults else { panic!("expected one fault") };
    assert_eq!((&*fault.node, fault.kind, fault.jobs[0].pods), ("leaf-1", FaultKind::LeafSwitch, 1));
    // Nodes serve again when it is repaired: three pods on 8 nodes with 6 taken wait for it.
    let jobs = [stepping_job(0.0, 100.0, 6, 0.0), stepping_job(30.0, 10.0, 2, 0.0)];
    let scheduled = vec![down(20.0, FaultKind::LeafSwitch, 3, 100.0)];
    let result = run(&jobs, Faults { scheduled, ..Faults::default() }, 0);
    assert_eq!(finishes(&result), [100.0, 130.0 - 20.0]);
}

proptest! {
    /// What the fabric does makes a job that is alone no faster, and the same seed gives the same run. (Of several, one may be faster
    /// because another is slower.)
    #[test]
    fn a_fabric_that_fails_makes_a_job_no_faster(
        seed in 0_u64..1000,
        per_1000_device_days in prop::array::uniform5(0.0_f64..2e5),
        repair_s in 0.0_f64..60.0,
    ) {
        let jobs = [stepping_job(0.0, 50.0, 3, 10.0)];
        let repair = Repair { mean: Time::from_s(repair_s), spread: RepairSpread::Exponential };
        let rate = |of_kind: f64| FaultRate { per_node_s: of_kind / 86.4e6, repair };
        let faults = Faults { fabric_rates: per_1000_device_days.map(rate), ..Faults::default() };
        let result = run(&jobs, faults.clone(), seed);
        let finish_s = finishes(&result)[0];
        prop_assert!(finish_s > 100.0 - 1e-3, "{} s", finish_s);
        prop_assert_eq!(run(&jobs, faults, seed), result);
    }
}
