//! `NodeResourcesFit`: enough of everything must be free.

use alloc::boxed::Box;
use alloc::vec::Vec;

use foretell_framework::{ClusterState, Filter, NodeId, Rejection, ResourceId, Scope, TaskSpec};

/// The extended resource under which Kubernetes counts whole GPUs.
pub(crate) const GPU_RESOURCE: &str = "nvidia.com/gpu";

/// Extended resources that are not checked, because something else looks after them.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct IgnoredResources {
    /// Their names (`ignoredResources`).
    pub names: Vec<Box<str>>,
    /// The parts of names before the slash (`ignoredResourceGroups`).
    pub groups: Vec<Box<str>>,
}

impl IgnoredResources {
    fn is_empty(&self) -> bool {
        self.names.is_empty() && self.groups.is_empty()
    }

    /// Whether a resource is ignored. Resources of Kubernetes' own never are.
    pub(crate) fn contains(&self, name: &str) -> bool {
        let Some((group, _)) = name.split_once('/') else { return false };
        !name.contains("kubernetes.io/")
            && (self.names.iter().any(|known| **known == *name)
                || self.groups.iter().any(|known| **known == *group))
    }
}

/// Enough of every requested resource must be free: task slots, CPU, memory, extended resources, and devices that have
/// the requested share left.
#[derive(Default)]
pub struct NodeResourcesFit {
    /// What is not checked.
    pub ignored: IgnoredResources,
}

impl Filter for NodeResourcesFit {
    fn name(&self) -> &'static str {
        "NodeResourcesFit"
    }

    fn scope(&self) -> Scope {
        Scope::NodeState
    }

    fn filter(&mut self, state: &ClusterState, task: &TaskSpec, node: NodeId) -> Result<(), Rejection> {
        let fits = state.node(node).check_resources(&task.requests);
        if fits.is_ok() && task.gpus.fits(state.gpu_free_milli(node)) {
            return Ok(());
        }
        if fits.is_err() && !self.ignored.is_empty() {
            let found = insufficiencies(state, task, node, &self.ignored);
            let worst = found.iter().find(|found| found.rejection.is_unresolvable()).or(found.first());
            return worst.map_or(Ok(()), |worst| Err(worst.rejection));
        }
        // Kubernetes' status is unresolvable if any of its reasons is.
        let (spec, requests) = (&state.node(node).spec, &task.requests);
        if requests.cpu_milli > spec.allocatable.cpu_milli {
            return Err(Rejection::TooLittleCpu);
        }
        if requests.memory_bytes > spec.allocatable.memory_bytes {
            return Err(Rejection::TooLittleMemory);
        }
        if requests.all_extended().any(|(resource, amount)| amount > spec.allocatable.extended(resource)) {
            return Err(Rejection::TooLittleExtended);
        }
        fits?;
        Err(Rejection::InsufficientGpu)
    }
}

/// A resource of which a node has too little for a task.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Insufficiency {
    /// What kind of lack it is.
    pub rejection: Rejection,
    /// Kubernetes' name of the resource.
    pub resource: Box<str>,
    /// What the task asks for: thousandths of a core, bytes, or a count.
    pub requested: u64,
    /// What tasks on the node hold.
    pub used: u64,
    /// What the node has for tasks.
    pub capacity: u64,
}

/// Everything of which a node has too little for a task.
pub fn insufficiencies(
    state: &ClusterState,
    task: &TaskSpec,
    node: NodeId,
    ignored: &IgnoredResources,
) -> Vec<Insufficiency> {
    let entry = state.node(node);
    let (allocatable, allocated) = (&entry.spec.allocatable, entry.allocated());
    let mut found = Vec::new();
    let mut check = |resource: &str, requested: u64, used: u64, capacity: u64, lack, lack_when_empty| {
        if requested > 0 && requested > capacity.saturating_sub(used) {
            let rejection = if requested > capacity { lack_when_empty } else { lack };
            found.push(Insufficiency { rejection, resource: resource.into(), requested, used, capacity });
        }
    };
    let (slots, max_tasks) = (entry.tasks().len() as u64, u64::from(entry.spec.max_tasks));
    check("pods", 1, slots, max_tasks, Rejection::TooManyTasks, Rejection::TooManyTasks);
    let requests = &task.requests;
    check(
        "cpu",
        requests.cpu_milli,
        allocated.cpu_milli,
        allocatable.cpu_milli,
        Rejection::InsufficientCpu,
        Rejection::TooLittleCpu,
    );
    check(
        "memory",
        requests.memory_bytes,
        allocated.memory_bytes,
        allocatable.memory_bytes,
        Rejection::InsufficientMemory,
        Rejection::TooLittleMemory,
    );
    let extended = |resource: ResourceId| (allocated.extended(resource), allocatable.extended(resource));
    for (resource, requested) in requests.all_extended() {
        let name = state.resource_name(resource);
        if !ignored.contains(name) {
            let (used, capacity) = extended(resource);
            check(
                name,
                requested,
                used,
                capacity,
                Rejection::InsufficientExtended,
                Rejection::TooLittleExtended,
            );
        }
    }
    let (devices, free_milli) = (u64::from(task.gpus.count), state.gpu_free_milli(node));
    if !task.gpus.fits(free_milli) {
        let free = free_milli.iter().filter(|&&free| free >= task.gpus.milli).count() as u64;
        let capacity = u64::from(entry.spec.gpus);
        check(
            GPU_RESOURCE,
            devices,
            capacity - free,
            capacity,
            Rejection::InsufficientGpu,
            Rejection::TooFewGpus,
        );
    }
    found
}
