//! Nodes, and the shapes in which a job can have some of them.

use alloc::vec::Vec;

/// Alike nodes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NodeType {
    /// How many.
    pub nodes: u32,
    /// GPUs of each.
    pub gpus_per_node: u32,
}

impl NodeType {
    /// GPUs of all its nodes.
    pub fn gpus(&self) -> u32 {
        self.nodes * self.gpus_per_node
    }
}

/// So many GPUs of one type over so many nodes. Order is by type, then GPUs, then nodes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Hash)]
pub struct Shape {
    /// The type, by its place in the cluster.
    pub gpu_type: usize,
    /// GPUs in all.
    pub gpus: u32,
    /// Nodes in all.
    pub nodes: u32,
}

/// The type of each node: nodes are numbered through, type by type.
pub fn node_types(cluster: &[NodeType]) -> Vec<usize> {
    let types = cluster.iter().enumerate();
    types.flat_map(|(gpu_type, nodes)| core::iter::repeat_n(gpu_type, nodes.nodes as usize)).collect()
}

/// The shape of a placement; nothing if it is empty. The type is that of its first node.
pub fn shape_of(placement: &[(usize, u32)], node_types: &[usize]) -> Option<Shape> {
    let &(first, _) = placement.first()?;
    let gpus = placement.iter().map(|&(_, gpus)| gpus).sum();
    Some(Shape { gpu_type: *node_types.get(first)?, gpus, nodes: placement.len() as u32 })
}
