//! What one cycle decides. A case is a configuration, a cluster, what runs, what waits, and the decisions.

use std::rc::Rc;

use foretell_framework::select::BestNode;
use foretell_framework::state::{ACCOUNT_ANNOTATION, QOS_ANNOTATION};
use foretell_framework::{
    Action, ClusterEvent, ClusterState, Decision, Filter, JobId, JobSpec, Plugins, Session, Time,
};
use foretell_ordering::{Holds, HonourReservations, SharedHolds};
use foretell_slurm::{PartitionNodes, SharedNodes, Slurm, parse};
use foretell_testkit::{check_invariants, cluster, job_spec, placement};

struct Bench {
    state: ClusterState,
    action: Slurm,
    plugins: Plugins,
    names: Vec<(JobId, String)>,
    now: Time,
}

impl Bench {
    fn new(conf: &str, nodes: &str) -> Self {
        let (config, warnings) = parse(conf).unwrap();
        assert!(warnings.is_empty(), "{warnings:?}");
        let (holds, nodes_asked) = (SharedHolds::new(Holds::default().into()), SharedNodes::default());
        let filters: [Box<dyn Filter>; 2] = [
            Box::new(HonourReservations { holds: Rc::clone(&holds) }),
            Box::new(PartitionNodes { nodes: Rc::clone(&nodes_asked) }),
        ];
        Self {
            state: cluster(nodes),
            action: Slurm::new(config, holds, nodes_asked),
            plugins: placement::plugins(BestNode).with_filters(filters),
            names: Vec::new(),
            now: Time::ZERO,
        }
    }

    /// `NAME WORDS : TASKS`; words: queue=, user=, account=, qos=, for=.
    fn submit(&mut self, line: &str) {
        let (head, tasks) = line.split_once(" : ").unwrap();
        let mut words = head.split_whitespace();
        let name = words.next().unwrap().to_owned();
        let mut spec = JobSpec {
            sequence: self.names.len() as u64,
            submitted: self.now,
            ..job_spec(&mut self.state, tasks)
        };
        for word in words {
            match word.split_once('=').unwrap() {
                ("queue", queue) => spec.queue = self.state.queue_id(queue),
                ("user", user) => spec.user = user.into(),
                ("account", account) => {
                    spec.annotations.insert(ACCOUNT_ANNOTATION.into(), account.into());
                }
                ("qos", qos) => {
                    spec.annotations.insert(QOS_ANNOTATION.into(), qos.into());
                }
                ("for", seconds) => spec.expected_duration = Some(Time::from_s(seconds.parse().unwrap())),
                _ => panic!("`{word}`"),
            }
        }
        let id = self.state.add_job(spec);
        self.names.push((id, name));
        self.action.notify(&self.state, &mut self.plugins, ClusterEvent::JobAdded(id));
    }

    fn end(&mut self, name: &str) {
        let id = self.names.iter().find(|(_, known)| known == name).unwrap().0;
        self.action.notify(&self.state, &mut self.plugins, ClusterEvent::JobRemoved(id));
        self.state.remove_job(id);
        self.action.notify(&self.state, &mut self.plugins, ClusterEvent::TasksReleased);
    }

    /// The last task of a job is lost; the others stay.
    fn lose(&mut self, name: &str) {
        let id = self.names.iter().find(|(_, known)| known == name).unwrap().0;
        let task = *self.state.job(id).unwrap().tasks().last().unwrap();
        self.state.requeue_task(task);
        self.action.notify(&self.state, &mut self.plugins, ClusterEvent::TaskWaiting(task));
        self.action.notify(&self.state, &mut self.plugins, ClusterEvent::TasksReleased);
    }

    /// Runs a cycle at a time; `A@a B@b -C`: A starts on node a, C must go.
    fn cycle(&mut self, at_s: f64) -> String {
        self.now = Time::from_s(at_s);
        let (mut random, mut decisions) = (placement::random(0), Vec::new());
        let mut session = Session::new(&mut self.state, self.now, &mut random, &mut decisions);
        self.action.run(&mut session, &mut self.plugins);
        assert_eq!(check_invariants(&self.state), Ok(()));
        let mut words = Vec::new();
        for decision in decisions {
            let (Decision::Bind { task, .. }
            | Decision::Evict { task, .. }
            | Decision::Nominate { task, .. }) = decision;
            let job = self.state.task(task).unwrap().job;
            let name = &self.names.iter().find(|(id, _)| *id == job).unwrap().1;
            match decision {
                Decision::Bind { node, .. } => {
                    self.state.start_task(task, self.now);
                    words.push(format!("{name}@{}", self.state.node(node).spec.name));
                }
                Decision::Evict { .. } => {
                    words.push(format!("-{name}"));
                    self.state.requeue_task(task);
                    self.action.notify(&self.state, &mut self.plugins, ClusterEvent::TaskWaiting(task));
                }
                Decision::Nominate { .. } => panic!("{decision:?}"),
            }
        }
        words.join(" ")
    }
}

#[test]
fn the_sum_of_factors_decides() {
    let one_gpu = "a: 1xA100 cpu=8";
    // Age: B has waited for a day of seven, which is worth 1000 / 7; C is of a QOS worth 100.
    let conf = "PriorityWeightAge=1000 PriorityWeightQOS=100\nQOS=normal\nQOS=high Priority=5";
    let mut bench = Bench::new(conf, one_gpu);
    bench.submit("A for=1 : 1gpu");
    assert_eq!(bench.cycle(0.0), "A@a");
    bench.submit("B for=1 : 1gpu");
    bench.cycle(86_400.0);
    bench.submit("C for=1 qos=high : 1gpu");
    bench.end("A");
    assert_eq!(bench.cycle(86_400.0), "B@a");
    // With the weights the other way round.
    let mut bench = Bench::new(&conf.replace("=1000 ", "=100 ").replace("QOS=100", "QOS=1000"), one_gpu);
    bench.submit("A for=1 : 1gpu");
    bench.cycle(0.0);
    bench.submit("B for=1 : 1gpu");
    bench.cycle(86_400.0);
    bench.submit("C for=1 qos=high : 1gpu");
    bench.end("A");
    assert_eq!(bench.cycle(86_400.0), "C@a");
}

#[test]
fn small_or_large_jobs_go_first() {
    for (favor, expected) in [("NO", "B@a B@b"), ("YES", "A@a")] {
        let conf = format!("PriorityWeightJobSize=1000 PriorityFavorSmall={favor}");
        let mut bench = Bench::new(&conf, "a: 1xA100\nb: 1xA100");
        bench.submit("A for=9 : 1gpu");
        bench.submit("B for=9 : 2 x 1gpu");
        assert_eq!(bench.cycle(0.0), expected, "{favor}");
    }
}

#[test]
fn who_used_much_waits() {
    let conf =
        "PriorityWeightFairshare=1000 TRESBillingWeights=GRES/gpu=1.0 PriorityDecayHalfLife=1-0\nQOS=normal";
    let mut bench = Bench::new(conf, "a: 1xA100");
    bench.submit("A user=ann for=1000 : 1gpu");
    assert_eq!(bench.cycle(0.0), "A@a");
    bench.submit("B user=ann for=10 : 1gpu");
    bench.submit("C user=bob for=10 : 1gpu");
    bench.end("A");
    assert_eq!(bench.cycle(1000.0), "C@a");
}

#[test]
fn limits_of_a_qos_hold() {
    let nodes = "a: 8xA100 cpu=64";
    for (limit, expected) in [
        ("", "A@a B@a C@a D@a"),
        ("GrpJobs=2", "A@a B@a"),
        ("MaxJobsPerUser=1", "A@a C@a"),
        ("GrpTRES=gres/gpu=5", "A@a B@a"),
        ("MaxTRESPerUser=gres/gpu=2", "A@a C@a"),
        ("MaxTRESPerJob=gres/gpu=1", ""),
        ("MaxWall=2", "A@a C@a"),
    ] {
        let mut bench = Bench::new(&format!("QOS=normal {limit}"), nodes);
        bench.submit("A user=ann for=60 : 2gpu");
        bench.submit("B user=ann for=600 : 2gpu");
        bench.submit("C user=bob for=60 : 2gpu");
        bench.submit("D user=bob for=600 : 2gpu");
        assert_eq!(bench.cycle(0.0), expected, "{limit}");
    }
}

#[test]
fn partitions_have_nodes_tiers_and_limits() {
    let conf = "PartitionName=slow Nodes=a Default=YES\nPartitionName=fast Nodes=a,b PriorityTier=5 MaxTime=1 MaxNodes=1";
    let mut bench = Bench::new(conf, "a: 1xA100\nb: 1xA100\nc: 1xA100");
    bench.submit("A queue=slow for=60 : 1gpu");
    bench.submit("B queue=fast for=60 : 1gpu");
    bench.submit("C queue=fast for=61 : 1gpu");
    bench.submit("D queue=fast for=60 : 2 x 1gpu");
    bench.submit("E queue=other for=60 : 1gpu");
    // The fast partition goes first, and takes the only node of the slow one.
    assert_eq!(bench.cycle(0.0), "B@a");
    bench.end("B");
    assert_eq!(bench.cycle(1.0), "A@a");
}

#[test]
fn jobs_go_ahead_where_they_delay_nobody() {
    for (scheduler, expected) in [("backfill", "C@b"), ("builtin", "")] {
        let mut bench = Bench::new(&format!("SchedulerType=sched/{scheduler}"), "a: 1xA100\nb: 1xA100");
        bench.submit("A for=100 : 1gpu");
        assert_eq!(bench.cycle(0.0), "A@a");
        bench.submit("B for=100 : 2 x 1gpu");
        bench.submit("D for=101 : 1gpu");
        bench.submit("C for=100 : 1gpu");
        assert_eq!(bench.cycle(0.0), expected, "{scheduler}");
    }
}

/// Of a job that has a part of what it needs, the rest is looked for, not all.
#[test]
fn what_a_job_lost_is_found_again_behind_a_head() {
    let mut bench = Bench::new("SchedulerType=sched/backfill", "a: 1xA100\nb: 1xA100\nc: 1xA100");
    bench.submit("X for=1000 : 1gpu");
    assert_eq!(bench.cycle(0.0), "X@a");
    bench.submit("H for=100 : 3 x 1gpu");
    bench.submit("A for=100 : 2 x 1gpu");
    assert_eq!(bench.cycle(0.0), "A@b A@c");
    bench.lose("A");
    assert_eq!(bench.cycle(1.0), "A@c");
}

#[test]
fn higher_tiers_and_qos_displace_as_few_as_needed() {
    let by_tier = "PreemptType=preempt/partition_prio PreemptMode=REQUEUE\n\
                   PartitionName=low Default=YES\nPartitionName=high PriorityTier=9";
    let by_qos = "PriorityWeightQOS=1000 PreemptType=preempt/qos PreemptMode=REQUEUE\nQOS=normal\nQOS=high Priority=1 Preempt=normal";
    let nodes = "a: 2xA100\nb: 2xA100";
    for (conf, words, expected) in [
        (by_tier.to_owned(), "queue=high", "-C"),
        (by_tier.replace("Default=YES", "Default=YES PreemptMode=OFF"), "queue=high", ""),
        (by_tier.replace("partition_prio", "none"), "queue=high", ""),
        (by_tier.to_owned(), "queue=low", ""),
        (by_qos.to_owned(), "qos=high", "-C"),
        (by_qos.replace("Preempt=normal", ""), "qos=high", ""),
    ] {
        let mut bench = Bench::new(&conf, nodes);
        bench.submit("A for=100 : 1gpu");
        bench.submit("B for=100 : 1gpu");
        assert_eq!(bench.cycle(0.0), "A@a B@a");
        bench.submit("C for=100 : 2gpu");
        assert_eq!(bench.cycle(1.0), "C@b");
        bench.submit(&format!("D {words} for=100 : 2gpu"));
        assert_eq!(bench.cycle(2.0), expected, "{conf}");
        if !expected.is_empty() {
            assert_eq!(bench.cycle(2.0), "D@b", "{conf}");
        }
    }
}
