//! Changes of what is placed where. Policies make them through a [`Transaction`](crate::Transaction); drivers say what
//! they observed.

use super::{ClusterState, Placement, PlacementError, TaskStatus};
use crate::gpu::{GpuSet, WHOLE_GPU_MILLI};
use crate::id::{NodeId, TaskId};
use crate::recency::Stamp;
use crate::select::tightest_gpus;
use crate::time::Time;

impl ClusterState {
    // ---- What drivers say

    /// A task runs where it is bound.
    pub fn start_task(&mut self, task: TaskId, now: Time) {
        if let Some(entry) = self.tasks.get_mut(task).filter(|task| task.status == TaskStatus::Bound) {
            entry.details.started = Some(now);
            self.set_status(task, TaskStatus::Running);
        }
    }

    /// A placed task was told to stop by someone else than the policy: it still holds what it holds. Whether it had a
    /// place that it could lose.
    pub fn release_task(&mut self, task: TaskId) -> bool {
        self.mark_releasing(task).is_some()
    }

    /// A task has left its node and waits again, under the same id. Returns where it was.
    pub fn requeue_task(&mut self, task: TaskId) -> Option<Placement> {
        let placement = self.unplace(task, TaskStatus::Waiting)?;
        self.tasks[task].details.started = None;
        Some(placement)
    }

    /// A task has ended, placed or not; its job keeps it.
    pub fn end_task(&mut self, task: TaskId, succeeded: bool) {
        let status = if succeeded { TaskStatus::Succeeded } else { TaskStatus::Failed };
        self.set_nomination(task, None);
        if self.unplace(task, status).is_none() && self.task(task).is_some() {
            self.set_status(task, status);
        }
    }

    /// A task was found on a node, in one of the states that hold a node. What a driver observed is taken as it is, even
    /// if the node is too small for it. Devices that the driver does not know are chosen: those with the
    /// least left that is enough, then those with the most left.
    pub fn observe_task(&mut self, task: TaskId, node: NodeId, gpus: Option<GpuSet>, status: TaskStatus) {
        debug_assert!(status.holds_node());
        let Some(entry) = self.task(task).filter(|task| task.placement.is_none()) else { return };
        let request = self.class_spec(entry.class).gpus;
        let gpus = gpus.unwrap_or_else(|| {
            let free_milli = self.gpu_free_milli(node);
            let mut gpus = tightest_gpus(free_milli, &request);
            while gpus.len() < request.count {
                let rest = free_milli.iter().enumerate().filter(|&(device, _)| !gpus.contains(device));
                let Some((device, _)) =
                    rest.max_by_key(|&(device, &free)| (free, core::cmp::Reverse(device)))
                else {
                    break;
                };
                gpus.insert(device);
            }
            gpus
        });
        self.apply_placement(task, node, gpus);
        match status {
            TaskStatus::Releasing => {
                self.mark_releasing(task);
            }
            TaskStatus::Running => {
                self.set_status(task, TaskStatus::Running);
            }
            _ => {}
        }
    }

    /// Moves a task to another status and returns the one before; its job keeps count.
    fn set_status(&mut self, task: TaskId, status: TaskStatus) -> TaskStatus {
        let entry = &mut self.tasks[task];
        let before = core::mem::replace(&mut entry.status, status);
        let by_status = &mut self.jobs[entry.job].by_status;
        by_status[before as usize] -= 1;
        by_status[status as usize] += 1;
        self.job_recency.touch(entry.job.slot());
        before
    }

    /// Room was found to be being made for a waiting task on a node, or (`None`) no longer.
    pub fn observe_nomination(&mut self, task: TaskId, node: Option<NodeId>) {
        if self.task(task).is_some_and(|task| task.status == TaskStatus::Waiting) {
            self.set_nomination(task, node);
        }
    }

    // ---- What transactions do

    /// Whether a task may take these devices of this node.
    pub(crate) fn check_placement(
        &self,
        task: TaskId,
        node: NodeId,
        gpus: GpuSet,
    ) -> Result<(), PlacementError> {
        let entry = self.task(task).ok_or(PlacementError::UnknownTask)?;
        if entry.status != TaskStatus::Waiting {
            return Err(PlacementError::AlreadyPlaced);
        }
        let node_entry = self.nodes.get(node.index()).ok_or(PlacementError::UnknownNode)?;
        let spec = self.class_spec(entry.class);
        node_entry.check_resources(&spec.requests)?;
        if gpus.len() != spec.gpus.count {
            return Err(PlacementError::WrongGpuCount { requested: spec.gpus.count, given: gpus.len() });
        }
        if let Some(model) = node_entry.spec.gpu_model.filter(|_| !gpus.is_empty())
            && !spec.gpus.models.allows(model)
        {
            return Err(PlacementError::WrongGpuModel { model });
        }
        for device in gpus.iter() {
            if device >= node_entry.spec.gpus as usize {
                return Err(PlacementError::UnknownGpu { device });
            }
            let gpu = self.gpus[node_entry.first_gpu + device];
            if !gpu.healthy {
                return Err(PlacementError::UnhealthyGpu { device });
            }
            let free_milli = WHOLE_GPU_MILLI.saturating_sub(gpu.used_milli);
            if free_milli < spec.gpus.milli {
                let requested_milli = spec.gpus.milli;
                return Err(PlacementError::GpuFull { device, requested_milli, free_milli });
            }
        }
        Ok(())
    }

    /// Binds a task; [`Self::check_placement`] has passed, or a driver saw it there.
    pub(crate) fn apply_placement(&mut self, task: TaskId, node: NodeId, gpus: GpuSet) {
        if self.tasks[task].nominated.is_some() {
            self.set_nomination(task, None);
        }
        let entry = &mut self.tasks[task];
        let spec = &self.classes.values[entry.class.index()];
        let job = &mut self.jobs[entry.job];
        let queue = &mut self.queues[job.spec.queue.index()];
        let node_entry = &mut self.nodes[node.index()];
        let slot = node_entry.tasks.len() as u32;
        let gpu_milli = spec.gpus.milli;
        entry.placement = Some(Placement { node, gpus, gpu_milli, slot });
        job.placed += 1;
        node_entry.tasks.push(task);
        node_entry.allocated.add(&spec.requests);
        let total = spec.gpus.total_milli();
        self.gpu_allocated_milli += total;
        queue.gpu_allocated_milli += total;
        queue.allocated.add(&spec.requests);
        let priority = entry.details.priority;
        self.count_holder(priority, true);
        self.use_gpus(node, gpus, |used_milli| used_milli + gpu_milli);
        self.set_status(task, TaskStatus::Bound);
        self.recency.touch(node.index());
    }

    /// Changes what is used of devices.
    fn use_gpus(&mut self, node: NodeId, gpus: GpuSet, change: impl Fn(u32) -> u32) {
        let node = &mut self.nodes[node.index()];
        for device in gpus.iter() {
            let gpu = &mut self.gpus[node.first_gpu + device];
            gpu.used_milli = change(gpu.used_milli);
            // A rollback may put a task back on a device that broke under it.
            if gpu.healthy {
                let free = &mut self.gpu_free_milli[node.first_gpu + device];
                node.gpu_free_milli -= u64::from(*free);
                *free = WHOLE_GPU_MILLI.saturating_sub(gpu.used_milli);
                node.gpu_free_milli += u64::from(*free);
            }
        }
    }

    /// Tells a placed task to stop: it still holds what it holds. Returns its state before, `None` if it has no place
    /// that it could lose.
    pub(crate) fn mark_releasing(&mut self, task: TaskId) -> Option<TaskStatus> {
        let entry = self.tasks.get(task).filter(|task| task.status.is_placed())?;
        let node = entry.placement.as_ref()?.node;
        let status = self.set_status(task, TaskStatus::Releasing);
        let entry = &self.tasks[task];
        let spec = &self.classes.values[entry.class.index()];
        self.jobs[entry.job].placed -= 1;
        let node_entry = &mut self.nodes[node.index()];
        node_entry.releasing.add(&spec.requests);
        node_entry.releasing_gpu_milli += spec.gpus.total_milli();
        node_entry.releasing_tasks += 1;
        self.recency.touch(node.index());
        Some(status)
    }

    /// The inverse of [`Self::mark_releasing`].
    pub(crate) fn unmark_releasing(&mut self, task: TaskId, status: TaskStatus) {
        let before = self.set_status(task, status);
        debug_assert_eq!(before, TaskStatus::Releasing);
        let entry = &self.tasks[task];
        let node = entry.placement.as_ref().expect("a task that is released is placed").node;
        self.jobs[entry.job].placed += 1;
        self.unaccount_releasing(task, node);
        self.recency.touch(node.index());
    }

    fn unaccount_releasing(&mut self, task: TaskId, node: NodeId) {
        let spec = &self.classes.values[self.tasks[task].class.index()];
        let node = &mut self.nodes[node.index()];
        node.releasing.subtract(&spec.requests);
        node.releasing_gpu_milli -= spec.gpus.total_milli();
        node.releasing_tasks -= 1;
    }

    /// Sets where room is being made for a task. Returns what was set before.
    pub(crate) fn set_nomination(&mut self, task: TaskId, node: Option<NodeId>) -> Option<NodeId> {
        let entry = self.tasks.get_mut(task)?;
        let before = core::mem::replace(&mut entry.nominated, node);
        self.nominations += u32::from(node.is_some());
        self.nominations -= u32::from(before.is_some());
        let nominated = &mut self.jobs[entry.job].nominated;
        *nominated = *nominated + u32::from(node.is_some()) - u32::from(before.is_some());
        self.job_recency.touch(entry.job.slot());
        if let Some(before) = before {
            self.nodes[before.index()].nominated.retain(|&nominated| nominated != task);
            self.recency.touch(before.index());
        }
        if let Some(node) = node {
            let nominated = &mut self.nodes[node.index()].nominated;
            let position = nominated.partition_point(|&other| other < task);
            nominated.insert(position, task);
            self.recency.touch(node.index());
        }
        before
    }

    /// Takes a task off its node, into a state that holds none, and says where it was.
    pub(crate) fn unplace(&mut self, task: TaskId, status: TaskStatus) -> Option<Placement> {
        let entry = self.tasks.get_mut(task)?;
        let placement = entry.placement.take()?;
        let (class, job, priority) = (entry.class, entry.job, entry.details.priority);
        self.count_holder(priority, false);
        let before = self.set_status(task, status);
        if before == TaskStatus::Releasing {
            self.unaccount_releasing(task, placement.node);
        } else {
            self.jobs[job].placed -= 1;
        }
        let spec = &self.classes.values[class.index()];
        let node = &mut self.nodes[placement.node.index()];
        let slot = placement.slot as usize;
        debug_assert_eq!(node.tasks[slot], task);
        node.tasks.swap_remove(slot);
        if let Some(&moved) = node.tasks.get(slot) {
            self.tasks[moved].placement.as_mut().expect("a listed task is placed").slot = placement.slot;
        }
        node.allocated.subtract(&spec.requests);
        let total = spec.gpus.total_milli();
        self.gpu_allocated_milli -= total;
        let queue = &mut self.queues[self.jobs[job].spec.queue.index()];
        queue.gpu_allocated_milli -= total;
        queue.allocated.subtract(&spec.requests);
        self.use_gpus(placement.node, placement.gpus, |used_milli| used_milli - placement.gpu_milli);
        self.recency.touch(placement.node.index());
        self.released = self.recency.now();
        Some(placement)
    }

    /// Takes a task that a policy placed off its node again, and nominates it as before. That releases nothing to anyone.
    pub(crate) fn take_back(&mut self, task: TaskId, nominated: Option<NodeId>) {
        let released = self.released;
        self.unplace(task, TaskStatus::Waiting);
        self.released = released;
        self.set_nomination(task, nominated);
    }

    /// The inverse of [`Self::unplace`], to the same place in the node's list of tasks and into the same state.
    pub(crate) fn restore(&mut self, task: TaskId, placement: &Placement, status: TaskStatus) {
        self.apply_placement(task, placement.node, placement.gpus);
        let tasks = &mut self.nodes[placement.node.index()].tasks;
        let (slot, last) = (placement.slot as usize, tasks.len() - 1);
        tasks.swap(slot, last);
        let displaced = tasks[last];
        self.tasks[displaced].placement.as_mut().expect("a listed task is placed").slot = last as u32;
        self.tasks[task].placement.as_mut().expect("just placed").slot = placement.slot;
        if status == TaskStatus::Releasing {
            self.mark_releasing(task);
        } else {
            self.set_status(task, status);
        }
    }

    /// For rollbacks: see [`Self::released`].
    pub(crate) const fn set_released(&mut self, released: Stamp) {
        self.released = released;
    }
}
