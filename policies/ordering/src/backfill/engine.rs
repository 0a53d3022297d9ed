//! What every backfilling policy does with one job: start it if that delays nobody, or promise it a window.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use core::cell::RefCell;

use foretell_framework::{
    ClusterState, Job, JobId, PlaceJob, Plugins, Reason, Session, ShapeId, Time, Transaction,
};
use rand::Rng;

use super::holds::SharedHolds;
use super::planner::{Planner, Rest, Wanted};

/// What came of an attempt to start a job.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Attempt {
    /// All its tasks have places.
    Complete,
    /// It has what it needs and would take more.
    Partial,
    /// It waits.
    Failed,
}

/// What the jobs that are still to come in a cycle ask for.
pub struct JobsToCome(Rest);

/// Starts jobs and makes promises; the policy decides in which order, and to whom.
pub struct Backfiller {
    holds: SharedHolds,
    place: Box<dyn PlaceJob>,
    planner: Planner,
    /// Jobs of a shape that would end at this time or later were tried in vain in this cycle.
    failing: BTreeMap<(u32, ShapeId, u32), Time>,
    /// Which nodes are in question, for a policy that keeps jobs to some.
    scope: u32,
    /// Whether the planner has seen this cycle's state.
    planner_is_open: bool,
}

impl Backfiller {
    /// One that places the tasks of a job in this way. The filter
    /// [`HonourReservations`](super::HonourReservations) must be among the plugins, with the same holds.
    pub fn new(holds: SharedHolds, place: Box<dyn PlaceJob>) -> Self {
        let planner = Planner::default();
        Self { holds, place, planner, failing: BTreeMap::new(), scope: 0, planner_is_open: false }
    }

    /// With another way to place the tasks of a job.
    #[must_use]
    pub fn with_placement(mut self, place: Box<dyn PlaceJob>) -> Self {
        self.place = place;
        self
    }

    /// From now on questions are about this set of nodes, whose number the policy chooses; filters of the policy see to it
    /// that jobs stay there. What was found for one set is not taken for another.
    pub const fn set_scope(&mut self, scope: u32) {
        self.scope = scope;
    }

    /// What is promised and kept.
    pub fn holds(&self) -> &RefCell<super::Holds> {
        &self.holds
    }

    /// Begins a cycle. Promises stay until they are taken back.
    pub fn open(&mut self, session: &mut Session<'_>) {
        self.failing.clear();
        self.planner_is_open = false;
        let mut holds = self.holds.borrow_mut();
        holds.refresh(session.state());
        if let Some(boundary) = holds.next_boundary(session.now) {
            session.wake_by(boundary);
        }
    }

    /// Starts a job if it fits now, and beside all that is promised to others.
    pub fn try_start(&mut self, session: &mut Session<'_>, plugins: &mut Plugins, id: JobId) -> Attempt {
        let Some(job) = session.state().job(id) else { return Attempt::Failed };
        let now = session.now;
        let until = now + job.spec.expected_duration.unwrap_or(Time::MAX);
        let was_ready = job.is_ready();
        let shape = (self.scope, job.shape, job.spec.min_member);
        let has_promise = self.holds.borrow().promise(id).is_some();
        // What is promised to a job it may use, so it is told apart from others of its shape.
        let failing_until = if has_promise { until.min(Time::ZERO + super::room::INSTANT) } else { until };
        if !was_ready && self.failing.get(&shape).is_some_and(|&failing| failing <= failing_until) {
            return Attempt::Failed;
        }
        let place = &mut self.place;
        let (mut transaction, random) = session.begin();
        self.holds.borrow_mut().ask(transaction.state(), id, now);
        let is_complete = place.place(&mut transaction, plugins, random, id);
        self.holds.borrow_mut().asked();
        if transaction.state().job(id).is_some_and(Job::is_ready) {
            transaction.commit();
            self.holds.borrow_mut().remove(id);
            if self.planner_is_open {
                self.planner.started(session.state(), id, now);
            }
            return if is_complete { Attempt::Complete } else { Attempt::Partial };
        }
        drop(transaction);
        if was_ready {
            return Attempt::Partial;
        }
        // Where there is no room even without promises, no job of the shape need be tried again in this cycle.
        let may_fit = !self.holds.borrow().is_empty() && {
            let (mut transaction, random) = session.begin();
            place.place(&mut transaction, plugins, random, id);
            transaction.state().job(id).is_some_and(Job::is_ready)
        };
        if !may_fit {
            self.failing.insert(shape, Time::ZERO);
        } else if !has_promise {
            let failing = self.failing.entry(shape).or_insert(until);
            *failing = until.min(*failing);
        }
        Attempt::Failed
    }

    /// Whether an attempt to start a job may draw at random, so that it makes a difference to leave out one in vain.
    pub fn draws(&self, plugins: &Plugins) -> bool {
        plugins.draws() || self.place.draws()
    }

    /// Places the tasks of a job in a transaction, however it ends, and says whether it could run.
    pub fn try_place(
        &mut self,
        transaction: &mut Transaction<'_>,
        plugins: &mut Plugins,
        random: &mut dyn Rng,
        id: JobId,
    ) -> bool {
        self.place.place(transaction, plugins, random, id);
        transaction.state().job(id).is_some_and(Job::is_ready)
    }

    /// Promises a job the earliest window that is free, if one begins by `latest`. Returns when it begins.
    pub fn promise(
        &mut self,
        state: &ClusterState,
        plugins: &mut Plugins,
        id: JobId,
        now: Time,
        latest: Time,
    ) -> Option<Time> {
        self.open_planner(state, now);
        self.plan(state, plugins, Wanted { job: id, scope: self.scope, now, latest, is_late: false })
    }

    /// Makes a promise that a job was to have in the last cycle, as it would have been made then: one of those that were put
    /// off because none [may begin now](Self::may_begin_now), or soon enough.
    pub fn promise_late(
        &mut self,
        state: &ClusterState,
        plugins: &mut Plugins,
        id: JobId,
        now: Time,
        latest: Time,
    ) {
        self.plan(state, plugins, Wanted { job: id, scope: self.scope, now, latest, is_late: true });
    }

    fn plan(&mut self, state: &ClusterState, plugins: &mut Plugins, wanted: Wanted) -> Option<Time> {
        let id = wanted.job;
        self.holds.borrow_mut().remove(id);
        // The plugins look at the holds too while the planner does.
        let promise = self.planner.earliest(state, plugins, &self.holds.borrow(), wanted)?;
        let from = promise.from;
        let mut holds = self.holds.borrow_mut();
        holds.add(id, promise);
        if let Some(promise) = holds.promise(id) {
            self.planner.hold(state, &holds, promise);
        }
        Some(from)
    }

    /// What jobs that are still to come in a cycle ask for, each with the set of nodes that is left to it.
    pub fn to_come<'a>(
        &self,
        state: &ClusterState,
        jobs: impl Iterator<Item = (&'a Job, u32)>,
    ) -> JobsToCome {
        let mut rest = Rest::new(state, &self.holds.borrow());
        for (job, scope) in jobs {
            rest.add(state, job, scope);
        }
        JobsToCome(rest)
    }

    /// Whether some of the jobs to come may have room from now on, so that they could start. If not, none will have it after
    /// more promises.
    pub fn may_begin_now(&mut self, state: &ClusterState, to_come: &mut JobsToCome, now: Time) -> bool {
        self.may_begin_before(state, to_come, now, now + super::room::INSTANT)
    }

    /// Whether some of the jobs to come may have a window that begins before an instant. If not, none will have one after
    /// more promises. The instant must not grow from question to question.
    pub(super) fn may_begin_before(
        &mut self,
        state: &ClusterState,
        to_come: &mut JobsToCome,
        now: Time,
        before: Time,
    ) -> bool {
        self.open_planner(state, now);
        self.planner.may_begin_before(state, &self.holds.borrow(), &mut to_come.0, before)
    }

    fn open_planner(&mut self, state: &ClusterState, now: Time) {
        if !self.planner_is_open {
            self.planner.open(state, &self.holds.borrow(), now);
            self.planner_is_open = true;
        }
    }

    /// Why a job is not started now.
    pub fn explain(&mut self, session: &mut Session<'_>, plugins: &mut Plugins, id: JobId) -> Reason {
        let now = session.now;
        let (mut transaction, random) = session.begin();
        self.holds.borrow_mut().ask(transaction.state(), id, now);
        let reason = self.place.explain(&mut transaction, plugins, random, id);
        self.holds.borrow_mut().asked();
        reason
    }
}
