use std::boxed::Box;
use std::format;
use std::string::{String, ToString};
use std::vec;

use foretell_framework::{Decision, GpuRequest, NodeSpec, Profile, Resources, TaskSpec};

mod against_single_pods;
mod others;

use super::*;
use crate::test_support::{NoRandom, add_job, labels};

/// The default profile, in which a pod that fits nowhere waits.
fn without_preemption() -> DefaultConfig {
    DefaultConfig { preemption: None, ..DefaultConfig::default() }
}

/// A cluster under the default profile, told what happens as a driver would tell it.
struct Cluster {
    state: ClusterState,
    plugins: Plugins,
    action: SchedulePods,
    jobs: Vec<JobId>,
    wake_at: Option<Time>,
}

impl Cluster {
    /// Nodes of so many cores each; nobody is displaced.
    fn new(cores: &[u64]) -> Self {
        Self::with_config(cores, &without_preemption())
    }

    fn with_config(cores: &[u64], config: &DefaultConfig) -> Self {
        let (plugins, action) = (crate::plugins(config), SchedulePods::new(config));
        let mut cluster =
            Self { state: ClusterState::new(), plugins, action, jobs: Vec::new(), wake_at: None };
        for &cores in cores {
            let allocatable = Resources::new(cores * 1000, 1 << 40);
            cluster.add_node(NodeSpec { allocatable, ..NodeSpec::new("n") });
        }
        cluster
    }

    fn notify(&mut self, event: ClusterEvent) {
        self.action.notify(&self.state, &mut self.plugins, event);
    }

    fn add_node(&mut self, spec: NodeSpec) {
        let node = self.state.add_node(spec).expect("legal node");
        self.notify(ClusterEvent::NodeChanged(node));
    }

    fn set_unschedulable(&mut self, node: usize, unschedulable: bool) {
        self.state.set_unschedulable(NodeId::new(node), unschedulable);
        self.notify(ClusterEvent::NodeChanged(NodeId::new(node)));
    }

    /// Submits a job; jobs are numbered from 0.
    fn submit_spec(&mut self, time_s: f64, priority: i32, count: u32, spec: &TaskSpec) -> usize {
        let class = self.state.class(spec);
        let number = self.jobs.len();
        let job = add_job(&mut self.state, number as u64, class, count, priority, Time::from_s(time_s));
        self.jobs.push(job);
        self.notify(ClusterEvent::JobAdded(job));
        number
    }

    /// Submits a job of tasks of so many cores each.
    fn submit(&mut self, time_s: f64, priority: i32, count: u32, cores: u64) -> usize {
        let requests = Resources::new(cores * 1000, 0);
        self.submit_spec(time_s, priority, count, &TaskSpec { requests, ..TaskSpec::default() })
    }

    fn remove(&mut self, job: usize) {
        let id = self.jobs[job];
        let placed = self.state.job(id).is_some_and(|job| job.placed() > 0);
        self.notify(ClusterEvent::JobRemoved(id));
        self.state.remove_job(id);
        if placed {
            self.notify(ClusterEvent::TasksReleased);
        }
    }

    /// Runs a cycle and returns the jobs of the pods that were bound, in order.
    fn cycle(&mut self, time_s: f64) -> Vec<usize> {
        let (mut random, mut decisions) = (NoRandom, Vec::new());
        let mut session = Session::new(&mut self.state, Time::from_s(time_s), &mut random, &mut decisions);
        self.action.run(&mut session, &mut self.plugins);
        self.wake_at = session.wake_at;
        decisions.iter().map(|&decision| self.job_of(decision)).collect()
    }

    fn job_of(&self, decision: Decision) -> usize {
        let Decision::Bind { task, .. } = decision else {
            panic!("{decision:?}: the default profile evicts nobody")
        };
        let job = self.state.task(task).expect("just bound").job;
        self.jobs.iter().position(|&known| known == job).expect("a submitted job")
    }

    fn explain(&mut self, job: usize) -> String {
        let (mut random, mut decisions) = (NoRandom, Vec::new());
        let mut session = Session::new(&mut self.state, Time::ZERO, &mut random, &mut decisions);
        let reason = self.action.explain(&mut session, &mut self.plugins, self.jobs[job]);
        reason.map_or_else(|| "-".to_string(), |reason| reason.to_string())
    }

    /// Time of the last failure and number of failures of each cohort in the pool, and its size.
    fn pool(&self) -> Vec<(f64, u32, usize)> {
        let cohorts = self.action.queue.pools.values().flat_map(|pool| &pool.cohorts);
        cohorts.map(|cohort| (cohort.timestamp.as_s(), cohort.failures, cohort.pods.len())).collect()
    }
}

#[test]
fn order_of_the_active_queue() {
    // Submission time and priority of jobs of one core; the order in which they are bound.
    let check = |jobs: &[(f64, i32)], expected: &[usize]| {
        let mut cluster = Cluster::new(&[100]);
        for &(time_s, priority) in jobs {
            cluster.submit(time_s, priority, 1, 1);
        }
        assert_eq!(cluster.cycle(9.0), expected, "{jobs:?}");
    };
    check(&[(0.0, 10), (0.0, 100)], &[1, 0]);
    check(&[(1.0, 100), (0.0, 100)], &[1, 0]);
    check(&[(0.0, 5), (0.0, 5), (0.0, 5)], &[0, 1, 2]);
    check(&[(3.0, 0), (2.0, -1), (1.0, 1), (0.0, 0)], &[2, 3, 0, 1]);
}

#[test]
fn jobs_are_placed_in_part() {
    let mut cluster = Cluster::new(&[2, 2]);
    let (first, second) = (cluster.submit(0.0, 0, 3, 1), cluster.submit(0.0, 0, 3, 1));
    assert_eq!(cluster.cycle(0.0), [first, first, first, second]);
    assert_eq!(cluster.explain(first), "-");
    let reason = "1 of 3 tasks find room; for the next, none of 2 nodes: 2 short of CPU";
    assert_eq!(cluster.explain(second), reason);
    assert!(!cluster.state.job(cluster.jobs[second]).expect("still waits").is_ready());
    cluster.remove(first);
    assert_eq!(cluster.cycle(1.0), [second, second]);
    assert_eq!(cluster.explain(second), "-");
}

#[test]
fn a_smaller_pod_goes_ahead_of_one_that_does_not_fit() {
    let mut cluster = Cluster::new(&[4]);
    let (large, small) = (cluster.submit(0.0, 9, 1, 5), cluster.submit(0.0, 0, 1, 4));
    assert_eq!(cluster.cycle(0.0), [small]);
    assert_eq!(
        cluster.explain(large),
        "no node has room (none of 1 nodes: 1 with too little CPU even when empty)"
    );
}

#[test]
fn pods_that_back_off_go_after_those_that_do_not() {
    // Job 1 fails at 0 s; job 2, of higher priority, at 100 s; room for one is made at the given time.
    let check = |config: &DefaultConfig, room_at_s, expected: usize| {
        let mut cluster = Cluster::with_config(&[1], config);
        cluster.submit(0.0, 0, 1, 1);
        cluster.submit(0.0, 0, 1, 1);
        cluster.cycle(0.0);
        cluster.submit(100.0, 10, 1, 1);
        assert_eq!(cluster.cycle(100.0), [0; 0]);
        cluster.remove(0);
        assert_eq!(cluster.cycle(room_at_s), [expected], "room at {room_at_s} s");
    };
    let default = without_preemption;
    check(&default(), 100.5, 1);
    // The second of the expiry still counts.
    check(&default(), 101.9, 1);
    check(&default(), 102.0, 2);
    check(&DefaultConfig { pod_max_backoff: Time::ZERO, ..default() }, 100.5, 2);
    check(&DefaultConfig { pod_initial_backoff: Time::from_s(5.0), ..default() }, 105.9, 1);
    check(&DefaultConfig { pod_initial_backoff: Time::from_s(5.0), ..default() }, 106.0, 2);
}

#[test]
fn pods_that_failed_together_keep_their_order() {
    let mut cluster = Cluster::new(&[4]);
    cluster.submit(0.0, 0, 1, 4);
    cluster.cycle(0.0);
    let other_class = TaskSpec { requests: Resources::new(1000, 1), ..TaskSpec::default() };
    cluster.submit(1.0, 0, 1, 1);
    cluster.submit_spec(1.0, 0, 1, &other_class);
    cluster.submit(1.0, 0, 1, 1);
    assert_eq!(cluster.cycle(1.0), [0; 0]);
    assert_eq!(cluster.pool().len(), 2);
    cluster.remove(0);
    assert_eq!(cluster.cycle(2.0), [1, 2, 3]);
}

#[test]
fn pods_that_back_off_are_tried_once_nothing_else_is_left() {
    let mut cluster = Cluster::new(&[1]);
    cluster.submit(0.0, 0, 1, 1);
    cluster.submit(0.0, 0, 1, 1);
    cluster.cycle(0.0);
    cluster.remove(0);
    assert_eq!(cluster.cycle(0.1), [1]);
}

#[test]
fn every_failed_attempt_counts_until_the_longest_backoff() {
    let mut cluster = Cluster::new(&[1, 1]);
    cluster.submit(0.0, 0, 1, 1);
    cluster.submit(0.0, 0, 1, 1);
    let waiting = cluster.submit(0.0, 0, 3, 2);
    cluster.cycle(0.0);
    assert_eq!(cluster.pool(), [(0.0, 1, 3)]);
    // A newcomer alone is no reason to try the others again.
    cluster.submit(1.0, 0, 1, 2);
    cluster.cycle(1.0);
    assert_eq!(cluster.pool(), [(0.0, 1, 3), (1.0, 1, 1)]);
    for (round, failures) in [(2, 2), (3, 3), (4, 4), (5, 5), (6, 5)] {
        let slot = usize::from(round % 2 == 1);
        cluster.remove(slot);
        let replacement = cluster.submit(f64::from(round), 1, 1, 1);
        cluster.jobs.swap(slot, replacement);
        cluster.cycle(f64::from(round));
        // Those that failed together are one cohort.
        assert_eq!(cluster.pool(), [(f64::from(round), failures, 4)]);
    }
    cluster.remove(waiting);
    assert_eq!(cluster.pool(), [(6.0, 5, 1)]);
}

#[test]
fn events_move_only_pods_that_they_may_help() {
    #[derive(Clone, Copy, Debug)]
    enum Event {
        Release,
        Uncordon,
        Cordon,
        AddNode,
        AddLabelledNode,
        AddJob,
        RemovePending,
    }
    // Node 0 is full, node 1 is cordoned. The waiting pod has a selector that no node meets, or asks for a
    // node that nothing else is on, or for more than any node has.
    let elsewhere = TaskSpec { node_selector: labels("pool=x"), ..TaskSpec::default() };
    let cores = |cores: u64| TaskSpec { requests: Resources::new(cores * 1000, 0), ..TaskSpec::default() };
    let check = |waiting: &TaskSpec, event: Event, bound: bool, tried: bool| {
        let mut cluster = Cluster::new(&[4, 4]);
        cluster.set_unschedulable(1, true);
        cluster.submit(0.0, 0, 1, 1);
        cluster.submit(0.0, 0, 1, 1);
        cluster.cycle(0.0);
        let waiting = cluster.submit_spec(0.0, 0, 1, waiting);
        assert_eq!(cluster.cycle(0.0), [0; 0]);
        match event {
            Event::Release => cluster.remove(0),
            Event::Uncordon => cluster.set_unschedulable(1, false),
            Event::Cordon => cluster.set_unschedulable(0, true),
            Event::AddNode => cluster.add_node(NodeSpec::new("n")),
            Event::AddLabelledNode => {
                cluster.add_node(NodeSpec { labels: labels("pool=x"), ..NodeSpec::new("n") });
            }
            Event::AddJob => {
                cluster.submit(7.0, 0, 1, 9);
            }
            Event::RemovePending => {
                let pending = cluster.submit(7.0, 0, 1, 9);
                cluster.remove(pending);
                // It held nothing.
                cluster.notify(ClusterEvent::TasksReleased);
            }
        }
        assert_eq!(cluster.cycle(7.0).contains(&waiting), bound, "{event:?}");
        let job = cluster.state.job(cluster.jobs[waiting]).expect("never removed");
        let found = cluster.action.queue.find(&cluster.state, job);
        let failed_at = found.map(|(_, cohort)| cohort.timestamp);
        let expected = (!bound).then(|| Time::from_s(if tried { 7.0 } else { 0.0 }));
        assert_eq!(failed_at, expected, "{event:?}");
    };
    for (waiting, event, bound, tried) in [
        (&elsewhere, Event::Release, false, false),
        (&elsewhere, Event::Uncordon, false, false),
        (&elsewhere, Event::AddNode, false, false),
        (&elsewhere, Event::AddLabelledNode, true, true),
        (&elsewhere, Event::AddJob, false, false),
        (&cores(4), Event::Release, false, true),
        (&cores(4), Event::Uncordon, true, true),
        (&cores(4), Event::Cordon, false, false),
        (&cores(4), Event::AddNode, false, true),
        (&cores(4), Event::RemovePending, false, false),
        (&cores(3), Event::Release, true, true),
        (&cores(9), Event::Uncordon, false, true),
    ] {
        check(waiting, event, bound, tried);
    }
}

/// A pod that failed at 10 s because the only GPU is broken.
fn waiting_for_a_broken_gpu() -> (Cluster, usize) {
    let mut cluster = Cluster::new(&[]);
    let model = cluster.state.gpu_model("A100").expect("few models");
    cluster.add_node(NodeSpec { gpus: 1, gpu_model: Some(model), ..NodeSpec::new("n") });
    cluster.state.set_gpu_healthy(NodeId::new(0), 0, false);
    let spec = TaskSpec { gpus: GpuRequest::whole(1), ..TaskSpec::default() };
    let waiting = cluster.submit_spec(10.0, 0, 1, &spec);
    assert_eq!(cluster.cycle(10.0), [0; 0]);
    (cluster, waiting)
}

#[test]
fn a_change_without_an_event_is_found_by_the_flush() {
    let (mut cluster, waiting) = waiting_for_a_broken_gpu();
    cluster.state.set_gpu_healthy(NodeId::new(0), 0, true);
    assert_eq!(cluster.explain(waiting), "backing off until 330s");
    for time_s in [20.0, 329.0] {
        assert_eq!(cluster.cycle(time_s), [0; 0]);
        assert_eq!(cluster.wake_at, Some(Time::from_s(330.0)));
    }
    assert_eq!(cluster.cycle(330.0), [waiting]);
    assert_eq!(cluster.wake_at, None);
}

#[test]
fn an_event_is_not_made_to_wait_for_the_flush() {
    let (mut cluster, waiting) = waiting_for_a_broken_gpu();
    cluster.state.set_gpu_healthy(NodeId::new(0), 0, true);
    assert_eq!(cluster.cycle(20.0), [0; 0]);
    cluster.notify(ClusterEvent::NodeChanged(NodeId::new(0)));
    assert_eq!(cluster.explain(waiting), "-");
    assert_eq!(cluster.cycle(21.0), [waiting]);
}

#[test]
fn what_helps_a_pod_changes_with_the_nodes() {
    let mut cluster = Cluster::new(&[1]);
    let running = cluster.submit(0.0, 0, 1, 1);
    cluster.cycle(0.0);
    cluster.set_unschedulable(0, true);
    let waiting = cluster.submit(1.0, 0, 1, 1);
    assert_eq!(cluster.cycle(1.0), [0; 0]);
    // Now the node is only full, so room helps.
    cluster.set_unschedulable(0, false);
    assert_eq!(cluster.cycle(2.0), [0; 0]);
    cluster.remove(running);
    assert_eq!(cluster.cycle(3.0), [waiting]);
}

#[test]
fn a_pod_that_nothing_can_have_helped_asks_for_no_cycle() {
    let (mut cluster, waiting) = waiting_for_a_broken_gpu();
    assert_eq!(cluster.explain(waiting), "no node has room (none of 1 nodes: 1 short of GPU)");
    assert_eq!(cluster.wake_at, None);
    assert_eq!(cluster.cycle(1000.0), [0; 0]);
    assert_eq!((cluster.wake_at, cluster.pool()), (None, vec![(10.0, 1, 1)]));
}

#[test]
fn jobs_that_leave_while_pending_are_forgotten() {
    let mut cluster = Cluster::new(&[1]);
    let untried = cluster.submit(0.0, 0, 2, 1);
    cluster.remove(untried);
    assert_eq!(cluster.cycle(0.0), [0; 0]);
    let partly = cluster.submit(1.0, 0, 3, 1);
    let behind = cluster.submit(1.0, 0, 1, 1);
    assert_eq!(cluster.cycle(1.0), [partly]);
    assert_eq!(cluster.pool(), [(1.0, 1, 3)]);
    cluster.remove(partly);
    assert_eq!(cluster.pool(), [(1.0, 1, 1)]);
    assert_eq!(cluster.cycle(2.0), [behind]);
    assert!(cluster.action.queue.pools.is_empty());
}

#[test]
fn nobody_starves() {
    // One slot, many equal pods: each gets it in turn, in order of submission.
    let mut cluster = Cluster::new(&[1]);
    for time_s in 0..50 {
        cluster.submit(f64::from(time_s), 0, 1, 1);
        cluster.cycle(f64::from(time_s));
    }
    for job in 0..49 {
        cluster.remove(job);
        assert_eq!(cluster.cycle(100.0 + job as f64), [job + 1]);
    }
}

#[test]
fn thousands_of_pending_pods_are_few_cohorts() {
    let mut cluster = Cluster::new(&[1, 1]);
    let mut running = [cluster.submit(0.0, 0, 1, 1), cluster.submit(0.0, 0, 1, 1)];
    cluster.cycle(0.0);
    for round in 1..2000 {
        let time_s = f64::from(round);
        cluster.submit(time_s, 0, 1, 2);
        cluster.cycle(time_s);
        if round % 10 == 0 {
            let slot = &mut running[round as usize / 10 % 2];
            cluster.remove(*slot);
            *slot = cluster.submit(time_s, 1, 1, 1);
            cluster.cycle(time_s);
            assert!(cluster.pool().len() <= 5, "{:?}", cluster.pool());
        }
    }
    assert_eq!(cluster.pool().iter().map(|&(_, _, pods)| pods).sum::<usize>(), 1999);
}

#[test]
fn illegal_choices_are_told() {
    /// Picks no device, whatever is asked.
    struct NoGpus;
    impl foretell_framework::PickGpus for NoGpus {
        fn pick(
            &mut self,
            _: &ClusterState,
            _: &TaskSpec,
            _: NodeId,
            _: &mut dyn rand::Rng,
        ) -> foretell_framework::GpuSet {
            foretell_framework::GpuSet::EMPTY
        }
    }
    let mut cluster = Cluster::new(&[]);
    cluster.plugins = Plugins::new(Box::new(crate::SampledNodes::new(0)), Box::new(NoGpus));
    let model = cluster.state.gpu_model("A100").expect("few models");
    cluster.add_node(NodeSpec { gpus: 1, gpu_model: Some(model), ..NodeSpec::new("n") });
    cluster.submit_spec(0.0, 0, 1, &TaskSpec { gpus: GpuRequest::whole(1), ..TaskSpec::default() });
    assert_eq!(cluster.cycle(0.0), [0; 0]);
    assert_eq!(cluster.explain(0), "the policy chose an illegal placement: 0 GPUs given, 1 requested");
    cluster.plugins = crate::plugins(&DefaultConfig::default());
    cluster.state.set_gpu_healthy(NodeId::new(0), 0, false);
    cluster.set_unschedulable(0, false);
    assert_eq!(cluster.cycle(1.0), [0; 0]);
    assert_eq!(cluster.explain(0), "no node has room (none of 1 nodes: 1 short of GPU)");
}

#[test]
fn the_profile_runs_as_a_whole() {
    let config = DefaultConfig::default();
    let mut state = ClusterState::new();
    for zone in ["a", "a", "b"] {
        let allocatable = Resources::new(8000, 1 << 35);
        let labels = labels(&format!("topology.kubernetes.io/zone={zone}"));
        state.add_node(NodeSpec { allocatable, labels, ..NodeSpec::new("n") }).expect("legal node");
    }
    let mut profile =
        Profile::new("default".to_string(), crate::plugins(&config), vec![crate::action(&config)]);
    let class = state.class(&TaskSpec { requests: Resources::new(1000, 1 << 30), ..TaskSpec::default() });
    let job = add_job(&mut state, 0, class, 4, 0, Time::ZERO);
    profile.notify(&state, ClusterEvent::JobAdded(job));
    let (mut random, mut decisions) = (NoRandom, Vec::new());
    profile.cycle(&mut Session::new(&mut state, Time::ZERO, &mut random, &mut decisions));
    let nodes = decisions.iter().map(|decision| match decision {
        Decision::Bind { node, .. } => node.index(),
        Decision::Evict { .. } | Decision::Nominate { .. } => usize::MAX,
    });
    // The emptiest node; among equals the first in the order of zones: 0, 2, 1.
    assert_eq!(nodes.collect::<Vec<_>>(), [0, 2, 1, 0]);
}
