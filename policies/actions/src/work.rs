//! What there is to do: queues, their jobs, their tasks, each in order.

use alloc::vec::Vec;

use foretell_framework::{ClusterState, JobId, PriorityQueue, QueueId, TaskId, TaskStatus, Tiers};

/// Queues with jobs, and the jobs of each.
#[derive(Default)]
pub(crate) struct Work {
    /// Those in line. The first is looked for anew each time: in a tree, what one queue gets moves others too.
    queues: Vec<QueueId>,
    jobs: Vec<PriorityQueue<JobId>>,
}

impl Work {
    /// Forgets everything, and keeps the memory.
    pub(crate) fn clear(&mut self, state: &ClusterState) {
        self.queues.clear();
        self.jobs.iter_mut().for_each(PriorityQueue::clear);
        self.jobs.resize_with(state.queues().len(), PriorityQueue::default);
    }

    /// Adds a job, and its queue if this is its first. Jobs of queues that do not exist wait.
    pub(crate) fn add(&mut self, state: &ClusterState, tiers: &Tiers, queue: QueueId, job: JobId) {
        if !exists(state, queue) {
            return;
        }
        if self.jobs[queue.index()].is_empty() {
            self.put_back_queue(queue);
        }
        self.put_back_job(state, tiers, queue, job);
    }

    pub(crate) fn put_back_queue(&mut self, queue: QueueId) {
        self.queues.push(queue);
    }

    pub(crate) fn put_back_job(&mut self, state: &ClusterState, tiers: &Tiers, queue: QueueId, job: JobId) {
        self.jobs[queue.index()].push(job, |left, right| tiers.compare_jobs(state, left, right));
    }

    pub(crate) fn next_queue(&mut self, state: &ClusterState, tiers: &Tiers) -> Option<QueueId> {
        let in_line = self.queues.iter().copied().enumerate();
        let first = in_line.min_by(|&(_, left), &(_, right)| tiers.compare_queues(state, left, right))?;
        Some(self.queues.swap_remove(first.0))
    }

    pub(crate) fn next_job(&mut self, state: &ClusterState, tiers: &Tiers, queue: QueueId) -> Option<JobId> {
        self.jobs[queue.index()].pop(|left, right| tiers.compare_jobs(state, left, right))
    }
}

/// Whether a queue was declared, or is the one that is always there.
fn exists(state: &ClusterState, queue: QueueId) -> bool {
    /// Says that jobs name the queue and nothing declares it.
    const UNDECLARED: &str = "foretell.dev/undeclared";
    let queue = state.queue(queue);
    *queue.name == *"default" || !queue.spec.annotations.contains_key(UNDECLARED)
}

/// The tasks of a job that wait and are not nominated, in order.
#[derive(Clone, Default)]
pub(crate) struct WaitingTasks(PriorityQueue<TaskId>);

impl WaitingTasks {
    /// Of a job, those that request something or, with `best_effort`, all.
    pub(crate) fn of(state: &ClusterState, tiers: &Tiers, job: JobId, best_effort: bool) -> Self {
        Self::among(state, tiers, state.job(job).map_or(&[][..], |job| job.tasks()), best_effort)
    }

    /// Of some tasks, those that request something or, with `best_effort`, all.
    pub(crate) fn among(state: &ClusterState, tiers: &Tiers, among: &[TaskId], best_effort: bool) -> Self {
        let mut tasks = Self::default();
        for &id in among {
            let Some(task) = state.task(id) else { continue };
            let waits = task.status() == TaskStatus::Waiting
                && task.nominated().is_none()
                && !task.details.gated
                && (best_effort || !state.class_spec(task.class).is_best_effort());
            if waits {
                tasks.push(state, tiers, id);
            }
        }
        tasks
    }

    pub(crate) fn push(&mut self, state: &ClusterState, tiers: &Tiers, task: TaskId) {
        self.0.push(task, |left, right| tiers.compare_tasks(state, left, right));
    }

    pub(crate) fn pop(&mut self, state: &ClusterState, tiers: &Tiers) -> Option<TaskId> {
        self.0.pop(|left, right| tiers.compare_tasks(state, left, right))
    }

    /// Those that wait, in no order that means anything.
    pub(crate) fn iter(&self) -> impl Iterator<Item = TaskId> {
        self.0.iter()
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
