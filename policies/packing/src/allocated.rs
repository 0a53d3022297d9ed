use foretell_framework::gpu::GpuSet;
use foretell_framework::select::tightest_gpus;
use foretell_framework::{ClusterState, NodeId, PickGpus, Score, TaskSpec};
use rand::Rng;

/// Which nodes [`GpuAllocated`] prefers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Preference {
    /// The fullest (binpack, `MostAllocated`).
    Most,
    /// The emptiest (spread, `LeastAllocated`).
    Least,
}

/// Binpack and spread: kube-scheduler's `MostAllocated` and `LeastAllocated` with the GPU as the resource, in
/// hundredths of a percent; CPU decides among equals, and alone for CPU-only tasks.
pub struct GpuAllocated(pub Preference);

/// One, in hundredths of a percent.
const WHOLE: u64 = 10_000;

impl Score for GpuAllocated {
    fn name(&self) -> &'static str {
        match self.0 {
            Preference::Most => "GpuMostAllocated",
            Preference::Least => "GpuLeastAllocated",
        }
    }

    fn score(&mut self, state: &ClusterState, task: &TaskSpec, node: NodeId) -> i64 {
        let free_gpu_milli = state.node(node).gpu_free_milli();
        let node = state.node(node);
        let fraction =
            |used: u64, capacity: u64| used.saturating_mul(WHOLE).checked_div(capacity).unwrap_or(0);
        let cpu =
            fraction(node.allocated().cpu_milli + task.requests.cpu_milli, node.spec.allocatable.cpu_milli);
        let gpu = if task.gpus.count > 0 {
            let capacity_milli = u64::from(node.spec.gpus) * u64::from(foretell_framework::WHOLE_GPU_MILLI);
            fraction(capacity_milli - free_gpu_milli + task.gpus.total_milli(), capacity_milli)
        } else {
            0
        };
        let allocated = (gpu * (WHOLE + 1) + cpu) as i64;
        match self.0 {
            Preference::Most => allocated,
            Preference::Least => -allocated,
        }
    }
}

/// For a share the device with the most left, the lowest index among equals; for whole GPUs the free devices of
/// lowest index.
pub struct WorstFitGpus;

impl PickGpus for WorstFitGpus {
    fn draws(&self) -> bool {
        false
    }

    fn pick(&mut self, state: &ClusterState, task: &TaskSpec, node: NodeId, _random: &mut dyn Rng) -> GpuSet {
        let free = state.gpu_free_milli(node);
        if !task.gpus.is_share() {
            return tightest_gpus(free, &task.gpus);
        }
        let emptiest = free.iter().enumerate().rev().max_by_key(|&(_, &free)| free);
        emptiest.map_or(GpuSet::EMPTY, |(device, _)| GpuSet::single(device))
    }
}
