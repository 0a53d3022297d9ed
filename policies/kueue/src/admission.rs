//! Kueue as an action: jobs are admitted whole by the quotas of their queues, and only then placed.
//!
//! A job that is admitted holds its quota until it ends or is evicted, whether or not nodes have room for it yet. A job
//! that is displaced is evicted whole and keeps its quota until its tasks are gone.

mod quotas;

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec;
use alloc::vec::Vec;
use core::cmp::Reverse;

use foretell_framework::session::EvictionReason;
use foretell_framework::state::{Job, QueueSpec};
use foretell_framework::{
    Action, ClusterEvent, ClusterState, JobId, PlaceJob, Plugins, QueueBound, Reason, ResourceUse, Session,
    ShapeId, Stamp, TaskStatus, Time,
};

use crate::cycle::{CycleConfig, Outcome, Verdict, run};
use crate::ids::{Cell, QueueId, WorkloadId};
use crate::model::{Admission, Model, PodSet, Workload};
use crate::preempt::{PreemptionReason, Target};
use crate::snapshot::Snapshot;
use crate::topology::PodShape;
use crate::tree::Amounts;

/// Admits jobs by the quotas of their queues, and places those that are admitted.
pub struct QuotaAdmission {
    config: CycleConfig,
    place: Box<dyn PlaceJob>,
    queues: Vec<QueueSpec>,
    dimensions: usize,
    model: Option<Model>,
    /// Per queue the jobs that wait.
    waiting: Vec<Line>,
    /// Those that are not tried before something changes.
    set_aside: BTreeSet<JobId>,
    /// Jobs that hold quota.
    admitted: BTreeMap<JobId, Held>,
    /// What of `admitted` was made workloads of when last looked, and those, in order of job.
    known: Vec<(JobId, Held)>,
    known_workloads: Vec<Workload>,
    /// Jobs that were admitted or gave up quota since then.
    outdated: Vec<JobId>,
    /// Of these, the ones that have tasks to place, in order of admission.
    unplaced: Vec<(Time, u64, JobId)>,
    seen_released: Stamp,
}

/// Larger priority first, then those submitted earlier.
type Rank = (Reverse<i32>, Time, u64, JobId);

/// The jobs of a queue that wait.
#[derive(Default)]
struct Line {
    /// In order.
    jobs: BTreeSet<Rank>,
    /// Those before this one are set aside; all, if there is none.
    first: Option<Rank>,
}

impl Line {
    fn insert(&mut self, rank: Rank) {
        self.jobs.insert(rank);
        self.first = Some(self.first.map_or(rank, |first| first.min(rank)));
    }

    /// Those that were set aside may be tried again.
    fn rewind(&mut self) {
        self.first = self.jobs.first().copied();
    }

    /// The first that may be tried.
    fn head(&mut self, may_try: impl Fn(JobId) -> bool) -> Option<JobId> {
        let rest = self.jobs.range(self.first?..);
        self.first = rest.copied().find(|&(.., id)| may_try(id));
        self.first.map(|(.., id)| id)
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
struct Held {
    since: Time,
    /// Whether it was told to stop.
    evicted: bool,
}

fn rank(id: JobId, job: &Job) -> Rank {
    (Reverse(job.spec.priority), job.spec.submitted, job.spec.sequence, id)
}

/// Whether a job that finds no place finds none after others got theirs either: its tasks do not go by where others are.
fn only_loses_room(state: &ClusterState, job: &Job) -> bool {
    job.spec.tasks.iter().all(|&(class, _)| {
        let task = state.class_spec(class);
        task.pod_affinity.is_empty() && task.topology_spread.is_empty()
    })
}

/// Whether a job has something of a node.
const fn holds_nodes(job: &Job) -> bool {
    job.placed() > 0 || job.count(TaskStatus::Releasing) > 0
}

impl QuotaAdmission {
    /// Admission by these rules; the tasks of an admitted job are placed by `place`.
    pub fn new(config: CycleConfig, place: Box<dyn PlaceJob>) -> Self {
        Self {
            config,
            place,
            queues: Vec::new(),
            dimensions: 0,
            model: None,
            waiting: Vec::new(),
            set_aside: BTreeSet::new(),
            admitted: BTreeMap::new(),
            known: Vec::new(),
            known_workloads: Vec::new(),
            outdated: Vec::new(),
            unplaced: Vec::new(),
            seen_released: Stamp::ZERO,
        }
    }

    fn line(&mut self, queue: usize) -> &mut Line {
        if self.waiting.len() <= queue {
            self.waiting.resize_with(queue + 1, Line::default);
        }
        &mut self.waiting[queue]
    }

    fn wait(&mut self, state: &ClusterState, id: JobId) {
        let Some(job) = state.job(id) else { return };
        self.line(job.spec.queue.index()).insert(rank(id, job));
    }

    fn admit(&mut self, state: &ClusterState, id: JobId, since: Time) {
        let Some(job) = state.job(id) else { return };
        self.line(job.spec.queue.index()).jobs.remove(&rank(id, job));
        self.outdated.push(id);
        self.admitted.insert(id, Held { since, evicted: false });
        if !job.is_complete() {
            self.is_to_be_placed((since, job.spec.sequence, id));
        }
    }

    fn is_to_be_placed(&mut self, turn: (Time, u64, JobId)) {
        if let Err(position) = self.unplaced.binary_search(&turn) {
            self.unplaced.insert(position, turn);
        }
    }

    /// Takes the quota of a job back.
    fn release(&mut self, state: &ClusterState, id: JobId) {
        let Some(held) = self.admitted.remove(&id) else { return };
        if let Some(job) = state.job(id) {
            let turn = (held.since, job.spec.sequence, id);
            if let Ok(position) = self.unplaced.binary_search(&turn) {
                self.unplaced.remove(position);
            }
        }
        self.outdated.push(id);
        self.try_all_again();
    }

    /// Those that were set aside are tried again.
    fn try_all_again(&mut self) {
        self.set_aside.clear();
        self.waiting.iter_mut().for_each(Line::rewind);
    }

    /// Builds the model anew if queues have changed.
    fn refresh(&mut self, state: &ClusterState) {
        use foretell_framework::Dimension;
        let dimensions = Dimension::count(state);
        let is_same = self.dimensions == dimensions
            && self.queues.len() == state.queues().len()
            && self.queues.iter().zip(state.queues()).all(|(known, queue)| *known == queue.spec);
        if is_same && self.model.is_some() {
            return;
        }
        self.dimensions = dimensions;
        self.queues = state.queues().iter().map(|queue| queue.spec.clone()).collect();
        // Queues that contain themselves admit nothing.
        self.model = quotas::model(state).ok();
        self.known.clear();
        self.known_workloads.clear();
        self.outdated = self.admitted.keys().copied().collect();
        self.try_all_again();
    }

    /// The job as a workload: one pod that requests what all its tasks do, of what its queue has quotas of.
    fn workload(state: &ClusterState, model: &Model, id: JobId, held: Option<Held>) -> Option<Workload> {
        let job = state.job(id)?;
        let queue = QueueId::new(job.spec.queue.index());
        let mut amounts = Amounts::new();
        for &(class, count) in &job.spec.tasks {
            for (dimension, amount) in state.class_spec(class).requested() {
                let amount = i64::try_from(amount.saturating_mul(u64::from(count))).unwrap_or(i64::MAX);
                let sum = amounts.entry(Cell::new(dimension.index())).or_insert(0);
                *sum = sum.saturating_add(amount);
            }
        }
        amounts.retain(|&cell, _| model.queues[queue.index()].group_of(model.tree.resource(cell)).is_some());
        let requests = amounts.iter().map(|(&cell, &amount)| (model.tree.resource(cell), amount)).collect();
        let shape = PodShape { requests, ..PodShape::default() };
        Some(Workload {
            queue: Some(queue),
            // Of those admitted at one instant, the one that came last is displaced first.
            uid: alloc::format!("{:020}", u64::MAX - job.spec.sequence).into(),
            priority: job.spec.priority,
            queued: job.spec.submitted,
            pod_sets: vec![PodSet { count: 1, shape, ..PodSet::default() }],
            admission: held.map(|held| Admission {
                reserved: held.since,
                usage: amounts,
                ..Admission::default()
            }),
            evicted: held.is_some_and(|held| held.evicted),
            ..Workload::default()
        })
    }

    /// Makes workloads of the admitted jobs; those that are as they were are kept.
    fn look_at_admitted(&mut self, state: &ClusterState, model: &Model) {
        for id in core::mem::take(&mut self.outdated) {
            let position = self.known.binary_search_by_key(&id, |&(known, _)| known);
            let held = self.admitted.get(&id).copied();
            if position.is_ok_and(|position| Some(self.known[position].1) == held) {
                continue;
            }
            let workload = held.and_then(|held| Some((held, Self::workload(state, model, id, Some(held))?)));
            match (position, workload) {
                (Ok(position), Some((held, workload))) => {
                    self.known[position].1 = held;
                    self.known_workloads[position] = workload;
                }
                (Err(position), Some((held, workload))) => {
                    self.known.insert(position, (id, held));
                    self.known_workloads.insert(position, workload);
                }
                (Ok(position), None) => {
                    self.known.remove(position);
                    self.known_workloads.remove(position);
                }
                (Err(_), None) => {}
            }
        }
    }

    /// Lets heads in until no queue's head is let in any more.
    fn admit_all(&mut self, session: &mut Session<'_>) {
        let Some(model) = self.model.take() else { return };
        // Jobs that gave their quota up in this cycle: their turn is over, or they could displace in a circle.
        let mut displaced: BTreeSet<JobId> = BTreeSet::new();
        loop {
            let state = session.state();
            self.look_at_admitted(state, &model);
            let mut ids: Vec<JobId> = self.known.iter().map(|&(id, _)| id).collect();
            let mut workloads = core::mem::take(&mut self.known_workloads);
            let mut heads = Vec::new();
            for (index, line) in self.waiting.iter_mut().enumerate() {
                if !model.queues.get(index).is_some_and(|queue| queue.active) {
                    continue;
                }
                let may_try = |id| !self.set_aside.contains(&id) && !displaced.contains(&id);
                let Some(id) = line.head(may_try) else { continue };
                // A head that blocks its queue is the first of all.
                let is_first = line.jobs.first().is_some_and(|&(.., first)| first == id);
                if model.queues[index].strict && !is_first {
                    continue;
                }
                if let Some(workload) = Self::workload(state, &model, id, None) {
                    heads.push((WorkloadId::new(ids.len()), None));
                    ids.push(id);
                    workloads.push(workload);
                }
            }
            let outcomes = if heads.is_empty() {
                Vec::new()
            } else {
                run(&mut Snapshot::new(&model, &workloads), &heads, &self.config)
            };
            workloads.truncate(self.known.len());
            self.known_workloads = workloads;
            let mut has_changed = false;
            for Outcome { workload, verdict } in outcomes {
                let id = ids[workload.index()];
                match verdict {
                    Verdict::Admitted(_) => {
                        let now = session.now;
                        self.admit(session.state(), id, now);
                        has_changed = true;
                    }
                    Verdict::Preempting(targets) => {
                        // Where none of them held a node, their quota is free now.
                        let is_free = self.displace(session, id, &targets, &ids, &mut displaced);
                        has_changed |= is_free;
                        if !is_free {
                            self.set_aside.insert(id);
                        }
                    }
                    Verdict::Pending(_) | Verdict::Inadmissible => {
                        self.set_aside.insert(id);
                        // Those behind it, if it does not block them, have their turn.
                        has_changed = true;
                    }
                }
            }
            if !has_changed {
                break;
            }
        }
        if !displaced.is_empty() {
            // Their turn comes in the next cycle.
            self.waiting.iter_mut().for_each(Line::rewind);
        }
        self.model = Some(model);
    }

    /// Evicts jobs whole for the sake of another. Whether all of them are gone already, since they held no node; those are
    /// noted in `displaced`.
    fn displace(
        &mut self,
        session: &mut Session<'_>,
        beneficiary: JobId,
        targets: &[Target],
        ids: &[JobId],
        displaced: &mut BTreeSet<JobId>,
    ) -> bool {
        let first = session.state().job(beneficiary).and_then(|job| job.tasks().first().copied());
        let (mut transaction, _) = session.begin();
        let mut gone = Vec::new();
        for target in targets {
            let id = ids[target.workload.index()];
            let reason = match target.reason {
                PreemptionReason::InClusterQueue => EvictionReason::Preempted,
                _ => EvictionReason::Reclaimed,
            };
            let Some(job) = transaction.state().job(id) else { continue };
            if !holds_nodes(job) {
                gone.push(id);
                continue;
            }
            let is_placed = |task: &foretell_framework::TaskId| {
                transaction.state().task(*task).is_some_and(|task| task.status().is_placed())
            };
            let tasks: Vec<_> = job.tasks().iter().copied().filter(is_placed).collect();
            for task in tasks {
                // It is placed: that was just asked.
                let _ = transaction.evict(task, reason, first);
            }
            if let Some(held) = self.admitted.get_mut(&id) {
                held.evicted = true;
                self.outdated.push(id);
            }
        }
        transaction.commit();
        for &id in &gone {
            self.release(session.state(), id);
            self.wait(session.state(), id);
        }
        // The one that displaced them is next.
        self.set_aside.extend(&gone);
        displaced.extend(&gone);
        gone.len() == targets.len()
    }

    fn place_all(&mut self, session: &mut Session<'_>, plugins: &mut Plugins) {
        // Shapes of jobs that found no room in this cycle: others like them need not be tried.
        let mut failing: Vec<(ShapeId, u32)> = Vec::new();
        let draws = plugins.draws() || self.place.draws();
        let Self { place, unplaced, admitted, .. } = self;
        unplaced.retain(|&(.., id)| {
            let like_it = session.state().job(id).filter(|job| !draws && job.placed() == 0);
            let like_it = like_it.map(|job| (job.shape, job.spec.min_member));
            if like_it.is_some_and(|like_it| failing.contains(&like_it))
                || admitted.get(&id).is_none_or(|held| held.evicted)
            {
                return true;
            }
            let (mut transaction, random) = session.begin();
            let is_complete = place.place(&mut transaction, plugins, random, id);
            let state = transaction.state();
            if state.job(id).is_some_and(Job::is_ready) {
                transaction.commit();
            } else if state.job(id).is_some_and(|job| only_loses_room(state, job)) {
                failing.extend(like_it);
            }
            !is_complete
        });
    }
}

impl Action for QuotaAdmission {
    fn name(&self) -> &'static str {
        "kueue"
    }

    fn notify(&mut self, state: &ClusterState, _plugins: &mut Plugins, event: ClusterEvent) {
        match event {
            ClusterEvent::JobAdded(id) => match state.job(id) {
                // It runs already: it was admitted before.
                Some(job) if holds_nodes(job) => self.admit(state, id, job.spec.submitted),
                _ => self.wait(state, id),
            },
            ClusterEvent::JobRemoved(id) => {
                self.release(state, id);
                self.set_aside.remove(&id);
                if let Some(job) = state.job(id) {
                    self.line(job.spec.queue.index()).jobs.remove(&rank(id, job));
                }
            }
            ClusterEvent::TaskWaiting(task) => {
                let Some(id) = state.task(task).map(|task| task.job) else { return };
                let (Some(job), Some(&held)) = (state.job(id), self.admitted.get(&id)) else { return };
                if !held.evicted {
                    // It lost its node, not its quota.
                    self.is_to_be_placed((held.since, job.spec.sequence, id));
                } else if !holds_nodes(job) {
                    self.release(state, id);
                    self.wait(state, id);
                }
            }
            ClusterEvent::TasksReleased | ClusterEvent::NodeChanged(_) | ClusterEvent::TaskChanged(_) => {}
        }
    }

    fn run(&mut self, session: &mut Session<'_>, plugins: &mut Plugins) {
        self.refresh(session.state());
        let released = session.state().released();
        if released > self.seen_released {
            self.seen_released = released;
            self.try_all_again();
        }
        self.admit_all(session);
        self.place_all(session, plugins);
    }

    fn explain(&mut self, session: &mut Session<'_>, plugins: &mut Plugins, id: JobId) -> Option<Reason> {
        if self.admitted.contains_key(&id) {
            let (mut transaction, random) = session.begin();
            return Some(self.place.explain(&mut transaction, plugins, random, id));
        }
        self.refresh(session.state());
        let state = session.state();
        let job = state.job(id)?;
        let model = self.model.as_ref()?;
        let queue = state.queue(job.spec.queue);
        if !queue.spec.open {
            return Some(Reason::QueueClosed { queue: queue.name.clone() });
        }
        let first = self.waiting.get(job.spec.queue.index())?.jobs.first()?;
        if queue.spec.head_blocks && first.3 != id {
            return Some(Reason::BehindHead { head: first.2 });
        }
        let held: Vec<_> = self
            .admitted
            .iter()
            .filter_map(|(&id, &held)| Self::workload(state, model, id, Some(held)))
            .collect();
        let snapshot = Snapshot::new(model, &held);
        let node = QueueId::new(job.spec.queue.index()).node();
        let asked = Self::workload(state, model, id, None)?;
        let short = asked.pod_sets[0].shape.requests.iter().find_map(|&(resource, amount)| {
            let cell = Cell::new(resource.index());
            let available = snapshot.tree.available(node, cell).max(0);
            (amount > available).then_some((cell, amount, available))
        });
        let (cell, amount, available) = short?;
        let used = snapshot.tree.usage(node, cell);
        Some(Reason::QueueLimit {
            queue: queue.name.clone(),
            bound: QueueBound::Capability,
            binding: resource_use(state, cell, used, amount, used.saturating_add(available)),
            gpus: None,
        })
    }
}

/// How much of a resource is used, asked for and allowed.
fn resource_use(state: &ClusterState, cell: Cell, used: i64, asked: i64, limit: i64) -> ResourceUse {
    let amounts = [used, asked, limit].map(|amount| u64::try_from(amount).unwrap_or(0));
    let in_milli = |amount: u64| match cell.index() {
        0 | 2 => amount,
        1 => ((u128::from(amount) * 1000) >> 30) as u64,
        _ => amount.saturating_mul(1000),
    };
    let resource = match cell.index() {
        0 => "CPU cores".into(),
        1 => "GiB of memory".into(),
        2 => "GPUs".into(),
        index => state.resource_names().get(index - 3).cloned().unwrap_or_default(),
    };
    let [used_milli, asked_milli, limit_milli] = amounts.map(in_milli);
    ResourceUse { resource, used_milli, asked_milli, limit_milli }
}
