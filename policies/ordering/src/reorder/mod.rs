//! Runs the jobs that come first in an order that changes as they run: what is behind is preempted, what is ahead takes
//! its place.

mod clocks;
mod gittins;
mod keyed;
mod predict;
mod service;
mod themis;
mod tiresias;

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::ops::ControlFlow;

use foretell_framework::{
    Action, ClusterEvent, ClusterState, EvictionReason, Job, JobId, NodeId, PlaceJob, Plugins, Reason,
    RestartCost, Session, TaskId, Time, Transaction,
};
use rand::Rng;

pub use keyed::{
    EarliestDeadline, Keyed, LeastAttained, LeastPredicted, Rank, ShortestRemaining, ShortestRemainingService,
};
pub use predict::DurationHistory;
pub use service::{Jobs, Service, Slot};
pub use themis::Themis;
pub use tiresias::{DemotionInstant, Tiresias, TiresiasConfig};

use crate::allocate::HeadOfLine;
use crate::backfill::SharedHolds;
use crate::reserved::Reserved;
use crate::task_by_task::TaskByTask;

/// An order of all jobs, those that run included, that may change with what they have had.
pub trait Discipline {
    /// Its name.
    fn name(&self) -> &'static str;

    /// Whether jobs that are ahead take the GPUs of running ones behind them.
    fn preempts(&self) -> bool;

    /// A job arrived.
    fn added(&mut self, jobs: &Jobs, slot: Slot, now: Time);

    /// A waiting job got its place.
    fn started(&mut self, jobs: &Jobs, slot: Slot, now: Time);

    /// A running job lost its place.
    fn stopped(&mut self, jobs: &Jobs, slot: Slot, now: Time);

    /// A job left; its slot may be given to another.
    fn ended(&mut self, service: &Service, slot: Slot, now: Time);

    /// Brings the order up to `now`.
    fn update(&mut self, _jobs: &mut Jobs, _now: Time) {}

    /// Visits the jobs in their order, some at a time, until told to stop; where nothing is preempted, only those that wait.
    fn walk(&mut self, jobs: &Jobs, now: Time, visit: &mut dyn FnMut(&[Slot]) -> ControlFlow<()>);

    /// When the order may change next although nothing happens.
    fn next_change(&self, _jobs: &Jobs, _now: Time) -> Option<Time> {
        None
    }

    /// Another decision is about to be made: what came of the one before has been said.
    fn decided(&mut self, _jobs: &Jobs) {}
}

/// Walks all jobs in the order of a discipline and gives each the GPUs that it asks for while there are enough left in
/// the cluster; whoever runs and gets none is behind. As in the simulators of Tiresias (NSDI'19) and Helios (SC'21)
/// the GPUs are counted, not placed. Unlike there, who is behind is preempted only where that gives a job that is due
/// its nodes: nobody loses GPUs that no other could use.
pub struct Reorder {
    discipline: Box<dyn Discipline>,
    head_of_line: HeadOfLine,
    place: Box<dyn PlaceJob>,
    /// What a preempted job pays, as far as the policy knows.
    restart_cost: RestartCost,
    reservations: Option<Reserved>,
    jobs: Jobs,
    slots: BTreeMap<JobId, Slot>,
    /// Jobs that are due and have no place yet, in order.
    due: Vec<Slot>,
    /// By slot: the decision in which it last was to run on.
    chosen_in: Vec<u64>,
    decision: u64,
    added: Vec<JobId>,
    ended: Vec<Slot>,
    /// Running jobs of which tasks lost their places without our doing.
    displaced: Vec<Slot>,
    /// Whether jobs came, went or were displaced since the last decision.
    changed: bool,
    /// Whether room was made since those that are due were last tried.
    released: bool,
    next_change: Option<Time>,
}

impl Reorder {
    /// In the order of this discipline.
    pub fn new(discipline: Box<dyn Discipline>, head_of_line: HeadOfLine) -> Self {
        Self {
            discipline,
            head_of_line,
            place: Box::new(TaskByTask),
            restart_cost: RestartCost::default(),
            reservations: None,
            jobs: Jobs::default(),
            slots: BTreeMap::new(),
            due: Vec::new(),
            chosen_in: Vec::new(),
            decision: 0,
            added: Vec::new(),
            ended: Vec::new(),
            displaced: Vec::new(),
            changed: false,
            released: false,
            next_change: None,
        }
    }

    /// With another way to place the tasks of a job than one by one.
    #[must_use]
    pub fn with_placement(mut self, place: Box<dyn PlaceJob>) -> Self {
        self.place = place;
        self
    }

    /// With what a preempted job pays when it runs again.
    #[must_use]
    pub fn with_restart_cost(mut self, cost: RestartCost) -> Self {
        self.restart_cost = cost;
        self
    }

    /// Honouring what is kept by reservations: [`HonourReservations`](crate::HonourReservations) must be among the
    /// plugins, with the same holds.
    #[must_use]
    pub fn with_reservations(mut self, holds: SharedHolds) -> Self {
        self.reservations = Some(Reserved::new(holds));
        self
    }

    /// Takes note of who came, went or was displaced by others since the last cycle.
    fn observe(&mut self, state: &ClusterState, now: Time) {
        self.discipline.decided(&self.jobs);
        for slot in core::mem::take(&mut self.ended) {
            self.jobs.set_running(slot, now, false);
            let Some(service) = self.jobs.remove(slot) else { continue };
            self.discipline.ended(&service, slot, now);
        }
        for id in core::mem::take(&mut self.added) {
            let Some(slot) = self.jobs.add(state, id) else { continue };
            self.slots.insert(id, slot);
            if self.chosen_in.len() <= slot as usize {
                self.chosen_in.resize(slot as usize + 1, 0);
            }
            self.discipline.added(&self.jobs, slot, now);
            if state.job(id).is_some_and(Job::is_ready) {
                self.start(slot, now);
            }
        }
        for slot in core::mem::take(&mut self.displaced) {
            let service = self.jobs.get(slot).filter(|service| service.is_running());
            if service.is_some_and(|service| !state.job(service.id).is_some_and(Job::is_ready)) {
                self.stop(slot, now);
            }
        }
    }

    fn start(&mut self, slot: Slot, now: Time) {
        self.jobs.set_running(slot, now, true);
        self.discipline.started(&self.jobs, slot, now);
    }

    fn stop(&mut self, slot: Slot, now: Time) {
        self.jobs.set_running(slot, now, false);
        if let Some(service) = self.jobs.get_mut(slot) {
            service.penalty = service.penalty + self.restart_cost.of(service.gpu_milli);
        }
        self.discipline.stopped(&self.jobs, slot, now);
    }

    /// Decides who is due. Returns those that run and are behind.
    fn decide(&mut self, session: &Session<'_>) -> Vec<Slot> {
        let now = session.now;
        self.jobs.set_gpu_capacity_milli(session.state().gpu_capacity_milli());
        self.discipline.update(&mut self.jobs, now);
        self.decision += 1;
        self.due.clear();
        let preempts = self.discipline.preempts();
        let mut free_milli = session.state().gpu_capacity_milli();
        let all_may_stop = preempts && !self.jobs.any_is_protected();
        let mut kept = 0;
        for &slot in if all_may_stop { &[][..] } else { self.jobs.running() } {
            let Some(service) = self.jobs.get(slot) else { continue };
            if service.is_protected || !preempts {
                free_milli = free_milli.saturating_sub(service.gpu_milli);
                self.chosen_in[slot as usize] = self.decision;
                kept += 1;
            }
        }
        let Self { discipline, jobs, due, chosen_in, decision, head_of_line, .. } = self;
        let blocks = *head_of_line == HeadOfLine::Blocks;
        let demands = jobs.demands();
        discipline.walk(jobs, now, &mut |slots| {
            for &slot in slots {
                let Some(Some(demand)) = demands.get(slot as usize) else { continue };
                if !all_may_stop && chosen_in[slot as usize] == *decision {
                    continue;
                }
                if demand.gpu_milli > free_milli {
                    if blocks || free_milli == 0 {
                        return ControlFlow::Break(());
                    }
                } else if demand.is_running {
                    free_milli -= demand.gpu_milli;
                    chosen_in[slot as usize] = *decision;
                    kept += 1;
                } else {
                    free_milli -= demand.gpu_milli;
                    due.push(slot);
                }
            }
            ControlFlow::Continue(())
        });
        if kept == self.jobs.running().len() {
            return Vec::new();
        }
        let behind = |&&slot: &&Slot| self.chosen_in[slot as usize] != self.decision;
        self.jobs.running().iter().filter(behind).copied().collect()
    }

    /// Preempts those of `behind` that run where jobs that are due would go.
    fn make_room(&mut self, session: &mut Session<'_>, plugins: &mut Plugins, behind: &[Slot]) {
        if self.due.is_empty() || behind.is_empty() {
            return;
        }
        let now = session.now;
        let wanted = self.wanted_nodes(session, plugins, behind);
        for &slot in behind {
            let Some(id) = self.jobs.get(slot).map(|service| service.id) else { continue };
            let (mut transaction, _) = session.begin();
            let beneficiary = nodes_of(transaction.state(), id).find_map(|node| wanted.get(&node).copied());
            if beneficiary.is_none() {
                continue;
            }
            let tasks = transaction.state().job(id).map_or_else(Vec::new, |job| job.tasks().to_vec());
            for task in tasks {
                // A task that has no place has none to lose.
                let _ = transaction.evict(task, EvictionReason::Preempted, beneficiary);
            }
            transaction.commit();
            self.stop(slot, now);
        }
    }

    /// Where jobs that are due would go if all of `behind` were gone, and the task for which a node is wanted. Those that
    /// fit once what already leaves has left want nothing, nor do those that would not fit even then.
    fn wanted_nodes(
        &mut self,
        session: &mut Session<'_>,
        plugins: &mut Plugins,
        behind: &[Slot],
    ) -> BTreeMap<NodeId, TaskId> {
        let now = session.now;
        let Self { jobs, due, place, reservations, .. } = self;
        let mut attempt = Attempt { place: place.as_mut(), reservations: reservations.as_ref(), now };
        let (mut trial, random) = session.begin();
        let leaving: Vec<TaskId> = trial.state().releasing_tasks().collect();
        remove(&mut trial, &leaving);
        let ids = due.iter().filter_map(|&slot| jobs.get(slot)).map(|service| service.id);
        let short: Vec<JobId> = ids.filter(|&id| !attempt.fits(&mut trial, plugins, random, id)).collect();
        for &slot in behind {
            let job = jobs.get(slot).and_then(|service| trial.state().job(service.id));
            let tasks = job.map_or_else(Vec::new, |job| job.tasks().to_vec());
            remove(&mut trial, &tasks);
        }
        let mut wanted = BTreeMap::new();
        for id in short {
            if !attempt.fits(&mut trial, plugins, random, id) {
                continue;
            }
            let Some(&task) = trial.state().job(id).and_then(|job| job.tasks().first()) else { continue };
            for node in nodes_of(trial.state(), id) {
                wanted.entry(node).or_insert(task);
            }
        }
        wanted
    }

    /// Places those that are due, in order.
    fn place_due(&mut self, session: &mut Session<'_>, plugins: &mut Plugins) {
        let now = session.now;
        let blocks = self.head_of_line == HeadOfLine::Blocks;
        let mut waiting = Vec::new();
        for slot in core::mem::take(&mut self.due) {
            let Some(id) = self.jobs.get(slot).map(|service| service.id) else { continue };
            if blocks && !waiting.is_empty() {
                waiting.push(slot);
                continue;
            }
            let (mut transaction, random) = session.begin();
            let Self { place, reservations, .. } = &mut *self;
            let mut attempt = Attempt { place: place.as_mut(), reservations: reservations.as_ref(), now };
            if !attempt.fits(&mut transaction, plugins, random, id) {
                waiting.push(slot);
                continue;
            }
            transaction.commit();
            self.start(slot, now);
        }
        self.due = waiting;
    }
}

/// Tries to place one job.
struct Attempt<'a> {
    place: &'a mut dyn PlaceJob,
    reservations: Option<&'a Reserved>,
    now: Time,
}

impl Attempt<'_> {
    /// Places what fits of a job in this transaction. Whether the job can run with that.
    fn fits(
        &mut self,
        transaction: &mut Transaction<'_>,
        plugins: &mut Plugins,
        random: &mut dyn Rng,
        job: JobId,
    ) -> bool {
        if let Some(reserved) = self.reservations {
            reserved.ask(transaction.state(), job, self.now);
        }
        self.place.place(transaction, plugins, random, job);
        self.reservations.iter().for_each(|reserved| reserved.asked());
        transaction.state().job(job).is_some_and(Job::is_ready)
    }
}

/// Takes these tasks off their nodes, in a trial.
fn remove(trial: &mut Transaction<'_>, tasks: &[TaskId]) {
    for &task in tasks {
        // A task that has no place needs no removal.
        let _ = trial.remove(task);
    }
}

/// The nodes on which tasks of a job are.
fn nodes_of(state: &ClusterState, job: JobId) -> impl Iterator<Item = NodeId> {
    let tasks = state.job(job).map_or(&[][..], Job::tasks);
    tasks.iter().filter_map(|&task| Some(state.task(task)?.placement()?.node))
}

impl Action for Reorder {
    fn name(&self) -> &'static str {
        "reorder"
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
                self.ended.extend(self.slots.remove(&job));
                self.changed = true;
            }
            ClusterEvent::TasksReleased => self.released = true,
            ClusterEvent::TaskWaiting(task) => {
                self.released = true;
                // Who lost a place without our doing needs another.
                let slot = state.task(task).and_then(|task| self.slots.get(&task.job).copied());
                let runs = |&slot: &Slot| self.jobs.get(slot).is_some_and(Service::is_running);
                if let Some(slot) = slot.filter(runs) {
                    self.displaced.push(slot);
                    self.changed = true;
                }
            }
            ClusterEvent::NodeChanged(_) => self.changed = true,
            ClusterEvent::TaskChanged(_) => {}
        }
    }

    fn run(&mut self, session: &mut Session<'_>, plugins: &mut Plugins) {
        let now = session.now;
        let decides = core::mem::take(&mut self.changed) || self.next_change.is_some_and(|at| at <= now);
        let kept_changes = self.reservations.as_mut().is_some_and(|reserved| reserved.open(session));
        let released = core::mem::take(&mut self.released) || kept_changes;
        let mut behind = Vec::new();
        if decides {
            self.observe(session.state(), now);
            behind = self.decide(session);
        }
        if decides || released {
            self.place_due(session, plugins);
            self.make_room(session, plugins, &behind);
            self.next_change = self.discipline.next_change(&self.jobs, now);
        }
        if let Some(at) = self.next_change {
            session.wake_by(at);
        }
    }

    fn explain(&mut self, session: &mut Session<'_>, plugins: &mut Plugins, id: JobId) -> Option<Reason> {
        let slot = *self.slots.get(&id)?;
        let service = self.jobs.get(slot).filter(|service| !service.is_running())?;
        if !self.due.contains(&slot) {
            // The last of those that are ahead of it.
            let ahead = self.jobs.running().iter().chain(&self.due).filter_map(|&slot| self.jobs.get(slot));
            let head = ahead.filter(|other| other.id != service.id).map(|other| other.sequence).max()?;
            return Some(Reason::BehindHead { head });
        }
        let now = session.now;
        let (mut transaction, random) = session.begin();
        if let Some(reserved) = &self.reservations {
            reserved.ask(transaction.state(), id, now);
        }
        let reason = self.place.explain(&mut transaction, plugins, random, id);
        self.reservations.iter().for_each(Reserved::asked);
        Some(reason)
    }
}
