use alloc::sync::Arc;
use alloc::vec::Vec;

use foretell_framework::gpu::{GpuSet, MAX_GPUS_PER_NODE};
use foretell_framework::select::tightest_gpus;
use foretell_framework::{
    ClusterState, GpuModelId, NodeId, PickGpus, Score, Stamp, TaskSpec, TypicalTasks, WHOLE_GPU_MILLI,
};
use rand::Rng;

use crate::memo::Memo;

/// Fragmentation gradient descent (FGD, USENIX ATC'23): prefers the node whose fragmentation grows least, or falls
/// most, when the task is placed.
///
/// `score = 100 * sigmoid((fragmentation before - fragmentation after) / 1000)`, truncated, with fragmentation in
/// thousandths of a GPU. A task that asks for a share of a GPU is tried on every device that has enough left.
pub struct Fgd {
    hypothesis: Hypothesis,
    /// Fragmentation of each node as it is, and the node's stamp when it was computed.
    before: Vec<(Stamp, f64)>,
}

impl Fgd {
    /// FGD that expects this workload.
    pub const fn new(typical: Arc<TypicalTasks>) -> Self {
        Self { hypothesis: Hypothesis::new(typical), before: Vec::new() }
    }
}

impl Score for Fgd {
    fn name(&self) -> &'static str {
        "FGD"
    }

    fn score(&mut self, state: &ClusterState, task: &TaskSpec, node: NodeId) -> i64 {
        self.before.resize(state.nodes().len(), (Stamp::ZERO, 0.0));
        let (seen, before_milli) = &mut self.before[node.index()];
        if *seen != state.node_stamp(node) {
            *seen = state.node_stamp(node);
            *before_milli = self.hypothesis.typical.of_node(state, node).expected_milli;
        }
        self.hypothesis.best(state, task, node, *before_milli).0
    }
}

/// The devices that give FGD's score: for a share the one with the highest, for whole GPUs the free devices of lowest
/// index.
pub struct FgdGpus {
    hypothesis: Hypothesis,
}

impl FgdGpus {
    /// The devices for [`Fgd`] with the same workload.
    pub const fn new(typical: Arc<TypicalTasks>) -> Self {
        Self { hypothesis: Hypothesis::new(typical) }
    }
}

impl PickGpus for FgdGpus {
    fn draws(&self) -> bool {
        false
    }

    fn pick(&mut self, state: &ClusterState, task: &TaskSpec, node: NodeId, _random: &mut dyn Rng) -> GpuSet {
        if !task.gpus.is_share() {
            return tightest_gpus(state.gpu_free_milli(node), &task.gpus);
        }
        let before_milli = self.hypothesis.typical.of_node(state, node).expected_milli;
        let (_, device) = self.hypothesis.best(state, task, node, before_milli);
        device.map_or(GpuSet::EMPTY, GpuSet::single)
    }
}

/// What a placement would do to the fragmentation of a node.
struct Hypothesis {
    typical: Arc<TypicalTasks>,
    memo: Memo,
}

impl Hypothesis {
    const fn new(typical: Arc<TypicalTasks>) -> Self {
        Self { typical, memo: Memo::new() }
    }

    /// The highest score over the ways to place the task on the node, and for a share the first device that has it.
    fn best(
        &mut self,
        state: &ClusterState,
        task: &TaskSpec,
        node: NodeId,
        before_milli: f64,
    ) -> (i64, Option<usize>) {
        let entry = state.node(node);
        let Some(model) = entry.spec.gpu_model else { return (score(before_milli, 0.0), None) };
        let cpu_free_milli = entry.cpu_free_milli().saturating_sub(task.requests.cpu_milli);
        let free = state.gpu_free_milli(node);
        let mut buffer = [0; MAX_GPUS_PER_NODE];
        let after = &mut buffer[..free.len()];
        after.copy_from_slice(free);
        if !task.gpus.is_share() {
            tightest_gpus(free, &task.gpus).iter().for_each(|device| after[device] -= task.gpus.milli);
            return (self.score_of(cpu_free_milli, after, model, before_milli), None);
        }
        let mut best: Option<(i64, usize)> = None;
        for device in (0..free.len()).filter(|&device| free[device] >= task.gpus.milli) {
            // Devices with equally much left give equal scores, and the first of them wins.
            if free[..device].contains(&free[device]) {
                continue;
            }
            after[device] -= task.gpus.milli;
            let score = self.score_of(cpu_free_milli, after, model, before_milli);
            after[device] = free[device];
            if best.is_none_or(|(highest, _)| score > highest) {
                best = Some((score, device));
            }
        }
        best.map_or((0, None), |(score, device)| (score, Some(device)))
    }

    fn score_of(&mut self, cpu_free_milli: u64, free: &[u32], model: GpuModelId, before_milli: f64) -> i64 {
        score(before_milli, self.memo.expected_milli(&self.typical, cpu_free_milli, free, model))
    }
}

/// The gradient of fragmentation as a score from 0 to 100, higher when fragmentation falls.
fn score(before_milli: f64, after_milli: f64) -> i64 {
    let gradient = (before_milli - after_milli) / f64::from(WHOLE_GPU_MILLI);
    (100.0 * (1.0 / (1.0 + libm::exp(-gradient)))) as i64
}
