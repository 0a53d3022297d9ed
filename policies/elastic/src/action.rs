//! The action: jobs are tracked, GPUs divided, tasks let go of and placed.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::cmp::Reverse;

use foretell_framework::{
    Action, ClusterEvent, ClusterState, EvictionReason, Job, JobId, NodeId, PlaceFailure, Plugins, Reason,
    RestartCost, Session, TaskId, TaskStatus, Time,
};

use rand::RngExt;

use crate::divide::{Divide, ElasticJob};
use crate::place::{Placing, held, let_go, not_wanted, place_on, place_others, placed};
use crate::tracked::{Models, Tracked};

/// When GPUs are divided anew.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Cadence {
    /// Whenever a job came or went.
    OnChange,
    /// So long after the last time, while there are jobs.
    Every(Time),
}

/// What changes cost a job, as far as the policy knows.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct ResizeCosts {
    /// Starting again.
    pub restart: RestartCost,
    /// Going on with more or fewer tasks.
    pub resize: Time,
}

/// Runs jobs on as many tasks as a [`Divide`] says.
pub struct Elastic {
    divide: Box<dyn Divide>,
    cadence: Cadence,
    placing: Placing,
    costs: ResizeCosts,
    models: Models,
    jobs: BTreeMap<JobId, Tracked>,
    /// In order of arrival.
    order: Vec<JobId>,
    added: Vec<JobId>,
    /// Jobs that lost tasks without our doing, maybe.
    displaced: Vec<JobId>,
    /// Whether jobs came or went, or nodes changed, since the last division.
    changed: bool,
    /// Whether room was made since tasks were last placed.
    released: bool,
    next: Time,
}

impl Elastic {
    /// By this division, at this cadence.
    pub fn new(divide: Box<dyn Divide>, cadence: Cadence) -> Self {
        Self {
            divide,
            cadence,
            placing: Placing::default(),
            costs: ResizeCosts::default(),
            models: Models::default(),
            jobs: BTreeMap::new(),
            order: Vec::new(),
            added: Vec::new(),
            displaced: Vec::new(),
            changed: false,
            released: false,
            next: Time::ZERO,
        }
    }

    /// With this choice of nodes.
    #[must_use]
    pub const fn with_placing(mut self, placing: Placing) -> Self {
        self.placing = placing;
        self
    }

    /// With what changes cost.
    #[must_use]
    pub fn with_costs(mut self, costs: ResizeCosts) -> Self {
        self.costs = costs;
        self
    }

    /// Takes note of who came and who was displaced since the last cycle.
    fn observe(&mut self, state: &ClusterState, now: Time) {
        for id in core::mem::take(&mut self.added) {
            let Some(job) = state.job(id) else { continue };
            let mut tracked = Tracked::new(state, id, job, now);
            tracked.observe(state);
            self.jobs.insert(id, tracked);
            self.order.push(id);
        }
        for id in core::mem::take(&mut self.displaced) {
            if let Some(tracked) = self.jobs.get_mut(&id) {
                tracked.settle(now);
                tracked.observe(state);
            }
        }
    }

    fn is_due(&mut self, now: Time) -> bool {
        match self.cadence {
            Cadence::OnChange => core::mem::take(&mut self.changed),
            Cadence::Every(interval) => {
                let due = now >= self.next && !self.jobs.is_empty();
                if due {
                    self.next = now + interval;
                }
                due
            }
        }
    }

    /// Says anew how many tasks each job is to have, and lets go of those that are too many.
    fn divide(&mut self, session: &mut Session<'_>) {
        let now = session.now;
        self.models.refresh(session.state());
        let (mut order, mut views) = (Vec::new(), Vec::new());
        for &id in &self.order {
            // Who asks for no GPUs has no part in it.
            if let Some(tracked) = self.jobs.get_mut(&id).filter(|tracked| tracked.max_tasks > 0) {
                tracked.settle(now);
                tracked.observe(session.state());
                order.push(id);
                views.push(tracked.view(session.state(), &self.models));
            }
        }
        let random = &mut *session.random;
        let mut draw = |count: usize| random.random_range(0..count.max(1));
        let arranged = self.divide.arrange(&views, &self.models.types, now, &mut draw);
        let (targets, wanted): (Vec<u32>, Vec<_>) = if let Some(places) = arranged {
            places.into_iter().zip(&views).map(|(places, view)| keep_protected(places, view)).unzip()
        } else {
            let targets = self.divide.divide(&views, session.state().gpu_capacity_milli(), now);
            let wanted = targets.iter().map(|_| None).collect();
            (targets, wanted)
        };
        let mut first_due = None;
        for (((id, view), &target), wanted) in order.iter().zip(&views).zip(&targets).zip(wanted) {
            if let Some(tracked) = self.jobs.get_mut(id) {
                tracked.target = target;
                tracked.wanted = wanted;
            }
            if target > view.tasks && first_due.is_none() {
                first_due = session.state().job(*id).and_then(|job| job.tasks().first().copied());
            }
        }
        for (id, view) in order.iter().zip(&views) {
            if let Some(tracked) = self.jobs.get_mut(id) {
                shrink(session, tracked, view, first_due, &self.costs);
            }
        }
    }

    /// Places what jobs are to have and do not, in order of priority and submission.
    fn place(&mut self, session: &mut Session<'_>, plugins: &mut Plugins) {
        let is_due = |tracked: &&Tracked| tracked.target > 0 || tracked.max_tasks == 0;
        let mut order: Vec<&Tracked> = self.jobs.values().filter(is_due).collect();
        order.sort_by_key(|tracked| (Reverse(tracked.priority), tracked.sequence));
        let order: Vec<JobId> = order.into_iter().map(|tracked| tracked.id).collect();
        let now = session.now;
        for id in order {
            let Some(tracked) = self.jobs.get_mut(&id) else { continue };
            let had = held(session.state(), id);
            let was_ready = session.state().job(id).is_some_and(Job::is_ready);
            let needs_no_gpus = tracked.max_tasks == 0;
            if had >= tracked.target && (was_ready || !needs_no_gpus) {
                continue;
            }
            let (mut transaction, random) = session.begin();
            if place_others(&mut transaction, plugins, random, id).is_err() && !needs_no_gpus {
                continue;
            }
            let missing = tracked.target - had;
            let placed = match &tracked.wanted {
                Some(wanted) => place_on(&mut transaction, plugins, random, id, wanted),
                None => self.placing.place(&mut transaction, plugins, random, id, missing),
            };
            // A change is paid for once: it waits for those that are about to leave.
            if placed < missing
                && tracked.wanted.is_some()
                && transaction.state().releasing_tasks().next().is_some()
            {
                continue;
            }
            if placed == 0 && !needs_no_gpus || !transaction.state().job(id).is_some_and(Job::is_ready) {
                continue;
            }
            transaction.commit();
            tracked.changed(session.state(), now, was_ready, &self.costs);
        }
    }
}

impl Tracked {
    /// It has other tasks from now on.
    fn changed(&mut self, state: &ClusterState, now: Time, was_running: bool, costs: &ResizeCosts) {
        self.settle(now);
        self.observe(state);
        let cost = match (was_running, self.has_started) {
            (true, _) => costs.resize,
            (false, true) => costs.restart.of(self.asked_milli),
            (false, false) => Time::ZERO,
        };
        self.resumes = self.resumes.max(now + cost);
        self.changes += u32::from(self.has_started);
        self.has_started = true;
    }
}

/// Where a job is to have its tasks, and how many: as arranged, unless it must keep what it has.
fn keep_protected(places: Vec<(NodeId, u32)>, view: &ElasticJob) -> (u32, Option<Vec<(NodeId, u32)>>) {
    let places = if view.keeps() { view.places.clone() } else { places };
    (places.iter().map(|&(_, tasks)| tasks).sum(), Some(places))
}

/// Lets go of the tasks that a job is not to have where it has them; of all if fewer are left than it needs.
fn shrink(
    session: &mut Session<'_>,
    tracked: &mut Tracked,
    view: &ElasticJob,
    beneficiary: Option<TaskId>,
    costs: &ResizeCosts,
) {
    let state = session.state();
    let mut victims = match &tracked.wanted {
        Some(wanted) => not_wanted(state, tracked.id, wanted),
        None => let_go(state, tracked.id, view.tasks.saturating_sub(tracked.target)),
    };
    if victims.is_empty() {
        return;
    }
    let stops = view.tasks - (victims.len() as u32) < view.min_tasks;
    if stops {
        victims = let_go(state, tracked.id, view.tasks);
        victims.extend(placed(state, tracked.id, false));
    }
    let reason = if stops { EvictionReason::Preempted } else { EvictionReason::Shrunk };
    let now = session.now;
    let (mut transaction, _) = session.begin();
    for victim in victims {
        // It holds its place: just looked up.
        let _ = transaction.evict(victim, reason, beneficiary);
    }
    transaction.commit();
    if stops {
        tracked.settle(now);
        tracked.observe(session.state());
    } else {
        tracked.changed(session.state(), now, true, costs);
    }
}

impl Action for Elastic {
    fn name(&self) -> &'static str {
        self.divide.name()
    }

    fn follows_running_jobs(&self) -> bool {
        true
    }

    fn notify(&mut self, state: &ClusterState, _plugins: &mut Plugins, event: ClusterEvent) {
        match event {
            ClusterEvent::JobAdded(job) => {
                self.added.push(job);
                self.changed = true;
            }
            ClusterEvent::JobRemoved(job) => {
                self.added.retain(|&added| added != job);
                if let Some(tracked) = self.jobs.remove(&job) {
                    self.order.retain(|&other| other != job);
                    self.divide.ended(tracked.sequence);
                }
                self.changed = true;
            }
            ClusterEvent::TasksReleased => self.released = true,
            ClusterEvent::TaskWaiting(task) => {
                self.released = true;
                self.displaced.extend(state.task(task).map(|task| task.job));
            }
            ClusterEvent::NodeChanged(_) => (self.changed, self.released) = (true, true),
            ClusterEvent::TaskChanged(_) => {}
        }
    }

    fn run(&mut self, session: &mut Session<'_>, plugins: &mut Plugins) {
        let now = session.now;
        self.observe(session.state(), now);
        let due = self.is_due(now);
        if due {
            self.divide(session);
        }
        if core::mem::take(&mut self.released) || due {
            self.place(session, plugins);
        }
        if !self.jobs.is_empty() && self.cadence != Cadence::OnChange {
            session.wake_by(self.next);
        }
    }

    fn explain(&mut self, session: &mut Session<'_>, plugins: &mut Plugins, id: JobId) -> Option<Reason> {
        let tracked = self.jobs.get(&id)?;
        if self.divide.turns_away(tracked.sequence) {
            return Some(Reason::DeadlineOutOfReach);
        }
        if tracked.target == 0 && tracked.max_tasks > 0 {
            return Some(Reason::GivenToOthers);
        }
        let missing = tracked.target.saturating_sub(held(session.state(), id));
        let (mut transaction, random) = session.begin();
        if let Err(PlaceFailure::Illegal(error)) = place_others(&mut transaction, plugins, random, id) {
            return Some(Reason::Illegal(error));
        }
        match &tracked.wanted {
            Some(wanted) => place_on(&mut transaction, plugins, random, id, wanted),
            None => self.placing.place(&mut transaction, plugins, random, id, missing),
        };
        let state = transaction.state();
        let job = state.job(id)?;
        let waits = job.tasks().iter().filter_map(|&task| state.task(task));
        let class =
            waits.filter(|task| task.status() == TaskStatus::Waiting).map(|task| task.class).next()?;
        let (placed, min_member) = (job.placed(), job.spec.min_member);
        Some(Reason::NoNode { placed, min_member, rejections: plugins.rejections(state, class) })
    }
}
