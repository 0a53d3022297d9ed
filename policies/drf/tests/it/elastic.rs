//! Elastic quotas: what may be placed, and who leaves when a namespace asks for its own.

use foretell_drf::{ElasticQuotaGate, ElasticQuotas};
use foretell_framework::select::{BestFitGpus, BestNode};
use foretell_framework::state::ElasticQuota;
use foretell_framework::{
    ClusterState, Decision, JobSpec, NodeId, Plugins, Quota, Reason, Session, TaskDetails, TaskGate, TaskId,
    TaskStatus, Time,
};
use foretell_testkit::placement::random;
use foretell_testkit::{add_node, task_spec};
use proptest::prelude::*;

/// GPUs of namespaces: name, minimum, maximum.
fn quotas(state: &mut ClusterState, quotas: &[(&str, u64, Option<u64>)]) {
    for &(namespace, min, max) in quotas {
        let gpus = |gpus: u64| Quota {
            gpu_milli: Some(gpus * 1000),
            cpu_milli: Some(1 << 40),
            memory_bytes: Some(1 << 60),
            ..Quota::default()
        };
        state.objects_mut().elastic_quotas.push(ElasticQuota {
            namespace: namespace.into(),
            name: namespace.into(),
            min: gpus(min),
            max: max.map(gpus).unwrap_or_default(),
        });
    }
}

/// A task of a namespace, with a priority, on a node if one is named.
fn add(state: &mut ClusterState, namespace: &str, gpus: &str, priority: i32, node: Option<usize>) -> TaskId {
    let mut spec = task_spec(state, gpus);
    spec.namespace = namespace.into();
    let class = state.class(&spec);
    let queue = state.queue_id("default");
    let job = state.add_job(JobSpec {
        namespace: namespace.into(),
        priority,
        ..JobSpec::new(0, queue, [(class, 1)])
    });
    let task = state.job(job).unwrap().tasks()[0];
    state.set_task_details(task, TaskDetails { priority, ..TaskDetails::default() });
    if let Some(node) = node {
        state.observe_task(task, NodeId::new(node), None, TaskStatus::Running);
    }
    task
}

#[test]
fn borrowing_ends_at_the_maximum_and_at_what_others_leave() {
    let check = |used: &[(&str, &str)], namespace: &str, gpus: &str, expected: &str| {
        let mut state = ClusterState::new();
        add_node(&mut state, "a: 64xA100");
        quotas(&mut state, &[("red", 4, Some(6)), ("blue", 4, None)]);
        for (namespace, gpus) in used {
            add(&mut state, namespace, gpus, 0, Some(0));
        }
        let task = add(&mut state, namespace, gpus, 0, None);
        let verdict = match ElasticQuotas::new(&state).admit(&state, task) {
            Ok(()) => "yes".to_owned(),
            Err(reason) => reason.to_string(),
        };
        assert!(verdict.contains(expected), "{used:?} {namespace} {gpus}: {verdict}");
    };
    check(&[], "red", "4gpu", "yes");
    check(&[("red", "4gpu")], "red", "2gpu", "yes");
    check(
        &[("red", "4gpu")],
        "red",
        "3gpu",
        "over quota red of its namespace: 4000 of 6000 gpu (milli) in use, 3000 more",
    );
    check(&[("blue", "4gpu")], "blue", "4gpu", "yes");
    check(&[("blue", "4gpu"), ("red", "2gpu")], "blue", "2gpu", "yes");
    check(
        &[("blue", "4gpu"), ("red", "2gpu")],
        "blue",
        "3gpu",
        "nothing left to borrow: 6000 of the elastic quotas' 8000",
    );
    // Who has no quota is not asked, and counts for nobody.
    check(&[("green", "20gpu")], "green", "20gpu", "yes");
    check(&[("green", "20gpu")], "red", "4gpu", "yes");
}

/// Tasks on one node of eight GPUs by namespace, GPUs and priority; a waiting one; the positions of those that leave.
#[track_caller]
fn check_victims(placed: &[(&str, &str, i32)], waiting: (&str, &str, i32), expected: Option<&[usize]>) {
    let mut state = ClusterState::new();
    add_node(&mut state, "a: 8xA100");
    quotas(&mut state, &[("red", 4, None), ("blue", 4, None)]);
    let tasks: Vec<_> = placed
        .iter()
        .map(|&(namespace, gpus, priority)| add(&mut state, namespace, gpus, priority, Some(0)))
        .collect();
    let task = add(&mut state, waiting.0, waiting.1, waiting.2, None);
    let mut plugins =
        Plugins::new(Box::new(BestNode), Box::new(BestFitGpus)).with_filters(foretell_default::filters());
    let (mut random, mut decisions) = (random(0), Vec::new());
    let mut session = Session::new(&mut state, Time::from_s(9.0), &mut random, &mut decisions);
    let (mut transaction, _) = session.begin();
    let node = ElasticQuotaGate.make_room(&mut transaction, &mut plugins, task, Time::from_s(9.0));
    transaction.commit();
    let mut victims: Vec<_> = decisions
        .iter()
        .filter_map(|decision| match decision {
            Decision::Evict { task, .. } => tasks.iter().position(|known| known == task),
            _ => None,
        })
        .collect();
    victims.sort_unstable();
    assert_eq!(node.map(|_| &victims[..]), expected, "{placed:?} for {waiting:?}");
}

#[test]
fn who_lent_takes_back_and_who_borrows_displaces_its_own() {
    // Blue is within its minimum: red, which borrows, gives back what it takes, whatever its priority.
    check_victims(&[("red", "4gpu", 9), ("red", "4gpu", 5)], ("blue", "4gpu", 0), Some(&[1]));
    check_victims(
        &[("red", "2gpu", 5), ("red", "2gpu", 0), ("red", "4gpu", 5)],
        ("blue", "2gpu", 0),
        Some(&[1]),
    );
    // Red holds no more than its minimum: nothing is taken back.
    check_victims(&[("red", "4gpu", 0), ("green", "4gpu", 0)], ("blue", "4gpu", 9), None);
    // Blue would go over its minimum: it displaces its own of lower priority only.
    check_victims(&[("blue", "4gpu", 0), ("red", "4gpu", 0)], ("blue", "1gpu", 5), Some(&[0]));
    check_victims(&[("blue", "4gpu", 5), ("red", "4gpu", 0)], ("blue", "1gpu", 5), None);
    // Green has no quota: it displaces those without quota.
    check_victims(&[("green", "4gpu", 0), ("red", "4gpu", 0)], ("green", "2gpu", 5), Some(&[0]));
    check_victims(&[("red", "4gpu", 0), ("blue", "4gpu", 0)], ("green", "2gpu", 5), None);
}

#[test]
fn a_task_that_is_not_named_in_a_minimum_gets_none_of_it() {
    let mut state = ClusterState::new();
    add_node(&mut state, "a: 8xA100 example.com/license=4");
    quotas(&mut state, &[("red", 4, None)]);
    let task = add(&mut state, "red", "1gpu example.com/license=1", 0, None);
    let refused = ElasticQuotas::new(&state).admit(&state, task);
    assert!(matches!(refused, Err(Reason::NothingToBorrow { .. })), "{refused:?}");
}

proptest! {
    /// However tasks come, quotas together never hold more than the sum of their minima, none more than its maximum, and
    /// nothing is taken from a namespace that holds no more than its minimum.
    #[test]
    fn quotas_hold(tasks in prop::collection::vec((0..2_usize, 1..4_u32, 0..3_i32), 1..20)) {
        const NAMES: [&str; 2] = ["red", "blue"];
        let mut state = ClusterState::new();
        add_node(&mut state, "a: 8xA100");
        add_node(&mut state, "b: 8xA100");
        quotas(&mut state, &[("red", 6, Some(10)), ("blue", 4, Some(8))]);
        let mut plugins =
            Plugins::new(Box::new(BestNode), Box::new(BestFitGpus)).with_filters(foretell_default::filters());
        let (mut random, mut gate) = (random(1), ElasticQuotaGate);
        let held = |state: &ClusterState, name: &str| -> u64 {
            let tasks = state.tasks().filter(|(_, task)| task.placement().is_some());
            tasks.map(|(_, task)| state.class_spec(task.class)).filter(|spec| *spec.namespace == *name).map(|spec| spec.gpus.total_milli() / 1000).sum()
        };
        for (name, gpus, priority) in tasks {
            let task = add(&mut state, NAMES[name], &format!("{gpus}gpu"), priority, None);
            let before = [held(&state, "red"), held(&state, "blue")];
            let mut decisions = Vec::new();
            let admitted = gate.admit(&state, task).is_ok();
            let mut session = Session::new(&mut state, Time::ZERO, &mut random, &mut decisions);
            let (mut transaction, random) = session.begin();
            if !admitted || plugins.place(&mut transaction, task, random).is_err() {
                gate.make_room(&mut transaction, &mut plugins, task, Time::ZERO);
            }
            transaction.commit();
            for decision in &decisions {
                if let Decision::Evict { task, .. } = *decision {
                    let namespace = state.task_spec(task).unwrap().namespace.clone();
                    if *namespace != *NAMES[name] {
                        let other = 1 - name;
                        prop_assert!(before[other] > [6, 4][other], "{before:?}");
                    }
                    state.end_task(task, false);
                }
            }
            // What was not placed gives up its nomination and goes.
            if state.task(task).unwrap().placement().is_none() {
                state.end_task(task, false);
            }
            prop_assert!(held(&state, "red") <= 10 && held(&state, "blue") <= 8);
            prop_assert!(held(&state, "red") + held(&state, "blue") <= 10);
        }
    }
}
