//! Interned classes and shapes, names, and the sets of devices and models against a naive model.

use std::collections::BTreeSet;

use foretell_framework::{ClusterState, GpuModelId, GpuModelSet, GpuSet, Rejection, StateError};
use foretell_testkit::generate::{add_job, empty_cluster, task_specs};
use proptest::prelude::*;

proptest! {
    /// The id of a class is the position of its spec among the distinct specs in order of first sight.
    #[test]
    fn equal_specs_are_one_class(specs in prop::collection::vec(task_specs(), 1..20), picks in any::<prop::sample::Index>()) {
        let mut state = empty_cluster();
        let mut known = Vec::new();
        for spec in specs.iter().chain([picks.get(&specs)]) {
            if !known.contains(spec) {
                known.push(spec.clone());
            }
            let class = state.class(spec);
            prop_assert_eq!(known.iter().position(|known| known == spec), Some(class.index()));
            prop_assert_eq!(state.class_spec(class), spec);
        }
        prop_assert_eq!(state.classes().map(|(_, spec)| spec.clone()).collect::<Vec<_>>(), known);
    }

    /// Two jobs are of one shape exactly if they have the same numbers of the same tasks.
    #[test]
    fn equal_jobs_are_one_shape(specs in prop::collection::vec((task_specs(), 1_u32..3), 1..3), count in 1_u32..3) {
        let mut state = empty_cluster();
        let mut shape = |specs: &[_]| {
            let job = add_job(&mut state, 0, specs);
            state.job(job).unwrap().shape
        };
        let mut changed = specs.clone();
        changed[0].1 = count;
        prop_assert_eq!(shape(&specs), shape(&specs));
        prop_assert_eq!(shape(&specs) == shape(&changed), specs == changed);
    }

    #[test]
    fn a_gpu_set_is_a_set(devices in prop::collection::vec(0_usize..64, 0..80), asked in 0_usize..64) {
        let set: GpuSet = devices.iter().copied().collect();
        let naive: BTreeSet<usize> = devices.iter().copied().collect();
        prop_assert_eq!(set.iter().collect::<Vec<_>>(), naive.iter().copied().collect::<Vec<_>>());
        prop_assert_eq!(set.len() as usize, naive.len());
        prop_assert_eq!(set.is_empty(), naive.is_empty());
        prop_assert_eq!(set.contains(asked), naive.contains(&asked));
        prop_assert_eq!(format!("{set:?}"), format!("{naive:?}"));
        prop_assert_eq!(GpuSet::single(asked), [asked].into_iter().collect());
    }

    #[test]
    fn a_set_of_models_allows_its_members(models in prop::collection::vec(0_usize..64, 0..80), asked in 0_usize..64) {
        let set: GpuModelSet = models.iter().copied().map(GpuModelId::new).collect();
        prop_assert_eq!(set.is_any(), models.is_empty());
        prop_assert_eq!(set.allows(GpuModelId::new(asked)), models.is_empty() || models.contains(&asked));
    }
}

#[test]
fn a_constraint_names_models_that_no_node_need_have() {
    let mut state = empty_cluster();
    let mut check = |names: &[&str], models: &[usize]| {
        let expected = models.iter().copied().map(GpuModelId::new).collect();
        assert_eq!(state.gpu_model_set(names.iter().copied()), Ok(expected), "{names:?}");
    };
    check(&[], &[]);
    check(&["V100", "A100"], &[0, 2]);
    check(&["T4", "Voodoo2"], &[1, 3]);
    check(&["Voodoo2"], &[3]);
    let many: Vec<String> = (0..61).map(|index| format!("model {index}")).collect();
    assert_eq!(state.gpu_model_set(many.iter().map(String::as_str)), Err(StateError::TooManyGpuModels));
}

#[test]
fn names_are_found_again() {
    let mut state = ClusterState::new();
    let queues: Vec<usize> = ["a", "b", "a"].map(|name| state.queue_id(name).index()).into();
    let resources: Vec<usize> = ["x/a", "x/b", "x/a"].map(|name| state.resource(name).index()).into();
    let models: Vec<usize> = ["a", "b", "a"].map(|name| state.gpu_model(name).unwrap().index()).into();
    assert_eq!([queues, resources, models], [[0, 1, 0], [0, 1, 0], [0, 1, 0]].map(Vec::from));
    assert_eq!(state.gpu_model_name(GpuModelId::new(1)), "b");
}

/// Rejections are counted in arrays by code.
#[test]
fn rejections_are_numbered_in_order() {
    assert!(Rejection::ALL.into_iter().enumerate().all(|(code, rejection)| rejection as usize == code));
}
