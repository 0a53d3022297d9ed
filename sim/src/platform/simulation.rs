//! The one model that foretell puts on the engine: a cluster, a workload, a policy.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use foretell_framework::{
    ClusterEvent, ClusterState, GangSpec, JobId, JobSpec, NodeId, Profile, Reason, ShapeId, Stamp, TaskId,
    Time,
};
use rand_distr::{Distribution, StandardNormal};
use slotmap::SecondaryMap;
use thiserror::Error;

use super::colocation::{Colocation, Neighbours};
use super::controller::Controller;
use super::faults::{FaultState, Faults};
use super::inspect::{Inspection, Inspector};
use super::lifecycle::LiveJob;
use super::scheduler::Scheduler;
use super::steps::LawCache;
use super::storage::Moving;
use super::waits::Waits;
use super::work::PreemptionCost;
use super::{Role, Submission};
use crate::engine::{Budget, BudgetError, EventHandle, EventQueue, Model, Progress, Streams, run};
use crate::event::{ControllerEvent, Event, FaultEvent, JobEvent, NetworkEvent, SchedulerEvent};
use crate::log::{Observer, Record};
use crate::traffic::Traffic;

/// What becomes of a job that does not fit.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum Retry {
    /// It waits until it does.
    #[default]
    Always,
    /// It is dropped after the first cycle that saw it.
    Never,
}

/// Parameters of a run, apart from cluster, workload and policy.
#[derive(Clone, Default, Debug)]
pub struct Config {
    /// The seed of every random stream.
    pub seed: u64,
    /// Scheduling cycles fall on multiples of this; zero runs one whenever something changed.
    pub cycle_period: Time,
    /// From a decision to its effect: binding, image, start of the pod.
    pub decision_latency: Time,
    /// What becomes of jobs that do not fit.
    pub retry: Retry,
    /// What stopping a job costs.
    pub preemption: PreemptionCost,
    /// What fails; nothing if `None`.
    pub faults: Option<Faults>,
    /// How jobs that share GPUs slow each other; not at all if `None`.
    pub colocation: Option<Colocation>,
    /// When to give up.
    pub budget: Budget,
    /// The most jobs that may wait at a time.
    pub max_queued_jobs: Option<u64>,
    /// Until when something may change by itself, such as a reservation: up to then the policy may wake itself although
    /// nothing else is left to happen.
    pub idle_wake_until: Time,
    /// Whether to find out what jobs wait for ([`Record::Waited`]).
    pub explain_waits: bool,
    /// How far off the durations are that policies are told: standard deviation of the logarithm of estimated over true
    /// duration. Each job draws its own error from the seed.
    pub estimate_error: f64,
}

/// Why a run broke off. What was observed so far is not a result.
#[derive(Debug, Error)]
pub enum SimulationError<E> {
    /// The workload could not be read.
    #[error("failed to read the workload")]
    Workload(#[source] E),
    /// The workload went back in time.
    #[error("job {id} is submitted at {:.3} s, after a job submitted at {:.3} s", .submit.as_s(), .previous.as_s())]
    OutOfOrder {
        /// The job.
        id: Box<str>,
        /// Its time.
        submit: Time,
        /// The time of the job before it.
        previous: Time,
    },
    /// A budget of the engine ran out.
    #[error(transparent)]
    Budget(#[from] BudgetError),
    /// Too many jobs wait.
    #[error("more than {limit} jobs wait at {:.3} s: the cluster does not keep up with the workload", .now.as_s())]
    QueueTooLong {
        /// The limit.
        limit: u64,
        /// When it was passed.
        now: Time,
    },
}

/// How long the policy may wake itself when nothing else is left to happen: longer than every back-off and flush of
/// a real scheduler, so whatever could still be placed has been tried.
const IDLE_WAKE_LIMIT: Time = Time::from_nanos(600_000_000_000);

/// A cluster under a workload and a policy.
pub struct Simulation<'a, W, E> {
    pub(super) config: Config,
    pub(super) state: ClusterState,
    pub(super) scheduler: Scheduler,
    observers: &'a mut [&'a mut dyn Observer],
    inspector: Option<&'a mut dyn Inspector>,
    pub(super) waits: Option<Waits>,
    /// What the policy said after the last cycle that was picked: kinds of reasons with their weights.
    pub(super) wait_reasons: Vec<(&'static str, u64)>,
    workload: W,
    /// The job that arrives next: its event is in the queue.
    pub(super) next: Option<Submission>,
    /// Jobs so far, of the workload and of the controller.
    pub(super) submitted: u64,
    /// Those of the workload.
    submitted_by_workload: u64,
    /// Whoever creates jobs beside the workload.
    pub(super) controller: Option<&'a mut dyn Controller>,
    /// When it acts next.
    pub(super) acts_at: Option<(Time, EventHandle)>,
    /// Its jobs, by number.
    pub(super) controlled: BTreeMap<u64, JobId>,
    pub(super) jobs: SecondaryMap<JobId, LiveJob>,
    /// Pods that were told to stop and whose leaving is in the event queue.
    pub(super) leaving: SecondaryMap<TaskId, ()>,
    pub(super) waiting: u64,
    pub(super) running: u64,
    /// When the policy would have been woken if it had not seemed that nothing is left to happen.
    pub(super) deferred_wake: Option<Time>,
    /// What is broken, and what breaks next; from the start of the run, where anything does.
    pub(super) faults: Option<Box<FaultState>>,
    /// Jobs that no cycle has seen yet; kept only where jobs are not retried.
    fresh: Vec<JobId>,
    /// Whether an empty cluster could hold jobs of a shape that need so many of their tasks, by shape; found for the nodes as
    /// they were at the stamp.
    shape_fits: Vec<Vec<(u32, Result<(), Reason>)>>,
    shape_fits_of: Stamp,
    /// The latest event that was not the policy waking itself.
    pub(super) last_event: Time,
    pub(super) now: Time,
    pub(super) neighbours: Neighbours,
    /// What jobs send between nodes, where there is a network.
    pub(super) traffic: Option<Traffic>,
    pub(super) laws: LawCache,
    /// Where checkpoints go, if all share it.
    pub(super) storage: Option<Box<Moving>>,
    /// Whether those whose rates changed will be told at this instant.
    pub(super) sharing_requested: bool,
    error: Option<SimulationError<E>>,
}

impl<'a, W, E> Simulation<'a, W, E>
where
    W: Iterator<Item = Result<Submission, E>>,
{
    /// A simulation at its start. `workload` must be in order of submission.
    pub fn new(
        config: Config,
        state: ClusterState,
        profile: Profile,
        workload: W,
        observers: &'a mut [&'a mut dyn Observer],
    ) -> Self {
        let streams = Streams::new(config.seed);
        let waits = config.explain_waits.then(|| Waits::new(streams.stream("waits", 0)));
        let scheduler = Scheduler::new(profile, streams, config.cycle_period, config.decision_latency);
        Self {
            config,
            state,
            scheduler,
            observers,
            inspector: None,
            waits,
            wait_reasons: Vec::new(),
            workload,
            next: None,
            submitted: 0,
            submitted_by_workload: 0,
            controller: None,
            acts_at: None,
            controlled: BTreeMap::new(),
            jobs: SecondaryMap::new(),
            leaving: SecondaryMap::new(),
            waiting: 0,
            running: 0,
            deferred_wake: None,
            faults: None,
            fresh: Vec::new(),
            shape_fits: Vec::new(),
            shape_fits_of: Stamp::ZERO,
            last_event: Time::ZERO,
            now: Time::ZERO,
            neighbours: Neighbours::default(),
            traffic: None,
            laws: LawCache::default(),
            storage: None,
            sharing_requested: false,
            error: None,
        }
    }

    /// Lets someone look into the run.
    #[must_use]
    pub fn inspected_by(mut self, inspector: &'a mut dyn Inspector) -> Self {
        self.inspector = Some(inspector);
        self
    }

    /// Runs until the workload has ended and nothing more can happen. Returns the numbers of events and of scheduling
    /// cycles.
    pub fn run(mut self, progress: &mut dyn FnMut(Progress)) -> Result<Counts, SimulationError<E>> {
        let mut queue = EventQueue::new();
        self.plan_controller(&mut queue);
        self.pull(&mut queue)?;
        self.plan_link_changes(0, &mut queue);
        self.arm_faults(&mut queue);
        let budget = self.config.budget;
        let result = run(&mut self, &mut queue, &budget, progress);
        if let Some(error) = self.error {
            return Err(error);
        }
        let stats = result?;
        self.inspect(Time::MAX);
        self.explain_waited();
        self.report_waiting();
        self.report_running();
        self.report_losses();
        let has_drawn = self.scheduler.has_drawn();
        Ok(Counts { events: stats.events, cycles: self.scheduler.cycles, has_drawn })
    }

    /// Takes the next job from the workload and schedules its arrival.
    fn pull(&mut self, queue: &mut EventQueue<Event>) -> Result<(), SimulationError<E>> {
        let Some(submission) = self.workload.next().transpose().map_err(SimulationError::Workload)? else {
            return Ok(());
        };
        let Submission { submit, .. } = submission;
        if submit < self.now {
            let id = submission.id;
            return Err(SimulationError::OutOfOrder { id, submit, previous: self.now });
        }
        self.next = Some(submission);
        queue.schedule(submit, Event::Job(JobEvent::Submitted));
        Ok(())
    }

    pub(super) fn record(&mut self, record: &Record<'_>) {
        for observer in &mut *self.observers {
            observer.record(self.now, record, &self.state);
        }
        if let Some(inspector) = &mut self.inspector {
            inspector.record(self.now, record, &self.state);
        }
        if let Some(controller) = &mut self.controller {
            controller.record(self.now, record, &self.state);
        }
    }

    fn submitted(&mut self, queue: &mut EventQueue<Event>) -> Result<(), SimulationError<E>> {
        let Some(submission) = self.next.take() else { return Ok(()) };
        self.pull(queue)?;
        let (job, of_workload) = (self.submitted, self.submitted_by_workload);
        self.submitted += 1;
        self.submitted_by_workload += 1;
        self.admit(job, Some(of_workload), &submission, queue)?;
        Ok(())
    }

    /// A job of this number is submitted; the id that it has from then on unless it is refused. What is drawn for it goes by its number in the
    /// workload, if it is of it.
    pub(super) fn admit(
        &mut self,
        sequence: u64,
        of_workload: Option<u64>,
        submission: &Submission,
        queue: &mut EventQueue<Event>,
    ) -> Result<Option<JobId>, SimulationError<E>> {
        let spec = job_spec(&mut self.state, sequence, submission);
        let estimate = || match of_workload {
            Some(number) => self.estimate(number, submission.duration),
            None => submission.duration,
        };
        let expected_duration = submission.time_limit.or_else(estimate);
        let job = self.state.add_job(JobSpec { submitted: self.now, expected_duration, ..spec });
        self.record(&Record::JobSubmitted { job: sequence, submission });
        if let Err(reason) = self.fits_empty_cluster(job) {
            self.state.remove_job(job);
            self.record(&Record::JobNeverPlaced { job: sequence, reason: &reason, gpu_milli: 0 });
            return Ok(None);
        }
        let sharing = of_workload.and_then(|number| self.sharing(number, submission));
        self.jobs.insert(job, LiveJob::new(submission, sharing));
        self.waits(job);
        if let Some(limit) = self.config.max_queued_jobs.filter(|&limit| self.waiting > limit) {
            return Err(SimulationError::QueueTooLong { limit, now: self.now });
        }
        if self.config.retry == Retry::Never {
            self.fresh.push(job);
        }
        self.scheduler.profile.notify(&self.state, ClusterEvent::JobAdded(job));
        self.scheduler.request(self.now, queue);
        Ok(Some(job))
    }

    /// What policies are told of a job's duration.
    fn estimate(&self, sequence: u64, duration: Option<Time>) -> Option<Time> {
        let error = self.config.estimate_error;
        if error <= 0.0 {
            return duration;
        }
        let mut random = Streams::new(self.config.seed).stream("estimates", sequence);
        let deviation: f64 = StandardNormal.sample(&mut random);
        duration.map(|duration| Time::from_s(duration.as_s() * (error * deviation).exp()))
    }

    /// The verdict for the job's shape, found once for the nodes as they are.
    fn fits_empty_cluster(&mut self, job: JobId) -> Result<(), Reason> {
        if self.shape_fits_of < self.state.node_specs_changed() {
            self.shape_fits.clear();
            self.shape_fits_of = self.state.node_specs_changed();
        }
        let Some(entry) = self.state.job(job) else { return Ok(()) };
        let (shape, min_member): (ShapeId, u32) = (entry.shape, entry.spec.min_member);
        if self.shape_fits.len() <= shape.index() {
            self.shape_fits.resize(shape.index() + 1, Vec::new());
        }
        let known = self.shape_fits[shape.index()].iter().find(|(minimum, _)| *minimum == min_member);
        if let Some((_, verdict)) = known {
            return verdict.clone();
        }
        let verdict = self.scheduler.profile.fits_empty_cluster(&self.state, job);
        self.shape_fits[shape.index()].push((min_member, verdict.clone()));
        verdict
    }

    fn cycle(&mut self, queue: &mut EventQueue<Event>) {
        let mut wake_at = self.scheduler.cycle(self.now, &mut self.state);
        self.carry_out(queue);
        // A job behind one that is dropped gets its own try.
        while self.drop_fresh() {
            wake_at = self.scheduler.cycle(self.now, &mut self.state);
            self.carry_out(queue);
        }
        self.record(&Record::CycleEnded);
        self.ask_about_waits();
        // With nothing running and nothing to come, only the policy itself could still change anything.
        let idle = !self.is_to_come() && self.running == 0;
        let wake_at = wake_at.filter(|_| self.wants_cycles());
        // Unless a job that was just bound starts.
        let last_change = self.last_event.max(self.last_repair());
        let idle_until = (last_change + IDLE_WAKE_LIMIT).max(self.config.idle_wake_until);
        self.deferred_wake = wake_at.filter(|&time| idle && time > idle_until);
        if let Some(time) = wake_at.filter(|_| self.deferred_wake.is_none()) {
            self.scheduler.request(time, queue);
        }
    }

    /// Whether a job is still to arrive.
    pub(super) const fn is_to_come(&self) -> bool {
        self.next.is_some() || self.is_controlled()
    }

    /// Whether there is anything for the policy to do: someone waits, or it follows those that run.
    pub(super) fn wants_cycles(&self) -> bool {
        self.waiting > 0 || self.scheduler.profile.follows_running_jobs()
    }

    /// Where jobs are not retried, drops those that this cycle tried in vain. Whether others still have to be tried.
    fn drop_fresh(&mut self) -> bool {
        let (mut dropped, mut untried) = (Vec::new(), Vec::new());
        for job in std::mem::take(&mut self.fresh) {
            let Some(sequence) =
                self.state.job(job).filter(|job| !job.is_ready()).map(|job| job.spec.sequence)
            else {
                continue;
            };
            match self.scheduler.explain(self.now, &mut self.state, job) {
                Reason::BehindHead { .. } | Reason::NotTried => untried.push(job),
                reason => dropped.push((job, sequence, reason)),
            }
        }
        let progress = !dropped.is_empty();
        for (job, sequence, reason) in dropped {
            self.drop_job(job, sequence, &reason);
        }
        if progress && !untried.is_empty() {
            self.fresh = untried;
            return true;
        }
        // A policy that never tries them would keep them for ever.
        for job in untried {
            if let Some(sequence) = self.state.job(job).map(|job| job.spec.sequence) {
                self.drop_job(job, sequence, &Reason::NotTried);
            }
        }
        false
    }

    /// Lets the inspector see what holds until `to`.
    fn inspect(&mut self, to: Time) {
        if let Some(inspector) = &mut self.inspector {
            let mut inspection = Inspection {
                now: self.now,
                state: &mut self.state,
                scheduler: &mut self.scheduler,
                jobs: &self.jobs,
            };
            inspector.inspect(self.now, to, &mut inspection);
        }
    }

    fn drop_job(&mut self, job: JobId, sequence: u64, reason: &Reason) {
        self.scheduler.profile.notify(&self.state, ClusterEvent::JobRemoved(job));
        self.state.remove_job(job);
        self.waits_no_more(job);
        let gpu_milli = self.jobs.remove(job).map_or(0, |live| live.started_gpu_milli());
        self.record(&Record::JobNeverPlaced { job: sequence, reason, gpu_milli });
    }

    /// At the end of the run, says of every job that still waits why.
    fn report_waiting(&mut self) {
        let mut waiting: Vec<_> = self
            .jobs
            .iter()
            .filter(|(_, live)| !live.running)
            .filter_map(|(job, _)| Some((self.state.job(job)?.spec.sequence, job)))
            .collect();
        waiting.sort_unstable();
        for (sequence, job) in waiting {
            let reason = self.scheduler.explain(self.now, &mut self.state, job);
            self.record(&Record::JobLeftQueued { job: sequence, reason: &reason });
        }
    }
}

/// What a submission means to policies.
fn job_spec(state: &mut ClusterState, sequence: u64, submission: &Submission) -> JobSpec {
    let queue = state.queue_id(&submission.queue);
    let tasks: Vec<_> = submission.roles.iter().map(|role| (state.class(&role.spec), role.count)).collect();
    let role_minima = match &*submission.roles {
        [_] => Vec::new(),
        roles => roles.iter().map(|Role { spec, minimum, .. }| (spec.role.clone(), *minimum)).collect(),
    };
    let network_topology = submission.network_topology.clone();
    let gang = GangSpec { role_minima, network_topology, ..GangSpec::default() };
    JobSpec {
        user: submission.user.clone(),
        priority: submission.priority,
        annotations: submission.annotations.clone(),
        min_member: submission.min_member(),
        preemptable: submission.preemptable,
        deadline: submission.deadline,
        scaling: submission.scaling.clone(),
        gang: (gang != GangSpec::default()).then(|| Box::new(gang)),
        ..JobSpec::new(sequence, queue, tasks)
    }
}

/// How much work a run was.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Counts {
    /// Events that the engine handled.
    pub events: u64,
    /// Scheduling cycles.
    pub cycles: u64,
    /// Whether the policy drew at random.
    pub has_drawn: bool,
}

impl<W, E> Model for Simulation<'_, W, E>
where
    W: Iterator<Item = Result<Submission, E>>,
{
    type Event = Event;

    fn describe(&self, event: &Event) -> String {
        let of = |job: JobId| match self.state.job(job) {
            Some(entry) => format!("job {}", entry.spec.sequence),
            None => "a job that has gone".to_owned(),
        };
        let of_task = |task: TaskId| of(self.state.task(task).map_or_else(JobId::default, |task| task.job));
        match *event {
            Event::Job(JobEvent::Submitted) => "submissions".to_owned(),
            Event::Job(JobEvent::Bound { task, .. }) => format!("starts of {}", of_task(task)),
            Event::Job(JobEvent::Evicted { task, .. }) => format!("evictions of {}", of_task(task)),
            Event::Job(JobEvent::Left(task)) => format!("departures of evicted {}", of_task(task)),
            Event::Job(JobEvent::PhaseBegan(job)) => format!("new phases of {}", of(job)),
            Event::Job(JobEvent::Finished(job)) => format!("ends of {}", of(job)),
            Event::Job(JobEvent::CheckpointDue(job)) => format!("checkpoints of {}", of(job)),
            Event::Job(JobEvent::CheckpointMoved) => "ends of writing and reading checkpoints".to_owned(),
            Event::Job(JobEvent::NeighboursChanged) => "new neighbours on GPUs".to_owned(),
            Event::Fault(FaultEvent::Noticed { job, .. }) => format!("failures noticed by {}", of(job)),
            Event::Fault(FaultEvent::Found { job, .. }) => format!("slow nodes found by {}", of(job)),
            Event::Fault(FaultEvent::Struck | FaultEvent::Scheduled(_)) => "faults".to_owned(),
            Event::Fault(FaultEvent::Repaired(_)) => "repairs".to_owned(),
            Event::Scheduler(SchedulerEvent::Cycle) => "scheduling cycles".to_owned(),
            Event::Network(NetworkEvent::LinksChanged { .. }) => "changes of links".to_owned(),
            Event::Network(NetworkEvent::RatesChanged) => "new shares of links".to_owned(),
            Event::Controller(ControllerEvent::Acts) => "actions of controllers".to_owned(),
        }
    }

    fn handle(&mut self, now: Time, event: Event, queue: &mut EventQueue<Event>) -> ControlFlow<()> {
        if now > self.now {
            for observer in &mut *self.observers {
                observer.advance(self.now, now, &self.state);
            }
            self.inspect(now);
            self.now = now;
        }
        // A policy's own wakes, jobs' changes of pace, and what breaks and is repaired are neither submissions nor starts
        // nor ends.
        if !matches!(
            event,
            Event::Scheduler(_)
                | Event::Network(_)
                | Event::Controller(_)
                | Event::Job(
                    JobEvent::PhaseBegan(_)
                        | JobEvent::CheckpointDue(_)
                        | JobEvent::CheckpointMoved
                        | JobEvent::NeighboursChanged
                )
                | Event::Fault(
                    FaultEvent::Struck
                        | FaultEvent::Scheduled(_)
                        | FaultEvent::Found { .. }
                        | FaultEvent::Repaired(_)
                )
        ) {
            self.last_event = now;
        }
        match event {
            Event::Job(JobEvent::Submitted) => {
                if let Err(error) = self.submitted(queue) {
                    self.error = Some(error);
                    return ControlFlow::Break(());
                }
            }
            Event::Job(JobEvent::Bound { task, attempt }) => self.bound(task, attempt, queue),
            Event::Job(JobEvent::Evicted { task, attempt }) => self.evicted(task, attempt, queue),
            Event::Job(JobEvent::Left(task)) => self.left(task, queue),
            Event::Job(JobEvent::PhaseBegan(job)) => self.phase_began(job, queue),
            Event::Job(JobEvent::Finished(job)) => self.finished(job, queue),
            Event::Job(JobEvent::CheckpointDue(job)) => self.checkpoint_due(job, queue),
            Event::Job(JobEvent::CheckpointMoved) => self.checkpoint_moved(queue),
            Event::Job(JobEvent::NeighboursChanged) => self.neighbours_changed(queue),
            Event::Fault(FaultEvent::Struck) => self.fault_struck(queue),
            Event::Fault(FaultEvent::Scheduled(index)) => self.fault_scheduled(index, queue),
            Event::Fault(FaultEvent::Noticed { job, attempt }) => self.failure_noticed(job, attempt, queue),
            Event::Fault(FaultEvent::Found { node, job, attempt }) => {
                self.slow_node_found(NodeId::new(node as usize), job, attempt, queue);
            }
            Event::Fault(FaultEvent::Repaired(index)) => self.part_repaired(index, queue),
            Event::Scheduler(SchedulerEvent::Cycle) => self.cycle(queue),
            Event::Network(NetworkEvent::LinksChanged { from }) => self.links_changed(from, queue),
            Event::Network(NetworkEvent::RatesChanged) => self.rates_changed(queue),
            Event::Controller(ControllerEvent::Acts) => {
                if let Err(error) = self.controller_acts(queue) {
                    self.error = Some(error);
                    return ControlFlow::Break(());
                }
            }
        }
        self.plan_controller(queue);
        ControlFlow::Continue(())
    }
}
