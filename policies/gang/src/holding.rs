//! The action of scheduler-plugins' coscheduling: pods are placed one by one and hold their nodes until their group has its
//! quorum, or until they have waited too long.

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

use foretell_framework::{
    Action, ClassId, ClusterEvent, ClusterState, EvictionReason, Job, JobId, Plugins, Reason, Session, Stamp,
    TaskGate, TaskId, TaskStatus, Time, Transaction,
};

use crate::coscheduling::{Group, Permit, QueuedTask, admit, compare, gives_up, group, permit};

/// Arguments of the `Coscheduling` plugin.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CoschedulingConfig {
    /// How long the tasks of a group hold their nodes for the rest, where the group does not say
    /// (`permitWaitingTimeSeconds`).
    pub permit_waiting_time: Time,
    /// How long a group that gave up is not tried (`podGroupBackoffSeconds`).
    pub backoff: Time,
    /// Whether a group lets go at once when a task of it fits nowhere and more than a tenth of it is missing. Without it
    /// only time makes a group let go, and groups can keep each other waiting.
    pub rejects_early: bool,
}

impl Default for CoschedulingConfig {
    fn default() -> Self {
        Self { permit_waiting_time: Time::from_s(60.0), backoff: Time::ZERO, rejects_early: true }
    }
}

/// Takes waiting tasks in order and places each by itself. A task of a group that has no quorum yet holds its node; what it
/// holds counts as placed, but its job cannot run. When the first of them has waited too long, all are let go.
///
/// In a cluster such tasks would wait at `Permit` without being bound. Here they are bound, since what they cost (idle GPUs) is the
/// same, and evicted if their group lets go.
pub struct Coscheduling {
    config: CoschedulingConfig,
    gates: Vec<Box<dyn TaskGate>>,
    queue: Vec<QueuedTask>,
    /// Groups that hold nodes without a quorum, and until when.
    holding: BTreeMap<JobId, Time>,
    /// Groups that are not tried before a time.
    backing_off: BTreeMap<JobId, Time>,
    /// Kinds of tasks that fit nowhere, as of `seen`.
    failed: BTreeSet<ClassId>,
    seen: Stamp,
}

impl Coscheduling {
    /// With gates that are asked before any node is looked at, and that may make room.
    pub const fn new(config: CoschedulingConfig, gates: Vec<Box<dyn TaskGate>>) -> Self {
        Self {
            config,
            gates,
            queue: Vec::new(),
            holding: BTreeMap::new(),
            backing_off: BTreeMap::new(),
            failed: BTreeSet::new(),
            seen: Stamp::ZERO,
        }
    }

    fn admit(&mut self, state: &ClusterState, task: TaskId) -> Result<(), Reason> {
        admit(state, task)?;
        self.gates.iter_mut().try_for_each(|gate| gate.admit(state, task))
    }

    /// Lets go of what groups hold whose time is up.
    fn time_out(&mut self, session: &mut Session<'_>) {
        let now = session.now;
        let due: Vec<_> =
            self.holding.iter().filter(|&(_, &until)| until <= now).map(|(&job, _)| job).collect();
        for job in due {
            let (mut transaction, _) = session.begin();
            self.let_go(&mut transaction, job, now);
            transaction.commit();
        }
    }

    /// Evicts the tasks of a group that has no quorum.
    fn let_go(&mut self, transaction: &mut Transaction<'_>, job: JobId, now: Time) {
        self.holding.remove(&job);
        if self.config.backoff > Time::ZERO {
            self.backing_off.insert(job, now + self.config.backoff);
        }
        let Some(entry) = transaction.state().job(job).filter(|job| !job.is_ready()) else { return };
        for task in entry.tasks().to_vec() {
            if transaction.state().task(task).is_some_and(|task| task.status().is_placed()) {
                // It is placed, so it can be evicted.
                let _evicted = transaction.evict(task, EvictionReason::GangTimedOut, None);
            }
        }
    }

    /// Tries the tasks of one job that come one after another. If the group lets go, what it got in this cycle is as if it
    /// had never been.
    fn try_run(&mut self, session: &mut Session<'_>, plugins: &mut Plugins, job: JobId, run: &[QueuedTask]) {
        let now = session.now;
        let (mut transaction, random) = session.begin();
        let start = transaction.savepoint();
        let mut failed_here = Vec::new();
        for &QueuedTask { task, .. } in run {
            let state = transaction.state();
            let Some(class) = state.task(task).map(|task| task.class) else { continue };
            if permit(state, task) == Permit::Reject {
                continue;
            }
            let admitted = self.admit(state, task).is_ok();
            if admitted
                && !self.failed.contains(&class)
                && plugins.place(&mut transaction, task, random).is_ok()
            {
                continue;
            }
            let is_news = admitted && self.failed.insert(class);
            if is_news {
                failed_here.push(class);
            }
            // Once for each kind of task is enough for lack of room.
            if !admitted || is_news {
                let mut gates = self.gates.iter_mut();
                let _node = gates.find_map(|gate| gate.make_room(&mut transaction, plugins, task, now));
            }
            if admitted && self.config.rejects_early && gives_up(transaction.state(), job) {
                transaction.rollback_to(start);
                // What failed beside this group may fit without it.
                for class in failed_here {
                    self.failed.remove(&class);
                }
                self.let_go(&mut transaction, job, now);
                transaction.commit();
                return;
            }
        }
        if let Some(entry) = transaction.state().job(job) {
            let is_group = run
                .first()
                .is_some_and(|queued| matches!(group(transaction.state(), queued.task), Group::Of(_)));
            if !is_group || entry.is_ready() || entry.placed() == 0 {
                self.holding.remove(&job);
            } else {
                let own = entry.spec.gang.as_ref().and_then(|gang| gang.schedule_timeout);
                let until = now + own.unwrap_or(self.config.permit_waiting_time);
                self.holding.entry(job).or_insert(until);
            }
        }
        transaction.commit();
    }
}

impl Action for Coscheduling {
    fn name(&self) -> &'static str {
        "coscheduling"
    }

    fn notify(&mut self, state: &ClusterState, _plugins: &mut Plugins, event: ClusterEvent) {
        match event {
            ClusterEvent::JobAdded(job) => {
                let Some(job) = state.job(job) else { return };
                let first_attempt = job.spec.submitted;
                self.queue.extend(job.tasks().iter().map(|&task| QueuedTask { task, first_attempt }));
            }
            ClusterEvent::TaskWaiting(task) => {
                let submitted =
                    state.task(task).and_then(|task| state.job(task.job)).map(|job| job.spec.submitted);
                self.queue.push(QueuedTask { task, first_attempt: submitted.unwrap_or_default() });
            }
            ClusterEvent::JobRemoved(job) => {
                self.holding.remove(&job);
                self.backing_off.remove(&job);
            }
            ClusterEvent::TasksReleased | ClusterEvent::NodeChanged(_) | ClusterEvent::TaskChanged(_) => {}
        }
    }

    fn run(&mut self, session: &mut Session<'_>, plugins: &mut Plugins) {
        let now = session.now;
        self.time_out(session);
        self.backing_off.retain(|_, until| *until > now);
        let state = session.state();
        let helpful = state.released().max(state.node_specs_changed());
        if helpful > self.seen {
            self.seen = helpful;
            self.failed.clear();
        }
        self.queue.retain(|queued| {
            state.task(queued.task).is_some_and(|task| task.status() == TaskStatus::Waiting)
        });
        self.queue.sort_by(|left, right| compare(state, left, right));
        // One that lost its place before the queue missed it is there twice.
        self.queue.dedup_by_key(|queued| queued.task);
        let job_of = |queued: &QueuedTask| state.task(queued.task).map(|task| task.job);
        let gated = |queued: &&QueuedTask| state.task(queued.task).is_some_and(|task| task.details.gated);
        let queue: Vec<_> = self
            .queue
            .iter()
            .filter(|queued| !gated(queued))
            .filter_map(|queued| Some((job_of(queued)?, *queued)))
            .filter(|(job, _)| !self.backing_off.contains_key(job))
            .collect();
        for run in queue.chunk_by(|(left, _), (right, _)| left == right) {
            let tasks: Vec<_> = run.iter().map(|&(_, queued)| queued).collect();
            self.try_run(session, plugins, run[0].0, &tasks);
        }
        let next = self.holding.values().chain(self.backing_off.values()).min();
        if let Some(&next) = next {
            session.wake_by(next);
        }
    }

    fn explain(&mut self, session: &mut Session<'_>, plugins: &mut Plugins, job: JobId) -> Option<Reason> {
        let state = session.state();
        let entry = state.job(job)?;
        if let Some(&until) = self.backing_off.get(&job) {
            return Some(Reason::BackingOff { until });
        }
        let waits =
            |&task: &TaskId| state.task(task).is_some_and(|task| task.status() == TaskStatus::Waiting);
        let task = entry.tasks().iter().copied().find(waits)?;
        let class = state.task(task)?.class;
        if let Err(reason) = self.admit(state, task) {
            return Some(reason);
        }
        let rejections = plugins.rejections(state, class);
        let (placed, min_member) = (Job::placed(entry), entry.spec.min_member);
        Some(Reason::NoNode { placed, min_member, rejections })
    }
}
