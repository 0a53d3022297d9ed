//! One state, two drivers: what manifests describe and what a simulation builds is decided alike.

use std::fmt::Write as _;

use foretell_framework::{
    ClusterEvent, ClusterState, Decision, GpuRequest, JobSpec, NodeSpec, Quota, Resources, Session,
    TaskDetails, TaskId, TaskSpec, TaskStatus, Time,
};
use foretell_registry::{PolicyConfig, build};
use proptest::prelude::*;
use rand::SeedableRng;
use rand::rngs::ChaCha8Rng;

use crate::cluster::read;

const QUEUES: [&str; 2] = ["blue", "red"];
const GIB: u64 = 1 << 30;

/// A gang: its queue, tasks, GPUs and CPUs of each, priority, and the node on which it runs already.
#[derive(Clone, Debug)]
struct Gang {
    queue: usize,
    tasks: u32,
    gpus: u32,
    cpus: u64,
    priority: i32,
    node: Option<usize>,
}

#[derive(Clone, Debug)]
struct Plan {
    /// GPUs of each node.
    nodes: Vec<u32>,
    /// GPUs that each queue deserves.
    deserved: [u64; 2],
    gangs: Vec<Gang>,
}

fn plans() -> impl Strategy<Value = Plan> {
    let gang = (0..2_usize, 1..4_u32, 0..5_u32, 1..9_u64, 0..3_i32, prop::option::weighted(0.4, 0..4_usize));
    let gang = gang.prop_map(|(queue, tasks, gpus, cpus, priority, node)| Gang {
        queue,
        tasks,
        gpus,
        cpus,
        priority,
        node,
    });
    let gangs = prop::collection::vec(gang, 1..9);
    let deserved = [0..17_u64, 0..17_u64];
    (prop::collection::vec(prop::sample::select(vec![0_u32, 4, 8]), 4), deserved, gangs).prop_map(
        |(nodes, deserved, mut gangs)| {
            // What runs has its place: a driver that saw it there would believe more.
            let mut left: Vec<(u32, u64)> = nodes.iter().map(|&gpus| (gpus, 32)).collect();
            for gang in &mut gangs {
                let Some(node) = gang.node else { continue };
                let (gpus, cpus) = (gang.gpus * gang.tasks, gang.cpus * u64::from(gang.tasks));
                if left[node].0 < gpus || left[node].1 < cpus {
                    gang.node = None;
                } else {
                    left[node] = (left[node].0 - gpus, left[node].1 - cpus);
                }
            }
            Plan { nodes, deserved, gangs }
        },
    )
}

/// The plan as a cluster's manifests.
fn manifests(plan: &Plan) -> String {
    let mut text = String::new();
    for priority in 0..3 {
        let _ = write!(
            text,
            "---\napiVersion: scheduling.k8s.io/v1\nkind: PriorityClass\nmetadata: {{name: p{priority}}}\nvalue: {priority}\n"
        );
    }
    for (name, gpus) in QUEUES.iter().zip(plan.deserved) {
        let _ = write!(
            text,
            "---\napiVersion: scheduling.volcano.sh/v1beta1\nkind: Queue\nmetadata: {{name: {name}}}\n\
             spec: {{weight: 1, deserved: {{nvidia.com/gpu: {gpus}}}}}\n"
        );
    }
    for (index, gpus) in plan.nodes.iter().enumerate() {
        let devices = if *gpus > 0 { format!(", nvidia.com/gpu: {gpus}") } else { String::new() };
        let _ = write!(
            text,
            "---\napiVersion: v1\nkind: Node\nmetadata: {{name: n{index}, labels: {{nvidia.com/gpu.product: A100}}}}\n\
             status: {{allocatable: {{cpu: 32, memory: 64Gi, pods: 110{devices}}}}}\n"
        );
    }
    for (index, gang) in plan.gangs.iter().enumerate() {
        let Gang { queue, tasks, gpus, cpus, priority, node } = gang;
        let created = format!("1970-01-01T00:00:{index:02}Z");
        let _ = write!(
            text,
            "---\napiVersion: scheduling.volcano.sh/v1beta1\nkind: PodGroup\n\
             metadata: {{name: g{index}, namespace: t, creationTimestamp: {created}}}\n\
             spec: {{queue: {}, minMember: {tasks}, priorityClassName: p{priority}}}\nstatus: {{phase: Inqueue}}\n",
            QUEUES[*queue]
        );
        for rank in 0..*tasks {
            let place = node.map_or_else(String::new, |node| format!("nodeName: n{node}, "));
            let phase = if node.is_some() { "Running" } else { "Pending" };
            let devices = if *gpus > 0 { format!(", nvidia.com/gpu: {gpus}") } else { String::new() };
            let _ = write!(
                text,
                "---\napiVersion: v1\nkind: Pod\nmetadata: {{name: g{index}-{rank}, namespace: t, creationTimestamp: {created}, \
                 annotations: {{scheduling.k8s.io/group-name: g{index}}}}}\n\
                 spec: {{{place}priorityClassName: p{priority}, priority: {priority}, containers: [{{name: c, resources: {{requests: \
                 {{cpu: {cpus}, memory: 1Gi{devices}}}}}}}]}}\nstatus: {{phase: {phase}}}\n"
            );
        }
    }
    text
}

/// The plan as a simulation builds it.
fn simulated(plan: &Plan) -> ClusterState {
    let mut state = ClusterState::new();
    let model = state.gpu_model("A100").unwrap();
    let queues = QUEUES.map(|name| state.queue_id(name));
    for (queue, gpus) in queues.into_iter().zip(plan.deserved) {
        let mut spec = state.queue(queue).spec.clone();
        spec.deserved = Quota { gpu_milli: Some(gpus * 1000), ..Quota::default() };
        state.set_queue_spec(queue, spec);
    }
    let nodes = plan.nodes.iter().enumerate().map(|(index, &gpus)| {
        let spec = NodeSpec {
            allocatable: Resources::new(32_000, 64 * GIB),
            gpus,
            gpu_model: (gpus > 0).then_some(model),
            ..NodeSpec::new(format!("n{index}"))
        };
        state.add_node(spec).unwrap()
    });
    let nodes: Vec<_> = nodes.collect();
    for (index, gang) in plan.gangs.iter().enumerate() {
        let class = state.class(&TaskSpec {
            requests: Resources::new(gang.cpus * 1000, GIB),
            gpus: GpuRequest::whole(gang.gpus),
            ..TaskSpec::default()
        });
        let submitted = Time::from_s(index as f64);
        let job = state.add_job(JobSpec {
            priority: gang.priority,
            submitted,
            ..JobSpec::new(index as u64, queues[gang.queue], [(class, gang.tasks)])
        });
        for task in state.job(job).unwrap().tasks().to_vec() {
            let details =
                TaskDetails { priority: gang.priority, created: Some(submitted), ..TaskDetails::default() };
            state.set_task_details(task, details);
            if let Some(node) = gang.node {
                state.observe_task(task, nodes[node], None, TaskStatus::Running);
            }
        }
    }
    state
}

/// Tasks by job's number and rank.
fn named(state: &ClusterState, task: TaskId) -> (u64, u32) {
    let task = state.task(task).unwrap();
    (state.job(task.job).unwrap().spec.sequence, task.rank)
}

/// What one cycle decides, without ids.
fn decisions(mut state: ClusterState, policy: &str) -> Vec<String> {
    let mut profile = build(policy, &PolicyConfig::default()).unwrap();
    let mut jobs: Vec<_> = state.jobs().map(|(id, job)| (job.spec.sequence, id)).collect();
    jobs.sort_unstable();
    for (_, job) in jobs {
        profile.notify(&state, ClusterEvent::JobAdded(job));
    }
    let (mut random, mut decisions) = (ChaCha8Rng::seed_from_u64(0), Vec::new());
    profile.cycle(&mut Session::new(&mut state, Time::from_s(100.0), &mut random, &mut decisions));
    let said = decisions.iter().map(|decision| match *decision {
        Decision::Bind { task, node, gpus } => format!("bind {:?} {node:?} {gpus:?}", named(&state, task)),
        Decision::Evict { task, reason, beneficiary } => {
            let beneficiary = beneficiary.map(|task| named(&state, task));
            format!("evict {:?} {reason:?} {beneficiary:?}", named(&state, task))
        }
        Decision::Nominate { task, node } => format!("nominate {:?} {node:?}", named(&state, task)),
    });
    said.collect()
}

/// What the property compares is not nothing.
#[test]
fn there_is_something_to_decide() {
    let gang = |queue, tasks, priority, node| Gang { queue, tasks, gpus: 4, cpus: 4, priority, node };
    let gangs = vec![gang(0, 2, 0, Some(0)), gang(0, 2, 0, Some(1)), gang(1, 2, 1, None)];
    let plan = Plan { nodes: vec![8, 8, 0, 0], deserved: [8, 8], gangs };
    let decided = decisions(simulated(&plan), "capacity");
    assert_eq!(decided.iter().filter(|decision| decision.starts_with("evict")).count(), 2, "{decided:?}");
    assert_eq!(decided, decisions(read(&manifests(&plan)).state, "capacity"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn manifests_and_simulation_are_decided_alike(plan in plans()) {
        let text = manifests(&plan);
        for policy in [
            "default", "gang", "drf-reclaim", "proportion", "capacity", "static-partition", "coscheduling",
            "fifo+binpack", "fifo-skip+fgd",
        ] {
            let (from_manifests, from_simulation) = (read(&text).state, simulated(&plan));
            prop_assert_eq!(
                decisions(from_manifests, policy),
                decisions(from_simulation, policy),
                "{}: {}", policy, text
            );
        }
    }
}
