//! Nodes and topology domains.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec::Vec;

use super::error::PlacementError;
use crate::gpu::WHOLE_GPU_MILLI;
use crate::id::{DomainId, GpuModelId, ResourceId, TaskId};
use crate::interconnect::Interconnect;
use crate::resources::Resources;
use crate::selector::Labels;
use crate::spec::Taint;

/// A topology domain: a rack, a leaf switch, a pod of the fat tree (Volcano's `HyperNode`).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Domain {
    /// Its name.
    pub name: Box<str>,
    /// How far apart its nodes are: lower is closer.
    pub tier: u32,
    /// The name of its tier; may be empty.
    pub tier_name: Box<str>,
    /// The domain that contains it.
    pub parent: Option<DomainId>,
}

/// What a node is, as opposed to what it holds. The GPUs of a node are all of one model, as in every product and
/// cloud instance.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NodeSpec {
    /// Its name.
    pub name: Box<str>,
    /// CPU, memory and extended resources for tasks.
    pub allocatable: Resources,
    /// How many tasks it takes.
    pub max_tasks: u32,
    /// Number of GPU devices.
    pub gpus: u32,
    /// Their model; present exactly when there are GPUs.
    pub gpu_model: Option<GpuModelId>,
    /// Memory of each GPU in bytes.
    pub gpu_memory_bytes: u64,
    /// How its GPUs and network cards reach each other, where it is known. Nodes of one type share it.
    pub interconnect: Option<Arc<Interconnect>>,
    /// Labels.
    pub labels: Labels,
    /// Taints.
    pub taints: Vec<Taint>,
    /// Whether it is cordoned.
    pub unschedulable: bool,
    /// The smallest topology domain that it belongs to.
    pub domain: Option<DomainId>,
    /// Container images that it has, by name with tag, and their sizes in bytes.
    pub images: BTreeMap<Box<str>, u64>,
}

impl NodeSpec {
    /// The number of tasks that a Kubernetes node takes by default.
    pub const DEFAULT_MAX_TASKS: u32 = 110;

    /// A node with a name and nothing in it.
    pub fn new(name: impl Into<Box<str>>) -> Self {
        Self {
            name: name.into(),
            allocatable: Resources::default(),
            max_tasks: Self::DEFAULT_MAX_TASKS,
            gpus: 0,
            gpu_model: None,
            gpu_memory_bytes: 0,
            interconnect: None,
            labels: Labels::new(),
            taints: Vec::new(),
            unschedulable: false,
            domain: None,
            images: BTreeMap::new(),
        }
    }
}

/// A node and what its tasks hold.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Node {
    /// What it is.
    pub spec: NodeSpec,
    /// Index of its first device in the arena of GPUs.
    pub(super) first_gpu: usize,
    /// Sum of its tasks' requests.
    pub(super) allocated: Resources,
    /// Sum of what its healthy devices can still give.
    pub(super) gpu_free_milli: u64,
    /// Its tasks, in no order that means anything.
    pub(super) tasks: Vec<TaskId>,
    /// Of what is allocated, what tasks that were told to stop still hold.
    pub(super) releasing: Resources,
    pub(super) releasing_gpu_milli: u64,
    pub(super) releasing_tasks: u32,
    /// Waiting tasks for which room is being made here, in order of id.
    pub(super) nominated: Vec<TaskId>,
}

impl Node {
    pub(super) fn new(spec: NodeSpec, first_gpu: usize) -> Self {
        let gpu_free_milli = u64::from(spec.gpus) * u64::from(WHOLE_GPU_MILLI);
        Self {
            spec,
            first_gpu,
            allocated: Resources::default(),
            gpu_free_milli,
            tasks: Vec::new(),
            releasing: Resources::default(),
            releasing_gpu_milli: 0,
            releasing_tasks: 0,
            nominated: Vec::new(),
        }
    }

    /// Sum of its tasks' requests, of those being released too.
    pub const fn allocated(&self) -> &Resources {
        &self.allocated
    }

    /// Of what is allocated, what tasks that were told to stop still hold.
    pub const fn releasing(&self) -> &Resources {
        &self.releasing
    }

    /// Thousandths of GPUs that tasks that were told to stop still hold.
    pub const fn releasing_gpu_milli(&self) -> u64 {
        self.releasing_gpu_milli
    }

    /// How many of its tasks were told to stop.
    pub const fn releasing_tasks(&self) -> u32 {
        self.releasing_tasks
    }

    /// Waiting tasks for which room is being made here, in order of id.
    pub fn nominated(&self) -> &[TaskId] {
        &self.nominated
    }

    /// Thousandths of a CPU core that no task has requested.
    pub const fn cpu_free_milli(&self) -> u64 {
        // What a driver observed may be more than there is.
        self.spec.allocatable.cpu_milli.saturating_sub(self.allocated.cpu_milli)
    }

    /// Bytes of memory that no task has requested.
    pub const fn memory_free_bytes(&self) -> u64 {
        self.spec.allocatable.memory_bytes.saturating_sub(self.allocated.memory_bytes)
    }

    /// Amount of an extended resource that no task has requested.
    pub fn extended_free(&self, resource: ResourceId) -> u64 {
        self.spec.allocatable.extended(resource).saturating_sub(self.allocated.extended(resource))
    }

    /// Sum over its healthy devices of the thousandths that they can still give.
    pub const fn gpu_free_milli(&self) -> u64 {
        self.gpu_free_milli
    }

    /// Tasks placed here, in no particular order.
    pub fn tasks(&self) -> &[TaskId] {
        &self.tasks
    }

    /// Whether the node has room for one more task with these requests, GPUs apart.
    pub fn check_resources(&self, requests: &Resources) -> Result<(), PlacementError> {
        if self.tasks.len() >= self.spec.max_tasks as usize {
            return Err(PlacementError::TooManyTasks { max: self.spec.max_tasks });
        }
        if requests.cpu_milli > self.cpu_free_milli() {
            let (requested_milli, free_milli) = (requests.cpu_milli, self.cpu_free_milli());
            return Err(PlacementError::InsufficientCpu { requested_milli, free_milli });
        }
        if requests.memory_bytes > self.memory_free_bytes() {
            let (requested_bytes, free_bytes) = (requests.memory_bytes, self.memory_free_bytes());
            return Err(PlacementError::InsufficientMemory { requested_bytes, free_bytes });
        }
        for (resource, requested) in requests.all_extended() {
            let free = self.extended_free(resource);
            if requested > free {
                return Err(PlacementError::InsufficientExtended { resource, requested, free });
            }
        }
        Ok(())
    }
}
