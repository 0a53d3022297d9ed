//! The action on a cluster, cycle by cycle.

use std::sync::Arc;

use foretell_elastic::{
    ByGoodput, ByRounds, Cadence, Divide, Elastic, ElasticFlow, GavelObjective, LateJobs, Optimus, Placing,
    ResizeCosts,
};
use foretell_framework::select::BestNode;
use foretell_framework::{
    Action, ClusterEvent, ClusterState, Decision, EvictionReason, JobId, JobSpec, NodeId, Plugins, Reason,
    RestartCost, Scaling, Session, TaskStatus, Time,
};
use foretell_gavel::{LinearProgram, Solver};
use foretell_testkit::placement::{plugins, random};
use foretell_testkit::{check_invariants, cluster, job_spec, where_placed};
use proptest::prelude::*;

/// A cluster, and a driver that carries out at once what is decided.
struct Driver {
    state: ClusterState,
    action: Elastic,
    plugins: Plugins,
    now: Time,
    decisions: Vec<Decision>,
    wake_at: Option<Time>,
}

fn seconds(seconds: u64) -> Time {
    Time::from_nanos(seconds * 1_000_000_000)
}

impl Driver {
    fn new(nodes: &str, divide: Box<dyn Divide>, cadence: Cadence, placing: Placing) -> Self {
        let costs = ResizeCosts { restart: RestartCost::of_every_job(seconds(2)), resize: seconds(1) };
        Self {
            state: cluster(nodes),
            action: Elastic::new(divide, cadence).with_placing(placing).with_costs(costs),
            plugins: plugins(BestNode),
            now: Time::ZERO,
            decisions: Vec::new(),
            wake_at: None,
        }
    }

    fn notify(&mut self, event: ClusterEvent) {
        self.action.notify(&self.state, &mut self.plugins, event);
    }

    /// A job from its description, which needs only so many of its tasks, with so many seconds of work.
    fn submit(
        &mut self,
        text: &str,
        minimum: u32,
        work_s: u64,
        speeds: &[u64],
        deadline_s: Option<u64>,
    ) -> JobId {
        let spec = job_spec(&mut self.state, text);
        let job = self.state.add_job(JobSpec {
            min_member: minimum,
            submitted: self.now,
            expected_duration: Some(seconds(work_s)),
            deadline: deadline_s.map(seconds),
            scaling: Some(Arc::new(Scaling::of_tasks(1, speeds))),
            ..spec
        });
        self.notify(ClusterEvent::JobAdded(job));
        job
    }

    fn end(&mut self, job: JobId) {
        self.notify(ClusterEvent::JobRemoved(job));
        self.state.remove_job(job);
        self.notify(ClusterEvent::TasksReleased);
    }

    /// One cycle, and what is decided in it happens.
    fn cycle(&mut self) {
        let (mut random, mut decisions) = (random(0), Vec::new());
        let mut session = Session::new(&mut self.state, self.now, &mut random, &mut decisions);
        self.action.run(&mut session, &mut self.plugins);
        self.wake_at = session.wake_at;
        for decision in &decisions {
            match *decision {
                Decision::Bind { task, .. } => self.state.start_task(task, self.now),
                Decision::Evict { task, .. } => {
                    self.state.requeue_task(task);
                    self.notify(ClusterEvent::TaskWaiting(task));
                    self.notify(ClusterEvent::TasksReleased);
                }
                Decision::Nominate { .. } => {}
            }
        }
        self.decisions.extend(decisions);
    }

    /// Cycles at an instant until nothing more is decided.
    fn settle(&mut self, now_s: u64) {
        self.now = seconds(now_s);
        for _ in 0..20 {
            let before = self.decisions.len();
            self.cycle();
            if self.decisions.len() == before {
                return;
            }
        }
        panic!("it does not come to rest");
    }

    /// Where the tasks of a job are, those that wait left out.
    fn places(&self, job: JobId) -> String {
        let tasks = self.state.job(job).unwrap().tasks();
        let places = tasks.iter().map(|&task| where_placed(&self.state, task));
        places.filter(|place| place != "nowhere").collect::<Vec<_>>().join(" ")
    }

    fn evictions(&mut self) -> Vec<EvictionReason> {
        let reason = |decision| match decision {
            Decision::Evict { reason, .. } => Some(reason),
            _ => None,
        };
        std::mem::take(&mut self.decisions).into_iter().filter_map(reason).collect()
    }
}

/// So many millionths on each task.
fn linear(tasks: u64) -> Vec<u64> {
    (1..=tasks).map(|tasks| tasks * 1_000_000).collect()
}

const NODES: &str = "a: 4xA100 cpu=64\nb: 4xA100 cpu=64";

#[test]
fn jobs_grow_together_and_shrink_where_they_have_least() {
    let every = Cadence::Every(seconds(100));
    let mut driver = Driver::new(NODES, Box::new(Optimus), every, Placing::Together);
    let first = driver.submit("8 x 1gpu cpu=1", 1, 1000, &linear(8), None);
    driver.settle(0);
    assert_eq!(driver.places(first), "a@0 a@1 a@2 a@3 b@0 b@1 b@2 b@3");
    assert_eq!(driver.wake_at, Some(seconds(100)));
    // Whoever comes waits for the next division.
    let second = driver.submit("4 x 1gpu cpu=1", 2, 100, &linear(4), None);
    driver.settle(50);
    assert_eq!((driver.places(second).as_str(), driver.evictions()), ("", vec![]));
    // Of the first 200 s are left on one GPU, of the second 100.
    driver.settle(100);
    assert_eq!(driver.places(first), "a@0 a@1 a@2 a@3 b@0");
    assert_eq!(driver.evictions(), [EvictionReason::Shrunk; 3]);
    assert_eq!(driver.places(second), "b@1 b@2 b@3");
    driver.end(first);
    driver.settle(200);
    assert_eq!(driver.places(second), "b@1 b@2 b@3 b@0");
    assert_eq!(driver.evictions(), []);
    driver.end(second);
    driver.settle(300);
    assert_eq!(driver.wake_at, None);
}

#[test]
fn a_job_that_gets_nothing_stops_and_says_why() {
    let mut driver = Driver::new("a: 2xA100 cpu=64", Box::new(Optimus), Cadence::OnChange, Placing::ByScores);
    let low = driver.submit("cpu=1; 2 x 1gpu cpu=1", 3, 100, &linear(2), None);
    driver.settle(0);
    assert_eq!(driver.places(low), "a a@0 a@1");
    let spec = job_spec(&mut driver.state, "2 x 1gpu cpu=1");
    let high = driver.state.add_job(JobSpec { priority: 1, min_member: 1, ..spec });
    driver.notify(ClusterEvent::JobAdded(high));
    driver.settle(10);
    // Its task without GPUs goes too.
    assert_eq!(driver.evictions(), [EvictionReason::Preempted; 3]);
    assert_eq!((driver.places(low).as_str(), driver.places(high).as_str()), ("", "a@0 a@1"));
    assert_eq!(explain(&mut driver, low), Some(Reason::GivenToOthers));
}

#[test]
fn a_job_without_gpus_just_runs() {
    for flow in [false, true] {
        let divide: Box<dyn Divide> =
            if flow { Box::new(ElasticFlow::new(LateJobs::TurnedAway)) } else { Box::new(Optimus) };
        let mut driver = Driver::new("a: 2xA100 cpu=5", divide, Cadence::OnChange, Placing::Together);
        let job = driver.submit("2 x cpu=2", 2, 100, &[], Some(10));
        let other = driver.submit("cpu=2", 1, 100, &[], Some(10));
        driver.settle(0);
        assert_eq!((driver.places(job).as_str(), driver.places(other).as_str()), ("a a", ""));
        assert!(matches!(explain(&mut driver, other), Some(Reason::NoNode { .. })));
        driver.end(job);
        driver.settle(1);
        assert_eq!(driver.places(other), "a");
    }
}

#[test]
fn goodput_decides_on_nodes_and_at_most_doubles() {
    for (divide, pollux) in [(ByGoodput::sia(seconds(1)), false), (ByGoodput::pollux(seconds(1)), true)] {
        let every = Cadence::Every(seconds(60));
        let mut driver = Driver::new(NODES, Box::new(divide), every, Placing::ByScores);
        let job = driver.submit("8 x 1gpu cpu=1", 1, 100_000, &linear(8), None);
        let mut sizes = Vec::new();
        for round in 0..6 {
            driver.settle(round * 60);
            sizes.push(driver.state.job(job).unwrap().placed());
        }
        assert!(sizes.windows(2).all(|pair| pair[1] <= 2 * pair[0]) && sizes[0] == 1, "{pollux}: {sizes:?}");
        assert_eq!(sizes[5], 8, "{pollux}: {sizes:?}");
        // Another comes that is as quick.
        let other = driver.submit("8 x 1gpu cpu=1", 1, 100_000, &linear(8), None);
        for round in 6..14 {
            driver.settle(round * 60);
        }
        let [one, two] = [job, other].map(|job| driver.state.job(job).unwrap().placed());
        if pollux {
            assert!(one > 0 && two > 0 && one + two <= 8, "{one} {two}");
        } else {
            // Sia's sum is 8^-0.5 + 1.1 = 1.45 with all for the first, and 4^-0.5 + 1 = 1.5 with one GPU for the other.
            assert_eq!((one, two), (8, 0));
        }
        assert_eq!(check_invariants(&driver.state), Ok(()));
    }
}

/// Finds nothing, so that no job has a share: all take turns where there is room.
struct NoSolution;

impl Solver for NoSolution {
    fn maximize(&mut self, _program: &LinearProgram) -> Option<Vec<f64>> {
        None
    }
}

fn gavel(round: Time) -> ByRounds {
    ByRounds::new(GavelObjective::MaxMinFairness, round, Box::new(NoSolution))
}

#[test]
fn rounds_give_all_or_nothing_and_move_jobs_only_for_others() {
    let every = Cadence::Every(seconds(100));
    let mut driver = Driver::new(NODES, Box::new(gavel(seconds(100))), every, Placing::Together);
    let ones: Vec<JobId> = (0..5).map(|_| driver.submit("1gpu cpu=1", 1, 9000, &linear(1), None)).collect();
    driver.settle(0);
    let places = |driver: &Driver| ones[3..].iter().map(|&job| driver.places(job)).collect::<Vec<_>>();
    assert_eq!(places(&driver), ["a@3", "b@0"]);
    ones[..3].iter().for_each(|&job| driver.end(job));
    let wide = driver.submit("4gpu cpu=1", 1, 9000, &linear(1), None);
    // Six GPUs are free, but no node is: one of the others moves.
    driver.settle(100);
    assert_eq!(driver.evictions(), [EvictionReason::Preempted]);
    assert_eq!(
        (driver.places(wide).as_str(), places(&driver)),
        ("a@0+1+2+3", vec!["b@1".into(), "b@0".into()])
    );
    let elastic = driver.submit("2 x 1gpu cpu=1", 1, 9000, &linear(2), None);
    // Whoever comes waits for the next shares, and has what it asks for: one of its two tasks.
    driver.settle(200);
    assert_eq!(driver.places(elastic), "");
    driver.settle(2100);
    assert_eq!(driver.places(elastic), "b@2");
    assert_eq!(driver.evictions(), []);
    assert_eq!(check_invariants(&driver.state), Ok(()));
}

#[test]
fn rounds_leave_out_gpus_that_are_broken() {
    let every = Cadence::Every(seconds(100));
    let mut driver = Driver::new(NODES, Box::new(gavel(seconds(100))), every, Placing::Together);
    let one = driver.submit("3gpu cpu=1", 1, 9000, &linear(1), None);
    driver.settle(0);
    assert_eq!(driver.places(one), "a@0+1+2");
    driver.end(one);
    // The first node has two that work, which the large job must not be sent to.
    for device in [1, 3] {
        driver.state.set_gpu_healthy(NodeId::new(0), device, false);
    }
    driver.notify(ClusterEvent::NodeChanged(NodeId::new(0)));
    let large = driver.submit("3gpu cpu=1", 1, 9000, &linear(1), None);
    let small = driver.submit("2gpu cpu=1", 1, 9000, &linear(1), None);
    driver.settle(2100);
    assert_eq!((driver.places(large).as_str(), driver.places(small).as_str()), ("b@0+1+2", "a@0+2"));
    assert_eq!(check_invariants(&driver.state), Ok(()));
}

fn explain(driver: &mut Driver, job: JobId) -> Option<Reason> {
    let before = driver.state.clone();
    let (mut random, mut decisions) = (random(0), Vec::new());
    let mut session = Session::new(&mut driver.state, driver.now, &mut random, &mut decisions);
    let reason = driver.action.explain(&mut session, &mut driver.plugins, job);
    assert!(driver.state == before && decisions.is_empty());
    reason
}

#[test]
fn who_is_turned_away_says_so() {
    let flow = ElasticFlow::new(LateJobs::TurnedAway);
    let mut driver = Driver::new("a: 2xA100 cpu=64", Box::new(flow), Cadence::OnChange, Placing::Together);
    let soon = driver.submit("2 x 1gpu cpu=1", 1, 100, &linear(2), Some(50));
    let never = driver.submit("2 x 1gpu cpu=1", 1, 100, &linear(2), Some(99));
    let later = driver.submit("2 x 1gpu cpu=1", 1, 90, &linear(2), Some(99));
    driver.settle(0);
    assert_eq!(driver.places(soon), "a@0 a@1");
    assert_eq!(explain(&mut driver, never), Some(Reason::DeadlineOutOfReach));
    assert_eq!(explain(&mut driver, later), Some(Reason::GivenToOthers));
    driver.end(soon);
    driver.settle(50);
    assert_eq!((driver.places(never).as_str(), driver.places(later).as_str()), ("", "a@0 a@1"));
}

/// A job: minimum, tasks beyond it, GPUs of each, work, deadline, priority, whether it is protected.
type Plan = (u32, u32, u32, u64, Option<u64>, i32, bool);

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    /// Whatever comes and goes: placements are legal, no job runs on fewer tasks than it needs or more than there are,
    /// who must not be displaced is not, and each division comes to rest.
    #[test]
    fn jobs_have_what_they_may(
        plans in prop::collection::vec(
            (1_u32..4, 0_u32..6, 1_u32..3, 1_u64..200, prop::option::of(1_u64..400), 0..2, prop::bool::weighted(0.2)),
            1..12,
        ),
        ends in prop::collection::vec(any::<prop::sample::Index>(), 12),
        rule in prop::sample::select(vec![
            "optimus", "optimus", "elasticflow", "elasticflow", "sia", "pollux", "gavel", "gavel",
        ]),
        placing in prop::sample::select(vec![Placing::ByScores, Placing::Together]),
    ) {
        let divide: Box<dyn Divide> = match rule {
            "optimus" => Box::new(Optimus),
            "elasticflow" => Box::new(ElasticFlow::new(LateJobs::BestEffort)),
            "sia" => Box::new(ByGoodput::sia(seconds(1))),
            "gavel" => Box::new(gavel(seconds(20))),
            _ => Box::new(ByGoodput::pollux(seconds(1))),
        };
        let cadence =
            if rule == "elasticflow" { Cadence::OnChange } else { Cadence::Every(seconds(20)) };
        let mut driver = Driver::new(NODES, divide, cadence, placing);
        let mut jobs: Vec<(JobId, Plan)> = Vec::new();
        for (round, (plan, end)) in plans.into_iter().zip(ends).enumerate() {
            let (minimum, more, gpus, work_s, deadline_s, priority, is_protected) = plan;
            let now_s = round as u64 * 15;
            let text = format!("{} x {gpus}gpu cpu=1", minimum + more);
            let spec = job_spec(&mut driver.state, &text);
            let speeds = linear(u64::from(minimum + more));
            let id = driver.state.add_job(JobSpec {
                sequence: round as u64,
                min_member: minimum,
                priority,
                submitted: seconds(now_s),
                expected_duration: Some(seconds(work_s)),
                deadline: deadline_s.map(|after_s| seconds(now_s + after_s)),
                preemptable: is_protected.then_some(false),
                scaling: Some(Arc::new(Scaling::of_tasks(1, speeds))),
                ..spec
            });
            driver.notify(ClusterEvent::JobAdded(id));
            jobs.push((id, plan));
            let before: Vec<u32> = jobs.iter().map(|&(id, _)| driver.state.job(id).unwrap().placed()).collect();
            driver.settle(now_s);
            prop_assert_eq!(check_invariants(&driver.state), Ok(()));
            for (&(id, (minimum, .., is_protected)), before) in jobs.iter().zip(before) {
                let job = driver.state.job(id).unwrap();
                let placed = job.placed();
                prop_assert!(placed == 0 || placed >= minimum, "{} of {:?}", placed, job.spec);
                prop_assert!(!is_protected || placed >= before, "{} of {:?}", placed, job.spec);
                prop_assert_eq!(job.count(TaskStatus::Running), placed);
                prop_assert!(placed > 0 || explain(&mut driver, id).is_some());
            }
            if round % 3 == 2 {
                let (id, _) = jobs.remove(end.index(jobs.len()));
                driver.end(id);
            }
        }
    }
}
