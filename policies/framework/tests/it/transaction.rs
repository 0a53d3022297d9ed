//! Random operations: rollbacks restore, stamps grow, decisions say what happened, and the state never contradicts
//! itself.

use foretell_framework::{
    ClusterState, Decision, EvictionReason, GpuSet, Job, JobId, NodeId, PlacementError, Session, TaskStatus,
    Time,
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
            let (seen, jobs_seen) = (before.stamp(), before.jobs_stamp());
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
            // Likewise jobs; a new one may have taken the slot of one that is gone.
            let changed: Vec<_> = state.jobs_changed_since(jobs_seen).map(JobId::slot).collect();
            for job in before.jobs().chain(state.jobs()).map(|(job, _)| job) {
                if !changed.contains(&job.slot()) {
                    prop_assert_eq!(before.job(job), state.job(job));
                    let tasks = before.job(job).into_iter().flat_map(Job::tasks);
                    for &task in tasks {
                        let without_slot = |state: &ClusterState| {
                            let task = state.task(task)?;
                            let place = task.placement().map(|place| (place.node, place.gpus));
                            Some((task.status(), task.nominated(), task.details.clone(), place))
                        };
                        prop_assert_eq!(without_slot(&before), without_slot(&state));
                    }
                }
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
            Step::Place(..) | Step::Evict(_) | Step::Nominate(..) => {
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

/// The decisions, carried out on the state before, give the state after.
fn check_decisions(
    before: &ClusterState,
    after: &ClusterState,
    decisions: &[Decision],
) -> Result<(), TestCaseError> {
    let mut replayed = before.clone();
    let (result, again) = transact(&mut replayed, |transaction| {
        decisions.iter().try_for_each(|decision| match *decision {
            Decision::Bind { task, node, gpus } => transaction.place(task, node, gpus),
            Decision::Evict { task, reason, beneficiary } => transaction.evict(task, reason, beneficiary),
            Decision::Nominate { task, node } => transaction.nominate(task, node),
        })
    });
    prop_assert_eq!(result, Ok(()));
    prop_assert_eq!(&again[..], decisions);
    check(&replayed)?;
    prop_assert_eq!(&replayed, after);
    Ok(())
}

const EVICT: EvictionReason = EvictionReason::Preempted;

#[test]
fn an_evicted_task_holds_its_place_until_it_is_gone() {
    let mut state = cluster("a: 1xA100 | 1gpu@0");
    let (node, running) = (NodeId::new(0), state.tasks().next().unwrap().0);
    let waiting = add_task(&mut state, "1gpu");
    let gpus = GpuSet::single(0);
    let (full, decisions) = transact(&mut state, |transaction| {
        transaction.evict(running, EVICT, Some(waiting)).unwrap();
        transaction.nominate(waiting, Some(node)).unwrap();
        transaction.place(waiting, node, gpus)
    });
    assert!(matches!(full, Err(PlacementError::GpuFull { .. })), "{full:?}");
    let evict = Decision::Evict { task: running, reason: EVICT, beneficiary: Some(waiting) };
    assert_eq!(decisions, [evict, Decision::Nominate { task: waiting, node: Some(node) }]);
    assert_eq!(state.task(running).unwrap().status(), TaskStatus::Releasing);
    assert_eq!(
        (state.node(node).releasing_gpu_milli(), state.node(node).nominated()),
        (1000, &[waiting][..])
    );
    assert_eq!(check_invariants(&state), Ok(()));

    // The driver says that it is gone: it waits again under its old id, and the nominated task gets in.
    let released = state.released();
    assert_eq!(state.requeue_task(running).unwrap().node, node);
    assert!(state.released() > released);
    transact(&mut state, |transaction| transaction.place(waiting, node, gpus)).0.unwrap();
    assert_eq!(state.task(running).unwrap().status(), TaskStatus::Waiting);
    assert_eq!(state.task(waiting).unwrap().nominated(), None);
    assert_eq!(check_invariants(&state), Ok(()));
}

/// A trial removal shows what would fit and never becomes a decision.
#[test]
fn a_removal_is_a_trial() {
    let mut state = cluster("a: 2xA100 | 1gpu@0, 1gpu@1");
    let before = state.clone();
    let victim = state.tasks().next().unwrap().0;
    let waiting = add_task(&mut state, "1gpu");
    let (fits, decisions) = transact(&mut state, |transaction| {
        transaction.remove(victim).unwrap();
        transaction.place(waiting, NodeId::new(0), GpuSet::single(0))
    });
    assert_eq!((fits, decisions), (Ok(()), vec![]));
    state.remove_job(state.task(waiting).unwrap().job);
    assert_eq!(state.nodes(), before.nodes());
}

/// What a driver saw is taken as it is.
#[test]
fn observed_tasks_may_overcommit_a_node() {
    let mut state = cluster("a: 2xA100 | 1gpu@0");
    let task = add_task(&mut state, "2gpu");
    state.observe_task(task, NodeId::new(0), None, TaskStatus::Running);
    assert_eq!(state.node(NodeId::new(0)).gpu_free_milli(), 0);
    assert_eq!(state.gpu_allocated_milli(), 3000);
    state.requeue_task(task);
    assert_eq!(state.gpu_free_milli(NodeId::new(0)), [0, 1000]);
    assert_eq!(check_invariants(&state), Ok(()));
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
            transaction.evict(task, EVICT, None).unwrap();
            transaction.rollback_to(savepoint);
        });
        assert_eq!(state, before);
        assert_eq!(check_invariants(&state), Ok(()));
        state.set_gpu_healthy(node, 0, true);
        assert_eq!(check_invariants(&state), Ok(()));
    }
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
