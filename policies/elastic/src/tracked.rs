//! What is kept of each job: what it may have, and how far it has come as far as the policy knows.

use alloc::sync::Arc;
use alloc::vec::Vec;

use foretell_framework::{
    ClusterState, FULL_SPEED, GpuModelId, GpuModelSet, Job, JobId, NodeId, Scaling, Stamp, Time,
    WHOLE_GPU_MILLI, WHOLE_WORK,
};

use foretell_framework::time::NANOS_PER_SECOND;

use crate::divide::{ElasticJob, NodesOfType, in_proportion};
use crate::place::{held, nodes_of};

/// The work of a second at full speed.
const A_SECOND: u128 = FULL_SPEED as u128 * NANOS_PER_SECOND as u128;

/// The GPU models of a cluster, those of which there are most first.
#[derive(Default)]
pub(crate) struct Models {
    /// With the number of GPUs of the largest node.
    by_frequency: Vec<(GpuModelId, u32)>,
    /// Nodes that take tasks, by model and size.
    pub(crate) types: Vec<NodesOfType>,
    seen: Stamp,
}

impl Models {
    /// Looks at the nodes if they are others than before, and at which of their GPUs work.
    pub(crate) fn refresh(&mut self, state: &ClusterState) {
        self.refresh_types(state);
        for of_type in &mut self.types {
            let devices = 0..of_type.gpus_per_node as usize;
            let broken = |&node: &NodeId| {
                let broken = devices.clone().filter(|&device| !state.is_gpu_healthy(node, device)).count();
                (broken > 0).then_some((node, broken as u32))
            };
            of_type.broken = of_type.nodes.iter().filter_map(broken).collect();
        }
    }

    fn refresh_types(&mut self, state: &ClusterState) {
        if self.seen == state.node_specs_changed() {
            return;
        }
        self.seen = state.node_specs_changed();
        let mut found: Vec<(u64, GpuModelId, u32)> = Vec::new();
        for node in state.nodes() {
            let Some(model) = node.spec.gpu_model else { continue };
            let gpus = node.spec.gpus;
            match found.iter_mut().find(|(_, known, _)| *known == model) {
                Some((total, _, largest)) => {
                    (*total, *largest) = (*total + u64::from(gpus), (*largest).max(gpus));
                }
                None => found.push((u64::from(gpus), model, gpus)),
            }
        }
        // A stable sort: equals stay in order of the nodes.
        found.sort_by_key(|&(total, ..)| core::cmp::Reverse(total));
        self.by_frequency = found.into_iter().map(|(_, model, largest)| (model, largest)).collect();
        self.types.clear();
        for id in state.node_ids() {
            let spec = &state.node(id).spec;
            let Some(model) = spec.gpu_model.filter(|_| !spec.unschedulable) else { continue };
            let same = |known: &&mut NodesOfType| known.model == model && known.gpus_per_node == spec.gpus;
            if let Some(known) = self.types.iter_mut().find(same) {
                known.nodes.push(id);
            } else {
                let (nodes, broken) = (alloc::vec![id], Vec::new());
                self.types.push(NodesOfType { model, gpus_per_node: spec.gpus, nodes, broken });
            }
        }
        let first = self.by_frequency.first().map(|&(model, _)| model);
        self.types.sort_by_key(|of_type| Some(of_type.model) != first);
    }

    /// That of which there are most among those that a job accepts.
    fn most_of(&self, models: GpuModelSet) -> Option<(GpuModelId, u32)> {
        self.by_frequency.iter().copied().find(|&(model, _)| models.allows(model))
    }
}

/// A job that waits or runs.
pub(crate) struct Tracked {
    pub(crate) id: JobId,
    pub(crate) sequence: u64,
    pub(crate) priority: i32,
    /// Tasks with GPUs that it is to have.
    pub(crate) target: u32,
    pub(crate) has_started: bool,
    deadline: Option<Time>,
    is_protected: bool,
    min_tasks: u32,
    /// None if it asks for no GPUs.
    pub(crate) max_tasks: u32,
    gpus_per_task: u32,
    /// Thousandths of each task, and of all that it asks for.
    gpu_milli: u64,
    pub(crate) asked_milli: u64,
    models: GpuModelSet,
    scaling: Option<Arc<Scaling>>,
    /// All its work, if it is known; millionths of its speed times nanoseconds.
    total: Option<u128>,
    done: u128,
    speed: u64,
    since: Time,
    /// When it computes again after its latest start or change.
    pub(crate) resumes: Time,
    /// Where it is to have its tasks, if the policy says so.
    pub(crate) wanted: Option<Vec<(NodeId, u32)>>,
    pub(crate) changes: u32,
    most_tasks: u32,
    submitted: Time,
}

impl Tracked {
    pub(crate) fn new(state: &ClusterState, id: JobId, job: &Job, now: Time) -> Self {
        let with_gpus = job.spec.tasks.iter().map(|&(class, count)| (state.class_spec(class).gpus, count));
        let with_gpus: Vec<_> = with_gpus.filter(|(gpus, _)| gpus.count > 0).collect();
        let count = |of: &[(_, u32)]| of.iter().map(|&(_, count)| count).sum::<u32>();
        let max_tasks = count(&with_gpus);
        let total_milli: u64 =
            with_gpus.iter().map(|(gpus, count)| gpus.total_milli() * u64::from(*count)).sum();
        let others = job.tasks().len() as u32 - max_tasks;
        // Tasks that are not alike are not to be told apart by their number.
        let is_elastic = with_gpus.len() == 1 && job.spec.min_member < job.tasks().len() as u32;
        let min_tasks =
            if is_elastic { job.spec.min_member.saturating_sub(others).max(1) } else { max_tasks };
        let request = with_gpus.first().map(|&(gpus, _)| gpus).unwrap_or_default();
        let scaling = job.spec.scaling.clone();
        let asked = scaling.as_ref().map_or(max_tasks, |scaling| scaling.asked);
        let gpu_milli = total_milli.div_ceil(u64::from(max_tasks.max(1)));
        let total = job.spec.expected_duration;
        Self {
            id,
            sequence: job.spec.sequence,
            priority: job.spec.priority,
            target: held(state, id),
            has_started: job.placed() > 0,
            deadline: job.spec.deadline,
            is_protected: job.spec.preemptable == Some(false),
            min_tasks,
            max_tasks,
            gpus_per_task: request.count,
            gpu_milli,
            asked_milli: gpu_milli * u64::from(asked),
            models: request.models,
            scaling,
            total: total.map(|total| u128::from(total.as_nanos()) * u128::from(FULL_SPEED)),
            done: 0,
            speed: 0,
            since: now,
            resumes: now,
            wanted: None,
            changes: 0,
            most_tasks: held(state, id),
            submitted: job.spec.submitted,
        }
    }

    /// Counts what it has done up to now.
    pub(crate) fn settle(&mut self, now: Time) {
        let from = self.since.max(self.resumes).min(now);
        self.done += u128::from(self.speed) * u128::from(now.since(from).as_nanos());
        self.since = now;
    }

    fn done_millionths(&self) -> u64 {
        let Some(total) = self.total.filter(|&total| total > 0) else { return 0 };
        (self.done.min(total) * u128::from(WHOLE_WORK) / total) as u64
    }

    /// Takes note of where it is now; what it did before must be settled.
    pub(crate) fn observe(&mut self, state: &ClusterState) {
        let nodes = nodes_of(state, self.id);
        let tasks = nodes.values().sum();
        self.most_tasks = self.most_tasks.max(tasks);
        self.speed = match &self.scaling {
            None => in_proportion(tasks, self.max_tasks),
            Some(scaling) => {
                let models = nodes.keys().filter_map(|&node| state.node(node).spec.gpu_model);
                scaling.speed_on(self.done_millionths(), tasks, models, nodes.len() <= 1)
            }
        };
    }

    /// The job as a policy sees it. Its speeds are those on the GPU model of which there are most, on as few nodes as can
    /// be.
    pub(crate) fn view(&self, state: &ClusterState, models: &Models) -> ElasticJob {
        let places: Vec<_> = nodes_of(state, self.id).into_iter().collect();
        let tasks: u32 = places.iter().map(|&(_, tasks)| tasks).sum();
        let keeps = self.is_protected && tasks > 0;
        let done = self.done_millionths();
        let model = models.most_of(self.models);
        let speed = |tasks: u32| match (&self.scaling, model) {
            (Some(scaling), Some((model, largest))) => {
                scaling.speed(done, tasks, model, tasks * self.gpus_per_task <= largest)
            }
            _ => in_proportion(tasks, self.max_tasks),
        };
        ElasticJob {
            sequence: self.sequence,
            priority: self.priority,
            deadline: self.deadline,
            min_tasks: if keeps { tasks.max(self.min_tasks) } else { self.min_tasks },
            max_tasks: self.max_tasks,
            gpu_milli: self.gpu_milli,
            tasks,
            is_protected: self.is_protected,
            // Who is thought to be done and is not has a second left.
            left: self.total.map(|total| total.saturating_sub(self.done).max(A_SECOND)),
            speeds: (1..=self.max_tasks).map(speed).collect(),
            scaling: self.scaling.clone(),
            done,
            submitted: self.submitted,
            gpus_per_task: if self.gpu_milli == u64::from(self.gpus_per_task) * u64::from(WHOLE_GPU_MILLI) {
                self.gpus_per_task
            } else {
                0
            },
            places,
            most_tasks: self.most_tasks,
            changes: self.changes,
            models: self.models,
        }
    }
}
