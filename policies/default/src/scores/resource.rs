//! How much of a resource is used on a node, as kube-scheduler's scores count it.

use alloc::boxed::Box;
use alloc::vec::Vec;

use foretell_framework::spec::ScoringRequests;
use foretell_framework::{ClusterState, NodeId, ResourceId, Stamp, TaskSpec, WHOLE_GPU_MILLI};

use crate::filters::GPU_RESOURCE;

/// A resource that a score counts.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct WeightedResource {
    /// Kubernetes' name: `cpu`, `memory`, or that of an extended resource. `nvidia.com/gpu` and `amd.com/gpu` are the GPU devices.
    pub name: Box<str>,
    /// Its weight.
    pub weight: u32,
}

impl WeightedResource {
    /// CPU and memory, alike.
    pub fn cpu_and_memory() -> Vec<Self> {
        ["cpu", "memory"].map(|name| Self { name: name.into(), weight: 1 }).into()
    }
}

/// Used and allocatable amount of a resource.
pub(super) type Usage = (u64, u64);

/// What a name stands for in a cluster.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Counted {
    Cpu,
    Memory,
    Gpu,
    /// Storage on the node is counted for every task; other extended resources only for tasks that ask for them.
    Extended {
        resource: ResourceId,
        always: bool,
    },
}

impl Counted {
    /// `None` if nothing in the cluster has named it.
    pub(super) fn find(state: &ClusterState, name: &str) -> Option<Self> {
        let always = name == "ephemeral-storage";
        let extended = || state.find_resource(name).map(|resource| Self::Extended { resource, always });
        match name {
            "cpu" => Some(Self::Cpu),
            "memory" => Some(Self::Memory),
            // Whole GPUs are devices, unless the driver reads the resource as one like others.
            GPU_RESOURCE | "amd.com/gpu" => extended().or(Some(Self::Gpu)),
            _ => extended(),
        }
    }

    /// What a task asks for.
    pub(super) fn requested(self, task: &TaskSpec) -> u64 {
        match self {
            Self::Cpu => task.requests.cpu_milli,
            Self::Memory => task.requests.memory_bytes,
            Self::Gpu => task.gpus.total_milli(),
            Self::Extended { resource, .. } => task.requests.extended(resource),
        }
    }

    /// What tasks on a node hold, and what the node has. `None` where the resource is no matter: the node has none, or it
    /// is an extended one that the newcomer does not ask for.
    pub(super) fn usage(self, state: &ClusterState, newcomer: &TaskSpec, node: NodeId) -> Option<Usage> {
        let entry = state.node(node);
        let (allocated, allocatable) = (entry.allocated(), &entry.spec.allocatable);
        let usage = match self {
            Self::Cpu => (allocated.cpu_milli, allocatable.cpu_milli),
            Self::Memory => (allocated.memory_bytes, allocatable.memory_bytes),
            Self::Gpu => {
                let capacity = u64::from(entry.spec.gpus) * u64::from(WHOLE_GPU_MILLI);
                (capacity - entry.gpu_free_milli(), capacity)
            }
            Self::Extended { resource, .. } => (allocated.extended(resource), allocatable.extended(resource)),
        };
        let asked = match self {
            Self::Cpu | Self::Memory | Self::Extended { always: true, .. } => true,
            Self::Gpu | Self::Extended { .. } => self.requested(newcomer) > 0,
        };
        (asked && usage.1 > 0).then_some(usage)
    }
}

/// CPU and memory of a task as scores count them.
pub(super) fn scoring_requests(task: &TaskSpec) -> ScoringRequests {
    task.scoring_requests.unwrap_or_else(|| ScoringRequests::of(&task.requests))
}

/// What tasks on a node count for beyond their requests, kept while the node does not change.
#[derive(Clone, Copy, Default)]
pub(super) struct Extra {
    at: Stamp,
    pub(super) cpu_milli: u64,
    pub(super) memory_bytes: u64,
}

/// [`Extra`] of every node.
#[derive(Default)]
pub(super) struct Extras {
    nodes: Vec<Extra>,
}

impl Extras {
    pub(super) fn of(&mut self, state: &ClusterState, node: NodeId) -> Extra {
        if self.nodes.len() < state.nodes().len() {
            self.nodes.resize(state.nodes().len(), Extra::default());
        }
        let extra = &mut self.nodes[node.index()];
        if extra.at != state.node_stamp(node) {
            *extra = Extra { at: state.node_stamp(node), ..Extra::default() };
            for spec in state.node(node).tasks().iter().filter_map(|&task| state.task_spec(task)) {
                let scored = scoring_requests(spec);
                extra.cpu_milli += scored.cpu_milli.saturating_sub(spec.requests.cpu_milli);
                extra.memory_bytes += scored.memory_bytes.saturating_sub(spec.requests.memory_bytes);
            }
        }
        *extra
    }
}
