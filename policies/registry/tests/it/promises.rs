//! What holds of every profile of gangs and queues, whatever the cluster.

use foretell_framework::{ClusterState, Decision, JobSpec, Quota, Reason, Session, TaskId, TaskStatus, Time};
use foretell_registry::{PolicyConfig, VOLCANO_PROFILES, build};
use foretell_testkit::placement::random;
use foretell_testkit::{check_invariants, cluster, task_spec};
use proptest::prelude::*;
use proptest::sample::select;

/// A job: its queue, its tasks' GPUs, number and minimum, priority, and whether it may run already.
#[derive(Clone, Debug)]
struct Plan {
    queue: usize,
    gpus: u32,
    tasks: u32,
    min_member: u32,
    priority: i32,
    runs: bool,
}

fn plans() -> impl Strategy<Value = Vec<Plan>> {
    let plan = (0_usize..3, select(vec![1_u32, 1, 2, 4]), 1_u32..5, 0_u32..5, 0..3, any::<bool>());
    let plan = plan.prop_map(|(queue, gpus, tasks, min_member, priority, runs)| Plan {
        queue,
        gpus,
        tasks,
        min_member: min_member.min(tasks),
        priority,
        runs,
    });
    prop::collection::vec(plan, 1..9)
}

/// Deserved, capability and guarantee of a queue in GPUs.
type Entitlement = (Option<u64>, Option<u64>, Option<u64>);

fn entitlements() -> impl Strategy<Value = [Entitlement; 3]> {
    let entitlement = (
        prop::option::of(0_u64..9),
        prop::option::weighted(0.3, 4_u64..17),
        prop::option::weighted(0.3, 1_u64..4),
    );
    [entitlement.clone(), entitlement.clone(), entitlement]
}

/// Two nodes with 8 GPUs, three queues, jobs of which some run as far as there is room.
fn state(plans: &[Plan], entitlements: &[Entitlement; 3]) -> ClusterState {
    let mut state = cluster("a: 8xA100 cpu=64\nb: 8xA100 cpu=64");
    let gpus = |gpus: Option<u64>| Quota { gpu_milli: gpus.map(|gpus| gpus * 1000), ..Quota::default() };
    let queues = ["red", "green", "blue"].map(|name| state.queue_id(name));
    for (&queue, &(deserved, capability, guarantee)) in queues.iter().zip(entitlements) {
        let mut spec = state.queue(queue).spec.clone();
        (spec.deserved, spec.capability, spec.guarantee) =
            (gpus(deserved), gpus(capability), gpus(guarantee));
        state.set_queue_spec(queue, spec);
    }
    for (index, plan) in plans.iter().enumerate() {
        let spec = task_spec(&mut state, &format!("{}gpu cpu=1", plan.gpus));
        let class = state.class(&spec);
        let job = state.add_job(JobSpec {
            min_member: plan.min_member,
            priority: plan.priority,
            submitted: Time::from_nanos(index as u64),
            ..JobSpec::new(index as u64, queues[plan.queue], [(class, plan.tasks)])
        });
        if !plan.runs {
            continue;
        }
        let queue = state.queue(queues[plan.queue]);
        let limit = queue.spec.capability.gpu_milli.unwrap_or(u64::MAX);
        let asked = u64::from(plan.gpus * plan.tasks) * 1000;
        let room = |state: &ClusterState, node| state.node(node).gpu_free_milli() >= asked;
        if let Some(node) = state.node_ids().find(|&node| room(&state, node))
            && queue.gpu_allocated_milli + asked <= limit
        {
            for task in state.job(job).unwrap().tasks().to_vec() {
                state.observe_task(task, node, None, TaskStatus::Running);
            }
        }
    }
    state
}

fn cycle(state: &mut ClusterState, profile: &str) -> Vec<Decision> {
    let (mut random, mut decisions) = (random(0), Vec::new());
    let mut profile = build(profile, &PolicyConfig::default()).unwrap();
    profile.cycle(&mut Session::new(state, Time::ZERO, &mut random, &mut decisions));
    decisions
}

/// GPUs that tasks of a queue hold and keep.
fn held(state: &ClusterState, name: &str) -> u64 {
    let queue = state.find_queue(name).unwrap();
    let holds = |task: TaskId| state.task(task).unwrap().status().is_placed();
    let jobs = state.jobs().filter(|(_, job)| job.spec.queue == queue);
    let tasks = jobs.flat_map(|(_, job)| job.tasks().to_vec()).filter(|&task| holds(task));
    tasks.map(|task| u64::from(state.task_spec(task).unwrap().gpus.count)).sum()
}

proptest! {
    #[test]
    fn gangs_are_whole_and_queues_within_bounds(
        plans in plans(),
        entitlements in entitlements(),
        profile in select(VOLCANO_PROFILES.map(|(name, _)| name).to_vec()),
    ) {
        let before = state(&plans, &entitlements);
        let mut after = before.clone();
        let decisions = cycle(&mut after, profile);
        prop_assert_eq!(check_invariants(&after), Ok(()));
        // The same again gives the same.
        let mut again = before.clone();
        prop_assert_eq!(&cycle(&mut again, profile), &decisions);
        prop_assert_eq!(&again, &after);
        // No gang runs in part, and none is broken.
        for (_, job) in after.jobs() {
            prop_assert!(job.placed() == 0 || job.placed() >= job.spec.min_member, "{:?}", job);
        }
        for (name, (deserved, capability, guarantee)) in ["red", "green", "blue"].into_iter().zip(&entitlements) {
            let (was, is) = (held(&before, name), held(&after, name));
            if let Some(capability) = capability {
                let bound = if profile == "static-partition" { deserved } else { &Some(*capability) };
                if let Some(bound) = bound {
                    prop_assert!(is <= was.max(*bound), "{name} holds {is} of {bound}");
                }
            }
            // What was taken for other queues leaves what is kept.
            let reclaimed = decisions.iter().any(|decision| {
                matches!(*decision, Decision::Evict { task, reason: foretell_framework::EvictionReason::Reclaimed, .. }
                    if after.queue(after.job(after.task(task).unwrap().job).unwrap().spec.queue).name.as_ref() == name)
            });
            if reclaimed {
                prop_assert!(is >= guarantee.unwrap_or(0), "{name} is left with {is} of {guarantee:?}");
            }
        }
        // Everything that is evicted is for somebody, who then has a nomination.
        for decision in &decisions {
            if let Decision::Evict { beneficiary, .. } = decision {
                let beneficiary = after.task(beneficiary.unwrap()).unwrap();
                prop_assert!(beneficiary.nominated().is_some());
            }
        }
    }

    /// The shortcuts of the allocate action miss nothing: every job that still waits has a reason, and explaining it
    /// changes nothing.
    #[test]
    fn what_waits_has_a_reason(plans in plans(), entitlements in entitlements()) {
        let mut state = state(&plans, &entitlements);
        let (mut random, mut decisions) = (random(0), Vec::new());
        let mut profile = build("gang", &PolicyConfig::default()).unwrap();
        profile.cycle(&mut Session::new(&mut state, Time::ZERO, &mut random, &mut decisions));
        let waiting: Vec<_> =
            state.jobs().filter(|(_, job)| job.placed() < job.spec.min_member).map(|(id, _)| id).collect();
        for job in waiting {
            let before = state.clone();
            let mut session = Session::new(&mut state, Time::ZERO, &mut random, &mut decisions);
            let reason = profile.explain(&mut session, job);
            prop_assert!(reason != Reason::NotTried, "{:?}", state.job(job));
            prop_assert!(state == before);
        }
    }
}
