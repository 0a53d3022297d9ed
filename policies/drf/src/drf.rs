use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::cmp::Ordering;

use foretell_framework::{ClusterState, JobId, QueueId, SessionPlugin, TaskId, Time};
use slotmap::SecondaryMap;

use crate::amounts::Amounts;
use crate::hierarchy::Hierarchy;
use crate::tally::Requests;

/// Shares that differ by less are equal.
const SHARE_DELTA: f64 = 1e-6;

/// Dominant resource fairness between jobs (Ghodsi et al., NSDI 2011): the job goes first that holds the smaller part of
/// the cluster, by the resource of which it holds the most.
///
/// With a hierarchy the same holds between queues at each level of a tree, and a queue can take back from another while it
/// would still go first.
#[derive(Default)]
pub struct Drf {
    hierarchical: bool,
    total: Amounts,
    requests: Requests,
    jobs: SecondaryMap<JobId, JobShare>,
    hierarchy: Option<Hierarchy>,
}

#[derive(Clone, Default)]
struct JobShare {
    allocated: Amounts,
    share: f64,
}

impl Drf {
    /// Between jobs alone, or between queues of a tree too.
    pub fn new(hierarchical: bool) -> Self {
        Self { hierarchical, ..Self::default() }
    }

    fn change(&mut self, state: &ClusterState, task: TaskId, change: impl Fn(&mut Amounts, &Amounts)) {
        let Some(request) = self.requests.task(state, task) else { return };
        let Some(job) = state.task(task).and_then(|task| self.jobs.get_mut(task.job)) else { return };
        change(&mut job.allocated, request);
        job.share = job.allocated.dominant_share(&self.total);
        if let (Some(hierarchy), Some(task)) = (&mut self.hierarchy, state.task(task)) {
            hierarchy.change(task.job, |allocated| change(allocated, request));
        }
    }
}

impl SessionPlugin for Drf {
    fn name(&self) -> &'static str {
        "drf"
    }

    fn open(&mut self, state: &ClusterState, _now: Time) {
        self.total = Amounts::of_cluster(state);
        self.requests = Requests::of(state);
        self.jobs.clear();
        self.hierarchy = self.hierarchical.then(|| Hierarchy::of(state, self.total.clone()));
        for (id, job) in state.jobs() {
            let (allocated, wanted) = self.requests.job(state, job);
            let share = allocated.dominant_share(&self.total);
            if let Some(hierarchy) = &mut self.hierarchy {
                hierarchy.add_job(job.spec.queue, id, &allocated, wanted.plus(&allocated));
            }
            self.jobs.insert(id, JobShare { allocated, share });
        }
        if let Some(hierarchy) = &mut self.hierarchy {
            hierarchy.refresh();
        }
    }

    fn on_allocate(&mut self, state: &ClusterState, task: TaskId) {
        self.change(state, task, Amounts::add);
    }

    fn on_deallocate(&mut self, state: &ClusterState, task: TaskId) {
        self.change(state, task, Amounts::subtract);
    }

    fn compare_queues(&self, _: &ClusterState, left: QueueId, right: QueueId) -> Ordering {
        self.hierarchy.as_ref().map_or(Ordering::Equal, |hierarchy| hierarchy.compare(left, right))
    }

    fn compare_jobs(&self, _: &ClusterState, left: JobId, right: JobId) -> Ordering {
        let share = |job| self.jobs.get(job).map_or(0.0, |job| job.share);
        share(left).total_cmp(&share(right))
    }

    /// Tasks of jobs that would still not hold less than the preemptor's job would hold then.
    fn preemptable(
        &self,
        state: &ClusterState,
        preemptor: TaskId,
        candidates: &[TaskId],
    ) -> Option<Vec<TaskId>> {
        let own = self.jobs.get(state.task(preemptor)?.job)?;
        let own = own.allocated.clone().plus(self.requests.task(state, preemptor)?);
        let own = own.dominant_share(&self.total);
        let mut left: BTreeMap<JobId, Amounts> = BTreeMap::new();
        let is_victim = |candidate: &TaskId| {
            let Some(job) = state.task(*candidate).map(|task| task.job) else { return false };
            let Some(request) = self.requests.task(state, *candidate) else { return false };
            let allocated = || self.jobs.get(job).map(|job| job.allocated.clone()).unwrap_or_default();
            let left = left.entry(job).or_insert_with(allocated);
            left.subtract(request);
            let share = left.dominant_share(&self.total);
            own < share || libm::fabs(own - share) <= SHARE_DELTA
        };
        Some(candidates.iter().copied().filter(is_victim).collect())
    }

    /// Tasks of queues that would still go behind the reclaimer's if the task changed hands; only with a hierarchy.
    fn reclaimable(
        &self,
        state: &ClusterState,
        reclaimer: TaskId,
        candidates: &[TaskId],
    ) -> Option<Vec<TaskId>> {
        let mut hierarchy = self.hierarchy.clone()?;
        let queue = |task| Some((state.task(task)?.job, state.job(state.task(task)?.job)?.spec.queue));
        let ((job, claimant), request) = (queue(reclaimer)?, self.requests.task(state, reclaimer)?);
        hierarchy.change(job, |allocated| allocated.add(request));
        let mut is_victim = |candidate: &TaskId| {
            let (Some((job, queue)), Some(held)) = (queue(*candidate), self.requests.task(state, *candidate))
            else {
                return false;
            };
            hierarchy.change(job, |allocated| allocated.subtract(held));
            let order = hierarchy.compare(claimant, queue);
            hierarchy.change(job, |allocated| allocated.add(held));
            order.is_lt()
        };
        Some(candidates.iter().copied().filter(|candidate| is_victim(candidate)).collect())
    }
}
