//! What a node can give once those that were told to stop are gone.

use crate::gpu::MAX_GPUS_PER_NODE;
use crate::id::{NodeId, ResourceId, TaskId};
use crate::resources::Resources;
use crate::select::tightest_gpus;
use crate::spec::TaskSpec;
use crate::state::{ClusterState, Placement, TaskStatus};

/// Volcano's `FutureIdle` of a node: what is free, and what is being released, without what nominated tasks wait for. More
/// tasks can be assumed gone.
///
/// Devices of nominated tasks are not known yet: those that fit most tightly are assumed.
#[derive(Clone, Debug)]
pub struct FutureRoom<'a> {
    state: &'a ClusterState,
    node: NodeId,
    /// What comes free beside what is free.
    coming: Resources,
    /// What nominated tasks will take.
    going: Resources,
    tasks: i64,
    gpu_free_milli: [u32; MAX_GPUS_PER_NODE],
}

impl<'a> FutureRoom<'a> {
    /// Of a node as it is.
    pub fn of(state: &'a ClusterState, node: NodeId) -> Self {
        let entry = state.node(node);
        let mut gpu_free_milli = [0; MAX_GPUS_PER_NODE];
        let free = state.gpu_free_milli(node);
        gpu_free_milli[..free.len()].copy_from_slice(free);
        let tasks = i64::from(entry.spec.max_tasks) - entry.tasks().len() as i64;
        let (coming, going) = (Resources::default(), Resources::default());
        let mut room = Self { state, node, coming, going, tasks, gpu_free_milli };
        if entry.releasing_tasks() > 0 {
            for &task in entry.tasks() {
                if state.task(task).is_some_and(|task| task.status() == TaskStatus::Releasing) {
                    room.release(task);
                }
            }
        }
        for spec in entry.nominated().iter().filter_map(|&task| state.task_spec(task)) {
            room.take(spec);
        }
        room
    }

    fn devices(&self) -> usize {
        self.state.gpu_free_milli(self.node).len()
    }

    /// Assumes that a task of the node is gone.
    pub fn release(&mut self, task: TaskId) {
        let Some(entry) = self.state.task(task) else { return };
        let Some(&Placement { gpus, gpu_milli, .. }) = entry.placement() else { return };
        self.coming.add(&self.state.class_spec(entry.class).requests);
        self.tasks += 1;
        for device in gpus.iter().filter(|&device| self.state.is_gpu_healthy(self.node, device)) {
            self.gpu_free_milli[device] += gpu_milli;
        }
    }

    /// Assumes that a task has come.
    pub fn take(&mut self, spec: &TaskSpec) {
        self.going.add(&spec.requests);
        self.tasks -= 1;
        let devices = self.devices();
        for device in tightest_gpus(&self.gpu_free_milli[..devices], &spec.gpus).iter() {
            self.gpu_free_milli[device] -= spec.gpus.milli;
        }
    }

    /// Whether a task has room.
    pub fn fits(&self, spec: &TaskSpec) -> bool {
        let node = self.state.node(self.node);
        let enough = |requested: u64, capacity: u64, held: u64, coming: u64, going: u64| {
            requested == 0 || requested + going + held <= capacity + coming
        };
        let (requests, capacity, held) = (&spec.requests, &node.spec.allocatable, node.allocated());
        let (coming, going) = (&self.coming, &self.going);
        let extended = |resource: ResourceId, requested: u64| {
            enough(
                requested,
                capacity.extended(resource),
                held.extended(resource),
                coming.extended(resource),
                going.extended(resource),
            )
        };
        self.tasks >= 1
            && enough(
                requests.cpu_milli,
                capacity.cpu_milli,
                held.cpu_milli,
                coming.cpu_milli,
                going.cpu_milli,
            )
            && enough(
                requests.memory_bytes,
                capacity.memory_bytes,
                held.memory_bytes,
                coming.memory_bytes,
                going.memory_bytes,
            )
            && requests.all_extended().all(|(resource, requested)| extended(resource, requested))
            && spec.gpus.fits(&self.gpu_free_milli[..self.devices()])
    }
}
