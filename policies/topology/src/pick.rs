//! Choice of GPUs inside a node, of nodes by the GPUs that they could give, and of network cards.

use alloc::vec;
use alloc::vec::Vec;

use foretell_framework::select::tightest_gpus;
use foretell_framework::{
    ClusterState, GpuSet, Interconnect, LinkLevel, NodeId, PickGpus, Score, TaskSpec, WHOLE_GPU_MILLI,
};
use rand::Rng;

use crate::interconnect::BestGpus;

/// Whole devices by [`BestGpus`]; a share goes where the least is left that is enough, and if that is a free device, to
/// the one that the rest misses least. On nodes of unknown interconnect, and for shares of several devices,
/// those with the least left that is enough, the lowest index first.
#[derive(Default)]
pub struct InterconnectGpus(BestGpus);

impl PickGpus for InterconnectGpus {
    fn draws(&self) -> bool {
        false
    }

    fn pick(&mut self, state: &ClusterState, task: &TaskSpec, node: NodeId, _random: &mut dyn Rng) -> GpuSet {
        let free_milli = state.gpu_free_milli(node);
        let tightest = || tightest_gpus(free_milli, &task.gpus);
        let Some(interconnect) = &state.node(node).spec.interconnect else { return tightest() };
        if task.gpus.milli < WHOLE_GPU_MILLI {
            let gpus = tightest();
            let breaks_a_free_one =
                task.gpus.is_share() && gpus.iter().any(|device| free_milli[device] == WHOLE_GPU_MILLI);
            if !breaks_a_free_one {
                return gpus;
            }
        }
        self.0.best(interconnect, free_devices(free_milli), task.gpus.count)
    }
}

/// The devices of which nothing is used.
fn free_devices(free_milli: &[u32]) -> GpuSet {
    let free = free_milli.iter().enumerate().filter(|&(_, &free)| free == WHOLE_GPU_MILLI);
    free.map(|(device, _)| device).collect()
}

/// Prefers nodes that could give a task GPUs with a good worst link: 0 (SYS) to 40 (PIX) over PCIe, 50 and more over
/// NVLink, up to 100 with the 18 links of NVLink 4. Tasks of less than two whole GPUs, which have no link to care for,
/// and nodes of unknown interconnect score 0.
#[derive(Default)]
pub struct GpuInterconnect(BestGpus);

/// NVLinks between two GPUs at which the score is full.
const NVLINKS_MAX: i64 = 18;

impl Score for GpuInterconnect {
    fn name(&self) -> &'static str {
        "GpuInterconnect"
    }

    fn score(&mut self, state: &ClusterState, task: &TaskSpec, node: NodeId) -> i64 {
        if task.gpus.count < 2 || task.gpus.milli < WHOLE_GPU_MILLI {
            return 0;
        }
        let Some(interconnect) = &state.node(node).spec.interconnect else { return 0 };
        let gpus = self.0.best(interconnect, free_devices(state.gpu_free_milli(node)), task.gpus.count);
        match interconnect.worst_link(gpus) {
            Some(LinkLevel::Nvlink(nvlinks)) => 50 + i64::from(nvlinks).min(NVLINKS_MAX) * 50 / NVLINKS_MAX,
            Some(LinkLevel::Pcie(path)) => path as i64 * 10,
            None => 0,
        }
    }
}

/// A network card for each GPU of a task, in order of the GPUs. Of the cards to which the GPU has the shortest path, the
/// one with the fewest GPUs of the task so far; among equals the GPU's own, which neighbours that have the same nearest
/// cards take in turn, so that tasks beside each other do not meet at one card. Nothing on nodes without cards.
pub fn nearest_nics(interconnect: &Interconnect, gpus: GpuSet) -> Vec<usize> {
    let mut used = vec![0_u32; interconnect.nics()];
    let nics = gpus.iter().filter_map(|gpu| {
        let nearest: Vec<_> = interconnect.nearest_nics(gpu).collect();
        let neighbours =
            (0..gpu).filter(|&other| interconnect.nearest_nics(other).eq(nearest.iter().copied()));
        let own = neighbours.count();
        let in_turn = (0..nearest.len()).map(|turn| nearest[(own + turn) % nearest.len()]);
        let nic = in_turn.min_by_key(|&nic| used[nic])?;
        used[nic] += 1;
        Some(nic)
    });
    nics.collect()
}
