//! What must hold of every cluster state, recomputed from its tasks alone.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;

use foretell_framework::{
    ClusterState, JobId, NodeId, Placement, Resources, Task, TaskId, TaskStatus, WHOLE_GPU_MILLI,
};
use thiserror::Error;

/// A state that contradicts itself.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
pub enum Violation {
    /// A node holds more than it has.
    #[error("{node:?} is oversold: {held} of {has} {what}")]
    Oversold {
        /// The node.
        node: NodeId,
        /// Of what.
        what: String,
        /// What its tasks hold.
        held: u64,
        /// What there is.
        has: u64,
    },
    /// A figure that the state keeps is not what its tasks add up to.
    #[error("{what}: the state says {kept}, its tasks say {recomputed}")]
    Differs {
        /// Which figure.
        what: String,
        /// As kept.
        kept: String,
        /// As recomputed.
        recomputed: String,
    },
    /// A task whose place and whose node's list of tasks do not agree.
    #[error("{task:?} is not at its place in the list of {node:?}")]
    Misplaced {
        /// The task.
        task: TaskId,
        /// Its node, or the node that lists it.
        node: NodeId,
    },
    /// A task and a job that do not know each other.
    #[error("{task:?} and {job:?} do not agree that they belong together")]
    Orphan {
        /// The task.
        task: TaskId,
        /// The job.
        job: JobId,
    },
    /// Two classes or shapes that are equal.
    #[error("two {what} are equal")]
    NotInterned {
        /// Classes or shapes.
        what: &'static str,
    },
}

/// Checks that
///
/// - no device, no CPU, no memory, no extended resource and no task slot is sold twice;
/// - what nodes, queues, jobs and the cluster say they hold is the sum over their tasks;
/// - a device can give what its tasks leave, and nothing if it is unhealthy;
/// - a placed task is in the list of its node, at its slot, and in no other list;
/// - jobs and tasks know each other, and equal specs are one class.
pub fn check_invariants(state: &ClusterState) -> Result<(), Violation> {
    check_jobs(state)?;
    let mut held = Held::default();
    for node in state.node_ids() {
        let on_node = placed(state).filter(|(_, _, placement)| placement.node == node).collect::<Vec<_>>();
        check_node(state, node, &on_node)?;
    }
    let mut queues: BTreeMap<usize, Held> = BTreeMap::new();
    for (_, task, _) in placed(state) {
        held.add(state, task);
        let queue = state.job(task.job).expect("checked above").spec.queue;
        queues.entry(queue.index()).or_default().add(state, task);
    }
    compare("allocated GPU of the cluster", state.gpu_allocated_milli(), held.gpu_milli)?;
    for (index, queue) in state.queues().iter().enumerate() {
        let held = queues.remove(&index).unwrap_or_default();
        compare(&format!("resources of queue {}", queue.name), &queue.allocated, &held.resources())?;
        compare(&format!("GPU of queue {}", queue.name), queue.gpu_allocated_milli, held.gpu_milli)?;
    }
    let allocatable = state.nodes().iter().fold(Held::default(), |mut sum, node| {
        sum.add_resources(&node.spec.allocatable);
        sum
    });
    compare("resources of the cluster", state.allocatable(), &allocatable.resources())?;
    let healthy: u64 = state.node_ids().map(|node| healthy_devices(state, node).count() as u64).sum();
    compare("GPU capacity of the cluster", state.gpu_capacity_milli(), healthy * u64::from(WHOLE_GPU_MILLI))?;
    let specs: BTreeSet<_> = state.classes().map(|(_, spec)| spec).collect();
    if specs.len() != state.classes().count() {
        return Err(Violation::NotInterned { what: "classes" });
    }
    let shapes: BTreeMap<_, _> = state.jobs().map(|(_, job)| (&job.spec.tasks, job.shape)).collect();
    if state
        .jobs()
        .any(|(_, job)| shapes[&job.spec.tasks] != job.shape || *state.shape(job.shape) != *job.spec.tasks)
    {
        return Err(Violation::NotInterned { what: "shapes" });
    }
    Ok(())
}

fn check_jobs(state: &ClusterState) -> Result<(), Violation> {
    for (task, entry) in state.tasks() {
        let orphan = Violation::Orphan { task, job: entry.job };
        let job = state.job(entry.job).ok_or(orphan.clone())?;
        compare(
            &format!("whether {task:?} holds a node"),
            entry.status().holds_node(),
            entry.placement().is_some(),
        )?;
        if let Some(node) = entry.nominated() {
            let listed = state.node(node).nominated().contains(&task);
            // One that is being released may be on its way to another place.
            let waits = matches!(entry.status(), TaskStatus::Waiting | TaskStatus::Releasing);
            compare(&format!("nomination of {task:?}: listed, waiting"), (listed, waits), (true, true))?;
        }
        if job.tasks().iter().filter(|&&member| member == task).count() != 1 {
            return Err(orphan);
        }
    }
    for (id, job) in state.jobs() {
        let mut classes = job.spec.tasks.iter().flat_map(|&(class, count)| (0..count).map(move |_| class));
        for &task in job.tasks() {
            let entry = state.task(task).filter(|entry| entry.job == id);
            if entry.map(|entry| entry.class) != classes.next() {
                return Err(Violation::Orphan { task, job: id });
            }
        }
        compare(&format!("tasks that {id:?} lacks"), classes.count(), 0)?;
        let placed = job
            .tasks()
            .iter()
            .filter(|&&task| state.task(task).is_some_and(|task| task.status().is_placed()));
        compare(&format!("placed tasks of {id:?}"), job.placed() as usize, placed.count())?;
        let tasks = || job.tasks().iter().filter_map(|&task| state.task(task));
        for status in TaskStatus::ALL {
            let there = tasks().filter(|task| task.status() == status).count();
            compare(&format!("{status:?} tasks of {id:?}"), job.count(status) as usize, there)?;
        }
        let nominated = tasks().filter(|task| task.nominated().is_some()).count();
        compare(&format!("nominated tasks of {id:?}"), job.nominated() as usize, nominated)?;
    }
    Ok(())
}

fn check_node(
    state: &ClusterState,
    id: NodeId,
    on_node: &[(TaskId, &Task, &Placement)],
) -> Result<(), Violation> {
    let node = state.node(id);
    let mut held = Held::default();
    let mut used_milli = vec![0_u64; node.spec.gpus as usize];
    for &(task, entry, placement) in on_node {
        held.add(state, entry);
        if node.tasks().get(placement.slot()) != Some(&task) {
            return Err(Violation::Misplaced { task, node: id });
        }
        let request = state.class_spec(entry.class).gpus;
        compare(&format!("devices of {task:?}"), placement.gpus.len(), request.count)?;
        compare(&format!("share of {task:?}"), placement.gpu_milli, request.milli)?;
        for device in placement.gpus.iter() {
            let oversold =
                Violation::Oversold { node: id, what: "devices".into(), held: device as u64, has: 0 };
            *used_milli.get_mut(device).ok_or(oversold)? += u64::from(request.milli);
        }
    }
    // Every placed task is in the list; the list may hold no more than those.
    if let Some(&task) = node.tasks().iter().find(|&&task| on_node.iter().all(|&(placed, ..)| placed != task))
    {
        return Err(Violation::Misplaced { task, node: id });
    }
    compare(&format!("tasks of {id:?}"), node.tasks().len(), on_node.len())?;
    let mut releasing = Held::default();
    let released = on_node.iter().filter(|(_, task, _)| task.status() == TaskStatus::Releasing);
    released.clone().for_each(|(_, task, _)| releasing.add(state, task));
    compare(&format!("tasks that {id:?} releases"), node.releasing_tasks() as usize, released.count())?;
    compare(&format!("resources that {id:?} releases"), node.releasing(), &releasing.resources())?;
    compare(&format!("GPU that {id:?} releases"), node.releasing_gpu_milli(), releasing.gpu_milli)?;
    let stray = node
        .nominated()
        .iter()
        .find(|&&task| state.task(task).is_none_or(|task| task.nominated() != Some(id)));
    compare(&format!("a task listed as nominated to {id:?}"), stray, None)?;

    let within = |what: &str, held: u64, has: u64| {
        if held <= has { Ok(()) } else { Err(Violation::Oversold { node: id, what: what.into(), held, has }) }
    };
    within("task slots", on_node.len() as u64, u64::from(node.spec.max_tasks))?;
    within("CPU", held.cpu_milli, node.spec.allocatable.cpu_milli)?;
    within("memory", held.memory_bytes, node.spec.allocatable.memory_bytes)?;
    for (&resource, &amount) in &held.extended {
        within(&format!("{resource:?}"), amount, node.spec.allocatable.extended(resource))?;
    }
    compare(&format!("allocated resources of {id:?}"), node.allocated(), &held.resources())?;
    compare(
        &format!("free CPU of {id:?}"),
        node.cpu_free_milli(),
        node.spec.allocatable.cpu_milli - held.cpu_milli,
    )?;
    let memory_free_bytes = node.spec.allocatable.memory_bytes - held.memory_bytes;
    compare(&format!("free memory of {id:?}"), node.memory_free_bytes(), memory_free_bytes)?;

    let whole = u64::from(WHOLE_GPU_MILLI);
    let mut free_milli = vec![0; used_milli.len()];
    for (device, &used) in used_milli.iter().enumerate() {
        within(&format!("GPU {device}"), used, whole)?;
        if state.is_gpu_healthy(id, device) {
            free_milli[device] = (whole - used) as u32;
        }
    }
    compare(&format!("free devices of {id:?}"), state.gpu_free_milli(id), &free_milli[..])?;
    let total: u64 = free_milli.iter().map(|&free| u64::from(free)).sum();
    compare(&format!("free GPU of {id:?}"), node.gpu_free_milli(), total)
}

fn placed(state: &ClusterState) -> impl Iterator<Item = (TaskId, &Task, &Placement)> {
    state.tasks().filter_map(|(id, task)| Some((id, task, task.placement()?)))
}

fn healthy_devices(state: &ClusterState, node: NodeId) -> impl Iterator<Item = usize> {
    (0..state.node(node).spec.gpus as usize).filter(move |&device| state.is_gpu_healthy(node, device))
}

/// What tasks hold together.
#[derive(Default)]
struct Held {
    cpu_milli: u64,
    memory_bytes: u64,
    extended: BTreeMap<foretell_framework::ResourceId, u64>,
    gpu_milli: u64,
}

impl Held {
    fn add(&mut self, state: &ClusterState, task: &Task) {
        let spec = state.class_spec(task.class);
        self.gpu_milli += u64::from(spec.gpus.count) * u64::from(spec.gpus.milli);
        self.add_resources(&spec.requests);
    }

    fn add_resources(&mut self, resources: &Resources) {
        self.cpu_milli += resources.cpu_milli;
        self.memory_bytes += resources.memory_bytes;
        for (resource, amount) in resources.all_extended() {
            *self.extended.entry(resource).or_default() += amount;
        }
    }

    fn resources(&self) -> Resources {
        let mut resources = Resources::new(self.cpu_milli, self.memory_bytes);
        self.extended.iter().for_each(|(&resource, &amount)| resources.set_extended(resource, amount));
        resources
    }
}

fn compare<T: PartialEq + Debug + Copy>(what: &str, kept: T, recomputed: T) -> Result<(), Violation> {
    if kept == recomputed {
        return Ok(());
    }
    let (kept, recomputed) = (format!("{kept:?}"), format!("{recomputed:?}"));
    Err(Violation::Differs { what: what.into(), kept, recomputed })
}
