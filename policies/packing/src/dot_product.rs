use foretell_framework::{ClusterState, NodeId, Score, TaskSpec};

use crate::largest::LargestNode;

/// Vector packing by dot product: prefers nodes with little free capacity in the dimensions that the task asks for.
///
/// With CPU and GPU divided by those of the largest node, `score = 100 * (1 - free . request / 2)`, truncated.
#[derive(Default)]
pub struct DotProduct {
    largest: LargestNode,
}

impl Score for DotProduct {
    fn name(&self) -> &'static str {
        "DotProduct"
    }

    fn score(&mut self, state: &ClusterState, task: &TaskSpec, node: NodeId) -> i64 {
        let largest = self.largest.refresh(state);
        let node = state.node(node);
        let (cpu_max, gpu_max) = (largest.cpu_milli as f64, largest.gpu_milli as f64);
        let cpu = node.cpu_free_milli() as f64 / cpu_max * (task.requests.cpu_milli as f64 / cpu_max);
        let gpu = node.gpu_free_milli() as f64 / gpu_max * (task.gpus.total_milli() as f64 / gpu_max);
        (100.0 * (1.0 - cpu.midpoint(gpu))) as i64
    }
}
