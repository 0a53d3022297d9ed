use alloc::vec::Vec;

use foretell_framework::{ClusterState, QueueBound, QueueId, Reason, SessionPlugin, TaskId, Time};

use crate::amounts::Amounts;
use crate::tally::Requests;

/// Gives each queue a fixed part of the cluster and nothing beyond, however much lies idle: the state of affairs that
/// sharing is compared with. The part is what the queue deserves, where that is said, and otherwise its weight's
/// part of the cluster.
#[derive(Default)]
pub struct StaticPartition {
    requests: Requests,
    /// Part and what is held of it, by id.
    queues: Vec<(Amounts, Amounts)>,
}

impl StaticPartition {
    fn change(&mut self, state: &ClusterState, task: TaskId, change: impl Fn(&mut Amounts, &Amounts)) {
        let Some(request) = self.requests.task(state, task) else { return };
        let Some(job) = state.task(task).and_then(|task| state.job(task.job)) else { return };
        change(&mut self.queues[job.spec.queue.index()].1, request);
    }
}

impl SessionPlugin for StaticPartition {
    fn name(&self) -> &'static str {
        "static-partition"
    }

    fn open(&mut self, state: &ClusterState, _now: Time) {
        let total = Amounts::of_cluster(state);
        self.requests = Requests::of(state);
        let weight: f64 = state.queues().iter().map(|queue| f64::from(queue.spec.weight)).sum();
        self.queues = state
            .queues()
            .iter()
            .map(|queue| {
                let deserved = Amounts::of_quota(&queue.spec.deserved);
                let mut part = total.clone().times(f64::from(queue.spec.weight) / weight.max(1.0));
                part.replace_by(&deserved);
                (part, Amounts::default())
            })
            .collect();
        for (_, job) in state.jobs() {
            let (held, _) = self.requests.job(state, job);
            self.queues[job.spec.queue.index()].1.add(&held);
        }
    }

    fn on_allocate(&mut self, state: &ClusterState, task: TaskId) {
        self.change(state, task, Amounts::add);
    }

    fn on_deallocate(&mut self, state: &ClusterState, task: TaskId) {
        self.change(state, task, Amounts::subtract);
    }

    fn allocatable(&self, state: &ClusterState, queue: QueueId, task: TaskId) -> bool {
        let Some(request) = self.requests.task(state, task) else { return false };
        let (part, held) = &self.queues[queue.index()];
        state.queue(queue).spec.open && held.first_beyond(request, part).is_none()
    }

    fn why_not_allocatable(&self, state: &ClusterState, queue: QueueId, tasks: &[TaskId]) -> Option<Reason> {
        let (part, held) = &self.queues[queue.index()];
        let (binding, gpus) = held.use_beyond(state, &self.requests.tasks(state, tasks), part)?;
        let queue = state.queue(queue).name.clone();
        Some(Reason::QueueLimit { queue, bound: QueueBound::Part, binding, gpus })
    }
}
