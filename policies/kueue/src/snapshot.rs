//! Quotas with what is used of them at one moment, and what would be if.

use alloc::collections::BTreeMap;
use alloc::vec;
use alloc::vec::Vec;

use crate::ids::{FlavorId, QueueId, WorkloadId};
use crate::model::{LeafUse, Model, Workload};
use crate::topology::TopologySnapshot;
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
    /// Topologies with usage, by flavor.
    pub topologies: BTreeMap<FlavorId, TopologySnapshot>,
    /// The workloads that hold quota, per queue.
    holders: Vec<Vec<WorkloadId>>,
}

impl<'a> Snapshot<'a> {
    /// With the usage of all workloads that hold quota.
    pub fn new(model: &'a Model, workloads: &'a [Workload]) -> Self {
        let (tree, topologies) = (model.tree.clone(), model.topologies.clone());
        let holders = vec![Vec::new(); model.queues.len()];
        let mut snapshot = Self { model, workloads, tree, topologies, holders };
        for (index, workload) in workloads.iter().enumerate() {
            if let (Some(queue), Some(_)) = (workload.queue, &workload.admission) {
                let id = WorkloadId::new(index);
                snapshot.restore(id);
                snapshot.holders[queue.index()].push(id);
            }
        }
        snapshot
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
            for LeafUse { flavor, leaf, shape, pods } in &admission.leaves {
                if let Some(topology) = self.topologies.get_mut(flavor) {
                    topology.remove_usage(*leaf, shape, *pods);
                }
            }
        }
    }

    /// Undoes [`Self::remove`].
    pub fn restore(&mut self, id: WorkloadId) {
        let workload = self.workload(id);
        if let (Some(queue), Some(admission)) = (workload.queue, &workload.admission) {
            self.tree.add(queue, &admission.usage);
            self.occupy(&admission.leaves);
        }
    }

    /// Adds pods to leaves.
    pub(crate) fn occupy(&mut self, uses: &[LeafUse]) {
        for LeafUse { flavor, leaf, shape, pods } in uses {
            if let Some(topology) = self.topologies.get_mut(flavor) {
                topology.add_usage(*leaf, shape, *pods);
            }
        }
    }

    /// Whether leaves have room for pods on top of what is used.
    pub(crate) fn has_room(&self, uses: &[LeafUse]) -> bool {
        self.topologies.iter().all(|(&flavor, topology)| {
            let own = uses.iter().filter(|used| used.flavor == flavor);
            topology.has_room(own.map(|used| (used.leaf, &used.shape, used.pods)))
        })
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
