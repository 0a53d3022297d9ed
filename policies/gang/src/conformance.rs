use alloc::vec::Vec;

use foretell_framework::{ClusterState, SessionPlugin, TaskId};

/// Nobody evicts what keeps the cluster itself running: tasks of the namespace `kube-system`, and tasks whose priority is
/// that of `system-cluster-critical` or higher.
pub struct Conformance;

/// Kubernetes gives `system-cluster-critical` this priority, `system-node-critical` a little more, and lets users define
/// none as high.
const SYSTEM_CRITICAL: i32 = 2_000_000_000;

fn evictable(state: &ClusterState, candidates: &[TaskId]) -> Vec<TaskId> {
    let is_evictable = |task: &TaskId| {
        state.task(*task).is_some_and(|task| {
            task.details.priority < SYSTEM_CRITICAL
                && *state.class_spec(task.class).namespace != *"kube-system"
        })
    };
    candidates.iter().copied().filter(is_evictable).collect()
}

impl SessionPlugin for Conformance {
    fn name(&self) -> &'static str {
        "conformance"
    }

    fn preemptable(&self, state: &ClusterState, _: TaskId, candidates: &[TaskId]) -> Option<Vec<TaskId>> {
        Some(evictable(state, candidates))
    }

    fn reclaimable(&self, state: &ClusterState, _: TaskId, candidates: &[TaskId]) -> Option<Vec<TaskId>> {
        Some(evictable(state, candidates))
    }
}
