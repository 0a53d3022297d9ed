//! Random clusters, tasks and operations for proptest: small enough to shrink to something readable, tight enough that
//! tasks fight for room.

use foretell_framework::gpu::{GpuRequest, GpuSet};
use foretell_framework::select::tightest_gpus;
use foretell_framework::{
    ClusterState, Decision, EvictionReason, GpuModelId, GpuModelSet, JobId, JobSpec, NodeId, NodeSpec,
    PlacementError, ResourceId, Resources, Session, TaskId, TaskSpec, Time, Transaction,
};
use proptest::collection::{SizeRange, vec};
use proptest::prelude::*;
use proptest::sample::{Index, select};

use crate::placement::random;

/// The GPU models of generated clusters, in order of id.
pub const GPU_MODELS: [&str; 3] = ["A100", "T4", "V100"];
/// The extended resources of generated clusters, in order of id.
pub const RESOURCES: [&str; 2] = ["rdma/nic", "example.com/license"];
/// The queues of generated clusters, in order of id.
pub const QUEUES: [&str; 3] = ["research", "product", "platform"];

/// A cluster without nodes that knows [`GPU_MODELS`], [`RESOURCES`] and [`QUEUES`].
pub fn empty_cluster() -> ClusterState {
    let mut state = ClusterState::new();
    for model in GPU_MODELS {
        state.gpu_model(model).expect("few models");
    }
    for resource in RESOURCES {
        state.resource(resource);
    }
    for queue in QUEUES {
        state.queue_id(queue);
    }
    state
}

/// Heterogeneous clusters without jobs: GPU nodes of several models and CPU-only nodes, some cordoned.
pub fn clusters(nodes: impl Into<SizeRange>) -> impl Strategy<Value = ClusterState> {
    vec(node_specs(), nodes).prop_map(|specs| {
        let mut state = empty_cluster();
        for spec in specs {
            add_node(&mut state, spec);
        }
        state
    })
}

fn add_node(state: &mut ClusterState, spec: NodeSpec) {
    let name = format!("n{}", state.nodes().len()).into();
    state.add_node(NodeSpec { name, ..spec }).expect("a generated node is well formed");
}

/// Nodes for [`empty_cluster`].
pub fn node_specs() -> impl Strategy<Value = NodeSpec> {
    let gpus = prop_oneof![1 => Just((0, None)), 4 => (1_u32..=8, gpu_models().prop_map(Some))];
    let zone = select(vec!["east", "west"]);
    (resources(16, 8, 4), 1_u32..=8, gpus, prop::bool::weighted(0.1), zone).prop_map(
        |(allocatable, max_tasks, (gpus, gpu_model), unschedulable, zone)| NodeSpec {
            allocatable,
            max_tasks,
            gpus,
            gpu_model,
            unschedulable,
            labels: [("zone".into(), zone.into())].into(),
            ..NodeSpec::new("")
        },
    )
}

fn gpu_models() -> impl Strategy<Value = GpuModelId> {
    (0..GPU_MODELS.len()).prop_map(GpuModelId::new)
}

/// Cores in quarters, memory in GiB, counts of extended resources; each up to its bound and often zero.
fn resources(cores: u64, memory_gib: u64, extended: u64) -> impl Strategy<Value = Resources> {
    let amounts = vec(prop_oneof![Just(0), 0..=extended], RESOURCES.len());
    (0..=cores * 4, 0..=memory_gib, amounts).prop_map(|(quarters, memory_gib, amounts)| {
        let mut resources = Resources::new(quarters * 250, memory_gib << 30);
        for (index, amount) in amounts.into_iter().enumerate() {
            resources.set_extended(ResourceId::new(index), amount);
        }
        resources
    })
}

/// GPU requests: none, whole devices, a share of one or of several; sometimes for some models only.
pub fn gpu_requests() -> impl Strategy<Value = GpuRequest> {
    let models = prop_oneof![
        2 => Just(GpuModelSet::ANY),
        1 => vec(gpu_models(), 1..=2).prop_map(|models| models.into_iter().collect()),
    ];
    let share = prop_oneof![select(vec![100, 250, 333, 500, 750]), 1_u32..1000];
    let amount = prop_oneof![
        2 => Just(GpuRequest::NONE),
        3 => Just(GpuRequest::whole(1)),
        2 => (2_u32..=8).prop_map(GpuRequest::whole),
        4 => share.clone().prop_map(GpuRequest::share),
        1 => (2_u32..=3, share).prop_map(|(count, milli)| GpuRequest { count, milli, ..GpuRequest::NONE }),
    ];
    (amount, models).prop_map(
        |(amount, models)| {
            if amount.count == 0 { amount } else { GpuRequest { models, ..amount } }
        },
    )
}

/// Tasks for generated clusters.
pub fn task_specs() -> impl Strategy<Value = TaskSpec> {
    let small = prop_oneof![Just(Resources::default()), resources(4, 2, 2)];
    (small, gpu_requests()).prop_map(|(requests, gpus)| TaskSpec { requests, gpus, ..TaskSpec::default() })
}

/// Something that a driver or a policy does to a state. What it names by [`Index`] is found in the state that it is
/// applied to, so that every sequence of operations means something and shrinks freely.
#[derive(Clone, Debug)]
pub enum Operation {
    /// Adds a job to one of [`QUEUES`].
    AddJob {
        /// Position in [`QUEUES`].
        queue: usize,
        /// Its tasks and how many there are of each.
        tasks: Vec<(TaskSpec, u32)>,
    },
    /// Removes a job, whatever it holds.
    RemoveJob(Index),
    /// A task has left its node, if it was on one, and waits again.
    RequeueTask(Index),
    /// Adds a node.
    AddNode(NodeSpec),
    /// Cordons or uncordons a node.
    SetUnschedulable(Index, bool),
    /// Sets the health of a device.
    SetGpuHealthy(Index, Index, bool),
    /// A transaction: its steps, and whether it is committed or dropped.
    Transact {
        /// What is done, in order.
        steps: Vec<Step>,
        /// Committed, or dropped.
        commit: bool,
    },
}

/// One step of a transaction.
#[derive(Clone, Debug)]
pub enum Step {
    /// Places a task, legally or not.
    Place(Index, Index, Devices),
    /// Evicts a task, placed or not.
    Evict(Index),
    /// Nominates a task, waiting or not, to a node.
    Nominate(Index, Index),
    /// Remembers the present point.
    Savepoint,
    /// Rolls back to one of the points remembered, or to the beginning.
    Rollback(Index),
}

/// Which devices a step takes.
#[derive(Clone, Debug)]
pub enum Devices {
    /// Such as fit, if there are any.
    Fitting,
    /// These, come what may.
    Exactly(GpuSet),
}

/// Sequences of operations.
pub fn operations(length: impl Into<SizeRange>) -> impl Strategy<Value = Vec<Operation>> {
    vec(operation(), length)
}

fn operation() -> impl Strategy<Value = Operation> {
    let job = (0..QUEUES.len(), vec((task_specs(), 1_u32..=4), 1..=2));
    let index = any::<Index>;
    prop_oneof![
        6 => job.prop_map(|(queue, tasks)| Operation::AddJob { queue, tasks }),
        2 => index().prop_map(Operation::RemoveJob),
        3 => index().prop_map(Operation::RequeueTask),
        1 => node_specs().prop_map(Operation::AddNode),
        1 => (index(), any::<bool>()).prop_map(|(node, set)| Operation::SetUnschedulable(node, set)),
        3 => (index(), index(), any::<bool>())
            .prop_map(|(node, device, set)| Operation::SetGpuHealthy(node, device, set)),
        9 => (vec(step(), 0..12), prop::bool::weighted(0.7))
            .prop_map(|(steps, commit)| Operation::Transact { steps, commit }),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let exactly = vec(0_usize..9, 0..4).prop_map(|devices| Devices::Exactly(devices.into_iter().collect()));
    let devices = prop_oneof![4 => Just(Devices::Fitting), 1 => exactly];
    let index = any::<Index>;
    prop_oneof![
        8 => (index(), index(), devices).prop_map(|(task, node, devices)| Step::Place(task, node, devices)),
        3 => index().prop_map(Step::Evict),
        1 => (index(), index()).prop_map(|(task, node)| Step::Nominate(task, node)),
        1 => Just(Step::Savepoint),
        1 => index().prop_map(Step::Rollback),
    ]
}

impl Operation {
    /// Applies the operation. One that finds nothing to apply to (no job to remove, no node) does nothing.
    pub fn apply(&self, state: &mut ClusterState) -> Vec<Decision> {
        self.apply_observed(state, |_| {})
    }

    /// Applies the operation and shows the state after every step of a transaction, while it is open.
    pub fn apply_observed(
        &self,
        state: &mut ClusterState,
        mut observe: impl FnMut(&ClusterState),
    ) -> Vec<Decision> {
        let mut decisions = Vec::new();
        match self {
            Self::AddJob { queue, tasks } => {
                add_job(state, *queue, tasks);
            }
            Self::RemoveJob(index) => {
                let jobs: Vec<JobId> = state.jobs().map(|(id, _)| id).collect();
                if !jobs.is_empty() {
                    state.remove_job(*index.get(&jobs));
                }
            }
            Self::RequeueTask(index) => {
                if let Some(task) = task_at(state, *index) {
                    state.requeue_task(task);
                }
            }
            Self::AddNode(spec) => add_node(state, spec.clone()),
            Self::SetUnschedulable(node, unschedulable) => {
                if let Some(node) = node_at(state, *node) {
                    state.set_unschedulable(node, *unschedulable);
                }
            }
            Self::SetGpuHealthy(node, device, healthy) => {
                let node = node_at(state, *node).filter(|&node| state.node(node).spec.gpus > 0);
                if let Some(node) = node {
                    let device = device.index(state.node(node).spec.gpus as usize);
                    state.set_gpu_healthy(node, device, *healthy);
                }
            }
            Self::Transact { steps, commit } => {
                let mut random = random(0);
                let mut session = Session::new(state, Time::ZERO, &mut random, &mut decisions);
                let (mut transaction, _) = session.begin();
                let mut savepoints = vec![transaction.savepoint()];
                for step in steps {
                    match step {
                        Step::Savepoint => savepoints.push(transaction.savepoint()),
                        Step::Rollback(index) => {
                            savepoints.truncate(index.index(savepoints.len()) + 1);
                            transaction.rollback_to(savepoints[savepoints.len() - 1]);
                        }
                        Step::Place(..) | Step::Evict(_) | Step::Nominate(..) => {
                            // A refusal is one of the things that may happen.
                            let _refused = step.apply(&mut transaction);
                        }
                    }
                    observe(transaction.state());
                }
                if *commit {
                    transaction.commit();
                }
            }
        }
        decisions
    }
}

impl Step {
    /// Applies a placement or an eviction; steps about savepoints, and steps that find nothing to apply to, do nothing.
    pub fn apply(&self, transaction: &mut Transaction<'_>) -> Result<(), PlacementError> {
        let state = transaction.state();
        match self {
            Self::Place(task, node, devices) => {
                let (Some(task), Some(node)) = (task_at(state, *task), node_at(state, *node)) else {
                    return Ok(());
                };
                let gpus = match devices {
                    Devices::Exactly(gpus) => *gpus,
                    Devices::Fitting => tightest_gpus(
                        state.gpu_free_milli(node),
                        &state.task_spec(task).expect("found above").gpus,
                    ),
                };
                transaction.place(task, node, gpus)
            }
            Self::Evict(task) => {
                let Some(task) = task_at(state, *task) else { return Ok(()) };
                transaction.evict(task, EvictionReason::Preempted, None)
            }
            Self::Nominate(task, node) => {
                let (Some(task), Some(node)) = (task_at(state, *task), node_at(state, *node)) else {
                    return Ok(());
                };
                transaction.nominate(task, Some(node))
            }
            Self::Savepoint | Self::Rollback(_) => Ok(()),
        }
    }
}

/// Adds a job to one of [`QUEUES`].
pub fn add_job(state: &mut ClusterState, queue: usize, tasks: &[(TaskSpec, u32)]) -> JobId {
    let tasks: Box<[_]> = tasks.iter().map(|(spec, count)| (state.class(spec), *count)).collect();
    let sequence = state.jobs().map(|(_, job)| job.spec.sequence + 1).max().unwrap_or(0);
    let queue = state.queue_id(QUEUES[queue]);
    state.add_job(JobSpec::new(sequence, queue, tasks))
}

fn node_at(state: &ClusterState, index: Index) -> Option<NodeId> {
    let nodes = state.nodes().len();
    (nodes > 0).then(|| NodeId::new(index.index(nodes)))
}

fn task_at(state: &ClusterState, index: Index) -> Option<TaskId> {
    let tasks: Vec<TaskId> = state.tasks().map(|(id, _)| id).collect();
    (!tasks.is_empty()).then(|| *index.get(&tasks))
}
