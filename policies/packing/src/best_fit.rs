use foretell_framework::{ClusterState, NodeId, Score, TaskSpec};

use crate::largest::LargestNode;

/// Best fit over CPU and GPU: prefers the node on which least is left after the task is placed.
///
/// With CPU and GPU divided by those of the largest node, `score = 100 * (1 - (cpu left + gpu left) / 2)`, truncated.
/// The study then scales scores to 0..100 over the feasible nodes, which never changes which one is highest.
#[derive(Default)]
pub struct BestFit {
    largest: LargestNode,
}

impl Score for BestFit {
    fn name(&self) -> &'static str {
        "BestFit"
    }

    fn score(&mut self, state: &ClusterState, task: &TaskSpec, node: NodeId) -> i64 {
        let largest = self.largest.refresh(state);
        let node = state.node(node);
        let cpu_left = node.cpu_free_milli().saturating_sub(task.requests.cpu_milli) as f64;
        let gpu_left = node.gpu_free_milli().saturating_sub(task.gpus.total_milli()) as f64;
        let left = 0.5 * cpu_left / largest.cpu_milli as f64 + 0.5 * gpu_left / largest.gpu_milli as f64;
        ((1.0 - left) * 100.0) as i64
    }
}
