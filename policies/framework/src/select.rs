//! Choices that more than one policy makes: the best node, the usual devices.

use alloc::vec::Vec;

use rand::Rng;

use crate::gpu::{GpuRequest, GpuSet, WHOLE_GPU_MILLI};
use crate::id::NodeId;
use crate::plugin::{PickGpus, SelectNode};
use crate::ranking::ClassRanking;
use crate::spec::TaskSpec;
use crate::state::ClusterState;

/// The node with the highest score; among equals the one that was added to the cluster first.
pub struct BestNode;

impl SelectNode for BestNode {
    fn select(&mut self, ranking: &mut ClassRanking, _random: &mut dyn Rng) -> Option<NodeId> {
        ranking.best()
    }

    fn candidates(
        &mut self,
        ranking: &ClassRanking,
        passes: &mut dyn FnMut(NodeId) -> bool,
        candidates: &mut Vec<NodeId>,
    ) {
        candidates.extend(ranking.feasible_from(0).filter(|&node| passes(node)));
    }

    fn pick(&mut self, totals: &[i64], _random: &mut dyn Rng) -> usize {
        let highest = totals.iter().max();
        totals.iter().position(|total| Some(total) == highest).unwrap_or(0)
    }

    fn draws(&self) -> bool {
        false
    }
}

/// The devices with the least left that is enough, the lowest index among equals.
pub struct BestFitGpus;

impl PickGpus for BestFitGpus {
    fn pick(&mut self, state: &ClusterState, task: &TaskSpec, node: NodeId, _random: &mut dyn Rng) -> GpuSet {
        tightest_gpus(state.gpu_free_milli(node), &task.gpus)
    }

    fn draws(&self) -> bool {
        false
    }
}

/// The devices with the least left that is enough for a request, the lowest index among equals: for whole GPUs the
/// free devices of lowest index. Fewer than requested if no more have enough.
pub fn tightest_gpus(free_milli: &[u32], request: &GpuRequest) -> GpuSet {
    let enough = || free_milli.iter().enumerate().filter(|&(_, &free)| free >= request.milli);
    if request.milli == WHOLE_GPU_MILLI {
        return enough().map(|(device, _)| device).take(request.count as usize).collect();
    }
    let mut chosen = GpuSet::EMPTY;
    for _ in 0..request.count {
        let rest = enough().filter(|&(device, _)| !chosen.contains(device));
        let Some((device, _)) = rest.min_by_key(|&(_, &free)| free) else { break };
        chosen.insert(device);
    }
    chosen
}
