use alloc::vec::Vec;

use foretell_framework::gpu::GpuSet;
use foretell_framework::select::tightest_gpus;
use foretell_framework::{ClassRanking, ClusterState, NodeId, PickGpus, SelectNode, TaskSpec};
use rand::{Rng, RngExt};

/// Any feasible node, with equal probability.
pub struct RandomNode;

impl SelectNode for RandomNode {
    fn select(&mut self, ranking: &mut ClassRanking, random: &mut dyn Rng) -> Option<NodeId> {
        let feasible = ranking.feasible();
        if feasible == 0 {
            return None;
        }
        ranking.feasible_from(0).nth(random.random_range(0..feasible) as usize)
    }

    fn candidates(
        &mut self,
        ranking: &ClassRanking,
        passes: &mut dyn FnMut(NodeId) -> bool,
        candidates: &mut Vec<NodeId>,
    ) {
        candidates.extend(ranking.feasible_from(0).filter(|&node| passes(node)));
    }

    fn pick(&mut self, totals: &[i64], random: &mut dyn Rng) -> usize {
        random.random_range(0..totals.len())
    }
}

/// For a share any device that fits, with equal probability; for whole GPUs the free devices of lowest index.
pub struct RandomGpus;

impl PickGpus for RandomGpus {
    fn pick(&mut self, state: &ClusterState, task: &TaskSpec, node: NodeId, random: &mut dyn Rng) -> GpuSet {
        let free = state.gpu_free_milli(node);
        if !task.gpus.is_share() {
            return tightest_gpus(free, &task.gpus);
        }
        let mut fitting = free.iter().enumerate().filter(|&(_, &free)| free >= task.gpus.milli);
        let count = fitting.clone().count();
        if count == 0 {
            return GpuSet::EMPTY;
        }
        fitting.nth(random.random_range(0..count)).map_or(GpuSet::EMPTY, |(device, _)| GpuSet::single(device))
    }
}
