//! What a pod's fate depends on beside nodes: pods that it displaces or wants near, gates, quotas.

use foretell_framework::spec::{PodAffinityTerm, TopologySpreadConstraint, WhenUnsatisfiable};
use foretell_framework::state::ResourceQuota;
use foretell_framework::{EvictionReason, LabelSelector, Quota, TaskDetails};

use super::*;

/// Runs a cycle and returns all decisions, tasks by their jobs.
fn decide(cluster: &mut Cluster, time_s: f64) -> Vec<(&'static str, usize)> {
    let (mut random, mut decisions) = (NoRandom, Vec::new());
    let mut session = Session::new(&mut cluster.state, Time::from_s(time_s), &mut random, &mut decisions);
    cluster.action.run(&mut session, &mut cluster.plugins);
    let job = |task| {
        let job = cluster.state.task(task).expect("never removed").job;
        cluster.jobs.iter().position(|&known| known == job).expect("a submitted job")
    };
    decisions
        .iter()
        .map(|&decision| match decision {
            Decision::Bind { task, .. } => ("bind", job(task)),
            Decision::Evict { task, reason: EvictionReason::Preempted, .. } => ("evict", job(task)),
            Decision::Nominate { task, node: Some(_) } => ("nominate", job(task)),
            other => panic!("{other:?}"),
        })
        .collect()
}

/// The only task of a job.
fn task(cluster: &Cluster, job: usize) -> TaskId {
    cluster.state.job(cluster.jobs[job]).expect("never removed").tasks()[0]
}

/// A task that was told to stop has left.
fn leave(cluster: &mut Cluster, job: usize) {
    let task = task(cluster, job);
    cluster.state.requeue_task(task);
    cluster.notify(ClusterEvent::TaskWaiting(task));
    cluster.notify(ClusterEvent::TasksReleased);
}

#[test]
fn preemptors_get_the_room_that_was_made_for_them() {
    let mut cluster = Cluster::with_config(&[2], &DefaultConfig::default());
    let low = [cluster.submit(0.0, 0, 1, 1), cluster.submit(0.0, 0, 1, 1)];
    assert_eq!(decide(&mut cluster, 0.0), [("bind", low[0]), ("bind", low[1])]);
    // Two alike: each makes room for itself; then nobody lower is left for the third.
    let high = [(); 3].map(|()| cluster.submit(1.0, 5, 1, 1));
    assert_eq!(
        decide(&mut cluster, 1.0),
        [("evict", low[1]), ("nominate", high[0]), ("evict", low[0]), ("nominate", high[1]),]
    );
    assert_eq!(cluster.explain(high[0]), "room is being made on node n: 2 tasks have yet to leave");
    // Nothing happens until both victims have left, since each preemptor must fit beside the other; the victims do not get
    // the room back.
    assert_eq!(decide(&mut cluster, 2.0), []);
    leave(&mut cluster, low[1]);
    assert_eq!(decide(&mut cluster, 3.0), []);
    leave(&mut cluster, low[0]);
    assert_eq!(decide(&mut cluster, 4.0), [("bind", high[0]), ("bind", high[1])]);
    assert_eq!(cluster.explain(high[2]), "no node has room (none of 1 nodes: 1 short of CPU)");
    assert_eq!(cluster.explain(low[0]), "no node has room (none of 1 nodes: 1 short of CPU)");
}

#[test]
fn room_that_is_kept_is_not_given_away() {
    let mut cluster = Cluster::with_config(&[4], &DefaultConfig::default());
    let low = cluster.submit(0.0, 0, 1, 3);
    assert_eq!(decide(&mut cluster, 0.0), [("bind", low)]);
    let high = cluster.submit(1.0, 5, 1, 4);
    assert_eq!(decide(&mut cluster, 1.0), [("evict", low), ("nominate", high)]);
    // One core is free, but it is needed.
    let small = cluster.submit(2.0, 0, 1, 1);
    assert_eq!(decide(&mut cluster, 2.0), []);
    assert_eq!(
        cluster.explain(small),
        "no node has room (none of 1 nodes: 1 kept for tasks for which room is made)"
    );
    // The one that it was kept for is gone.
    cluster.remove(high);
    assert_eq!(decide(&mut cluster, 3.0), [("bind", small)]);
}

fn wants(selector: &str) -> TaskSpec {
    let mut spec = TaskSpec { requests: Resources::new(1000, 0), ..TaskSpec::default() };
    spec.pod_affinity.required.push(PodAffinityTerm {
        topology_key: "zone".into(),
        selector: Some(LabelSelector::of_labels(&labels(selector))),
        ..PodAffinityTerm::default()
    });
    spec
}

#[test]
fn company_that_comes_lets_pods_in() {
    let mut cluster = Cluster::new(&[]);
    for zone in ["zone=a", "zone=b"] {
        let allocatable = Resources::new(4000, 1 << 30);
        cluster.add_node(NodeSpec { allocatable, labels: labels(zone), ..NodeSpec::new("n") });
    }
    let friend = cluster.submit_spec(0.0, 9, 1, &wants("app=web"));
    let stranger = cluster.submit_spec(0.0, 9, 1, &wants("app=db"));
    assert_eq!(cluster.cycle(0.0), [0; 0]);
    assert_eq!(cluster.explain(friend), "no node has room (none of 2 nodes: 2 without the tasks to be with)");
    // In the same cycle as the one that it wants to be with, though that comes later in the queue.
    let web = TaskSpec { labels: labels("app=web"), ..TaskSpec::default() };
    let web = cluster.submit_spec(1.0, 0, 1, &web);
    assert_eq!(cluster.cycle(1.0), [web, friend]);
    let node = |job| {
        cluster
            .state
            .task(task(&cluster, job))
            .and_then(|task| task.placement())
            .map(|placement| placement.node)
    };
    assert_eq!(node(friend), node(web));
    assert_eq!(node(stranger), None);
}

#[test]
fn spread_pods_wait_for_the_others_to_leave() {
    let mut cluster = Cluster::new(&[]);
    for (zone, cores) in [("zone=a", 4), ("zone=b", 1)] {
        let allocatable = Resources::new(cores * 1000, 1 << 30);
        cluster.add_node(NodeSpec { allocatable, labels: labels(zone), ..NodeSpec::new("n") });
    }
    let mut spread =
        TaskSpec { requests: Resources::new(1000, 0), labels: labels("app=web"), ..TaskSpec::default() };
    let selector = Some(LabelSelector::of_labels(&spread.labels));
    let constraint = TopologySpreadConstraint::new("zone", 1, WhenUnsatisfiable::DoNotSchedule, selector);
    spread.topology_spread.push(constraint);
    let jobs = [(); 4].map(|()| cluster.submit_spec(0.0, 0, 1, &spread));
    // Two in one zone and one in the other, which is full then.
    assert_eq!(cluster.cycle(0.0), jobs[..3]);
    let reason =
        "no node has room (none of 2 nodes: 1 short of CPU, 1 where tasks would be spread too unevenly)";
    assert_eq!(cluster.explain(jobs[3]), reason);
    cluster.remove(jobs[0]);
    assert_eq!(cluster.cycle(1.0), [jobs[3]]);
}

#[test]
fn gates_hold_pods_back() {
    let mut cluster = Cluster::new(&[4]);
    let class = cluster.state.class(&TaskSpec::default());
    let job = add_job(&mut cluster.state, 0, class, 2, 0, Time::ZERO);
    cluster.jobs.push(job);
    let tasks = cluster.state.job(job).expect("just added").tasks().to_vec();
    for &task in &tasks {
        cluster.state.set_task_details(task, TaskDetails { gated: true, ..TaskDetails::default() });
    }
    cluster.notify(ClusterEvent::JobAdded(job));
    assert_eq!(cluster.cycle(0.0), [0; 0]);
    assert_eq!(cluster.explain(0), "held back by a scheduling gate");
    cluster.state.set_task_details(tasks[1], TaskDetails::default());
    cluster.notify(ClusterEvent::TaskChanged(tasks[1]));
    assert_eq!(cluster.cycle(1.0), [0]);
    assert_eq!(cluster.state.task(tasks[0]).map(foretell_framework::Task::status), Some(TaskStatus::Waiting));
}

#[test]
fn namespaces_stay_within_their_quotas() {
    let mut cluster = Cluster::new(&[16]);
    let quota = |namespace: &str, hard| ResourceQuota {
        namespace: namespace.into(),
        name: "compute".into(),
        hard,
        ..ResourceQuota::default()
    };
    cluster.state.objects_mut().resource_quotas = vec![
        quota("a", Quota { cpu_milli: Some(5000), ..Quota::default() }),
        quota("b", Quota { tasks: Some(1), ..Quota::default() }),
    ];
    let of = |namespace: &str, cores: u64| TaskSpec {
        namespace: namespace.into(),
        requests: Resources::new(cores * 1000, 0),
        ..TaskSpec::default()
    };
    // Two pods of three: the second does not come into being. What waits for a node counts too.
    let first = cluster.submit_spec(0.0, 0, 2, &of("a", 3));
    let small = cluster.submit_spec(0.0, 0, 1, &of("a", 2));
    let waits = cluster.submit_spec(0.0, 0, 1, &of("b", 99));
    let second_of_b = cluster.submit_spec(0.0, 0, 1, &of("b", 1));
    let elsewhere = cluster.submit_spec(0.0, 0, 1, &of("c", 9));
    assert_eq!(cluster.cycle(0.0), [first, small, elsewhere]);
    assert_eq!(
        cluster.explain(first),
        "over quota compute of its namespace: 3000 of 5000 cpu in use, 3000 more asked for"
    );
    assert_eq!(
        cluster.explain(second_of_b),
        "over quota compute of its namespace: 1 of 1 pods in use, 1 more asked for"
    );
    cluster.remove(waits);
    cluster.remove(small);
    assert_eq!(cluster.cycle(1.0), [second_of_b]);
    // A larger quota lets the rest in.
    cluster.state.objects_mut().resource_quotas[0].hard.cpu_milli = Some(6000);
    assert_eq!(cluster.cycle(2.0), [first]);
}
