//! The state of the cluster as a [`Model`].

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec;
use alloc::vec::Vec;

use foretell_framework::{
    ClusterState, Dimension, JobId, JobSpec, Labels, NodeId, QueueSpec, Quota, Stamp, TaskId, TaskSpec,
    TaskStatus, Time,
};

use crate::division::{Claim, Claimant, divide};
use crate::keys;
use crate::model::{
    Amounts, CPU, GPU, GroupSet, Job, MEMORY, Model, Part, Place, PodSet, Queue, Status, Task, WHOLE, add,
    subtract,
};
use crate::node::Node;
use crate::nodes::suits;
use crate::usage::Past;

/// What, if it changes, asks for a new picture of the cluster.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Basis {
    nodes: usize,
    node_specs_changed: Stamp,
    queues_version: u64,
    /// Dimensions of nodes: those of the state, and the number of tasks.
    pub(crate) dimensions: usize,
}

impl Basis {
    /// Of no state.
    pub(crate) const NONE: Self =
        Self { nodes: 0, node_specs_changed: Stamp::ZERO, queues_version: 0, dimensions: 0 };

    fn of(state: &ClusterState) -> Self {
        let dimensions = Dimension::count(state) + 1;
        Self {
            nodes: state.nodes().len(),
            node_specs_changed: state.node_specs_changed(),
            queues_version: state.queues_version(),
            dimensions,
        }
    }
}

impl Model {
    /// The cluster as it is, with the fair share of every queue.
    pub(crate) fn read(state: &ClusterState, now: Time, past: Past<'_>) -> Self {
        let mut model = Self::new(now);
        model.basis = Basis::of(state);
        let dimensions = model.basis.dimensions;
        model.mig_gpus = vec![0; dimensions];
        for (index, name) in state.resource_names().iter().enumerate() {
            model.mig_gpus[GPU + 1 + index] = mig_gpus(name);
        }
        for id in state.node_ids() {
            model.add_node(state, id, dimensions);
        }
        model.add_queues(state);
        model.add_classes(state);
        for (id, job) in state.jobs() {
            model.add_job(state, id, &job.spec, job.tasks());
        }
        model.seen(state, past);
        model
    }

    /// The same of a picture that was made before: only jobs that changed since are read again.
    pub(crate) fn read_again(mut self, state: &ClusterState, now: Time, past: Past<'_>) -> Self {
        let broke = |node: NodeId| healthy_gpus(state, node) != self.nodes[node.index()].healthy_gpus;
        if self.basis != Basis::of(state) || state.changed_since(self.seen_nodes).any(broke) {
            return Self::read(state, now, past);
        }
        self.begin(now);
        self.add_classes(state);
        let mut changed = core::mem::take(&mut self.decided);
        for job in state.jobs_changed_since(self.seen_jobs) {
            changed.insert(job.slot());
            self.reserve_job(job);
        }
        // What is gone leaves first: another may have its place.
        for &job in &changed {
            self.remove_job(job);
        }
        for job in changed {
            let id = self.jobs[job].id;
            if let Some(entry) = state.job(id) {
                self.add_job(state, id, &entry.spec, entry.tasks());
            }
        }
        self.seen(state, past);
        self
    }

    /// Ends the reading of a state.
    fn seen(&mut self, state: &ClusterState, past: Past<'_>) {
        self.seen_nodes = state.stamp();
        self.seen_jobs = state.jobs_stamp();
        self.divide_shares(past);
    }

    fn add_node(&mut self, state: &ClusterState, id: NodeId, dimensions: usize) {
        let node = state.node(id);
        let mut allocatable = vec![0; dimensions];
        allocatable[CPU] = node.spec.allocatable.cpu_milli as i64;
        allocatable[MEMORY] = node.spec.allocatable.memory_bytes as i64;
        let healthy_gpus = healthy_gpus(state, id);
        allocatable[GPU] = healthy_gpus as i64 * WHOLE;
        for (resource, amount) in node.spec.allocatable.all_extended() {
            allocatable[GPU + 1 + resource.index()] = amount as i64;
        }
        allocatable[dimensions - 1] = i64::from(node.spec.max_tasks);
        let mig: i64 = allocatable.iter().zip(&self.mig_gpus).map(|(amount, gpus)| amount * gpus).sum();
        add(&mut self.total, &[allocatable[CPU], allocatable[MEMORY], allocatable[GPU] + mig * WHOLE]);
        self.nodes.push(Node {
            id,
            name: node.spec.name.clone(),
            idle: allocatable.clone(),
            releasing: vec![0; dimensions],
            healthy_gpus,
            has_gpus: allocatable[GPU] > 0 || mig > 0,
            allocatable,
            gpu_memory_mib: node.spec.gpu_memory_bytes as f64 / f64::from(1 << 20),
            groups: Vec::new(),
        });
        self.on_node.push(Vec::new());
    }

    fn add_queues(&mut self, state: &ClusterState) {
        for queue in state.queues() {
            let spec = &queue.spec;
            let runtime = |key: &str| nanos(&spec.annotations, key);
            self.queues.push(Queue {
                parent: spec.parent.map(foretell_framework::QueueId::index),
                children: Vec::new(),
                priority: spec.priority,
                deserved: deserved(spec),
                limit: amounts(&spec.capability),
                over_quota_weight: weights(spec),
                allocated: [0; 3],
                allocated_for_good: [0; 3],
                request: [0; 3],
                fair_share: [0; 3],
                preempt_min_runtime: runtime(keys::PREEMPT_MIN_RUNTIME),
                reclaim_min_runtime: runtime(keys::RECLAIM_MIN_RUNTIME),
            });
        }
        for index in 0..self.queues.len() {
            if let Some(parent) = self.queues[index].parent {
                self.queues[parent].children.push(index);
            } else {
                self.roots.push(index);
            }
        }
        self.victims.resize(self.queues.len(), BTreeSet::new());
    }

    /// Looks at classes of tasks that are new.
    fn add_classes(&mut self, state: &ClusterState) {
        for (_, spec) in state.classes().skip(self.suits.len()) {
            let nodes = state.nodes().iter().map(|node| suits(spec, &node.spec));
            self.suits.push(nodes.collect());
            let affinity = &spec.pod_affinity;
            self.is_unattached.push(affinity.required.is_empty() && affinity.anti_required.is_empty());
            self.has_repulsion |= !affinity.anti_required.is_empty();
            self.has_parts_by_memory |= spec.annotations.contains_key(keys::GPU_MEMORY);
        }
    }

    /// Makes a place for a job, which has the slot from now on.
    fn reserve_job(&mut self, id: JobId) {
        if self.jobs.len() <= id.slot() {
            self.jobs.resize_with(id.slot() + 1, Job::default);
        }
        self.jobs[id.slot()].id = id;
    }

    fn add_job(&mut self, state: &ClusterState, id: JobId, spec: &JobSpec, tasks: &[TaskId]) {
        let (pod_sets, group_sets) = structure(spec);
        let mut job = Job {
            id,
            queue: spec.queue.index(),
            priority: spec.priority,
            is_preemptible: spec.preemptable.unwrap_or(true),
            sequence: spec.sequence,
            tasks: Vec::with_capacity(tasks.len()),
            pod_sets,
            group_sets,
            last_start: nanos(&spec.annotations, keys::LAST_START),
            stale_since: nanos(&spec.annotations, keys::STALE_SINCE),
            ..Job::default()
        };
        let mut placed = Vec::new();
        for &task in tasks {
            let Some(entry) = state.task(task) else { continue };
            let position = task.slot();
            let read = self.task(state, task, entry, &job);
            let groups = if read.share.is_some() { entry.placement() } else { None };
            let status = match entry.status() {
                TaskStatus::Waiting => read.place.status,
                TaskStatus::Bound | TaskStatus::Running => Status::Running,
                TaskStatus::Releasing => Status::Releasing,
                TaskStatus::Succeeded | TaskStatus::Failed => Status::Ended,
            };
            job.tasks.push(position);
            job.pod_sets[read.pod_set].tasks.push(position);
            job.has_succeeded |= entry.status() == TaskStatus::Succeeded;
            if job.last_start.is_none() {
                job.last_start = entry.details.started;
            }
            if status.is_active() || status == Status::Pending {
                add(&mut job.request, &read.amounts);
            }
            if entry.status() != TaskStatus::Waiting {
                let node = entry.placement().map(|place| place.node.index());
                let groups = groups.into_iter().flat_map(|place| place.gpus.iter());
                placed.push((position, Place::new(status, node, groups.map(|gpu| gpu as u32).collect())));
            }
            if self.tasks.len() <= position {
                self.tasks.resize_with(position + 1, Task::vacant);
            }
            self.tasks[position] = read;
        }
        for set in &mut job.pod_sets {
            let tasks = &self.tasks;
            set.tasks.sort_by_key(|&task| core::cmp::Reverse(tasks[task].priority));
        }
        for queue in self.lineage(job.queue).collect::<Vec<_>>() {
            add(&mut self.queues[queue].request, &job.request);
        }
        self.reserve_job(id);
        let index = id.slot();
        self.jobs[index] = job;
        for (task, place) in placed {
            self.observe(task, place);
        }
        self.settle(index);
        self.expose(index);
        if self.is_stale(index) {
            self.stale.insert(index);
        }
    }

    /// A task that waits, whether it does or not: what it is apart from where it is.
    fn task(&self, state: &ClusterState, id: TaskId, entry: &foretell_framework::Task, job: &Job) -> Task {
        let class = state.class_spec(entry.class);
        let group = class.labels.get(keys::SUB_GROUP).map_or("", |name| name);
        let request = request(class, self.basis.dimensions);
        let mut amounts = [request[CPU], request[MEMORY], class.gpus.total_milli() as i64];
        let mig: i64 = request.iter().zip(&self.mig_gpus).map(|(amount, gpus)| amount * gpus).sum();
        amounts[GPU] += mig * WHOLE;
        let waiting = if entry.details.gated { Status::Gated } else { Status::Pending };
        let unplaced = Place::new(waiting, None, Vec::new());
        let priority = class.labels.get(keys::TASK_PRIORITY).and_then(|text| text.parse().ok());
        Task {
            id,
            job: entry.job.slot(),
            pod_set: job.pod_sets.iter().position(|set| *set.name == *group).unwrap_or(0),
            class: entry.class,
            request,
            share: share(class),
            amounts,
            priority: priority.unwrap_or(0),
            nominated: entry.nominated().map(NodeId::index),
            place: unplaced.clone(),
            decided: unplaced,
        }
    }

    /// Forgets a job; its slot may be taken again.
    fn remove_job(&mut self, index: usize) {
        for task in core::mem::take(&mut self.jobs[index].tasks) {
            self.forget(task);
        }
        let Job { queue, request, .. } = self.jobs[index];
        for queue in self.lineage(queue).collect::<Vec<_>>() {
            subtract(&mut self.queues[queue].request, &request);
        }
        self.unsettle(index);
        self.expose(index);
        self.stale.remove(&index);
        self.jobs[index] = Job { id: self.jobs[index].id, ..Job::default() };
    }

    /// Divides the cluster between the queues, from the top down.
    fn divide_shares(&mut self, past: Past<'_>) {
        let mut levels: Vec<(Amounts, Vec<usize>)> = vec![(self.total, self.roots.clone())];
        while let Some((total, siblings)) = levels.pop() {
            for resource in [CPU, MEMORY, GPU] {
                // Whole units are whole GPUs.
                let unit = if resource == GPU { WHOLE as f64 } else { 1.0 };
                let claimant = |(order, &index): (usize, &usize)| {
                    let queue = &self.queues[index];
                    let in_units = |amount: i64| amount as f64 / unit;
                    let claim = Claim {
                        deserved: queue.deserved[resource].map(in_units),
                        limit: queue.limit[resource].map(in_units),
                        over_quota_weight: queue.over_quota_weight[resource],
                        request: in_units(queue.request[resource]),
                        usage: past.usage.get(index).map_or(0.0, |usage| usage[resource]),
                    };
                    Claimant { priority: queue.priority, order, claim, share: 0.0 }
                };
                let mut claimants: Vec<Claimant> = siblings.iter().enumerate().map(claimant).collect();
                divide(total[resource] as f64 / unit, past.factor, &mut claimants);
                for (&queue, claimant) in siblings.iter().zip(claimants) {
                    self.queues[queue].fair_share[resource] = libm::round(claimant.share * unit) as i64;
                }
            }
            for queue in siblings {
                let Queue { children, fair_share, .. } = &self.queues[queue];
                if !children.is_empty() {
                    levels.push((*fair_share, children.clone()));
                }
            }
        }
    }
}

/// How many devices of a node work.
fn healthy_gpus(state: &ClusterState, node: NodeId) -> usize {
    let devices = 0..state.node(node).spec.gpus as usize;
    devices.filter(|&device| state.is_gpu_healthy(node, device)).count()
}

/// What a class asks of a node, by dimension.
fn request(class: &TaskSpec, dimensions: usize) -> Vec<i64> {
    let mut request = vec![0; dimensions];
    request[CPU] = class.requests.cpu_milli as i64;
    request[MEMORY] = class.requests.memory_bytes as i64;
    if share(class).is_none() {
        request[GPU] = class.gpus.total_milli() as i64;
    }
    for (resource, amount) in class.requests.all_extended() {
        request[GPU + 1 + resource.index()] = amount as i64;
    }
    request[dimensions - 1] = 1;
    request
}

/// The groups of a job: leaves with a minimum, and the tree above them.
fn structure(spec: &JobSpec) -> (Vec<PodSet>, Vec<GroupSet>) {
    let gang = spec.gang.as_deref();
    let root = GroupSet { levels: gang.and_then(|gang| gang.levels.clone()), ..GroupSet::default() };
    let groups = gang.map_or(&[][..], |gang| &gang.nested_groups);
    let (mut pod_sets, mut group_sets) = (Vec::new(), vec![root]);
    if groups.is_empty() {
        let min_member = spec.min_member as usize;
        pod_sets.push(PodSet { min_member, ..PodSet::default() });
        group_sets[0].pod_sets.push(0);
        return (pod_sets, group_sets);
    }
    let is_parent = |name: &str| groups.iter().any(|group| group.parent.as_deref() == Some(name));
    let mut positions: BTreeMap<&str, usize> = BTreeMap::new();
    for group in groups.iter().filter(|group| is_parent(&group.name)) {
        positions.insert(&group.name, group_sets.len());
        group_sets.push(GroupSet { levels: group.levels.clone(), ..GroupSet::default() });
    }
    for group in groups {
        let parent = group.parent.as_deref().and_then(|parent| positions.get(parent)).copied().unwrap_or(0);
        if let Some(&position) = positions.get(&*group.name) {
            if position != parent {
                group_sets[parent].group_sets.push(position);
            }
            continue;
        }
        group_sets[parent].pod_sets.push(pod_sets.len());
        pod_sets.push(PodSet {
            name: group.name.clone(),
            min_member: group.min_member as usize,
            levels: group.levels.clone(),
            tasks: Vec::new(),
        });
    }
    (pod_sets, group_sets)
}

/// The part of GPUs that a class asks for.
fn share(class: &TaskSpec) -> Option<(usize, Part)> {
    let gpus = &class.gpus;
    let memory = class.annotations.get(keys::GPU_MEMORY).and_then(|text| text.parse().ok());
    let part = match memory {
        Some(mib) if gpus.count > 0 => Part::MemoryMib(mib),
        _ if gpus.count > 0 && i64::from(gpus.milli) < WHOLE => Part::Milli(i64::from(gpus.milli)),
        _ => return None,
    };
    Some((gpus.count as usize, part))
}

/// GPUs that a unit of a resource counts for: `nvidia.com/mig-3g.20gb` is three.
fn mig_gpus(name: &str) -> i64 {
    let profile = name.strip_prefix("nvidia.com/mig-").and_then(|profile| profile.split_once('g'));
    profile.and_then(|(gpus, _)| gpus.parse().ok()).unwrap_or(0)
}

/// A time or duration that an annotation gives.
fn nanos(annotations: &Labels, key: &str) -> Option<Time> {
    annotations.get(key).and_then(|text| text.parse().ok()).map(Time::from_nanos)
}

fn amounts(quota: &Quota) -> [Option<i64>; 3] {
    [quota.cpu_milli, quota.memory_bytes, quota.gpu_milli].map(|amount| amount.map(|amount| amount as i64))
}

/// What a queue deserves. One that says nothing at all has no GPUs of its own: it takes part by weight.
fn deserved(spec: &QueueSpec) -> [Option<i64>; 3] {
    let mut deserved = amounts(&spec.deserved);
    if spec.deserved.is_open() && !spec.annotations.contains_key(keys::OVER_QUOTA_WEIGHTS[GPU]) {
        deserved[GPU] = Some(0);
    }
    deserved
}

fn weights(spec: &QueueSpec) -> [f64; 3] {
    let weight = |key: Box<str>| {
        let stated = spec.annotations.get(&key).and_then(|text| text.parse().ok());
        stated.unwrap_or_else(|| f64::from(spec.weight))
    };
    keys::OVER_QUOTA_WEIGHTS.map(|key| weight(key.into()))
}
