//! The action that schedules pod by pod.

use alloc::vec::Vec;

use foretell_framework::{
    Action, ClassRanking, ClusterEvent, ClusterState, JobId, NodeId, PlaceFailure, Plugins, Reason,
    Rejection, Session, Stamp, TaskId, Time,
};

use crate::DefaultConfig;
use crate::backoff::{Backoff, flush_time};
use crate::queue::{Cohort, Failure, Pool, SchedulingQueue};

/// Takes pods one by one from kube-scheduler's queue, chooses a node for each and binds it by itself.
///
/// A cycle goes on until no pod is left that may be tried: first those of activeQ, then those that back off,
/// which are not made to wait while the scheduler is idle. Each pod is tried once in a cycle: binding others
/// makes no room, so a second try would fail like the first. A pod that fails waits in the unschedulable pool
/// until an event may help it. Since a cycle takes no time, nothing is left in backoffQ at its end; backoff
/// decides who goes first.
pub struct SchedulePods {
    queue: SchedulingQueue,
    /// Events since the last cycle.
    released: bool,
    changed_nodes: Vec<NodeId>,
    waiting_again: Vec<TaskId>,
    /// The latest change that might have let in what did not fit, as of the last look through the pool.
    seen: Stamp,
    /// When the pool is to be looked through without any event.
    flush_at: Option<Time>,
}

impl SchedulePods {
    /// With empty queues.
    pub fn new(config: &DefaultConfig) -> Self {
        let backoff = Backoff::new(config.pod_initial_backoff, config.pod_max_backoff);
        Self {
            queue: SchedulingQueue::new(backoff),
            released: false,
            changed_nodes: Vec::new(),
            waiting_again: Vec::new(),
            seen: Stamp::ZERO,
            flush_at: None,
        }
    }

    /// Moves pods out of the unschedulable pool: those that the events since the last cycle may help, and
    /// those that have been there too long.
    ///
    /// Room on nodes helps pods that a node was too full for; a new or changed node helps pods that may go
    /// there, if only once it has room. The flush is for changes that came without an event, so it passes
    /// over pods that nothing can have helped.
    fn requeue(&mut self, state: &ClusterState, now: Time, plugins: &mut Plugins) {
        let released = core::mem::take(&mut self.released);
        let changed_nodes = core::mem::take(&mut self.changed_nodes);
        let helpful = last_helpful_change(state);
        let flushes = self.flush_at.is_some_and(|time| time <= now);
        if !released && changed_nodes.is_empty() && self.seen == helpful && !flushes {
            return;
        }
        self.seen = helpful;
        self.flush_at = None;
        let (queue, flush_at) = (&mut self.queue, &mut self.flush_at);
        let mut pools = core::mem::take(&mut queue.pools);
        pools.retain(|&(class, _), pool| {
            if pool.tried >= helpful {
                return true;
            }
            let ranking = plugins.ranking(state, class);
            let node_helps =
                changed_nodes.iter().any(|&node| ranking.rejection(node).is_none_or(is_for_lack_of_room));
            let moves = |cohort: &Cohort| {
                node_helps || (released && cohort.room_helps) || flush_time(cohort.timestamp) <= now
            };
            if ranking.feasible() == 0 {
                // Each of those moved would be tried in its turn and fail, since until then no room is made.
                note_failure(pool, state, ranking);
                let room_helps = pool.room_helps;
                pool.fail(Failure { now, backoff: queue.backoff, room_helps }, moves);
            } else {
                for cohort in pool.cohorts.extract_if(.., |cohort| moves(cohort)) {
                    queue.queue_cohort(cohort, now);
                }
                *flush_at = pool.flush_time().into_iter().chain(*flush_at).min();
            }
            !pool.cohorts.is_empty()
        });
        queue.pools = pools;
    }

    /// Tries pods in their order until none is left.
    fn schedule(&mut self, session: &mut Session<'_>, plugins: &mut Plugins) {
        let now = session.now;
        while let Some(mut cohort) = self.queue.pop() {
            while let Some(pod) = cohort.pods.pop_first() {
                let waits = session.state().task(pod.task).is_some_and(|task| task.placement().is_none());
                let (mut transaction, random) = session.begin();
                // One that is gone or placed already is dropped, as in kube-scheduler.
                let outcome = if waits {
                    plugins.place(&mut transaction, pod.task, random).map(|_| ())
                } else {
                    Ok(())
                };
                transaction.commit();
                if let Err(failure) = outcome {
                    cohort.pods.insert(pod);
                    self.park(cohort, failure, session.state(), now, plugins);
                    break;
                }
                match self.queue.keep_turn(cohort, now) {
                    Some(next) => cohort = next,
                    None => break,
                }
            }
        }
    }

    fn park(
        &mut self,
        cohort: Cohort,
        failure: PlaceFailure,
        state: &ClusterState,
        now: Time,
        plugins: &mut Plugins,
    ) {
        let pool = self.queue.pools.entry((cohort.class, cohort.priority)).or_default();
        note_failure(pool, state, plugins.ranking(state, cohort.class));
        if let PlaceFailure::Illegal(error) = failure {
            pool.illegal = Some(error);
        }
        let room_helps = pool.room_helps;
        pool.park(cohort, Failure { now, backoff: self.queue.backoff, room_helps });
    }
}

/// The latest change that may have let in what did not fit.
fn last_helpful_change(state: &ClusterState) -> Stamp {
    state.released().max(state.node_specs_changed())
}

/// Remembers that a class was tried in this state, and what may help it.
fn note_failure(pool: &mut Pool, state: &ClusterState, ranking: &ClassRanking) {
    // Whether room helps changes with what nodes are only: a node that passes on that account, and is not
    // feasible, lacks room.
    if pool.tried <= state.node_specs_changed() {
        pool.room_helps =
            ranking.rejections().counts.iter().any(|&(rejection, _)| is_for_lack_of_room(rejection));
    }
    pool.tried = state.stamp();
    pool.illegal = None;
}

/// Whether the node was rejected for what it holds, not for what it is.
fn is_for_lack_of_room(rejection: Rejection) -> bool {
    rejection >= Rejection::TooManyTasks
}

impl Action for SchedulePods {
    fn name(&self) -> &'static str {
        "schedule-pods"
    }

    fn notify(&mut self, state: &ClusterState, _plugins: &mut Plugins, event: ClusterEvent) {
        match event {
            ClusterEvent::JobAdded(job) => self.queue.add(state, job),
            ClusterEvent::JobRemoved(job) => self.queue.remove(state, job),
            ClusterEvent::TasksReleased => self.released = true,
            ClusterEvent::TaskChanged(_) => {}
            ClusterEvent::TaskWaiting(task) => self.waiting_again.push(task),
            ClusterEvent::NodeChanged(node) => {
                // With nobody to help there is nothing to remember.
                if !self.queue.pools.is_empty() && self.changed_nodes.last() != Some(&node) {
                    self.changed_nodes.push(node);
                }
            }
        }
    }

    fn run(&mut self, session: &mut Session<'_>, plugins: &mut Plugins) {
        for task in core::mem::take(&mut self.waiting_again) {
            self.queue.add_again(session.state(), task, session.now);
        }
        self.requeue(session.state(), session.now, plugins);
        self.schedule(session, plugins);
        if let Some(time) = self.flush_at {
            session.wake_by(time);
        }
    }

    fn explain(&mut self, session: &mut Session<'_>, plugins: &mut Plugins, job: JobId) -> Option<Reason> {
        let state = session.state();
        let job = state.job(job)?;
        let (pool, cohort) = self.queue.find(state, job)?;
        if let Some(error) = pool.illegal {
            return Some(Reason::Illegal(error));
        }
        let ranking = plugins.ranking(state, cohort.class);
        if ranking.feasible() == 0 {
            let (placed, min_member) = (job.placed(), job.spec.min_member);
            return Some(Reason::NoNode { placed, min_member, rejections: ranking.rejections() });
        }
        // It fits now. If no event said so, only the flush will find out.
        let moves_next = self.released || !self.changed_nodes.is_empty();
        (!moves_next).then(|| Reason::BackingOff { until: flush_time(cohort.timestamp) })
    }
}

#[cfg(test)]
mod tests;
