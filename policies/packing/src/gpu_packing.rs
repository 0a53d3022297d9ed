use alloc::vec::Vec;

use foretell_framework::{ClusterState, NodeId, Score, TaskSpec, WHOLE_GPU_MILLI};

/// Fills GPUs that are in use before free GPUs, and nodes in use before idle nodes.
///
/// Scores fall in three bands: 50..=100 if only devices in use are taken (more, the less is left on them), 33..50 if
/// free devices are taken on a node in use, below 33 on an idle node. CPU-only tasks score 0 everywhere.
#[derive(Default)]
pub struct GpuPacking {
    by_free: Vec<u32>,
}

impl Score for GpuPacking {
    fn name(&self) -> &'static str {
        "GpuPacking"
    }

    fn score(&mut self, state: &ClusterState, task: &TaskSpec, node: NodeId) -> i64 {
        if task.gpus.count == 0 {
            return 0;
        }
        let free_milli = state.gpu_free_milli(node);
        let free_devices = free_milli.iter().filter(|&&free| free == WHOLE_GPU_MILLI).count() as i64;
        if free_devices == free_milli.len() as i64 {
            return (33 - free_devices).max(free_devices);
        }
        self.by_free.clear();
        self.by_free.extend(free_milli.iter().copied().filter(|&free| free >= task.gpus.milli));
        self.by_free.sort_unstable();
        let chosen = &self.by_free[..self.by_free.len().min(task.gpus.count as usize)];
        let whole = chosen.iter().filter(|&&free| free == WHOLE_GPU_MILLI).count() as i64;
        if whole > 0 {
            return (50 - whole).max(33);
        }
        let left_percent: i64 = chosen.iter().map(|&free| i64::from(free * 100 / WHOLE_GPU_MILLI)).sum();
        (100 - left_percent / 10).max(50)
    }
}
