//! Fragmentation of the whole cluster, kept up to date node by node.

use std::sync::Arc;

use foretell_framework::{ClusterState, Stamp, TypicalTasks};

/// Fixed-point units in a thousandth of a GPU. Sums of integers do not depend on the order in which nodes changed, so
/// neither rounding drift nor history reaches a result.
const UNITS_PER_MILLI: f64 = 1e6;

/// Sums of FGD's fragmentation and of stranded GPU over all nodes.
pub struct FragmentationIndex {
    typical: Arc<TypicalTasks>,
    seen: Stamp,
    nodes: Vec<(u64, u64)>,
    expected_units: u64,
    stranded_milli: u64,
}

impl FragmentationIndex {
    /// For a workload with these typical tasks.
    pub const fn new(typical: Arc<TypicalTasks>) -> Self {
        Self { typical, seen: Stamp::ZERO, nodes: Vec::new(), expected_units: 0, stranded_milli: 0 }
    }

    /// Looks at the nodes that changed since the last look.
    pub fn refresh(&mut self, state: &ClusterState) {
        self.nodes.resize(state.nodes().len(), (0, 0));
        for node in state.changed_since(self.seen) {
            let fragmentation = self.typical.of_node(state, node);
            let new = (
                (fragmentation.expected_milli * UNITS_PER_MILLI).round() as u64,
                fragmentation.stranded_milli,
            );
            let old = std::mem::replace(&mut self.nodes[node.index()], new);
            self.expected_units = self.expected_units - old.0 + new.0;
            self.stranded_milli = self.stranded_milli - old.1 + new.1;
        }
        self.seen = state.stamp();
    }

    /// Idle GPU that a typical task cannot use, expected value, in thousandths of a GPU.
    pub fn expected_milli(&self) -> f64 {
        self.expected_units as f64 / UNITS_PER_MILLI
    }

    /// Idle GPU that no typical task can use, in thousandths of a GPU.
    pub const fn stranded_milli(&self) -> u64 {
        self.stranded_milli
    }
}
