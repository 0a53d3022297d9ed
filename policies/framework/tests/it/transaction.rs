//! Random operations: rollbacks restore, stamps grow, decisions say what happened, and the state never contradicts
//! itself.

use std::collections::BTreeMap;

use foretell_framework::{
    ClusterState, Decision, EvictionReason, GpuSet, NodeId, Session, Stamp, TaskId, Time,
};
use foretell_testkit::generate::{Operation, Step, clusters, operations};
use foretell_testkit::{
    add_job, add_task, check_invariants, cluster, placement::random, transact, where_placed,
};
use proptest::prelude::*;

proptest! {
    #[test]
    fn every_operation_keeps_the_promises(mut state in clusters(0..5), operations in operations(0..40)) {
        for operation in operations {
            let before = state.clone();
            let seen = before.stamp();
            if let Operation::Transact { steps, commit } = &operation {
                transact_checked(&mut state, steps, *commit)?;
            } else {
                prop_assert_eq!(operation.apply(&mut state), []);
                check(&state)?;
            }
            check_stamps(&before, &state)?;
            // Whatever is not among the changed nodes is as it was, stamp included.
            let changed: Vec<NodeId> = state.changed_since(seen).collect();
            for node in before.node_ids().filter(|node| !changed.contains(node)) {
                prop_assert_eq!(before.node(node), state.node(node));
                prop_assert_eq!(before.gpu_free_milli(node), state.gpu_free_milli(node));
                prop_assert_eq!(before.node_stamp(node), state.node_stamp(node));
            }
        }
    }
}

/// One transaction with every promise checked at every step.
fn transact_checked(state: &mut ClusterState, steps: &[Step], commit: bool) -> Result<(), TestCaseError> {
    let before = state.clone();
    let (mut random, mut decisions) = (random(0), Vec::new());
    let mut session = Session::new(state, Time::ZERO, &mut random, &mut decisions);
    let (mut transaction, _) = session.begin();
    let mut savepoints = vec![(transaction.savepoint(), before.clone())];
    for step in steps {
        let earlier = transaction.state().clone();
        match step {
            Step::Savepoint => savepoints.push((transaction.savepoint(), earlier.clone())),
            Step::Rollback(index) => {
                savepoints.truncate(index.index(savepoints.len()) + 1);
                let (savepoint, then) = &savepoints[savepoints.len() - 1];
                transaction.rollback_to(*savepoint);
                check_restored(then, transaction.state())?;
            }
            Step::Place(..) | Step::Evict(_) => {
                if step.apply(&mut transaction).is_err() {
                    check_restored(&earlier, transaction.state())?;
                    prop_assert_eq!(transaction.state().stamp(), earlier.stamp());
                }
            }
        }
        check(transaction.state())?;
        let stamp = transaction.state().stamp();
        prop_assert!(stamp >= earlier.stamp());
    }
    if !commit {
        drop(transaction);
        prop_assert!(decisions.is_empty());
        return check_restored(&before, state);
    }
    let last = transaction.state().clone();
    transaction.commit();
    check_restored(&last, state)?;
    check_decisions(&before, state, &decisions)
}

fn check(state: &ClusterState) -> Result<(), TestCaseError> {
    check_invariants(state).map_err(|violation| TestCaseError::fail(format!("{violation}\n{state:?}")))
}

/// The state is what it was, to the byte.
fn check_restored(then: &ClusterState, now: &ClusterState) -> Result<(), TestCaseError> {
    prop_assert_eq!(then, now);
    prop_assert_eq!(format!("{then:?}"), format!("{now:?}"));
    prop_assert_eq!(then.released(), now.released());
    Ok(())
}

fn check_stamps(before: &ClusterState, after: &ClusterState) -> Result<(), TestCaseError> {
    prop_assert!(before.stamp() <= after.stamp());
    prop_assert!(before.released() <= after.released());
    prop_assert!(before.node_specs_changed() <= after.node_specs_changed());
    for node in before.node_ids() {
        prop_assert!(before.node_stamp(node) <= after.node_stamp(node));
        prop_assert!(after.node_stamp(node) <= after.stamp());
    }
    Ok(())
}

/// The decisions are the net effect: carried out on the state before, they give the state after.
fn check_decisions(
    before: &ClusterState,
    after: &ClusterState,
    decisions: &[Decision],
) -> Result<(), TestCaseError> {
    let mut evicted: BTreeMap<TaskId, usize> = BTreeMap::new();
    let mut bound: BTreeMap<TaskId, usize> = BTreeMap::new();
    for decision in decisions {
        match *decision {
            Decision::Evict { task, .. } => {
                *evicted.entry(task).or_default() += 1;
                prop_assert!(
                    before.task(task).unwrap().placement().is_some(),
                    "only what ran can be stopped"
                );
                prop_assert!(!bound.contains_key(&task), "a task is stopped before it starts elsewhere");
            }
            Decision::Bind { task, .. } => *bound.entry(task).or_default() += 1,
        }
    }
    prop_assert!(evicted.values().chain(bound.values()).all(|&count| count == 1));

    let mut replayed = before.clone();
    let (result, again) = transact(&mut replayed, |transaction| {
        decisions.iter().try_for_each(|decision| match *decision {
            Decision::Bind { task, node, gpus } => transaction.place(task, node, gpus),
            Decision::Evict { task, reason } => transaction.evict(task, reason),
        })
    });
    prop_assert_eq!(result, Ok(()));
    prop_assert_eq!(&again[..], decisions);
    check(&replayed)?;
    for (task, entry) in after.tasks() {
        let place = |state: &ClusterState| {
            state.task(task).unwrap().placement().map(|placement| (placement.node, placement.gpus))
        };
        prop_assert_eq!(place(after), place(&replayed), "{:?}", entry);
    }
    Ok(())
}

const EVICT: EvictionReason = EvictionReason::Preempted;

#[test]
fn committed_decisions_are_the_net_effect() {
    let mut state = cluster("a: 2xA100 | 1gpu@0");
    let (node, running) = (NodeId::new(0), state.tasks().next().unwrap().0);
    let waiting = add_task(&mut state, "1gpu");
    let bind = |task, device| Decision::Bind { task, node, gpus: GpuSet::single(device) };
    let evict = |task| Decision::Evict { task, reason: EVICT };

    // Placed and evicted again: nobody need know.
    let ((), decisions) = transact(&mut state, |transaction| {
        transaction.place(waiting, node, GpuSet::single(1)).unwrap();
        transaction.evict(waiting, EVICT).unwrap();
    });
    assert_eq!(decisions, []);
    // Tried on one device, placed on the other.
    let ((), decisions) = transact(&mut state, |transaction| {
        transaction.evict(running, EVICT).unwrap();
        transaction.place(waiting, node, GpuSet::single(1)).unwrap();
        transaction.evict(waiting, EVICT).unwrap();
        transaction.place(waiting, node, GpuSet::single(0)).unwrap();
        transaction.place(running, node, GpuSet::single(1)).unwrap();
    });
    assert_eq!(decisions, [evict(running), bind(waiting, 0), bind(running, 1)]);
    // Moved about, and evicted in the end: one eviction.
    let ((), decisions) = transact(&mut state, |transaction| {
        transaction.evict(running, EVICT).unwrap();
        transaction.place(running, node, GpuSet::single(1)).unwrap();
        transaction.evict(running, EVICT).unwrap();
    });
    assert_eq!(decisions, [evict(running)]);
    assert_eq!(
        (where_placed(&state, waiting), where_placed(&state, running)),
        ("a@0".into(), "nowhere".into())
    );
}

#[test]
fn what_was_rolled_back_is_not_committed() {
    let mut state = cluster("a: 2xA100");
    let (node, first, second) = (NodeId::new(0), add_task(&mut state, "1gpu"), add_task(&mut state, "1gpu"));
    let ((), decisions) = transact(&mut state, |transaction| {
        transaction.place(first, node, GpuSet::single(0)).unwrap();
        let savepoint = transaction.savepoint();
        transaction.place(second, node, GpuSet::single(1)).unwrap();
        transaction.rollback_to(savepoint);
    });
    assert_eq!(decisions, [Decision::Bind { task: first, node, gpus: GpuSet::single(0) }]);
    assert_eq!((where_placed(&state, first), where_placed(&state, second)), ("a@0".into(), "nowhere".into()));
}

/// A task on a device that broke under it is evicted and the eviction taken back: the device still gives nothing.
#[test]
fn an_eviction_from_a_broken_device_rolls_back() {
    for text in ["0.25gpu", "2gpu"] {
        let mut state = cluster(&format!("a: 2xA100 | {text}"));
        let (node, task) = (NodeId::new(0), state.tasks().next().unwrap().0);
        state.set_gpu_healthy(node, 0, false);
        let before = state.clone();
        transact(&mut state, |transaction| {
            let savepoint = transaction.savepoint();
            transaction.evict(task, EVICT).unwrap();
            transaction.rollback_to(savepoint);
        });
        assert_eq!(state, before);
        assert_eq!(check_invariants(&state), Ok(()));
        state.set_gpu_healthy(node, 0, true);
        assert_eq!(check_invariants(&state), Ok(()));
    }
}

/// A savepoint may outlive the changes that it counted; what was released since stays released.
#[test]
fn a_stale_savepoint_does_not_hide_a_release() {
    let mut state = cluster("a: 4xA100 | 1gpu, 1gpu");
    let running: Vec<TaskId> = state.tasks().map(|(task, _)| task).collect();
    let waiting = add_task(&mut state, "1gpu");
    let before: Stamp = state.released();
    transact(&mut state, |transaction| {
        let start = transaction.savepoint();
        transaction.place(waiting, NodeId::new(0), GpuSet::single(2)).unwrap();
        let outlived = transaction.savepoint();
        transaction.rollback_to(start);
        transaction.evict(running[0], EVICT).unwrap();
        transaction.place(waiting, NodeId::new(0), GpuSet::single(2)).unwrap();
        transaction.rollback_to(outlived);
    });
    assert_eq!(where_placed(&state, running[0]), "nowhere");
    assert!(state.released() > before);
}

#[test]
fn only_releases_count_as_released() {
    let mut state = cluster("a: 2xA100 | 1gpu@0");
    let released = state.released();
    let job = add_job(&mut state, "1gpu");
    let task = state.job(job).unwrap().tasks()[0];
    transact(&mut state, |transaction| transaction.place(task, NodeId::new(0), GpuSet::single(1))).0.unwrap();
    state.set_gpu_healthy(NodeId::new(0), 1, false);
    assert_eq!(state.released(), released, "placing and breaking let nobody in");
    state.set_gpu_healthy(NodeId::new(0), 1, true);
    let healed = state.released();
    assert!(healed > released);
    state.remove_job(job);
    assert!(state.released() > healed);
}
