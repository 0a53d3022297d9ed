use alloc::vec::Vec;

use foretell_framework::{ClusterState, GpuRequest, NodeId, Score, Stamp, TaskSpec};

use crate::largest::LargestNode;

/// Puts GPU tasks beside tasks of their own kind: shares of a GPU, one GPU, two GPUs, and so on.
///
/// `score = 25 * (largest node's GPU - node's free GPU) / largest node's GPU`, plus 75 if the task's kind is the
/// only one on the node, 50 if it is one of several, 25 if the node has no GPU task. CPU-only tasks score 0 everywhere.
#[derive(Default)]
pub struct GpuClustering {
    largest: LargestNode,
    /// The kinds of GPU tasks on each node, as a set of bits, and the node's stamp when they were found.
    kinds: Vec<(Stamp, u128)>,
}

/// Bit 0: shares of a GPU. Bit k: tasks with k whole GPUs.
const fn kind(gpus: &GpuRequest) -> u128 {
    if gpus.is_share() { 1 } else { 1 << gpus.count }
}

impl GpuClustering {
    fn kinds_on(&mut self, state: &ClusterState, node: NodeId) -> u128 {
        self.kinds.resize(state.nodes().len(), (Stamp::ZERO, 0));
        let (seen, kinds) = &mut self.kinds[node.index()];
        if *seen != state.node_stamp(node) {
            *seen = state.node_stamp(node);
            *kinds = state
                .node(node)
                .tasks()
                .iter()
                .filter_map(|&task| state.task_spec(task))
                .filter(|task| task.gpus.count > 0)
                .fold(0, |kinds, task| kinds | kind(&task.gpus));
        }
        *kinds
    }
}

impl Score for GpuClustering {
    fn name(&self) -> &'static str {
        "GpuClustering"
    }

    fn score(&mut self, state: &ClusterState, task: &TaskSpec, node: NodeId) -> i64 {
        if task.gpus.count == 0 {
            return 0;
        }
        let largest = self.largest.refresh(state).gpu_milli;
        let base = 25 * (largest - state.node(node).gpu_free_milli()) / largest;
        let (kinds, own) = (self.kinds_on(state, node), kind(&task.gpus));
        let affinity = match kinds {
            0 => 25,
            kinds if kinds == own => 75,
            kinds if kinds & own != 0 => 50,
            _ => 0,
        };
        base as i64 + affinity
    }
}
