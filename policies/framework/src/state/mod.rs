//! The one answer to "what is placed where".
//!
//! The simulator drives it from simulated events, a production scheduler from Kubernetes watches; a policy cannot
//! tell which. Placements change only through a [`Transaction`](crate::Transaction) or by removing a job.

mod error;
mod job;
mod node;
mod objects;
mod placement;
mod queue;

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::fmt;

use slotmap::{Key, SlotMap};

pub use error::{PlacementError, StateError};
pub use job::{
    ACCOUNT_ANNOTATION, GangSpec, Job, JobPhase, JobSpec, LevelConstraint, NestedGroup, NetworkTopology,
    Placement, QOS_ANNOTATION, SubGroupPolicy, Task, TaskDetails, TaskStatus, TopologyMode,
};
pub use node::{Domain, Node, NodeSpec};
pub use objects::{ClusterObjects, DisruptionBudget, ElasticQuota, ResourceQuota};
pub use queue::{NodeGroupAffinity, NodeGroupLimits, Queue, QueueSpec};

use crate::gpu::{GpuModelSet, MAX_GPU_MODELS, MAX_GPUS_PER_NODE, WHOLE_GPU_MILLI};
use crate::id::{ClassId, DomainId, GpuId, GpuModelId, JobId, NodeId, QueueId, ResourceId, ShapeId, TaskId};
use crate::recency::{RecencyList, Stamp};
use crate::resources::Resources;
use crate::spec::TaskSpec;

/// A GPU device.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Gpu {
    used_milli: u32,
    healthy: bool,
}

/// Nodes with their GPUs, topology domains, queues, jobs (pod groups) and tasks (pods), in dense arenas.
///
/// Equality and `Debug` speak of the contents; the stamps of changes, which only grow, are no part of them.
#[derive(Clone)]
pub struct ClusterState {
    nodes: Vec<Node>,
    gpus: Vec<Gpu>,
    /// What each device can still give: 0 for an unhealthy one. Apart from `gpus` because scorers read nothing else.
    gpu_free_milli: Vec<u32>,
    domains: Vec<Domain>,
    gpu_models: Vec<Box<str>>,
    resource_names: Vec<Box<str>>,
    queues: Vec<Queue>,
    objects: ClusterObjects,
    /// Number of times that `objects` may have changed.
    objects_version: u64,
    /// Tasks with a nomination.
    nominations: u32,
    /// Tasks that hold a node, by priority.
    holders: BTreeMap<i32, u32>,
    jobs: SlotMap<JobId, Job>,
    tasks: SlotMap<TaskId, Task>,
    classes: Interner<TaskSpec>,
    shapes: Interner<Box<[(ClassId, u32)]>>,
    /// Sum over nodes, so that no sum over tasks can overflow.
    allocatable: Resources,
    gpu_capacity_milli: u64,
    gpu_allocated_milli: u64,
    recency: RecencyList,
    /// Changes of jobs, by slot.
    job_recency: RecencyList,
    /// The latest job of each slot, whether it is still there or not.
    job_slots: Vec<JobId>,
    /// Number of times that queues were added or changed what they are entitled to.
    queues_version: u64,
    released: Stamp,
    node_specs_changed: Stamp,
}

impl Default for ClusterState {
    fn default() -> Self {
        Self::new()
    }
}

impl ClusterState {
    /// An empty cluster.
    pub fn new() -> Self {
        Self {
            nodes: Vec::new(),
            gpus: Vec::new(),
            gpu_free_milli: Vec::new(),
            domains: Vec::new(),
            gpu_models: Vec::new(),
            resource_names: Vec::new(),
            queues: Vec::new(),
            objects: ClusterObjects::default(),
            objects_version: 0,
            nominations: 0,
            holders: BTreeMap::new(),
            jobs: SlotMap::with_key(),
            tasks: SlotMap::with_key(),
            classes: Interner::new(),
            shapes: Interner::new(),
            allocatable: Resources::default(),
            gpu_capacity_milli: 0,
            gpu_allocated_milli: 0,
            recency: RecencyList::new(),
            job_recency: RecencyList::new(),
            job_slots: Vec::new(),
            queues_version: 0,
            released: Stamp::default(),
            node_specs_changed: Stamp::default(),
        }
    }

    // ---- Names

    /// The id of a GPU model, made on first sight.
    pub fn gpu_model(&mut self, name: &str) -> Result<GpuModelId, StateError> {
        let position = position_or_push(&mut self.gpu_models, name);
        if position >= MAX_GPU_MODELS {
            self.gpu_models.pop();
            return Err(StateError::TooManyGpuModels);
        }
        Ok(GpuModelId::new(position))
    }

    /// The set of the named GPU models. A name that no node has allows no node.
    pub fn gpu_model_set<'a>(
        &mut self,
        names: impl IntoIterator<Item = &'a str>,
    ) -> Result<GpuModelSet, StateError> {
        names.into_iter().map(|name| self.gpu_model(name)).collect()
    }

    /// The name of a GPU model.
    pub fn gpu_model_name(&self, model: GpuModelId) -> &str {
        &self.gpu_models[model.index()]
    }

    /// The id of an extended resource, made on first sight.
    pub fn resource(&mut self, name: &str) -> ResourceId {
        ResourceId::new(position_or_push(&mut self.resource_names, name))
    }

    /// The id of an extended resource, if anything has named it.
    pub fn find_resource(&self, name: &str) -> Option<ResourceId> {
        self.resource_names.iter().position(|known| **known == *name).map(ResourceId::new)
    }

    /// The id of a queue, made on first sight.
    pub fn queue_id(&mut self, name: &str) -> QueueId {
        let position = self.queues.iter().position(|queue| *queue.name == *name).unwrap_or_else(|| {
            self.queues.push(Queue::new(name));
            self.queues_version += 1;
            self.queues.len() - 1
        });
        QueueId::new(position)
    }

    /// The names of all extended resources, in order of id.
    pub fn resource_names(&self) -> &[Box<str>] {
        &self.resource_names
    }

    /// The name of an extended resource.
    pub fn resource_name(&self, resource: ResourceId) -> &str {
        &self.resource_names[resource.index()]
    }

    /// The queue of this name, if there is one.
    pub fn find_queue(&self, name: &str) -> Option<QueueId> {
        self.queues.iter().position(|queue| *queue.name == *name).map(QueueId::new)
    }

    /// Says what a queue is entitled to.
    pub fn set_queue_spec(&mut self, queue: QueueId, spec: QueueSpec) {
        self.queues_version += 1;
        self.queues[queue.index()].spec = spec;
    }

    /// Adds a topology domain.
    pub fn add_domain(&mut self, domain: Domain) -> DomainId {
        self.domains.push(domain);
        DomainId::new(self.domains.len() - 1)
    }

    /// All topology domains, in order of id.
    pub fn domains(&self) -> &[Domain] {
        &self.domains
    }

    /// A topology domain.
    pub fn domain(&self, domain: DomainId) -> &Domain {
        &self.domains[domain.index()]
    }

    /// Namespaces, budgets, quotas.
    pub const fn objects(&self) -> &ClusterObjects {
        &self.objects
    }

    /// Namespaces, budgets, quotas, to change them.
    pub const fn objects_mut(&mut self) -> &mut ClusterObjects {
        self.objects_version += 1;
        &mut self.objects
    }

    /// A number that grows whenever namespaces, budgets or quotas may have changed.
    pub const fn objects_version(&self) -> u64 {
        self.objects_version
    }

    // ---- Nodes

    /// Adds a node.
    pub fn add_node(&mut self, spec: NodeSpec) -> Result<NodeId, StateError> {
        if spec.gpus as usize > MAX_GPUS_PER_NODE {
            return Err(StateError::TooManyGpus { node: spec.name, gpus: spec.gpus });
        }
        if (spec.gpus > 0) != spec.gpu_model.is_some() {
            return Err(StateError::GpuModelMissing { node: spec.name });
        }
        if let Some(interconnect) = spec.interconnect.as_ref().map(|interconnect| interconnect.gpus())
            && interconnect != spec.gpus as usize
        {
            return Err(StateError::OtherInterconnect { node: spec.name, gpus: spec.gpus, interconnect });
        }
        let Some(allocatable) = self.allocatable.checked_add(&spec.allocatable) else {
            return Err(StateError::ResourcesOverflow { node: spec.name });
        };
        self.allocatable = allocatable;
        let first_gpu = self.gpus.len();
        self.gpus.resize(first_gpu + spec.gpus as usize, Gpu { used_milli: 0, healthy: true });
        self.gpu_free_milli.resize(self.gpus.len(), WHOLE_GPU_MILLI);
        self.gpu_capacity_milli += u64::from(spec.gpus) * u64::from(WHOLE_GPU_MILLI);
        self.nodes.push(Node::new(spec, first_gpu));
        self.recency.push();
        self.node_specs_changed = self.recency.now();
        self.released = self.recency.now();
        Ok(NodeId::new(self.nodes.len() - 1))
    }

    /// Cordons or uncordons a node: a cordoned one takes no new tasks.
    pub fn set_unschedulable(&mut self, node: NodeId, unschedulable: bool) {
        self.nodes[node.index()].spec.unschedulable = unschedulable;
        self.recency.touch(node.index());
        self.node_specs_changed = self.recency.now();
        if !unschedulable {
            self.released = self.recency.now();
        }
    }

    /// Sets the health of a device. Tasks on it stay where they are: what becomes of them is the driver's affair.
    pub fn set_gpu_healthy(&mut self, node: NodeId, device: usize, healthy: bool) {
        let gpu = self.gpu_id(node, device).index();
        let entry = &mut self.gpus[gpu];
        if entry.healthy == healthy {
            return;
        }
        entry.healthy = healthy;
        let whole = u64::from(WHOLE_GPU_MILLI);
        let free = WHOLE_GPU_MILLI - entry.used_milli;
        let node_entry = &mut self.nodes[node.index()];
        if healthy {
            self.gpu_capacity_milli += whole;
            self.gpu_free_milli[gpu] = free;
            node_entry.gpu_free_milli += u64::from(free);
        } else {
            self.gpu_capacity_milli -= whole;
            self.gpu_free_milli[gpu] = 0;
            node_entry.gpu_free_milli -= u64::from(free);
        }
        self.recency.touch(node.index());
        if healthy {
            self.released = self.recency.now();
        }
    }

    /// All nodes, in order of id.
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// Tasks that were told to stop and still hold what they hold, node by node.
    pub fn releasing_tasks(&self) -> impl Iterator<Item = TaskId> {
        let leaves =
            |task: &&TaskId| self.task(**task).is_some_and(|task| task.status() == TaskStatus::Releasing);
        let nodes = self.nodes.iter().filter(|node| node.releasing_tasks() > 0);
        nodes.flat_map(move |node| node.tasks().iter().filter(leaves).copied())
    }

    /// The ids of all nodes, in order.
    pub fn node_ids(&self) -> impl Iterator<Item = NodeId> + use<> {
        (0..self.nodes.len()).map(NodeId::new)
    }

    /// One node.
    pub fn node(&self, node: NodeId) -> &Node {
        &self.nodes[node.index()]
    }

    /// What each device of a node can still give, in thousandths; 0 for an unhealthy device.
    pub fn gpu_free_milli(&self, node: NodeId) -> &[u32] {
        let Node { first_gpu, spec, .. } = &self.nodes[node.index()];
        &self.gpu_free_milli[*first_gpu..first_gpu + spec.gpus as usize]
    }

    /// The id of a device. Panics if the node has no such device, as indexing does.
    pub fn gpu_id(&self, node: NodeId, device: usize) -> GpuId {
        let Node { first_gpu, spec, .. } = &self.nodes[node.index()];
        assert!(device < spec.gpus as usize, "node {} has no GPU {device}", spec.name);
        GpuId::new(first_gpu + device)
    }

    /// Whether a device works.
    pub fn is_gpu_healthy(&self, node: NodeId, device: usize) -> bool {
        self.gpus[self.gpu_id(node, device).index()].healthy
    }

    /// Topology domains from the node's own up to the root.
    pub fn domains_of(&self, node: NodeId) -> impl Iterator<Item = (DomainId, &Domain)> {
        let mut next = self.node(node).spec.domain;
        core::iter::from_fn(move || {
            let id = next?;
            let domain = &self.domains[id.index()];
            next = domain.parent;
            Some((id, domain))
        })
    }

    // ---- Changes

    /// The latest change of anything.
    pub const fn stamp(&self) -> Stamp {
        self.recency.now()
    }

    /// The latest change of a node. Equal stamps mean an equal node.
    pub fn node_stamp(&self, node: NodeId) -> Stamp {
        self.recency.stamp(node.index())
    }

    /// Nodes that changed after `seen`, each once, latest first.
    pub fn changed_since(&self, seen: Stamp) -> impl Iterator<Item = NodeId> {
        self.recency.since(seen).map(NodeId::new)
    }

    /// The latest change of any job or task: added, removed, placed, released, started, nominated, told apart.
    pub const fn jobs_stamp(&self) -> Stamp {
        self.job_recency.now()
    }

    /// Jobs that changed after `seen`, each once, latest first. Some may be gone; one whose slot another has taken since is
    /// not told of.
    pub fn jobs_changed_since(&self, seen: Stamp) -> impl Iterator<Item = JobId> {
        // The first slot belongs to none.
        self.job_recency.since(seen).map(|slot| self.job_slots[slot]).filter(|job| !job.is_null())
    }

    /// A number that grows whenever a queue is added or changes what it is entitled to.
    pub const fn queues_version(&self) -> u64 {
        self.queues_version
    }

    /// The latest change that may let in what did not fit before: something was released, added, repaired.
    pub const fn released(&self) -> Stamp {
        self.released
    }

    /// The latest change of what nodes are (labels, taints, cordons), as opposed to what they hold.
    pub const fn node_specs_changed(&self) -> Stamp {
        self.node_specs_changed
    }

    // ---- Totals

    /// CPU, memory and extended resources of all nodes.
    pub const fn allocatable(&self) -> &Resources {
        &self.allocatable
    }

    /// Thousandths of GPUs in healthy devices.
    pub const fn gpu_capacity_milli(&self) -> u64 {
        self.gpu_capacity_milli
    }

    /// Thousandths of GPUs held by tasks.
    pub const fn gpu_allocated_milli(&self) -> u64 {
        self.gpu_allocated_milli
    }

    /// A queue.
    pub fn queue(&self, queue: QueueId) -> &Queue {
        &self.queues[queue.index()]
    }

    /// All queues, in order of id.
    pub fn queues(&self) -> &[Queue] {
        &self.queues
    }

    // ---- Jobs and tasks

    /// The class of tasks with this spec, made on first sight.
    pub fn class(&mut self, spec: &TaskSpec) -> ClassId {
        ClassId::new(self.classes.intern(spec))
    }

    /// The spec of a class.
    pub fn class_spec(&self, class: ClassId) -> &TaskSpec {
        &self.classes.values[class.index()]
    }

    /// All classes, in order of id.
    pub fn classes(&self) -> impl Iterator<Item = (ClassId, &TaskSpec)> {
        self.classes.values.iter().enumerate().map(|(index, spec)| (ClassId::new(index), spec))
    }

    /// The classes of a shape, with the number of tasks of each.
    pub fn shape(&self, shape: ShapeId) -> &[(ClassId, u32)] {
        &self.shapes.values[shape.index()]
    }

    /// Adds a job; its tasks wait for placement.
    pub fn add_job(&mut self, spec: JobSpec) -> JobId {
        let shape = ShapeId::new(self.shapes.intern(&spec.tasks));
        let tasks = spec.tasks.iter().map(|&(_, count)| count as usize).sum();
        let mut by_status = [0; TaskStatus::ALL.len()];
        by_status[TaskStatus::Waiting as usize] = tasks as u32;
        let job = Job { spec, shape, tasks: Vec::with_capacity(tasks), placed: 0, by_status, nominated: 0 };
        let id = self.jobs.insert(job);
        while self.job_recency.len() <= id.slot() {
            self.job_recency.push();
            self.job_slots.push(JobId::default());
        }
        self.job_recency.touch(id.slot());
        self.job_slots[id.slot()] = id;
        let job = &mut self.jobs[id];
        for &(class, count) in &job.spec.tasks {
            for _ in 0..count {
                let rank = job.tasks.len() as u32;
                job.tasks.push(self.tasks.insert(Task {
                    job: id,
                    rank,
                    class,
                    details: TaskDetails { priority: job.spec.priority, ..TaskDetails::default() },
                    status: TaskStatus::Waiting,
                    placement: None,
                    nominated: None,
                }));
            }
        }
        id
    }

    /// Says what tells a task from others of its class.
    pub fn set_task_details(&mut self, task: TaskId, details: TaskDetails) {
        let Some(task) = self.tasks.get_mut(task) else { return };
        let before = core::mem::replace(&mut task.details, details).priority;
        self.job_recency.touch(task.job.slot());
        let (after, holds) = (task.details.priority, task.placement.is_some());
        if holds && before != after {
            self.count_holder(before, false);
            self.count_holder(after, true);
        }
    }

    /// Says where a job stands in the queue's admission.
    pub fn set_job_phase(&mut self, id: JobId, phase: JobPhase) {
        if let Some(job) = self.jobs.get_mut(id) {
            job.spec.phase = phase;
            self.job_recency.touch(id.slot());
        }
    }

    /// Removes a job and its tasks and frees what they held. `None` if it is gone already.
    pub fn remove_job(&mut self, id: JobId) -> Option<Job> {
        let Job { placed, .. } = *self.jobs.get(id)?;
        self.job_recency.touch(id.slot());
        for index in 0..self.jobs[id].tasks.len() {
            let task = self.jobs[id].tasks[index];
            if self.set_nomination(task, None).is_some() {
                self.released = self.recency.now();
            }
            self.unplace(task, TaskStatus::Waiting);
            self.tasks.remove(task);
        }
        let job = self.jobs.remove(id)?;
        Some(Job { placed, ..job })
    }

    /// A job, if it still exists.
    pub fn job(&self, job: JobId) -> Option<&Job> {
        self.jobs.get(job)
    }

    /// The lowest priority of a task that holds a node; `None` if none does.
    pub fn lowest_priority_on_nodes(&self) -> Option<i32> {
        self.holders.first_key_value().map(|(&priority, _)| priority)
    }

    fn count_holder(&mut self, priority: i32, add: bool) {
        let count = self.holders.entry(priority).or_default();
        *count = if add { *count + 1 } else { *count - 1 };
        if *count == 0 {
            self.holders.remove(&priority);
        }
    }

    /// Number of waiting tasks for which room is being made on some node.
    pub const fn nominations(&self) -> u32 {
        self.nominations
    }

    /// All jobs, in order of their slots.
    pub fn jobs(&self) -> impl Iterator<Item = (JobId, &Job)> {
        self.jobs.iter()
    }

    /// A task, if it still exists.
    pub fn task(&self, task: TaskId) -> Option<&Task> {
        self.tasks.get(task)
    }

    /// All tasks, in order of their slots.
    pub fn tasks(&self) -> impl Iterator<Item = (TaskId, &Task)> {
        self.tasks.iter()
    }

    /// The spec of a task, if it still exists.
    pub fn task_spec(&self, task: TaskId) -> Option<&TaskSpec> {
        self.task(task).map(|task| self.class_spec(task.class))
    }
}

impl PartialEq for ClusterState {
    fn eq(&self, other: &Self) -> bool {
        self.nodes == other.nodes
            && self.gpus == other.gpus
            && self.gpu_free_milli == other.gpu_free_milli
            && self.domains == other.domains
            && self.gpu_models == other.gpu_models
            && self.resource_names == other.resource_names
            && self.queues == other.queues
            && self.objects == other.objects
            && self.jobs.iter().eq(other.jobs.iter())
            && self.tasks.iter().eq(other.tasks.iter())
            && self.classes.values == other.classes.values
            && self.gpu_capacity_milli == other.gpu_capacity_milli
            && self.gpu_allocated_milli == other.gpu_allocated_milli
    }
}

impl fmt::Debug for ClusterState {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("ClusterState")
            .field("nodes", &self.nodes)
            .field("gpus", &self.gpus)
            .field("queues", &self.queues)
            .field("jobs", &self.jobs)
            .field("tasks", &self.tasks)
            .field("gpu_capacity_milli", &self.gpu_capacity_milli)
            .field("gpu_allocated_milli", &self.gpu_allocated_milli)
            .finish_non_exhaustive()
    }
}

/// Values that are stored once, and the index of each.
#[derive(Clone)]
struct Interner<T> {
    values: Vec<T>,
    indices: BTreeMap<T, usize>,
}

impl<T: Ord + Clone> Interner<T> {
    const fn new() -> Self {
        Self { values: Vec::new(), indices: BTreeMap::new() }
    }

    fn intern(&mut self, value: &T) -> usize {
        if let Some(&index) = self.indices.get(value) {
            return index;
        }
        self.values.push(value.clone());
        self.indices.insert(value.clone(), self.values.len() - 1);
        self.values.len() - 1
    }
}

/// Position of a name in a short list, appended on first sight.
fn position_or_push(names: &mut Vec<Box<str>>, name: &str) -> usize {
    names.iter().position(|known| **known == *name).unwrap_or_else(|| {
        names.push(name.into());
        names.len() - 1
    })
}
