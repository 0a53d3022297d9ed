//! One job: what happened to it, what it waited for and how long, and how things stand at one instant.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use foretell_framework::{
    ClassId, ClusterState, EvictionReason, JobId, NodeId, Reason, TaskSpec, TaskStatus, Time, WHOLE_GPU_MILLI,
};

use super::JobNames;
use crate::log::{EvictionOutcome, JobStatus, Record};
use crate::platform::{Inspection, Inspector, Role};

/// What is known of a job after a run.
#[derive(Clone, PartialEq, Debug)]
pub struct JobExplanation {
    /// Who it is.
    pub job: JobIdentity,
    /// What happened to it, in order of time.
    pub events: Vec<JobEvent>,
    /// What it waited for, in order of time.
    pub waits: Vec<Wait>,
    /// How things stood at the instant that was asked for.
    pub snapshot: Option<Snapshot>,
}

/// Who a job is and what it asks for.
#[derive(Clone, PartialEq, Debug)]
pub struct JobIdentity {
    /// The trace's name of it.
    pub id: Box<str>,
    /// Its queue.
    pub queue: Box<str>,
    /// Its user.
    pub user: Box<str>,
    /// Its priority.
    pub priority: i32,
    /// Its pods, by role.
    pub roles: Vec<Role>,
    /// When it was submitted.
    pub submit: Time,
}

/// Something that happened to a job.
#[derive(Clone, PartialEq, Debug)]
pub struct JobEvent {
    /// When.
    pub time: Time,
    /// What.
    pub kind: EventKind,
}

/// What can happen to a job.
#[derive(Clone, PartialEq, Debug)]
pub enum EventKind {
    /// It began to run, or began again; with the jobs that ended in the same instant.
    Started {
        /// Their names.
        after: Vec<Box<str>>,
    },
    /// Pods of it were evicted.
    Evicted {
        /// How many.
        pods: u32,
        /// The node of the first.
        node: Box<str>,
        /// Why.
        reason: EvictionReason,
        /// The job for which room was made.
        beneficiary: Option<Box<str>>,
        /// What became of it.
        outcome: EvictionOutcome,
    },
    /// It ended.
    Finished(JobStatus),
    /// It will never run, for this reason.
    NeverPlaced(String),
}

/// A time in which a job waited for one kind of thing.
#[derive(Clone, PartialEq, Debug)]
pub struct Wait {
    /// From when.
    pub from: Time,
    /// Until when; [`Time::MAX`] if it waits to the end of the run.
    pub to: Time,
    /// See [`foretell_framework::Reason::kind`].
    pub kind: &'static str,
    /// The reason as it was at first.
    pub reason: String,
}

/// How things stand at an instant.
#[derive(Clone, PartialEq, Debug)]
pub struct Snapshot {
    /// The instant.
    pub at: Time,
    /// How the job stands.
    pub standing: Standing,
    /// Thousandths of GPUs that are free on all nodes.
    pub gpu_free_milli: u64,
    /// Pods for which there is still no place.
    pub pods_waiting: u32,
    /// Nodes that could take one of them now.
    pub nodes_with_room: u32,
    /// Nodes that could take one if they were emptier.
    pub nodes_that_could: u32,
    /// Pods of this kind for which there is room now, node by node.
    pub pods_with_room: u64,
    /// Who holds what is on those nodes, most GPUs first.
    pub holders: Vec<Holder>,
    /// When those nodes will have room for a pod if all that runs there runs to its end, soonest first.
    pub drains: Vec<Drain>,
}

/// How a job stands.
#[derive(Clone, PartialEq, Debug)]
pub enum Standing {
    /// It was not submitted yet.
    ToCome,
    /// It waits.
    Waits(String),
    /// It runs.
    Runs {
        /// Nodes with pods of it.
        nodes: Vec<Box<str>>,
        /// When it will be done if nothing changes.
        finishes: Option<Time>,
    },
    /// It has ended.
    Ended,
}

/// A job that holds what another waits for.
#[derive(Clone, PartialEq, Debug)]
pub struct Holder {
    /// Its name.
    pub id: Box<str>,
    /// Its queue.
    pub queue: Box<str>,
    /// Thousandths of GPUs that it holds on nodes that could serve the other.
    pub gpu_milli: u64,
    /// How many such nodes.
    pub nodes: u32,
    /// Whether it runs; else it holds and waits for the rest of its gang, or is leaving.
    pub running: bool,
    /// When it will be done if nothing changes.
    pub finishes: Option<Time>,
}

/// A node that will have room for a pod.
#[derive(Clone, PartialEq, Debug)]
pub struct Drain {
    /// Its name.
    pub node: Box<str>,
    /// When; `None` if what is there never ends.
    pub at: Option<Time>,
    /// The jobs that have to end for it.
    pub jobs: Vec<Box<str>>,
}

/// Follows one job through a run.
pub struct ExplainJob {
    id: Box<str>,
    /// When to take the snapshot.
    at: Option<Time>,
    names: JobNames,
    sequence: Option<u64>,
    job: Option<JobId>,
    identity: Option<JobIdentity>,
    events: Vec<JobEvent>,
    waits: Vec<Wait>,
    snapshot: Option<Snapshot>,
    ended: bool,
    /// Jobs that ended at this instant.
    just_ended: (Time, Vec<u64>),
}

impl ExplainJob {
    /// Follows the job of this name, and looks closely at one instant.
    pub fn new(id: &str, at: Option<Time>) -> Self {
        Self {
            id: id.into(),
            at,
            names: JobNames::default(),
            sequence: None,
            job: None,
            identity: None,
            events: Vec::new(),
            waits: Vec::new(),
            snapshot: None,
            ended: false,
            just_ended: (Time::ZERO, Vec::new()),
        }
    }

    /// What was found; `None` if there was no such job.
    pub fn finish(self) -> Option<JobExplanation> {
        let Self { identity, events, waits, snapshot, .. } = self;
        Some(JobExplanation { job: identity?, events, waits, snapshot })
    }

    fn waits(&mut self, from: Time, to: Time, inspection: &mut Inspection<'_>, job: JobId) -> String {
        let reason = inspection.explain(job);
        let text = self.names.describe(&reason);
        match self.waits.last_mut() {
            Some(last) if last.to == from && last.kind == reason.kind() => last.to = to,
            _ => self.waits.push(Wait { from, to, kind: reason.kind(), reason: text.clone() }),
        }
        text
    }

    /// What the job waits for that this one waits behind.
    fn of_head(&self, inspection: &mut Inspection<'_>, job: JobId) -> String {
        let Reason::BehindHead { head } = inspection.explain(job) else { return String::new() };
        let mut jobs = inspection.state().jobs();
        let Some((id, _)) = jobs.find(|(_, job)| job.spec.sequence == head) else { return String::new() };
        drop(jobs);
        format!(", which waits: {}", self.names.describe(&inspection.explain(id)))
    }

    fn snapshot(&self, standing: Standing, at: Time, inspection: &mut Inspection<'_>) -> Snapshot {
        let state = inspection.state();
        let mut snapshot = Snapshot {
            at,
            standing,
            gpu_free_milli: state.gpu_capacity_milli().saturating_sub(state.gpu_allocated_milli()),
            pods_waiting: 0,
            nodes_with_room: 0,
            nodes_that_could: 0,
            pods_with_room: 0,
            holders: Vec::new(),
            drains: Vec::new(),
        };
        let Some(class) = self.job.and_then(|job| waiting_class(state, job)) else { return snapshot };
        let job = self.job.and_then(|job| state.job(job));
        snapshot.pods_waiting = job.map_or(0, |job| job.spec.min_member.saturating_sub(job.placed()));
        let verdicts = inspection.verdicts(class);
        let mut could = Vec::new();
        for (node, verdict) in inspection.state().node_ids().zip(verdicts) {
            match verdict {
                None => {
                    snapshot.nodes_with_room += 1;
                    snapshot.pods_with_room += room(inspection.state(), class, node);
                }
                Some(rejection) if !rejection.is_unresolvable() => could.push(node),
                Some(_) => {}
            }
        }
        snapshot.nodes_that_could = could.len() as u32;
        snapshot.holders = self.holders(&could, inspection);
        snapshot.drains = self.drains(&could, class, inspection);
        snapshot
    }

    fn holders(&self, nodes: &[NodeId], inspection: &Inspection<'_>) -> Vec<Holder> {
        let state = inspection.state();
        let mut held: BTreeMap<u64, (JobId, u64, Vec<NodeId>)> = BTreeMap::new();
        for &node in nodes {
            for task in state.node(node).tasks().iter().filter_map(|&task| state.task(task)) {
                let Some(job) = state.job(task.job) else { continue };
                let (_, gpu_milli, on) =
                    held.entry(job.spec.sequence).or_insert_with(|| (task.job, 0, Vec::new()));
                *gpu_milli += state.class_spec(task.class).gpus.total_milli();
                if on.last() != Some(&node) {
                    on.push(node);
                }
            }
        }
        let mut holders: Vec<Holder> = held
            .into_iter()
            .filter(|&(sequence, _)| Some(sequence) != self.sequence)
            .map(|(sequence, (job, gpu_milli, on))| {
                let progress = inspection.progress(job, inspection.now());
                let queue = state.job(job).map_or("", |job| &*state.queue(job.spec.queue).name);
                Holder {
                    id: self.names.of(sequence).into(),
                    queue: queue.into(),
                    gpu_milli,
                    nodes: on.len() as u32,
                    running: progress.is_some_and(|progress| progress.running),
                    finishes: progress.and_then(|progress| progress.finishes),
                }
            })
            .collect();
        holders.sort_by_key(|holder| Reverse(holder.gpu_milli));
        holders
    }

    fn drains(&self, nodes: &[NodeId], class: ClassId, inspection: &Inspection<'_>) -> Vec<Drain> {
        let mut drains: Vec<Drain> = nodes.iter().map(|&node| self.drain(node, class, inspection)).collect();
        // Nodes that never have room come last.
        drains.sort_by_key(|drain| (drain.at.is_none(), drain.at));
        drains
    }

    /// Lets what is on the node end, one after the other, until there is room.
    fn drain(&self, node: NodeId, class: ClassId, inspection: &Inspection<'_>) -> Drain {
        let state = inspection.state();
        let entry = state.node(node);
        let mut room = Room::of(state, node);
        let spec = state.class_spec(class);
        let mut leaving: Vec<_> = entry
            .tasks()
            .iter()
            .filter_map(|&task| {
                let task = state.task(task)?;
                let finishes =
                    inspection.progress(task.job, inspection.now()).and_then(|progress| progress.finishes);
                // What is leaving will be gone soon.
                let leaving = (task.status() == TaskStatus::Releasing).then(|| inspection.now());
                Some((leaving.or(finishes).unwrap_or(Time::MAX), state.job(task.job)?.spec.sequence, task))
            })
            .collect();
        leaving.sort_by_key(|&(time, sequence, task)| (time, sequence, task.rank));
        let mut drain = Drain { node: entry.spec.name.clone(), at: None, jobs: Vec::new() };
        for (time, sequence, task) in leaving {
            if time == Time::MAX {
                break;
            }
            room.give_back(state.class_spec(task.class), task.placement());
            if drain.jobs.last().is_none_or(|last| **last != *self.names.of(sequence)) {
                drain.jobs.push(self.names.of(sequence).into());
            }
            if room.holds(spec) {
                drain.at = Some(time);
                break;
            }
        }
        drain
    }
}

/// What a node can still give.
struct Room {
    cpu_milli: u64,
    memory_bytes: u64,
    tasks: u64,
    gpu_free_milli: Vec<u32>,
}

impl Room {
    fn of(state: &ClusterState, node: NodeId) -> Self {
        let entry = state.node(node);
        let (allocatable, allocated) = (&entry.spec.allocatable, entry.allocated());
        Self {
            cpu_milli: allocatable.cpu_milli.saturating_sub(allocated.cpu_milli),
            memory_bytes: allocatable.memory_bytes.saturating_sub(allocated.memory_bytes),
            tasks: u64::from(entry.spec.max_tasks).saturating_sub(entry.tasks().len() as u64),
            gpu_free_milli: state.gpu_free_milli(node).to_vec(),
        }
    }

    fn give_back(&mut self, spec: &TaskSpec, placement: Option<&foretell_framework::Placement>) {
        self.cpu_milli += spec.requests.cpu_milli;
        self.memory_bytes += spec.requests.memory_bytes;
        self.tasks += 1;
        for device in placement.into_iter().flat_map(|placement| placement.gpus.iter()) {
            let free = &mut self.gpu_free_milli[device];
            *free = (*free + spec.gpus.milli).min(WHOLE_GPU_MILLI);
        }
    }

    fn holds(&self, spec: &TaskSpec) -> bool {
        let devices = self.gpu_free_milli.iter().filter(|&&free| free >= spec.gpus.milli).count();
        self.tasks > 0
            && self.cpu_milli >= spec.requests.cpu_milli
            && self.memory_bytes >= spec.requests.memory_bytes
            && (spec.gpus.count == 0 || devices >= spec.gpus.count as usize)
    }
}

/// Pods of a class for which a node has room.
fn room(state: &ClusterState, class: ClassId, node: NodeId) -> u64 {
    let spec = state.class_spec(class);
    let room = Room::of(state, node);
    let devices: u64 = room
        .gpu_free_milli
        .iter()
        .map(|&free| u64::from(free.checked_div(spec.gpus.milli).unwrap_or(0)))
        .sum();
    let bounds = [
        Some(room.tasks),
        room.cpu_milli.checked_div(spec.requests.cpu_milli),
        room.memory_bytes.checked_div(spec.requests.memory_bytes),
        devices.checked_div(u64::from(spec.gpus.count)),
    ];
    bounds.into_iter().flatten().min().unwrap_or(0)
}

/// The class of the first pod that waits.
fn waiting_class(state: &ClusterState, job: JobId) -> Option<ClassId> {
    let tasks = state.job(job)?.tasks().iter().filter_map(|&task| state.task(task));
    let mut waiting = tasks.filter(|task| task.status() == TaskStatus::Waiting);
    // Of several roles, the one that asks for most is the hard one.
    let first = waiting.next()?.class;
    let more = |&class: &ClassId| state.class_spec(class).gpus.total_milli();
    waiting.map(|task| task.class).chain([first]).max_by_key(more)
}

impl Inspector for ExplainJob {
    fn inspect(&mut self, from: Time, to: Time, inspection: &mut Inspection<'_>) {
        if let (None, Some(sequence), false) = (self.job, self.sequence, self.ended) {
            let mut jobs = inspection.state().jobs();
            self.job = jobs.find(|(_, job)| job.spec.sequence == sequence).map(|(id, _)| id);
        }
        let progress = self
            .job
            .filter(|_| !self.ended)
            .and_then(|job| Some((job, inspection.progress(job, inspection.now())?)));
        let standing = match progress {
            Some((job, progress)) if progress.running => {
                let state = inspection.state();
                let tasks = state.job(job).map_or(&[][..], |job| job.tasks());
                let mut nodes: Vec<NodeId> =
                    tasks.iter().filter_map(|&task| Some(state.task(task)?.placement()?.node)).collect();
                nodes.sort_unstable();
                nodes.dedup();
                let name = |&node: &NodeId| state.node(node).spec.name.clone();
                Standing::Runs { nodes: nodes.iter().map(name).collect(), finishes: progress.finishes }
            }
            Some((job, _)) => {
                let mut reason = self.waits(from, to, inspection, job);
                if self.at.is_some_and(|at| from <= at && at < to) {
                    reason.push_str(&self.of_head(inspection, job));
                }
                Standing::Waits(reason)
            }
            None if self.identity.is_some() => Standing::Ended,
            None => Standing::ToCome,
        };
        if let Some(at) = self.at.filter(|&at| from <= at && at < to) {
            self.snapshot = Some(self.snapshot(standing, at, inspection));
        }
    }

    fn record(&mut self, now: Time, record: &Record<'_>, state: &ClusterState) {
        let mine = |job: u64| self.sequence == Some(job);
        let kind = match *record {
            Record::JobSubmitted { job, submission } => {
                self.names.0.push(submission.id.clone());
                if self.identity.is_none() && submission.id == self.id {
                    self.sequence = Some(job);
                    self.identity = Some(JobIdentity {
                        id: submission.id.clone(),
                        queue: submission.queue.clone(),
                        user: submission.user.clone(),
                        priority: submission.priority,
                        roles: submission.roles.clone(),
                        submit: now,
                    });
                }
                return;
            }
            Record::JobStarted { job, .. } if mine(job) => {
                let (time, ended) = &self.just_ended;
                let ended = if *time == now { &ended[..] } else { &[] };
                EventKind::Started { after: ended.iter().map(|&job| self.names.of(job).into()).collect() }
            }
            Record::JobEvicted { job, eviction, outcome } if mine(job) => EventKind::Evicted {
                pods: eviction.pods,
                node: state.node(eviction.node).spec.name.clone(),
                reason: eviction.reason,
                beneficiary: eviction.beneficiary.map(|job| self.names.of(job).into()),
                outcome,
            },
            Record::JobFinished { job, status, .. } => {
                if !mine(job) {
                    if self.just_ended.0 != now {
                        self.just_ended = (now, Vec::new());
                    }
                    self.just_ended.1.push(job);
                    return;
                }
                self.ended = true;
                EventKind::Finished(status)
            }
            Record::JobNeverPlaced { job, reason, .. } if mine(job) => {
                self.ended = true;
                EventKind::NeverPlaced(self.names.describe(reason))
            }
            _ => return,
        };
        self.events.push(JobEvent { time: now, kind });
    }
}
