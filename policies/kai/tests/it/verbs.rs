//! Who is stopped for whom.

use foretell_framework::state::QueueSpec;
use foretell_framework::{ClusterState, Decision, JobId, JobSpec, Quota, Session, TaskStatus, Time};
use foretell_kai::{Kai, KaiConfig, keys};
use foretell_testkit::placement::random;
use foretell_testkit::{cluster, task_spec};

fn gpus(gpus: u64) -> Quota {
    Quota { gpu_milli: Some(gpus * 1000), ..Quota::default() }
}

/// Adds a job of one task with four GPUs; its start puts it on the node.
fn job(state: &mut ClusterState, queue: &str, priority: i32, started: Option<Time>) -> JobId {
    let spec = task_spec(state, "4gpu cpu=1");
    let (class, queue) = (state.class(&spec), state.queue_id(queue));
    let sequence = state.jobs().count() as u64;
    let mut spec = JobSpec { priority, ..JobSpec::new(sequence, queue, [(class, 1)]) };
    if let Some(started) = started {
        spec.annotations.insert(keys::LAST_START.into(), started.as_nanos().to_string().into());
    }
    let job = state.add_job(spec);
    if started.is_some() {
        let (task, node) = (state.job(job).unwrap().tasks()[0], state.node_ids().next().unwrap());
        state.observe_task(task, node, None, TaskStatus::Running);
    }
    job
}

/// The jobs of which a task is told to stop in a cycle at second 100.
fn stopped(state: &mut ClusterState) -> Vec<JobId> {
    let (mut random, mut decisions) = (random(7), Vec::new());
    let mut session = Session::new(state, Time::from_s(100.0), &mut random, &mut decisions);
    Kai::profile("kai".to_owned(), KaiConfig::default()).cycle(&mut session);
    let evicted = decisions.iter().filter_map(|decision| match *decision {
        Decision::Evict { task, .. } => state.task(task).map(|task| task.job),
        _ => None,
    });
    evicted.collect()
}

#[test]
fn a_queue_at_its_limit_makes_room_for_its_own() {
    let mut state = cluster("a: 8xA100 cpu=64");
    let queue = state.queue_id("red");
    state.set_queue_spec(queue, QueueSpec { capability: gpus(4), ..QueueSpec::default() });
    let low = job(&mut state, "red", 0, Some(Time::ZERO));
    job(&mut state, "red", 1, None);
    assert_eq!(stopped(&mut state), [low]);
}

#[test]
fn young_jobs_are_spared_by_other_queues() {
    let check = |least_s: f64, started_s: f64, is_stopped: bool| {
        let mut state = cluster("a: 4xA100 cpu=64");
        let (lender, borrower) = (state.queue_id("red"), state.queue_id("blue"));
        state.set_queue_spec(lender, QueueSpec { deserved: gpus(4), ..QueueSpec::default() });
        let mut spec = QueueSpec { deserved: gpus(0), ..QueueSpec::default() };
        let least = Time::from_s(least_s).as_nanos().to_string();
        spec.annotations.insert(keys::RECLAIM_MIN_RUNTIME.into(), least.into());
        state.set_queue_spec(borrower, spec);
        let borrowing = job(&mut state, "blue", 0, Some(Time::from_s(started_s)));
        job(&mut state, "red", 0, None);
        let expected = if is_stopped { vec![borrowing] } else { Vec::new() };
        assert_eq!(stopped(&mut state), expected, "{least_s} s, started at {started_s} s");
    };
    check(60.0, 30.0, true);
    check(60.0, 50.0, false);
    check(0.0, 100.0, true);
}
