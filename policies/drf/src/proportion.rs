use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::cmp::{Ordering, Reverse};

use foretell_framework::{
    ClusterState, JobId, QueueBound, QueueId, Reason, SessionPlugin, TaskId, Time, Vote,
};

use crate::amounts::{Absent, Amounts};
use crate::tally::{Requests, elastic};

/// Divides the cluster among the queues that have jobs, in proportion to their weights: no queue is given more than it asks
/// for or may hold, nor less than is kept for it, and what one does not need goes to the others.
#[derive(Default)]
pub struct Proportion {
    requests: Requests,
    /// By id; only queues with jobs take part.
    queues: Vec<Option<QueueShare>>,
}

#[derive(Clone, Default, Debug)]
struct QueueShare {
    weight: f64,
    deserved: Amounts,
    /// Including what tasks that wait ask for.
    request: Amounts,
    allocated: Amounts,
    /// Of what is allocated, what jobs hold beyond their minimum.
    elastic: Amounts,
    /// What jobs that were let in will need.
    reserved: Amounts,
    guarantee: Amounts,
    /// The most that it may hold: never what is kept for other queues.
    capability: Amounts,
    share: f64,
}

impl QueueShare {
    /// What is held and cannot be done without, and what is kept for jobs that were let in.
    fn taken(&self) -> Amounts {
        let mut taken = self.allocated.clone().plus(&self.reserved);
        taken.subtract(&self.elastic);
        taken
    }

    fn update_share(&mut self) {
        self.share = self.allocated.dominant_share(&self.deserved);
    }
}

/// Water filling: what remains is poured into the queues that still ask for more by their weights, until nothing remains
/// or nobody takes any.
fn fill(total: &Amounts, queues: &mut [Option<QueueShare>]) {
    let mut remaining = total.clone();
    let mut unmet: Vec<usize> = (0..queues.len()).filter(|&queue| queues[queue].is_some()).collect();
    loop {
        let weight: f64 = unmet.iter().filter_map(|&queue| queues[queue].as_ref()).map(|q| q.weight).sum();
        if weight == 0.0 {
            return;
        }
        let before = remaining.clone();
        unmet.retain(|&queue| {
            let Some(queue) = &mut queues[queue] else { return false };
            let deserved = queue.deserved.clone();
            queue.deserved.add(&before.clone().times(queue.weight / weight));
            queue.deserved.limit_to(&queue.capability, Absent::Infinity);
            queue.deserved.limit_to(&queue.request, Absent::Zero);
            queue.deserved.raise_to(&queue.guarantee);
            remaining.subtract(&queue.deserved);
            remaining.add(&deserved);
            !queue.request.is_within(&queue.deserved, Absent::Zero) && queue.deserved != deserved
        });
        if remaining.is_empty() || remaining == before {
            return;
        }
    }
}

impl Proportion {
    fn queue(&self, queue: QueueId) -> Option<&QueueShare> {
        self.queues.get(queue.index())?.as_ref()
    }

    fn change(&mut self, state: &ClusterState, task: TaskId, change: impl Fn(&mut Amounts, &Amounts)) {
        let Some(request) = self.requests.task(state, task) else { return };
        let Some(job) = state.task(task).and_then(|task| state.job(task.job)) else { return };
        let Some(Some(queue)) = self.queues.get_mut(job.spec.queue.index()) else { return };
        change(&mut queue.allocated, request);
        queue.update_share();
    }
}

impl SessionPlugin for Proportion {
    fn name(&self) -> &'static str {
        "proportion"
    }

    fn open(&mut self, state: &ClusterState, _now: Time) {
        let total = Amounts::of_cluster(state);
        self.requests = Requests::of(state);
        self.queues.clear();
        self.queues.resize(state.queues().len(), None);
        let mut kept = Amounts::default();
        state.queues().iter().for_each(|queue| kept.add(&Amounts::of_quota(&queue.spec.guarantee)));
        for (_, job) in state.jobs() {
            let queue = self.queues[job.spec.queue.index()].get_or_insert_with(|| {
                let spec = &state.queue(job.spec.queue).spec;
                let guarantee = Amounts::of_quota(&spec.guarantee);
                let mut capability = total.clone().beyond(&kept).plus(&guarantee);
                if !spec.capability.is_open() {
                    capability.limit_to(&Amounts::of_limit(&spec.capability), Absent::Infinity);
                }
                QueueShare { weight: f64::from(spec.weight), guarantee, capability, ..QueueShare::default() }
            });
            let (held, wanted) = self.requests.job(state, job);
            if let Some(reserved) = self.requests.reserved(state, job, &held) {
                queue.reserved.add(&reserved);
            }
            queue.elastic.add(&elastic(job, &held));
            queue.request.add(&held);
            queue.request.add(&wanted);
            queue.allocated.add(&held);
        }
        fill(&total, &mut self.queues);
        self.queues.iter_mut().flatten().for_each(QueueShare::update_share);
    }

    fn on_allocate(&mut self, state: &ClusterState, task: TaskId) {
        self.change(state, task, Amounts::add);
    }

    fn on_deallocate(&mut self, state: &ClusterState, task: TaskId) {
        self.change(state, task, Amounts::subtract);
    }

    fn compare_queues(&self, state: &ClusterState, left: QueueId, right: QueueId) -> Ordering {
        let priority = |queue| Reverse(state.queue(queue).spec.priority);
        let share = |queue| self.queue(queue).map_or(0.0, |queue| queue.share);
        priority(left).cmp(&priority(right)).then_with(|| share(left).total_cmp(&share(right)))
    }

    fn overused(&self, _: &ClusterState, queue: QueueId) -> bool {
        self.queue(queue).is_some_and(|queue| queue.deserved.is_within(&queue.allocated, Absent::Zero))
    }

    fn allocatable(&self, state: &ClusterState, queue: QueueId, task: TaskId) -> bool {
        let Some(request) = self.requests.task(state, task) else { return false };
        let within = |share: &QueueShare| share.allocated.first_beyond(request, &share.deserved).is_none();
        state.queue(queue).spec.open && self.queue(queue).is_some_and(within)
    }

    fn why_not_allocatable(&self, state: &ClusterState, queue: QueueId, tasks: &[TaskId]) -> Option<Reason> {
        let (share, entry) = (self.queue(queue)?, state.queue(queue));
        if !entry.spec.open {
            return Some(Reason::QueueClosed { queue: entry.name.clone() });
        }
        let request = self.requests.tasks(state, tasks);
        let beyond = |limit, bound| {
            let (binding, gpus) = share.allocated.use_beyond(state, &request, limit)?;
            Some(Reason::QueueLimit { queue: entry.name.clone(), bound, binding, gpus })
        };
        beyond(&share.capability, QueueBound::Capability)
            .or_else(|| beyond(&share.deserved, QueueBound::Deserved))
    }

    fn preemptive(&self, state: &ClusterState, queue: QueueId, task: TaskId) -> bool {
        self.allocatable(state, queue, task)
    }

    fn job_enqueueable(&self, state: &ClusterState, job: JobId) -> Vote {
        let Some(job) = state.job(job) else { return Vote::Abstain };
        let Some(queue) = self.queue(job.spec.queue) else { return Vote::Abstain };
        if !state.queue(job.spec.queue).spec.open {
            return Vote::Reject;
        }
        let gang = job.spec.gang.as_ref();
        let Some(minimum) = gang.and_then(|gang| gang.min_resources.as_ref()).map(Amounts::of_quota) else {
            return Vote::Permit;
        };
        let beyond = queue.taken().first_beyond(&minimum, &queue.capability);
        if beyond.is_none() { Vote::Permit } else { Vote::Reject }
    }

    fn why_not_enqueueable(&self, state: &ClusterState, job: JobId) -> Option<Reason> {
        let job = state.job(job)?;
        let (share, entry) = (self.queue(job.spec.queue)?, state.queue(job.spec.queue));
        if !entry.spec.open {
            return Some(Reason::QueueClosed { queue: entry.name.clone() });
        }
        let minimum = Amounts::of_quota(job.spec.gang.as_ref()?.min_resources.as_ref()?);
        let (binding, _) = share.taken().use_beyond(state, &minimum, &share.capability)?;
        Some(Reason::QueueReserved { queue: entry.name.clone(), binding })
    }

    fn job_enqueued(&mut self, state: &ClusterState, job: JobId) {
        let Some(job) = state.job(job) else { return };
        let minimum = self.requests.minimum(state, job);
        if let (Some(minimum), Some(Some(queue))) = (minimum, self.queues.get_mut(job.spec.queue.index())) {
            queue.reserved.add(&minimum);
        }
    }

    /// Tasks of queues that hold more than they deserve, as long as they do and keep what is kept for them. (Volcano does
    /// not look at what is kept here; without that a queue could lose it to a victim larger than its surplus.)
    fn reclaimable(&self, state: &ClusterState, _: TaskId, candidates: &[TaskId]) -> Option<Vec<TaskId>> {
        let mut left: BTreeMap<QueueId, Amounts> = BTreeMap::new();
        let is_victim = |candidate: &TaskId| {
            let job = state.task(*candidate).and_then(|task| state.job(task.job));
            let Some(queue) = job.map(|job| job.spec.queue) else { return false };
            let (Some(share), Some(request)) = (self.queue(queue), self.requests.task(state, *candidate))
            else {
                return false;
            };
            let left = left.entry(queue).or_insert_with(|| share.allocated.clone());
            let mut after = left.clone();
            after.subtract(request);
            let may_lose = !left.is_within(&share.deserved, Absent::Zero)
                && share.guarantee.is_within(&after, Absent::Zero);
            if may_lose {
                *left = after;
            }
            may_lose
        };
        Some(candidates.iter().copied().filter(is_victim).collect())
    }
}
