//! Which devices each policy takes on the chosen node.

use std::sync::Arc;

use foretell_framework::select::BestFitGpus;
use foretell_framework::{NodeId, PickGpus, TypicalTasks};
use foretell_packing::{FgdGpus, RandomGpus, WorstFitGpus};
use foretell_testkit::placement::random;
use foretell_testkit::{cluster, fixture, generate, task_spec, transact};
use proptest::prelude::*;

fn pickers() -> [Box<dyn PickGpus>; 4] {
    let typical = Arc::new(TypicalTasks::default());
    [Box::new(BestFitGpus), Box::new(WorstFitGpus), Box::new(RandomGpus), Box::new(FgdGpus::new(typical))]
}

#[track_caller]
fn check(mut picker: impl PickGpus, node: &str, task: &str, expected: &str) {
    let mut state = cluster(&format!("a: {node}"));
    let task = task_spec(&mut state, task);
    let devices = picker.pick(&state, &task, NodeId::new(0), &mut random(0));
    assert_eq!(devices, fixture::devices(expected), "`{node}`");
}

#[test]
fn best_fit_takes_the_tightest() {
    let node = "5xA100 | 0.5gpu@1, 0.7gpu@2, 0.5gpu@3, 0.7gpu@4";
    check(BestFitGpus, node, "0.3gpu", "2");
    check(BestFitGpus, node, "0.4gpu", "1");
    check(BestFitGpus, node, "0.6gpu", "0");
    check(BestFitGpus, node, "1gpu", "0");
    check(BestFitGpus, node, "3x0.3gpu", "1+2+4");
    check(BestFitGpus, "4xA100 | 1gpu@1", "2gpu", "0+2");
    check(BestFitGpus, "4xA100 broken=0", "0.5gpu", "1");
}

#[test]
fn worst_fit_takes_the_emptiest() {
    check(WorstFitGpus, "4xA100 | 0.5gpu@0, 0.3gpu@1, 0.3gpu@2, 1gpu@3", "0.5gpu", "1");
    check(WorstFitGpus, "4xA100 | 0.5gpu@0", "0.5gpu", "1");
    check(WorstFitGpus, "4xA100 | 1gpu@0", "2gpu", "1+2");
}

#[test]
fn whole_devices_are_the_first_free_ones() {
    for mut picker in pickers() {
        let mut state = cluster("a: 6xA100 broken=2 | 0.01gpu@0, 1gpu@3");
        let task = task_spec(&mut state, "3gpu");
        let devices = picker.pick(&state, &task, NodeId::new(0), &mut random(1));
        assert_eq!(devices, fixture::devices("1+4+5"));
    }
}

proptest! {
    /// Whatever a policy picks on a node where a task fits is legal, for shares of several devices too.
    #[test]
    fn a_pick_is_legal(
        mut state in generate::clusters(1..4), tasks in prop::collection::vec(generate::task_specs(), 1..12), seed in 0..9_u64,
    ) {
        let mut random = random(seed);
        for (turn, spec) in tasks.iter().enumerate() {
            let job = generate::add_job(&mut state, 0, &[(spec.clone(), 1)]);
            let task = state.job(job).unwrap().tasks()[0];
            for node in state.node_ids() {
                let entry = state.node(node);
                let allowed = entry.spec.gpu_model.is_none_or(|model| spec.gpus.models.allows(model));
                let fits = spec.gpus.fits(state.gpu_free_milli(node));
                if allowed && fits && entry.check_resources(&spec.requests).is_ok() {
                    for picker in &mut pickers() {
                        let gpus = picker.pick(&state, spec, node, &mut random);
                        let mut copy = state.clone();
                        prop_assert_eq!(transact(&mut copy, |transaction| transaction.place(task, node, gpus)).0, Ok(()));
                    }
                    let gpus = pickers()[turn % 4].pick(&state, spec, node, &mut random);
                    prop_assert_eq!(transact(&mut state, |transaction| transaction.place(task, node, gpus)).0, Ok(()));
                    break;
                }
            }
        }
    }
}
