//! Faults strike, and are repaired.

use std::collections::BTreeMap;

use foretell_framework::{ClusterEvent, ClusterState, JobId, NodeId, TaskId, TaskStatus, Time};

use super::fabric::Cut;
use super::slow::slow_nodes;
use super::spare::{BlockList, Spares};
use super::{Broken, Failure, FailureOutcome, Fault, FaultClock, FaultKind, Place};
use crate::engine::{EventQueue, Streams};
use crate::event::{Event, FaultEvent};
use crate::log::Record;
use crate::platform::Submission;
use crate::platform::simulation::Simulation;
use crate::traffic::Traffic;

/// How long faults go on when no job that ends runs: jobs that wait for a repair have as long. After that, nothing more
/// breaks until one runs again, so that a run ends also where jobs wait in vain.
const IDLE_LIMIT: Time = Time::from_nanos(7 * 86_400_000_000_000);

/// What is broken and what breaks next.
pub(in crate::platform) struct FaultState {
    clock: FaultClock,
    pub(super) broken: Broken,
    /// What of the fabric is down.
    pub(super) cut: Cut,
    spares: Spares,
    blocked: BlockList,
    /// Nodes that are slow, and how fast each is, in millionths.
    pub(super) slow: BTreeMap<NodeId, u32>,
    /// Everything that broke.
    pub(super) faults: Vec<Fault>,
    /// Whether nothing breaks because nothing runs.
    sleeps: bool,
    /// When a fault last found that something runs.
    active_at: Time,
    pub(super) last_repair: Time,
}

/// A pod that a fault hits, in an order that means something.
pub(super) type Hit = (u64, u32, JobId, TaskId);

impl<W, E> Simulation<'_, W, E>
where
    W: Iterator<Item = Result<Submission, E>>,
{
    /// Schedules what is known to break.
    pub(in crate::platform) fn arm_faults(&mut self, queue: &mut EventQueue<Event>) {
        let Some(config) = &self.config.faults else { return };
        for (index, fault) in config.scheduled.iter().enumerate() {
            queue.schedule(fault.at, Event::Fault(FaultEvent::Scheduled(index as u32)));
        }
        let mut broken = Broken::default();
        let streams = Streams::new(self.config.seed);
        let slow = config.stragglers.map(|stragglers| slow_nodes(&stragglers, streams, &self.state));
        let state = FaultState {
            clock: FaultClock::new(
                self.config.seed,
                config,
                &self.state,
                self.traffic.as_ref().map(Traffic::network),
            ),
            spares: Spares::new(config.spares, &mut broken, &mut self.state),
            blocked: BlockList::default(),
            slow: slow.unwrap_or_default(),
            broken,
            cut: Cut::default(),
            faults: Vec::new(),
            sleeps: false,
            active_at: Time::ZERO,
            last_repair: Time::ZERO,
        };
        self.faults = Some(Box::new(state));
        self.schedule_next_fault(queue);
    }

    fn schedule_next_fault(&self, queue: &mut EventQueue<Event>) {
        if let Some(at) = self.faults.as_ref().and_then(|faults| faults.clock.next_at()) {
            queue.schedule(at, Event::Fault(FaultEvent::Struck));
        }
    }

    /// A job starts that ends by itself: what slept wakes.
    pub(in crate::platform) fn wake_faults(&mut self, queue: &mut EventQueue<Event>) {
        let (Some(faults), Some(config)) = (&mut self.faults, &self.config.faults) else { return };
        faults.active_at = self.now;
        if std::mem::take(&mut faults.sleeps) {
            faults.clock.skip_until(config, self.now);
            self.schedule_next_fault(queue);
        }
    }

    /// Until when the policy may wake itself although nothing else is left to happen, for what was repaired.
    pub(in crate::platform) fn last_repair(&self) -> Time {
        self.faults.as_ref().map_or(Time::ZERO, |faults| faults.last_repair)
    }

    /// Whether anything that breaks could make a difference.
    fn anything_ahead(&self) -> bool {
        self.is_to_come() || self.jobs.values().any(|live| live.running && live.work.is_finite())
    }

    /// The next fault that was drawn strikes.
    pub(in crate::platform) fn fault_struck(&mut self, queue: &mut EventQueue<Event>) {
        let is_ahead = self.anything_ahead();
        let (Some(faults), Some(config)) = (&mut self.faults, &self.config.faults) else { return };
        if is_ahead {
            faults.active_at = self.now;
        } else if self.waiting == 0 || self.now.since(faults.active_at) >= IDLE_LIMIT {
            faults.sleeps = true;
            return;
        }
        let Some(due) = faults.clock.pop(config) else { return };
        if due.kind.is_of_fabric() {
            self.strike_fabric(due.kind, due.part, due.repair, queue);
        } else {
            let fault = due.fault(self.state.node(NodeId::new(due.part as usize)).spec.gpus);
            let which = (due.kind == FaultKind::Software).then_some(due);
            self.strike(fault, |pods| which.map_or(0, |due| due.pick(pods)), queue);
        }
        self.schedule_next_fault(queue);
    }

    /// A fault strikes that the scenario lists.
    pub(in crate::platform) fn fault_scheduled(&mut self, index: u32, queue: &mut EventQueue<Event>) {
        let Some(config) = &self.config.faults else { return };
        let scheduled = config.scheduled[index as usize];
        let repair = scheduled.duration.unwrap_or(config.rate(scheduled.kind).repair.mean);
        let device = (scheduled.kind == FaultKind::Gpu).then(|| scheduled.device.unwrap_or(0));
        let repair = if scheduled.kind.is_hardware() { repair } else { Time::ZERO };
        match scheduled.place {
            Place::Node(_) => {
                let fault = Fault { kind: scheduled.kind, place: scheduled.place, device, repair };
                self.strike(fault, |_| 0, queue);
            }
            Place::Switch(number) | Place::Cable { number, .. } => {
                self.strike_fabric(scheduled.kind, number, repair, queue);
            }
        }
    }

    /// Something of a node breaks, with all pods that hold it.
    pub(super) fn strike(&mut self, fault: Fault, pick: impl Fn(u32) -> u32, queue: &mut EventQueue<Event>) {
        let Some(node) = fault.place.node() else { return };
        let fault = if fault.kind.is_hardware() { fault } else { Fault { repair: Time::ZERO, ..fault } };
        let mut hits = self.hits(node, &fault);
        if fault.kind == FaultKind::Software {
            // One process crashes, and its job with it.
            let Some(&hit) = hits.get(pick(hits.len() as u32) as usize) else { return };
            hits = vec![hit];
        }
        let Some(faults) = &mut self.faults else { return };
        if !faults.broken.finds(node, &fault) {
            return;
        }
        if fault.kind.is_hardware() {
            faults.broken.breaks(&mut self.state, node, &fault);
            let index = faults.faults.len() as u32;
            faults.faults.push(fault);
            queue.schedule(self.now + fault.repair, Event::Fault(FaultEvent::Repaired(index)));
            self.scheduler.profile.notify(&self.state, ClusterEvent::NodeChanged(node));
            self.stand_in(node, queue);
        }
        self.record(&Record::PartFailed { fault: &fault });
        self.jobs_hit(&hits, fault, queue);
    }

    /// Pods fail, in order of their jobs.
    pub(super) fn jobs_hit(&mut self, hits: &[Hit], fault: Fault, queue: &mut EventQueue<Event>) {
        let mut rest = hits;
        while let Some(&(sequence, _, job, _)) = rest.first() {
            let count = rest.iter().take_while(|&&(of, ..)| of == sequence).count();
            let (pods, others) = rest.split_at(count);
            self.pods_failed(job, pods, fault, queue);
            rest = others;
        }
    }

    /// Hardware of a node has failed: another may serve instead, and it may have been once too often.
    pub(super) fn stand_in(&mut self, node: NodeId, queue: &mut EventQueue<Event>) {
        let (Some(faults), Some(config)) = (&mut self.faults, &self.config.faults) else { return };
        let FaultState { broken, spares, blocked, .. } = &mut **faults;
        if let Some(rule) = config.block {
            blocked.fails(rule, self.now, node, broken, &mut self.state);
        }
        let spare = if config.spares > 0 { spares.replace(node, broken, &mut self.state) } else { None };
        if let Some(spare) = spare {
            self.scheduler.profile.notify(&self.state, ClusterEvent::NodeChanged(spare));
            if self.wants_cycles() {
                self.scheduler.request(self.now, queue);
            }
        }
    }

    /// The pods of a node that a fault hits, job by job in order of submission.
    pub(super) fn hits(&self, at: NodeId, fault: &Fault) -> Vec<Hit> {
        let node = self.state.node(at);
        let hit = |&task: &TaskId| {
            let entry = self.state.task(task).filter(|task| task.status().is_placed())?;
            let job = self.state.job(entry.job)?;
            let is_hit = match fault.kind {
                FaultKind::Gpu => {
                    let placement = entry.placement()?;
                    fault.device.is_some_and(|device| placement.gpus.contains(device as usize))
                }
                kind if kind.spares_single_nodes() => self.spans_nodes(job.tasks(), at),
                _ => true,
            };
            is_hit.then_some((job.spec.sequence, entry.rank, entry.job, task))
        };
        let mut hits: Vec<Hit> = node.tasks().iter().filter_map(hit).collect();
        hits.sort_unstable();
        hits
    }

    /// Whether any of a job's pods is elsewhere.
    fn spans_nodes(&self, tasks: &[TaskId], node: NodeId) -> bool {
        let mut placements = tasks
            .iter()
            .filter_map(|&task| self.state.task(task)?.placement().map(|placement| placement.node));
        placements.any(|other| other != node)
    }

    /// Pods of a job fail. One that runs hangs until it notices; pods that have not begun are taken off at once.
    fn pods_failed(&mut self, id: JobId, pods: &[Hit], fault: Fault, queue: &mut EventQueue<Event>) {
        if !self.jobs.contains_key(id) {
            return;
        }
        let is_running = |state: &ClusterState, task| {
            state.task(task).is_some_and(|task| task.status() == TaskStatus::Running)
        };
        let mut taken_off = 0;
        for &(sequence, _, _, task) in pods {
            let had_started = is_running(&self.state, task);
            let live = &mut self.jobs[id];
            if live.running && had_started {
                if live.faults.is_fine() {
                    let lost = live.work.fail(self.now);
                    live.faults.begin(self.now, fault, lost);
                    live.plan(id, queue);
                    let detection = self.config.faults.as_ref().map_or(Time::ZERO, |faults| faults.detection);
                    let noticed = FaultEvent::Noticed { job: id, attempt: live.attempt };
                    queue.schedule(self.now + detection, Event::Fault(noticed));
                }
                let is_first = live.faults.failed.is_empty();
                live.faults.failed.push(task);
                if is_first {
                    // It sends and writes nothing either.
                    self.remove_steps(id, queue);
                    self.move_checkpoint(id, queue);
                }
                continue;
            }
            taken_off += 1;
            let gpu_milli = self.state.task_spec(task).map_or(0, |spec| spec.gpus.total_milli());
            if had_started {
                live.pod_stopped(task, gpu_milli);
            }
            self.state.release_task(task);
            if had_started {
                self.record(&Record::PodStopped { job: sequence, gpu_milli });
            }
            self.leaves(task, queue);
        }
        if taken_off > 0 && !self.jobs[id].running {
            let outcome = FailureOutcome::DidNotRun;
            let failure = Failure { struck: self.now, fault, pods: taken_off, lost: 0, outcome };
            if let Some(&(job, ..)) = pods.first() {
                self.record(&Record::JobFailed { job, failure: &failure });
            }
        }
    }

    /// Something works again.
    pub(in crate::platform) fn part_repaired(&mut self, index: u32, queue: &mut EventQueue<Event>) {
        let Some(faults) = &mut self.faults else { return };
        let fault = faults.faults[index as usize];
        let Some(node) = fault.place.node() else {
            self.fabric_repaired(&fault, queue);
            return;
        };
        faults.last_repair = self.now;
        self.node_serves_again(node, &fault, queue);
        self.record(&Record::PartRepaired { fault: &fault });
    }

    /// One reason less for a node not to serve.
    pub(super) fn node_serves_again(&mut self, node: NodeId, fault: &Fault, queue: &mut EventQueue<Event>) {
        let Some(faults) = &mut self.faults else { return };
        let FaultState { broken, spares, .. } = &mut **faults;
        broken.is_repaired(&mut self.state, node, fault);
        let other = spares.takes_back(node, broken, &mut self.state);
        if let Some(other) = other.filter(|&other| other != node) {
            self.scheduler.profile.notify(&self.state, ClusterEvent::NodeChanged(other));
        }
        self.scheduler.profile.notify(&self.state, ClusterEvent::NodeChanged(node));
        if self.wants_cycles() {
            self.scheduler.request(self.now, queue);
        }
    }
}
