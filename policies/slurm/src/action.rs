//! The action: one pass in order of priority, then one of backfilling.

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::rc::Rc;
use alloc::vec::Vec;

use foretell_framework::{
    Action, ClusterEvent, ClusterState, EvictionReason, Job, JobId, PlaceJob, Plugins, Reason, Session,
    Stamp, TaskStatus, Time,
};
use foretell_ordering::{Attempt, Backfiller, SharedHolds, TaskByTask};

use crate::config::{PreemptMode, PreemptType, SlurmConfig};
use crate::fair_share::fair_share;
use crate::limits::{Held, Running};
use crate::partition::SharedNodes;
use crate::waiting::{Line, Waiting};

/// Orders jobs by partition tier and multifactor priority, starts what fits, preempts, and backfills.
pub struct Slurm {
    config: SlurmConfig,
    backfiller: Backfiller,
    holds: SharedHolds,
    nodes: SharedNodes,
    /// Of each partition, whether a node is of it; found for the nodes as they were at the stamp.
    members: Vec<Option<Rc<Vec<bool>>>>,
    members_of: Stamp,
    waiting: Waiting,
    /// Decayed use of each association that ever used anything: billing units times seconds.
    usage: Vec<Option<f64>>,
    /// What runs and is charged, to which association and at which rate.
    charged: BTreeMap<JobId, (usize, f64)>,
    /// Charged until now, and gone since the last cycle.
    gone: Vec<(usize, f64)>,
    /// What the last pass of backfilling had no need to promise yet.
    deferred: Option<Pass>,
    as_of: Time,
    changed: bool,
    seen_released: Stamp,
}

impl Slurm {
    /// The policy. The filters [`HonourReservations`](foretell_ordering::HonourReservations) with the same holds and
    /// [`PartitionNodes`](crate::PartitionNodes) with the same nodes must be among the plugins.
    pub fn new(config: SlurmConfig, holds: SharedHolds, nodes: SharedNodes) -> Self {
        Self {
            config,
            backfiller: Backfiller::new(Rc::clone(&holds), Box::new(TaskByTask)),
            holds,
            nodes,
            members: Vec::new(),
            members_of: Stamp::ZERO,
            waiting: Waiting::default(),
            usage: Vec::new(),
            charged: BTreeMap::new(),
            gone: Vec::new(),
            deferred: None,
            as_of: Time::ZERO,
            changed: false,
            seen_released: Stamp::ZERO,
        }
    }

    /// With another way to place the tasks of a job than one by one.
    #[must_use]
    pub fn with_placement(mut self, place: Box<dyn PlaceJob>) -> Self {
        self.backfiller = self.backfiller.with_placement(place);
        self
    }

    /// Adds what was used since the last cycle to what is left of the use before.
    fn charge(&mut self, now: Time) {
        let span_s = now.since(self.as_of).as_s();
        self.as_of = now;
        if span_s > 0.0 && self.config.half_life > Time::ZERO {
            let left = libm::pow(0.5, span_s / self.config.half_life.as_s());
            self.usage.iter_mut().flatten().for_each(|used| *used *= left);
        }
        let gone = core::mem::take(&mut self.gone);
        for (association, rate) in self.charged.values().copied().chain(gone) {
            *self.usage[association].get_or_insert(0.0) += rate * span_s;
        }
    }

    fn find_members(&mut self, state: &ClusterState) {
        if self.members_of >= state.node_specs_changed() {
            return;
        }
        self.members_of = state.node_specs_changed();
        let members = self.config.partitions.iter().map(|partition| {
            let names: BTreeSet<&str> = partition.nodes.as_ref()?.iter().map(|name| &**name).collect();
            Some(Rc::new(state.nodes().iter().map(|node| names.contains(&*node.spec.name)).collect()))
        });
        self.members = members.collect();
    }

    fn partition(&self, state: &ClusterState, job: &Job) -> Option<usize> {
        self.config.partition(&state.queue(job.spec.queue).name)
    }

    /// A pass over the jobs that wait, first the one to be tried first.
    fn line(&mut self, state: &ClusterState, now: Time) -> Line {
        let fair = if self.config.weights.fair_share > 0 {
            let associations = self.waiting.associations().iter().enumerate();
            let usage = associations.filter_map(|(index, association)| {
                let used = self.usage.get(index).copied().flatten();
                let used = used.or_else(|| self.waiting.waits_in(index).then_some(0.0))?;
                Some((association.clone(), used))
            });
            let SlurmConfig { fairness, accounts, users, .. } = &self.config;
            fair_share(*fairness, accounts, users, &usage.collect())
        } else {
            BTreeMap::new()
        };
        self.waiting.line(state, &self.config, &fair, now)
    }

    /// Whether its partition and QOS let a job run at all, by its length and its size.
    fn is_within_limits(&self, state: &ClusterState, job: &Job) -> bool {
        let partition = self.partition(state, job).map(|partition| &self.config.partitions[partition]);
        let limit = job.spec.expected_duration;
        let is_short = |most: Option<Time>| most.is_none_or(|most| limit.is_some_and(|limit| limit <= most));
        is_short(partition.and_then(|partition| partition.max_time))
            && is_short(self.config.qos(&job.spec).and_then(|qos| qos.max_wall))
            && partition
                .and_then(|partition| partition.max_nodes)
                .is_none_or(|most| Held::by(state, job).nodes <= most)
    }

    /// Questions are about this job's partition from now on.
    fn look_at(&mut self, state: &ClusterState, id: JobId) {
        let partition = state.job(id).and_then(|job| self.partition(state, job));
        self.backfiller.set_scope(scope(partition));
        *self.nodes.borrow_mut() = partition.and_then(|partition| self.members[partition].clone());
    }

    fn start(
        &mut self,
        session: &mut Session<'_>,
        plugins: &mut Plugins,
        id: JobId,
        running: &mut Running,
    ) -> bool {
        self.look_at(session.state(), id);
        let was_ready = session.state().job(id).is_some_and(Job::is_ready);
        let attempt = self.backfiller.try_start(session, plugins, id);
        *self.nodes.borrow_mut() = None;
        if attempt == Attempt::Failed {
            return false;
        }
        if attempt == Attempt::Complete {
            self.waiting.remove(id);
        }
        if let Some(job) = session.state().job(id).filter(|_| !was_ready) {
            running.add(session.state(), &self.config, job);
            let held = Held::by(session.state(), job);
            let billing = &self.config.billing;
            let rate = (held.cpu_milli as f64 * billing.cpu + held.gpu_milli as f64 * billing.gpu) / 1000.0
                + held.memory_bytes as f64 / f64::from(1 << 30) * billing.memory_gib;
            let association = self.waiting.association(&job.spec);
            self.usage.resize(self.usage.len().max(association + 1), None);
            self.charged.insert(id, (association, rate));
        }
        true
    }

    /// Whether a job may displace another.
    fn displaces(&self, state: &ClusterState, preemptor: &Job, victim: &Job) -> bool {
        let partition = |job| self.partition(state, job).map(|partition| &self.config.partitions[partition]);
        let mode = |own: Option<PreemptMode>| own.unwrap_or(self.config.preempt_mode) != PreemptMode::Off;
        match self.config.preempt {
            PreemptType::None => false,
            PreemptType::PartitionPrio => partition(preemptor).is_some_and(|own| {
                partition(victim).is_some_and(|other| own.tier > other.tier && mode(other.preempt_mode))
            }),
            PreemptType::Qos => self.config.qos(&preemptor.spec).is_some_and(|own| {
                self.config
                    .qos(&victim.spec)
                    .is_some_and(|other| own.preempts.contains(&other.name) && mode(other.preempt_mode))
            }),
        }
    }

    /// Those that a job may displace, first the one to go first: lowest tier, lowest QOS, last started.
    fn victims(&self, state: &ClusterState, id: JobId) -> Vec<JobId> {
        let Some(preemptor) = state.job(id) else { return Vec::new() };
        let candidates = state.jobs().filter(|&(other, job)| {
            other != id
                && job.placed() > 0
                && job.count(TaskStatus::Releasing) == 0
                && self.displaces(state, preemptor, job)
        });
        let mut candidates: Vec<_> = candidates
            .map(|(other, job)| {
                let tier =
                    self.partition(state, job).map_or(1, |partition| self.config.partitions[partition].tier);
                let qos = self.config.qos(&job.spec).map_or(0, |qos| qos.priority);
                let started = job.tasks().iter().find_map(|&task| state.task(task)?.details.started);
                ((tier, qos, job.spec.priority, core::cmp::Reverse((started, job.spec.sequence))), other)
            })
            .collect();
        candidates.sort_unstable();
        candidates.into_iter().map(|(_, job)| job).collect()
    }

    /// Displaces as few as let the job in. Returns whether room is being made for it.
    fn preempt(&mut self, session: &mut Session<'_>, plugins: &mut Plugins, id: JobId) -> bool {
        if self.config.preempt == PreemptType::None {
            return false;
        }
        if session.state().nodes().iter().any(|node| node.releasing_tasks() > 0) {
            // Room is being made already; whose it will be is seen when it is there.
            return false;
        }
        let victims = self.victims(session.state(), id);
        if victims.is_empty() {
            return false;
        }
        let now = session.now;
        self.look_at(session.state(), id);
        let (mut transaction, random) = session.begin();
        self.holds.borrow_mut().ask(transaction.state(), id, now);
        let start = transaction.savepoint();
        let backfiller = &mut self.backfiller;
        let mut chosen: Vec<JobId> = Vec::new();
        let mut fits = |transaction: &mut foretell_framework::Transaction<'_>, gone: &[JobId]| {
            transaction.rollback_to(start);
            for &victim in gone {
                let tasks = transaction.state().job(victim).map_or(Vec::new(), |job| job.tasks().to_vec());
                for task in tasks {
                    // A task without a place has nothing to give.
                    let _ = transaction.remove(task);
                }
            }
            let is_ready = backfiller.try_place(transaction, plugins, random, id);
            transaction.rollback_to(start);
            is_ready
        };
        let mut is_enough = false;
        for victim in victims {
            chosen.push(victim);
            if fits(&mut transaction, &chosen) {
                is_enough = true;
                break;
            }
        }
        if is_enough {
            // Those that are not needed after all stay, the most important first.
            for position in (0..chosen.len()).rev() {
                let victim = chosen.remove(position);
                if !fits(&mut transaction, &chosen) {
                    chosen.insert(position, victim);
                }
            }
            let beneficiary = transaction.state().job(id).and_then(|job| job.tasks().first().copied());
            for victim in &chosen {
                let tasks = transaction.state().job(*victim).map_or(Vec::new(), |job| job.tasks().to_vec());
                for task in tasks {
                    // A task without a place need not go.
                    let _ = transaction.evict(task, EvictionReason::Preempted, beneficiary);
                }
            }
            transaction.commit();
        }
        self.holds.borrow_mut().asked();
        *self.nodes.borrow_mut() = None;
        is_enough
    }

    /// The next job of a pass that may be promised something.
    fn next_tested(&self, state: &ClusterState, pass: &mut Pass) -> Option<JobId> {
        loop {
            if pass.next == pass.line.len() {
                let next = self.waiting.next(pass.rest.as_mut()?)?;
                pass.line.push(next);
            }
            let id = pass.line[pass.next];
            pass.next += 1;
            let Some(job) = state.job(id).filter(|job| !job.is_ready()) else { continue };
            if !self.is_within_limits(state, job) || pass.running.admit(state, &self.config, job).is_err() {
                continue;
            }
            if let Some(most) = self.config.max_job_user {
                let tested = pass.of_user.entry(job.spec.user.clone()).or_default();
                *tested += 1;
                if *tested > most {
                    continue;
                }
            }
            return Some(id);
        }
    }

    /// Backfilling: every job in order starts if that delays no promise, or is promised a window. Where nobody in the rest
    /// of the line could start, promises are put off until somebody asks for them.
    fn backfill(&mut self, session: &mut Session<'_>, plugins: &mut Plugins, mut pass: Pass) {
        let state = session.state();
        // Where the whole line is looked at, what is in it need not be known in order.
        let rest = pass.rest.iter().flat_map(|_| self.waiting.jobs());
        let line = pass.line.iter().copied().filter(|_| pass.rest.is_none());
        let jobs = line.chain(rest).filter_map(|id| state.job(id)).filter(|job| !job.is_ready());
        let scoped = jobs.map(|job| (job, scope(self.partition(state, job))));
        let mut to_come = (!self.backfiller.draws(plugins)).then(|| self.backfiller.to_come(state, scoped));
        loop {
            if let Some(to_come) = &mut to_come
                && !self.backfiller.may_begin_now(session.state(), to_come, pass.now)
            {
                self.deferred = Some(pass);
                return;
            }
            let Some(id) = self.next_tested(session.state(), &mut pass) else { return };
            if !self.start(session, plugins, id, &mut pass.running) {
                self.look_at(session.state(), id);
                self.backfiller.promise(session.state(), plugins, id, pass.now, pass.latest);
                *self.nodes.borrow_mut() = None;
            }
        }
    }

    /// Makes the promises that were put off.
    fn catch_up(&mut self, state: &ClusterState, plugins: &mut Plugins) {
        let Some(mut pass) = self.deferred.take() else { return };
        while let Some(id) = self.next_tested(state, &mut pass) {
            self.look_at(state, id);
            self.backfiller.promise_late(state, plugins, id, pass.now, pass.latest);
            *self.nodes.borrow_mut() = None;
        }
    }
}

/// A pass of backfilling.
struct Pass {
    /// The jobs that are looked at, in order, and where more of them come from if these are not all.
    line: Vec<JobId>,
    rest: Option<Line>,
    /// The position of the next.
    next: usize,
    /// How many of each user were tested.
    of_user: BTreeMap<Box<str>, u32>,
    running: Running,
    now: Time,
    latest: Time,
}

/// The number of a set of nodes: those of a partition, or all.
fn scope(partition: Option<usize>) -> u32 {
    partition.map_or(0, |partition| partition as u32 + 1)
}

impl Action for Slurm {
    fn name(&self) -> &'static str {
        "slurm"
    }

    fn notify(&mut self, state: &ClusterState, plugins: &mut Plugins, event: ClusterEvent) {
        self.changed = true;
        match event {
            ClusterEvent::JobAdded(job) => self.waiting.insert(state, &self.config, job),
            ClusterEvent::JobRemoved(job) => {
                if self.waiting.contains(job) {
                    // Others were promised what they are promised beside it.
                    self.catch_up(state, plugins);
                }
                self.waiting.remove(job);
                self.gone.extend(self.charged.remove(&job));
                self.holds.borrow_mut().remove(job);
            }
            ClusterEvent::TaskWaiting(task) => {
                if let Some(job) = state.task(task).map(|task| task.job) {
                    self.waiting.insert(state, &self.config, job);
                    self.gone.extend(self.charged.remove(&job));
                }
            }
            ClusterEvent::TasksReleased | ClusterEvent::NodeChanged(_) | ClusterEvent::TaskChanged(_) => {}
        }
    }

    fn run(&mut self, session: &mut Session<'_>, plugins: &mut Plugins) {
        self.charge(session.now);
        let released = session.state().released();
        let has_boundary = self.holds.borrow().next_boundary(Time::ZERO).is_some();
        if !core::mem::take(&mut self.changed) && !has_boundary && released <= self.seen_released {
            return;
        }
        self.seen_released = released;
        self.deferred = None;
        self.find_members(session.state());
        self.holds.borrow_mut().clear();
        self.backfiller.open(session);
        let mut pass = self.line(session.state(), session.now);
        let mut line: Vec<JobId> = Vec::new();
        let mut running = Running::of(session.state(), &self.config);
        // Partitions of which someone waits and nobody was tried in vain.
        let mut open: BTreeSet<Option<usize>> = pass.partitions().collect();
        let mut is_blocked = false;
        while let Some(id) = if open.is_empty() { None } else { self.waiting.next(&mut pass) } {
            line.push(id);
            let state = session.state();
            let Some(job) = state.job(id) else { continue };
            let partition = self.partition(state, job);
            if !open.contains(&partition)
                || !self.is_within_limits(state, job)
                || (!job.is_ready() && running.admit(state, &self.config, job).is_err())
            {
                continue;
            }
            if !self.start(session, plugins, id, &mut running) {
                self.preempt(session, plugins, id);
                open.remove(&partition);
                is_blocked = true;
            }
        }
        if self.config.backfill && is_blocked {
            let depth = self.config.max_job_test as usize;
            let rest = if line.len() + self.waiting.len() <= depth {
                Some(pass)
            } else {
                while line.len() < depth
                    && let Some(id) = self.waiting.next(&mut pass)
                {
                    line.push(id);
                }
                line.truncate(depth);
                None
            };
            let (now, latest) = (session.now, session.now + self.config.window);
            let pass = Pass { line, rest, next: 0, of_user: BTreeMap::new(), running, now, latest };
            self.backfill(session, plugins, pass);
        }
    }

    fn explain(&mut self, session: &mut Session<'_>, plugins: &mut Plugins, id: JobId) -> Option<Reason> {
        if !self.waiting.contains(id) {
            return None;
        }
        self.catch_up(session.state(), plugins);
        let state = session.state();
        let job = state.job(id)?;
        let sequence = job.spec.sequence;
        if let Err(reason) = Running::of(state, &self.config).admit(state, &self.config, job) {
            return Some(reason);
        }
        self.find_members(session.state());
        self.look_at(session.state(), id);
        let reason = self.backfiller.explain(session, plugins, id);
        *self.nodes.borrow_mut() = None;
        if reason != Reason::NotTried {
            return Some(reason);
        }
        // It would fit, but its turn has not come.
        let now = session.now;
        let mut line = self.line(session.state(), now);
        let head = self.waiting.next(&mut line).and_then(|head| session.state().job(head));
        let head = head.map(|job| job.spec.sequence);
        Some(
            head.filter(|&head| head != sequence)
                .map_or(Reason::NotTried, |head| Reason::BehindHead { head }),
        )
    }
}
