//! What the nodes of each domain have and hold together.

use alloc::vec;
use alloc::vec::Vec;

use super::DomainTree;
use crate::dimension::Dimension;
use crate::id::{DomainId, NodeId, ResourceId};
use crate::recency::Stamp;
use crate::state::ClusterState;

/// Sums per domain and resource, repaired where nodes changed.
#[derive(Clone, Debug, Default)]
pub struct DomainTotals {
    seen: Stamp,
    dimensions: usize,
    /// By node, then by dimension.
    nodes: Vec<Amounts>,
    /// By domain, then by dimension.
    domains: Vec<Amounts>,
}

/// What there is of a resource, and what is held of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
struct Amounts {
    capacity: u64,
    used: u64,
    /// Of what is used, what tasks that were told to stop hold.
    releasing: u64,
}

impl DomainTotals {
    /// Brings the sums up to date.
    pub fn refresh(&mut self, state: &ClusterState, tree: &DomainTree) {
        let dimensions = Dimension::count(state);
        if self.dimensions != dimensions
            || self.nodes.len() != state.nodes().len() * dimensions
            || self.domains.len() != tree.len() * dimensions
        {
            *self = Self {
                seen: Stamp::ZERO,
                dimensions,
                nodes: vec![Amounts::default(); state.nodes().len() * dimensions],
                domains: vec![Amounts::default(); tree.len() * dimensions],
            };
        }
        for node in state.changed_since(self.seen) {
            for index in 0..dimensions {
                self.repair(state, tree, node, index);
            }
        }
        self.seen = state.stamp();
    }

    fn repair(&mut self, state: &ClusterState, tree: &DomainTree, node: NodeId, index: usize) {
        let dimension = dimension(index);
        let entry = state.node(node);
        let now = Amounts {
            capacity: entry.allocatable(dimension),
            used: entry.used(dimension),
            releasing: match dimension {
                Dimension::Cpu => entry.releasing().cpu_milli,
                Dimension::Memory => entry.releasing().memory_bytes,
                Dimension::Gpu => entry.releasing_gpu_milli(),
                Dimension::Extended(resource) => entry.releasing().extended(resource),
            },
        };
        let before = core::mem::replace(&mut self.nodes[node.index() * self.dimensions + index], now);
        if before == now {
            return;
        }
        for domain in tree.ancestors(tree.leaf(node)) {
            let total = &mut self.domains[domain.index() * self.dimensions + index];
            total.capacity = total.capacity + now.capacity - before.capacity;
            total.used = total.used + now.used - before.used;
            total.releasing = total.releasing + now.releasing - before.releasing;
        }
    }

    fn get(&self, domain: DomainId, dimension: Dimension) -> Amounts {
        self.domains.get(domain.index() * self.dimensions + dimension.index()).copied().unwrap_or_default()
    }

    /// What the nodes of a domain have for tasks.
    pub fn capacity(&self, domain: DomainId, dimension: Dimension) -> u64 {
        self.get(domain, dimension).capacity
    }

    /// What tasks hold of it.
    pub fn used(&self, domain: DomainId, dimension: Dimension) -> u64 {
        self.get(domain, dimension).used
    }

    /// What will be free when those that were told to stop have left.
    pub fn future_free(&self, domain: DomainId, dimension: Dimension) -> u64 {
        let Amounts { capacity, used, releasing } = self.get(domain, dimension);
        (capacity + releasing).saturating_sub(used)
    }
}

const fn dimension(index: usize) -> Dimension {
    match index {
        0 => Dimension::Cpu,
        1 => Dimension::Memory,
        2 => Dimension::Gpu,
        _ => Dimension::Extended(ResourceId::new(index - 3)),
    }
}
