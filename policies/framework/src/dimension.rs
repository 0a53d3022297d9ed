//! Resources one by one, for scores that weigh them.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use crate::gpu::WHOLE_GPU_MILLI;
use crate::id::ResourceId;
use crate::quota::Quota;
use crate::spec::TaskSpec;
use crate::state::{ClusterState, Node};

/// A resource that is requested and counted.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Dimension {
    /// Thousandths of a CPU core.
    Cpu,
    /// Bytes of memory.
    Memory,
    /// Thousandths of GPU devices.
    Gpu,
    /// Units of an extended resource.
    Extended(ResourceId),
}

/// The resource name of GPU devices where nothing else is said.
pub const GPU_RESOURCE: &str = "nvidia.com/gpu";

impl Dimension {
    /// Its position in a dense list: CPU, memory, GPU, then extended resources by id.
    pub const fn index(self) -> usize {
        match self {
            Self::Cpu => 0,
            Self::Memory => 1,
            Self::Gpu => 2,
            Self::Extended(resource) => 3 + resource.index(),
        }
    }

    /// How many a state has.
    pub fn count(state: &ClusterState) -> usize {
        3 + state.resource_names().len()
    }
}

impl TaskSpec {
    /// What it requests, without zeros.
    pub fn requested(&self) -> impl Iterator<Item = (Dimension, u64)> {
        let fixed = [
            (Dimension::Cpu, self.requests.cpu_milli),
            (Dimension::Memory, self.requests.memory_bytes),
            (Dimension::Gpu, self.gpus.total_milli()),
        ];
        let extended = self.requests.all_extended();
        let extended = extended.map(|(resource, amount)| (Dimension::Extended(resource), amount));
        fixed.into_iter().chain(extended).filter(|&(_, amount)| amount > 0)
    }
}

impl Quota {
    /// What it names, numbers of tasks apart.
    pub fn named(&self) -> impl Iterator<Item = (Dimension, u64)> {
        let fixed = [
            self.cpu_milli.map(|amount| (Dimension::Cpu, amount)),
            self.memory_bytes.map(|amount| (Dimension::Memory, amount)),
            self.gpu_milli.map(|amount| (Dimension::Gpu, amount)),
        ];
        let extended =
            self.extended.iter().map(|&(resource, amount)| (Dimension::Extended(resource), amount));
        fixed.into_iter().flatten().chain(extended)
    }
}

impl Node {
    /// How much of a resource it has for tasks.
    pub fn allocatable(&self, dimension: Dimension) -> u64 {
        match dimension {
            Dimension::Cpu => self.spec.allocatable.cpu_milli,
            Dimension::Memory => self.spec.allocatable.memory_bytes,
            Dimension::Gpu => u64::from(self.spec.gpus) * u64::from(WHOLE_GPU_MILLI),
            Dimension::Extended(resource) => self.spec.allocatable.extended(resource),
        }
    }

    /// How much of a resource its tasks hold, those that were told to stop too. A broken GPU counts as held.
    pub fn used(&self, dimension: Dimension) -> u64 {
        match dimension {
            Dimension::Cpu => self.allocated().cpu_milli,
            Dimension::Memory => self.allocated().memory_bytes,
            Dimension::Gpu => self.allocatable(dimension) - self.gpu_free_milli(),
            Dimension::Extended(resource) => self.allocated().extended(resource),
        }
    }
}

/// Something for each of some resources, which a configuration calls by name.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PerResource<T> {
    values: BTreeMap<Box<str>, T>,
    gpu_resource: Box<str>,
}

impl<T: Copy> PerResource<T> {
    /// By name: `cpu`, `memory`, the name of GPU devices, names of extended resources.
    pub fn new(values: impl IntoIterator<Item = (Box<str>, T)>, gpu_resource: &str) -> Self {
        Self { values: values.into_iter().collect(), gpu_resource: gpu_resource.into() }
    }

    /// What a resource has, if anything.
    pub fn get(&self, state: &ClusterState, dimension: Dimension) -> Option<T> {
        let name = match dimension {
            Dimension::Cpu => "cpu",
            Dimension::Memory => "memory",
            Dimension::Gpu => &*self.gpu_resource,
            Dimension::Extended(resource) => state.resource_name(resource),
        };
        self.values.get(name).copied()
    }

    /// All that have something, in order of name; `None` for a name that the state does not know.
    pub fn resolved(&self, state: &ClusterState) -> Vec<(Option<Dimension>, T)> {
        let dimension = |name: &str| match name {
            "cpu" => Some(Dimension::Cpu),
            "memory" => Some(Dimension::Memory),
            name if *name == *self.gpu_resource => Some(Dimension::Gpu),
            name => {
                let position = state.resource_names().iter().position(|known| **known == *name);
                position.map(|index| Dimension::Extended(ResourceId::new(index)))
            }
        };
        self.values.iter().map(|(name, &value)| (dimension(name), value)).collect()
    }
}
