//! What a cycle promises, whatever the cluster.

use std::collections::BTreeSet;

use foretell_framework::state::QueueSpec;
use foretell_framework::{
    ClusterState, Decision, EvictionReason, JobId, JobSpec, Quota, Session, TaskId, TaskStatus, Time,
};
use foretell_kai::{Kai, KaiConfig};
use foretell_testkit::placement::random;
use foretell_testkit::{check_invariants, cluster, task_spec};
use proptest::prelude::*;
use proptest::sample::select;

/// A job: its queue, what its tasks ask for, their number and minimum, priority, and whether it may run already.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    queue: usize,
    task: &'static str,
    tasks: u32,
    min_member: u32,
    priority: i32,
    is_preemptible: bool,
    runs: bool,
}

pub(crate) fn plans() -> impl Strategy<Value = Vec<Plan>> {
    let task = select(vec!["1gpu cpu=1", "0.5gpu cpu=1", "2gpu cpu=1", "4gpu cpu=1", "cpu=4"]);
    let plan = (0_usize..3, task, 1_u32..5, 1_u32..5, 0..3, any::<bool>(), any::<bool>());
    let plan = plan.prop_map(|(queue, task, tasks, min_member, priority, is_preemptible, runs)| Plan {
        queue,
        task,
        tasks,
        min_member: min_member.min(tasks),
        priority,
        is_preemptible,
        runs,
    });
    prop::collection::vec(plan, 1..9)
}

/// Deserved and capability of a queue in GPUs.
pub(crate) fn entitlements() -> impl Strategy<Value = [(Option<u64>, Option<u64>); 3]> {
    let entitlement = (prop::option::of(0_u64..9), prop::option::weighted(0.3, 4_u64..17));
    [entitlement.clone(), entitlement.clone(), entitlement]
}

/// Two nodes with 8 GPUs, two queues below one and one beside it, jobs of which some run as far as there is room.
pub(crate) fn state(plans: &[Plan], entitlements: &[(Option<u64>, Option<u64>); 3]) -> ClusterState {
    let mut state = cluster("a: 8xA100 cpu=200\nb: 8xA100 cpu=200");
    let gpus = |gpus: Option<u64>| Quota { gpu_milli: gpus.map(|gpus| gpus * 1000), ..Quota::default() };
    let parent = state.queue_id("colours");
    let queues = ["red", "green", "blue"].map(|name| state.queue_id(name));
    for (index, (&queue, &(deserved, capability))) in queues.iter().zip(entitlements).enumerate() {
        state.set_queue_spec(
            queue,
            QueueSpec {
                parent: (index < 2).then_some(parent),
                deserved: gpus(deserved),
                capability: gpus(capability),
                ..QueueSpec::default()
            },
        );
    }
    for (index, plan) in plans.iter().enumerate() {
        let job = add_job(&mut state, index as u64, plan);
        let spec = task_spec(&mut state, plan.task);
        let queue = state.queue(queues[plan.queue]);
        let limit = queue.spec.capability.gpu_milli.unwrap_or(u64::MAX);
        let asked = spec.gpus.total_milli() * u64::from(plan.tasks);
        // Tasks that share a device need no more than half of one each: whole devices for all are enough.
        let devices = u64::from(spec.gpus.count * plan.tasks) * 1000;
        let free =
            |node| state.gpu_free_milli(node).iter().filter(|&&free| free == 1000).count() as u64 * 1000;
        let room = state.node_ids().find(|&node| free(node) >= devices);
        if let Some(node) = room.filter(|_| plan.runs && queue.gpu_allocated_milli + asked <= limit) {
            for task in tasks(&state, job) {
                state.observe_task(task, node, None, TaskStatus::Running);
            }
        }
    }
    state
}

/// Adds a job that waits.
pub(crate) fn add_job(state: &mut ClusterState, sequence: u64, plan: &Plan) -> JobId {
    let spec = task_spec(state, plan.task);
    let (class, queue) = (state.class(&spec), state.queue_id(["red", "green", "blue"][plan.queue]));
    state.add_job(JobSpec {
        min_member: plan.min_member,
        priority: plan.priority,
        preemptable: Some(plan.is_preemptible),
        submitted: Time::from_nanos(sequence),
        ..JobSpec::new(sequence, queue, [(class, plan.tasks)])
    })
}

fn tasks(state: &ClusterState, job: JobId) -> Vec<TaskId> {
    state.job(job).map(|job| job.tasks().to_vec()).unwrap_or_default()
}

proptest! {
    #[test]
    fn cycles_keep_gangs_whole_and_queues_within_their_limits(
        plans in plans(), entitlements in entitlements(), rounds in 1_u64..5,
    ) {
        let mut state = state(&plans, &entitlements);
        let mut profile = Kai::profile("kai".to_owned(), KaiConfig::default());
        let (mut random, mut moved) = (random(7), BTreeSet::new());
        for round in 0..rounds {
            let (now, mut decisions) = (Time::from_nanos(round), Vec::new());
            let mut session = Session::new(&mut state, now, &mut random, &mut decisions);
            profile.cycle(&mut session);
            prop_assert_eq!(check_invariants(&state), Ok(()));
            for decision in &decisions {
                if let Decision::Evict { task, reason: EvictionReason::Consolidated, .. } = *decision {
                    moved.extend(state.task(task).map(|task| task.job));
                }
            }
            for (id, job) in state.jobs() {
                let (placed, least) = (job.placed(), job.spec.min_member);
                // Of a gang that is moved a part may go at a time, as in KAI.
                let is_whole = placed == 0 || placed >= least || moved.contains(&id);
                prop_assert!(is_whole, "{placed} of {least} placed");
            }
            for queue in state.queues() {
                let limit = queue.spec.capability.gpu_milli.unwrap_or(u64::MAX);
                prop_assert!(queue.gpu_allocated_milli <= limit, "{} holds too much", queue.name);
            }
            for decision in &decisions {
                if let Decision::Evict { task, .. } = *decision {
                    let job = state.task(task).and_then(|task| state.job(task.job));
                    prop_assert_eq!(job.and_then(|job| job.spec.preemptable), Some(true));
                }
            }
            // What was told to stop leaves, and what was bound starts.
            let all: Vec<TaskId> = state.tasks().map(|(task, _)| task).collect();
            for task in all {
                if state.task(task).is_some_and(|task| task.status() == TaskStatus::Releasing) {
                    state.requeue_task(task);
                }
                state.start_task(task, now);
            }
        }
    }
}
