//! The topology domains into which a node label divides the cluster.

use alloc::boxed::Box;
use alloc::vec::Vec;

use foretell_framework::{ClusterState, NodeId};

const NONE: u32 = u32::MAX;

/// The domains of one topology key: one for each value of the label.
pub(crate) struct Domains {
    pub(crate) key: Box<str>,
    of_node: Vec<u32>,
    count: usize,
}

impl Domains {
    /// As the nodes are now.
    pub(crate) fn new(state: &ClusterState, key: &str) -> Self {
        let value = |node: NodeId| state.node(node).spec.labels.get(key).map(AsRef::as_ref);
        let mut values: Vec<&str> = state.node_ids().filter_map(value).collect();
        values.sort_unstable();
        values.dedup();
        let domain = |node: NodeId| {
            value(node).and_then(|value| values.binary_search(&value).ok()).map_or(NONE, |found| found as u32)
        };
        let of_node = state.node_ids().map(domain).collect();
        Self { key: key.into(), of_node, count: values.len() }
    }

    /// Number of domains.
    pub(crate) const fn count(&self) -> usize {
        self.count
    }

    /// The domain of a node, `None` if it lacks the label.
    pub(crate) fn of(&self, node: NodeId) -> Option<usize> {
        let domain = self.of_node[node.index()];
        (domain != NONE).then_some(domain as usize)
    }
}
