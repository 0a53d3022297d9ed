use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::cmp::{Ordering, Reverse};

use foretell_framework::{
    ClusterState, JobId, QueueBound, QueueId, Reason, SessionPlugin, TaskId, Time, Vote,
};

use crate::amounts::{Absent, Amounts, Dimension, Scalar};
use crate::tally::{Requests, elastic};

/// The queue that contains all others in Volcano, whether they say so or not.
const ROOT: &str = "root";

/// Queues with entitlements that are said, not computed: each may hold up to its capability, deserves a part that it can
/// take back when others have borrowed it, and has a part that is kept for it. With `hierarchy` queues form a tree:
/// only its leaves take jobs, and what holds for a queue holds for those that contain it.
#[derive(Default)]
pub struct Capacity {
    hierarchy: bool,
    /// Up to which ancestor what queues deserve counts when one takes back from another: 0 is the queue itself.
    ancestor_reclaim_level: usize,
    requests: Requests,
    /// By id.
    queues: Vec<QueueShare>,
}

#[derive(Clone, Default, Debug)]
struct QueueShare {
    deserved: Amounts,
    guarantee: Amounts,
    /// The most that it may hold: never what is kept for its siblings, nor more than its parent may hold.
    capability: Amounts,
    allocated: Amounts,
    /// Of what is allocated, what jobs hold beyond their minimum.
    elastic: Amounts,
    /// What jobs that were let in will need.
    reserved: Amounts,
    share: f64,
    /// From the root down, itself not included.
    ancestors: Vec<QueueId>,
    has_children: bool,
}

impl QueueShare {
    /// What is held and cannot be done without, and what is kept for jobs that were let in.
    fn taken(&self) -> Amounts {
        let mut taken = self.allocated.clone().plus(&self.reserved);
        taken.subtract(&self.elastic);
        taken
    }

    fn update_share(&mut self) {
        self.share =
            if self.deserved.is_empty() { 1.0 } else { self.allocated.dominant_share(&self.deserved) };
    }

    /// The part that it deserves first, then those that deserve something before those that deserve nothing.
    fn compare(&self, other: &Self) -> Ordering {
        let deserves_nothing = |queue: &Self| queue.deserved.is_empty();
        self.share.total_cmp(&other.share).then(deserves_nothing(self).cmp(&deserves_nothing(other)))
    }

    /// Resources of a request on which it holds more than it deserves. Of the number of tasks it deserves as many as it
    /// likes, unless a number is said.
    fn is_over(&self, allocated: &Amounts, request: &Amounts, other: &Amounts) -> bool {
        request.dimensions().any(|(dimension, requested)| {
            requested > 0.0
                && other.get(dimension) > 0.0
                && (dimension != Dimension::Scalar(Scalar::Tasks) || self.deserved.get(dimension) > 0.0)
                && allocated.get(dimension) > self.deserved.get(dimension)
        })
    }

    /// Whether it would still hold no more than it deserves of one resource at least; `None` if it deserves none of what is
    /// asked for.
    fn deserves(&self, request: &Amounts) -> Option<bool> {
        let deserves_any = request
            .dimensions()
            .any(|(dimension, requested)| requested > 0.0 && self.deserved.get(dimension) > 0.0);
        deserves_any.then(|| self.allocated.is_partly_within(request, &self.deserved))
    }
}

impl Capacity {
    /// With queues as a tree or side by side.
    pub fn new(hierarchy: bool, ancestor_reclaim_level: usize) -> Self {
        Self { hierarchy, ancestor_reclaim_level, ..Self::default() }
    }

    /// The queue and those that contain it, from the inside out.
    fn line(&self, queue: QueueId) -> impl Iterator<Item = QueueId> {
        let ancestors = &self.queues[queue.index()].ancestors;
        core::iter::once(queue).chain(ancestors.iter().rev().copied())
    }

    /// The queue and those that contain it and not the other one, from the inside out.
    fn line_apart_from(&self, queue: QueueId, other: QueueId) -> impl Iterator<Item = QueueId> {
        let other = &self.queues[other.index()].ancestors;
        self.line(queue).take_while(move |queue| !other.contains(queue))
    }

    /// How many queues contain both.
    fn common_level(&self, left: QueueId, right: QueueId) -> usize {
        let ancestors = |queue: QueueId| self.queues[queue.index()].ancestors.iter();
        ancestors(left).zip(ancestors(right)).take_while(|(left, right)| left == right).count()
    }

    fn change(&mut self, state: &ClusterState, task: TaskId, change: impl Fn(&mut Amounts, &Amounts)) {
        let Some(request) = self.requests.task(state, task) else { return };
        let Some(job) = state.task(task).and_then(|task| state.job(task.job)) else { return };
        let mut next = Some(job.spec.queue);
        let mut depth = self.queues[job.spec.queue.index()].ancestors.len();
        let leaf = job.spec.queue.index();
        while let Some(queue) = next {
            let share = &mut self.queues[queue.index()];
            change(&mut share.allocated, request);
            share.update_share();
            next = depth.checked_sub(1).map(|above| self.queues[leaf].ancestors[above]);
            depth = depth.saturating_sub(1);
        }
    }

    fn add(&mut self, queue: QueueId, change: impl Fn(&mut QueueShare)) {
        for queue in self.line(queue).collect::<Vec<_>>() {
            change(&mut self.queues[queue.index()]);
        }
    }

    /// The queues that contain a queue, from the root down.
    fn ancestors(&self, state: &ClusterState, queue: QueueId) -> Vec<QueueId> {
        if !self.hierarchy {
            return Vec::new();
        }
        let root = state.find_queue(ROOT);
        let parent = |queue| state.queue(queue).spec.parent.or(root).filter(|&parent| parent != queue);
        let mut ancestors = Vec::new();
        let mut next = parent(queue);
        // A circle of parents ends where it closes.
        while let Some(parent_id) = next.filter(|next| *next != queue && !ancestors.contains(next)) {
            ancestors.push(parent_id);
            next = parent(parent_id);
        }
        ancestors.reverse();
        ancestors
    }

    /// Limits each queue to what its parent may hold, less what is kept for its siblings.
    fn limit(&mut self, state: &ClusterState, total: &Amounts) {
        let mut order: Vec<QueueId> = (0..self.queues.len()).map(QueueId::new).collect();
        order.sort_by_key(|queue| self.queues[queue.index()].ancestors.len());
        let parent = |queues: &[QueueShare], queue: QueueId| queues[queue.index()].ancestors.last().copied();
        let mut kept: BTreeMap<Option<QueueId>, Amounts> = BTreeMap::new();
        for &queue in &order {
            let guarantee = &self.queues[queue.index()].guarantee;
            kept.entry(parent(&self.queues, queue)).or_default().add(guarantee);
        }
        for queue in order {
            let above = parent(&self.queues, queue);
            let room = above.map_or(total, |above| &self.queues[above.index()].capability);
            let share = &self.queues[queue.index()];
            let is_root = self.hierarchy && share.ancestors.is_empty() && share.has_children;
            let mut capability = if is_root {
                room.clone()
            } else {
                room.clone().beyond(&kept[&above]).plus(&share.guarantee)
            };
            let spec = &state.queue(queue).spec;
            if !spec.capability.is_open() {
                capability.limit_to(&Amounts::of_limit(&spec.capability), Absent::Infinity);
            }
            let share = &mut self.queues[queue.index()];
            if is_root && share.deserved.is_empty() {
                share.deserved = capability.clone();
            }
            share.deserved.limit_to(&capability, Absent::Infinity);
            share.deserved.raise_to(&share.guarantee);
            share.capability = capability;
        }
    }

    /// Whether what is held of a resource that is asked for leaves room for the request, here and in all queues that
    /// contain it.
    fn has_room(&self, queue: QueueId, held: impl Fn(&QueueShare) -> Amounts, request: &Amounts) -> bool {
        self.line(queue).all(|queue| {
            let share = &self.queues[queue.index()];
            held(share).first_beyond(request, &share.capability).is_none()
        })
    }

    fn takes_no_jobs(&self, state: &ClusterState, queue: QueueId) -> Option<Reason> {
        let entry = state.queue(queue);
        if !entry.spec.open {
            Some(Reason::QueueClosed { queue: entry.name.clone() })
        } else if !self.is_leaf(queue) {
            Some(Reason::QueueNotLeaf { queue: entry.name.clone() })
        } else {
            None
        }
    }

    fn is_leaf(&self, queue: QueueId) -> bool {
        !self.queues[queue.index()].has_children
    }

    /// Whether a queue may take back from a certain other one: of the queues that contain it and not the other, up to the
    /// level that counts, those that deserve something of what is asked for are entitled to more, and there is one.
    fn is_entitled(&self, queue: QueueId, other: QueueId, request: &Amounts) -> bool {
        let line = self.line_apart_from(queue, other).take(self.ancestor_reclaim_level + 1);
        let mut verdicts = line.filter_map(|queue| self.queues[queue.index()].deserves(request)).peekable();
        verdicts.peek().is_some() && verdicts.all(|entitled| entitled)
    }
}

impl SessionPlugin for Capacity {
    fn name(&self) -> &'static str {
        "capacity"
    }

    fn open(&mut self, state: &ClusterState, _now: Time) {
        let total = Amounts::of_cluster(state);
        self.requests = Requests::of(state);
        self.queues.clear();
        for (index, queue) in state.queues().iter().enumerate() {
            self.queues.push(QueueShare {
                deserved: Amounts::of_quota(&queue.spec.deserved),
                guarantee: Amounts::of_quota(&queue.spec.guarantee),
                ancestors: self.ancestors(state, QueueId::new(index)),
                ..QueueShare::default()
            });
        }
        for index in 0..self.queues.len() {
            for ancestor in self.queues[index].ancestors.clone() {
                self.queues[ancestor.index()].has_children = true;
            }
        }
        self.limit(state, &total);
        for (_, job) in state.jobs() {
            let (held, _) = self.requests.job(state, job);
            let reserved = self.requests.reserved(state, job, &held);
            let elastic = elastic(job, &held);
            self.add(job.spec.queue, |queue| {
                queue.allocated.add(&held);
                queue.elastic.add(&elastic);
                if let Some(reserved) = &reserved {
                    queue.reserved.add(reserved);
                }
            });
        }
        self.queues.iter_mut().for_each(QueueShare::update_share);
    }

    fn on_allocate(&mut self, state: &ClusterState, task: TaskId) {
        self.change(state, task, Amounts::add);
    }

    fn on_deallocate(&mut self, state: &ClusterState, task: TaskId) {
        self.change(state, task, Amounts::subtract);
    }

    /// By priority; then leaves of the tree; then the queues, or those that contain the one and not the other, by how
    /// much of what they deserve they have.
    fn compare_queues(&self, state: &ClusterState, left: QueueId, right: QueueId) -> Ordering {
        let priority = |queue| Reverse(state.queue(queue).spec.priority);
        let by_priority = priority(left).cmp(&priority(right));
        let by_leaf = || self.is_leaf(right).cmp(&self.is_leaf(left));
        let outermost = |queue, other| self.line_apart_from(queue, other).last().unwrap_or(queue);
        let share = |queue: QueueId| &self.queues[queue.index()];
        by_priority
            .then_with(by_leaf)
            .then_with(|| share(outermost(left, right)).compare(share(outermost(right, left))))
    }

    /// Queues near to the claimant's in the tree give first.
    fn compare_victim_queues(
        &self,
        _: &ClusterState,
        left: QueueId,
        right: QueueId,
        claimant: QueueId,
    ) -> Ordering {
        self.common_level(right, claimant).cmp(&self.common_level(left, claimant))
    }

    fn allocatable(&self, state: &ClusterState, queue: QueueId, task: TaskId) -> bool {
        let Some(request) = self.requests.task(state, task) else { return false };
        state.queue(queue).spec.open
            && self.is_leaf(queue)
            && self.has_room(queue, |share| share.allocated.clone(), request)
    }

    fn why_not_allocatable(&self, state: &ClusterState, queue: QueueId, tasks: &[TaskId]) -> Option<Reason> {
        if let Some(reason) = self.takes_no_jobs(state, queue) {
            return Some(reason);
        }
        let request = self.requests.tasks(state, tasks);
        // The outermost that stands in the way: those within it may hold no more either.
        let line: Vec<QueueId> = self.line(queue).collect();
        line.into_iter().rev().find_map(|queue| {
            let share = &self.queues[queue.index()];
            let (binding, gpus) = share.allocated.use_beyond(state, &request, &share.capability)?;
            let queue = state.queue(queue).name.clone();
            Some(Reason::QueueLimit { queue, bound: QueueBound::Capability, binding, gpus })
        })
    }

    /// Whether the queue itself may hold that much, and it or one that contains it is entitled to more.
    fn preemptive(&self, state: &ClusterState, queue: QueueId, task: TaskId) -> bool {
        let Some(request) = self.requests.task(state, task) else { return false };
        let share = &self.queues[queue.index()];
        state.queue(queue).spec.open
            && share.allocated.first_beyond(request, &share.capability).is_none()
            && self
                .line(queue)
                .take(self.ancestor_reclaim_level + 1)
                .any(|queue| self.queues[queue.index()].deserves(request) == Some(true))
    }

    fn job_enqueueable(&self, state: &ClusterState, job: JobId) -> Vote {
        let Some(job) = state.job(job) else { return Vote::Abstain };
        let queue = job.spec.queue;
        if !self.is_leaf(queue) || !state.queue(queue).spec.open {
            return Vote::Reject;
        }
        let gang = job.spec.gang.as_ref();
        let Some(minimum) = gang.and_then(|gang| gang.min_resources.as_ref()).map(Amounts::of_quota) else {
            return Vote::Permit;
        };
        if self.has_room(queue, QueueShare::taken, &minimum) { Vote::Permit } else { Vote::Reject }
    }

    fn why_not_enqueueable(&self, state: &ClusterState, job: JobId) -> Option<Reason> {
        let job = state.job(job)?;
        if let Some(reason) = self.takes_no_jobs(state, job.spec.queue) {
            return Some(reason);
        }
        let minimum = Amounts::of_quota(job.spec.gang.as_ref()?.min_resources.as_ref()?);
        let line: Vec<QueueId> = self.line(job.spec.queue).collect();
        line.into_iter().rev().find_map(|queue| {
            let share = &self.queues[queue.index()];
            let (binding, _) = share.taken().use_beyond(state, &minimum, &share.capability)?;
            Some(Reason::QueueReserved { queue: state.queue(queue).name.clone(), binding })
        })
    }

    fn job_enqueued(&mut self, state: &ClusterState, job: JobId) {
        let Some(job) = state.job(job) else { return };
        if let Some(minimum) = self.requests.minimum(state, job) {
            self.add(job.spec.queue, |queue| queue.reserved.add(&minimum));
        }
    }

    /// Tasks that hold something of what the claimant asks for, of queues that have more of it than they deserve and keep
    /// what is kept for them. What holds for a queue must hold for those that contain it and not the claimant's, up to
    /// the level that counts.
    fn reclaimable(
        &self,
        state: &ClusterState,
        reclaimer: TaskId,
        candidates: &[TaskId],
    ) -> Option<Vec<TaskId>> {
        let wanted = self.requests.task(state, reclaimer)?;
        let claimant = state.job(state.task(reclaimer)?.job)?.spec.queue;
        let mut left: BTreeMap<QueueId, Amounts> = BTreeMap::new();
        let is_victim = |candidate: &TaskId| {
            let job = state.task(*candidate).and_then(|task| state.job(task.job));
            let Some(queue) = job.map(|job| job.spec.queue) else { return false };
            let Some(held) = self.requests.task(state, *candidate) else { return false };
            let line: Vec<QueueId> =
                self.line_apart_from(queue, claimant).take(self.ancestor_reclaim_level + 1).collect();
            for queue in &line {
                left.entry(*queue).or_insert_with(|| self.queues[queue.index()].allocated.clone());
            }
            let may_lose = self.is_entitled(claimant, queue, wanted)
                && line.iter().all(|queue| {
                    let (share, left) = (&self.queues[queue.index()], &left[queue]);
                    let mut after = left.clone();
                    after.subtract(held);
                    share.is_over(left, wanted, held) && share.guarantee.is_within(&after, Absent::Zero)
                });
            if may_lose {
                for queue in &line {
                    left.entry(*queue).and_modify(|left| left.subtract(held));
                }
            }
            may_lose
        };
        Some(candidates.iter().copied().filter(is_victim).collect())
    }
}
