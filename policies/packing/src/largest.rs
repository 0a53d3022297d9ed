//! The largest node of the cluster, by which the vector-packing scores normalise.

use foretell_framework::{ClusterState, Stamp, WHOLE_GPU_MILLI};

/// The most CPU and the most GPU that any one node has.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct LargestNode {
    pub(crate) cpu_milli: u64,
    pub(crate) gpu_milli: u64,
    seen: Stamp,
}

impl LargestNode {
    /// Brought up to date; never zero, so that it can divide.
    pub(crate) fn refresh(&mut self, state: &ClusterState) -> Self {
        if self.seen < state.node_specs_changed() {
            let specs = || state.nodes().iter().map(|node| &node.spec);
            self.cpu_milli = specs().map(|spec| spec.allocatable.cpu_milli).max().unwrap_or(0).max(1);
            let gpus = specs().map(|spec| u64::from(spec.gpus)).max().unwrap_or(0);
            self.gpu_milli = gpus.max(1) * u64::from(WHOLE_GPU_MILLI);
            self.seen = state.node_specs_changed();
        }
        *self
    }
}
