//! Running jobs move together so that a waiting one fits, and nobody is left without a place.

use std::collections::BTreeMap;

use foretell_actions::{BlockedNodes, Consolidation, ConsolidationConfig};
use foretell_framework::select::{BestFitGpus, BestNode};
use foretell_framework::{
    ClusterEvent, ClusterState, Decision, EvictionReason, Filter, JobId, Plugins, Profile, Rejection,
    Session, TaskId, TaskStatus, Time,
};
use foretell_ordering::{Allocate, FirstInFirstOut, HeadOfLine, PriorityFirst};
use foretell_packing::{GpuAllocated, Preference};
use foretell_testkit::placement::random;
use foretell_testkit::{add_job, check_invariants, cluster, job_spec, node, task_spec};
use proptest::prelude::*;

/// A cluster under `fifo-skip+binpack` with consolidation; tasks that are evicted leave at once.
struct Driver {
    state: ClusterState,
    profile: Profile,
    now: Time,
    moves: usize,
}

impl Driver {
    fn new(mut state: ClusterState, config: ConsolidationConfig) -> Self {
        let placed = state.tasks().filter(|(_, task)| task.status().is_placed());
        for task in placed.map(|(task, _)| task).collect::<Vec<_>>() {
            state.start_task(task, Time::ZERO);
        }
        let order: Vec<Box<dyn foretell_framework::OrderJobs>> =
            vec![Box::new(PriorityFirst), Box::new(FirstInFirstOut)];
        let plugins = Plugins::new(Box::new(BestNode), Box::new(BestFitGpus))
            .with_filters(foretell_default::filters())
            .with_score(Box::new(GpuAllocated(Preference::Most)), 1)
            .honouring_nominations();
        let mut profile = Profile::new(
            "test".to_owned(),
            plugins,
            vec![Box::new(Consolidation::new(config)), Box::new(Allocate::new(order, HeadOfLine::IsSkipped))],
        );
        for (job, _) in state.jobs().filter(|(_, job)| !job.is_complete()) {
            profile.notify(&state, ClusterEvent::JobAdded(job));
        }
        Self { state, profile, now: Time::from_s(1000.0), moves: 0 }
    }

    /// Runs a cycle and carries its decisions out. Returns the tasks that were told to move.
    fn cycle(&mut self) -> Vec<TaskId> {
        self.now = self.now + Time::from_s(100.0);
        let (mut random, mut decisions) = (random(0), Vec::new());
        let mut session = Session::new(&mut self.state, self.now, &mut random, &mut decisions);
        self.profile.cycle(&mut session);
        let mut moved = Vec::new();
        for decision in decisions {
            match decision {
                Decision::Bind { task, .. } => self.state.start_task(task, self.now),
                Decision::Evict { task, reason, beneficiary } => {
                    assert_eq!(reason, EvictionReason::Consolidated);
                    assert!(beneficiary.is_some());
                    moved.push(task);
                }
                Decision::Nominate { .. } => {}
            }
        }
        for &task in &moved {
            self.state.requeue_task(task).unwrap();
            self.profile.notify(&self.state, ClusterEvent::TaskWaiting(task));
            self.profile.notify(&self.state, ClusterEvent::TasksReleased);
        }
        self.moves += moved.len();
        assert_eq!(check_invariants(&self.state), Ok(()));
        moved
    }

    fn is_placed(&self, job: JobId) -> bool {
        self.state.job(job).unwrap().is_complete()
    }
}

/// A job waits in a cluster; how many tasks are moved so that it runs, `None` if it goes on waiting.
#[track_caller]
fn check(nodes: &str, waiting: &str, config: ConsolidationConfig, expected: Option<usize>) {
    let mut state = cluster(nodes);
    let job = add_job(&mut state, waiting);
    let mut driver = Driver::new(state, config);
    for _ in 0..4 {
        driver.cycle();
    }
    let moves = driver.is_placed(job).then_some(driver.moves);
    assert_eq!(moves, expected, "{nodes} waiting {waiting}");
    if expected.is_none() {
        assert_eq!(driver.moves, 0, "moved in vain: {nodes} waiting {waiting}");
    }
    let waits = driver.state.tasks().filter(|(_, task)| task.status() == TaskStatus::Waiting).count();
    let wanted = driver.state.job(job).unwrap().tasks().len();
    assert_eq!(waits, if expected.is_some() { 0 } else { wanted }, "{nodes}: nobody else is left waiting");
}

#[test]
fn a_whole_node_is_cleared_if_what_runs_there_has_another_place() {
    let config = ConsolidationConfig::default();
    // 8 GPUs are free, on two nodes: the job that is alone on the second moves.
    let fragmented = "a: 8xA100 | 1gpu, 2gpu, 2gpu
                      b: 8xA100 | 3gpu";
    check(fragmented, "8gpu", config, Some(1));
    // Of two jobs both must go.
    check("a: 8xA100 | 4gpu\nb: 8xA100 | 2gpu, 2gpu", "8gpu", config, Some(1));
    check("a: 8xA100 | 1gpu, 3gpu\nb: 8xA100 | 2gpu, 2gpu\nc: 8xA100 | 8gpu", "8gpu", config, Some(2));
    // A gang of two nodes.
    check("a: 8xA100 | 3gpu\nb: 8xA100 | 3gpu\nc: 8xA100 | 2gpu", "2 x 8gpu", config, Some(2));
    // Shares move too.
    check("a: 2xT4 | 0.5gpu@0\nb: 2xT4 | 0.5gpu@0", "2gpu", config, Some(1));
    // Nothing has to move.
    check("a: 8xA100 | 4gpu\nb: 8xA100", "8gpu", config, Some(0));
}

#[test]
fn nothing_moves_in_vain() {
    let config = ConsolidationConfig::default();
    // Seven GPUs are free in all.
    check("a: 8xA100 | 5gpu\nb: 8xA100 | 4gpu", "8gpu", config, None);
    // Enough are free, but what would have to leave fits nowhere: of another model, too large, without CPU.
    check("a: 8xA100 | 4gpu model=A100\nb: 8xT4 | 4gpu model=T4", "8gpu", config, None);
    check("a: 8xA100 | 5gpu\nb: 8xA100 | 1gpu, 2gpu\nc: 4xT4 | 2gpu", "8gpu model=A100", config, Some(2));
    check("a: 8xA100 cpu=8 | 4gpu cpu=8\nb: 8xA100 cpu=4 | 4gpu cpu=4", "8gpu", config, None);
    check("a: 8xA100 | 4gpu\nb: 8xA100 cordoned", "8gpu", config, None);
    // More moves than are allowed, too young.
    let small = "a: 8xA100 | 4gpu, 1gpu\nb: 8xA100 | 1gpu, 1gpu, 1gpu";
    check(small, "8gpu", config, Some(3));
    check(small, "8gpu", ConsolidationConfig { max_moves: 2, ..config }, Some(2));
    check(small, "8gpu", ConsolidationConfig { max_moves: 1, ..config }, None);
    check(small, "8gpu", ConsolidationConfig { min_runtime: Time::from_s(1e6), ..config }, None);
}

#[test]
fn who_must_not_be_displaced_stays() {
    let check = |change: fn(&mut foretell_framework::JobSpec), expected| {
        let mut state = cluster("a: 8xA100 | 4gpu\nb: 8xA100");
        let mut spec = job_spec(&mut state, "4gpu");
        change(&mut spec);
        let job = state.add_job(spec);
        let task = state.job(job).unwrap().tasks()[0];
        let target = node(&state, "b");
        state.observe_task(task, target, None, TaskStatus::Running);
        let waiting = add_job(&mut state, "8gpu");
        // The other one may move, to the node of the first only.
        let mut driver = Driver::new(state, ConsolidationConfig::default());
        driver.cycle();
        driver.cycle();
        let stays = driver.state.task(task).unwrap().placement().unwrap().node == target;
        (stays, driver.is_placed(waiting), driver.moves) == expected
    };
    assert!(check(|job| job.preemptable = Some(false), (true, true, 1)));
    assert!(check(|job| job.priority = 1, (true, true, 1)));
}

#[test]
fn a_gang_moves_whole() {
    let mut state = cluster("a: 8xA100\nb: 8xA100\nc: 8xA100");
    let gang = add_job(&mut state, "2 x 4gpu");
    let [first, second] = *state.job(gang).unwrap().tasks() else { panic!("two tasks") };
    let nodes = ["a", "b"].map(|name| node(&state, name));
    state.observe_task(first, nodes[0], None, TaskStatus::Running);
    state.observe_task(second, nodes[1], None, TaskStatus::Running);
    let waiting = add_job(&mut state, "2 x 8gpu");
    let mut driver = Driver::new(state, ConsolidationConfig::default());
    let moved = driver.cycle();
    assert_eq!(moved.len(), 2, "both tasks of the gang");
    driver.cycle();
    assert!(driver.is_placed(gang) && driver.is_placed(waiting));
}

#[test]
fn blocked_nodes_take_nothing_new() {
    let mut state = cluster("a: 8xA100\nb: 8xA100");
    let task = task_spec(&mut state, "1gpu");
    let mut filter = BlockedNodes { names: ["b".into()].into() };
    assert_eq!(filter.filter(&state, &task, node(&state, "a")), Ok(()));
    assert_eq!(filter.filter(&state, &task, node(&state, "b")), Err(Rejection::Blocked));
}

/// Jobs of one or two tasks on up to five nodes of eight GPUs, then one that waits.
fn fragmented() -> impl Strategy<Value = (Vec<Vec<u32>>, u32, u32)> {
    (prop::collection::vec(prop::collection::vec(1_u32..4, 0..4), 2..6), 1_u32..3, 4_u32..9)
}

proptest! {
    /// Whatever moves comes to rest: nobody is left without a place, no gang is broken, and if anything moved, the waiting
    /// job runs.
    #[test]
    fn nobody_is_left_without_a_place((nodes, tasks, gpus) in fragmented()) {
        let lines = nodes.iter().enumerate().map(|(index, jobs)| {
            let jobs: Vec<_> = jobs.iter().map(|gpus| format!("{gpus}gpu")).collect();
            let used: u32 = nodes[index].iter().sum();
            if used > 8 { format!("n{index}: 16xA100 | {}", jobs.join(", ")) }
            else { format!("n{index}: 8xA100 | {}", jobs.join(", ")) }
        });
        let mut state = cluster(&lines.collect::<Vec<_>>().join("\n"));
        let waiting = add_job(&mut state, &format!("{tasks} x {gpus}gpu"));
        let mut driver = Driver::new(state, ConsolidationConfig::default());
        let before: BTreeMap<_, _> = driver.state.jobs().map(|(id, job)| (id, job.placed())).collect();
        for _ in 0..4 {
            driver.cycle();
        }
        for (job, placed) in before {
            prop_assert!(job == waiting || driver.state.job(job).unwrap().placed() == placed);
        }
        prop_assert!(driver.moves == 0 || driver.is_placed(waiting));
        prop_assert!(driver.state.job(waiting).unwrap().placed().is_multiple_of(tasks));
        prop_assert!(driver.state.nominations() == 0);
    }
}
