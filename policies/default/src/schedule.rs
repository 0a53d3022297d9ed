//! The action that schedules pod by pod.

use alloc::collections::BTreeSet;
use alloc::vec::Vec;

use foretell_framework::{
    Action, ClassId, ClusterEvent, ClusterState, JobId, NodeId, PlaceFailure, Plugins, Reason, Rejection,
    Rejections, Session, Stamp, TaskId, TaskStatus, Time,
};

use crate::admission::QuotaGate;
use crate::backoff::{Backoff, flush_time};
use crate::config::{DefaultConfig, KubePlugin};
use crate::hints::{Hint, HintEvent, Hints, PodView};
use crate::preemption::{may_displace, preempt};
use crate::queue::{Cohort, Failure, Pool, SchedulingQueue};
use crate::rejecting::PluginSet;

/// Takes pods one by one from kube-scheduler's queue, chooses a node for each and binds it by itself.
///
/// A cycle goes on until no pod is left that may be tried: first those of activeQ, then those that back off,
/// which are not made to wait while the scheduler is idle. A pod that fits nowhere may displace others; otherwise it waits
/// in the unschedulable pool until an event may help it. Each pod is tried once in a cycle: binding others makes no room,
/// so a second try would fail like the first, save where it wants the company of those that were bound. Since a cycle takes
/// no time, nothing is left in backoffQ at its end; backoff decides who goes first.
pub struct SchedulePods {
    config: DefaultConfig,
    queue: SchedulingQueue,
    gate: QuotaGate,
    /// Pods with scheduling gates.
    gated: BTreeSet<TaskId>,
    /// Events since the last cycle.
    released: Released,
    changed_nodes: Vec<NodeId>,
    waiting_again: Vec<TaskId>,
    /// Whether a pod may wait for the company of others, and what was bound since, and when.
    wants_company: bool,
    bound: Vec<(Stamp, ClassId)>,
    /// The latest change that might have let in what did not fit, as of the last look through the pool.
    seen: Stamp,
    /// When the pool is to be looked through without any event.
    flush_at: Option<Time>,
}

/// Pods that left nodes.
#[derive(Default)]
struct Released {
    any: bool,
    /// Some of them are known by their absence only.
    unknown: bool,
    classes: BTreeSet<ClassId>,
    /// A job was removed; that its pods have left comes next.
    is_announced: bool,
}

impl SchedulePods {
    /// With empty queues.
    pub fn new(config: &DefaultConfig) -> Self {
        let backoff = Backoff::new(config.pod_initial_backoff, config.pod_max_backoff);
        Self {
            config: config.clone(),
            queue: SchedulingQueue::new(backoff),
            gate: QuotaGate::default(),
            gated: BTreeSet::new(),
            released: Released::default(),
            changed_nodes: Vec::new(),
            waiting_again: Vec::new(),
            wants_company: false,
            bound: Vec::new(),
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
        if !released.any && changed_nodes.is_empty() && self.seen == helpful && !flushes {
            return;
        }
        self.seen = helpful;
        self.flush_at = None;
        let (queue, flush_at) = (&mut self.queue, &mut self.flush_at);
        let hints = Hints::new(&self.config, state);
        let preempts = self.config.preemption.is_some();
        let mut pools = core::mem::take(&mut queue.pools);
        pools.retain(|&(class, priority), pool| {
            if pool.tried >= helpful {
                return true;
            }
            let ranking = plugins.ranking(state, class);
            let node_helps =
                changed_nodes.iter().any(|&node| ranking.rejection(node).is_none_or(is_for_lack_of_room));
            let moves = |cohort: &Cohort| {
                node_helps
                    || (released.any && released.help(&hints, state, class, cohort.rejected_by))
                    || flush_time(cohort.timestamp) <= now
            };
            if ranking.feasible() == 0 && !(preempts && may_displace(state, priority)) {
                // Each of those moved would be tried in its turn and fail, since until then no room is made.
                let rejected_by = note_failure(pool, state, class, plugins);
                pool.fail(Failure { now, backoff: queue.backoff, rejected_by }, moves);
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

    /// Moves pods out of the unschedulable pool that wanted the company of pods which were bound since they failed.
    /// Whether there were any.
    fn requeue_for_company(&mut self, state: &ClusterState, now: Time) -> bool {
        let bound = core::mem::take(&mut self.bound);
        if bound.is_empty() {
            return false;
        }
        let (queue, hints) = (&mut self.queue, Hints::new(&self.config, state));
        let (mut moved, mut still_wanted) = (false, false);
        let mut pools = core::mem::take(&mut queue.pools);
        pools.retain(|&(class, _), pool| {
            let pod = state.class_spec(class);
            let helps = |rejected_by: PluginSet| {
                bound.iter().filter(|&&(at, _)| at > pool.tried).any(|&(_, bound)| {
                    let new =
                        Some(PodView { spec: state.class_spec(bound), is_bound: true, is_nominated: false });
                    let event = HintEvent::Pod { old: None, new, is_own: false };
                    rejected_by.iter().any(|plugin| hints.hint(plugin, pod, &event) == Hint::Queue)
                })
            };
            for cohort in pool.cohorts.extract_if(.., |cohort| {
                cohort.rejected_by.meets(PluginSet::HELPED_BY_COMPANY) && helps(cohort.rejected_by)
            }) {
                queue.queue_cohort(cohort, now);
                moved = true;
            }
            still_wanted |=
                pool.cohorts.iter().any(|cohort| cohort.rejected_by.meets(PluginSet::HELPED_BY_COMPANY));
            !pool.cohorts.is_empty()
        });
        queue.pools = pools;
        self.wants_company = still_wanted;
        moved
    }

    /// Tries pods in their order until none is left.
    fn schedule(&mut self, session: &mut Session<'_>, plugins: &mut Plugins) {
        let now = session.now;
        while let Some(mut cohort) = self.queue.pop() {
            while let Some(&pod) = cohort.pods.first() {
                let waits = session
                    .state()
                    .task(pod.task)
                    .is_some_and(|task| task.status() == TaskStatus::Waiting && !task.details.gated);
                let (mut transaction, random) = session.begin();
                // One that is gone or placed already is dropped, as in kube-scheduler.
                let outcome = if waits {
                    plugins.place(&mut transaction, pod.task, random).map(|_| ())
                } else {
                    Ok(())
                };
                let nominated = match (&outcome, &self.config.preemption) {
                    (Err(PlaceFailure::NoNode), Some(config)) => {
                        preempt(config, plugins, &mut transaction, random, pod.task, now)
                    }
                    _ => None,
                };
                transaction.commit();
                let Err(failure) = outcome else {
                    cohort.pods.pop_first();
                    if waits && self.wants_company {
                        self.bound.push((session.state().stamp(), cohort.class));
                    }
                    match self.queue.keep_turn(cohort, now) {
                        Some(next) => cohort = next,
                        None => break,
                    }
                    continue;
                };
                // Where room was made for one, others may still find some. Otherwise they fail with it.
                let failed = if nominated.is_some() { cohort.split_first() } else { None };
                let Some(mut failed) = failed else {
                    self.park(cohort, failure, session.state(), now, plugins);
                    break;
                };
                failed.nominated = Some(pod.task);
                self.park(failed, failure, session.state(), now, plugins);
                match self.queue.keep_turn(cohort, now) {
                    Some(next) => cohort = next,
                    None => break,
                }
            }
        }
    }

    fn park(
        &mut self,
        mut cohort: Cohort,
        failure: PlaceFailure,
        state: &ClusterState,
        now: Time,
        plugins: &mut Plugins,
    ) {
        if let Some(task) = cohort.nominated
            && state.task(task).is_none_or(|task| task.nominated().is_none())
        {
            cohort.nominated = None;
        }
        let pool = self.queue.pools.entry((cohort.class, cohort.priority)).or_default();
        let rejected_by = note_failure(pool, state, cohort.class, plugins);
        if let PlaceFailure::Illegal(error) = failure {
            pool.illegal = Some(error);
        }
        self.wants_company |= rejected_by.meets(PluginSet::HELPED_BY_COMPANY);
        pool.park(cohort, Failure { now, backoff: self.queue.backoff, rejected_by });
    }

    /// Queues a new job's pods, save those that are over a quota or have gates.
    fn add(&mut self, state: &ClusterState, id: JobId) {
        let Some(job) = state.job(id) else { return };
        if state.objects().resource_quotas.is_empty() {
            let gated = |&&task: &&TaskId| state.task(task).is_some_and(|task| task.details.gated);
            self.gated.extend(job.tasks().iter().filter(gated));
            self.queue.add(state, id);
            return;
        }
        for &task in job.tasks() {
            if self.gate.admit(state, task).is_ok() {
                self.add_task(state, task, job.spec.submitted);
            }
        }
    }

    fn add_task(&mut self, state: &ClusterState, task: TaskId, now: Time) {
        if state.task(task).is_some_and(|task| task.details.gated) {
            self.gated.insert(task);
        } else {
            self.queue.add_again(state, task, now);
        }
    }

    fn remove(&mut self, state: &ClusterState, id: JobId) {
        self.queue.remove(state, id);
        let Some(job) = state.job(id) else { return };
        for task in job.tasks() {
            self.gated.remove(task);
            let Some(entry) = state.task(*task).filter(|_| !self.queue.pools.is_empty()) else { continue };
            if entry.status().holds_node() {
                self.released.classes.insert(entry.class);
                self.released.is_announced = true;
            } else if entry.nominated().is_some() {
                // It held nothing, but something was held for it.
                self.released.classes.insert(entry.class);
                self.released.any = true;
            }
        }
        self.gate.forget(job.tasks());
    }
}

impl Released {
    /// Whether a pod that was rejected by these plugins may be let in by what was released.
    fn help(&self, hints: &Hints<'_>, state: &ClusterState, class: ClassId, rejected_by: PluginSet) -> bool {
        if !rejected_by.meets(PluginSet::HELPED_BY_ROOM) {
            return false;
        }
        // Any pod that leaves a node helps one that lacks room there.
        if self.unknown || rejected_by.contains(KubePlugin::NodeResourcesFit) {
            return true;
        }
        let pod = state.class_spec(class);
        self.classes.iter().any(|&gone| {
            let spec = state.class_spec(gone);
            let old = Some(PodView { spec, is_bound: true, is_nominated: false });
            let event = HintEvent::Pod { old, new: None, is_own: false };
            rejected_by.iter().any(|plugin| hints.hint(plugin, pod, &event) == Hint::Queue)
        })
    }
}

/// The latest change that may have let in what did not fit.
fn last_helpful_change(state: &ClusterState) -> Stamp {
    state.released().max(state.node_specs_changed())
}

/// Remembers that a class was tried in this state, and returns the plugins that rejected it.
fn note_failure(pool: &mut Pool, state: &ClusterState, class: ClassId, plugins: &mut Plugins) -> PluginSet {
    pool.tried = state.stamp();
    pool.illegal = None;
    let rejected_by = PluginSet::behind(&plugins.rejections(state, class));
    if state.nominations() > 0 { rejected_by.union(PluginSet::HELPED_BY_ROOM) } else { rejected_by }
}

/// Whether the node was rejected for what it or others hold, not for what it is.
fn is_for_lack_of_room(rejection: Rejection) -> bool {
    (Rejection::TooManyTasks..=Rejection::Nominated).contains(&rejection)
}

impl Action for SchedulePods {
    fn name(&self) -> &'static str {
        "schedule-pods"
    }

    fn notify(&mut self, state: &ClusterState, _plugins: &mut Plugins, event: ClusterEvent) {
        match event {
            ClusterEvent::JobAdded(job) => self.add(state, job),
            ClusterEvent::JobRemoved(job) => self.remove(state, job),
            ClusterEvent::TasksReleased => {
                self.released.any = true;
                self.released.unknown |= !core::mem::take(&mut self.released.is_announced);
                self.gate.something_ended();
            }
            ClusterEvent::TaskWaiting(task) => self.waiting_again.push(task),
            ClusterEvent::TaskChanged(task) => {
                if state.task(task).is_none_or(|task| !task.details.gated) && self.gated.remove(&task) {
                    self.waiting_again.push(task);
                }
            }
            ClusterEvent::NodeChanged(node) => {
                // With nobody to help there is nothing to remember.
                if !self.queue.pools.is_empty() && self.changed_nodes.last() != Some(&node) {
                    self.changed_nodes.push(node);
                }
            }
        }
    }

    fn run(&mut self, session: &mut Session<'_>, plugins: &mut Plugins) {
        let now = session.now;
        let admitted = self.gate.admit_held(session.state());
        for task in core::mem::take(&mut self.waiting_again).into_iter().chain(admitted) {
            self.add_task(session.state(), task, now);
        }
        self.requeue(session.state(), now, plugins);
        self.schedule(session, plugins);
        while self.requeue_for_company(session.state(), now) {
            self.schedule(session, plugins);
        }
        if let Some(time) = self.flush_at {
            session.wake_by(time);
        }
    }

    fn explain(&mut self, session: &mut Session<'_>, plugins: &mut Plugins, job: JobId) -> Option<Reason> {
        let state = session.state();
        let job = state.job(job)?;
        let waits =
            |&&task: &&TaskId| state.task(task).is_some_and(|task| task.status() == TaskStatus::Waiting);
        let mut waiting = job.tasks().iter().filter(waits);
        let first = *waiting.next()?;
        if let Some(reason) = self.gate.reason(first) {
            return Some(reason.clone());
        }
        if self.gated.contains(&first) && waiting.all(|task| self.gated.contains(task)) {
            return Some(Reason::Gated);
        }
        let (pool, cohort) = self.queue.find(state, job)?;
        if let Some(error) = pool.illegal {
            return Some(Reason::Illegal(error));
        }
        let (class, timestamp, nominated) = (cohort.class, cohort.timestamp, cohort.nominated);
        if let Some(node) = nominated.and_then(|task| state.task(task)?.nominated()) {
            let node = state.node(node);
            if node.releasing_tasks() > 0 {
                let leaving = node.releasing_tasks();
                return Some(Reason::AwaitsRoom { node: node.spec.name.clone(), leaving });
            }
        }
        let (placed, min_member) = (job.placed(), job.spec.min_member);
        let (nodes, pod) = (state.nodes().len() as u32, cohort.pods.first()?.task);
        let rejections = if state.nominations() == 0 {
            plugins.rejections(state, class)
        } else {
            Rejections::of(&plugins.diagnose(&mut session.begin().0, pod))
        };
        if rejections.counts.iter().map(|&(_, count)| count).sum::<u32>() == nodes {
            return Some(Reason::NoNode { placed, min_member, rejections });
        }
        // It fits now. If no event said so, only the flush will find out.
        let moves_next = self.released.any || !self.changed_nodes.is_empty();
        (!moves_next).then(|| Reason::BackingOff { until: flush_time(timestamp) })
    }
}

#[cfg(test)]
mod tests;
