//! Quotas with what is used of them at one moment, and what would be if.

use alloc::vec;
use alloc::vec::Vec;

use crate::ids::{QueueId, WorkloadId};
use crate::model::{Model, Workload};
use crate::tree::Tree;

/// Quotas, workloads, and what these use of those.
#[derive(Clone, Debug)]
pub struct Snapshot<'a> {
    /// Flavors and queues.
    pub model: &'a Model,
    /// The workloads, by id.
    pub workloads: &'a [Workload],
    /// Quotas with usage.
    pub tree: Tree,
    /// The workloads that hold quota, per queue.
    holders: Vec<Vec<WorkloadId>>,
}

impl<'a> Snapshot<'a> {
    /// With the usage of all workloads that hold quota.
    pub fn new(model: &'a Model, workloads: &'a [Workload]) -> Self {
        let mut tree = model.tree.clone();
        let mut holders = vec![Vec::new(); model.queues.len()];
        for (index, workload) in workloads.iter().enumerate() {
            if let (Some(queue), Some(admission)) = (workload.queue, &workload.admission) {
                tree.add(queue, &admission.usage);
                holders[queue.index()].push(WorkloadId::new(index));
            }
        }
        Self { model, workloads, tree, holders }
    }

    /// A workload.
    pub fn workload(&self, id: WorkloadId) -> &'a Workload {
        &self.workloads[id.index()]
    }

    /// The workloads that hold quota of a queue.
    pub fn holders(&self, queue: QueueId) -> &[WorkloadId] {
        &self.holders[queue.index()]
    }

    /// Takes the usage of a workload away, as if it were gone.
    pub fn remove(&mut self, id: WorkloadId) {
        let workload = self.workload(id);
        if let (Some(queue), Some(admission)) = (workload.queue, &workload.admission) {
            self.tree.remove(queue, &admission.usage);
        }
    }

    /// Undoes [`Self::remove`].
    pub fn restore(&mut self, id: WorkloadId) {
        let workload = self.workload(id);
        if let (Some(queue), Some(admission)) = (workload.queue, &workload.admission) {
            self.tree.add(queue, &admission.usage);
        }
    }

    /// What holds without some workloads.
    pub fn without<T>(
        &mut self,
        ids: impl IntoIterator<Item = WorkloadId> + Clone,
        look: impl FnOnce(&Self) -> T,
    ) -> T {
        ids.clone().into_iter().for_each(|id| self.remove(id));
        let found = look(self);
        ids.into_iter().for_each(|id| self.restore(id));
        found
    }
}
