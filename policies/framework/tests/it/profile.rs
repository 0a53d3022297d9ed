//! Whether an empty cluster could hold a job, against placing its tasks one by one.

use foretell_framework::select::BestNode;
use foretell_framework::{ClusterState, JobId, Reason, WHOLE_GPU_MILLI};
use foretell_testkit::generate::{add_job, clusters, task_specs};
use foretell_testkit::placement::{self, plugins};
use foretell_testkit::{cluster, fixture};
use proptest::prelude::*;

/// A cordon does not make a cluster smaller: it may be lifted.
fn uncordon(state: &mut ClusterState) {
    state.node_ids().for_each(|node| state.set_unschedulable(node, false));
}

/// How many of a job's tasks find room one after the other. For tasks of one class on empty nodes no order does better,
/// unless they ask for shares of several devices: those are pushed onto the devices already in use.
fn placed_one_by_one(state: &ClusterState, job: JobId) -> u64 {
    let mut state = state.clone();
    let mut plugins = plugins(BestNode);
    let tasks = state.job(job).unwrap().tasks().to_vec();
    tasks.into_iter().filter(|&task| placement::place(&mut state, &mut plugins, task).is_some()).count()
        as u64
}

proptest! {
    #[test]
    fn one_class_fits_exactly_if_its_tasks_can_be_placed(
        mut state in clusters(0..5), task in task_specs(), count in 1_u32..12,
    ) {
        uncordon(&mut state);
        let shares = task.gpus.count > 1 && task.gpus.milli < WHOLE_GPU_MILLI;
        let job = add_job(&mut state, 0, &[(task, count)]);
        let room = placed_one_by_one(&state, job);
        match plugins(BestNode).fits_empty_cluster(&state, state.job(job).unwrap()) {
            Ok(()) => prop_assert!(room == u64::from(count) || shares),
            Err(Reason::TooLarge { placeable, min_member, rejections }) => {
                prop_assert!(room < u64::from(count));
                prop_assert_eq!(min_member, count);
                prop_assert!(placeable == room || (shares && placeable > room));
                prop_assert_eq!(rejections.nodes as usize, state.nodes().len());
            }
            Err(other) => prop_assert!(false, "{:?}", other),
        }
    }

    /// Classes are judged one by one, so a job may pass that would not fit; one that fits must pass.
    #[test]
    fn a_job_that_fits_is_never_too_large(
        mut state in clusters(0..5), tasks in prop::collection::vec((task_specs(), 1_u32..6), 1..3),
    ) {
        let job = add_job(&mut state, 0, &tasks);
        let count: u32 = tasks.iter().map(|&(_, count)| count).sum();
        if placed_one_by_one(&state, job) == u64::from(count) {
            prop_assert_eq!(plugins(BestNode).fits_empty_cluster(&state, state.job(job).unwrap()), Ok(()));
        }
    }
}

#[track_caller]
fn check(cluster_text: &str, job: &str, expected: Result<(), &str>) {
    let mut state = cluster(cluster_text);
    let job = fixture::add_job(&mut state, job);
    let result = plugins(BestNode).fits_empty_cluster(&state, state.job(job).unwrap());
    assert_eq!(result.map_err(|reason| reason.to_string()), expected.map_err(str::to_string));
}

#[test]
fn a_job_larger_than_the_cluster_is_told_why() {
    let cluster = "a: 2xA100 cpu=4 | 2gpu cpu=4
                   b: 4xT4 cpu=16
                   c: cpu=64";
    // What runs now does not count.
    check(cluster, "6 x 1gpu", Ok(()));
    check(
        cluster,
        "7 x 1gpu",
        Err("larger than the cluster: 7 tasks, an empty cluster holds 6 (1 without GPUs)"),
    );
    check(cluster, "4gpu", Ok(()));
    check(
        cluster,
        "8gpu",
        Err(
            "fits no node even if the cluster were empty (none of 3 nodes: 2 with too few GPUs even when empty, 1 without GPUs)",
        ),
    );
    // Three shares of 0.3 to a device, and no fourth.
    check(cluster, "18 x 0.3gpu", Ok(()));
    check(
        cluster,
        "2 x 1gpu cpu=4 model=A100",
        Err(
            "larger than the cluster: 2 tasks, an empty cluster holds 1 (1 without GPUs, 1 of another GPU model)",
        ),
    );
    // Room for more of one class is no room for another.
    check(
        cluster,
        "1gpu; 2 x 4gpu",
        Err(
            "larger than the cluster: 3 tasks, an empty cluster holds 2 (1 without GPUs, 1 with too few GPUs even when empty)",
        ),
    );
    check(
        cluster,
        "1gpu; 3gpu cpu=32",
        Err(
            "larger than the cluster: 2 tasks, an empty cluster holds 1 (1 without GPUs, 1 with too few GPUs even when empty, 1 short of CPU)",
        ),
    );
    check("", "1gpu", Err("fits no node even if the cluster were empty (none of 0 nodes)"));
}

#[test]
fn a_node_is_chosen_and_devices_on_it() {
    let cluster = "a: 2xA100 | 0.5gpu@1
                   b: 4xT4";
    let check = |task, expected| placement::check_placement(cluster, plugins(BestNode), task, expected);
    check("1gpu", "a@0");
    check("0.5gpu", "a@1");
    check("0.6gpu", "a@0");
    check("2gpu", "b@0+1");
    check("1gpu model=T4", "b@0");
    check("5gpu", "nowhere");
    check("2x0.5gpu", "a@0+1");
    check("2x0.6gpu", "b@0+1");
    check("", "a");
}
